/* Calls that ask what is ready and do not wait, or wait for a moment, on threads that have run a handler before: signals for other threads do not end them, also where a mask
 * is given; and main's from another process, which the kernel gives to the process's first kernel thread, do not either. */
#include "undisturbed.h"

#include <poll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ASKS = 300000, WAITS = 300, WAITERS = 6, ASKERS = 4 };

static sigset_t none;
static int pipes[2];

typedef int call(const struct timespec *);

static int polls(const struct timespec *time) {
	struct pollfd p = {pipes[0], POLLIN, 0};
	return poll(&p, 1, time->tv_nsec / 1000000);
}

static int polls_masked(const struct timespec *time) {
	struct pollfd p = {pipes[0], POLLIN, 0};
	return ppoll(&p, 1, time, &none);
}

static int selects_masked(const struct timespec *time) {
	fd_set set;
	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	return pselect(pipes[0] + 1, &set, NULL, NULL, time, &none);
}

static void asks(call *f, long ns, int times) {
	struct timespec time = {0, ns};
	int ends = 0;
	raise(SIGUSR2);
	for (int i = 0; i < times; i++)
		ends += f(&time) != 0;
	EQ(ends, 0);
	done();
}

#define WAITER(name, f, ns, times)         \
	static void *name(void *arg) {     \
		asks(f, ns, times);        \
		return arg;                \
	}
WAITER(asks_poll, polls, 0, ASKS)
WAITER(asks_ppoll, polls_masked, 0, ASKS)
WAITER(asks_pselect, selects_masked, 0, ASKS)
WAITER(waits_poll, polls, 1000000, WAITS)
WAITER(waits_ppoll, polls_masked, 1000000, WAITS)
WAITER(waits_pselect, selects_masked, 1000000, WAITS)

static void beside_mains(void) {
	pid_t pid = getpid(), sender = fork();
	while (sender == 0 && syscall(SYS_tgkill, pid, pid, SIGUSR1) == 0)
		usleep(10);
	if (sender == 0)
		_exit(0);
	pthread_t t[ASKERS];
	for (int i = 0; i < ASKERS; i++)
		t[i] = start(asks_poll, NULL);
	for (int i = 0; i < ASKERS; i++)
		join(t[i]);
	kill(sender, SIGKILL);
	EQ(waitpid(sender, NULL, 0), sender);
}

int main(void) {
	void *(*const waiters[WAITERS])(void *) = {asks_poll, asks_ppoll, asks_pselect, waits_poll, waits_ppoll, waits_pselect};
	struct sigaction sa = {.sa_handler = handler};
	test_begin();
	sigemptyset(&none);
	sigaction(SIGUSR2, &sa, NULL);
	EQ(pipe(pipes), 0);
	beside_signals(waiters, WAITERS, SA_RESTART);
	beside_mains();
	return test_end();
}
