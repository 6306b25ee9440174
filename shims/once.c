/* pthread_once and call_once: glibc's control word, waiting in the parking lot.
 *
 *   0 --first caller--> (process id << 2) | 1, running --routine returned--> 2, done
 *                       running --routine left by an exception, cancellation or pthread_exit--> 0, to be retried (SYN-16)
 * Values as glibc's: bit 1 means done, for every reader that looks for itself. A word that says "running" with another
 * process's id was copied by fork: the thread that ran the routine is not in this process, so the routine is run
 * again. glibc counts forks for the same purpose in a variable of its own; the process id needs nobody to count.
 *
 * It is ours even where everything else is glibc's (sync.h): it works on any thread, and a routine may be running when
 * that is decided.
 *
 * This file must be compiled with -fexceptions, or the unwinder would pass over the cleanup. Where the unwinder cannot come this far, because
 * the routine was compiled without tables, libc jumps to the last buffer that was registered; so there is one. */
#include <errno.h>

#include "sigstate.h"
#include "sync.h"

#ifndef __EXCEPTIONS
#error "once.c needs -fexceptions"
#endif

enum { ONCE_RUNNING = 1, ONCE_DONE = 2, ONCE_PID_SHIFT = 2 };

struct once_frame {
	_Atomic uint32_t *control; /* NULL: left already */
	uint32_t result;           /* what the control word becomes when this frame is left */
	__pthread_unwind_buf_t unwind;
};

/* pthread.h has them for C without exceptions only; of a jmp_buf, the first part, which is all that is used without a mask. */
int once_setjmp(void *, int) __asm__("__sigsetjmp") __attribute__((returns_twice));
void __pthread_register_cancel(__pthread_unwind_buf_t *);
void __pthread_unregister_cancel(__pthread_unwind_buf_t *);
void __pthread_unwind_next(__pthread_unwind_buf_t *) __attribute__((noreturn));

static void once_leave(struct once_frame *f) {
	_Atomic uint32_t *control = f->control;
	if (!control)
		return;
	f->control = NULL;
	__pthread_unregister_cancel(&f->unwind);
	/* release: pairs with the acquire loads in once_run() */
	atomic_store_explicit(control, f->result, memory_order_release);
	futex_wake(control, INT_MAX, FUTEX_ANY);
}

static void once_call(_Atomic uint32_t *control, void (*routine)(void)) {
	__attribute__((cleanup(once_leave))) struct once_frame frame = {.control = control};
	if (once_setjmp(frame.unwind.__cancel_jmp_buf, 0)) {
		once_leave(&frame);
		__pthread_unwind_next(&frame.unwind);
	}
	__pthread_register_cancel(&frame.unwind);
	routine();
	frame.result = ONCE_DONE;
}

static __attribute__((noinline)) int once_slow(_Atomic uint32_t *control, void (*routine)(void)) {
	uint32_t running = (uint32_t)SYS0(SYS_getpid) << ONCE_PID_SHIFT | ONCE_RUNNING;
	for (;;) {
		uint32_t v = atomic_load_explicit(control, memory_order_acquire);
		if (v & ONCE_DONE)
			return 0;
		if (v == running) {
			if (futex_wait(control, running, -1, FUTEX_ANY, true, "once") == -EINTR)
				shim_interrupted_anew(g_self());
			continue;
		}
		/* acquire: what a routine wrote that was left by an exception is seen by the next one */
		if (atomic_compare_exchange_strong_explicit(control, &v, running, memory_order_acquire, memory_order_relaxed)) {
			once_call(control, routine);
			return 0;
		}
	}
}

int once_run(int *control, void (*routine)(void)) {
	_Atomic uint32_t *word = (_Atomic uint32_t *)control;
	if (likely(atomic_load_explicit(word, memory_order_acquire) & ONCE_DONE))
		return 0;
	return once_slow(word, routine);
}

SHIM int pthread_once(pthread_once_t *control, void (*routine)(void)) {
	return once_run(control, routine);
}

SHIM void call_once(once_flag *flag, void (*routine)(void)) {
	once_run((int *)flag, routine);
}

SHIM int __pthread_once(pthread_once_t *control, void (*routine)(void)) {
	return once_run(control, routine);
}
