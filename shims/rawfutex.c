/* futex(2) as programs call it through syscall(): Rust's std, libstdc++'s atomic waits, home-made locks (SYN-15).
 *
 * Private operations (FUTEX_PRIVATE_FLAG) work on the parking lot, so a waiting goroutine parks. So do others on a word in memory that only this process
 * has (mapping.c): libstdc++ makes no private ones. The kernel keeps private and shared waiters of one word apart, and so do we, in the word's two queues. Words in shared
 * memory are the kernel's. Memory that becomes shared is left by those who are parked at it: they are told that they were woken.
 *
 * The calls of Linux 5.16 and 6.7, futex_waitv() and futex_wait(), futex_wake(), futex_requeue(), are futex(2) with other arguments, and meet its waiters.
 * A wait for several words at once is the kernel's.
 *
 * Before the runtime is started everything goes to the kernel: the process has one thread of its own, and others only
 * if libc made them. Such a thread may still wait in the kernel when the runtime starts, and so does who waits for several words. `kernel_waiters`
 * counts the private waits that went there; while it is not zero a private wake-up that found too few waiters in the parking lot
 * asks the kernel for the rest. A waiter adds itself before the kernel compares the word, a waker changes the word
 * before it looks at the count; both with a full barrier between, so one of them sees the other. A requeue does the same.
 *
 * Differences from the kernel: a bad `uaddr` of a wait is a SIGSEGV, not EFAULT; FUTEX_WAKE_OP changes the word first
 * and then looks at the two queues one after the other, which no program can tell from "at once" (who queues in
 * between saw the new word). */
#include <errno.h>
#include <linux/futex.h>

#include "io.h"
#include "mapping.h"
#include "pinned.h"
#include "sigstate.h"
#include "sync.h"
#include "thread.h"

static _Atomic uint32_t kernel_waiters;

static long kernel_futex(struct g *g, uint32_t *uaddr, int op, uint32_t val, const struct timespec *timeout, uint32_t *uaddr2,
                         uint32_t val3) {
	struct timespec until;
	switch (op & FUTEX_CMD_MASK) {
	case FUTEX_WAIT:
		/* with a deadline, because a signal that is not for this goroutine makes the wait begin again */
		if (timeout && !address_bad(timeout) && timespec_valid(timeout) && !(op & FUTEX_CLOCK_REALTIME)) {
			int64_t ns = deadline_rel(timeout);
			until = (struct timespec){ns / 1000000000, ns % 1000000000};
			timeout = &until;
			op += FUTEX_WAIT_BITSET - FUTEX_WAIT;
			val3 = FUTEX_ANY;
		}
		/* fall through */
	case FUTEX_WAIT_BITSET:
		return BRACKET_LONG(g, !timeout, SYS6(SYS_futex, uaddr, op, val, timeout, uaddr2, val3));
	case FUTEX_TRYLOCK_PI:
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2:
	case FUTEX_WAIT_REQUEUE_PI:
		pin_self(); /* the owner is this kernel thread, by its number: not what gettid() says */
		return BRACKET_LONG(g, !timeout, SYS6(SYS_futex, uaddr, op, val, timeout, uaddr2, val3));
	default:
		return SYS6(SYS_futex, uaddr, op, val, timeout, uaddr2, val3);
	}
}

static long early_futex(uint32_t *uaddr, int op, uint32_t val, const struct timespec *timeout, uint32_t *uaddr2, uint32_t val3) {
	int cmd = op & FUTEX_CMD_MASK;
	bool waits = cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET;
	if (waits)
		atomic_fetch_add(&kernel_waiters, 1); /* seq_cst: the full barrier of the top of the file */
	long r = SYS6(SYS_futex, uaddr, op, val, timeout, uaddr2, val3);
	if (waits)
		atomic_fetch_sub_explicit(&kernel_waiters, 1, memory_order_relaxed);
	return r;
}

/* ---- wait -------------------------------------------------------------------------------------------------------- */

