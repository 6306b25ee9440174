/* SO_RCVTIMEO and SO_SNDTIMEO: whose they are, and what they count. No line depends on how long a thing takes. */
#include <sys/un.h>

#include "io_test.h"

static char big[1 << 20];

static void set(int fd, int option, int ms) {
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};
	EQ(setsockopt(fd, SOL_SOCKET, option, &tv, sizeof tv), 0);
}

static void *write_late(void *arg) {
	settle();
	settle();
	EQ(write(*(int *)arg, "x", 1), 1);
	return NULL;
}

/* A Unix socket inherits nothing from its listener. */
static void *test_unix_accept(void *arg) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(sa_family_t);
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
	char b;
	EQ(bind(l, (struct sockaddr *)&a, size), 0); /* a name of the kernel's choice */
	size = sizeof a;
	EQ(getsockname(l, (struct sockaddr *)&a, &size), 0);
	EQ(listen(l, 1), 0);
	set(l, SO_RCVTIMEO, 20);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	EQ(connect(c, (struct sockaddr *)&a, size), 0);
	int s = accept(l, NULL, NULL);
	pthread_t t = start(write_late, &c);
	EQ(read(s, &b, 1), 1);
	join(t);
	close(l);
	close(c);
	close(s);
	return arg;
}

/* TCP inherits what the listener has by then, whoever set it. */
static void *test_tcp_accept(void *arg) {
	struct sockaddr_in at;
	int l = listener(1, &at), d = dup(l);
	char b;
	set(d, SO_RCVTIMEO, 20);
	int c = dial(&at), s = accept(l, NULL, NULL);
	FAILS(read(s, &b, 1), EAGAIN);
	close(s);
	close(c);
	/* A connection that came before has what the listener had then. */
	c = dial(&at);
	set(l, SO_RCVTIMEO, 30000);
	s = accept(l, NULL, NULL);
	FAILS(read(s, &b, 1), EAGAIN);
	close(s);
	close(c);
	close(l);
	close(d);
	return arg;
}

static void *drain_slowly(void *arg) {
	int fd = *(int *)arg;
	static char buf[65536];
	for (size_t left = sizeof big; left;) {
		usleep(80000);
		size_t got = read_full(fd, buf, left < sizeof buf ? left : sizeof buf);
		if (!got)
			break;
		left -= got;
	}
	return NULL;
}

/* For each buffer of a Unix socket, not for the call, which takes longer. */
static void *test_unix_send(void *arg) {
	int s[2];
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	set(s[0], SO_SNDTIMEO, 600);
	pthread_t t = start(drain_slowly, &s[1]);
	EQ(send(s[0], big, sizeof big, 0), sizeof big);
	join(t);
	close(s[0]);
	close(s[1]);
	return arg;
}

struct short_reader {
	int fd;
	_Atomic pid_t sender;
};

/* Makes room for much less than what the sender calls writable. */
static void *read_little(void *arg) {
	struct short_reader *r = arg;
	char buf[40000];
	await_sleeping(&r->sender);
	settle();
	EQ(read_full(r->fd, buf, sizeof buf), sizeof buf);
	return NULL;
}

/* A message that is cut short is the last: another behind it would be garbage. */
static void *test_sendmmsg(void *arg) {
	struct iovec v[2] = {{big, sizeof big}, {big, 500}};
	struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = &v[0], .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &v[1], .msg_iovlen = 1}}};
	int s[2];
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	set(s[0], SO_SNDTIMEO, 300);
	m[1].msg_len = 77;
	struct short_reader r = {dup(s[1]), gettid()};
	pthread_t t = start(read_little, &r);
	EQ(sendmmsg(s[0], m, 2, 0), 1);
	join(t);
	CHECK(m[0].msg_len > 0 && m[0].msg_len < sizeof big);
	EQ(m[1].msg_len, 77);
	close(r.fd);
	close(s[0]);
	close(s[1]);
	return arg;
}

struct mail {
	struct mmsghdr m[3];
	struct iovec v[3];
	char text[3][16];
};

static struct mmsghdr *mail(struct mail *m) {
	memset(m, 0, sizeof *m);
	for (int i = 0; i < 3; i++) {
		m->v[i] = (struct iovec){m->text[i], sizeof m->text[i]};
		m->m[i].msg_hdr = (struct msghdr){.msg_iov = &m->v[i], .msg_iovlen = 1};
	}
	return m->m;
}

