/* What a call's flags and a socket's options change: timeouts, MSG_WAITALL, PEEK, DONTWAIT, OOB, low-water marks; messages with vectors,
 * control data and descriptors; several messages per call (FD-10). */
#include "io_test.h"

/* The last call has waited for its time. */
static void send_until_late(int fd) {
	char big[1 << 16] = {0};
	ssize_t n;
	int rounds = 0;
	long long begin;
	do
		begin = now_ms();
	while ((n = send(fd, big, sizeof big, 0)) > 0 && rounds++ < 1000);
	CHECK(n == -1 && errno == EAGAIN);
	CHECK(now_ms() - begin >= 55);
}

static void timeouts(int a, int b) {
	char c;
	struct timeval tv = {0, 60000}, got;
	socklen_t size = sizeof got;
	EQ(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
	TAKES(55, 400, FAILS(recv(a, &c, 1, 0), EAGAIN));
	TAKES(55, 400, FAILS(read(a, &c, 1), EAGAIN));
	EQ(getsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &got, &size), 0);
	CHECK(got.tv_usec >= 60000 && got.tv_usec <= 64000);
	write_all(b, "x", 1);
	EQ(recv(a, &c, 1, 0), 1);
	tv.tv_usec = 120000;
	EQ(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
	TAKES(115, 500, FAILS(recv(a, &c, 1, 0), EAGAIN));
	tv.tv_usec = 0;
	EQ(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
	struct reader r = {.fd = a};
	pthread_t t = start(read_once, &r);
	settle();
	settle();
	write_all(b, "y", 1);
	join(t);
	EQ(r.got, 1);
	/* set while another thread's description is dup'ed */
	int twin = dup(a);
	tv.tv_usec = 50000;
	EQ(setsockopt(twin, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
	TAKES(45, 400, FAILS(recv(a, &c, 1, 0), EAGAIN));
	tv.tv_usec = 0;
	EQ(setsockopt(twin, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
	close(twin);
	/* sending: a part, then the time is over */
	tv.tv_usec = 60000;
	EQ(setsockopt(a, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv), 0);
	send_until_late(a);
	send_until_late(a); /* the kernel may have made room: it probes the receiver's window */
	tv.tv_usec = 0; /* whoever receives later may have to wait for a CPU */
	EQ(setsockopt(a, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv), 0);
}

static void *late_writer(void *arg) {
	int fd = *(int *)arg;
	for (int i = 0; i < 5; i++) {
		settle();
		write_all(fd, "0123456789", 10);
	}
	return NULL;
}

static void flags(int a, int b, bool stream) {
	char buf[200];
	FAILS(recv(a, buf, 1, MSG_DONTWAIT), EAGAIN);
	if (stream) {
		pthread_t t = start(late_writer, &b);
		EQ(recv(a, buf, 50, MSG_WAITALL), 50);
		CHECK(memcmp(buf, "0123456789012345678901234567890123456789", 40) == 0);
		join(t);
		t = start(late_writer, &b);
		struct iovec iov[3] = {{buf, 7}, {buf + 7, 30}, {buf + 37, 13}};
		struct msghdr m = {.msg_iov = iov, .msg_iovlen = 3};
		EQ(recvmsg(a, &m, MSG_WAITALL), 50);
		CHECK(memcmp(buf, "0123456789012345678901234567890123456789", 40) == 0);
		join(t);
	}
	/* PEEK takes nothing, and does not make the next read wait */
	write_all(b, "peek", 4);
	EQ(recv(a, buf, 100, MSG_PEEK), 4);
	EQ(recv(a, buf, 100, MSG_PEEK), 4);
	EQ(recv(a, buf, 100, 0), 4);
	CHECK(memcmp(buf, "peek", 4) == 0);
	FAILS(recv(a, buf, 100, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
	/* vectors */
	struct iovec out[3] = {{"one", 3}, {"", 0}, {"two", 3}}, in[2] = {{buf, 2}, {buf + 2, 100}};
	EQ(writev(b, out, 3), 6);
	EQ(readv(a, in, 2), 6);
	CHECK(memcmp(buf, "onetwo", 6) == 0);
	FAILS(readv(a, in, -1), EINVAL);
	FAILS(writev(a, out, 2000), EINVAL);
	EQ(write(b, buf, 0), 0);
	EQ(stream ? read(a, buf, 0) : recv(a, buf, 10, 0), 0); /* an empty message is one */
}

static void *receive_all(void *arg) {
	int fd = *(int *)arg;
	char buf[4096];
	long long sum = 0;
	ssize_t n;
	while ((n = recv(fd, buf, sizeof buf, 0)) > 0)
		sum += n;
	return (void *)(intptr_t)sum;
}

static void big_message(int a, int b) {
	enum { PARTS = 60, EACH = 30000 };
	char *mem = calloc(PARTS, EACH);
	struct iovec iov[PARTS];
	for (int i = 0; i < PARTS; i++)
		iov[i] = (struct iovec){mem + i * EACH, EACH};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = PARTS};
	pthread_t t = start(receive_all, &b);
	EQ(sendmsg(a, &m, 0), PARTS * EACH);
	EQ(writev(a, iov, PARTS), PARTS * EACH);
	EQ(send(a, mem, PARTS * EACH, MSG_NOSIGNAL), PARTS * EACH);
	EQ(shutdown(a, SHUT_WR), 0);
	EQ((intptr_t)join(t), 3LL * PARTS * EACH);
	free(mem);
}

static void pass_descriptor(void) {
	int s[2], p[2], got = -1;
	char control[CMSG_SPACE(sizeof(int))] = {0}, c = 'c';
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	EQ(pipe(p), 0);
	struct cmsghdr *cm = CMSG_FIRSTHDR(&m);
	*cm = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(cm), &p[0], sizeof(int));
	EQ(sendmsg(s[0], &m, 0), 1);
	memset(control, 0, sizeof control);
	EQ(recvmsg(s[1], &m, 0), 1);
	cm = CMSG_FIRSTHDR(&m);
	CHECK(cm && cm->cmsg_type == SCM_RIGHTS);
	memcpy(&got, CMSG_DATA(cm), sizeof(int));
	struct reader r = {.fd = got};
	pthread_t t = start(read_once, &r);
	settle();
	write_all(p[1], "via", 3);
	join(t);
	EQ(r.got, 3);
	/* the flag is the description's: seen under both numbers */
	EQ(fcntl(got, F_SETFL, O_NONBLOCK), 0);
	FAILS(read(p[0], &c, 1), EAGAIN);
	close(p[0]);
	close(p[1]);
	EQ(read(got, &c, 1), 0);
	close(got);
	close(s[0]);
	close(s[1]);
}

static void *mm_sender(void *arg) {
	int fd = *(int *)arg;
	for (int i = 0; i < 6; i++) {
		settle();
		char c = (char)('a' + i);
		EQ(send(fd, &c, 1, 0), 1);
	}
	return NULL;
}

static void many_messages(int a, int b) {
	struct mmsghdr v[4];
	struct iovec iov[4];
	char buf[4][16] = {{0}};
	for (int i = 0; i < 4; i++) {
		iov[i] = (struct iovec){buf[i], 1 + (size_t)i};
		v[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
		memset(buf[i], 'A' + i, sizeof buf[i]);
	}
	EQ(sendmmsg(a, v, 4, 0), 4);
	for (int i = 0; i < 4; i++) {
		EQ(v[i].msg_len, 1 + i);
		iov[i].iov_len = 16;
	}
	EQ(recvmmsg(b, v, 4, 0, NULL), 4);
	EQ(v[3].msg_len, 4);
	pthread_t t = start(mm_sender, &a);
	EQ(recvmmsg(b, v, 4, 0, NULL), 4);
	EQ(recvmmsg(b, v, 4, MSG_WAITFORONE, NULL) >= 1, 1);
	join(t);
	while (recv(b, buf[0], 1, MSG_DONTWAIT) > 0)
		continue;
	FAILS(recvmmsg(b, v, 4, MSG_DONTWAIT, NULL), EAGAIN);
	EQ(sendmmsg(a, v, 2, 0), 2);
	t = start(mm_sender, &a);
	struct timespec ts = {0, 30000000};
	EQ(recvmmsg(b, v, 4, 0, &ts) >= 2, 1); /* the time is looked at after each message */
	join(t);
	while (recv(b, buf[0], 1, MSG_DONTWAIT) > 0)
		continue;
}

int main(void) {
	int fds[2];
	char c;
	signal(SIGPIPE, SIG_IGN);
	become_threaded();
	tcp_pair(fds);
	flags(fds[0], fds[1], true);
	/* urgent data */
	FAILS(recv(fds[0], &c, 1, MSG_OOB), EINVAL);
	EQ(send(fds[1], "u", 1, MSG_OOB), 1);
	struct pollfd p = {.fd = fds[0], .events = POLLPRI};
	EQ(poll(&p, 1, 2000), 1);
	EQ(recv(fds[0], &c, 1, MSG_OOB), 1);
	EQ(c, 'u');
	write_all(fds[1], "after", 5);
	char buf[20];
	EQ(read_full(fds[0], buf, 5), 5);
	/* low-water mark */
	int mark = 5;
	EQ(setsockopt(fds[0], SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark), 0);
	struct reader r = {.fd = fds[0]};
	pthread_t t = start(read_once, &r);
	settle();
	write_all(fds[1], "abcde", 5);
	join(t);
	EQ(r.got, 5);
	p = (struct pollfd){.fd = fds[0], .events = POLLIN};
	write_all(fds[1], "abc", 3);
	EQ(poll(&p, 1, 30), 0);
	write_all(fds[1], "de", 2);
	EQ(poll(&p, 1, 5000), 1);
	close(fds[0]);
	close(fds[1]);
	tcp_pair(fds);
	timeouts(fds[0], fds[1]);
	close(fds[0]);
	close(fds[1]);
	tcp_pair(fds);
	big_message(fds[0], fds[1]);
	FAILS(write(fds[0], "x", 1), EPIPE);
	close(fds[0]);
	close(fds[1]);
	done("tcp");
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	flags(fds[0], fds[1], true);
	timeouts(fds[0], fds[1]);
	close(fds[0]);
	close(fds[1]);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	big_message(fds[0], fds[1]);
	done("unix stream");
	EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	flags(fds[0], fds[1], false);
	many_messages(fds[0], fds[1]);
	timeouts(fds[0], fds[1]);
	close(fds[0]);
	FAILS(send(fds[1], "x", 1, 0), ECONNREFUSED);
	close(fds[1]);
	done("unix datagram");
	EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	flags(fds[0], fds[1], false);
	many_messages(fds[0], fds[1]);
	close(fds[0]);
	EQ(recv(fds[1], &c, 1, 0), 0);
	FAILS(send(fds[1], "x", 1, 0), EPIPE);
	done("unix seqpacket");
	/* UDP, unconnected */
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
	socklen_t size = sizeof at, from_size = sizeof from;
	int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM, 0);
	EQ(bind(u, (struct sockaddr *)&at, sizeof at), 0);
	EQ(getsockname(u, (struct sockaddr *)&at, &size), 0);
	r = (struct reader){.fd = u};
	t = start(read_once, &r);
	settle();
	EQ(sendto(v, "gram", 4, 0, (struct sockaddr *)&at, sizeof at), 4);
	join(t);
	EQ(r.got, 4);
	EQ(sendto(v, "", 0, 0, (struct sockaddr *)&at, sizeof at), 0);
	EQ(recvfrom(u, buf, 10, 0, (struct sockaddr *)&from, &from_size), 0);
	EQ(from_size, sizeof from);
	EQ(connect(v, (struct sockaddr *)&at, sizeof at), 0);
	many_messages(v, u);
	done("udp");
	pass_descriptor();
	done("descriptor in a message");
	return failures != 0;
}
