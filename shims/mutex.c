/* pthread_mutex_*: glibc's object, our waiting.
 *
 * The word (__lock) is 0 free, 1 held, 2 held and somebody may be waiting. Who waits sets 2, queues on the word's
 * address in the parking lot and, when woken, takes the mutex *with 2* again, because it cannot know whether others
 * still wait; so at most one wake-up too many is paid, never one too few. The unlocker's exchange is its last access
 * to the object: after it only the address is used, as a key (SYN-9). Newcomers may overtake a woken waiter, as on
 * NPTL: handing over would make every contended unlock a context switch.
 *
 * __owner, __count and __nusers are kept as glibc keeps them: an object looks the same to a debugger, to glibc's own
 * pthread_mutex_destroy() and to PTHREAD_MUTEX_INITIALIZER.
 *
 * Kinds (__kind): bits 0..1 the type; 16 robust, 128 process-shared: glibc's (sync.h); 256 and 512 lock elision:
 * ignored; 32 priority inheritance: ours, as priorities mean nothing among goroutines, with the differences that the type shows in its results, and natively the
 * kernel hands it to who waits, so here who unlocks it lets that one run first
 * (with 16 or 128 it is the kernel's, which finds the owner's kernel thread by the number in the word: robust.c);
 * 64 priority ceiling: ours, and the owner's kernel thread is raised (ceiling.c). A ceiling is kept where glibc has it, in bits 19 and up of the
 * word, so the state is the rest of the word. One that is process-shared is ours as well for all but main, because libc would keep an account of ceilings of
 * its own, for a thread of a number that the kernel does not know; it is waited for in the kernel, where other processes wait. Two things remain: main has two
 * accounts, and is refused once more than natively if it takes both kinds without real-time priority; and a process-shared condition variable is libc's,
 * which cannot let go of such a mutex for others than main: ESRCH. -1 is a destroyed mutex: glibc reports it.
 *
 * Memory order: taking the mutex is an acquire, releasing it a release, on the same word. Everything else in the
 * object is written by the owner only; __owner is read by others, who only ask "is it me?", which no stale value can
 * answer wrongly.
 *
 * Under GOSHIM=panic=isolate every lock and unlock is noted (held.c). The short ways then are nobody's: what they compare the kind with is a variable, which costs
 * them a load and no branch.
 *
 * Rejected: tracking waiters exactly with futex_wake_update(): saves the one useless wake-up, costs a bucket lock in each
 * contended unlock while the mutex is still held. */
#include <errno.h>
#include <linux/futex.h>

#include "../core/runtime.h"
#include "ceiling.h"
#include "io.h"
#include "isolate.h"
#include "sigstate.h"
#include "sync.h"

enum {
	KIND_TYPE = 3,
	KIND_ROBUST = MUTEX_ROBUST,
	KIND_INHERIT = MUTEX_INHERIT,
	KIND_CEILING = 64,
	KIND_SHARED = MUTEX_SHARED,
	KIND_ELISION = 256 | 512,
};

#define NO_KIND UINT_MAX /* of no mutex, not even of a destroyed one, whose elision bits are not looked at */
#define STATE_MASK 0x7ffffu /* below the ceiling's bits */
#define CEILING_SHIFT 19

_Static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0 && offsetof(pthread_mutex_t, __data.__kind) == 16,
               "glibc's pthread_mutex_t");
_Static_assert(PTHREAD_MUTEX_TIMED_NP == 0 && PTHREAD_MUTEX_RECURSIVE_NP == 1 && PTHREAD_MUTEX_ERRORCHECK_NP == 2 &&
               PTHREAD_MUTEX_ADAPTIVE_NP == 3, "glibc's mutex types");

bool sync_real;

/* The kind that takes the short way: the plain one. None does when locks are noted (mutex_note_all). */
static unsigned plain_kind = PTHREAD_MUTEX_TIMED_NP;

static inline _Atomic uint32_t *mutex_word(pthread_mutex_t *m) {
	return (_Atomic uint32_t *)&m->__data.__lock;
}

static inline unsigned mutex_kind(pthread_mutex_t *m) {
	/* relaxed: it only changes in init and destroy, and glibc's first lock may set an elision bit */
	return (unsigned)__atomic_load_n(&m->__data.__kind, __ATOMIC_RELAXED) & ~(unsigned)KIND_ELISION;
}

