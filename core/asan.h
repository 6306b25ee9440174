/* What AddressSanitizer cannot see by itself (make asan). Nothing in other builds.
 *
 *   ASAN_STACK_BEGINS()    first in a kernel thread's function: its stack may have been that of another, which never returned from its frames
 */
#ifndef GOSHIM_ASAN_H
#define GOSHIM_ASAN_H

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define ASAN_STACK_BYTES (32ul << 10)
#define ASAN_STACK_BEGINS() __asan_unpoison_memory_region((char *)__builtin_frame_address(0) - ASAN_STACK_BYTES, ASAN_STACK_BYTES)
#else
#define ASAN_STACK_BEGINS() ((void)0)
#endif

#endif
