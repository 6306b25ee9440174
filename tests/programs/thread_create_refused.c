/* pthread_create() fails now and then, as it may where memory is short (GOSHIM=chaos_errors=1): with EAGAIN, and nothing else has happened. Who tries again gets his
 * thread, each runs once and is joined, with what it was given; stacks that the program brings, detached threads and thread-specific data included. */
#include <errno.h>
#include <string.h>

#include "sync_test.h"

enum { THREADS = 40, ROUNDS = 10 };

static _Atomic int ran, ended, refused;
static pthread_key_t key;
static __thread long mine = 7;

static void destroy(void *value) {
	ended += value != NULL;
}

static void *run(void *arg) {
	EQ(mine, 7);
	mine = (long)arg;
	pthread_setspecific(key, &mine);
	ran++;
	return arg;
}

static void create(pthread_t *t, const pthread_attr_t *attr, long i) {
	int r;
	while ((r = pthread_create(t, attr, run, (void *)i)) != 0) {
		EQ(r, EAGAIN);
		refused++;
	}
}

int main(void) {
	pthread_t t[THREADS];
	pthread_attr_t sized, detached;
	pthread_attr_init(&sized);
	pthread_attr_setstacksize(&sized, 300000);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_key_create(&key, destroy);
	for (int round = 0; round < ROUNDS; round++) {
		for (long i = 0; i < THREADS; i++)
			create(&t[i], i % 4 == 1 ? &sized : i % 4 == 2 ? &detached : NULL, i);
		for (long i = 0; i < THREADS; i++) {
			void *result = (void *)i;
			if (i % 4 != 2)
				EQ(pthread_join(t[i], &result), 0);
			EQ((long)result, i);
		}
	}
	while (ended != THREADS * ROUNDS)
		sched_yield();
	printf("%d threads ran\n", ran);
	fprintf(stderr, "%d refused\n", refused);
	return 0;
}