static bool ceiling_is_ours(unsigned kind) {
	struct g *g = kind & KIND_CEILING ? g_goroutine() : NULL;
	return g && g->kind != G_MAIN;
}

static inline bool kind_is_real(unsigned kind) {
	unsigned more = kind & ~(unsigned)(KIND_TYPE | KIND_INHERIT | KIND_CEILING);
	return unlikely(more != 0 && !(more == KIND_SHARED && ceiling_is_ours(kind))) || sync_real;
}

static inline bool owner_is(pthread_mutex_t *m, int32_t tid) {
	return __atomic_load_n(&m->__data.__owner, __ATOMIC_RELAXED) == tid;
}

static inline void owner_set(pthread_mutex_t *m, int32_t tid) {
	__atomic_store_n(&m->__data.__owner, tid, __ATOMIC_RELAXED);
}

/* ---- the word -------------------------------------------------------------------------------------------------- */

/* glibc's own shortcut: while the process has one thread nobody can look at the word between the two instructions.
 * libc clears the flag before it makes the first kernel thread, hence before the runtime has a second one. */
static inline bool word_try_plain(_Atomic uint32_t *word) {
	uint32_t expected = 0;
	if (__libc_single_threaded) {
		if (atomic_load_explicit(word, memory_order_relaxed) != 0)
			return false;
		atomic_store_explicit(word, 1, memory_order_relaxed);
		return true;
	}
	return atomic_compare_exchange_strong_explicit(word, &expected, 1, memory_order_acquire, memory_order_relaxed);
}

/* Takes the word if it is free, with state `as`. *seen: what it was otherwise. */
static bool word_try(_Atomic uint32_t *word, uint32_t as, uint32_t *seen) {
	uint32_t v = atomic_load_explicit(word, memory_order_relaxed);
	while ((v & STATE_MASK) == 0) {
		if (atomic_compare_exchange_weak_explicit(word, &v, v | as, memory_order_acquire, memory_order_relaxed))
			return true;
	}
	*seen = v;
	return false;
}

/* For reports only, which look twice (core/dump.c): no order among these. */
static void wait_tell(struct g *g, const volatile void *m, bool timed) {
	if (!g)
		return;
	__atomic_store_n(&g->wait_on, (uintptr_t)m, __ATOMIC_RELAXED);
	__atomic_store_n(&g->wait_since, atomic_load_explicit(&sched.coarse_now, memory_order_relaxed), __ATOMIC_RELAXED);
	__atomic_store_n(&g->wait_what, !m ? NULL : timed ? futex_what_mutex_timed : futex_what_mutex, __ATOMIC_RELAXED);
}

/* In the kernel, as who waits for it in another process. 0, -EAGAIN, -EINTR, -ETIMEDOUT */
static long shared_wait(_Atomic uint32_t *word, uint32_t value, int64_t deadline) {
	struct g *g = g_goroutine();
	struct timespec until = {deadline / 1000000000, deadline % 1000000000};
	wait_tell(g, word, deadline >= 0);
	long r = BRACKET_LONG(g, deadline < 0, SYS6(SYS_futex, word, FUTEX_WAIT_BITSET, value, deadline < 0 ? NULL : &until, NULL,
				      FUTEX_BITSET_MATCH_ANY));
	wait_tell(g, NULL, false);
	return r;
}

/* Takes the word, waiting until `deadline`. 0 or ETIMEDOUT. */
static int word_lock(_Atomic uint32_t *word, int64_t deadline, bool contended, bool shared) {
	uint32_t seen;
	uint32_t as = contended ? 2 : 1;
	for (;;) {
		unsigned pauses = 0;
		do {
			if (word_try(word, as, &seen))
				return 0;
		} while (sync_spin(&pauses));
		uint32_t marked = (seen & ~STATE_MASK) | 2;
		/* relaxed: the waiters' mark publishes nothing */
		if (seen != marked &&
		    !atomic_compare_exchange_strong_explicit(word, &seen, marked, memory_order_relaxed, memory_order_relaxed))
			continue;
		int r = unlikely(shared) ? (int)shared_wait(word, marked, deadline)
					 : futex_wait(word, marked, deadline, FUTEX_ANY, true, futex_what_mutex);
		if (r == -ETIMEDOUT)
			return ETIMEDOUT;
		if (r == -EINTR && !shared)
			shim_interrupted_anew(g_self());
		as = 2; /* others may wait: see the top of the file */
	}
}

