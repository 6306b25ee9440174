/* Thread cancellation on libc's own state: the cancelhandling word in the goroutine's TCB.
 *
 * pthread_setcancelstate, pthread_setcanceltype, pthread_testcancel and the cancellation points inside libc work on
 * that word through FS, so on the goroutine's; they are left to libc, as is the unwinding (thread_main registered
 * the buffer it ends in). What libc cannot do is to reach the target: its pthread_cancel() sends SIGCANCEL to the
 * tid in the TCB, and a goroutine's tid is no kernel thread.
 *
 * So pthread_cancel() sets the bits, ends the target's wait if it is in one (the waiting shim then calls
 * shim_testcancel), and if it runs and its type is asynchronous, sends SIGCANCEL to its M, where sigentry.c's handler calls cancel_now(): that acts
 * if the type is asynchronous, which libc also sets for the time of its own blocking calls (system(),
 * getaddrinfo()...). A target that is inside the runtime at that moment acts when it leaves it: the nudge has the
 * delivery hook called. */
#include <pthread.h>
#include <signal.h>

#include "../core/tcb.h"
#include "shim.h"
#include "sigstate.h"
#include "thread.h"

enum { /* bits of cancelhandling, glibc's */
	CANCEL_DISABLED = 1,
	CANCEL_ASYNC = 2,
	CANCEL_CANCELING = 4,
	CANCEL_CANCELED = TCB_CANCELED,
	CANCEL_EXITING = 16,
	CANCEL_TERMINATED = 32,
};

static inline int cancel_word(struct g *g) {
	/* acquire: pairs with the RMW in pthread_cancel(); what the canceller wrote before is seen by cleanup
	 * handlers */
	return atomic_load_explicit(tcb_cancelhandling(g->ctx.tp), memory_order_acquire);
}

bool shim_cancel_pending(struct g *g) {
	if (g->kind > G_MAIN)
		return false;
	return (cancel_word(g) & (CANCEL_DISABLED | CANCEL_CANCELED | CANCEL_EXITING | CANCEL_TERMINATED)) == CANCEL_CANCELED;
}

bool shim_cancel_sent(struct g *g) {
	return cancel_word(g) & (CANCEL_CANCELING | CANCEL_CANCELED | CANCEL_EXITING | CANCEL_TERMINATED);
}

/* From here on it is exiting: a SIGCANCEL that comes while libc prepares to unwind (it may have to load the unwinder) must not start
 * again on top of that (CAN-2). */
static void cancel_act(struct g *g) {
	atomic_fetch_or(tcb_cancelhandling(g->ctx.tp), CANCEL_EXITING);
	fdcall_abandon(g);
	sig_waits_abandon(g);
	thread_exit_unwind(PTHREAD_CANCELED);
}

void shim_testcancel(struct g *g) {
	if (unlikely(shim_cancel_pending(g)))
		cancel_act(g);
}

bool shim_cancel_hold(struct g *g) {
	if (cancel_word(g) & CANCEL_ASYNC) /* a request acts anywhere: in a call that is no cancellation point, too */
		return false;
	/* relaxed: only the order on the word itself matters, a canceller sees the bit or has left its own */
	if (atomic_fetch_or_explicit(tcb_cancelhandling(g->ctx.tp), CANCEL_DISABLED, memory_order_relaxed) & CANCEL_DISABLED)
		return false;
	sig_of(g)->cancel_held = true;
	return true;
}

void shim_cancel_release(struct g *g, bool held) {
	if (!held)
		return;
	sig_of(g)->cancel_held = false;
	atomic_fetch_and_explicit(tcb_cancelhandling(g->ctx.tp), ~CANCEL_DISABLED, memory_order_relaxed);
}

bool cancel_due(struct g *g) {
	return unlikely(shim_cancel_pending(g)) && (cancel_word(g) & CANCEL_ASYNC);
}

void cancel_now(struct g *g) {
	if (!cancel_due(g))
		return;
	sig_frames_leave(g);
	if (atomic_load_explicit(&g->in_syscall, memory_order_relaxed))
		syscall_exit(g);
	cancel_act(g);
}

SHIM int pthread_cancel(pthread_t thread) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : thread_forker(thread);
	if (g)
		tcb_will_unwind(g); /* libc's own cancellation points do so, too, as soon as they see the bit */
	if (!g || !sched_started())
		return real.pthread_cancel(thread);
	_Atomic int *word = tcb_cancelhandling(g->ctx.tp);
	int old = atomic_fetch_or(word, CANCEL_CANCELING | CANCEL_CANCELED);
	if (old & (CANCEL_CANCELED | CANCEL_EXITING | CANCEL_TERMINATED))
		return 0; /* asked before, or on its way out, or exited and not joined yet (CAN-6) */
	if (g == g_goroutine()) {
		cancel_now(g);
		return 0; /* deferred: the next cancellation point acts */
	}
	if (!(old & CANCEL_DISABLED))
		sig_nudge(g, old & CANCEL_ASYNC ? SIGCANCEL_NR : 0);
	return 0;
}
