/* O_NONBLOCK is the program's: what it set is what it sees and gets, on every kind of descriptor; what it did not set is never there (FD-5). */
#include "io_test.h"

static void *set_nonblock(void *arg) {
	int fd = *(int *)arg;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return NULL;
}

static bool is_nonblock(int fd) {
	return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

/* Blocks and unblocks one reader; the flag must stay away. */
static void blocking_round(int in, int out) {
	struct reader r = {.fd = in};
	CHECK(!is_nonblock(in));
	pthread_t t = start(read_once, &r);
	settle();
	CHECK(!is_nonblock(in));
	write_all(out, "x", 1);
	join(t);
	EQ(r.got, 1);
	CHECK(!is_nonblock(in));
}

static void all_ways(int in, int out) {
	char c;
	int on = 1, off = 0;
	blocking_round(in, out);
	/* fcntl */
	EQ(fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK), 0);
	FAILS(read(in, &c, 1), EAGAIN);
	CHECK(is_nonblock(in));
	write_all(out, "y", 1);
	EQ(read(in, &c, 1), 1);
	FAILS(read(in, &c, 1), EAGAIN);
	EQ(fcntl(in, F_SETFL, fcntl(in, F_GETFL) & ~O_NONBLOCK), 0);
	blocking_round(in, out);
	/* ioctl */
	EQ(ioctl(in, FIONBIO, &on), 0);
	FAILS(read(in, &c, 1), EAGAIN);
	EQ(ioctl(in, FIONBIO, &off), 0);
	blocking_round(in, out);
	/* by another thread, between two reads */
	join(start(set_nonblock, &in));
	FAILS(read(in, &c, 1), EAGAIN);
	EQ(fcntl(in, F_SETFL, fcntl(in, F_GETFL) & ~O_NONBLOCK), 0);
	blocking_round(in, out);
	/* under another number */
	int twin = dup(in);
	blocking_round(in, out);
	blocking_round(twin, out);
	EQ(fcntl(twin, F_SETFL, fcntl(twin, F_GETFL) | O_NONBLOCK), 0);
	FAILS(read(in, &c, 1), EAGAIN);
	FAILS(read(twin, &c, 1), EAGAIN);
	EQ(fcntl(in, F_SETFL, fcntl(in, F_GETFL) & ~O_NONBLOCK), 0);
	blocking_round(twin, out);
	close(twin);
	blocking_round(in, out);
	/* by another process that shares the description: a read that begins after it gets EAGAIN */
	pid_t child = fork();
	if (child == 0) {
		fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
		_exit(0);
	}
	int status;
	EQ(waitpid(child, &status, 0), child);
	EQ(status, 0);
	FAILS(read(in, &c, 1), EAGAIN);
	EQ(fcntl(in, F_SETFL, fcntl(in, F_GETFL) & ~O_NONBLOCK), 0);
	blocking_round(in, out);
}

/* The write side: a full buffer. */
static void full(int out) {
	static char buf[1 << 16];
	EQ(fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK), 0);
	long total = 0;
	ssize_t n;
	while ((n = write(out, buf, sizeof buf)) > 0)
		total += n;
	CHECK(n == -1 && errno == EAGAIN);
	CHECK(total > 0);
	FAILS(write(out, buf, sizeof buf), EAGAIN);
	CHECK(is_nonblock(out));
}

int main(void) {
	int before[2], fds[2];
	/* made while the process has one thread */
	EQ(pipe(before), 0);
	become_threaded();
	all_ways(before[0], before[1]);
	done("early pipe");
	EQ(pipe(fds), 0);
	all_ways(fds[0], fds[1]);
	full(fds[1]);
	done("pipe");
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	all_ways(fds[0], fds[1]);
	full(fds[1]);
	done("unix stream");
	EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	all_ways(fds[0], fds[1]);
	full(fds[1]);
	done("unix datagram");
	EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	all_ways(fds[0], fds[1]);
	full(fds[1]);
	done("unix seqpacket");
	tcp_pair(fds);
	all_ways(fds[0], fds[1]);
	full(fds[1]);
	done("tcp");

	/* Flags given at birth. */
	char c;
	EQ(pipe2(fds, O_NONBLOCK), 0);
	CHECK(is_nonblock(fds[0]) && is_nonblock(fds[1]));
	FAILS(read(fds[0], &c, 1), EAGAIN);
	close(fds[0]);
	close(fds[1]);
	EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	FAILS(recv(fds[0], &c, 1, 0), EAGAIN);
	close(fds[0]);
	close(fds[1]);
	struct sockaddr_in at;
	int l = listener(5, &at);
	int a = dial(&at);
	int b = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	FAILS(read(b, &c, 1), EAGAIN);
	CHECK(!is_nonblock(l));
	CHECK(is_nonblock(b));
	close(a);
	close(b);
	EQ(fcntl(l, F_SETFL, O_NONBLOCK), 0);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	a = dial(&at);
	b = accept(l, NULL, NULL);
	CHECK(b >= 0);
	CHECK(!is_nonblock(b));
	blocking_round(b, a);
	a = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int r = connect(a, (struct sockaddr *)&at, sizeof at);
	CHECK(r == 0 || errno == EINPROGRESS);
	done("at birth");
	return failures != 0;
}
