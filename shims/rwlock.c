/* pthread_rwlock_*: glibc's object and preferences, an algorithm of our own.
 *
 * State: one 64-bit word (glibc's __readers and __writers).
 *   bits 0..28   readers that hold it
 *   bit 29       RWAIT: readers may be queued. May be stale (they timed out)
 *   bit 30       WRITER: a writer holds it
 *   bit 31       HUNGRY: somebody is overtaken again and again. May be stale
 *   bits 32..63  writers that want it. Exact: who gives up counts itself out
 * Readers queue in the parking lot on the address of __wrphase_futex, writers on that of __writers_futex; the words
 * themselves are not used. __cur_writer is the writer's tid, for EDEADLK. __flags (preference) and __shared are
 * glibc's.
 *
 * Waiting: announce yourself in the state (RWAIT, or one more writer), queue, look at the state again, sleep only if
 * it still forbids you. Unlocking: change the state, then look at the queue. Both pass the bucket's lock between their
 * two steps: the waiter sees the new state or the unlocker sees the waiter (SYN-11, SYN-14). The state change is the
 * unlocker's last access to the object; the queues' addresses are only keys (SYN-9).
 *
 * Who is woken when a writer leaves:
 *   PREFER_READER     all queued readers; if there are none, one writer. The last of those readers wakes a writer.
 *   the other two     one writer if any wants it; else all queued readers.
 * Who is woken when the last reader leaves: one writer. When the last wanting writer gives up: the readers. A woken
 * thread always tries again, whatever its deadline, and any later unlock wakes again while it is announced: so a
 * wake-up that finds the lock taken by a newcomer is not lost. Newcomers may overtake: readers whenever no writer
 * holds it (PREFER_WRITER_NONRECURSIVE: and none wants it), writers whenever it is free. glibc hands the lock over, so that a thread which takes it again and again
 * keeps nobody out. Here who was woken in vain for HUNGRY_NS says so, and who then unlocks lets him run first: always to hand over would make each contended unlock
 * a switch, with nobody who may use the lock until then.
 *
 * Memory order: acquire when taking, release when leaving. All changes are read-modify-writes of one word, so a writer
 * synchronises with every reader that left before (release sequence).
 *
 * POSIX has no cancellation point here, and glibc none either. Process-shared locks are glibc's. */
#include <errno.h>

#include "io.h"
#include "sigstate.h"
#include "sync.h"

#define READERS_MASK 0x1fffffffull
#define RWAIT (1ull << 29)
#define WRITER (1ull << 30)
#define HUNGRY (1ull << 31)
#define HUNGRY_NS 1000000
#define WANT_ONE (1ull << 32)

_Static_assert(offsetof(pthread_rwlock_t, __data.__readers) == 0 && offsetof(pthread_rwlock_t, __data.__writers) == 4 &&
               _Alignof(pthread_rwlock_t) == 8 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "glibc's pthread_rwlock_t");

static inline _Atomic uint64_t *state_of(pthread_rwlock_t *l) {
	return (_Atomic uint64_t *)(void *)l;
}

/* glibc's */
static inline bool is_shared(pthread_rwlock_t *l) {
	return l->__data.__shared != 0 || sync_real;
}

/* A reader may come in. */
static inline bool reader_may(pthread_rwlock_t *l, uint64_t s) {
	if (s & WRITER)
		return false;
	return s < WANT_ONE || l->__data.__flags != PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP;
}

static inline bool writer_may(uint64_t s) {
	return (s & (WRITER | READERS_MASK)) == 0;
}

static inline bool is_writer(pthread_rwlock_t *l) {
	/* relaxed: only our own tid matters, and we wrote that ourselves */
	return __atomic_load_n(&l->__data.__cur_writer, __ATOMIC_RELAXED) == sync_tid();
}

static inline void set_writer(pthread_rwlock_t *l, int32_t tid) {
	__atomic_store_n(&l->__data.__cur_writer, tid, __ATOMIC_RELAXED);
}

