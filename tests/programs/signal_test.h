/* Shared by programs about signals: one of them blocked or opened, and whether it is pending. */
#ifndef SIGNAL_TEST_H
#define SIGNAL_TEST_H

#include <signal.h>

#include "sync_test.h"

static inline void mask(int how, int sig) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, sig);
	EQ(pthread_sigmask(how, &set, NULL), 0);
}

static inline int pending(int sig) {
	sigset_t set;
	sigpending(&set);
	return sigismember(&set, sig);
}

#endif
