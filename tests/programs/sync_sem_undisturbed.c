/* A timed wait for a semaphore that processes share is the kernel's, and ends for any handler there. Signals for other threads are no such thing: without
 * a handler of its own the waiter never sees EINTR. */
#include "undisturbed.h"

#include <errno.h>
#include <semaphore.h>

enum { WAITS = 300, WAITERS = 3 };

static sem_t never;

static void *waits(void *arg) {
	for (int i = 0; i < WAITS; i++) {
		struct timespec soon = in_ms(CLOCK_MONOTONIC, 1);
		EQ(sem_clockwait(&never, CLOCK_MONOTONIC, &soon), -1);
		EQ(errno, ETIMEDOUT);
	}
	done();
	return arg;
}

int main(void) {
	void *(*const waiters[WAITERS])(void *) = {waits, waits, waits};
	test_begin();
	sem_init(&never, 1, 0);
	beside_signals(waiters, WAITERS, SA_RESTART);
	return test_end();
}
