/* recvmmsg() of a stream fills each message before the next one begins, as recvmsg() does, with MSG_WAITALL, and with MSG_WAITFORONE the first; and waits for
 * as much as SO_RCVLOWAT says (FD-10). */
#include "waitall_test.h"

enum { SIZE = 10 };

struct batch {
	int fd, flags, got;
	unsigned count;
	_Atomic pid_t tid;
	char buf[2][SIZE];
	struct mmsghdr m[2];
};

static void *receives(void *arg) {
	struct batch *b = arg;
	struct iovec v[2] = {{b->buf[0], SIZE}, {b->buf[1], SIZE}};
	for (int i = 0; i < 2; i++)
		b->m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
	b->tid = gettid();
	b->got = recvmmsg(b->fd, b->m, b->count, b->flags, NULL);
	return NULL;
}

static void stream(bool tcp, int p[2]) {
	int one = 1;
	if (tcp) {
		tcp_pair(p);
		EQ(setsockopt(p[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
	} else {
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	}
}

/* Five bytes, then `rest`, and the end, but where it is not waited for. */
static void test_waitall(bool tcp, int flags, size_t rest, unsigned second) {
	struct batch b = {.flags = MSG_WAITALL | flags, .count = 2};
	int p[2];
	stream(tcp, p);
	b.fd = p[1];
	pthread_t t = start(receives, &b);
	await_sleeping(&b.tid);
	write_all(p[0], "01234", 5);
	await_taken(p[1], &b.tid);
	write_all(p[0], "567890123456789", rest);
	if (!flags)
		EQ(shutdown(p[0], SHUT_WR), 0);
	join(t);
	EQ(b.got, 2);
	EQ(b.m[0].msg_len, SIZE);
	EQ(b.m[1].msg_len, second);
	EQ(memcmp(b.buf, "01234567890123456789", 5 + rest), 0);
	close(p[0]);
	close(p[1]);
}

/* Five bytes are there, which is too few. (With five more the kernel would wait on, which has taken those.) */
static void test_low_water(void) {
	struct batch b = {.count = 1};
	int p[2], there = 0, least = SIZE;
	stream(true, p);
	b.fd = p[1];
	EQ(setsockopt(p[1], SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least), 0);
	write_all(p[0], "01234", 5);
	for (; there < 5; usleep(1000))
		EQ(ioctl(p[1], FIONREAD, &there), 0);
	pthread_t t = start(receives, &b);
	await_sleeping(&b.tid);
	write_all(p[0], "5678901234", 10);
	join(t);
	EQ(b.got, 1);
	EQ(b.m[0].msg_len, SIZE);
	close(p[0]);
	close(p[1]);
}

int main(void) {
	alarm(20);
	for (int tcp = 0; tcp < 2; tcp++) {
		test_waitall(tcp, 0, 15, SIZE);
		test_waitall(tcp, 0, 8, 3);
		test_waitall(tcp, MSG_WAITFORONE, 8, 3);
		done(tcp ? "TCP" : "Unix");
	}
	test_low_water();
	done("SO_RCVLOWAT");
	return failures != 0;
}