/* Where who waits for a word is parked. */
static const void *queue_of(const uint32_t *uaddr, bool private) {
	return private ? uaddr : futex_second(uaddr);
}

struct second_wait {
	struct fwaiter w;
	const uint32_t *word;
	uint32_t val, bitset;
	bool shared; /* it has become that meanwhile */
};

/* With the queue locked: who maps the word's memory anew, or lets the kernel have it, finds the waiter, or he finds out. */
static bool second_over(void *arg) {
	struct second_wait *s = arg;
	s->shared = mapping_shared(s->word);
	s->w.bitset = s->bitset;
	/* relaxed: as in futex_wait() */
	return s->shared || __atomic_load_n(s->word, __ATOMIC_RELAXED) != s->val;
}

static int wait_second(const uint32_t *word, uint32_t val, int64_t deadline, uint32_t bitset) {
	struct second_wait s = {.word = word, .val = val, .bitset = bitset};
	mapping_parks();
	if (futex_prepare_unless(&s.w, futex_second(word), true, "futex", second_over, &s))
		return futex_commit(&s.w, futex_second(word), NULL, deadline);
	return s.shared ? 0 : -EAGAIN; /* woken for no reason; he looks at the word, and comes again */
}

static long wait_parked(struct g *g, uint32_t *uaddr, bool private, uint32_t val, int64_t deadline, uint32_t bitset) {
	for (;;) {
		/* relaxed is not enough for a program that goes on after EAGAIN: the kernel's compare is an acquire for it */
		int r = private ? futex_wait((_Atomic uint32_t *)uaddr, val, deadline, bitset, true, "futex")
				: wait_second(uaddr, val, deadline, bitset);
		if (r == -EAGAIN)
			atomic_thread_fence(memory_order_acquire);
		if (r != -EINTR)
			return r;
		/* the kernel restarts a wait without a deadline only */
		bool ends = shim_interrupted(g, deadline < 0);
		cancel_now(g); /* if it acts anywhere */
		if (ends)
			return -EINTR;
	}
}

/* `until` NULL: no deadline. */
static long wait_until(struct g *g, uint32_t *uaddr, bool private, uint32_t val, clockid_t clock, const struct timespec *until,
                       uint32_t bitset) {
	long r;
	do
		r = wait_parked(g, uaddr, private, val, until ? deadline_abs(until, clock) : -1, bitset);
	while (r == -ETIMEDOUT && deadline_early(until, clock));
	return r;
}

/* ---- wake -------------------------------------------------------------------------------------------------------- */

/* The kernel wakes at least one, whatever it is told. */
static int at_least_one(uint32_t val) {
	return (int)val < 1 ? 1 : (int)val;
}

static long wake_in_two_places(uint32_t *uaddr, bool private, uint32_t val, uint32_t bitset) {
	int n = at_least_one(val);
	int woken = futex_wake(queue_of(uaddr, private), n, bitset);
	/* seq_cst, between the caller's change of the word and our look at the count */
	atomic_thread_fence(memory_order_seq_cst);
	if (woken < n && (!private || unlikely(atomic_load_explicit(&kernel_waiters, memory_order_relaxed)))) {
		long r = SYS6(SYS_futex, uaddr, FUTEX_WAKE_BITSET | (private ? FUTEX_PRIVATE_FLAG : 0), n - woken, 0, 0, bitset);
		if (r < 0 && !private && !woken)
			return r; /* a bad address */
		if (r > 0)
			woken += (int)r;
	}
	return woken;
}

/* In one piece, as sem_post() does. */
static long wake_both(uint32_t *uaddr, bool private, uint32_t val, uint32_t bitset) {
	struct g *g = g_self();
	rt_enter(g);
	long woken = wake_in_two_places(uaddr, private, val, bitset);
	rt_exit(g);
	return woken;
}

