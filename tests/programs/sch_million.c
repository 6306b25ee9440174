/* A million threads, one after the other and in waves: created detached, detached later, joined. Each runs exactly once; memory stays what it
 * was (TLS-12, RES-4). The number is an argument, for machines in a hurry. */
#include "sync_test.h"

#include <stdint.h>

static _Atomic long ran, sum;

static void *runs(void *arg) {
	sum += (long)arg;
	ran++; /* last: main adds up when all have been here */
	return arg;
}

/* As many as are let live at once. */
static void wait_below(long created, long most) {
	while (created - ran > most)
		sched_yield();
}

static void create(const pthread_attr_t *attr, long arg, bool detach) {
	pthread_t t;
	int r;
	while ((r = pthread_create(&t, attr, runs, (void *)arg)) == EAGAIN)
		sched_yield(); /* the kernel has not cleared away the last ones yet */
	EQ(r, 0);
	if (detach)
		EQ(pthread_detach(t), 0);
}

int main(int argc, char **argv) {
	long n = argc > 1 ? atol(argv[1]) : 1000000, expected = 0;
	pthread_attr_t detached;
	test_begin();
	alarm((unsigned)(100 + n / 10000));
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	size_t before = 0;
	for (long i = 0; i < n; i++) {
		if (i == n / 10)
			before = process_bytes().resident;
		if (i % 10 == 0) {
			pthread_t t;
			EQ(pthread_create(&t, NULL, runs, (void *)i), 0);
			EQ(join(t), i);
		} else {
			create(i % 2 ? &detached : NULL, i, i % 2 == 0);
		}
		expected += i;
		wait_below(i + 1, i % 1000 < 500 ? 10 : 500);
	}
	wait_below(n, 0);
	EQ(ran, n);
	EQ(sum, expected);
	CHECK(process_bytes().resident < before + (64 << 20));
	return test_end();
}
