/* Waits that a signal for another thread must not end: threads that move from one kernel thread to the next take signals all the time, as fast as they
 * can be sent, while others wait where these ran. */
#ifndef UNDISTURBED_H
#define UNDISTURBED_H

#include "sync_test.h"

#include <signal.h>
#include <unistd.h>

enum { MOVERS = 3, WAITERS_MAX = 8 };

static int over, stop;

static void handler(int sig) { (void)sig; }

/* By a waiter, at its end. */
static void done(void) {
	__atomic_fetch_add(&over, 1, __ATOMIC_SEQ_CST);
}

static void *moves(void *arg) {
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
		usleep(100);
	return arg;
}

/* Until each of the `n` waiters has called done(). */
static void beside_signals(void *(*const waiters[])(void *), int n, int flags) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};
	pthread_t t[WAITERS_MAX], m[MOVERS];
	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < n; i++)
		t[i] = start(waiters[i], NULL);
	for (int i = 0; i < MOVERS; i++)
		m[i] = start(moves, NULL);
	for (int i = 0; __atomic_load_n(&over, __ATOMIC_SEQ_CST) < n; i++) {
		pthread_kill(m[i % MOVERS], SIGUSR1);
		if (i % 16 == 0)
			usleep(50);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < n; i++)
		join(t[i]);
	for (int i = 0; i < MOVERS; i++)
		join(m[i]);
}

#endif
