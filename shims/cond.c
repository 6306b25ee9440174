/* pthread_cond_*: a queue in the parking lot, keyed by an address inside the object.
 *
 * A waiter, holding the mutex: counts itself in `refs`, queues itself, unlocks the mutex, sleeps. So a thread that
 * takes the mutex afterwards and signals finds it (SYN-1). Wakers take from the head of the queue: who began to wait
 * after a signal can never get that signal (SYN-2). When it runs again the waiter gives up its ref, then takes the
 * mutex.
 *
 *   refs        bit 0 process-shared, bit 1 CLOCK_MONOTONIC (both glibc's, set by its init), bit 2 somebody waits in destroy;
 *               from bit 3: threads between begin and end of a wait. Zero there: a signal is one load. pthread_cond_destroy() waits
 *               for zero, so a waiter may look at the object after it was woken, even if broadcast was followed by destroy at once.
 *               Not so whom a broadcast moves: it runs only when it gets the mutex, which who destroys may hold. The broadcaster gives up
 *               the refs of those that it tells, and they never look at the object again.
 *   broadcasts  number of broadcasts. A waiter that leaves the queue by itself and finds it changed *was* signalled: it may have
 *               been moved to the mutex's queue before its deadline passed, or have been out of the queue for a handler.
 *   missed      number of signals that found refs but nobody in the queue, see below.
 *   queue       the mutex's queue to which a broadcast moves the waiters; NULL: the mutex is glibc's.
 *
 * Broadcast wakes one waiter and moves the others to the mutex's queue: no stampede. Who sets the mutex word to 2, so
 * that unlock wakes the moved ones? The one that was woken: it and every moved one lock the mutex as contended (the
 * broadcaster tells each that it meets; not by `broadcasts`, which is counted before the queue is looked at: who queued himself
 * in between is met and does not see it change), and each unlock of a contended mutex wakes the next. The broadcaster itself never touches the
 * mutex: it may not hold it, and a queue pointer left from earlier waits may be dead (it is only a key then, with
 * nobody to move). It reads that pointer with the bucket locked: those before may have gone, and the next wait with another mutex.
 *
 * Interruptions. Handlers run while the thread is "blocked in the condition variable": it must get signals sent
 * meanwhile, must not return because of the handler, and does not hold the mutex. The interrupted waiter is out of the
 * queue but keeps its ref. A signaller that finds refs but an empty queue adds to `missed` and tries the queue again;
 * a waiter that comes back looks at `missed` with the bucket locked and queues itself or not: either it sees the signal, or the second try finds it, and
 * it takes none that is another's. A cancel that is acted upon in that state unwinds through
 * cond_interrupted(), which takes the mutex first (CAN-5). Such a waiter consumed no signal, as only one of
 * interruption and wake-up claims it. This file must be compiled with -fexceptions.
 *
 * Objects: glibc's 48 bytes; zero is PTHREAD_COND_INITIALIZER. The ancient pthread_cond_*@GLIBC_2.2.5, whose objects
 * glibc treats as a pointer to a real one, arrive here too and work as they are: same size, zero-initialised; that is
 * why pthread_cond_init is interposed (SYN-4). Process-shared ones are glibc's. */
#include <errno.h>

#include "inspect.h"
#include "sync.h"

#ifndef __EXCEPTIONS
#error "cond.c needs -fexceptions"
#endif

struct cond {
	_Atomic uint32_t broadcasts;
	_Atomic uint32_t missed;
	const void *_Atomic queue;
	uint32_t key; /* only its address is used */
	uint32_t spare[4];
	_Atomic uint32_t refs;
	uint32_t spare2[2];
};

enum { COND_SHARED = 1, COND_MONOTONIC = 2, COND_DESTROY = 4, COND_REF = 8, COND_REF_SHIFT = 3 };

_Static_assert(offsetof(struct cond, key) == COND_WORD, "reports");
_Static_assert(sizeof(struct cond) == sizeof(pthread_cond_t) &&
               offsetof(struct cond, refs) == offsetof(pthread_cond_t, __data.__wrefs), "glibc's pthread_cond_t");

