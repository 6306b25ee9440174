/* What is pending is discarded when the signal is ignored, by SIG_IGN or as its default, wherever it waits: for a thread, also from another one, or behind a handler
 * that masks it. SIGCONT discards the signals that stop, and these it. */
#include "signal_test.h"

#include <signal.h>
#include <unistd.h>

static volatile int runs;
static pthread_barrier_t sent, ignored;

static void counts(int sig) {
	(void)sig;
	runs++;
}

static void of_itself(int sig, sighandler_t to) {
	signal(sig, counts);
	mask(SIG_BLOCK, sig);
	for (int i = 0; i < 3; i++)
		raise(sig);
	EQ(pending(sig), 1);
	signal(sig, to);
	EQ(pending(sig), 0);
	signal(sig, counts);
	runs = 0;
	mask(SIG_UNBLOCK, sig);
	EQ(runs, 0);
	raise(sig);
	EQ(runs, 1);
}

static void *waits(void *arg) {
	mask(SIG_BLOCK, SIGUSR1);
	mask(SIG_BLOCK, SIGUSR2);
	mask(SIG_BLOCK, SIGWINCH);
	pthread_barrier_wait(&sent);
	pthread_barrier_wait(&sent);
	EQ(pending(SIGUSR1), 1);
	EQ(pending(SIGUSR2), 1);
	EQ(pending(SIGWINCH), 1);
	pthread_barrier_wait(&ignored);
	pthread_barrier_wait(&ignored);
	EQ(pending(SIGUSR1), 1); /* of another number */
	EQ(pending(SIGUSR2), 0);
	EQ(pending(SIGWINCH), 0);
	runs = 0;
	mask(SIG_UNBLOCK, SIGUSR1);
	EQ(runs, 1);
	return arg;
}

static void of_another(void) {
	pthread_t t;
	signal(SIGUSR1, counts);
	signal(SIGUSR2, counts);
	signal(SIGWINCH, counts);
	EQ(pthread_create(&t, NULL, waits, NULL), 0);
	pthread_barrier_wait(&sent);
	pthread_kill(t, SIGUSR1);
	pthread_kill(t, SIGUSR2);
	pthread_kill(t, SIGWINCH);
	pthread_barrier_wait(&sent);
	pthread_barrier_wait(&ignored);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGWINCH, SIG_DFL);
	pthread_barrier_wait(&ignored);
	EQ(pthread_join(t, NULL), 0);
}

static void ignores(int sig) {
	(void)sig;
	EQ(kill(getpid(), SIGUSR2), 0);
	EQ(pending(SIGUSR2), 1);
	signal(SIGUSR2, SIG_IGN);
	EQ(pending(SIGUSR2), 0);
	signal(SIGUSR2, counts);
}

static void behind_a_handler(void) {
	struct sigaction act = {.sa_handler = ignores};
	signal(SIGUSR2, counts);
	sigaddset(&act.sa_mask, SIGUSR2);
	EQ(sigaction(SIGUSR1, &act, NULL), 0);
	runs = 0;
	raise(SIGUSR1);
	EQ(runs, 0);
}

static void stop_and_go(void) {
	signal(SIGCONT, counts);
	runs = 0;
	mask(SIG_BLOCK, SIGTSTP);
	mask(SIG_BLOCK, SIGCONT);
	raise(SIGTSTP);
	EQ(pending(SIGTSTP), 1);
	raise(SIGCONT);
	EQ(pending(SIGTSTP), 0);
	EQ(pending(SIGCONT), 1);
	raise(SIGTSTP);
	EQ(pending(SIGTSTP), 1);
	EQ(pending(SIGCONT), 0);
	kill(getpid(), SIGCONT);
	EQ(pending(SIGTSTP), 0);
	EQ(pending(SIGCONT), 1);
	raise(SIGTSTP);
	EQ(pending(SIGCONT), 0);
	kill(getpid(), SIGCONT);
	mask(SIG_UNBLOCK, SIGTSTP);
	mask(SIG_UNBLOCK, SIGCONT);
	EQ(runs, 1);
}

static void *blocks_all(void *arg) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_barrier_wait(&sent);
	pthread_barrier_wait(&ignored);
	return arg;
}

int main(void) {
	pthread_t t;
	test_begin();
	pthread_barrier_init(&sent, NULL, 2);
	pthread_barrier_init(&ignored, NULL, 2);
	of_another();
	EQ(pthread_create(&t, NULL, blocks_all, NULL), 0);
	pthread_barrier_wait(&sent);
	of_itself(SIGUSR1, SIG_IGN);
	of_itself(SIGCHLD, SIG_DFL);
	of_itself(SIGRTMIN + 1, SIG_IGN);
	behind_a_handler();
	stop_and_go();
	pthread_barrier_wait(&ignored);
	EQ(pthread_join(t, NULL), 0);
	return test_end();
}
