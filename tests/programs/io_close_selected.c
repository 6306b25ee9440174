/* select() of descriptors that are closed while it waits: an error only if they were when it began. Woken by what comes for them, or by its timeout, it finds
 * that they are none, and calls them ready. */
#include <sys/select.h>

#include "io_test.h"

struct asker {
	int fds[2];
	int timeout_ms; /* 0: none */
	int result, error;
	int is_set[2][3];
	_Atomic pid_t tid;
};

static void *ask(void *arg) {
	struct asker *a = arg;
	fd_set reads, excepts;
	int n = (a->fds[0] > a->fds[1] ? a->fds[0] : a->fds[1]) + 1;
	struct timeval timeout = {0, a->timeout_ms * 1000};
	FD_ZERO(&reads);
	FD_SET(a->fds[0], &reads);
	FD_SET(a->fds[1], &reads);
	excepts = reads;
	FD_CLR(a->fds[1], &excepts);
	a->tid = gettid();
	a->result = select(n, &reads, NULL, &excepts, a->timeout_ms ? &timeout : NULL);
	a->error = errno;
	for (int i = 0; i < 2; i++) {
		a->is_set[i][0] = FD_ISSET(a->fds[i], &reads) != 0;
		a->is_set[i][2] = FD_ISSET(a->fds[i], &excepts) != 0;
	}
	return NULL;
}

static void closed(const char *what, int which_gets, int timeout_ms) {
	int one[2], two[2];
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, one), 0);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, two), 0);
	struct asker a = {.fds = {one[0], two[0]}, .timeout_ms = timeout_ms};
	pthread_t t = start(ask, &a);
	await_sleeping(&a.tid);
	close(one[0]);
	if (!timeout_ms)
		write_all(which_gets ? two[1] : one[1], "x", 1);
	join(t);
	printf("%s: %d, the closed one %d %d, the other %d %d\n", what, a.result, a.is_set[0][0], a.is_set[0][2], a.is_set[1][0], a.is_set[1][2]);
	close(one[1]);
	close(two[0]);
	close(two[1]);
}

int main(void) {
	fd_set reads;
	alarm(60);
	become_threaded();
	closed("data for it", 0, 0);
	closed("data for the other one", 1, 0);
	closed("timeout", 0, 300);
	FD_ZERO(&reads);
	FD_SET(20, &reads);
	dup2(1, 40); /* the table has places for it */
	FAILS(select(21, &reads, NULL, NULL, NULL), EBADF);
	done("closed before");
	return failures != 0;
}
