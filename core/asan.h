/* What AddressSanitizer cannot see by itself (make asan). Nothing in other builds.
 *
 *   ASAN_STACK_BEGINS()      first in a kernel thread's function: its stack may have been that of another, which never returned from its frames
 *   ASAN_STACK_UNUSED(stack) the frames of whose it was are no more
 *   ASAN_JUMPS()             before a jump out of frames through a pointer, of which the compiler does not know that it does not return
 */
#ifndef GOSHIM_ASAN_H
#define GOSHIM_ASAN_H

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define ASAN_STACK_BYTES (32ul << 10)
#define ASAN_STACK_BEGINS() __asan_unpoison_memory_region((char *)__builtin_frame_address(0) - ASAN_STACK_BYTES, ASAN_STACK_BYTES)
/* No more than this: each 8 bytes of it cost one of memory. */
#define ASAN_DEEP (256ul << 10)
#define ASAN_STACK_UNUSED(s) \
	__asan_unpoison_memory_region((s)->hi - (s)->lo > (long)ASAN_DEEP ? (s)->hi - ASAN_DEEP : (s)->lo, \
	                              (s)->hi - (s)->lo > (long)ASAN_DEEP ? ASAN_DEEP : (size_t)((s)->hi - (s)->lo))
#define ASAN_JUMPS() __asan_handle_no_return()
#else
#define ASAN_STACK_BEGINS() ((void)0)
#define ASAN_STACK_UNUSED(stack) ((void)0)
#define ASAN_JUMPS() ((void)0)
#endif

#endif
