/* A timed wait for a semaphore that processes share is the kernel's, and ends for any handler there. Signals for other threads are no such thing: without
 * a handler of its own the waiter never sees EINTR. */
#include "sync_test.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

enum { WAITS = 300, WAITERS = 3, MOVERS = 3 };

static sem_t never;
static int over, stop;

static void handler(int sig) { (void)sig; }

static void *waits(void *arg) {
	for (int i = 0; i < WAITS; i++) {
		struct timespec soon = in_ms(CLOCK_MONOTONIC, 1);
		EQ(sem_clockwait(&never, CLOCK_MONOTONIC, &soon), -1);
		EQ(errno, ETIMEDOUT);
	}
	__atomic_fetch_add(&over, 1, __ATOMIC_SEQ_CST);
	return arg;
}

static void *moves(void *arg) {
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
		usleep(100);
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	pthread_t t[WAITERS], m[MOVERS];
	test_begin();
	sem_init(&never, 1, 0);
	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < WAITERS; i++)
		t[i] = start(waits, NULL);
	for (int i = 0; i < MOVERS; i++)
		m[i] = start(moves, NULL);
	for (int i = 0; __atomic_load_n(&over, __ATOMIC_SEQ_CST) < WAITERS; i++) {
		pthread_kill(m[i % MOVERS], SIGUSR1);
		if (i % 16 == 0)
			usleep(50);
	}
	stop = 1;
	for (int i = 0; i < WAITERS; i++)
		join(t[i]);
	for (int i = 0; i < MOVERS; i++)
		join(m[i]);
	return test_end();
}
