/* Barriers: one serial thread a round, nobody early, destroyed as soon as one has returned. */
#include <limits.h>
#include <signal.h>

#include "sync_test.h"

static pthread_barrier_t b;
static int arrived[100], serial[100], threads, rounds;

static void *runner(void *arg) {
	(void)arg;
	for (int i = 0; i < rounds; i++) {
		__atomic_fetch_add(&arrived[i], 1, __ATOMIC_RELAXED);
		int r = pthread_barrier_wait(&b);
		CHECK(r == 0 || r == PTHREAD_BARRIER_SERIAL_THREAD);
		if (r == PTHREAD_BARRIER_SERIAL_THREAD)
			__atomic_fetch_add(&serial[i], 1, __ATOMIC_RELAXED);
		EQ(__atomic_load_n(&arrived[i], __ATOMIC_RELAXED), threads);
	}
	return NULL;
}

static void many_rounds(int n, int shared) {
	pthread_t t[16];
	pthread_barrierattr_t a;
	printf("%d threads%s\n", n, shared ? ", shared" : "");
	threads = n;
	rounds = 100;
	memset(arrived, 0, sizeof arrived);
	memset(serial, 0, sizeof serial);
	pthread_barrierattr_init(&a);
	EQ(pthread_barrierattr_setpshared(&a, shared), 0);
	EQ(pthread_barrier_init(&b, &a, (unsigned)n), 0);
	for (int i = 0; i < n; i++)
		t[i] = start(runner, NULL);
	for (int i = 0; i < n; i++)
		join(t[i]);
	for (int i = 0; i < rounds; i++)
		EQ(serial[i], 1);
	EQ(pthread_barrier_destroy(&b), 0);
}

/* The serial thread destroys and overwrites the barrier while the others are still on their way out. */
static pthread_barrier_t *brief;

static void *brief_runner(void *arg) {
	pthread_barrier_t *mine = arg;
	if (pthread_barrier_wait(mine) == PTHREAD_BARRIER_SERIAL_THREAD) {
		EQ(pthread_barrier_destroy(mine), 0);
		memset(mine, 0x5a, sizeof *mine);
		free(mine);
	}
	return NULL;
}

static void lifetime(void) {
	step("lifetime");
	for (int i = 0; i < 500; i++) {
		pthread_t t[4];
		brief = malloc(sizeof *brief);
		EQ(pthread_barrier_init(brief, NULL, 4), 0);
		for (int k = 0; k < 4; k++)
			t[k] = start(brief_runner, brief);
		for (int k = 0; k < 4; k++)
			join(t[k]);
	}
}

static volatile sig_atomic_t handled;
static void on_signal(int sig) {
	(void)sig;
	handled++;
}

static void *one(void *arg) {
	(void)arg;
	return (void *)(long)pthread_barrier_wait(&b);
}

/* Handlers run in the middle; the wait goes on. A cancel does not end it either. */
static void interruption(void) {
	step("interruption");
	struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGUSR1, &sa, NULL);
	EQ(pthread_barrier_init(&b, NULL, 2), 0);
	pthread_t t = start(one, NULL);
	for (int i = 1; i <= 30; i++) {
		EQ(pthread_kill(t, SIGUSR1), 0);
		while (handled < i)
			sched_yield();
	}
	EQ(pthread_cancel(t), 0);
	int mine = pthread_barrier_wait(&b);
	long other = join(t);
	CHECK((mine == 0) != (other == 0));
	CHECK(mine == PTHREAD_BARRIER_SERIAL_THREAD || other == PTHREAD_BARRIER_SERIAL_THREAD);
	EQ(pthread_barrier_destroy(&b), 0);
}

int main(void) {
	test_begin();
	EQ(pthread_barrier_init(&b, NULL, 0), EINVAL);
	EQ(pthread_barrier_init(&b, NULL, UINT_MAX), EINVAL);
	EQ(pthread_barrier_init(&b, NULL, 1), 0);
	for (int i = 0; i < 100; i++)
		EQ(pthread_barrier_wait(&b), PTHREAD_BARRIER_SERIAL_THREAD);
	EQ(pthread_barrier_destroy(&b), 0);
	many_rounds(2, 0);
	many_rounds(7, 0);
	many_rounds(16, 0);
	many_rounds(3, 1);
	lifetime();
	interruption();
	return test_end();
}
