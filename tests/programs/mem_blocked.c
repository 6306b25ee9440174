/* A stack grows while every signal is blocked: by sigprocmask, by sigfillset in a handler's mask, in sigsuspend's and ppoll's temporary
 * masks (MEM-2). And signal frames on deep stacks, without an alternate one (MEM-13, SIG-8). */
#include "sync_test.h"

#include <poll.h>
#include <signal.h>

__attribute__((noinline)) static long deep(size_t bytes) {
	volatile char frame[4000];
	frame[0] = 1;
	frame[3999] = 2;
	long sum = bytes > 4096 ? deep(bytes - 4096) : 0;
	return sum + frame[0] + frame[3999];
}

static _Atomic long handled;

static void handler(int signal) {
	(void)signal;
	deep(256 << 10);
	handled++;
}

static void *blocked(void *arg) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	long sum = deep(1 << 20);
	sched_yield();
	usleep(100);
	sum -= deep(2 << 20) / 2;
	(void)arg;
	return (void *)(long)(sum != 0);
}

static void *in_handlers(void *arg) {
	(void)arg;
	for (int i = 0; i < 20; i++) {
		long before = handled;
		pthread_kill(pthread_self(), SIGUSR1);
		if (handled == before)
			return (void *)1;
	}
	return NULL;
}

/* The handler runs on top of a deep stack, whose next pages nobody has touched. */
static _Atomic long hits;

static void small(int signal) {
	volatile char frame[200];
	frame[0] = 1;
	hits += frame[0];
	(void)signal;
}

__attribute__((noinline)) static void edges(size_t bytes) {
	volatile char frame[1000];
	frame[0] = 1;
	raise(SIGUSR2);
	if (bytes > 1024)
		edges(bytes - 1024);
	frame[999] = frame[0];
}

static void *at_edges(void *arg) {
	edges(300 << 10);
	return arg;
}

static _Atomic pthread_t suspended;

static void *suspends(void *arg) {
	sigset_t all, mask;
	struct timespec ts = {5, 0};
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	sigfillset(&mask);
	sigdelset(&mask, SIGUSR1);
	suspended = pthread_self();
	for (int i = 0; i < 2; i++) {
		long before = handled;
		if (i == 0)
			sigsuspend(&mask); /* the handler uses 256 KiB */
		else
			ppoll(NULL, 0, &ts, &mask);
		if (handled != before + 1)
			return (void *)1;
		suspended = 0;
		if (i == 0)
			suspended = pthread_self();
	}
	(void)arg;
	return NULL;
}

int main(void) {
	test_begin();
	struct sigaction sa = {.sa_handler = handler};
	sigfillset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_handler = small;
	sigaction(SIGUSR2, &sa, NULL);
	pthread_t t[16];
	for (int i = 0; i < 16; i++)
		t[i] = start(blocked, NULL);
	for (int i = 0; i < 16; i++)
		EQ(join(t[i]), 0);
	step("blocked");
	for (int i = 0; i < 16; i++)
		t[i] = start(in_handlers, NULL);
	for (int i = 0; i < 16; i++)
		EQ(join(t[i]), 0);
	step("in handlers");
	for (int i = 0; i < 4; i++)
		t[i] = start(at_edges, NULL);
	for (int i = 0; i < 4; i++)
		join(t[i]);
	EQ(hits, 4 * 300);
	step("at edges");
	t[0] = start(suspends, NULL);
	for (int i = 0; i < 2; i++) {
		while (suspended == 0)
			sched_yield();
		long before = handled;
		pthread_kill(t[0], SIGUSR1);
		while (handled == before)
			sched_yield();
	}
	EQ(join(t[0]), 0);
	step("suspended");
	return test_end();
}
