/* Memory locked for now and ever: threads are created all the same, deep stacks work, and no more is locked than threads need (MEM-14). */
#include "sync_test.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void *deep(void *arg) {
	char buffer[100 << 10];
	memset(buffer, 1, sizeof buffer);
	__asm__ volatile("" ::"r"(buffer) : "memory");
	return arg;
}

static long locked_mib(void) {
	char line[200];
	long kib = -1;
	FILE *file = fopen("/proc/self/status", "r");
	while (file && fgets(line, sizeof line, file))
		sscanf(line, "VmLck: %ld kB", &kib);
	if (file)
		fclose(file);
	return kib / 1024;
}

static void round_of(pthread_attr_t *attr) {
	pthread_t t[20];
	for (long i = 0; i < 20; i++)
		EQ(pthread_create(&t[i], attr, deep, (void *)i), 0);
	for (long i = 0; i < 20; i++)
		EQ(join(t[i]), i);
}

/* Locks before there are threads. */
static void locks_first(void) {
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		return; /* who may not lock has nothing to test */
	round_of(&attr);
	CHECK(locked_mib() < 200);
	pthread_attr_setstacksize(&attr, 2 << 20);
	pthread_attr_setguardsize(&attr, 64 << 10);
	round_of(&attr);
	CHECK(locked_mib() < 250);
	EQ(munlockall(), 0);
	round_of(&attr);
	round_of(NULL);
}

static void locks_later(void) {
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	round_of(&attr);
	if (mlockall(MCL_CURRENT) != 0)
		return;
	round_of(&attr);
	munlockall();
	if (mlockall(MCL_FUTURE) != 0)
		return;
	pthread_attr_setstacksize(&attr, 300 << 10);
	round_of(&attr);
	pthread_attr_setstacksize(&attr, 4 << 20);
	round_of(&attr);
	CHECK(locked_mib() < 400);
	pthread_attr_setguardsize(&attr, 0);
	round_of(&attr);
	EQ(munlockall(), 0);
	round_of(&attr);
}

int main(void) {
	static void (*const orders[])(void) = {locks_first, locks_later};
	test_begin();
	for (int i = 0; i < 2; i++) {
		int status = 0;
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			orders[i]();
			fflush(stdout);
			_exit(failures != 0);
		}
		EQ(waitpid(pid, &status, 0), pid);
		EQ(status, 0);
	}
	locks_later();
	return test_end();
}
