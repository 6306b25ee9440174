/* Spin locks that never yield, with holders that lose the CPU inside; and flags that are waited for with sched_yield() or with nothing. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

enum { THREADS = 5, ROUNDS = 40 };
static atomic_flag spin = ATOMIC_FLAG_INIT;
static long counter;
static atomic_int flag, go;

static void work(long n) {
	for (volatile long i = 0; i < n; i++)
		;
}

static void *locker(void *arg) {
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		while (atomic_flag_test_and_set_explicit(&spin, memory_order_acquire))
			;
		long was = counter;
		work(100000);
		counter = was + 1;
		atomic_flag_clear_explicit(&spin, memory_order_release);
	}
	return NULL;
}

static void *yielder(void *arg) {
	(void)arg;
	while (!atomic_load(&flag))
		sched_yield();
	atomic_store(&go, 1);
	return NULL;
}

static void *setter(void *arg) {
	(void)arg;
	work(5000000);
	atomic_store(&flag, 1);
	return NULL;
}

int main(void) {
	pthread_t t[THREADS], y, s;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, locker, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	printf("%ld of %d\n", counter, THREADS * ROUNDS);
	pthread_create(&y, NULL, yielder, NULL);
	pthread_create(&s, NULL, setter, NULL);
	while (!atomic_load(&go))
		;
	pthread_join(y, NULL);
	pthread_join(s, NULL);
	puts("flags");
	return 0;
}
