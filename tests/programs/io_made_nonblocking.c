/* A call waits, and a handler that has calls restarted makes its descriptor non-blocking, or limits how long the socket waits: the call that begins anew
 * keeps to that. A writer to a pipe that has written some, and may go on, sees before it waits again that another thread has made the pipe non-blocking. */
#include "io_test.h"

enum { BIG = 300000, TAKEN = 8192 };
static char bytes[BIG];

struct call {
	int fd;
	ssize_t (*make)(int fd);
	ssize_t got;
	int error;
	_Atomic pid_t tid; /* set before it waits */
};

static _Atomic int waited_on;
static _Atomic bool limits; /* rather than making it non-blocking */

static void handler(int sig) {
	struct timeval soon = {.tv_usec = 10000};
	int error = errno;
	(void)sig;
	if (limits)
		EQ(setsockopt(waited_on, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon), 0);
	else
		EQ(fcntl(waited_on, F_SETFL, fcntl(waited_on, F_GETFL) | O_NONBLOCK), 0);
	errno = error;
}

static ssize_t by_read(int fd) {
	char c;
	return read(fd, &c, 1);
}

static ssize_t by_recv(int fd) {
	char c;
	return recv(fd, &c, 1, 0);
}

static ssize_t by_accept(int fd) {
	return accept(fd, NULL, NULL);
}

static ssize_t by_write(int fd) {
	return write(fd, bytes, BIG);
}

static void *calls(void *arg) {
	struct call *c = arg;
	c->tid = gettid();
	c->got = c->make(c->fd);
	c->error = errno;
	return NULL;
}

static void changed(int fd, ssize_t (*make)(int fd)) {
	struct call c = {.fd = fd, .make = make};
	waited_on = fd;
	pthread_t t = start(calls, &c);
	await_sleeping(&c.tid);
	EQ(pthread_kill(t, SIGUSR1), 0);
	join(t);
	EQ(c.got, -1);
	/* With chaos who seems to sleep in the call may be yet to look how long it is to: then the limit is known before, and such a call is not restarted. */
	if (!limits || c.error != EINTR)
		EQ(c.error, EAGAIN);
}

static void changed_end(void (*pair)(int fds[2]), ssize_t (*make)(int fd)) {
	int fds[2];
	pair(fds);
	changed(fds[0], make);
	close(fds[0]);
	close(fds[1]);
}

static void pipe_pair(int fds[2]) {
	EQ(pipe(fds), 0);
}

static void unix_pair(int fds[2]) {
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

static void sockets(void) {
	struct sockaddr_in at;
	changed_end(tcp_pair, by_read);
	changed_end(tcp_pair, by_recv);
	changed_end(unix_pair, by_read);
	changed_end(unix_pair, by_recv);
	int l = listener(1, &at);
	changed(l, by_accept);
	close(l);
}

static void writer(void) {
	int fds[2];
	EQ(pipe(fds), 0);
	struct call c = {.fd = fds[1], .make = by_write};
	pthread_t t = start(calls, &c);
	await_sleeping(&c.tid);
	EQ(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	EQ(read_full(fds[0], bytes, TAKEN), TAKEN);
	join(t);
	int room = fcntl(fds[1], F_GETPIPE_SZ) + TAKEN; /* less, where it was written in parts that left pages not full */
	EQ(c.got > 0 && c.got <= room, true);
	close(fds[0]);
	close(fds[1]);
}

int main(void) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &sa, NULL);
	changed_end(pipe_pair, by_read);
	sockets();
	done("made non-blocking");
	limits = true;
	sockets();
	done("limited");
	writer();
	done("writer");
	printf("%d failures\n", failures);
	return failures != 0;
}
