/* Whom a signal that is sent to the process goes to: main, also while it waits for it with sigwait(); the thread whose number kill() was given, if it does not block it; else,
 * of those that do not, the one that was made first, whoever sends it; or who waits for it before one made later (SIG-9). */
#include "sleeping.h"
#include "sync_test.h"

#include <signal.h>
#include <sys/syscall.h>

enum { TIMES = 20, SIG = SIGUSR1 };

static volatile int handled;
static pthread_t by;
static sem_t go, ready;
static volatile pid_t tids[2];
static _Atomic pid_t main_tid, waiting_tid;

static void handler(int sig) {
	(void)sig;
	by = pthread_self();
	handled = 1;
}

static void mask(int how) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIG);
	pthread_sigmask(how, &set, NULL);
}

/* Lets it in, and waits. */
static void *lets_in(void *arg) {
	*(volatile pid_t *)arg = gettid();
	mask(SIG_UNBLOCK);
	sem_post(&ready);
	while (sem_wait(&go) != 0)
		continue;
	return arg;
}

static void *sends_to_main(void *arg) {
	for (int i = 0; i < TIMES; i++) {
		while (sem_wait(&ready) != 0)
			continue;
		await_sleeping(&main_tid); /* in sigwait() */
		kill(getpid(), SIG);
	}
	return arg;
}

static void *waits(void *arg) {
	sigset_t set;
	int sig;
	sigemptyset(&set);
	sigaddset(&set, SIG);
	waiting_tid = gettid();
	EQ(sigwait(&set, &sig), 0);
	EQ(handled, 0);
	printf("the one that waits has it\n");
	return arg;
}

static const char *name(pthread_t t, const pthread_t threads[2]) {
	return pthread_equal(t, threads[0]) ? "the first" : pthread_equal(t, threads[1]) ? "the second" : "another";
}

static void told(const char *what, const pthread_t threads[2]) {
	while (!handled)
		usleep(100);
	printf("%s: %s\n", what, name(by, threads));
	handled = 0;
}

static void *sends_itself(void *arg) {
	pthread_t *threads = arg;
	mask(SIG_UNBLOCK);
	kill(getpid(), SIG);
	told("one made later, to the process", threads);
	return NULL;
}

int main(void) {
	pthread_t threads[2], sender;
	sigset_t set;
	test_begin();
	main_tid = gettid();
	sem_init(&go, 0, 0);
	sem_init(&ready, 0, 0);
	signal(SIG, handler);
	mask(SIG_BLOCK);
	for (int i = 0; i < 2; i++) {
		threads[i] = start(lets_in, (void *)&tids[i]);
		while (sem_wait(&ready) != 0)
			continue;
	}
	kill(getpid(), SIG);
	told("main", threads);
	kill(tids[1], SIG);
	told("main, to the second's number", threads);
	sigqueue(tids[0], SIG, (union sigval){0});
	told("main, to the first's", threads);
	syscall(SYS_kill, tids[1], SIG);
	told("main, by hand", threads);
	join(start(sends_itself, threads));
	sender = start(sends_to_main, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIG);
	for (int i = 0; i < TIMES; i++) {
		int sig;
		sem_post(&ready);
		EQ(sigwait(&set, &sig), 0);
	}
	join(sender);
	EQ(handled, 0);
	printf("main had all that it waited for\n");
	for (int i = 0; i < 2; i++)
		sem_post(&go);
	for (int i = 0; i < 2; i++)
		join(threads[i]);
	pthread_t waiting = start(waits, NULL);
	await_sleeping(&waiting_tid);
	threads[0] = start(lets_in, (void *)&tids[0]);
	while (sem_wait(&ready) != 0)
		continue;
	kill(getpid(), SIG);
	join(waiting);
	sem_post(&go);
	join(threads[0]);
	return test_end();
}