#define SHARED_SLICE_NS 10000000 /* see shared_private_wait() */

static inline struct cond *cond_of(pthread_cond_t *c) {
	return (struct cond *)c;
}

/* glibc's */
static inline bool cond_is_shared(struct cond *c) {
	/* relaxed: constant after init */
	return atomic_load_explicit(&c->refs, memory_order_relaxed) & COND_SHARED || sync_real;
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

/* True: they were the last, and somebody waits in destroy. */
static bool refs_give_up(struct cond *c, uint32_t n) {
	/* release: our looks at the object come before; pairs with the acquire in pthread_cond_destroy() */
	uint32_t before = atomic_fetch_sub_explicit(&c->refs, n * COND_REF, memory_order_release);
	return before >> COND_REF_SHIFT == n && (before & COND_DESTROY);
}

static void destroy_wake(struct cond *c) {
	futex_wake(&c->refs, INT_MAX, FUTEX_ANY);
}

static void ref_drop(struct cond *c) {
	if (unlikely(refs_give_up(c, 1)))
		destroy_wake(c);
}

static void cond_signal(struct cond *c) {
	if (futex_wake(&c->key, 1, FUTEX_ANY) == 0) {
		/* On their way out, or interrupted. release: pairs with signalled_since() */
		atomic_fetch_add_explicit(&c->missed, 1, memory_order_release);
		futex_wake(&c->key, 1, FUTEX_ANY);
	}
}

/* What the waiter saw when it began. */
struct cond_seen {
	uint32_t broadcasts, missed;
};

static bool broadcast_since(struct cond *c, const struct cond_seen *seen) {
	/* acquire: pairs with the release in broadcast */
	return atomic_load_explicit(&c->broadcasts, memory_order_acquire) != seen->broadcasts;
}

static bool signalled_since(struct cond *c, const struct cond_seen *seen) {
	return broadcast_since(c, seen) || atomic_load_explicit(&c->missed, memory_order_acquire) != seen->missed;
}

/* What to do for a waiter that ends by cancellation, pthread_exit or an exception in a handler. */
struct cond_frame {
	struct cond *cond; /* NULL: its ref was given up for it */
	pthread_mutex_t *mutex; /* NULL: it goes on */
};

static void cond_unwound(struct cond_frame *f) {
	if (!f->mutex)
		return;
	if (f->cond)
		ref_drop(f->cond);
	mutex_cond_lock(f->mutex, true); /* contended: a broadcast may have counted on this thread */
}

/* Out of the queue, without the mutex: handlers, cancellation. May unwind; then the mutex is taken first (CAN-5). */
static void cond_interrupted(struct cond *c, pthread_mutex_t *m, struct g *g) {
	__attribute__((cleanup(cond_unwound))) struct cond_frame frame = {c, m};
	shim_interrupted(g, true);
	sync_testcancel();
	frame.mutex = NULL;
}

struct cond_again {
	struct cond *cond;
	const struct cond_seen *seen;
};

static bool cond_over(void *arg) {
	struct cond_again *again = arg;
	return signalled_since(again->cond, again->seen);
}

/* Queued, mutex unlocked: sleeps until signalled (0) or -ETIMEDOUT. */
static int cond_sleep(struct cond *c, pthread_mutex_t *m, struct fwaiter *w, const struct cond_seen *seen, int64_t deadline) {
	struct cond_again again = {c, seen};
	int64_t slice = 0;
	for (;;) {
		int64_t until = sync_slice(w->g, deadline, &slice);
		int r = futex_commit(w, &c->key, NULL, until);
		if (r == 0)
			return 0;
		if (r == -ETIMEDOUT && until == deadline)
			return w->moving || broadcast_since(c, seen) ? 0 : r;
		cond_interrupted(w->moving ? NULL : c, m, w->g);
		if (w->moving || !futex_prepare_unless(w, &c->key, true, futex_what_cond, cond_over, &again))
			return 0;
	}
}

static int cond_wait(struct cond *c, pthread_mutex_t *m, int64_t deadline) {
	int err = mutex_cond_check(m);
	if (err)
		return err;
	sync_testcancel();
	/* relaxed: who must see us takes the mutex after us */
	atomic_fetch_add_explicit(&c->refs, COND_REF, memory_order_relaxed);
	const void *queue = mutex_queue(m);
	if (atomic_load_explicit(&c->queue, memory_order_relaxed) != queue)
		atomic_store_explicit(&c->queue, queue, memory_order_relaxed);
	struct cond_seen seen = {atomic_load_explicit(&c->broadcasts, memory_order_relaxed),
	                         atomic_load_explicit(&c->missed, memory_order_relaxed)};
	struct fwaiter w;
	futex_prepare(&w, &c->key, NULL, true, futex_what_cond);
	err = mutex_cond_unlock(m);
	if (unlikely(err)) {
		if (futex_uncommit(&w, &c->key, NULL))
			cond_signal(c); /* it was for another */
		ref_drop(c);
		return err;
	}
	int r = cond_sleep(c, m, &w, &seen, deadline);
	if (!w.moving) /* else the broadcaster did, and it may be gone */
		ref_drop(c);
	err = mutex_cond_lock(m, w.moving);
	return err ? err : -r;
}

/* ---- process-shared ones ------------------------------------------------------------------------------------------ */

static void shared_private_unwound(pthread_mutex_t **m) {
	if (*m) /* the caller's cleanup handlers have it (CAN-5) */
		mutex_cond_lock(*m, false);
}

/* glibc's condition variable with a mutex of ours. glibc would unlock and lock the mutex by its own protocol and not
 * wake goroutines that wait for it, so it gets a mutex of its own, and the gap between unlocking ours and joining the
 * queue is closed by returning (spuriously, as POSIX allows) after a slice of time. POSIX wants a process-shared mutex
 * here; this keeps the rest alive. */
static int shared_private_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline) {
	pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
	int err = mutex_cond_check(m);
	if (err)
		return err;
	int64_t end = nanotime() + SHARED_SLICE_NS;
	bool last = deadline >= 0 && deadline <= end;
	if (last)
		end = deadline;
	struct timespec until = {end / 1000000000, end % 1000000000};
	struct g *g = g_goroutine();
	real.pthread_mutex_lock(&own);
	__attribute__((cleanup(shared_private_unwound))) pthread_mutex_t *unwound = m;
	mutex_cond_unlock(m);
	syscall_enter_blocking(g);
	int r = real.pthread_cond_clockwait(c, &own, CLOCK_MONOTONIC, &until);
	syscall_exit(g);
	real.pthread_mutex_unlock(&own);
	unwound = NULL;
	err = mutex_cond_lock(m, false);
	return err ? err : r == ETIMEDOUT && !last ? 0 : r;
}

