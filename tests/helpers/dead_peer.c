/* What the calls of a thread say whose peer says nothing. Prints one line each. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
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
