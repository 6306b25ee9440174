/* What the calls of a thread say whose peer says nothing. Prints one line each. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static char big[1 << 20];
static int pair[2], pipe_fd[2], listener;
static volatile sig_atomic_t handled;

static void handler(int sig) {
	(void)sig;
	handled = 1;
}

static void *reader(void *arg) {
	char byte;
	ssize_t n = read(pair[0], &byte, 1);
	printf("read: %zd, %s\n", n, n < 0 ? strerror(errno) : "");
	n = recv(pair[0], &byte, 1, MSG_WAITALL);
	printf("recv: %zd, %s\n", n, n < 0 ? strerror(errno) : "");
	size_t sent = 0;
	while ((n = send(pair[0], big, sizeof big, 0)) > 0)
		sent += (size_t)n;
	printf("send: some went, %s\n", sent > 0 && n < 0 ? strerror(errno) : "none");
	return arg;
}

/* Those without a flag that asks for no waiting. */
static void *mover(void *arg) {
	int file = open("/proc/self/exe", O_RDONLY), fds[2], moved[2];
	ssize_t n;
	if (pipe(fds) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, moved) != 0)
		return arg;
	n = splice(moved[0], NULL, fds[1], NULL, 100, 0);
	printf("splice from: %zd, %s\n", n, n < 0 ? strerror(errno) : "");
	off_t at = 0;
	while ((n = sendfile(moved[0], file, &at, 16384)) > 0)
		at = 0;
	printf("sendfile: %zd, %s\n", n, n < 0 ? strerror(errno) : "");
	if (write(fds[1], big, 10) == 10)
		n = splice(fds[0], NULL, moved[0], NULL, 10, 0);
	printf("splice to: %zd, %s\n", n, n < 0 ? strerror(errno) : "");
	return arg;
}

/* To one whose backlog is full. */
static void *connector(void *arg) {
	struct sockaddr_storage to = {.ss_family = *(sa_family_t *)arg};
	socklen_t bind_size = to.ss_family == AF_UNIX ? sizeof(sa_family_t) : sizeof(struct sockaddr_in), size = sizeof to;
	const char *name = to.ss_family == AF_UNIX ? "unix" : "tcp";
	int full = socket(to.ss_family, SOCK_STREAM, 0), fd = -1, r = 0;
	bind(full, (struct sockaddr *)&to, bind_size);
	listen(full, 0);
	getsockname(full, (struct sockaddr *)&to, &size);
	for (int i = 0; i < 5 && r == 0; i++) {
		fd = socket(to.ss_family, SOCK_STREAM, 0);
		r = connect(fd, (struct sockaddr *)&to, size);
	}
	printf("connect, %s: %d, %s\n", name, r, r < 0 ? strerror(errno) : "");
	struct timeval limit = {.tv_sec = 7};
	size = sizeof limit;
	getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &size);
	printf("timeout of %s now: %ld\n", name, (long)(limit.tv_sec + limit.tv_usec));
	return arg;
}

static void *pipe_reader(void *arg) {
	char byte;
	ssize_t n = read(pipe_fd[0], &byte, 1);
	printf("pipe: %zd\n", n);
	return arg;
}

static void *acceptor(void *arg) {
	int fd = accept(listener, NULL, NULL);
	printf("accept: %s\n", fd >= 0 ? "a connection" : strerror(errno));
	return arg;
}

static void *restarter(void *arg) {
	char byte;
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &sa, NULL);
	ssize_t n = read(*(int *)arg, &byte, 1);
	printf("restarted: %zd, %s\n", n, n < 0 ? strerror(errno) : "");
	return arg;
}

int main(void) {
	pthread_t t, p, a, s;
	int other[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	socketpair(AF_UNIX, SOCK_STREAM, 0, other);
	if (pipe(pipe_fd) != 0)
		return 1;
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr address = {.sa_family = AF_UNIX};
	bind(listener, &address, sizeof(sa_family_t)); /* autobind */
	socklen_t size = sizeof(struct sockaddr_storage);
	struct sockaddr_storage name;
	getsockname(listener, (struct sockaddr *)&name, &size);
	listen(listener, 1);
	pthread_create(&p, NULL, pipe_reader, NULL);
	pthread_create(&a, NULL, acceptor, NULL);
	pthread_create(&t, NULL, reader, NULL);
	pthread_join(t, NULL); /* three deadlines later */
	sa_family_t families[] = {AF_UNIX, AF_INET};
	void *(*others[])(void *) = {mover, connector, connector};
	for (int i = 0; i < 3; i++) {
		pthread_create(&t, NULL, others[i], &families[i == 2]);
		pthread_join(t, NULL);
	}
	pthread_create(&s, NULL, restarter, &other[0]);
	while (!handled) {
		poll(NULL, 0, 20);
		pthread_kill(s, SIGUSR1);
	}
	pthread_join(s, NULL);
	if (write(pipe_fd[1], big, 1) != 1)
		return 1;
	pthread_join(p, NULL);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	connect(fd, (struct sockaddr *)&name, size);
	pthread_join(a, NULL);
	return 0;
}