/* The caller holds it: its unlock shall look for waiters. Relaxed: publishes nothing. */
static void word_mark(_Atomic uint32_t *word) {
	uint32_t v = atomic_load_explicit(word, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(word, &v, (v & ~STATE_MASK) | 2, memory_order_relaxed, memory_order_relaxed))
		;
}

/* The address is only a key: the object may be gone. */
static __attribute__((noinline)) void word_wake(_Atomic uint32_t *word, bool shared) {
	if (shared)
		SYS3(SYS_futex, word, FUTEX_WAKE, 1);
	else if (sync_real)
		SYS3(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
	else
		futex_wake(word, 1, FUTEX_ANY);
}

static void word_unlock(_Atomic uint32_t *word, bool shared) {
	/* release: pairs with the acquire in word_try(). The ceiling's bits stay. */
	if ((atomic_fetch_and_explicit(word, ~STATE_MASK, memory_order_release) & STATE_MASK) == 2)
		word_wake(word, shared);
}

/* ---- glibc's mutexes ------------------------------------------------------------------------------------------- */

/* Libc's lock, or try, has said r. */
static int real_locked(unsigned kind, int r) {
	if (r == 0 || r == EOWNERDEAD)
		robust_count(kind, 1);
	return r;
}

/* EBUSY: it takes libc's lock. A robust one is not tried: libc's trylock leaves one that is not recoverable any more locked, and the next thread
 * that asks would wait for ever. */
static int real_try(pthread_mutex_t *m, unsigned kind) {
	return kind & KIND_ROBUST ? EBUSY : real.pthread_mutex_trylock(m);
}

/* Before libc's lock. Nobody has it: the call comes back at once. */
static void real_enter(struct g *g, pthread_mutex_t *m) {
	if (atomic_load_explicit(mutex_word(m), memory_order_relaxed) & FUTEX_TID_MASK) /* relaxed: a guess */
		syscall_enter_blocking(g);
	else
		syscall_enter(g);
}

static int real_lock(pthread_mutex_t *m) {
	REAL_READY();
	unsigned kind = mutex_kind(m);
	ROBUST_SELF(kind);
	int r = real_try(m, kind);
	if (r != EBUSY)
		return real_locked(kind, r);
	struct g *g = g_goroutine();
	wait_tell(g, m, false);
	real_enter(g, m);
	r = real.pthread_mutex_lock(m);
	syscall_exit(g);
	wait_tell(g, NULL, false);
	return real_locked(kind, r);
}

static int real_clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *until) {
	REAL_READY();
	unsigned kind = mutex_kind(m);
	ROBUST_SELF(kind);
	int r = real_try(m, kind);
	if (r != EBUSY)
		return real_locked(kind, r);
	struct g *g = g_goroutine();
	wait_tell(g, m, true);
	real_enter(g, m);
	r = real.pthread_mutex_clocklock(m, clock, until);
	syscall_exit(g);
	wait_tell(g, NULL, false);
	return real_locked(kind, r);
}

static int real_unlock(pthread_mutex_t *m, unsigned kind) {
	REAL_READY();
	ROBUST_SELF(kind);
	int r = real.pthread_mutex_unlock(m);
	if (r == 0)
		robust_count(kind, -1);
	return r;
}

/* ---- lock ------------------------------------------------------------------------------------------------------ */

/* The caller may hold it already: an error, one level more, or nothing special (-1). */
static int lock_held(pthread_mutex_t *m, unsigned kind, int32_t tid) {
	unsigned type = kind & KIND_TYPE;
	if ((type != PTHREAD_MUTEX_RECURSIVE_NP && type != PTHREAD_MUTEX_ERRORCHECK_NP) || !owner_is(m, tid))
		return -1;
	if (type == PTHREAD_MUTEX_ERRORCHECK_NP)
		return EDEADLK;
	if (m->__data.__count == UINT_MAX)
		return EAGAIN;
	m->__data.__count++;
	return 0;
}

static void lock_taken(pthread_mutex_t *m, unsigned kind, int32_t tid) {
	owner_set(m, tid);
	if ((kind & KIND_TYPE) == PTHREAD_MUTEX_RECURSIVE_NP)
		m->__data.__count = 1;
}

