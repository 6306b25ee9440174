/* SO_RCVTIMEO and SO_SNDTIMEO of less than nothing: the kernel takes them, and the socket's calls do not wait at all, nor those of a socket that is
 * accepted from a listener with one. Asked for it, the kernel says what it says of none. When it is taken back they wait again. */
#include "io_test.h"

static char bytes[1 << 16];

static void set(int fd, int option, time_t seconds) {
	struct timeval tv = {.tv_sec = seconds}, said = {9, 9};
	socklen_t size = sizeof said;
	EQ(setsockopt(fd, SOL_SOCKET, option, &tv, sizeof tv), 0);
	EQ(getsockopt(fd, SOL_SOCKET, option, &said, &size), 0);
	EQ(said.tv_sec, 0);
	EQ(said.tv_usec, 0);
}

static void reads_nothing(int fd) {
	struct iovec v = {bytes, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	FAILS(recv(fd, bytes, 1, 0), EAGAIN);
	FAILS(read(fd, bytes, 1), EAGAIN);
	FAILS(recvmsg(fd, &m, 0), EAGAIN);
	FAILS(readv(fd, &v, 1), EAGAIN);
}

/* What has come is read; and with the time taken back it waits again. */
static void reads(int fd, int other) {
	struct reader r = {.fd = fd};
	set(fd, SO_RCVTIMEO, -1);
	reads_nothing(fd);
	write_all(other, "x", 1);
	EQ(poll(&(struct pollfd){fd, POLLIN, 0}, 1, -1), 1);
	EQ(read(fd, bytes, 1), 1);
	reads_nothing(fd);
	set(fd, SO_RCVTIMEO, 0);
	pthread_t t = start(read_once, &r);
	await_waiting(&r);
	write_all(other, "x", 1);
	join(t);
	EQ(r.got, 1);
}

static void sends(int fd) {
	size_t sent = 0;
	ssize_t n;
	set(fd, SO_SNDTIMEO, -1);
	do {
		errno = 0;
		n = send(fd, bytes, sizeof bytes, 0);
		sent += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	CHECK(n < 0 && errno == EAGAIN);
	CHECK(sent > 0);
}

static void accepts(void) {
	struct sockaddr_in at, ours, from;
	socklen_t size = sizeof ours;
	int l = listener(5, &at), fd;
	set(l, SO_RCVTIMEO, -1);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	int other = dial(&at);
	EQ(getsockname(other, (struct sockaddr *)&ours, &size), 0);
	do { /* others may dial this number, as for tcp_pair() */
		EQ(poll(&(struct pollfd){l, POLLIN, 0}, 1, -1), 1);
		fd = accept(l, (struct sockaddr *)&from, &size);
	} while (fd >= 0 && from.sin_port != ours.sin_port && close(fd) == 0);
	CHECK(fd >= 0);
	reads_nothing(fd);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	close(fd);
	close(other);
	close(l);
}

static void *all(void *arg) {
	int tcp[2], pair[2], messages[2];
	tcp_pair(tcp);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, messages), 0);
	reads(tcp[0], tcp[1]);
	reads(pair[0], pair[1]);
	reads(messages[0], messages[1]);
	done("receive");
	sends(tcp[0]);
	sends(pair[0]);
	FAILS(write(pair[0], bytes, sizeof bytes), EAGAIN);
	sends(messages[0]);
	done("send");
	accepts();
	done("accept");
	return arg;
}

int main(void) {
	join(start(all, NULL));
	printf("%d failures\n", failures);
	return failures != 0;
}