/* `until` NULL: no deadline. clock -1: the condition variable's own. */
static __attribute__((noinline)) int shared_wait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
                                                 const struct timespec *until) {
	REAL_READY();
	if (mutex_is_ours(m)) {
		if (clock == -1)
			clock = cond_of(c)->refs & COND_MONOTONIC ? CLOCK_MONOTONIC : CLOCK_REALTIME;
		int r = shared_private_wait(c, m, until ? deadline_abs(until, clock) : -1);
		return r == ETIMEDOUT && deadline_early(until, clock) ? 0 : r;
	}
	struct g *g = g_goroutine();
	ROBUST_SELF((unsigned)m->__data.__kind);
	syscall_enter_blocking(g);
	int r = !until        ? real.pthread_cond_wait(c, m)
	        : clock == -1 ? real.pthread_cond_timedwait(c, m, until)
	                      : real.pthread_cond_clockwait(c, m, clock, until);
	syscall_exit(g);
	return r;
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

SHIM int pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *attr) {
	REAL_READY();
	return real.pthread_cond_init(c, attr);
}

SHIM int pthread_cond_destroy(pthread_cond_t *c) {
	struct cond *cond = cond_of(c);
	if (cond_is_shared(cond)) {
		REAL_READY();
		struct g *g = g_goroutine();
		syscall_enter_blocking(g);
		int r = real.pthread_cond_destroy(c);
		syscall_exit(g);
		return r;
	}
	/* acquire: pairs with the release in ref_drop(); nobody looks at the object any more */
	uint32_t refs = atomic_fetch_or_explicit(&cond->refs, COND_DESTROY, memory_order_acquire) | COND_DESTROY;
	while (refs >> COND_REF_SHIFT) {
		if (futex_wait(&cond->refs, refs, -1, FUTEX_ANY, true, "cond destroy") == -EINTR)
			shim_interrupted(g_self(), true);
		refs = atomic_load_explicit(&cond->refs, memory_order_acquire);
	}
	return 0;
}