/* FUTEX_WAKE_OP's operation on *word. -ENOSYS if it is unknown. */
static int wake_op_apply(_Atomic uint32_t *word, uint32_t code, int *old) {
	unsigned op = code >> 28 & 7;
	uint32_t arg = (uint32_t)((int32_t)(code << 8) >> 20); /* 12 bits, signed */
	if (code >> 28 & FUTEX_OP_OPARG_SHIFT)
		arg = 1u << (arg & 31);
	/* acq_rel: as strong as the kernel's */
	switch (op) {
	case FUTEX_OP_SET:
		*old = (int)atomic_exchange_explicit(word, arg, memory_order_acq_rel);
		return 0;
	case FUTEX_OP_ADD:
		*old = (int)atomic_fetch_add_explicit(word, arg, memory_order_acq_rel);
		return 0;
	case FUTEX_OP_OR:
		*old = (int)atomic_fetch_or_explicit(word, arg, memory_order_acq_rel);
		return 0;
	case FUTEX_OP_ANDN:
		*old = (int)atomic_fetch_and_explicit(word, ~arg, memory_order_acq_rel);
		return 0;
	case FUTEX_OP_XOR:
		*old = (int)atomic_fetch_xor_explicit(word, arg, memory_order_acq_rel);
		return 0;
	default:
		return -ENOSYS;
	}
}

/* 1, 0, or -ENOSYS. */
static int wake_op_compare(int old, uint32_t code) {
	int arg = (int32_t)(code << 20) >> 20;
	switch (code >> 24 & 15) {
	case FUTEX_OP_CMP_EQ:
		return old == arg;
	case FUTEX_OP_CMP_NE:
		return old != arg;
	case FUTEX_OP_CMP_LT:
		return old < arg;
	case FUTEX_OP_CMP_LE:
		return old <= arg;
	case FUTEX_OP_CMP_GT:
		return old > arg;
	case FUTEX_OP_CMP_GE:
		return old >= arg;
	default:
		return -ENOSYS;
	}
}

static long wake_op(uint32_t *uaddr, bool private, uint32_t val, uint32_t val2, uint32_t *uaddr2, uint32_t code) {
	int old;
	int r = wake_op_apply((_Atomic uint32_t *)uaddr2, code, &old);
	if (r < 0)
		return r;
	int second = wake_op_compare(old, code);
	if (second < 0)
		return second;
	long woken = wake_both(uaddr, private, val, FUTEX_ANY);
	if (woken < 0 || !second)
		return woken;
	long more = wake_both(uaddr2, private, val2, FUTEX_ANY);
	return more < 0 ? more : woken + more;
}

/* In the parking lot. Who waits at a word that is this process's alone, and is to wait at one that others have: he is woken, and will see to it himself. */
static long requeue_parked(uint32_t *uaddr, bool private, int wake, int move, uint32_t *to, bool check, uint32_t expected) {
	bool leaves = !private && mapping_shared(to);
	if (leaves)
		wake = move > INT_MAX - wake ? INT_MAX : wake + move;
	long r = futex_requeue(queue_of(uaddr, private), wake, leaves ? 0 : move, queue_of(to, private), check, expected);
	/* It may have come to be others' meanwhile, and who told those that wait there have passed by before they came. He has had the queue's lock then before they got into it,
	 * so it is seen here. */
	if (!private && !leaves && unlikely(mapping_shared(to)))
		futex_wake(queue_of(to, false), INT_MAX, FUTEX_ANY);
	return r;
}

/* And in the kernel, what is left of both numbers, for who waits there. */
static long requeue_in_two_places(uint32_t *uaddr, bool private, int wake, int move, uint32_t *to, bool check, uint32_t expected) {
	long r = requeue_parked(uaddr, private, wake, move, to, check, expected);
	/* seq_cst, as in wake_in_two_places() */
	atomic_thread_fence(memory_order_seq_cst);
	if (r < 0 || r >= (long)wake + move || (private && likely(!atomic_load_explicit(&kernel_waiters, memory_order_relaxed))))
		return r;
	int op = (check ? FUTEX_CMP_REQUEUE : FUTEX_REQUEUE) | (private ? FUTEX_PRIVATE_FLAG : 0), woken = (int)(r < wake ? r : wake);
	long more = SYS6(SYS_futex, uaddr, op, wake - woken, move - (r - woken), to, expected);
	return more > 0 ? r + more : r;
}

