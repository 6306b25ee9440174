/* Reads and writes of no bytes at all, of bytes without a place, and from a place that is none: the kernel looks at them first, whatever the descriptor. */
#include <sys/inotify.h>

#include "terminal_test.h"

static struct iovec *none(int i) {
	static char c;
	static struct iovec empty[2];
	empty[0] = empty[1] = (struct iovec){&c, 0};
	return i ? (struct iovec *)16 : empty;
}

/* No message without bytes comes of it, and no SIGPIPE. */
static void written_to_sockets(void) {
	static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
	char c;
	int fds[2];
	for (int i = 0; i < 3; i++) {
		EQ(socketpair(AF_UNIX, types[i], 0, fds), 0);
		EQ(writev(fds[0], none(0), 2), 0);
		EQ(pwritev2(fds[0], none(0), 1, -1, 0), 0);
		FAILS(recv(fds[1], &c, 1, MSG_DONTWAIT), EAGAIN);
		FAILS(writev(fds[0], none(1), 1), EFAULT);
		struct iovec some[] = {{&c, 0}, {"x", 1}};
		EQ(writev(fds[0], some, 2), 1);
		EQ(recv(fds[1], &c, 1, 0), 1);
		close(fds[1]);
		EQ(writev(fds[0], none(0), 2), 0);
		close(fds[0]);
	}
	tcp_pair(fds);
	EQ(shutdown(fds[0], SHUT_WR), 0);
	EQ(writev(fds[0], none(0), 2), 0);
	close(fds[0]);
	close(fds[1]);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	EQ(writev(fds[0], none(0), 2), 0);
	close(fds[0]);
}

static void read_without_waiting(int fd) {
	char c;
	struct iovec wrong = {&c, (size_t)-1};
	/* twice: what the first call found out about the descriptor the second knows */
	for (int i = 0; i < 2; i++) {
		EQ(readv(fd, none(0), 2), 0);
		FAILS(readv(fd, none(1), 1), EFAULT);
		FAILS(readv(fd, &wrong, 1), EINVAL);
	}
}

static void from_kinds(int flags) {
	int fds[2], master, slave;
	struct termios t;
	terminal_open(&master, &slave, &t);
	fcntl(slave, F_SETFL, flags);
	read_without_waiting(slave);
	close(slave);
	close(master);
	int fd = inotify_init1(flags);
	read_without_waiting(fd);
	close(fd);
	EQ(pipe2(fds, flags), 0);
	read_without_waiting(fds[0]);
	close(fds[0]);
	close(fds[1]);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	fcntl(fds[0], F_SETFL, flags);
	read_without_waiting(fds[0]);
	close(fds[0]);
	close(fds[1]);
}

/* A terminal that is full makes only those wait who have something. */
static void written_to_a_full_terminal(void) {
	static char much[100000];
	int master, slave;
	struct termios t;
	terminal_open(&master, &slave, &t);
	for (int flags = O_NONBLOCK; flags >= 0; flags -= O_NONBLOCK) {
		fcntl(slave, F_SETFL, flags);
		while (flags && write(slave, much, sizeof much) > 0)
			continue;
		EQ(writev(slave, none(0), 2), 0);
		FAILS(writev(slave, none(1), 1), EFAULT);
		EQ(writev(slave, none(0), 2), 0);
	}
	close(slave);
	close(master);
}

/* More than there is memory: read() and write() find that the buffer is none, where recv() and send() take as much as there is. */
static void too_much(void) {
	static char buf[16];
	volatile size_t all = (size_t)-1, half = (size_t)1 << 60;
	int fds[3][2];
	tcp_pair(fds[0]);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[1]), 0);
	EQ(pipe(fds[2]), 0);
	for (int i = 0; i < 3; i++) {
		EQ(write(fds[i][1], "data", 4), 4);
		FAILS(read(fds[i][0], buf, all), EFAULT);
		FAILS(read(fds[i][0], buf, half), EFAULT);
		FAILS(write(fds[i][1], buf, all), EFAULT);
		FAILS(write(fds[i][1], buf, half), EFAULT);
		EQ(read(fds[i][0], buf, sizeof buf), 4);
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

static void *run(void *arg) {
	written_to_sockets();
	done("written to sockets");
	from_kinds(O_NONBLOCK);
	done("read without waiting");
	from_kinds(0);
	done("read");
	written_to_a_full_terminal();
	done("written to a full terminal");
	too_much();
	done("too much");
	return arg;
}

int main(void) {
	alarm(60);
	join(start(run, NULL));
	return failures != 0;
}
