/* A signal that every thread blocks is pending, at every moment, although a thread that would have taken it ended a moment ago: the kernel thread
 * that ran it must not take it, idle as it is (SIG-6). main computes all the time, so that it stays on another one. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { ROUNDS = 20, LOOKS = 300 };

static _Atomic int running, leave;

static void on_signal(int sig) {
	(void)sig;
}

static void *accepts(void *arg) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	running = 1;
	while (!leave)
		;
	return arg;
}

int main(void) {
	sigset_t set, pending;
	struct timespec no_time = {0, 0};
	int lost = 0, taken = 0;
	signal(SIGUSR2, on_signal);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t t;
		running = leave = 0;
		if (pthread_create(&t, NULL, accepts, NULL) != 0)
			return 1;
		while (!running)
			;
		leave = 1;
		while (pthread_tryjoin_np(t, NULL) == EBUSY)
			;
		kill(getpid(), SIGUSR2);
		for (int look = 0; look < LOOKS; look++) {
			sigpending(&pending);
			lost += !sigismember(&pending, SIGUSR2);
		}
		taken += sigtimedwait(&set, NULL, &no_time) == SIGUSR2;
	}
	printf("not pending: %d, taken: %d\n", lost, taken);
	return 0;
}
