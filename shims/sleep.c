/* Sleeping: a park with a deadline. Interrupted by any handler, SA_RESTART or not. And the ways to yield.
 *
 * A sleep until a time of CLOCK_REALTIME follows the clock when it is set (TIM-2), as all waits do (deadline_early()). Clocks that count CPU time, alarms
 * and whatever else are the kernel's. */
#include <time.h>

#include "../core/cpuclock.h"
#include "io.h"
#include "thread.h"

#define CPU_STEP_NS 1000000

/* Until CLOCK_MONOTONIC `deadline`; -1: until a handler runs. 0, or -EINTR: io_interrupted() says whether it is over. */
static int sleep_begin(struct g *g, int64_t deadline) {
	int r;
	do {
		wait_begin(g, true, deadline < 0 ? "pause" : "sleep", 0);
		r = wait_park(g, deadline);
	} while (r == 0);
	return r == -ETIMEDOUT ? 0 : r;
}

/* A handler came, at `now` of the clock that `deadline` is of. *left (may be NULL): how much was missing. */
static int sleep_ended(struct timespec *left, int64_t deadline, int64_t now) {
	if (left && address_unwritable(left))
		return -EFAULT;
	if (left)
		time_left_at(left, deadline, now);
	return -EINTR;
}

/* The same, 0 or -EINTR. On -EINTR *left (may be NULL) says how much was missing when the handler came. */
static int sleep_until_left(struct g *g, int64_t deadline, struct timespec *left) {
	while (sleep_begin(g, deadline) != 0) {
		int64_t woken = left ? nanotime() : 0;
		if (!io_interrupted(g, false))
			continue;
		return sleep_ended(left, deadline, woken);
	}
	return 0;
}

static int sleep_until(struct g *g, int64_t deadline) {
	return sleep_until_left(g, deadline, NULL);
}

static int sleep_realtime(struct g *g, const struct timespec *until) {
	int r = 0;
	while (r == 0 && deadline_early(until, CLOCK_REALTIME))
		r = sleep_until(g, deadline_abs(until, CLOCK_REALTIME));
	return r;
}

/* For so long. On -EINTR *left (may be NULL) says how much is missing. */
static int sleep_for(struct g *g, const struct timespec *time, struct timespec *left) {
	if (time->tv_sec == 0 && time->tv_nsec == 0) {
		g_yield(g); /* the kernel would let others run, too */
		return 0;
	}
	return sleep_until_left(g, deadline_rel(time), left);
}

/* Until `of` has used so much CPU time. It is looked at again when it can have done so at the earliest, but not all the time. */
static int sleep_cpu(struct g *g, struct g *of, int flags, const struct timespec *time, struct timespec *left) {
	if (address_bad(time))
		return -EFAULT;
	if (!timespec_valid(time) || of == g) /* one's own clock stands still meanwhile */
		return -EINVAL;
	int64_t until = time->tv_sec * 1000000000 + time->tv_nsec, ns;
	if (!(flags & TIMER_ABSTIME))
		until += cpu_time(of);
	while ((ns = until - cpu_time(of)) > 0) {
		if (sleep_begin(g, deadline_in(ns > CPU_STEP_NS ? ns : CPU_STEP_NS)) == 0)
			continue;
		int64_t used = cpu_time(of);
		if (!io_interrupted(g, false))
			continue;
		return sleep_ended(flags & TIMER_ABSTIME ? NULL : left, until, used);
	}
	return 0;
}

/* A sleep that is the kernel's: CPU time of a process, clocks that stand or go on while the machine is suspended. */
struct kernel_sleep {
	clockid_t clock;
	int flags;
	const struct timespec *time;
	struct timespec *left; /* not NULL */
};

/* May be called again after -EINTR: for as long as is left. */
static long kernel_sleep(struct kernel_sleep *s) {
	long r = SYS4(SYS_clock_nanosleep, s->clock, s->flags, s->time, s->left);
	if (r == -EINTR && !(s->flags & TIMER_ABSTIME))
		s->time = s->left;
	return r;
}

static int io_clock_nanosleep(struct g *g, clockid_t clock, int flags, const struct timespec *time,
			      struct timespec *left) {
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) {
		struct timespec unwanted;
		struct kernel_sleep s = {clock, flags, time, left ? left : &unwanted};
		return (int)BRACKET_BLOCKING(g, false, kernel_sleep(&s));
	}
	if (address_bad(time))
		return -EFAULT;
	if (!timespec_valid(time))
		return -EINVAL;
	if (!(flags & TIMER_ABSTIME))
		return sleep_for(g, time, left);
	return clock == CLOCK_REALTIME ? sleep_realtime(g, time) : sleep_until(g, deadline_abs(time, CLOCK_MONOTONIC));
}

SHIM int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(clock_nanosleep, clock, flags, time, left);
	if (clock == CLOCK_THREAD_CPUTIME_ID) /* the kernel says EOPNOTSUPP, libc does not ask it */
		return EINVAL;
	shim_testcancel(g);
	struct g *of = clock < 0 ? cpuclock_thread(clock) : NULL;
	return of ? -sleep_cpu(g, of, flags, time, left) : -io_clock_nanosleep(g, clock, flags, time, left);
}

SHIM int nanosleep(const struct timespec *time, struct timespec *left) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(nanosleep, time, left);
	shim_testcancel(g);
	return (int)io_ret(g, io_clock_nanosleep(g, CLOCK_MONOTONIC, 0, time, left));
}

SHIM_ALIAS(nanosleep, __nanosleep);

SHIM int usleep(useconds_t us) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(usleep, us);
	struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	shim_testcancel(g);
	return (int)io_ret(g, sleep_for(g, &time, NULL));
}

SHIM unsigned sleep(unsigned seconds) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(sleep, seconds);
	struct timespec time = {.tv_sec = seconds}, left = {0};
	shim_testcancel(g);
	if (io_ret(g, sleep_for(g, &time, &left)) == 0)
		return 0;
	return (unsigned)left.tv_sec;
}

SHIM int thrd_sleep(const struct timespec *time, struct timespec *left) {
	int r = clock_nanosleep(CLOCK_REALTIME, 0, time, left);
	return r == 0 ? 0 : r == EINTR ? -1 : -2;
}

SHIM int pause(void) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(pause);
	shim_testcancel(g);
	return (int)io_ret(g, sleep_until(g, -1));
}

/* ---- yielding --------------------------------------------------------------------------------------------------------- */

SHIM int sched_yield(void) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(sched_yield);
	g_yield(g);
	return 0;
}

SHIM_ALIAS(sched_yield, __sched_yield);

SHIM void thrd_yield(void) {
	sched_yield();
}

/* libc's header renames calls of it; old programs ask for the name itself. */
SHIM int yield_by_old_name(void) __asm__("pthread_yield");
SHIM int yield_by_old_name(void) {
	return sched_yield();
}
