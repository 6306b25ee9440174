/* A thread that has just unblocked a signal has it unblocked, and one that has blocked it, blocked, also where nobody else accepts it, so that the masks of all kernel threads change whenever
 * one of a few threads does that, or waits in between (SIG-6). */
#include "signal_test.h"

enum { THREADS = 3, ROUNDS = 6000 };

static _Atomic long wrong;

static void expect(int blocked) {
	sigset_t now;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	wrong += sigismember(&now, SIGUSR1) != blocked;
}

static void *changes(void *arg) {
	unsigned seed = (unsigned)(long)arg * 7919u + 1;
	for (int i = 0; i < ROUNDS && !wrong; i++) {
		seed = seed * 1103515245u + 12345u;
		usleep(seed >> 20 & 15);
		mask(SIG_UNBLOCK, SIGUSR1);
		expect(0);
		usleep(seed >> 24 & 15);
		expect(0);
		mask(SIG_BLOCK, SIGUSR1);
		expect(1);
	}
	return arg;
}

static void nothing(int sig) {
	(void)sig;
}

int main(void) {
	pthread_t t[THREADS];
	test_begin();
	signal(SIGUSR1, nothing);
	mask(SIG_BLOCK, SIGUSR1);
	for (long i = 0; i < THREADS; i++)
		t[i] = start(changes, (void *)i);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	EQ(wrong, 0);
	return test_end();
}
