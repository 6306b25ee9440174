/* Threads are bound to CPUs where the kernel gives the process no more threads: nothing fails, each can be asked what it was told, and all go on. */
#include "sync_test.h"

#include <sys/resource.h>

enum { THREADS = 24 };
static cpu_set_t set[2];
static pthread_barrier_t barrier;

static void *waits(void *arg) {
	cpu_set_t have;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	EQ(sched_getaffinity(0, sizeof have, &have), 0);
	CHECK(CPU_EQUAL(&have, &set[(long)arg % 2]));
	for (int i = 0; i < 3; i++) {
		usleep(100);
		sched_yield();
		pthread_barrier_wait(&barrier);
	}
	return arg;
}

int main(void) {
	struct rlimit limit = {1, 1};
	cpu_set_t all, have;
	pthread_t t[THREADS];
	uid_t user = 0x67000000 + (uid_t)getpid(); /* whom no process belongs to yet */
	test_begin();
	EQ(sched_getaffinity(0, sizeof all, &all), 0);
	for (int i = 0, n = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &set[n++]);
	if (CPU_COUNT(&set[1]) == 0)
		set[1] = set[0];
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		t[i] = start(waits, (void *)i);
	pthread_barrier_wait(&barrier);
	if (setresuid(user, user, user) == 0)
		EQ(setrlimit(RLIMIT_NPROC, &limit), 0);
	for (int i = 0; i < THREADS; i++) {
		EQ(pthread_setaffinity_np(t[i], sizeof set[0], &set[i % 2]), 0);
		EQ(pthread_getaffinity_np(t[i], sizeof have, &have), 0);
		CHECK(CPU_EQUAL(&have, &set[i % 2]));
	}
	EQ(sched_setaffinity(0, sizeof set[0], &set[0]), 0); /* itself last: it must not be the end of all others */
	EQ(sched_getaffinity(0, sizeof have, &have), 0);
	CHECK(CPU_EQUAL(&have, &set[0]));
	step("bound");
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 3; i++)
		pthread_barrier_wait(&barrier);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	return test_end();
}
