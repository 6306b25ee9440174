/* A TCP connection with something in its error queue, time stamps of what it sent, says POLLERR and has not failed: calls that wait in the middle of their work go on, to the end of it (FD-8,
 * FD-10). */
#include <linux/net_tstamp.h>

#include "waitall_test.h"

static char big[8 << 20];

struct sender {
	int fd, way;
	_Atomic pid_t tid;
	ssize_t sent;
};

/* [0] has it. */
static void pair(int p[2]) {
	int how = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY, error = 1;
	struct pollfd ready;
	socklen_t size = sizeof error;
	tcp_pair(p);
	ready = (struct pollfd){.fd = p[0]};
	EQ(setsockopt(p[0], SOL_SOCKET, SO_TIMESTAMPING, &how, sizeof how), 0);
	EQ(send(p[0], "x", 1, 0), 1);
	EQ(read(p[1], big, 1), 1);
	EQ(poll(&ready, 1, -1), 1);
	EQ(ready.revents, POLLERR);
	EQ(getsockopt(p[0], SOL_SOCKET, SO_ERROR, &error, &size), 0);
	EQ(error, 0);
}

static void *send_big(void *arg) {
	struct sender *s = arg;
	struct iovec v = {big, sizeof big};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	s->tid = gettid();
	s->sent = s->way == 0 ? write(s->fd, big, sizeof big) : s->way == 1 ? send(s->fd, big, sizeof big, 0) : sendmsg(s->fd, &m, 0);
	EQ(shutdown(s->fd, SHUT_WR), 0);
	return NULL;
}

static void test_send(int way) {
	static char sink[65536];
	int p[2];
	pair(p);
	struct sender s = {.fd = p[0], .way = way};
	pthread_t t = start(send_big, &s);
	await_sleeping(&s.tid);
	while (read(p[1], sink, sizeof sink) > 0)
		continue;
	join(t);
	EQ(s.sent, sizeof big);
	close(p[0]);
	close(p[1]);
}

static void test_receive(void *(*call)(void *)) {
	struct reader r = {.n = 10};
	int p[2];
	pair(p);
	r.fd = p[0];
	pthread_t t = start(call, &r);
	await_waiting(&r);
	EQ(send(p[1], "hello", 5, 0), 5);
	await_taken(p[0], &r.tid);
	EQ(send(p[1], "hello", 5, 0), 5);
	join(t);
	EQ(r.got, 10);
	close(p[0]);
	close(p[1]);
}

int main(void) {
	alarm(20);
	for (int way = 0; way < 3; way++)
		test_send(way);
	done("sends");
	test_receive(wait_all);
	test_receive(wait_all_message);
	done("MSG_WAITALL");
	return failures != 0;
}
