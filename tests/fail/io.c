/* Pipes and sockets under refused calls: reads that wait, poll on many descriptors, a close under a read, a cancelled read, a fork that
 * makes threads. */
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fail_test.h"

enum { PAIRS = 20, ROUNDS = 4 };

struct echo {
	int fd[2];
};

static void *echo(void *arg) {
	struct echo *e = arg;
	char buf[64];
	ssize_t n;
	while ((n = read(e->fd[1], buf, sizeof buf)) > 0)
		CHECK(write(e->fd[1], buf, (size_t)n) == n);
	CHECK(n == 0);
	close(e->fd[1]);
	return NULL;
}

static void echoes(void) {
	static struct echo e[PAIRS];
	pthread_t t[PAIRS];
	struct pollfd p[PAIRS];
	for (int i = 0; i < PAIRS; i++) {
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, e[i].fd) == 0);
		t[i] = start(echo, &e[i]);
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < PAIRS; i++)
			CHECK(write(e[i].fd[0], "hello", 5) == 5);
		for (int left = PAIRS * 5; left;) {
			for (int i = 0; i < PAIRS; i++)
				p[i] = (struct pollfd){.fd = e[i].fd[0], .events = POLLIN};
			CHECK(poll(p, PAIRS, -1) > 0);
			for (int i = 0; i < PAIRS; i++) {
				char buf[8];
				if (!p[i].revents)
					continue;
				ssize_t n = read(e[i].fd[0], buf, sizeof buf);
				CHECK(n > 0 && left >= n);
				left -= (int)n;
			}
		}
	}
	for (int i = 0; i < PAIRS; i++) {
		close(e[i].fd[0]);
		join(t[i]);
	}
}

static void *read_for_ever(void *arg) {
	char c;
	ssize_t n = read(*(int *)arg, &c, 1);
	return (void *)n;
}

static void cancelled(void) {
	int fd[2];
	CHECK(pipe(fd) == 0);
	pthread_t t = start(read_for_ever, &fd[0]);
	CHECK(pthread_cancel(t) == 0);
	CHECK(join(t) == PTHREAD_CANCELED);
	close(fd[0]);
	close(fd[1]);
}

static void *nothing(void *arg) {
	return arg;
}

static void forked(void) {
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		refused = 0;
		_exit(join(start(nothing, &pid)) == &pid ? 0 : 2);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
}

static void round_once(void) {
	echoes();
	cancelled();
	forked();
}

int main(void) {
	rounds(ROUNDS, round_once);
	return 0;
}
