/* Several signals are sent to the process while all block them: when one thread opens its mask, the handlers of all have run, on it, before the call returns; in the order of
 * the kernel, which makes a frame for each that no earlier one's handler masks. Main, and then another thread (SIG-9). */
#include "sync_test.h"

#include <signal.h>

enum { ROUNDS = 100, MANY = 6 };

static volatile int runs, ran[2 * MANY];
static pthread_t where;

static void handler(int sig) {
	EQ(pthread_equal(where, pthread_self()), 1);
	ran[runs++] = sig - SIGRTMIN;
}

static void send(int sig, int times) {
	for (int i = 0; i < times; i++)
		EQ(sigqueue(getpid(), sig, (union sigval){0}), 0);
}

static void rounds(int first, int a, int second, int b) {
	sigset_t all, old;
	int late = 0;
	sigfillset(&all);
	for (int r = 0; r < ROUNDS; r++) {
		runs = 0;
		pthread_sigmask(SIG_BLOCK, &all, &old);
		send(first, a);
		send(second, b);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		late += runs != a + b;
		while (runs < a + b)
			usleep(100);
	}
	printf("%d and %d: late %d, order", a, b, late);
	for (int i = 0; i < a + b; i++)
		printf(" %d", ran[i]);
	printf("\n");
}

static void *opens(void *arg) {
	sigset_t set;
	where = pthread_self();
	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	rounds(SIGRTMIN + 1, 1, SIGRTMIN + 2, 1);
	rounds(SIGRTMIN + 1, 2, SIGRTMIN + 2, 0);
	rounds(SIGRTMIN + 1, 2, SIGRTMIN + 2, 1);
	rounds(SIGRTMIN + 2, 1, SIGRTMIN + 1, 2);
	rounds(SIGRTMIN + 1, 3, SIGRTMIN + 2, 3);
	rounds(SIGUSR1, 1, SIGUSR2, 1);
	rounds(SIGUSR1, 1, SIGRTMIN + 1, 2);
	return arg;
}

static void *parked(void *arg) {
	for (;;)
		pause();
	return arg;
}

int main(void) {
	sigset_t all;
	test_begin();
	signal(SIGRTMIN + 1, handler);
	signal(SIGRTMIN + 2, handler);
	signal(SIGUSR1, handler);
	signal(SIGUSR2, handler);
	sigfillset(&all);
	sigdelset(&all, SIGALRM); /* the watchdog's */
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	start(parked, NULL);
	join(start(opens, NULL));
	step("a thread");
	opens(NULL);
	return test_end();
}
