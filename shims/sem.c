/* sem_*: unnamed private semaphores, in glibc's object.
 *
 * One 64-bit word: the value in the low half, the number of waiters in the high half; then a word that is 0 for
 * private semaphores. It is glibc's layout and glibc's protocol, so sem_init, sem_destroy and sem_getvalue stay
 * glibc's, and only the sleeping differs: a goroutine parks, a kernel thread (also every thread of a process without
 * goroutines) waits in glibc's sem_wait. Named semaphores are process-shared: their waits are glibc's, bracketed;
 * sem_open, sem_close and sem_unlink are not interposed.
 *
 * A waiter counts itself, queues on the value's address while the value is 0, and takes one when it is not. A post
 * adds one and, if it saw waiters in the very word it changed, wakes one: in the parking lot, or, if nobody is there,
 * in the kernel. The change is its last access to the object: after it only the address is used, as a key, so the
 * object may be freed by whoever took the token (SYN-17). A woken waiter that finds the value taken by a newcomer
 * waits on; no token was lost, the newcomer has it. An interrupted waiter counts itself out first, then lets handlers
 * run: they may post, cancel or jump away.
 *
 * Memory order: post releases, taking acquires, on one word of read-modify-writes.
 *
 * sem_post is async-signal-safe: handlers never run inside the parking lot (proc.h). sem_wait, sem_timedwait and
 * sem_clockwait are cancellation points; EINTR as in hazards, section 1. */
#include <errno.h>
#include <linux/futex.h>

#include "io.h"
#include "sync.h"

struct semaphore {
	_Atomic uint64_t word;
	int shared;
};

#define WAITER_ONE (1ull << 32)

_Static_assert(sizeof(struct semaphore) <= sizeof(sem_t) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "glibc's sem_t");

static inline struct semaphore *semaphore_of(sem_t *s) {
	return (struct semaphore *)(void *)s;
}

static inline bool sem_is_shared(sem_t *s) {
	return semaphore_of(s)->shared != 0;
}

/* Takes one if there is one; `count`: what the caller is counted with. */
static inline bool sem_take(struct semaphore *s, uint64_t count) {
	uint64_t v = atomic_load_explicit(&s->word, memory_order_relaxed);
	while ((uint32_t)v > 0) {
		if (atomic_compare_exchange_weak_explicit(&s->word, &v, v - 1 - count, memory_order_acquire, memory_order_relaxed))
			return true;
	}
	return false;
}

static __attribute__((noinline, cold)) int fail(int error) {
	errno = error;
	return -1;
}

/* A goroutine waits for one. With `until` the kernel's call would not restart. */
static int park(struct g *g, struct semaphore *s, clockid_t clock, const struct timespec *until) {
	int64_t deadline = until ? deadline_abs(until, clock) : -1;
	struct io_handlers before = io_handlers(g);
	chaos_yield();
	for (;;) {
		shim_testcancel(g);
		atomic_fetch_add_explicit(&s->word, WAITER_ONE, memory_order_relaxed); /* announces only */
		int r;
		do {
			if (sem_take(s, WAITER_ONE))
				return 0;
			if (io_ends_by_chaos(g, before, !until)) {
				atomic_fetch_sub_explicit(&s->word, WAITER_ONE, memory_order_relaxed);
				shim_testcancel(g);
				return fail(EINTR);
			}
			r = futex_wait((_Atomic uint32_t *)(void *)&s->word, 0, deadline, FUTEX_ANY, true, "semaphore");
		} while (r == 0 || r == -EAGAIN);
		atomic_fetch_sub_explicit(&s->word, WAITER_ONE, memory_order_relaxed);
		if (r == -ETIMEDOUT) {
			if (!deadline_early(until, clock))
				return fail(ETIMEDOUT);
			deadline = deadline_abs(until, clock);
		} else if (shim_interrupted(g, !until)) {
			shim_testcancel(g);
			return fail(EINTR);
		}
	}
}

/* The value was 0. `until` NULL: no deadline. */
static __attribute__((noinline)) int wait_slow(sem_t *sem, clockid_t clock, const struct timespec *until) {
	struct g *g = g_goroutine();
	if (g && !sem_is_shared(sem))
		return park(g, semaphore_of(sem), clock, until);
	REAL_READY();
	int error;
	/* A timed wait of the kernel's ends for any signal with a handler. The deadline is a point in time, so it is simply repeated. */
	struct io_handlers before = io_handlers(g);
	do {
		syscall_enter_blocking(g);
		error = (until ? real.sem_clockwait(sem, clock, until) : real.sem_wait(sem)) ? errno : 0;
		syscall_exit(g);
	} while (error == EINTR && io_disturbed(g, before, !until));
	return error ? fail(error) : 0;
}

SHIM int sem_wait(sem_t *s) {
	sync_testcancel();
	return likely(sem_take(semaphore_of(s), 0)) ? 0 : wait_slow(s, CLOCK_REALTIME, NULL);
}

SHIM int sem_clockwait(sem_t *s, clockid_t clock, const struct timespec *until) {
	if (!sync_clock_valid(clock) || until->tv_nsec < 0 || until->tv_nsec >= 1000000000)
		return fail(EINVAL);
	return sem_take(semaphore_of(s), 0) ? 0 : wait_slow(s, clock, until);
}

SHIM int sem_timedwait(sem_t *s, const struct timespec *until) {
	if (until->tv_nsec >= 0 && until->tv_nsec < 1000000000)
		sync_testcancel(); /* also when there is nothing to wait for; libc's sem_clockwait() does not */
	return sem_clockwait(s, CLOCK_REALTIME, until);
}

SHIM int sem_trywait(sem_t *s) {
	return sem_take(semaphore_of(s), 0) ? 0 : fail(EAGAIN);
}

/* The address is only a key: the object may be gone. In one piece: who waits in the kernel may be the maker, in the program's malloc, of the M that this goroutine would need to go
 * on, if it gave way in between. */
static __attribute__((noinline)) int wake_one(struct semaphore *s) {
	struct g *g = sched_started() ? g_self() : NULL;
	if (g)
		rt_enter(g);
	if (!g || futex_wake(s, 1, FUTEX_ANY) == 0)
		SYS3(SYS_futex, s, FUTEX_WAKE_PRIVATE, 1);
	if (g)
		rt_exit(g);
	return 0;
}

static __attribute__((noinline)) int post_shared(sem_t *sem) {
	REAL_READY();
	return real.sem_post(sem);
}

SHIM int sem_post(sem_t *sem) {
	struct semaphore *s = semaphore_of(sem);
	if (unlikely(sem_is_shared(sem)))
		return post_shared(sem); /* out of line, so that this function saves no register */
	uint64_t v = atomic_load_explicit(&s->word, memory_order_relaxed);
	do {
		if ((uint32_t)v == SEM_VALUE_MAX)
			return fail(EOVERFLOW);
		/* release: pairs with the acquire in sem_take() */
	} while (!atomic_compare_exchange_weak_explicit(&s->word, &v, v + 1, memory_order_release, memory_order_relaxed));
	return unlikely(v >= WAITER_ONE) ? wake_one(s) : 0;
}
