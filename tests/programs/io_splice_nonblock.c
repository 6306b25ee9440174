/* A pipe's O_NONBLOCK speaks for a whole splice() or tee(): of two pipes that of either end; beside a socket the pipe's own one, whose lack of bytes or of room
 * is told before the socket waits, and which a Unix socket obeys when it is read. TCP waits all the same. */
#include "io_test.h"

enum { IN, OUT };
static int in[2], out[2];
static char bytes[1 << 16];

static void fill(int fd) {
	int flags = fcntl(fd, F_GETFL);
	EQ(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
	for (size_t n = sizeof bytes; n > 0; n /= 2)
		while (write(fd, bytes, n) > 0)
			continue;
	EQ(fcntl(fd, F_SETFL, flags), 0);
}

static void make(int domain, int fds[2]) {
	if (domain == AF_INET)
		tcp_pair(fds);
	else
		EQ(domain == AF_UNIX ? socketpair(AF_UNIX, SOCK_STREAM, 0, fds) : pipe(fds), 0);
}

/* From in[0] to out[1]; `which` of the two is non-blocking. */
static void pair(int from, int to, int which) {
	make(from, in);
	make(to, out);
	EQ(fcntl(which == IN ? in[0] : out[1], F_SETFL, O_NONBLOCK), 0);
}

static void unpair(void) {
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
}

static void pipes(int which) {
	pair(0, 0, which);
	FAILS(splice(in[0], NULL, out[1], NULL, 100, 0), EAGAIN);
	FAILS(tee(in[0], out[1], 100, 0), EAGAIN);
	write_all(in[1], "here", 4);
	EQ(tee(in[0], out[1], 100, 0), 4);
	fill(out[1]);
	FAILS(splice(in[0], NULL, out[1], NULL, 100, 0), EAGAIN);
	FAILS(tee(in[0], out[1], 100, 0), EAGAIN);
	unpair();
}

static void *late_writer(void *arg) {
	settle();
	write_all(*(int *)arg, "late", 4);
	return NULL;
}

static void sockets(int domain) {
	pair(domain, 0, OUT);
	if (domain == AF_UNIX) {
		FAILS(splice(in[0], NULL, out[1], NULL, 100, 0), EAGAIN);
	} else {
		pthread_t t = start(late_writer, &in[1]);
		EQ(splice(in[0], NULL, out[1], NULL, 100, 0), 4);
		join(t);
	}
	fill(out[1]);
	FAILS(splice(in[0], NULL, out[1], NULL, 100, 0), EAGAIN);
	unpair();
	pair(0, domain, IN);
	fill(out[1]);
	FAILS(splice(in[0], NULL, out[1], NULL, 100, 0), EAGAIN);
	unpair();
}

int main(void) {
	signal(SIGPIPE, SIG_IGN);
	become_threaded();
	pipes(IN);
	pipes(OUT);
	done("pipes");
	sockets(AF_UNIX);
	sockets(AF_INET);
	done("sockets");
	return failures != 0;
}