/* ---- priority inheritance ------------------------------------------------------------------------------------------ */

/* The word says who owns it, by what gettid() says to the program, which takes a free one by itself: the kernel knows no goroutine of that number. So the
 * kernel's side is here, for words that no other process has; priorities mean nothing among goroutines. Who unlocks hands the word to who has waited longest. Not
 * found out: circles of several owners, and who ends with a word that it owns. */
#define PI_HANDED FUTEX_TID_MASK /* as an owner, nobody's number: who was woken writes down his own */

struct pi_wait {
	struct fwaiter w;
	_Atomic uint32_t *word;
	uint32_t tid;
	bool tries;
	long result;
};

static bool is_pi(int cmd) {
	return (cmd >= FUTEX_LOCK_PI && cmd <= FUTEX_TRYLOCK_PI) || (cmd >= FUTEX_WAIT_REQUEUE_PI && cmd <= FUTEX_LOCK_PI2);
}

/* Those that wait for the value, and those that wait to own it, meet no wake-up of another kind. */
static const void *pi_queue(const void *word) {
	return (const char *)word + 1;
}

static bool pi_owner_lives(uint32_t tid) {
	return tid == PI_HANDED || thread_numbered((pid_t)tid) || SYS3(SYS_tgkill, SYS0(SYS_getpid), tid, 0) == 0;
}

/* With the queue locked, as whoever unlocks has it. True: the call is over. */
static bool pi_take(void *arg) {
	struct pi_wait *s = arg;
	uint32_t v = atomic_load_explicit(s->word, memory_order_relaxed), owner, to;
	do {
		owner = v & FUTEX_TID_MASK;
		s->result = owner == s->tid ? -EDEADLK : owner && !pi_owner_lives(owner) ? -ESRCH : owner ? -EAGAIN : 0;
		if (s->result && s->result != -EAGAIN)
			return true;
		to = owner ? v | FUTEX_WAITERS : v | s->tid;
		/* acquire: pairs with the release of who unlocks, here or by himself */
	} while (!atomic_compare_exchange_weak_explicit(s->word, &v, to, memory_order_acquire, memory_order_relaxed));
	return !owner || s->tries;
}

static long pi_lock(uint32_t *uaddr, bool tries, const struct timespec *until, clockid_t clock) {
	struct pi_wait s = {.word = (_Atomic uint32_t *)uaddr, .tid = (uint32_t)gettid(), .tries = tries};
	if (address_unwritable(uaddr) || (!tries && address_bad_given(until)))
		return -EFAULT;
	if (!tries && until && !timespec_valid(until))
		return -EINVAL;
	while (futex_prepare_unless(&s.w, pi_queue(uaddr), true, "futex", pi_take, &s)) {
		int r = futex_commit(&s.w, pi_queue(uaddr), NULL, until ? deadline_abs(until, clock) : -1);
		if (r == 0) {
			/* acquire: as in pi_take() */
			atomic_fetch_and_explicit(s.word, ~FUTEX_TID_MASK | s.tid, memory_order_acquire);
			return 0;
		}
		if (r == -ETIMEDOUT && !deadline_early(until, clock))
			return r;
		if (r == -EINTR)
			shim_interrupted_anew(g_self());
	}
	return s.result;
}

static void pi_pass(void *arg, int woke, bool more) {
	(void)more; /* the kernel marks it anyhow */
	/* release: pairs with the next owner's acquire */
	atomic_store_explicit((_Atomic uint32_t *)arg, woke ? PI_HANDED | FUTEX_WAITERS : 0, memory_order_release);
}