static inline bool state_cas(pthread_rwlock_t *l, uint64_t *s, uint64_t to, memory_order order) {
	return atomic_compare_exchange_weak_explicit(state_of(l), s, to, order, memory_order_relaxed);
}

static inline uint64_t state_load(pthread_rwlock_t *l) {
	/* relaxed: decisions are made by the compare-and-swap that follows */
	return atomic_load_explicit(state_of(l), memory_order_relaxed);
}

/* Of one who waits. */
struct overtaken {
	bool woken;    /* just now, and it did not get in */
	int64_t since; /* nanotime() when that happened first; 0: never */
};

/* What it says before it sleeps again. */
static uint64_t hungry(struct overtaken *o) {
	if (!o->woken)
		return 0;
	int64_t now = nanotime();
	if (!o->since)
		o->since = now;
	return now - o->since >= HUNGRY_NS ? HUNGRY : 0;
}

/* The state up to which a reader takes the short way; 0 where readers are noted (readers.c): nobody does. */
static uint64_t plain_readers = READERS_MASK;

void rwlock_note_all(void) {
	plain_readers = 0;
}

static inline bool readers_are_noted(void) {
	return unlikely(plain_readers == 0);
}

/* The caller may have got it. */
static inline int read_noted(pthread_rwlock_t *l, int r) {
	if (readers_are_noted() && r == 0)
		readers_note(l);
	return r;
}

/* After the unlock of a lock whose state was s. */
static inline void make_way(uint64_t s) {
	struct g *g = unlikely(s & HUNGRY) ? io_g() : NULL; /* not for a vfork child */
	if (g)
		g_yield(g);
}

/* ---- readers --------------------------------------------------------------------------------------------------- */

/* 0, EAGAIN (too many readers) or EBUSY. */
static int read_try(pthread_rwlock_t *l) {
	uint64_t s = state_load(l);
	while (reader_may(l, s)) {
		if ((s & READERS_MASK) == READERS_MASK)
			return EAGAIN;
		if (state_cas(l, &s, s + 1, memory_order_acquire))
			return 0;
	}
	return EBUSY;
}

static int read_wait(pthread_rwlock_t *l, int64_t deadline) {
	if (is_writer(l))
		return EDEADLK;
	for (struct overtaken o = {0};;) {
		int r;
		unsigned pauses = 0;
		do {
			r = read_try(l);
			if (r != EBUSY)
				return r;
		} while (sync_spin(&pauses));
		struct fwaiter w;
		uint64_t tell = RWAIT | hungry(&o);
		futex_prepare(&w, &l->__data.__wrphase_futex, NULL, true, "rwlock read");
		uint64_t s = state_load(l);
		while (!reader_may(l, s) && (s & tell) != tell && !state_cas(l, &s, s | tell, memory_order_relaxed))
			;
		bool free_now = reader_may(l, s);
		if (free_now)
			wait_claim_self(w.g, WAKE_TIMEOUT);
		r = futex_commit(&w, &l->__data.__wrphase_futex, NULL, deadline);
		o.woken = r == 0;
		if (r == -ETIMEDOUT && !free_now)
			return ETIMEDOUT;
		if (r == -EINTR)
			shim_interrupted_anew(w.g);
	}
}

static void read_unlock(pthread_rwlock_t *l, uint64_t s) {
	if (readers_are_noted())
		readers_forget(l);
	bool last;
	do
		last = (s & READERS_MASK) == 1;
	while (!state_cas(l, &s, last ? (s - 1) & ~HUNGRY : s - 1, memory_order_release)); /* our reads come before the next writer's writes */
	if (s >= WANT_ONE && last)
		futex_wake(&l->__data.__writers_futex, 1, FUTEX_ANY);
	if (last)
		make_way(s);
}

/* ---- writers --------------------------------------------------------------------------------------------------- */

