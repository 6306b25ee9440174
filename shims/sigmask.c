/* Masks: each goroutine's, their AND, and the calls that change them.
 *
 * The AND is what every kernel thread must block (signal.c says why). It is counted, not walked: sig_account() is told of each change,
 * and recomputes only when a count comes near "all" or "none". Changing a mask costs the system call it costs a kernel thread.
 *
 * sigp.and_lock orders the recomputations; nothing is called below it but raw system calls. */
#include <linux/futex.h>

#include "isolate.h"
#include "siginternal.h"

#define ACK_WAIT_NS 100000000 /* an M that does not answer this long is stopped or gone */

/* ---- the AND of all masks ---------------------------------------------------------------------------------------- */

static uint64_t and_compute(void) {
	uint64_t bits = 0;
	int32_t all = atomic_load(&sigp.live);
	for (int i = 0; i < NSIGNALS; i++) {
		int32_t d = atomic_load(&sigp.dev[i]);
		if ((sigp.base_mask >> i & 1) ? d <= 0 : d >= all)
			bits |= 1ull << i;
	}
	return bits & ~(SIG_NEVER_BLOCKED | arch_signals_open);
}

/* The Ms that sit on their g0, or will when they have left a goroutine that is over, with a mask that lets a signal through which nobody accepts any
 * more: the kernel would choose them for it, again and again. They answer from reserved_entry(). sysmon always: it opens what was lost, too. sigp.and_lock held. */
static void and_broadcast(uint64_t gained) {
	uint32_t asked = 0;
	int32_t me = self_ktid();
	atomic_store(&sigp.acks, 0);
	int32_t sysmon = atomic_load(&sigp.sysmon_tid);
	if (sysmon && sysmon != me)
		asked += kick_send(sysmon, SIGSETXID_NR, 0);
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); gained && m; m = m->all_next) {
		struct g *runs = atomic_load(&m->curg);
		if (m->ktid == me || m->ktid == 0 || (runs && is_alive(runs)) ||
		    !(gained & ~__atomic_load_n(&m->kmask, __ATOMIC_RELAXED)))
			continue;
		asked += kick_send(m->ktid, SIGSETXID_NR, 0);
	}
	int64_t limit = nanotime() + ACK_WAIT_NS;
	for (;;) {
		uint32_t have = atomic_load(&sigp.acks);
		if (have >= asked || nanotime() > limit)
			return;
		struct timespec ts = {0, ACK_WAIT_NS / 10};
		SYS4(SYS_futex, &sigp.acks, FUTEX_WAIT_PRIVATE, have, &ts);
	}
}

/* Main has another mask. The first kernel thread, if it runs nobody, has to know what main does not block any more; what it blocks now, it is sent none the less, if it
 * comes (meant_for() in sigentry.c), so a mask that goes to and fro costs nothing. */
static void main_mask_set(uint64_t mask) {
	struct m *m = sigp.first;
	atomic_store(&sigp.main_mask, mask); /* seq_cst, and the loads: Dekker with sig_idle() and sig_entry() */
	if (m && unlikely(atomic_load(&sigp.first_idle)) && (__atomic_load_n(&m->kmask, __ATOMIC_SEQ_CST) & ~mask) &&
	    atomic_load_explicit(&sigp.reserved, memory_order_acquire) == 2)
		kick_send(m->ktid, SIGSETXID_NR, KICK_UNASKED);
}

/* Inside the runtime. */
void sig_and_refresh(void) {
	lock_acquire(&sigp.and_lock, LOCK_SIGMASK);
	uint64_t now = and_compute(), before = atomic_load(&sigp.and_mask);
	if (now != before) {
		atomic_store(&sigp.and_mask, now);
		if (atomic_load_explicit(&sigp.reserved, memory_order_acquire) == 2)
			and_broadcast(now & ~before);
	}
	lock_release(&sigp.and_lock);
}

