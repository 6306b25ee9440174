/* SCHED_RESET_ON_FORK: what a realtime thread makes is not one, neither its threads nor its children; set by itself, and by another. */
#include "sync_test.h"

#include <sys/syscall.h>
#include <sys/wait.h>

#define ASKED (SCHED_FIFO | SCHED_RESET_ON_FORK)
static pthread_barrier_t barrier;
static pid_t other;

static void is_ordinary(void) {
	struct sched_param param;
	int policy;
	EQ(pthread_getschedparam(pthread_self(), &policy, &param), 0);
	EQ(policy, SCHED_OTHER);
	EQ(param.sched_priority, 0);
	EQ(sched_getscheduler(0), SCHED_OTHER);
	EQ(syscall(SYS_sched_getscheduler, 0), SCHED_OTHER);
}

static void *ordinary(void *arg) {
	is_ordinary();
	return arg;
}

static void makes(void) {
	int status;
	EQ(sched_getscheduler(0), ASKED);
	join(start(ordinary, NULL));
	pid_t child = fork();
	if (child == 0) {
		is_ordinary();
		join(start(ordinary, NULL));
		_exit(failures != 0);
	}
	EQ(waitpid(child, &status, 0), child);
	EQ(status, 0);
}

static void *sets(void *arg) {
	struct sched_param param = {.sched_priority = 2};
	if (sched_setscheduler(0, ASKED, &param) != 0)
		return (void *)1;
	makes();
	EQ(sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0}), 0);
	EQ(sched_getscheduler(0), SCHED_OTHER);
	return arg;
}

static void *is_set(void *arg) {
	other = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	makes();
	return arg;
}

int main(void) {
	struct sched_param param = {.sched_priority = 2};
	test_begin();
	pthread_barrier_init(&barrier, NULL, 2);
	if (join(start(sets, NULL)) == 0) {
		pthread_t t = start(is_set, NULL);
		pthread_barrier_wait(&barrier);
		EQ(sched_setscheduler(other, ASKED, &param), 0);
		EQ(sched_getscheduler(other), ASKED);
		pthread_barrier_wait(&barrier);
		join(t);
	}
	step("reset");
	return test_end();
}
