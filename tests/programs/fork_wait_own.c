/* __WNOTHREAD: a thread waits for the children that it made itself, by their numbers, wherever it has run meanwhile. */
#include "sync_test.h"

#include <sys/wait.h>

enum { THREADS = 6, ROUNDS = 20, STATUS = 3 };

static pid_t child_make(void) {
	pid_t pid = fork();
	if (pid == 0) {
		usleep(2000);
		_exit(STATUS);
	}
	return pid;
}

static void *waits(void *arg) {
	for (int i = 0; i < ROUNDS; i++) {
		siginfo_t info = {0};
		int status = -1;
		pid_t pid = child_make(), other = child_make();
		usleep(1000);
		sched_yield();
		EQ(waitpid(pid, &status, __WNOTHREAD), pid);
		EQ(WEXITSTATUS(status), STATUS);
		EQ(waitid(P_PID, other, &info, WEXITED | __WNOTHREAD), 0);
		EQ(info.si_status, STATUS);
	}
	return arg;
}

int main(void) {
	pthread_t t[THREADS];
	test_begin();
	for (int i = 0; i < THREADS; i++)
		t[i] = start(waits, NULL);
	pid_t mains = child_make();
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	EQ(waitpid(mains, NULL, __WNOTHREAD), mains);
	return test_end();
}
