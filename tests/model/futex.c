/* The parking lot (core/futex.c) over the real waiting (core/sched.c) and timers. */
#include <errno.h>

#include "futex.h"
#include "stand_ins.h"

static _Atomic uint32_t word, other;
static int woke, given, timed_out;

static void reset(void) {
	stand_ins_reset();
	futex_fork_child();
	word = other = 0;
	woke = given = timed_out = 0;
}

/* Waits until somebody has changed the word. */
static void patient_waiter(void) {
	while (atomic_load(&word) == 0) {
		int r = futex_wait(&word, 0, -1, FUTEX_ANY, false, "test");
		check(r == 0 || r == -EAGAIN);
	}
}

static void opener(void) {
	atomic_store(&word, 1);
	futex_wake(&word, 2, FUTEX_ANY);
}

/* Sleeps once, is woken by what the waker counts, or not at all. */
static int sleeper(int64_t deadline) {
	int r = futex_wait(&word, 0, deadline, FUTEX_ANY, false, "test");
	check(r == 0 || r == -EAGAIN || r == -ETIMEDOUT);
	if (r == 0)
		__atomic_fetch_add(&woke, 1, __ATOMIC_RELAXED);
	if (r == -ETIMEDOUT)
		__atomic_fetch_add(&timed_out, 1, __ATOMIC_RELAXED);
	thread_done();
	return r;
}

/* Its frames use the stack where the fwaiter was: a race if a waker still looks at that. */
static void timed_sleeper(void) {
	sleeper(1000);
}

static void waker_of_one(void) {
	__atomic_fetch_add(&given, futex_wake(&word, 1, FUTEX_ANY), __ATOMIC_RELAXED);
}

static void timers_of_one(void) {
	timers_until_done(1);
}

static void timers_of_two(void) {
	timers_until_done(2);
}

static void finish(void) {
	stand_ins_finish();
	check(woke == given);
}

/* One token, one wake-up; the one who gives up must not take it along. */
static void token_taker(void) {
	uint32_t one = 1;
	while (!atomic_compare_exchange_strong(&word, &one, 2)) {
		futex_wait(&word, 0, -1, FUTEX_ANY, false, "test");
		one = 1;
	}
	thread_done();
}

static void impatient(void) {
	int r = futex_wait(&word, 0, 1000, FUTEX_ANY, false, "test");
	if (r == 0)
		futex_wake(&word, 1, FUTEX_ANY); /* not for me */
	thread_done();
}

static void token_giver(void) {
	atomic_store(&word, 1);
	futex_wake(&word, 1, FUTEX_ANY);
}

/* Moved to another address while it leaves. */
static void mover(void) {
	int r = futex_requeue(&word, 0, 1, &other, false, 0);
	check(r == 0 || r == 1);
	__atomic_fetch_add(&given, futex_wake(&other, 1, FUTEX_ANY), __ATOMIC_RELAXED);
}

/* Two-step waits with a count, as a condition variable's. */
static _Atomic uint32_t count;

static void reset_counted(void) {
	reset();
	count = 0;
}

static void counted_waiter(void) {
	struct fwaiter w;
	futex_prepare(&w, (void *)&word, &count, false, "test");
	int r = futex_commit(&w, (void *)&word, &count, 1000);
	w.addr = &w; /* its memory is ours again: nobody's last access may come after this, or beside it */
	w.g = NULL;
	if (r == 0)
		__atomic_fetch_add(&woke, 1, __ATOMIC_RELAXED);
	thread_done();
}

static void counted_waker(void) {
	__atomic_fetch_add(&given, futex_wake_counted((void *)&word, 1, &count), __ATOMIC_RELAXED);
}

static void finish_counted(void) {
	finish();
	check(count == 0);
}

/* As many tokens are given as taken: three threads with two operations each. */
static void take(void) {
	for (;;) {
		uint32_t tokens = atomic_load(&word);
		if (tokens && atomic_compare_exchange_strong(&word, &tokens, tokens - 1))
			return;
		if (!tokens)
			futex_wait(&word, 0, -1, FUTEX_ANY, false, "test");
	}
}

static void give(void) {
	atomic_fetch_add(&word, 1);
	futex_wake(&word, 1, FUTEX_ANY);
}

static void takes_twice(void) {
	take();
	take();
}

static void gives_and_takes(void) {
	give();
	take();
}

static void gives_twice(void) {
	give();
	give();
}

static void finish_tokens(void) {
	stand_ins_finish();
	check(word == 0);
}

const struct scenario scenarios[] = {
	{"futex: two waiters, one opens", reset, {patient_waiter, patient_waiter, opener}, stand_ins_finish, false},
	{"futex: timeout, one waker", reset, {timed_sleeper, waker_of_one, timers_of_one}, finish, false},
	{"futex: timeout, two wakers", reset, {timed_sleeper, waker_of_one, waker_of_one, timers_of_one}, finish, true},
	{"futex: one gives up", reset, {impatient, token_taker, token_giver, timers_of_two}, stand_ins_finish, true},
	{"futex: moved and timed out", reset, {timed_sleeper, mover, timers_of_one}, finish, false},
	{"futex: counted, two wakers", reset_counted, {counted_waiter, counted_waker, counted_waker, timers_of_one}, finish_counted, false},
	{"futex: tokens, all twice", reset, {takes_twice, gives_and_takes, gives_twice}, finish_tokens, true},
	{NULL, NULL, {NULL}, NULL, false},
};
