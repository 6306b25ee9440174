/* What AddressSanitizer's runtime cannot know of goroutines: make asan.
 *
 * A frame that is left by a jump leaves its marks in the shadow, and the next one there is taken for it. So the compiler calls this before each call that does not
 * come back. The runtime's own asks pthread_getattr_np() for the stack, which is the library's: with cancellation on its way that acts in there, and is
 * here again; and it runs on the very marks that are to go. The scheduler knows the stacks. */
#include <sanitizer/asan_interface.h>
#include <stdint.h>
#include <sys/auxv.h>

#include "runtime.h"

#define NEAR (64ul << 10) /* of a stack that is unknown: a kernel thread's, one for signals */
#define MAIN_BYTES (8ul << 20)

__attribute__((visibility("hidden"))) void __asan_handle_no_return(void);
void __asan_handle_no_return(void) {
	struct g *g = tls_g;
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0), main_end = getauxval(AT_EXECFN), lo = sp, hi = sp + NEAR;
	if (g && g->kind == G_GOROUTINE) {
		lo = (uintptr_t)g->stack.lo;
		hi = (uintptr_t)g->stack.hi;
	} else if (g && g->kind == G_MAIN) {
		lo = main_end - MAIN_BYTES;
		hi = main_end;
	}
	if (sp >= lo && sp < hi)
		lo = sp;
	else /* a handler on a stack of its own: it may jump to any frame */
		__asan_unpoison_memory_region((void *)sp, NEAR);
	__asan_unpoison_memory_region((void *)lo, hi - lo);
}
