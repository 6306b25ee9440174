/* select() and poll() of descriptors that are closed while it waits: an error only if they were when it began. Woken by what comes for them, or by its timeout, it finds
 * that they are none, and select() calls them ready. What the call did not ask for does not wake it. */
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

static void *ask_poll(void *arg) {
	struct reader *r = arg;
	struct pollfd p = {.fd = r->fd, .events = (short)r->n};
	r->tid = gettid();
	r->got = poll(&p, 1, -1);
	r->error = p.revents;
	return NULL;
}

/* `wakes`: what comes is what was asked for. Else the peer's end wakes it. */
static void closed_polled(short events, bool wakes) {
	int fds[2];
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	struct reader r = {.fd = fds[0], .n = (size_t)events};
	pthread_t t = start(ask_poll, &r);
	await_waiting(&r);
	close(fds[0]);
	for (int i = 0; i < 3 && !wakes; i++) {
		write_all(fds[1], "x", 1);
		settle();
		EQ(r.got, 0);
	}
	if (wakes)
		write_all(fds[1], "x", 1);
	else
		close(fds[1]);
	join(t);
	EQ(r.got, 1);
	EQ(r.error, POLLNVAL);
	if (wakes)
		close(fds[1]);
}

int main(void) {
	fd_set reads;
	alarm(60);
	become_threaded();
	closed("data for it", 0, 0);
	closed("data for the other one", 1, 0);
	closed("timeout", 0, 300);
	closed_polled(POLLIN, true);
	closed_polled(POLLRDHUP, false);
	closed_polled(0, false);
	done("polled");
	FD_ZERO(&reads);
	FD_SET(20, &reads);
	dup2(1, 40); /* the table has places for it */
	FAILS(select(21, &reads, NULL, NULL, NULL), EBADF);
	done("closed before");
	return failures != 0;
}
