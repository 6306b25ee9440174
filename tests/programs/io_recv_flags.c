/* Where the kernel ends a receive, and how often it is asked to send: calls that must not be taken apart. */
#include <time.h>

#include <linux/errqueue.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/timerfd.h>

#include "io_test.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif

static char big[4 << 20];

struct whole {
	int fd;
	_Atomic pid_t tid;
	ssize_t got;
	char buf[20];
};

static void *recv_whole(void *arg) {
	struct whole *w = arg;
	w->tid = gettid();
	w->got = recv(w->fd, w->buf, 10, MSG_WAITALL);
	return NULL;
}

static void send_descriptor(int fd) {
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec v = {"hello", 5};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	*h = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(h), &fd, sizeof fd);
	EQ(sendmsg(fd, &m, 0), 5);
}

/* MSG_WAITALL ends behind what has descriptors. */
static void test_descriptors(void) {
	struct whole w = {0};
	int s[2];
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	w.fd = s[1];
	pthread_t t = start(recv_whole, &w);
	await_sleeping(&w.tid);
	send_descriptor(s[0]);
	join(t);
	EQ(w.got, 5);
	send_descriptor(s[0]);
	EQ(write(s[0], "abc", 3), 3);
	EQ(fcntl(s[1], F_SETFL, O_NONBLOCK), 0);
	EQ(recv(s[1], w.buf, 10, MSG_WAITALL), 5);
	EQ(recv(s[1], w.buf, 10, MSG_WAITALL), 3);
	close(s[0]);
	close(s[1]);
	done("descriptors");
}

/* ... and before urgent data. */
static void test_urgent(bool early) {
	struct whole w = {0};
	int s[2], left = 1, marked = 0;
	tcp_pair(s);
	w.fd = s[1];
	pthread_t t = 0;
	if (!early) {
		t = start(recv_whole, &w);
		await_sleeping(&w.tid);
	}
	EQ(send(s[0], "hello", 5, 0), 5);
	for (; !early && left; usleep(1000))
		EQ(ioctl(s[1], FIONREAD, &left), 0);
	if (!early) {
		await_sleeping(&w.tid);
		settle();
	}
	EQ(send(s[0], "X", 1, MSG_OOB), 1);
	struct pollfd p = {.fd = s[1], .events = POLLPRI};
	EQ(poll(&p, 1, -1), 1);
	if (early)
		t = start(recv_whole, &w);
	join(t);
	EQ(w.got, 5);
	EQ(ioctl(s[1], SIOCATMARK, &marked), 0);
	EQ(marked, 1);
	EQ(send(s[0], "0123456789", 10, 0), 10);
	EQ(recv(s[1], w.buf, 10, MSG_WAITALL), 10);
	EQ(memcmp(w.buf, "0123456789", 10), 0);
	close(s[0]);
	close(s[1]);
	done("urgent data");
}

/* Nothing behind the offset; the bytes before it are there all the same. */
static void *test_peek_offset(void *nonblocking) {
	int s[2], zero = 0, there = 0;
	char buf[10];
	struct reader r = {.n = 1};
	tcp_pair(s);
	r.fd = s[1];
	pthread_t t = start(read_once, &r); /* the descriptor is one that is waited for */
	await_waiting(&r);
	EQ(write(s[0], "x", 1), 1);
	join(t);
	if (setsockopt(s[1], SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof zero) == 0) { /* since Linux 6.10 */
		int flags = MSG_PEEK | (nonblocking ? 0 : MSG_DONTWAIT);
		EQ(fcntl(s[1], F_SETFL, nonblocking ? O_NONBLOCK : 0), 0);
		EQ(write(s[0], "hello", 5), 5);
		for (; there < 5; usleep(1000))
			EQ(ioctl(s[1], FIONREAD, &there), 0);
		settle(); /* who waits for the kernel's events has heard of it */
		EQ(recv(s[1], buf, 5, flags), 5);
		FAILS(recv(s[1], buf, 5, flags), EAGAIN);
		struct pollfd p = {.fd = s[1], .events = POLLIN};
		EQ(poll(&p, 1, -1), 1);
	}
	close(s[0]);
	close(s[1]);
	done("an offset for peeks");
	return NULL;
}

static void *drain(void *arg) {
	static char buf[65536];
	settle();
	while (read(*(int *)arg, buf, sizeof buf) > 0)
		continue;
	return NULL;
}

/* The sender is told of its calls by number. */
static void test_zerocopy(bool message) {
	int s[2], one = 1;
	tcp_pair(s);
	EQ(setsockopt(s[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one), 0);
	pthread_t t = start(drain, &s[1]);
	struct iovec v = {big, sizeof big};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	EQ(message ? sendmsg(s[0], &m, MSG_ZEROCOPY) : send(s[0], big, sizeof big, MSG_ZEROCOPY), sizeof big);
	EQ(shutdown(s[0], SHUT_WR), 0);
	join(t);
	unsigned last = ~0u;
	char control[200];
	struct msghdr told = {.msg_control = control, .msg_controllen = sizeof control};
	struct pollfd p = {.fd = s[0], .events = 0};
	EQ(poll(&p, 1, 5000), 1);
	while (recvmsg(s[0], &told, MSG_ERRQUEUE | MSG_DONTWAIT) == 0) {
		struct sock_extended_err *e = (void *)CMSG_DATA(CMSG_FIRSTHDR(&told));
		last = e->ee_data;
		told.msg_controllen = sizeof control;
	}
	EQ(last, 0);
	close(s[0]);
	close(s[1]);
	done("zero copies");
}

/* What cannot be written or read so is refused, whatever its readiness is. */
static void *test_refused(void *arg) {
	int file = open("/proc/self/exe", O_RDONLY), timer = timerfd_create(CLOCK_MONOTONIC, 0), epoll = epoll_create1(0), p[2];
	off_t at = 0;
	EQ(pipe(p), 0);
	FAILS(sendfile(timer, file, &at, 4), EINVAL);
	FAILS(sendfile(epoll, file, &at, 4), EINVAL);
	FAILS(splice(epoll, NULL, p[1], NULL, 4, 0), EINVAL);
	EQ(write(p[1], "abcd", 4), 4);
	FAILS(splice(p[0], NULL, epoll, NULL, 4, 0), EINVAL);
	close(file);
	close(timer);
	close(epoll);
	done("anonymous inodes");
	return arg;
}

int main(void) {
	alarm(60);
	become_threaded();
	test_descriptors();
	test_urgent(false);
	test_urgent(true);
	join(start(test_peek_offset, NULL));
	join(start(test_peek_offset, big));
	test_zerocopy(false);
	test_zerocopy(true);
	join(start(test_refused, NULL));
	return failures != 0;
}
