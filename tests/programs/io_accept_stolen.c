/* A connection that another process takes, perhaps after this one was told of it: who waited for it goes on waiting, and can be cancelled. */
#include "io_test.h"

enum { ROUNDS = 300 };

static int l;

static void *accept_one(void *arg) {
	int fd = accept(l, NULL, NULL);
	if (fd >= 0)
		close(fd);
	return arg;
}

int main(void) {
	struct sockaddr_in at;
	alarm(60);
	l = listener(50, &at);
	pid_t child = fork();
	if (child == 0) {
		for (;;)
			accept_one(NULL);
	}
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t t = start(accept_one, NULL);
		usleep(300);
		int fd = dial(&at);
		usleep(500);
		pthread_cancel(t);
		join(t);
		close(fd);
	}
	kill(child, SIGKILL);
	EQ(waitpid(child, NULL, 0), child);
	done("stolen connections");
	return failures != 0;
}
