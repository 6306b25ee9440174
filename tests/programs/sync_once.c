/* pthread_once: exactly once, everybody waits for the end, retried after cancellation, pthread_exit, fork; nested controls (SYN-16). */
#include <sys/wait.h>

#include "sync_test.h"

static pthread_once_t once = PTHREAD_ONCE_INIT, inner = PTHREAD_ONCE_INIT;
static int runs, inner_runs, complete;

static void inner_routine(void) {
	inner_runs++;
}

static void routine(void) {
	runs++;
	EQ(pthread_once(&inner, inner_routine), 0);
	usleep(20000); /* let the others arrive */
	complete = 1;
}

static void *caller(void *arg) {
	(void)arg;
	EQ(pthread_once(&once, routine), 0);
	EQ(complete, 1);
	return NULL;
}

static void race(void) {
	step("race");
	pthread_t t[12];
	for (int i = 0; i < 12; i++)
		t[i] = start(caller, NULL);
	for (int i = 0; i < 12; i++)
		join(t[i]);
	EQ(runs, 1);
	EQ(inner_runs, 1);
	EQ(once, 2);
}

static void many(void) {
	step("many controls");
	static pthread_once_t controls[200];
	for (int i = 0; i < 200; i++) {
		inner_runs = 0;
		EQ(pthread_once(&controls[i], inner_routine), 0);
		EQ(pthread_once(&controls[i], inner_routine), 0);
		EQ(inner_runs, 1);
	}
}

static pthread_once_t retried = PTHREAD_ONCE_INIT;
static int started, leave_how;

static void leaving(void) {
	__atomic_store_n(&started, 1, __ATOMIC_RELEASE);
	if (leave_how == 1)
		for (;;)
			pause();
	if (leave_how == 2)
		pthread_exit(NULL);
	runs++;
}

static void *leaver(void *arg) {
	(void)arg;
	pthread_once(&retried, leaving);
	return NULL;
}

static void retry(void) {
	for (int how = 1; how <= 2; how++) {
		step(how == 1 ? "cancelled inside" : "pthread_exit inside");
		retried = PTHREAD_ONCE_INIT;
		started = runs = 0;
		leave_how = how;
		pthread_t t = start(leaver, NULL), waiter;
		while (!__atomic_load_n(&started, __ATOMIC_ACQUIRE))
			sched_yield();
		if (how == 1)
			waiter = start(leaver, NULL); /* will be the one that runs it again */
		leave_how = how == 1 ? 0 : how;
		if (how == 1)
			EQ(pthread_cancel(t), 0);
		join(t);
		leave_how = 0;
		if (how == 1)
			join(waiter);
		EQ(pthread_once(&retried, leaving), 0);
		EQ(runs, 1);
		EQ(retried, 2);
	}
}

static pthread_once_t forked = PTHREAD_ONCE_INIT;
static int go_on;

static void slow_routine(void) {
	__atomic_store_n(&started, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&go_on, __ATOMIC_ACQUIRE))
		sched_yield();
	runs++;
}

static void *slow_caller(void *arg) {
	(void)arg;
	pthread_once(&forked, slow_routine);
	return NULL;
}

/* The child has no thread that would finish the routine: it runs it itself. */
static void fork_inside(void) {
	step("fork while it runs");
	started = runs = go_on = 0;
	pthread_t t = start(slow_caller, NULL);
	while (!__atomic_load_n(&started, __ATOMIC_ACQUIRE))
		sched_yield();
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		alarm(10);
		go_on = 1;
		pthread_once(&forked, slow_routine);
		_exit(runs == 1 && forked == 2 ? 0 : 1);
	}
	int status = -1;
	EQ(waitpid(child, &status, 0), child);
	EQ(status, 0);
	__atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
	join(t);
	EQ(pthread_once(&forked, slow_routine), 0);
	EQ(runs, 1);
}

int main(void) {
	test_begin();
	race();
	many();
	retry();
	fork_inside();
	return test_end();
}