static long pi_unlock(uint32_t *uaddr) {
	if (address_unwritable(uaddr))
		return -EFAULT;
	/* relaxed: whether it is the caller's only the caller changes */
	if ((__atomic_load_n(uaddr, __ATOMIC_RELAXED) & FUTEX_TID_MASK) != (uint32_t)gettid())
		return -EPERM;
	futex_wake_update(pi_queue(uaddr), pi_pass, uaddr);
	return 0;
}

static bool pi_value_differs(void *arg) {
	struct second_wait *s = arg;
	/* relaxed: as in futex_wait() */
	return __atomic_load_n(s->word, __ATOMIC_RELAXED) != s->val;
}

/* And own the other word. */
static long pi_wait_requeue(uint32_t *uaddr, uint32_t val, const struct timespec *until, clockid_t clock, uint32_t *uaddr2) {
	struct second_wait s = {.word = uaddr, .val = val};
	if (address_bad(uaddr) || address_bad_given(until))
		return -EFAULT;
	if (until && !timespec_valid(until))
		return -EINVAL;
	while (futex_prepare_unless(&s.w, pi_queue(uaddr), true, "futex", pi_value_differs, &s)) {
		int r = futex_commit(&s.w, pi_queue(uaddr), NULL, until ? deadline_abs(until, clock) : -1);
		if (r == 0)
			return pi_lock(uaddr2, false, until, clock);
		if (r == -ETIMEDOUT && !deadline_early(until, clock))
			return r;
		if (r == -EINTR)
			shim_interrupted_anew(g_self());
	}
	return -EAGAIN;
}

/* They queue at the other word themselves. */
static long pi_requeue(uint32_t *uaddr, int move, uint32_t expected) {
	if (address_bad(uaddr))
		return -EFAULT;
	/* relaxed: who waits has queued, and who does not yet sees for himself */
	if (__atomic_load_n(uaddr, __ATOMIC_RELAXED) != expected)
		return -EAGAIN;
	return futex_wake(pi_queue(uaddr), move == INT_MAX ? move : move + 1, FUTEX_ANY);
}

static long pi_futex(uint32_t *uaddr, int op, uint32_t val, const struct timespec *timeout, uint32_t *uaddr2, uint32_t val3) {
	int cmd = op & FUTEX_CMD_MASK;
	bool real_time = op & FUTEX_CLOCK_REALTIME, two = cmd == FUTEX_WAIT_REQUEUE_PI || cmd == FUTEX_CMP_REQUEUE_PI;
	clockid_t clock = real_time || cmd == FUTEX_LOCK_PI ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	if (real_time && cmd != FUTEX_WAIT_REQUEUE_PI && cmd != FUTEX_LOCK_PI2)
		return -ENOSYS;
	if (((uintptr_t)uaddr & 3) || (two && (((uintptr_t)uaddr2 & 3) || uaddr == uaddr2)))
		return -EINVAL;
	switch (cmd) {
	case FUTEX_UNLOCK_PI:
		return pi_unlock(uaddr);
	case FUTEX_WAIT_REQUEUE_PI:
		return pi_wait_requeue(uaddr, val, timeout, clock, uaddr2);
	case FUTEX_CMP_REQUEUE_PI:
		return val != 1 || (int)(uintptr_t)timeout < 0 ? -EINVAL : pi_requeue(uaddr, (int)(uintptr_t)timeout, val3);
	default:
		return pi_lock(uaddr, cmd == FUTEX_TRYLOCK_PI, cmd == FUTEX_TRYLOCK_PI ? NULL : timeout, clock);
	}
}

/* ---- dispatch ---------------------------------------------------------------------------------------------------- */

static bool misaligned(const uint32_t *p) {
	return ((uintptr_t)p & 3) != 0;
}

/* A shared operation on words that other processes may have. FUTEX_WAKE_OP wakes at two. */
static bool kernels(int cmd, const uint32_t *uaddr, const uint32_t *uaddr2) {
	return mapping_shared(uaddr) && (cmd != FUTEX_WAKE_OP || mapping_shared(uaddr2));
}

