/* The runtime's lock (core/lock.h, core/lock.c; one spin before the kernel) over the kernel's futex. */
#include "lock.h"

static struct lock lock;
static int counter;

static void reset(void) {
	lock.word = 0;
	counter = 0;
}

static void once(void) {
	lock_acquire(&lock, LOCK_SCHED);
	counter++;
	lock_release(&lock);
}

static void twice(void) {
	once();
	once();
}

static void finish_2(void) {
	check(counter == 2 && lock.word == 0);
}

static void finish_3(void) {
	check(counter == 3 && lock.word == 0);
}

static void finish_4(void) {
	check(counter == 4 && lock.word == 0);
}

const struct scenario scenarios[] = {
	{"lock: two threads", reset, {once, once}, finish_2, false},
	{"lock: two threads, twice each", reset, {twice, twice}, finish_4, false},
	{"lock: three threads", reset, {once, once, once}, finish_3, true},
	{NULL, NULL, {NULL}, NULL, false},
};
