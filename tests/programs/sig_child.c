/* A thread that takes SIGCHLD has run the handler when waitpid() tells it that the child has ended: the main thread, beside others that could, and one that is
 * the only one; that one also when system() returns, which blocks the signal meanwhile. (On a busy machine the kernel now and then gives main's to another, hence
 * the .out file.) */
#include "sync_test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 40, OTHERS = 3 };

static volatile sig_atomic_t told;
static pthread_t by;

static void child_ended(int sig) {
	(void)sig;
	by = pthread_self();
	told++;
}

static void children(bool system_too) {
	for (int i = 0; i < CHILDREN; i++) {
		told = 0;
		if (system_too && i % 2) {
			EQ(system("exit 3"), 3 << 8);
		} else {
			int status = -1;
			pid_t child = fork();
			if (child == 0)
				_exit(4);
			if (i % 4) {
				EQ(waitid(P_PID, (id_t)child, NULL, WEXITED), 0);
			} else {
				EQ(waitpid(child, &status, 0), child);
				EQ(status, 4 << 8);
			}
		}
		EQ(told, 1);
		CHECK(pthread_equal(by, pthread_self()));
	}
}

static void mask(int how) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	EQ(pthread_sigmask(how, &set, NULL), 0);
}

static void *alone(void *arg) {
	mask(SIG_UNBLOCK);
	children(true);
	return arg;
}

static void *pauses(void *arg) {
	for (;;)
		pause();
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_handler = child_ended, .sa_flags = SA_RESTART};
	test_begin();
	sigaction(SIGCHLD, &sa, NULL);
	mask(SIG_BLOCK);
	join(start(alone, NULL));
	mask(SIG_UNBLOCK);
	for (int i = 0; i < OTHERS; i++)
		start(pauses, NULL);
	children(false);
	return test_end();
}