long shim_futex(struct g *g, uint32_t *uaddr, int op, uint32_t val, const struct timespec *timeout, uint32_t *uaddr2,
                uint32_t val3) {
	int cmd = op & FUTEX_CMD_MASK;
	uint32_t val2 = (uint32_t)(uintptr_t)timeout;
	bool private = op & FUTEX_PRIVATE_FLAG;
	if (!private && (!sched_started() || kernels(cmd, uaddr, uaddr2)))
		return kernel_futex(g, uaddr, op, val, timeout, uaddr2, val3);
	if (unlikely(!sched_started()))
		return early_futex(uaddr, op, val, timeout, uaddr2, val3);
	if (is_pi(cmd))
		return pi_futex(uaddr, op, val, timeout, uaddr2, val3);
	switch (cmd) {
	case FUTEX_WAIT:
		val3 = FUTEX_ANY;
		/* fall through */
	case FUTEX_WAIT_BITSET:
		if (address_bad(uaddr) || address_bad_given(timeout))
			return kernel_futex(g, uaddr, op, val, timeout, uaddr2, val3);
		if (timeout && !timespec_valid(timeout))
			return -EINVAL;
		if (cmd == FUTEX_WAIT && (op & FUTEX_CLOCK_REALTIME))
			return -ENOSYS;
		if (val3 == 0 || misaligned(uaddr))
			return -EINVAL;
		g = g ? g : g_self();
		if (cmd == FUTEX_WAIT && timeout)
			return wait_parked(g, uaddr, private, val, deadline_rel(timeout), val3);
		return wait_until(g, uaddr, private, val, op & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, timeout, val3);
	case FUTEX_WAKE:
		val3 = FUTEX_ANY;
		/* fall through */
	case FUTEX_WAKE_BITSET:
		if (op & FUTEX_CLOCK_REALTIME)
			return -ENOSYS;
		if (val3 == 0 || misaligned(uaddr))
			return -EINVAL;
		if (unlikely((intptr_t)uaddr < 0)) /* the kernel's; elsewhere it does not look */
			return -EFAULT;
		return wake_both(uaddr, private, val, val3);
	case FUTEX_REQUEUE:
	case FUTEX_CMP_REQUEUE:
		if (op & FUTEX_CLOCK_REALTIME)
			return -ENOSYS;
		if ((int)val < 0 || (int)val2 < 0 || misaligned(uaddr) || misaligned(uaddr2))
			return -EINVAL;
		if (cmd == FUTEX_CMP_REQUEUE && address_bad(uaddr))
			return -EFAULT;
		return requeue_in_two_places(uaddr, private, (int)val, (int)val2, uaddr2, cmd == FUTEX_CMP_REQUEUE, val3);
	case FUTEX_WAKE_OP:
		if (op & FUTEX_CLOCK_REALTIME)
			return -ENOSYS;
		if (misaligned(uaddr) || misaligned(uaddr2))
			return -EINVAL;
		if (address_unwritable(uaddr2) || (!private && address_bad(uaddr)))
			return -EFAULT;
		return wake_op(uaddr, private, val, val2, uaddr2, val3);
	default:
		return kernel_futex(g, uaddr, op, val, timeout, uaddr2, val3);
	}
}

/* ---- the younger calls --------------------------------------------------------------------------------------------- */

enum { FUTEX_WAITV = 449, FUTEX2_WAKE = 454, FUTEX2_WAIT, FUTEX2_REQUEUE, SIZE_U32 = 2 };

struct futex_place {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};

/* What the parking lot serves; everything else is the kernel's. */
static bool is_known(unsigned flags) {
	return (flags & ~(unsigned)FUTEX_PRIVATE_FLAG) == SIZE_U32;
}

static bool flags_private(long flags) {
	return flags & FUTEX_PRIVATE_FLAG;
}

