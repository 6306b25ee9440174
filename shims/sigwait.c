/* Waiting for signals: sigwait() and its family in the kernel, sigsuspend() and pause() on the wake word. */
#include <time.h>

#include "siginternal.h"

/* BRACKET_WAITS with CANCEL_MAKES, but whoever was disturbed must look at its queue: the signal may be there, and what ended the wait be of another number
 * (sig_kick). */
static long kernel_await(struct g *g, uint64_t want, siginfo_t *info, const struct timespec *timeout) {
	shim_testcancel(g);
	io_enter_waiting(g);
	long r = SYS_MAKES4(g, SYS_rt_sigtimedwait, &want, info, timeout, 8);
	syscall_exit(g);
	if (r == -EINTR)
		g_make_way(g);
	return r;
}

void sig_waits_resume(struct g *g, uint64_t waited) {
	struct sigstate *s = sig_of(g);
	if (likely(!waited))
		return;
	atomic_store(&s->waiting, waited); /* seq_cst, as in signal_await() */
	if (atomic_load(&s->pending) & waited)
		attention_set(s);
}

uint64_t sig_waits_abandon(struct g *g) {
	struct sigstate *s = sig_of(g);
	if (unlikely(s->defer)) { /* cancelled: a handler finds it false */
		s->defer = false;
		if (atomic_load(&s->pending) & ~mask_of(g)) /* seq_cst: as in sig_mask_change() */
			attention_set(s);
	}
	uint64_t waited = atomic_load_explicit(&s->waiting, memory_order_relaxed);
	if (likely(!waited)) /* only g itself sets it */
		return 0;
	atomic_store(&s->waiting, 0);
	sig_queue_hand_on(g, 0); /* what is the process's, and came for the wait */
	return waited;
}

/* The first signal of `want` into *info. deadline: CLOCK_MONOTONIC ns, -1 none, 0 do not wait. The number or a
 * negative error. In the kernel, on an M of its own while it lasts: process-wide signals that everybody blocks are pending there. What was sent to
 * this goroutine is in its queue, and a kick ends the kernel's wait. */
static int signal_await(struct g *g, uint64_t want, siginfo_t *info, int64_t deadline) {
	struct sigstate *s = sig_of(g);
	int r;
	want &= ~SIG_NEVER_BLOCKED;
	shim_testcancel(g);
	sig_settle_masked(g, want);
	for (;;) {
		atomic_store(&s->waiting, want); /* seq_cst: senders queue first, then look at it */
		attention_clear(s);
		if (unlikely(atomic_load(&sigp.held) & want)) {
			rt_enter(g);
			sig_held_claim(g, want, false);
			rt_leave(g);
		}
		if ((r = sig_queue_take(g, want, info)))
			break;
		struct timespec ts = {0, 0};
		if (deadline > 0) {
			int64_t left = deadline - nanotime();
			if (left > 0)
				ts = (struct timespec){left / 1000000000, left % 1000000000};
		}
		uint32_t ran = s->handlers;
		if (deadline)
			r = (int)kernel_await(g, want, info, deadline < 0 ? NULL : &ts);
		else
			r = (int)SYS4(SYS_rt_sigtimedwait, &want, info, &ts, 8);
		if (r > 0 && info->si_code == KICK_CODE)
			continue; /* it is in the queue, or was a stray one */
		if (r == -EINTR) {
			if (unlikely(!self_g()))
				return r; /* a handler forked, and this is the child */
			shim_testcancel(g);
			if (s->handlers == ran)
				continue; /* for somebody else, who has it by now */
		}
		break;
	}
	if (r > 0 && info->si_code == SI_TIMER)
		sigtimer_received(info);
	atomic_store(&s->waiting, 0);
	sig_queue_hand_on(g, 0); /* what it has not taken of the process's */
	rt_enter(g);
	rt_exit(g);
	return r;
}

long shim_sigtimedwait(struct g *g, const sigset_t *set, siginfo_t *info, const struct timespec *timeout) {
	siginfo_t unused;
	if (address_bad_mask(set) || address_bad_given(timeout))
		return -EFAULT;
	if (timeout && !timespec_valid(timeout))
		return -EINVAL;
	int64_t deadline = !timeout ? -1 : timeout->tv_sec == 0 && timeout->tv_nsec == 0 ? 0 : deadline_rel(timeout);
	if (!address_unwritable_given(info))
		return signal_await(g, sigset_bits(set), info ? info : &unused, deadline);
	long r = signal_await(g, sigset_bits(set), &unused, deadline);
	return r > 0 ? -EFAULT : r; /* and the signal is gone */
}

SHIM int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout) {
	REAL_READY();
	struct g *g = self_g();
	if (!g)
		return real.sigtimedwait(set, info, timeout);
	long r = shim_sigtimedwait(g, set, info, timeout);
	if (r > 0 && info && info->si_code == SI_TKILL)
		info->si_code = SI_USER; /* as libc does */
	return (int)sys_ret(r);
}

SHIM int sigwaitinfo(const sigset_t *set, siginfo_t *info) {
	REAL_READY();
	return self_g() ? sigtimedwait(set, info, NULL) : real.sigwaitinfo(set, info);
}

SHIM int sigwait(const sigset_t *set, int *sig) {
	REAL_READY();
	struct g *g = self_g();
	siginfo_t info;
	int r;
	if (!g)
		return real.sigwait(set, sig);
	if (address_bad_mask(set))
		return EFAULT;
	do
		r = signal_await(g, sigset_bits(set), &info, -1);
	while (r == -EINTR && self_g());
	if (unlikely(!self_g()))
		return real.sigwait(set, sig);
	if (r < 0)
		return -r;
	*sig = r;
	return 0;
}

SHIM int sigsuspend(const sigset_t *set) {
	REAL_READY();
	struct g *g = self_g();
	if (!g)
		return real.sigsuspend(set);
	shim_testcancel(g);
	if (address_bad_mask(set))
		return (int)sys_ret(-EFAULT);
	sig_mask_push(g, set);
	for (;;) {
		wait_begin(g, true, "sigsuspend", 0);
		wait_park(g, -1);
		bool over = shim_interrupted(g, false);
		shim_testcancel(g); /* the handler may have asked for it */
		if (over)
			break;
	}
	sig_mask_pop(g);
	errno = EINTR;
	return -1;
}

SHIM int __sigsuspend(const sigset_t *set);
SHIM int __sigsuspend(const sigset_t *set) {
	return sigsuspend(set);
}

static int pause_without(int sig) {
	sigset_t set;
	if (sigprocmask(SIG_BLOCK, NULL, &set) < 0 || sigdelset(&set, sig) < 0)
		return -1;
	return sigsuspend(&set);
}

SHIM int __xpg_sigpause(int sig);
SHIM int __xpg_sigpause(int sig) {
	return pause_without(sig);
}

static int pause_with(int mask) {
	sigset_t set;
	sigemptyset(&set);
	sigset_store(&set, (uint32_t)mask);
	return sigsuspend(&set);
}

/* <signal.h> renames sigpause to __xpg_sigpause: this is the symbol of that name, BSD's. */
SHIM int sigpause_bsd(int mask) __asm__("sigpause");
SHIM int sigpause_bsd(int mask) {
	return pause_with(mask);
}

SHIM int __sigpause(int value, int is_signal);
SHIM int __sigpause(int value, int is_signal) {
	return is_signal ? pause_without(value) : pause_with(value);
}
