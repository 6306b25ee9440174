/* Main blocks a signal and the process's first thread does not, nobody handles it, and a handler of another signal is to mask everything: sent at once, it ends the process. */
#include "signal_test.h"

#include <sys/wait.h>

enum { PROCESSES = 10 };

static sem_t is_open;

static void nothing(int sig) {
	(void)sig;
}

static void *opens(void *arg) {
	mask(SIG_UNBLOCK, SIGUSR1);
	sem_post(&is_open);
	for (;;)
		pause();
	return arg;
}

static void child(void) {
	struct sigaction other = {.sa_handler = nothing};
	alarm(5);
	sigfillset(&other.sa_mask);
	sigaction(SIGUSR2, &other, NULL);
	mask(SIG_BLOCK, SIGUSR1);
	sem_init(&is_open, 0, 0);
	start(opens, NULL);
	sem_take(&is_open);
	kill(getpid(), SIGUSR1);
	for (;;)
		pause();
}

int main(void) {
	int ended = 0;
	for (int i = 0; i < PROCESSES; i++) {
		int status = 0;
		pid_t pid = fork();
		if (pid == 0)
			child();
		EQ(waitpid(pid, &status, 0), pid);
		ended += WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1;
	}
	printf("%d ended by it\n", ended);
	sem_init(&is_open, 0, 0);
	start(opens, NULL); /* a thread here as well */
	return test_end();
}
