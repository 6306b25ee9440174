/* 1,000 threads in accept() on one listener: each connection goes to exactly one, none is lost, none waits for another (POL-2). */
#include "io_test.h"

enum { ACCEPTORS = 1000, CONNECTIONS = 3000, DIALERS = 8 };

static struct sockaddr_in at;
static int l, served;

static void *acceptor(void *arg) {
	for (;;) {
		struct sockaddr_in peer = {0};
		socklen_t size = sizeof peer;
		int fd = accept(l, (struct sockaddr *)&peer, &size);
		if (fd < 0) {
			int error = errno;
			EQ(error, EINVAL); /* shut down */
			return arg;
		}
		EQ(size, sizeof peer);
		EQ(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
		char c;
		EQ(read(fd, &c, 1), 1);
		write_all(fd, &c, 1);
		close(fd);
		__atomic_fetch_add(&served, 1, __ATOMIC_RELAXED);
	}
}

static void *dialer(void *arg) {
	for (int i = 0; i < CONNECTIONS / DIALERS; i++) {
		int fd = dial(&at);
		char c = (char)i, d = 0;
		write_all(fd, &c, 1);
		EQ(read(fd, &d, 1), 1);
		EQ(d, c);
		close(fd);
	}
	return arg;
}

int main(void) {
	static pthread_t acceptors[ACCEPTORS];
	pthread_t dialers[DIALERS];
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	l = listener(128, &at);
	for (int i = 0; i < ACCEPTORS; i++)
		EQ(pthread_create(&acceptors[i], &attr, acceptor, NULL), 0);
	for (int i = 0; i < DIALERS; i++)
		dialers[i] = start(dialer, NULL);
	for (int i = 0; i < DIALERS; i++)
		join(dialers[i]);
	EQ(shutdown(l, SHUT_RDWR), 0);
	for (int i = 0; i < ACCEPTORS; i++)
		join(acceptors[i]);
	EQ(served, CONNECTIONS);
	done("acceptors");
	/* a timeout on the listener */
	l = listener(5, &at);
	struct timeval tv = {0, 50000};
	EQ(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
	TAKES(45, 500, FAILS(accept(l, NULL, NULL), EAGAIN));
	int a = dial(&at), b = accept(l, NULL, NULL);
	char c;
	CHECK(b >= 0);
	TAKES(45, 500, FAILS(recv(b, &c, 1, 0), EAGAIN)); /* inherited */
	close(a);
	close(b);
	/* what is no listener */
	a = socket(AF_INET, SOCK_STREAM, 0);
	FAILS(accept(a, NULL, NULL), EINVAL);
	FAILS(read(a, &c, 1), ENOTCONN);
	FAILS(read(a, &c, 1), ENOTCONN);
	close(a);
	int fds[2];
	tcp_pair(fds);
	FAILS(accept(fds[0], NULL, NULL), EINVAL);
	FAILS(connect(fds[0], (struct sockaddr *)&at, sizeof at), EISCONN);
	close(fds[0]);
	close(fds[1]);
	a = socket(AF_INET, SOCK_DGRAM, 0);
	FAILS(accept(a, NULL, NULL), EOPNOTSUPP);
	close(a);
	EQ(pipe(fds), 0);
	FAILS(accept(fds[0], NULL, NULL), ENOTSOCK);
	FAILS(accept(-1, NULL, NULL), EBADF);
	close(l);
	a = socket(AF_INET, SOCK_STREAM, 0);
	FAILS(connect(a, (struct sockaddr *)&at, sizeof at), ECONNREFUSED);
	done("errors");
	return failures != 0;
}