/* The goroutine's mask is `mask` from now on, as far as the process is concerned. Inside the runtime. */
void sig_account(struct sigstate *s, uint64_t mask) {
	uint64_t changed = s->counted ^ mask;
	if (!changed)
		return;
	uint64_t deviates = mask ^ sigp.base_mask;
	bool did = s->counted != sigp.base_mask, does = mask != sigp.base_mask, refresh = false;
	int32_t all = atomic_load_explicit(&sigp.live, memory_order_relaxed);
	s->counted = mask;
	if (sigp.main_g && s == sig_of(sigp.main_g) && !atomic_load_explicit(&s->dead, memory_order_relaxed))
		main_mask_set(mask);
	if (did != does)
		atomic_fetch_add(&sigp.dev_total, does ? 1 : -1);
	for (uint64_t bits = changed; bits; bits &= bits - 1) {
		int i = __builtin_ctzll(bits);
		int32_t step = (deviates >> i & 1) ? 1 : -1;
		int32_t now = atomic_fetch_add(&sigp.dev[i], step) + step;
		/* Near enough to "all" or "none" that and_mask may change; sig_and_refresh() finds out. */
		refresh |= (sigp.base_mask >> i & 1) ? now <= 1 : now >= all - 1;
	}
	if (refresh)
		sig_and_refresh();
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

/* Nobody accepts these, but somebody is about to. The kernel delivers all that it has of them to him before he gets as far as to say so: who routes them meanwhile must not
 * give them back to the kernel, which would deliver them again, for ever. */
static void opening(uint64_t which, int step) {
	for (; unlikely(which); which &= which - 1)
		atomic_fetch_add(&sigp.opening[__builtin_ctzll(which)], step);
}

/* The mask changes for good (or until the program changes it). Negative error. *old: the kernel's idea of it before,
 * which is also right after a libc-internal change (swapcontext). */
int sig_mask_change(struct g *g, int how, uint64_t bits, uint64_t *old) {
	struct sigstate *s = sig_of(g);
	if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
		return -EINVAL;
	bits &= ~(SIG_NEVER_BLOCKED | (how == SIG_UNBLOCK ? 0 : isolate_open(g)));
	rt_enter(g);
	uint64_t opens = how == SIG_UNBLOCK ? bits : how == SIG_SETMASK ? ~bits : 0;
	opens &= atomic_load_explicit(&sigp.and_mask, memory_order_relaxed); /* as a rule, nothing */
	opening(opens, 1);
	uint64_t kernel_bits = how == SIG_UNBLOCK ? bits : bits & ~arch_signals_open;
	if (how != SIG_BLOCK) /* as sig_kernel_mask(): what comes with the change comes through a mask that is known to be open */
		kmask_set(g->m, g->m->kmask & (how == SIG_UNBLOCK ? ~bits : bits));
	uint64_t known = g->m->kmask;
	SYS4(SYS_rt_sigprocmask, how, &kernel_bits, old, 8);
	*old |= mask_of(g) & arch_signals_open;
	uint64_t mask = how == SIG_BLOCK ? *old | bits : how == SIG_UNBLOCK ? *old & ~bits : bits;
	mask &= ~SIG_NEVER_BLOCKED;
	/* Until g counts with its new mask this kernel thread may be told to block what nobody accepts (reserved_signal()), which is then still what g has just opened. */
	bool untold = __atomic_compare_exchange_n(&g->m->kmask, &known, mask, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	mask_store(g, mask);
	sig_account(s, mask);
	if (unlikely(!untold || g->m->kmask != mask))
		sig_kernel_mask(g->m, mask);
	opening(opens, -1);
	if (atomic_load(&s->pending) & ~mask) /* seq_cst: Dekker with sig_send() */
		attention_set(s);
	sig_queue_hand_on(g, 0);
	if (unlikely(atomic_load(&sigp.held) & ~mask))
		sig_ring_drain(true);
	rt_exit(g); /* POSIX: at least one of those is delivered before we return */
	return 0;
}

uint64_t sig_hide(struct g *g, uint64_t which) {
	if (!g || g->kind > G_MAIN)
		return 0;
	uint64_t before = g->m->kmask;
	kmask_set(g->m, before | which);
	return before;
}

void sig_show(struct g *g, uint64_t before) {
	if (g && g->kind <= G_MAIN)
		kmask_set(g->m, before);
}

void sig_mask_push(struct g *g, const sigset_t *set) {
	struct sigstate *s = sig_of(g);
	s->defer = true; /* first: what the new mask lets in must end the wait that follows */
	sig_mask_change(g, SIG_SETMASK, sigset_bits(set), &s->back);
	if (atomic_load(&s->pending) & ~mask_of(g))
		g_interrupt(g);
}

void sig_mask_pop(struct g *g) {
	uint64_t old;
	struct sigstate *s = sig_of(g);
	if (unlikely(g->kind > G_MAIN)) /* a fork's child: its handler left what was before in the kernel */
		return;
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
	s->defer = false;
	sig_mask_change(g, SIG_SETMASK, s->back, &old);
}

SHIM int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
	REAL_READY();
	struct g *g = self_g();
	uint64_t before;
	if (!g || !set) {
		int r = real.pthread_sigmask(how, set, old);
		if (g && r == 0 && old)
			sigset_store(old, sigset_bits(old) | (mask_of(g) & arch_signals_open));
		return r;
	}
	int r = sig_mask_change(g, how, sigset_bits(set), &before);
	if (r == 0 && old && address_refused(old, KERNEL_SIGSET_BYTES, true))
		return EFAULT; /* and the mask has changed */
	if (r == 0 && old)
		sigset_store(old, before);
	return -r;
}

SHIM int sigprocmask(int how, const sigset_t *set, sigset_t *old) {
	REAL_READY();
	if (!self_g())
		return real.sigprocmask(how, set, old);
	int r = pthread_sigmask(how, set, old);
	if (r) {
		errno = r;
		return -1;
	}
	return 0;
}

static int mask_one(int how, int sig) {
	sigset_t set;
	sigemptyset(&set);
	return sigaddset(&set, sig) < 0 ? -1 : sigprocmask(how, &set, NULL);
}

SHIM int sighold(int sig) {
	return mask_one(SIG_BLOCK, sig);
}

SHIM int sigrelse(int sig) {
	return mask_one(SIG_UNBLOCK, sig);
}

/* BSD's: 32 signals in an int. */
static int mask_bsd(int how, int mask) {
	sigset_t set, old;
	sigemptyset(&set);
	sigemptyset(&old);
	sigset_store(&set, (uint32_t)mask);
	return sigprocmask(how, &set, &old) < 0 ? -1 : (int)(uint32_t)sigset_bits(&old);
}

SHIM int sigblock(int mask) {
	return mask_bsd(SIG_BLOCK, mask);
}

SHIM int sigsetmask(int mask) {
	return mask_bsd(SIG_SETMASK, mask);
}

SHIM int siggetmask(void) {
	return mask_bsd(SIG_BLOCK, 0);
}

SHIM int sigpending(sigset_t *set) {
	REAL_READY();
	struct g *g = self_g();
	if (g)
		sig_settle_masked(g, ~0ull);
	int r = real.sigpending(set);
	if (r == 0 && g)
		sigset_store(set, sigset_bits(set) | ((atomic_load(&sig_of(g)->pending) | atomic_load(&sigp.held)) & mask_of(g)));
	return r;
}