/* 0: none. Fixed while the mutex is locked. */
static int ceiling_of(pthread_mutex_t *m, unsigned kind) {
	return kind & KIND_CEILING ? (int)(atomic_load_explicit(mutex_word(m), memory_order_relaxed) >> CEILING_SHIFT) : 0;
}

static int lock_word(pthread_mutex_t *m, unsigned kind, clockid_t clock, const struct timespec *until) {
	uint32_t seen;
	if (word_try(mutex_word(m), 1, &seen))
		return 0;
	if (until) {
		/* Looked at only by who has to wait (SYN-12), in the kernel's order */
		if (until->tv_sec < 0)
			return kind & KIND_INHERIT || (kind & KIND_CEILING && !timespec_valid(&(struct timespec){0, until->tv_nsec})) ? EINVAL : ETIMEDOUT;
		if (!timespec_valid(until))
			return EINVAL;
	}
	int r;
	do
		r = word_lock(mutex_word(m), until ? deadline_abs(until, clock) : -1, false, kind & KIND_SHARED);
	while (unlikely(r) && deadline_early(until, clock));
	return r;
}

/* Every kind; `until` NULL: no deadline. */
static int lock_any(pthread_mutex_t *m, clockid_t clock, const struct timespec *until) {
	unsigned kind = mutex_kind(m);
	if (kind_is_real(kind))
		return until ? real_clocklock(m, clock, until) : real_lock(m);
	int32_t tid = sync_tid();
	int held = lock_held(m, kind, tid);
	if (held >= 0)
		return held;
	int ceiling = ceiling_of(m, kind), r = ceiling ? ceiling_enter(ceiling) : 0;
	if (r)
		return r;
	r = lock_word(m, kind, clock, until);
	if (r) {
		if (ceiling)
			ceiling_leave(ceiling);
		return r;
	}
	lock_taken(m, kind, tid);
	m->__data.__nusers++;
	return 0;
}

/* Locks are noted, and the caller may have got this one. */
static int noted(pthread_mutex_t *m, int r) {
	if (r == 0 || r == EOWNERDEAD)
		held_note(m);
	return r;
}

static __attribute__((noinline)) int mutex_lock_full(pthread_mutex_t *m, clockid_t clock, const struct timespec *until) {
	int r = lock_any(m, clock, until);
	return unlikely(plain_kind == NO_KIND) ? noted(m, r) : r;
}

/* Leaf code: the only calls are tail calls, so nothing is saved on the stack. */
SHIM_HOT int pthread_mutex_lock(pthread_mutex_t *m) {
	if (likely(mutex_kind(m) == plain_kind) && likely(word_try_plain(mutex_word(m)))) {
		/* Before our constructor ran the offset is 0, and what is written here is no thread's id; nobody asks who owns a mutex of this type. */
		owner_set(m, tcb_tid_here(tcb_tid_offset));
		m->__data.__nusers++;
		return 0;
	}
	return mutex_lock_full(m, CLOCK_REALTIME, NULL);
}

SHIM int pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *until) {
	return mutex_lock_full(m, CLOCK_REALTIME, until);
}

SHIM int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *until) {
	if (!sync_clock_valid(clock))
		return EINVAL;
	return mutex_lock_full(m, clock, until);
}

static inline int try_any(pthread_mutex_t *m) {
	unsigned kind = mutex_kind(m);
	uint32_t seen;
	if (unlikely(kind_is_real(kind))) {
		REAL_READY();
		ROBUST_SELF(kind);
		return real_locked(kind, real.pthread_mutex_trylock(m));
	}
	int32_t tid = sync_tid();
	if (kind != PTHREAD_MUTEX_TIMED_NP) {
		int held = lock_held(m, kind, tid);
		/* glibc's plain error-checking type answers EBUSY here, those with a protocol EDEADLK */
		if (held == EDEADLK && !(kind & (KIND_INHERIT | KIND_CEILING)))
			return EBUSY;
		if (held >= 0)
			return held;
	}
	int ceiling = ceiling_of(m, kind), r = ceiling ? ceiling_enter(ceiling) : 0;
	if (r)
		return r;
	if (!word_try(mutex_word(m), 1, &seen)) {
		if (ceiling)
			ceiling_leave(ceiling);
		return EBUSY;
	}
	lock_taken(m, kind, tid);
	m->__data.__nusers++;
	return 0;
}