/* Takes it if it is free; `want`: what the caller is counted with. */
static bool write_try(pthread_rwlock_t *l, uint64_t want) {
	uint64_t s = state_load(l);
	while (writer_may(s)) {
		if (state_cas(l, &s, (s - want) | WRITER, memory_order_acquire)) {
			set_writer(l, sync_tid());
			return true;
		}
	}
	return false;
}

/* No longer wants it. The readers may have waited only because of us. */
static void write_give_up(pthread_rwlock_t *l) {
	uint64_t s = state_load(l), to;
	do {
		to = s - WANT_ONE;
		if (to < WANT_ONE && !(to & WRITER))
			to &= ~RWAIT;
	} while (!state_cas(l, &s, to, memory_order_relaxed)); /* publishes nothing */
	if ((s ^ to) & RWAIT)
		futex_wake(&l->__data.__wrphase_futex, INT_MAX, FUTEX_ANY);
}

static int write_wait(pthread_rwlock_t *l, int64_t deadline) {
	if (is_writer(l))
		return EDEADLK;
	unsigned pauses = 0;
	do {
		if (write_try(l, 0))
			return 0;
	} while (sync_spin(&pauses));
	atomic_fetch_add_explicit(state_of(l), WANT_ONE, memory_order_relaxed); /* announces only */
	struct overtaken o = {0};
	while (!write_try(l, WANT_ONE)) {
		struct fwaiter w;
		uint64_t tell = hungry(&o);
		futex_prepare(&w, &l->__data.__writers_futex, NULL, true, "rwlock write");
		uint64_t s = state_load(l);
		while (!writer_may(s) && (s & tell) != tell && !state_cas(l, &s, s | tell, memory_order_relaxed))
			;
		bool free_now = writer_may(s);
		if (free_now)
			wait_claim_self(w.g, WAKE_TIMEOUT);
		int r = futex_commit(&w, &l->__data.__writers_futex, NULL, deadline);
		o.woken = r == 0;
		if (r == -ETIMEDOUT && !free_now) {
			write_give_up(l);
			return ETIMEDOUT;
		}
		if (r == -EINTR)
			shim_interrupted_anew(w.g);
	}
	return 0;
}

