/* Threads come and go from many threads at once, in every way: joined, detached before and after their end, cancelled, tried for, on stacks of
 * several sizes and of the program's own, with values under keys, more at a time than any cache keeps. */
#include "sync_test.h"

#include <stdint.h>

enum { CREATORS = 24, ROUNDS = 40, BATCH = 30, SIZES = 5, OWN = 64 << 10 };
static const size_t sizes[SIZES] = {0, 64 << 10, 128 << 10, 1 << 20, 100 << 10};
static pthread_attr_t attrs[SIZES];
static pthread_key_t key;
static _Atomic long started, ended, destroyed, cleaned;
static __thread long mine = 3;

static void destroy(void *value) {
	if (value == &key)
		destroyed++;
}

static void cleans(void *arg) {
	(void)arg;
	cleaned++;
}

static void *short_one(void *arg) {
	started++;
	CHECK(mine == 3 && pthread_getspecific(key) == NULL);
	mine = (long)arg;
	pthread_setspecific(key, &key);
	switch ((long)arg % 5) {
	case 0:
		sched_yield();
		break;
	case 1:
		usleep((useconds_t)((long)arg % 200));
		break;
	case 2:
		ended++;
		pthread_exit(arg);
	}
	CHECK(mine == (long)arg);
	ended++;
	return arg;
}

static void *waits(void *arg) {
	pthread_setspecific(key, &cleaned);
	pthread_cleanup_push(cleans, arg);
	for (;;)
		sleep(100);
	pthread_cleanup_pop(0);
	return arg;
}

static void *creates(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg * 7919 + 1;
	pthread_t t[BATCH], waiter;
	void *result, *own = aligned_alloc(4096, OWN);
	for (int round = 0; round < ROUNDS; round++) {
		for (long i = 0; i < BATCH; i++) {
			seed = seed * 1664525u + 1013904223u;
			long value = seed >> 10;
			const pthread_attr_t *attr = seed >> 28 > 2 ? NULL : &attrs[(seed >> 20) % SIZES];
			EQ(pthread_create(&t[i], attr, short_one, (void *)value), 0);
			if (i % 3 == 0) {
				EQ(pthread_join(t[i], &result), 0);
				EQ((long)result, value);
			} else if (i % 3 == 1) {
				EQ(pthread_detach(t[i]), 0);
			}
		}
		pthread_attr_t attr;
		pthread_t on_own;
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, own, OWN);
		EQ(pthread_create(&on_own, &attr, short_one, (void *)1), 0);
		pthread_attr_destroy(&attr);
		EQ(pthread_create(&waiter, NULL, waits, NULL), 0);
		for (long i = 2; i < BATCH; i += 3) {
			if (i % 2)
				while (pthread_tryjoin_np(t[i], &result) == EBUSY)
					sched_yield();
			else if (i % 4 == 2)
				EQ(pthread_detach(t[i]), 0);
			else
				EQ(pthread_join(t[i], &result), 0);
		}
		EQ(pthread_cancel(waiter), 0);
		EQ(pthread_join(waiter, &result), 0);
		CHECK(result == PTHREAD_CANCELED);
		EQ(pthread_join(on_own, &result), 0);
		memset(own, (int)round, OWN);
	}
	free(own);
	return NULL;
}

int main(void) {
	pthread_t t[CREATORS];
	test_begin();
	EQ(pthread_key_create(&key, destroy), 0);
	for (int i = 0; i < SIZES; i++) {
		pthread_attr_init(&attrs[i]);
		if (sizes[i])
			pthread_attr_setstacksize(&attrs[i], sizes[i]);
	}
	for (long i = 0; i < CREATORS; i++)
		t[i] = start(creates, (void *)i);
	for (int i = 0; i < CREATORS; i++)
		join(t[i]);
	long threads = CREATORS * ROUNDS * (BATCH + 1);
	while (destroyed < threads)
		sched_yield(); /* the detached ones */
	EQ(started, threads);
	EQ(ended, threads);
	EQ(destroyed, threads);
	CHECK(cleaned <= CREATORS * ROUNDS); /* a thread may be cancelled before it gets anywhere */
	return test_end();
}
