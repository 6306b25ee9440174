/* Thousands of one real-time signal to the process, while several threads take it: each comes once, our own to one thread in order, and none waits for a handler that is
 * busy while another thread could take it. Their number must not make each of them dearer. */
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "signal_test.h"

enum { COUNT = 6000, MOST = 6 };

static _Atomic int handled, twice, out_of_order, over, busy;
static _Atomic unsigned char came[COUNT];
static bool in_order, first_is_busy;
static int sig;
static sem_t rest;
static pthread_barrier_t ready;

static void note(const siginfo_t *info) {
	int value = info->si_value.sival_int;
	twice += atomic_exchange(&came[value], 1);
	out_of_order += in_order && value != handled;
	if (first_is_busy && atomic_fetch_add(&busy, 1) == 0)
		while (sem_wait(&rest) != 0)
			continue;
	int now = atomic_fetch_add(&handled, 1) + 1;
	if (first_is_busy && now == COUNT - 1)
		sem_post(&rest);
}

static void on_signal(int which, siginfo_t *info, void *context) {
	(void)which;
	(void)context;
	note(info);
}

static void *takes(void *arg) {
	mask(SIG_UNBLOCK, sig);
	pthread_barrier_wait(&ready);
	while (!over)
		sched_yield();
	return arg;
}

/* Its queue has to be handed on again and again. */
static void *takes_at_times(void *arg) {
	pthread_barrier_wait(&ready);
	while (!over) {
		mask(SIG_UNBLOCK, sig);
		sched_yield();
		mask(SIG_BLOCK, sig);
		sched_yield();
	}
	return arg;
}

/* When thousands wait in the kernel, and more come. */
static void *opens_late(void *arg) {
	pthread_barrier_wait(&ready);
	usleep(3000);
	mask(SIG_UNBLOCK, sig);
	while (!over)
		sched_yield();
	return arg;
}

static void *waits(void *arg) {
	sigset_t set;
	siginfo_t info;
	struct timespec a_moment = {0, 1000000};
	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_barrier_wait(&ready);
	while (!over)
		if (sigtimedwait(&set, &info, &a_moment) == sig)
			note(&info);
	return arg;
}

static void send_all(pid_t to) {
	for (int i = 0; i < COUNT; i++)
		while (sigqueue(to, sig, (union sigval){.sival_int = i}) != 0)
			sched_yield(); /* RLIMIT_SIGPENDING */
}

static void flood(const char *name, int threads, void *(*even)(void *), void *(*odd)(void *), bool from_outside) {
	pthread_t t[MOST];
	int go[2], status;
	char c = 0;
	EQ(pipe(go), 0);
	pid_t child = from_outside ? fork() : -1;
	if (child == 0) {
		if (read(go[0], &c, 1) == 1)
			send_all(getppid());
		_exit(0);
	}
	pthread_barrier_init(&ready, NULL, (unsigned)threads + 1);
	handled = over = busy = out_of_order = 0;
	for (int i = 0; i < COUNT; i++)
		came[i] = 0;
	for (long i = 0; i < threads; i++)
		EQ(pthread_create(&t[i], NULL, i % 2 ? odd : even, NULL), 0);
	pthread_barrier_wait(&ready);
	if (from_outside) {
		EQ(write(go[1], &c, 1), 1);
		EQ(waitpid(child, &status, 0), child);
		EQ(status, 0);
	} else {
		send_all(getpid());
	}
	while (handled < COUNT)
		usleep(1000);
	over = 1;
	for (int i = 0; i < threads; i++)
		EQ(pthread_join(t[i], NULL), 0);
	close(go[0]);
	close(go[1]);
	EQ(twice, 0);
	EQ(out_of_order, 0);
	printf("%s\n", name);
}

int main(void) {
	struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	test_begin();
	sig = SIGRTMIN + 3;
	sem_init(&rest, 0, 0);
	EQ(sigaction(sig, &act, NULL), 0);
	mask(SIG_BLOCK, sig);
	in_order = true;
	for (int i = 0; i < 4; i++)
		flood("one thread, our own", 1, takes, takes, false);
	flood("one that waits", 1, waits, waits, true);
	in_order = false;
	flood("one thread", 1, takes, takes, true);
	flood("five threads", 5, takes, takes, true);
	flood("five threads, our own", 5, takes, takes, false);
	for (int i = 0; i < 4; i++)
		flood("one that opens late", 1, opens_late, opens_late, true);
	flood("at times", 4, takes_at_times, takes_at_times, true);
	flood("one always, another at times", 2, takes, takes_at_times, true);
	flood("handlers and who waits", 6, takes, waits, true);
	first_is_busy = true;
	flood("a busy handler", 3, takes, takes, true);
	flood("a busy handler, our own", 2, takes, takes, false);
	return test_end();
}