static void write_unlock(pthread_rwlock_t *l, uint64_t s) {
	bool readers_first = l->__data.__flags == PTHREAD_RWLOCK_PREFER_READER_NP;
	uint64_t to;
	set_writer(l, 0);
	do {
		to = s & ~(WRITER | HUNGRY);
		if (readers_first || s < WANT_ONE)
			to &= ~RWAIT;
	} while (!state_cas(l, &s, to, memory_order_release)); /* our writes are visible to whoever comes next */
	int woken = 0;
	if ((s ^ to) & RWAIT)
		woken = futex_wake(&l->__data.__wrphase_futex, INT_MAX, FUTEX_ANY);
	if (s >= WANT_ONE && woken == 0)
		futex_wake(&l->__data.__writers_futex, 1, FUTEX_ANY);
	make_way(s);
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

static bool times_valid(clockid_t clock, const struct timespec *until) {
	return sync_clock_valid(clock) && until->tv_nsec >= 0 && until->tv_nsec < 1000000000;
}

static __attribute__((noinline)) int shared_lock(pthread_rwlock_t *l, bool write, clockid_t clock, const struct timespec *until) {
	REAL_READY();
	int r = write ? real.pthread_rwlock_trywrlock(l) : real.pthread_rwlock_tryrdlock(l);
	if (r != EBUSY)
		return r;
	struct g *g = g_goroutine();
	syscall_enter_blocking(g);
	if (until)
		r = write ? real.pthread_rwlock_clockwrlock(l, clock, until) : real.pthread_rwlock_clockrdlock(l, clock, until);
	else
		r = write ? real.pthread_rwlock_wrlock(l) : real.pthread_rwlock_rdlock(l);
	syscall_exit(g);
	return r;
}

SHIM int pthread_rwlock_rdlock(pthread_rwlock_t *l) {
	if (unlikely(is_shared(l)))
		return shared_lock(l, false, 0, NULL);
	/* nobody but readers, no overflow: no need to look at the preference */
	uint64_t s = state_load(l);
	if (likely(s < plain_readers) && likely(state_cas(l, &s, s + 1, memory_order_acquire)))
		return 0;
	int r = read_try(l);
	return read_noted(l, r == EBUSY ? read_wait(l, -1) : r);
}

SHIM int pthread_rwlock_clockrdlock(pthread_rwlock_t *l, clockid_t clock, const struct timespec *until) {
	if (!times_valid(clock, until))
		return EINVAL;
	if (unlikely(is_shared(l)))
		return shared_lock(l, false, clock, until);
	int r = read_try(l);
	if (r == EBUSY) {
		do
			r = read_wait(l, deadline_abs(until, clock));
		while (r == ETIMEDOUT && deadline_early(until, clock));
	}
	return read_noted(l, r);
}

SHIM int pthread_rwlock_timedrdlock(pthread_rwlock_t *l, const struct timespec *until) {
	return pthread_rwlock_clockrdlock(l, CLOCK_REALTIME, until);
}

SHIM int pthread_rwlock_tryrdlock(pthread_rwlock_t *l) {
	if (unlikely(is_shared(l))) {
		REAL_READY();
		return real.pthread_rwlock_tryrdlock(l);
	}
	return read_noted(l, read_try(l));
}

SHIM int pthread_rwlock_wrlock(pthread_rwlock_t *l) {
	if (unlikely(is_shared(l)))
		return shared_lock(l, true, 0, NULL);
	return write_try(l, 0) ? 0 : write_wait(l, -1);
}

SHIM int pthread_rwlock_clockwrlock(pthread_rwlock_t *l, clockid_t clock, const struct timespec *until) {
	if (!times_valid(clock, until))
		return EINVAL;
	if (unlikely(is_shared(l)))
		return shared_lock(l, true, clock, until);
	if (write_try(l, 0))
		return 0;
	int r;
	do
		r = write_wait(l, deadline_abs(until, clock));
	while (r == ETIMEDOUT && deadline_early(until, clock));
	return r;
}

SHIM int pthread_rwlock_timedwrlock(pthread_rwlock_t *l, const struct timespec *until) {
	return pthread_rwlock_clockwrlock(l, CLOCK_REALTIME, until);
}

SHIM int pthread_rwlock_trywrlock(pthread_rwlock_t *l) {
	if (unlikely(is_shared(l))) {
		REAL_READY();
		return real.pthread_rwlock_trywrlock(l);
	}
	return write_try(l, 0) ? 0 : EBUSY;
}

SHIM int pthread_rwlock_unlock(pthread_rwlock_t *l) {
	if (unlikely(is_shared(l))) {
		REAL_READY();
		return real.pthread_rwlock_unlock(l);
	}
	uint64_t s = state_load(l);
	if (s & WRITER)
		write_unlock(l, s);
	else
		read_unlock(l, s);
	return 0;
}

/* glibc exports these to programs that were linked with its old libpthread. */
SYNC_ALIAS(__pthread_rwlock_rdlock, pthread_rwlock_rdlock, (pthread_rwlock_t *));
SYNC_ALIAS(__pthread_rwlock_tryrdlock, pthread_rwlock_tryrdlock, (pthread_rwlock_t *));
SYNC_ALIAS(__pthread_rwlock_wrlock, pthread_rwlock_wrlock, (pthread_rwlock_t *));
SYNC_ALIAS(__pthread_rwlock_trywrlock, pthread_rwlock_trywrlock, (pthread_rwlock_t *));
SYNC_ALIAS(__pthread_rwlock_unlock, pthread_rwlock_unlock, (pthread_rwlock_t *));