SHIM int pthread_mutex_trylock(pthread_mutex_t *m) {
	int r = try_any(m);
	return unlikely(plain_kind == NO_KIND) ? noted(m, r) : r;
}

/* ---- unlock ---------------------------------------------------------------------------------------------------- */

/* EPERM where the type checks its owner. */
static int unlock_check(pthread_mutex_t *m, unsigned kind) {
	unsigned type = kind & KIND_TYPE;
	bool checks = type == PTHREAD_MUTEX_RECURSIVE_NP || type == PTHREAD_MUTEX_ERRORCHECK_NP || (kind & KIND_INHERIT);
	if (!checks)
		return 0;
	if (!owner_is(m, sync_tid()))
		return EPERM;
	if (type != PTHREAD_MUTEX_RECURSIVE_NP && !(atomic_load_explicit(mutex_word(m), memory_order_relaxed) & STATE_MASK))
		return EPERM;
	return 0;
}

/* The caller holds it, or its type does not care. False: a level of a recursive mutex was left, it is still held. */
static bool unlock_last(pthread_mutex_t *m, unsigned kind) {
	if ((kind & KIND_TYPE) == PTHREAD_MUTEX_RECURSIVE_NP && --m->__data.__count != 0)
		return false;
	owner_set(m, 0);
	return true;
}

/* What the priority's change back has to say, as libc. */
static int unlock_word(pthread_mutex_t *m, unsigned kind) {
	int ceiling = ceiling_of(m, kind); /* before: the object may be gone afterwards */
	word_unlock(mutex_word(m), kind & KIND_SHARED);
	return ceiling ? ceiling_leave(ceiling) : 0;
}

/* Before its unlock: whether somebody waits who natively would be the next owner. */
static bool must_make_way(pthread_mutex_t *m, unsigned kind) {
	return unlikely(kind & KIND_INHERIT) && (atomic_load_explicit(mutex_word(m), memory_order_relaxed) & STATE_MASK) == 2;
}

static __attribute__((noinline)) int mutex_unlock_full(pthread_mutex_t *m) {
	unsigned kind = mutex_kind(m);
	if (unlikely(plain_kind == NO_KIND))
		held_forget(m);
	if (kind_is_real(kind))
		return real_unlock(m, kind);
	int r = unlock_check(m, kind);
	if (r)
		return r;
	if (unlock_last(m, kind)) {
		struct g *g = must_make_way(m, kind) ? io_g() : NULL; /* not for a vfork child */
		m->__data.__nusers--;
		r = unlock_word(m, kind);
		if (g)
			g_yield(g);
	}
	return r;
}

SHIM_HOT int pthread_mutex_unlock(pthread_mutex_t *m) {
	if (unlikely(mutex_kind(m) != plain_kind))
		return mutex_unlock_full(m);
	_Atomic uint32_t *word = mutex_word(m);
	owner_set(m, 0);
	m->__data.__nusers--;
	if (__libc_single_threaded) {
		/* nobody waits: a waiter would be a second thread (or did not come along into this fork's child) */
		atomic_store_explicit(word, 0, memory_order_relaxed);
		return 0;
	}
	/* release: pairs with the acquire of the next owner. The last access to the object (SYN-9). */
	if (unlikely(atomic_exchange_explicit(word, 0, memory_order_release) == 2))
		word_wake(word, false);
	return 0;
}

/* The caller has it, and does not take it again to change its ceiling. -1: it may take it. */
static int ceiling_held(pthread_mutex_t *m, unsigned kind) {
	unsigned type = kind & KIND_TYPE;
	if ((type != PTHREAD_MUTEX_RECURSIVE_NP && type != PTHREAD_MUTEX_ERRORCHECK_NP) || !owner_is(m, sync_tid()))
		return -1;
	return type == PTHREAD_MUTEX_ERRORCHECK_NP ? EDEADLK : 0;
}

