/* To bind a thread takes one kernel thread more, and not as many as there are tries to find it one. */
#include "sync_test.h"

#include <sys/wait.h>

enum { TRIES = 20, FEW = 7 }; /* the process's first, two helpers, its own, and some that start meanwhile */
static cpu_set_t set;

static int kernel_threads(void) {
	char line[200];
	int n = 0;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		sscanf(line, "Threads: %d", &n);
	if (f)
		fclose(f);
	return n;
}

static int there;

static void *looks(void *arg) {
	cpu_set_t have;
	there = kernel_threads();
	EQ(sched_getaffinity(0, sizeof have, &have), 0);
	CHECK(CPU_EQUAL(&have, &set));
	return arg;
}

/* In a process of its own: nothing is there yet. */
static int once(void) {
	pthread_attr_t attr;
	pthread_t t;
	pthread_attr_init(&attr);
	EQ(pthread_attr_setaffinity_np(&attr, sizeof set, &set), 0);
	EQ(pthread_create(&t, &attr, looks, NULL), 0);
	join(t);
	return there > FEW;
}

int main(void) {
	cpu_set_t all;
	int many = 0, status;
	test_begin();
	EQ(sched_getaffinity(0, sizeof all, &all), 0);
	for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&set) == 0; i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &set);
	for (int i = 0; i < TRIES; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(once() | (failures ? 2 : 0));
		EQ(waitpid(child, &status, 0), child);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
		many += WIFEXITED(status) && WEXITSTATUS(status) == 1;
	}
	CHECK(many < TRIES / 2);
	return test_end();
}
