/* A handler of SIGCHLD that waits for the child itself while the signal is open, and one that leaves by siglongjmp() for code that does: neither is waited
 * for by its own thread. So many children that waiting out a time limit for each would take longer than the test may. */
#include "sync_test.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 250 };

static volatile pid_t child;
static volatile sig_atomic_t reaped, leaves;
static sigjmp_buf out;

static void on_child(int sig) {
	(void)sig;
	if (leaves)
		siglongjmp(out, 1);
	if (child > 0 && waitpid(child, NULL, 0) == child)
		reaped = 1;
}

static void one_child(void) {
	sigset_t chld, old;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	reaped = 0;
	pthread_sigmask(SIG_BLOCK, &chld, &old);
	pid_t made = fork();
	if (made == 0)
		_exit(0);
	child = made;
	if (sigsetjmp(out, 1) == 0) {
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		while (!reaped)
			; /* in the program's own code when it comes */
		return;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	EQ(waitpid(made, NULL, 0), made);
}

static void *nothing(void *arg) {
	return arg;
}

int main(void) {
	pthread_t t;
	struct sigaction act = {.sa_handler = on_child, .sa_flags = SA_NODEFER};
	sigaction(SIGCHLD, &act, NULL);
	pthread_create(&t, NULL, nothing, NULL);
	pthread_join(t, NULL);
	for (int i = 0; i < CHILDREN; i++) {
		leaves = i % 2;
		one_child();
	}
	printf("%d children\n", CHILDREN);
	return 0;
}
