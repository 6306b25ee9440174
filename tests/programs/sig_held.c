/* Signals to the process while the only thread that accepts them is in their handler: they are pending once, a thread that is made
 * meanwhile takes one, and when the handler's thread ends in there, the process keeps what is left (SIG-17). */
#include "sync_test.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

static atomic_int entered, leave, by_second;
static pthread_t first;

static void handler(int sig) {
	(void)sig;
	if (!pthread_equal(pthread_self(), first)) {
		by_second++;
		return;
	}
	entered++;
	while (!leave)
		sched_yield();
}

static void *stays(void *arg) {
	(void)arg;
	first = pthread_self();
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (entered < 3)
		sched_yield();
	return NULL;
}

static void *second(void *arg) {
	(void)arg;
	while (!by_second)
		sched_yield();
	return NULL;
}

static void *ends_in_handler(void *arg) {
	return stays(arg);
}

static void exits(int sig) {
	(void)sig;
	entered++;
	while (!leave)
		sched_yield();
	pthread_exit((void *)9);
}

static void wait_for(atomic_int *what, int value) {
	while (*what < value)
		sched_yield();
}

int main(void) {
	test_begin();
	sigset_t set, none, pending;
	struct sigaction act = {.sa_handler = handler};
	struct timespec no_time = {0, 0};
	siginfo_t info;
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGUSR1, &act, NULL);

	pthread_t t = start(stays, NULL);
	kill(getpid(), SIGUSR1);
	wait_for(&entered, 1);
	for (int i = 0; i < 5; i++)
		kill(getpid(), SIGUSR1);
	leave = 1;
	wait_for(&entered, 2);
	leave = 0;
	kill(getpid(), SIGUSR1);
	leave = 1;
	join(t);
	EQ(entered, 3); /* five at once count as one */
	step("pending once");

	entered = leave = 0;
	t = start(stays, NULL);
	kill(getpid(), SIGUSR1);
	wait_for(&entered, 1);
	kill(getpid(), SIGUSR1);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setsigmask_np(&attr, &none);
	pthread_t t2;
	pthread_create(&t2, &attr, second, NULL);
	join(t2);
	EQ(by_second, 1);
	entered = 3;
	leave = 1;
	join(t);
	step("taken by a new thread");

	entered = leave = 0;
	act.sa_handler = exits;
	sigaction(SIGUSR1, &act, NULL);
	t = start(ends_in_handler, NULL);
	kill(getpid(), SIGUSR1);
	wait_for(&entered, 1);
	kill(getpid(), SIGUSR1);
	leave = 1;
	EQ(join(t), 9);
	sigemptyset(&pending);
	sigpending(&pending);
	EQ(sigismember(&pending, SIGUSR1), 1);
	EQ(sigtimedwait(&set, &info, &no_time), SIGUSR1);
	EQ(sigtimedwait(&set, &info, &no_time), -1);
	step("kept by the process");
	return test_end();
}
