/* A thread in sigwaitinfo() for a signal that everybody blocks, and thousands of it sent to that thread, all on one CPU: none has been taken when the next comes. Then
 * the same to the process; then to a thread that is cancelled asynchronously after a burst. */
#include <sched.h>
#include <unistd.h>

#include "signal_test.h"

enum { COUNT = 20000 };

static int number;
static sigset_t set;
static _Atomic int got;

static void *taker(void *arg) {
	siginfo_t info;
	(void)arg;
	for (int i = 0; i < COUNT; i++) {
		EQ(sigwaitinfo(&set, &info), number);
		EQ(info.si_value.sival_int, i);
		got++;
	}
	return NULL;
}

static void *waits(void *arg) {
	(void)arg;
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	while (sigwaitinfo(&set, NULL) == number)
		;
	return NULL;
}

/* Where the kernel's limit of queued signals is low, the taker comes to make room. */
static void send(pthread_t thread, bool to_process, int i) {
	union sigval value = {.sival_int = i};
	int error;
	while ((error = to_process ? sigqueue(getpid(), number, value) ? EAGAIN : 0 : pthread_sigqueue(thread, number, value))) {
		EQ(error, EAGAIN);
		usleep(100);
	}
}

int main(void) {
	pthread_t thread;
	cpu_set_t cpus, one;
	test_begin();
	EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++) {
		if (CPU_ISSET(i, &cpus))
			CPU_SET(i, &one);
	}
	EQ(sched_setaffinity(0, sizeof one, &one), 0);
	number = SIGRTMIN + 1;
	sigemptyset(&set);
	sigaddset(&set, number);
	EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	for (int to_process = 0; to_process < 2; to_process++) {
		got = 0;
		EQ(pthread_create(&thread, NULL, taker, NULL), 0);
		usleep(20000); /* it waits */
		for (int i = 0; i < COUNT; i++)
			send(thread, to_process, i);
		EQ(pthread_join(thread, NULL), 0);
		printf("%s: %d taken\n", to_process ? "process" : "thread", got);
	}
	EQ(pthread_create(&thread, NULL, waits, NULL), 0);
	usleep(20000);
	for (int i = 0; i < 1000; i++)
		send(thread, false, i);
	void *result;
	EQ(pthread_cancel(thread), 0);
	EQ(pthread_join(thread, &result), 0);
	printf("cancelled: %d\n", result == PTHREAD_CANCELED);
	return 0;
}