static long waitv(struct g *g, const long *a) {
	atomic_fetch_add(&kernel_waiters, 1); /* seq_cst: the full barrier of the top of the file */
	long r = BRACKET_LONG(g, true, SYS6(FUTEX_WAITV, a[0], a[1], a[2], a[3], a[4], 0));
	atomic_fetch_sub_explicit(&kernel_waiters, 1, memory_order_relaxed);
	return r;
}

/* futex_wait(word, value, bits, flags, until, clock) */
static long wait_two(struct g *g, const long *a) {
	static const uint32_t zero;
	const struct timespec *until = (const struct timespec *)a[4];
	if (address_bad_given(until) || address_bad((uint32_t *)a[0]) || misaligned((uint32_t *)a[0]))
		return SYS6(FUTEX2_WAIT, a[0], a[1], a[2], a[3], until, a[5]);
	if (until && ((a[5] != CLOCK_MONOTONIC && a[5] != CLOCK_REALTIME) || !timespec_valid(until)))
		return -EINVAL;
	/* The kernel judges the other arguments, and whether it has the call at all. Of a word of ours that never has the value: who waits there for no time is
	 * queued all the same, and a requeue that met him would count him. */
	long r = SYS6(FUTEX2_WAIT, &zero, a[1] | 1, a[2], a[3], NULL, CLOCK_MONOTONIC);
	if (r != -EAGAIN)
		return r;
	return wait_until(g ? g : g_self(), (uint32_t *)a[0], flags_private(a[3]), (uint32_t)a[1], (clockid_t)a[5], until, (uint32_t)a[2]);
}

/* futex_wake(word, bits, n, flags); the kernel first, which knows whether the arguments are right. */
static long wake_two(const long *a) {
	long r = SYS4(FUTEX2_WAKE, a[0], a[1], a[2], a[3]);
	int n = (int)a[2] < 0 ? 1 : (int)a[2]; /* as the kernel's loop has it: a negative one is not reached, but looked at after the first */
	if (r < 0 || r >= n)
		return r;
	return r + futex_wake(queue_of((uint32_t *)a[0], flags_private(a[3])), (int)(n - r), (uint32_t)a[1]);
}

/* futex_requeue(places, flags, wake, move) */
static long requeue_two(const long *a) {
	const struct futex_place *place = (const struct futex_place *)a[0];
	long r = SYS4(FUTEX2_REQUEUE, a[0], a[1], a[2], a[3]);
	bool private = flags_private(place[0].flags);
	int wake = (int)a[2], move = (int)a[3];
	/* What the kernel has done it has done after the comparison: shared waiters are in one place. */
	if (r < 0 || r >= (long)wake + move || (!private && r > 0))
		return r;
	int woken = (int)(r < wake ? r : wake);
	long more = requeue_parked((uint32_t *)place[0].uaddr, private, wake - woken, (int)(move - (r - woken)), (uint32_t *)place[1].uaddr, true,
				   (uint32_t)place[0].val);
	return more < 0 ? more : r + more;
}

bool shim_futex_two(struct g *g, long n, const long *a, long *r) {
	if (n < FUTEX_WAITV || n > FUTEX2_REQUEUE || !sched_started())
		return false;
	const struct futex_place *place = (const struct futex_place *)a[0];
	if (n == FUTEX_WAITV)
		*r = waitv(g, a);
	else if (n == FUTEX2_WAKE && is_known((unsigned)a[3]))
		*r = wake_two(a);
	else if (n == FUTEX2_WAIT && is_known((unsigned)a[3]) && (flags_private(a[3]) || !mapping_shared((void *)a[0])))
		*r = wait_two(g, a);
	else if (n == FUTEX2_REQUEUE && !address_refused(place, 2 * sizeof *place, false) && is_known(place[0].flags) && place[0].flags == place[1].flags)
		*r = requeue_two(a);
	else
		return false;
	return true;
}
