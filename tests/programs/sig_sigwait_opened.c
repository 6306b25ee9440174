/* A thread lets a signal in, has another process send it, shuts it out and waits for it if it has not been handled: one or the other is always so, and soon, though the
 * masks of all kernel threads are about to change when it comes (SIG-4). */
#include "sync_test.h"

#include <signal.h>
#include <sys/wait.h>

enum { TURNS = 1500, LIMIT_S = 5 };

static volatile sig_atomic_t handled;
static int to_sender[2], from_sender[2];
static volatile bool stop;

static void handler(int sig) {
	(void)sig;
	handled++;
}

static void *busy(void *arg) {
	while (!stop) {
		for (volatile int i = 0; i < 20000; i++)
			continue;
		nanosleep(&(struct timespec){0, 20000}, NULL);
	}
	return arg;
}

/* The sender's turn, until it has had it. */
static void ask(void) {
	char c = 'k';
	EQ(write(to_sender[1], &c, 1), 1);
	while (read(from_sender[0], &c, 1) < 0 && errno == EINTR)
		continue;
}

static void *turns(void *arg) {
	sigset_t set;
	int lost = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	for (int i = 0; i < TURNS && !lost; i++) {
		struct timespec limit = {LIMIT_S, 0};
		handled = 0;
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
		ask();
		pthread_sigmask(SIG_BLOCK, &set, NULL);
		if (!handled)
			lost += sigtimedwait(&set, NULL, &limit) != SIGUSR1;
	}
	EQ(lost, 0);
	return arg;
}

static void sends(void) {
	char c;
	close(to_sender[1]);
	while (read(to_sender[0], &c, 1) == 1) {
		kill(getppid(), SIGUSR1);
		if (write(from_sender[1], &c, 1) != 1)
			break;
	}
	_exit(0);
}

int main(void) {
	sigset_t set;
	int status = -1;
	test_begin();
	EQ(pipe(to_sender), 0);
	EQ(pipe(from_sender), 0);
	signal(SIGUSR1, handler);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pid_t sender = fork();
	if (sender == 0)
		sends();
	close(to_sender[0]);
	pthread_t other = start(busy, NULL);
	join(start(turns, NULL));
	step("a thread");
	turns(NULL);
	step("main");
	stop = true;
	join(other);
	close(to_sender[1]);
	EQ(waitpid(sender, &status, 0), sender);
	EQ(status, 0);
	return test_end();
}
