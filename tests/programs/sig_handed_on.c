/* A signal to the process is not the thread's that the kernel has woken for it: blocked there meanwhile, by a handler's mask or by the one that sigsuspend() returns
 * to, it is another's. What was sent to the thread itself stays, also where both are the same number (SIG-16). */
#include "sync_test.h"

#include <signal.h>
#include <unistd.h>
#include <sys/select.h>

enum { TURNS = 100 };

static sem_t here, taken, over;
static volatile sig_atomic_t one, two, own, stop;
static pthread_t thread;
static int ends[2];

static void on_one(int sig) {
	(void)sig;
	one++;
}

static void on_two(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)context;
	two++;
	if (info->si_code == SI_TKILL) {
		CHECK(pthread_equal(pthread_self(), thread));
		own++;
	}
	sem_post(&taken);
}

static void until_two(int sig) {
	(void)sig;
	while (!two)
		usleep(100);
	one++;
	sem_post(&taken);
}

static void handle(int sig, void (*handler)(int), void (*action)(int, siginfo_t *, void *), bool masks_all) {
	struct sigaction act = {.sa_handler = handler};
	if (action) {
		act.sa_sigaction = action;
		act.sa_flags = SA_SIGINFO;
	}
	if (masks_all)
		sigfillset(&act.sa_mask);
	EQ(sigaction(sig, &act, NULL), 0);
}

static void *suspends(void *arg) {
	sigset_t none;
	sigemptyset(&none);
	sem_post(&here);
	sigsuspend(&none);
	sem_take(&over);
	return arg;
}

static void *selects(void *arg) {
	sigset_t none;
	fd_set set;
	char byte;
	sigemptyset(&none);
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	sem_post(&here);
	pselect(ends[0] + 1, &set, NULL, NULL, NULL, &none);
	EQ(read(ends[0], &byte, 1), 1);
	while (!own)
		sigsuspend(&none);
	return arg;
}

/* Takes SIGUSR2 wherever nobody else does. */
static void *takes(void *arg) {
	sigset_t set;
	int sig;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sem_post(&here);
	for (;;) {
		sigwait(&set, &sig);
		if (stop)
			return arg;
		sem_post(&taken);
	}
}

static void *stays(void *arg) {
	sem_take(&over);
	return arg;
}

int main(void) {
	pthread_t others[2], taker;
	sigset_t all;
	test_begin();
	sem_init(&here, 0, 0);
	sem_init(&taken, 0, 0);
	sem_init(&over, 0, 0);
	EQ(pipe(ends), 0);
	handle(SIGUSR1, until_two, NULL, true);
	handle(SIGUSR2, NULL, on_two, false);
	for (int i = 0; i < 2; i++)
		others[i] = start(stays, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	usleep(10000);
	for (int i = 0; i < TURNS; i++) {
		one = two = 0;
		pthread_kill(others[i % 2], SIGUSR1);
		kill(getpid(), SIGUSR2);
		sem_take(&taken);
		sem_take(&taken);
	}
	sem_post(&over);
	sem_post(&over);
	join(others[0]);
	join(others[1]);

	handle(SIGUSR1, on_one, NULL, true);
	taker = start(takes, NULL);
	sem_take(&here);
	for (int i = 0; i < TURNS; i++) {
		thread = start(suspends, NULL);
		sem_take(&here);
		usleep(500); /* mostly it waits by then */
		pthread_kill(thread, SIGUSR1);
		kill(getpid(), SIGUSR2);
		sem_take(&taken);
		sem_post(&over);
		join(thread);
	}
	for (int i = 0; i < TURNS; i++) {
		own = 0;
		thread = start(selects, NULL);
		sem_take(&here);
		EQ(write(ends[1], "x", 1), 1);
		for (volatile int j = 0; j < i * 61 % 9000; j++)
			continue;
		kill(getpid(), SIGUSR2);
		pthread_kill(thread, SIGUSR2);
		join(thread);
	}
	stop = 1;
	pthread_kill(taker, SIGUSR2);
	join(taker);
	return test_end();
}
