/* sched_setattr() by its number gives the caller a nice value, whatever it had before and wherever it runs: a thread, and main beside busy ones. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static volatile int stop;

static void *spins(void *arg) {
	while (!stop)
		;
	return arg;
}

static void *sets(void *who) {
	struct attr attr = {.size = sizeof attr};
	struct sched_param param = {0};
	for (int i = 0; i < 3; i++) { /* from less to more: no privilege is needed */
		setpriority(PRIO_PROCESS, 0, 4 * i + 1);
		printf("%s: %d\n", (const char *)who, getpriority(PRIO_PROCESS, 0));
		attr.nice = 4 * i + 3;
		long r = syscall(SYS_sched_setattr, 0, &attr, 0);
		printf("set: %ld, %d, %ld\n", r, getpriority(PRIO_PROCESS, 0), syscall(SYS_getpriority, PRIO_PROCESS, 0));
	}
	attr.policy = SCHED_BATCH;
	attr.nice = 15;
	long r = syscall(SYS_sched_setattr, 0, &attr, 0);
	printf("batch: %ld, %d, %d\n", r, getpriority(PRIO_PROCESS, 0), sched_getscheduler(0));
	sched_setscheduler(0, SCHED_OTHER, &param);
	return who;
}

int main(void) {
	pthread_t t, busy[3];
	pthread_create(&t, NULL, sets, "a thread");
	pthread_join(t, NULL);
	for (int i = 0; i < 3; i++)
		pthread_create(&busy[i], NULL, spins, NULL);
	for (int i = 0; i < 10; i++) /* elsewhere by then */
		usleep(1000);
	sets("main");
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(busy[i], NULL);
	return 0;
}