/* It is locked without obedience to its ceiling. libc's would wait, and wake who waits, in the kernel. */
SHIM int pthread_mutex_setprioceiling(pthread_mutex_t *m, int ceiling, int *old) {
	REAL_READY();
	unsigned kind = mutex_kind(m);
	if (!(kind & KIND_CEILING) || kind_is_real(kind))
		return real.pthread_mutex_setprioceiling(m, ceiling, old);
	if (ceiling < sched_get_priority_min(SCHED_FIFO) || ceiling > sched_get_priority_max(SCHED_FIFO))
		return EINVAL;
	_Atomic uint32_t *word = mutex_word(m);
	int held = ceiling_held(m, kind);
	if (held > 0)
		return held;
	if (held < 0)
		word_lock(word, -1, false, kind & KIND_SHARED);
	int before = ceiling_of(m, kind);
	if (held == 0) {
		int r = ceiling_enter(ceiling);
		ceiling_leave(before); /* as in libc also when the kernel refuses */
		if (r)
			return r;
	}
	int *volatile at = old; /* libc's header promises that it is there, libc itself looks */
	if (at)
		*at = before;
	/* release: pairs with the acquire in word_try() */
	uint32_t v = atomic_load_explicit(word, memory_order_relaxed), to = (uint32_t)ceiling << CEILING_SHIFT;
	while (!atomic_compare_exchange_weak_explicit(word, &v, to | (held == 0 ? v & STATE_MASK : 0), memory_order_release, memory_order_relaxed))
		;
	/* All: they wait for another value of the word. */
	if (kind & KIND_SHARED)
		SYS3(SYS_futex, word, FUTEX_WAKE, INT_MAX);
	else
		futex_wake(word, INT_MAX, FUTEX_ANY);
	return 0;
}

/* The new owner's number is written down. */
SHIM int pthread_mutex_consistent(pthread_mutex_t *m) {
	REAL_READY();
	ROBUST_SELF(mutex_kind(m));
	return real.pthread_mutex_consistent(m);
}

/* libc's header renames calls of it; old programs ask for the name itself. */
SHIM int consistent_by_old_name(pthread_mutex_t *m) __asm__("pthread_mutex_consistent_np");
SHIM int consistent_by_old_name(pthread_mutex_t *m) {
	return pthread_mutex_consistent(m);
}

/* ---- for condition variables ------------------------------------------------------------------------------------- */

const void *mutex_queue(pthread_mutex_t *m) {
	unsigned kind = mutex_kind(m);
	return kind_is_real(kind) || (kind & KIND_SHARED) ? NULL : (const void *)mutex_word(m);
}

bool mutex_is_ours(pthread_mutex_t *m) {
	return !kind_is_real(mutex_kind(m));
}

int mutex_cond_check(pthread_mutex_t *m) {
	unsigned kind = mutex_kind(m);
	if (!kind_is_real(kind))
		return unlock_check(m, kind);
	/* Libc would say so, but to ask it who has none becomes a kernel thread, and that is no time for it: it is queued already. */
	return mutex_needs_owner(kind) && !robust_owns(atomic_load_explicit(mutex_word(m), memory_order_relaxed)) ? EPERM : 0;
}

int mutex_cond_unlock(pthread_mutex_t *m) {
	unsigned kind = mutex_kind(m);
	if (unlikely(plain_kind == NO_KIND))
		held_forget(m);
	if (kind_is_real(kind))
		return real_unlock(m, kind);
	if (unlock_last(m, kind))
		unlock_word(m, kind);
	return 0;
}

static int cond_lock(pthread_mutex_t *m, bool contended) {
	unsigned kind = mutex_kind(m);
	if (kind_is_real(kind))
		return real_lock(m);
	int32_t tid = sync_tid();
	int held = lock_held(m, kind, tid);
	if (held >= 0) {
		if (contended) /* a recursive one that was held all the time */
			word_mark(mutex_word(m));
		return held;
	}
	int ceiling = ceiling_of(m, kind);
	if (ceiling)
		ceiling_enter(ceiling);
	word_lock(mutex_word(m), -1, contended, kind & KIND_SHARED);
	lock_taken(m, kind, tid);
	return 0;
}

int mutex_cond_lock(pthread_mutex_t *m, bool contended) {
	int r = cond_lock(m, contended);
	return unlikely(plain_kind == NO_KIND) ? noted(m, r) : r;
}

void mutex_note_all(void) {
	plain_kind = NO_KIND;
}

/* glibc exports these to programs that were linked with its old libpthread. */
SYNC_ALIAS(__pthread_mutex_lock, pthread_mutex_lock, (pthread_mutex_t *));
SYNC_ALIAS(__pthread_mutex_trylock, pthread_mutex_trylock, (pthread_mutex_t *));
SYNC_ALIAS(__pthread_mutex_unlock, pthread_mutex_unlock, (pthread_mutex_t *));
