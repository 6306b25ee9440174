/* What the programs of contexts with signal masks share. */
#ifndef CONTEXTS_H
#define CONTEXTS_H

#include <pthread.h>
#include <signal.h>

static __thread volatile int hits; /* handlers that ran on this thread */

static void on_signal(int sig) {
	(void)sig;
	hits++;
}

static int blocks(int sig) {
	sigset_t now;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, sig);
}

#endif
