/* A filter of system calls that kills who reads a process's memory by one, which no thread of NPTL's does, while a thread waits that has used much of its stack: there before the program,
 * and installed by it (SEC-3). The stack stays as it is. */
#include <sys/wait.h>

#include "never_read.h"

enum { DEEP = 512 << 10, WAIT_US = 2500000, CHILDREN = 2 };

static sem_t used, over;

static __attribute__((noinline)) void deep(void) {
	volatile char all[DEEP];
	for (size_t i = 0; i < sizeof all; i += 1024)
		all[i] = 1;
}

static void *waits(void *arg) {
	deep();
	sem_post(&used);
	sem_take(&over);
	return arg;
}

static int threads(bool filters) {
	sem_init(&used, 0, 0);
	sem_init(&over, 0, 0);
	pthread_t t = start(waits, NULL);
	sem_take(&used);
	if (filters)
		never_read(SECCOMP_FILTER_FLAG_TSYNC);
	usleep(WAIT_US); /* GOSHIM=trim=1 is over */
	sem_post(&over);
	join(t);
	return failures != 0;
}

static pid_t child(bool before) {
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	if (!before)
		_exit(threads(true));
	never_read(SECCOMP_FILTER_FLAG_TSYNC);
	execl("/proc/self/exe", "child", "filtered", NULL);
	_exit(1);
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1)
		return threads(false);
	pid_t pid[CHILDREN] = {child(true), child(false)};
	sem_init(&over, 0, 1);
	join(start(waits, NULL)); /* a thread here as well */
	for (int i = 0; i < CHILDREN; i++) {
		int status = -1;
		EQ(waitpid(pid[i], &status, 0), pid[i]);
		EQ(status, 0);
	}
	return test_end();
}
