/* Of several signals that are pending those to the thread are taken before those to the process, of each the lowest number first; their handlers run in the
 * opposite order, because each begins on top of the one before. */
#include "sync_test.h"

#include <signal.h>
#include <unistd.h>

static pthread_barrier_t ready;
static char order[64];

static void noted(int sig) {
	snprintf(order + strlen(order), sizeof order - strlen(order), " %d", sig < SIGRTMIN ? sig : 100 + sig - SIGRTMIN);
}

static void *blocks_all(void *arg) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&ready);
	return arg;
}

static void check(const char *want) {
	EQ(strcmp(order, want), 0);
	if (strcmp(order, want) != 0)
		printf("%s, not %s\n", order, want);
	order[0] = 0;
}

static void send_all(int sig) {
	(void)sig;
	EQ(kill(getpid(), SIGHUP), 0);
	EQ(raise(SIGRTMIN + 1), 0);
	EQ(raise(SIGUSR2), 0);
}

int main(void) {
	static const int all[] = {SIGHUP, SIGUSR2, 0};
	pthread_t t;
	sigset_t set, before;
	int sig;
	test_begin();
	pthread_barrier_init(&ready, NULL, 2);
	EQ(pthread_create(&t, NULL, blocks_all, NULL), 0);
	pthread_barrier_wait(&ready);
	sigemptyset(&set);
	for (int i = 0; i < 3; i++) {
		int each = all[i] ? all[i] : SIGRTMIN + 1;
		signal(each, noted);
		sigaddset(&set, each);
	}
	pthread_sigmask(SIG_BLOCK, &set, &before);
	send_all(0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	check(" 1 101 12");

	/* Behind the mask of a handler. */
	struct sigaction act = {.sa_handler = send_all, .sa_mask = set};
	EQ(sigaction(SIGUSR1, &act, NULL), 0);
	raise(SIGUSR1);
	check(" 1 101 12");

	pthread_sigmask(SIG_BLOCK, &set, &before);
	send_all(0);
	for (int i = 0; i < 3; i++) {
		EQ(sigwait(&set, &sig), 0);
		noted(sig);
	}
	check(" 12 101 1");
	pthread_barrier_wait(&ready);
	EQ(pthread_join(t, NULL), 0);
	return test_end();
}
