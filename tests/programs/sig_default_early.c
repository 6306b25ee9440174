/* The first thing that a process's first thread does is to send a signal that it blocks, and main does not: the default action comes before kill() returns. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 20 };
static _Atomic int made; /* libc blocks everything in main while it makes a thread */

static void *sends(void *arg) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	while (!made)
		sched_yield();
	kill(getpid(), SIGTERM);
	_exit(77);
	return arg;
}

int main(void) {
	int ended = 0, went_on = 0;
	alarm(30);
	for (int i = 0; i < PROCESSES; i++) {
		int status = 0;
		pid_t pid = fork();
		if (pid == 0) {
			pthread_t t;
			alarm(10);
			pthread_create(&t, NULL, sends, NULL);
			made = 1;
			pthread_join(t, NULL);
			_exit(1);
		}
		waitpid(pid, &status, 0);
		ended += WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
		went_on += WIFEXITED(status) && WEXITSTATUS(status) == 77;
	}
	printf("%d ended by it, %d went on\n", ended, went_on);
	return 0;
}