static void *write_twice(void *arg) {
	for (int i = 0; i < 2; i++) {
		usleep(500000);
		EQ(write(*(int *)arg, "x", 1), 1);
	}
	return NULL;
}

static void *test_recvmmsg(void *arg) {
	struct mail m;
	int s[2];
	EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
	set(s[0], SO_RCVTIMEO, 900); /* for each message */
	pthread_t t = start(write_twice, &s[1]);
	EQ(recvmmsg(s[0], mail(&m), 2, 0, NULL), 2);
	join(t);
	for (int i = 0; i < 3; i++)
		EQ(write(s[1], "x", 1), 1);
	EQ(recvmmsg(s[0], mail(&m), 3, 0, &(struct timespec){0}), 1); /* the time is looked at after each message */
	EQ(recvmmsg(s[0], mail(&m), 3, 0, &(struct timespec){0}), 1);
	EQ(recvmmsg(s[0], mail(&m), 2, MSG_DONTWAIT, NULL), 1);
	close(s[0]);
	close(s[1]);
	return arg;
}

struct mail_reader {
	int fd;
	_Atomic pid_t tid;
	int got;
	struct mail mail;
};

static void *read_mail(void *arg) {
	struct mail_reader *r = arg;
	r->tid = gettid();
	r->got = recvmmsg(r->fd, mail(&r->mail), 2, 0, NULL);
	return NULL;
}

/* After the first message an error ends the call, and is for the next one. */
static void *test_recvmmsg_error(void *arg) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, b = a;
	struct mail_reader r = {.fd = socket(AF_INET, SOCK_DGRAM, 0)};
	int peer = socket(AF_INET, SOCK_DGRAM, 0), left = 1;
	socklen_t size = sizeof a;
	char c;
	EQ(bind(r.fd, (struct sockaddr *)&a, size), 0);
	EQ(getsockname(r.fd, (struct sockaddr *)&a, &size), 0);
	EQ(bind(peer, (struct sockaddr *)&b, size), 0);
	EQ(getsockname(peer, (struct sockaddr *)&b, &size), 0);
	EQ(connect(r.fd, (struct sockaddr *)&b, size), 0);
	pthread_t t = start(read_mail, &r);
	await_sleeping(&r.tid);
	EQ(sendto(peer, "x", 1, 0, (struct sockaddr *)&a, size), 1);
	for (; left; usleep(1000))
		EQ(ioctl(r.fd, FIONREAD, &left), 0);
	await_sleeping(&r.tid);
	settle();
	close(peer);
	EQ(send(r.fd, "y", 1, 0), 1); /* refused */
	join(t);
	EQ(r.got, 1);
	FAILS(recv(r.fd, &c, 1, MSG_DONTWAIT), ECONNREFUSED);
	close(r.fd);
	return arg;
}

/* A socket that is shut down while a second message is waited for. */
static void *test_recvmmsg_shut(void *arg) {
	struct mail_reader r = {0};
	int s[2], left = 1;
	EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
	r.fd = s[0];
	pthread_t t = start(read_mail, &r);
	await_sleeping(&r.tid);
	EQ(write(s[1], "xyz", 3), 3);
	for (; left; usleep(1000))
		EQ(ioctl(s[0], FIONREAD, &left), 0);
	await_sleeping(&r.tid);
	EQ(shutdown(s[0], SHUT_RD), 0);
	join(t);
	EQ(r.got, 2);
	EQ(r.mail.m[0].msg_len, 3);
	EQ(r.mail.m[1].msg_len, 0);
	close(s[0]);
	close(s[1]);
	return arg;
}

int main(void) {
	void *(*test[])(void *) = {test_unix_accept, test_tcp_accept, test_unix_send, test_sendmmsg, test_recvmmsg, test_recvmmsg_error, test_recvmmsg_shut};
	enum { TESTS = sizeof test / sizeof test[0] };
	pthread_t t[TESTS];
	alarm(60);
	for (int i = 0; i < TESTS; i++)
		t[i] = start(test[i], NULL);
	for (int i = 0; i < TESTS; i++)
		join(t[i]);
	done("timeouts");
	return failures != 0;
}