SHIM int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m) {
	if (unlikely(cond_is_shared(cond_of(c))))
		return shared_wait(c, m, -1, NULL);
	return cond_wait(cond_of(c), m, -1);
}

static int cond_wait_until(struct cond *c, pthread_mutex_t *m, clockid_t clock, const struct timespec *until) {
	int r = cond_wait(c, m, deadline_abs(until, clock));
	/* It was in no queue since: a signal may have found nobody, so the caller has to look, as after any wake-up for nothing. */
	return r == ETIMEDOUT && deadline_early(until, clock) ? 0 : r;
}

static bool nanoseconds_valid(const struct timespec *ts) {
	return ts->tv_nsec >= 0 && ts->tv_nsec < 1000000000;
}

SHIM int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until) {
	if (!nanoseconds_valid(until))
		return EINVAL;
	struct cond *cond = cond_of(c);
	uint32_t refs = atomic_load_explicit(&cond->refs, memory_order_relaxed);
	if (unlikely(refs & COND_SHARED || sync_real))
		return shared_wait(c, m, -1, until);
	return cond_wait_until(cond, m, refs & COND_MONOTONIC ? CLOCK_MONOTONIC : CLOCK_REALTIME, until);
}

SHIM int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock, const struct timespec *until) {
	if (!nanoseconds_valid(until) || !sync_clock_valid(clock))
		return EINVAL;
	if (unlikely(cond_is_shared(cond_of(c))))
		return shared_wait(c, m, clock, until);
	return cond_wait_until(cond_of(c), m, clock, until);
}

SHIM int pthread_cond_signal(pthread_cond_t *c) {
	struct cond *cond = cond_of(c);
	/* relaxed: a waiter that the signal is meant for unlocked the mutex, or was otherwise seen to wait, before */
	uint32_t refs = atomic_load_explicit(&cond->refs, memory_order_relaxed);
	if (unlikely(refs & COND_SHARED || sync_real)) {
		REAL_READY();
		return real.pthread_cond_signal(c);
	}
	if (refs >> COND_REF_SHIFT)
		cond_signal(cond);
	return 0;
}

struct cond_met {
	struct cond *cond;
	bool last;
};

static void broadcast_met(void *arg, int n) {
	struct cond_met *met = arg;
	met->last = refs_give_up(met->cond, (uint32_t)n);
}

SHIM int pthread_cond_broadcast(pthread_cond_t *c) {
	struct cond *cond = cond_of(c);
	uint32_t refs = atomic_load_explicit(&cond->refs, memory_order_relaxed);
	if (unlikely(refs & COND_SHARED || sync_real)) {
		REAL_READY();
		return real.pthread_cond_broadcast(c);
	}
	if (!(refs >> COND_REF_SHIFT))
		return 0;
	/* release: pairs with broadcast_since(). Before the queue is touched: see cond_sleep() */
	atomic_fetch_add_explicit(&cond->broadcasts, 1, memory_order_release);
	struct cond_met met = {cond, false};
	futex_broadcast(&cond->key, &cond->queue, broadcast_met, &met);
	if (unlikely(met.last))
		destroy_wake(cond);
	return 0;
}
