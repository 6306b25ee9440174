/* Times of the program to the runtime's: nanoseconds of CLOCK_MONOTONIC.
 *
 * Everything saturates: a time before the machine's start is 2 (long past, and never the -1 that means "no deadline"),
 * one beyond the range of int64_t is INT64_MAX (292 years). A deadline on CLOCK_REALTIME is marked (DEADLINE_WALL), and its
 * waits begin again when they end before it by that clock, which may have been set. */
#include <time.h>

#include "shim.h"

#define SECOND 1000000000LL

bool timespec_valid(const struct timespec *ts) {
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < SECOND;
}

static int64_t timespec_ns(const struct timespec *ts) {
	int64_t ns;
	if (__builtin_mul_overflow((int64_t)ts->tv_sec, SECOND, &ns) || __builtin_add_overflow(ns, (int64_t)ts->tv_nsec, &ns))
		return ts->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

/* Never before ns, and without the mark. */
static int64_t at_least_two(int64_t ns) {
	return ns <= 0 ? 2 : ns == INT64_MAX ? ns : (ns + 1) & ~(int64_t)DEADLINE_WALL;
}

static int64_t wall_left(int64_t when) {
	struct timespec now;
	int64_t left;
	clock_gettime(CLOCK_REALTIME, &now);
	return __builtin_sub_overflow(when, timespec_ns(&now), &left) ? INT64_MIN : left;
}

int64_t deadline_abs(const struct timespec *ts, int clock) {
	int64_t when = timespec_ns(ts);
	if (clock == CLOCK_MONOTONIC || when == INT64_MAX)
		return at_least_two(when);
	int64_t left = wall_left(when), mono = nanotime();
	if (__builtin_add_overflow(mono, left, &when))
		when = left > 0 ? INT64_MAX : 0;
	return at_least_two(when) | DEADLINE_WALL;
}

bool deadline_early(const struct timespec *ts, int clock) {
	return ts && clock == CLOCK_REALTIME && wall_left(timespec_ns(ts)) > 0;
}

int64_t deadline_rel(const struct timespec *ts) {
	int64_t ns = timespec_ns(ts);
	return ns > 0 ? deadline_in(ns) : 2;
}

struct timespec *time_left_at(struct timespec *left, int64_t deadline, int64_t now) {
	if (deadline < 0)
		return NULL;
	int64_t ns = deadline - now;
	ns = ns > 0 ? ns : 0;
	*left = (struct timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
	return left;
}

struct timespec *time_left(struct timespec *left, int64_t deadline) {
	return time_left_at(left, deadline, nanotime());
}

const struct timespec *timeout_left(struct timespec *left, const struct timespec *timeout, int64_t *deadline) {
	if (*deadline >= 0)
		return time_left(left, *deadline);
	*deadline = deadline_rel(timeout);
	return timeout;
}
