/* Dispositions, which are the process's, and alternate stacks, which are each goroutine's.
 *
 * The kernel is given sig_entry() for every handler; what the program asked for is an interned record, so that a handler on another
 * thread reads either the old one or the new one, whole, and without a lock. */
#include "isolate.h"
#include "siginternal.h"

#define RECORDS 4096u           /* distinct (handler, flags, mask) a program ever sets; power of two */
#define RECORD_PROBES 64u

_Atomic(struct sigrecord *) sig_handlers[NSIGNALS + 1];
static struct sigrecord records[RECORDS];
static _Atomic uint64_t interrupting; /* signals that siginterrupt() made interrupt (BSD signal()) */

/* ---- dispositions ------------------------------------------------------------------------------------------------ */

#define MASK_KEPT (~(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP))) /* what the kernel keeps of a handler's mask */

static struct sigrecord *record_find(const struct sigaction *act) {
	void (*handler)(int, siginfo_t *, void *) = act->sa_sigaction;
	uint64_t mask = sigset_bits(&act->sa_mask) & MASK_KEPT;
	uint64_t hash = ((uint64_t)(uintptr_t)handler ^ mask * 31 ^ (uint64_t)(uint32_t)act->sa_flags << 7) * 0x9E3779B97F4A7C15ull;
	uint32_t start = (uint32_t)(hash >> 52);
	for (uint32_t i = 0; i < RECORD_PROBES; i++) {
		struct sigrecord *r = &records[(start + i) % RECORDS];
		/* acquire: pairs with the release below */
		uint32_t state = atomic_load_explicit(&r->state, memory_order_acquire);
		if (state == 2 && r->handler == handler && r->flags == act->sa_flags && r->mask == mask)
			return r;
		if (state == 0 && atomic_compare_exchange_strong_explicit(&r->state, &state, 1, memory_order_acquire, memory_order_relaxed)) {
			r->handler = handler;
			r->flags = act->sa_flags;
			r->mask = mask;
			atomic_store_explicit(&r->state, 2, memory_order_release);
			return r;
		}
	}
	return NULL;
}

/* Flags and mask that the program gave with SIG_DFL, or SA_RESETHAND has left, where the kernel has sig_entry() instead. Relaxed: it sees them again, nothing else. */
static _Atomic int default_flags[NSIGNALS + 1];
static _Atomic uint64_t default_mask[NSIGNALS + 1];

void sig_default_note(int sig, int flags, uint64_t mask) {
	atomic_store_explicit(&default_flags[sig], flags, memory_order_relaxed);
	atomic_store_explicit(&default_mask[sig], mask & MASK_KEPT, memory_order_relaxed);
}

static void default_show(int sig, struct sigaction *out) {
	out->sa_handler = SIG_DFL;
	out->sa_flags = atomic_load_explicit(&default_flags[sig], memory_order_relaxed);
	sigset_store(&out->sa_mask, atomic_load_explicit(&default_mask[sig], memory_order_relaxed));
}

/* A handler's mask is not accounted while it runs, so somewhere the kernel lets through what it masks. By its own default it would end the process in the middle of
 * the handler; sig_entry() keeps it until somebody takes it. */
void sig_default_arm(int sig) {
	struct sigaction now, set;
	memset(&set, 0, sizeof set);
	set.sa_sigaction = arch_signal_entry;
	set.sa_flags = SA_SIGINFO | SA_RESTART;
	if (!(SIGBIT(sig) & DEFAULT_WAITS) || !(atomic_load_explicit(&sigp.masked_ever, memory_order_relaxed) & SIGBIT(sig)) || handler_of(sig) ||
	    sig_kernel_action(sig, NULL, &now) < 0 || now.sa_handler != SIG_DFL)
		return;
	sig_default_note(sig, now.sa_flags, sigset_bits(&now.sa_mask));
	if (sig_kernel_action(sig, &set, &now) == 0 && now.sa_handler != SIG_DFL) /* another thread's call came in between: it is the last one */
		sig_kernel_action(sig, &now, NULL);
}

void sig_default_arm_all(void) {
	for (uint64_t left = atomic_load(&sigp.masked_ever) & DEFAULT_WAITS; left; left &= left - 1)
		sig_default_arm(__builtin_ctzll(left) + 1);
}

/* relaxed: who sets a handler arms before it can run */
static void masks_note(uint64_t mask) {
	uint64_t gained = mask & ~atomic_load_explicit(&sigp.masked_ever, memory_order_relaxed);
	if (likely(!gained))
		return;
	atomic_fetch_or_explicit(&sigp.masked_ever, mask, memory_order_relaxed);
	if (!sched_started())
		return;
	for (gained &= DEFAULT_WAITS; gained; gained &= gained - 1)
		sig_default_arm(__builtin_ctzll(gained) + 1);
}

/* The program wants the default action of sig: the kernel must have sig_entry() for it. */
static bool default_is_ours(int sig) {
	uint64_t ours = atomic_load(&sigp.kicked_ever);
	if (sched_started())
		ours |= atomic_load_explicit(&sigp.masked_ever, memory_order_relaxed) & DEFAULT_WAITS;
	return ours & SIGBIT(sig);
}

SHIM int sigaction(int sig, const struct sigaction *act, struct sigaction *old) {
	REAL_READY();
	if (sig < 1 || sig > NSIGNALS || sig == SIGCANCEL_NR || sig == SIGSETXID_NR)
		return real.sigaction(sig, act, old);
	bool ours = !process_in_vfork(); /* the table is the parent's */
	struct sigrecord *before = handler_of(sig), *record = NULL;
	if (act && ours && before && before->handler != act->sa_sigaction) {
		sig_stopped_settle(self_g(), sig);
		before = handler_of(sig); /* one that ran in there may have changed it */
	}
	struct sigaction set, was, was_default;
	default_show(sig, &was_default);
	if (act) {
		set = *act;
		if (ours && act->sa_handler != SIG_DFL && act->sa_handler != SIG_IGN)
			record = record_find(act);
	}
	if (act && ours && act->sa_handler == SIG_DFL && !default_ignores(sig)) {
		/* A kick that arrives late must not act as the signal itself. Both seq_cst: Dekker with sig_kick(). A true signal that comes before
		 * the system call below finds no handler, and does what it would do after it. */
		atomic_store(&sig_handlers[sig], NULL);
		sig_default_note(sig, act->sa_flags, sigset_bits(&act->sa_mask));
		if (default_is_ours(sig)) {
			set.sa_sigaction = arch_signal_entry;
			set.sa_flags = SA_SIGINFO | SA_RESTART;
		}
		if (unlikely(isolate_catches(sig))) {
			set.sa_sigaction = arch_signal_entry;
			set.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
			sigfillset(&set.sa_mask);
		}
	}
	if (record) {
		masks_note((record->mask | SIGBIT(sig)) & ~SIG_NEVER_BLOCKED);
		/* Ours first, then the kernel's: when it calls sig_entry() the record is there. */
		atomic_store_explicit(&sig_handlers[sig], record, memory_order_release);
		set.sa_sigaction = arch_signal_entry;
		/* SA_RESETHAND is ours to carry out (sig_handler_take()): the kernel would do it for a kick as well, which is no signal, and then
		 * the signal itself, or a second kick, would end the process. */
		set.sa_flags = (set.sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
	}
	if (sig_kernel_action(sig, act ? &set : NULL, &was) < 0) {
		if (record)
			atomic_compare_exchange_strong(&sig_handlers[sig], &record, before);
		return -1;
	}
	/* A handler of ours on top may have called sigaction() in between: the last system call wins, so does the
	 * last store. */
	if (act && ours)
		atomic_store_explicit(&sig_handlers[sig], record, memory_order_release);
	/* What is pending is discarded with it, wherever it waits. The kernel has done the same with what it has. */
	if (act && ours && !record && sched_started() && (act->sa_handler == SIG_IGN || default_ignores(sig)))
		sig_discard(SIGBIT(sig));
	if (old) {
		*old = was;
		if (was.sa_sigaction == arch_signal_entry && before) {
			sigset_store(&old->sa_mask, before->mask);
			old->sa_sigaction = before->handler;
			old->sa_flags = (was.sa_flags & ~SA_SIGINFO) | (before->flags & (SA_SIGINFO | (int)SA_RESETHAND));
		} else if (was.sa_sigaction == arch_signal_entry) {
			*old = was_default;
			old->sa_flags |= was.sa_flags & (int)SA_RESTORER_FLAG; /* libc's, which is in what the kernel shows */
		}
	}
	return 0;
}

SHIM int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
SHIM int __sigaction(int sig, const struct sigaction *act, struct sigaction *old) {
	return sigaction(sig, act, old);
}

static sighandler_t handler_set(int sig, sighandler_t handler, int flags, bool mask_self) {
	struct sigaction act, old;
	if (handler == SIG_ERR || sig < 1 || sig > NSIGNALS) {
		errno = EINVAL;
		return SIG_ERR;
	}
	memset(&act, 0, sizeof act);
	act.sa_handler = handler;
	act.sa_flags = flags;
	if (mask_self)
		sigaddset(&act.sa_mask, sig);
	return sigaction(sig, &act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

SHIM sighandler_t signal(int sig, sighandler_t handler) {
	bool interrupts = sig >= 1 && sig <= NSIGNALS && (atomic_load(&interrupting) & SIGBIT(sig));
	return handler_set(sig, handler, interrupts ? 0 : SA_RESTART, true);
}

SHIM sighandler_t bsd_signal(int sig, sighandler_t handler) {
	return signal(sig, handler);
}

SHIM sighandler_t ssignal(int sig, sighandler_t handler) {
	return signal(sig, handler);
}

SHIM sighandler_t __sysv_signal(int sig, sighandler_t handler) {
	return handler_set(sig, handler, (int)(SA_RESETHAND | SA_NODEFER | 0x20000000u /* SA_INTERRUPT */), false);
}

SHIM sighandler_t sysv_signal(int sig, sighandler_t handler) {
	return __sysv_signal(sig, handler);
}

SHIM int sigignore(int sig) {
	struct sigaction act;
	memset(&act, 0, sizeof act);
	act.sa_handler = SIG_IGN;
	return sigaction(sig, &act, NULL);
}

SHIM int siginterrupt(int sig, int interrupt) {
	struct sigaction act;
	if (sigaction(sig, NULL, &act) < 0)
		return -1;
	if (interrupt) {
		atomic_fetch_or(&interrupting, SIGBIT(sig));
		act.sa_flags &= ~SA_RESTART;
	} else {
		atomic_fetch_and(&interrupting, ~SIGBIT(sig));
		act.sa_flags |= SA_RESTART;
	}
	return sigaction(sig, &act, NULL) < 0 ? -1 : 0;
}

/* System V's: SIG_HOLD blocks, anything else sets the handler and unblocks. */
SHIM sighandler_t sigset(int sig, sighandler_t handler) {
	struct sigaction act, old;
	sigset_t set, was;
	if (handler == SIG_ERR || sig < 1 || sig > NSIGNALS) {
		errno = EINVAL;
		return SIG_ERR;
	}
	sigemptyset(&set);
	sigemptyset(&was);
	if (sigaddset(&set, sig) < 0)
		return SIG_ERR;
	if (handler == SIG_HOLD) {
		if (sigprocmask(SIG_BLOCK, &set, &was) < 0)
			return SIG_ERR;
		if (sigismember(&was, sig))
			return SIG_HOLD;
		return sigaction(sig, NULL, &old) < 0 ? SIG_ERR : old.sa_handler;
	}
	memset(&act, 0, sizeof act);
	act.sa_handler = handler;
	if (sigaction(sig, &act, &old) < 0 || sigprocmask(SIG_UNBLOCK, &set, &was) < 0)
		return SIG_ERR;
	return sigismember(&was, sig) ? SIG_HOLD : old.sa_handler;
}

/* ---- the alternate stack ----------------------------------------------------------------------------------------- */

SHIM int sigaltstack(const stack_t *ss, stack_t *old) {
	REAL_READY();
	struct g *g = self_g();
	if (!g)
		return real.sigaltstack(ss, old);
	struct sigstate *s = sig_of(g);
	if (address_bad_given(ss))
		return (int)sys_ret(-EFAULT);
	bool on = sig_on_altstack(s, (uintptr_t)__builtin_frame_address(0));
	stack_t was = sig_altstack(s);
	if (on)
		was.ss_flags |= SS_ONSTACK;
	if (ss) {
		stack_t set = *ss;
		if (on) {
			errno = EPERM;
			return -1;
		}
		rt_enter(g);
		long r = SYS2(SYS_sigaltstack, &set, 0); /* the kernel checks size and flags */
		if (r == 0) {
			sig_altstack_set(s, &set);
			preempt_inner_stack(g, s->alt_sp, s->alt_size);
			m_sigstack_arm(g->m);
		}
		rt_exit(g);
		if (r < 0) {
			errno = (int)-r;
			return -1;
		}
	}
	if (address_unwritable_given(old))
		return (int)sys_ret(-EFAULT); /* and the new one holds */
	if (old)
		*old = was;
	return 0;
}
