/* A thread-per-connection server, clients in a process of their own, and now and then a request whose handling crashes the thread. Under
 * GOSHIM=panic=isolate nobody else notices: every other connection gets its answer, byte for byte. Else the server ends by that signal.
 * Arguments: connections (2000), each with one request; one in so many crashes (50); client threads (16). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST 64

static long total = 2000, one_in = 50, clients = 16;
static int listener;
static struct sockaddr_in address = {.sin_family = AF_INET};
static volatile int zero;

/* ---- the server ---- */

static pthread_mutex_t count_mutex = PTHREAD_MUTEX_INITIALIZER;
static long served;

static int deep(int n) {
	volatile char frame[4096];
	frame[0] = (char)n;
	return n == -1 ? 0 : deep(n + 1) + frame[0];
}

static void crash(long n) {
	switch (n % 4) {
	case 0:
		*(volatile int *)(long)(zero + 8) = 1;
		break;
	case 1:
		zero = (int)n / zero;
		break;
	case 2:
		deep(0);
		break;
	default:
		abort();
	}
}

static ssize_t read_all(int fd, char *buffer, size_t n) {
	size_t got = 0;
	while (got < n) {
		ssize_t r = read(fd, buffer + got, n - got);
		if (r <= 0)
			return r;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

static void *serve(void *arg) {
	int fd = (int)(long)arg;
	char request[REQUEST], *answer;
	if (read_all(fd, request, REQUEST) == REQUEST) {
		if (request[0] == 'c')
			crash(atol(request + 1) / one_in);
		pthread_mutex_lock(&count_mutex);
		served++;
		pthread_mutex_unlock(&count_mutex);
		answer = malloc(REQUEST);
		for (int i = 0; i < REQUEST; i++)
			answer[i] = request[REQUEST - 1 - i];
		if (write(fd, answer, REQUEST) != REQUEST)
			perror("write");
		free(answer);
	}
	close(fd);
	return NULL;
}

static void *accept_all(void *arg) {
	pthread_attr_t detached;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	for (;;) {
		pthread_t thread;
		int fd = accept(listener, NULL, NULL);
		if (fd >= 0 && pthread_create(&thread, &detached, serve, (void *)(long)fd) != 0)
			close(fd);
	}
	return arg;
}

/* ---- the clients ---- */

static atomic_long next, disturbed, crashed;

static int ask(long n, char *answer) {
	char request[REQUEST];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		close(fd);
		return -1;
	}
	memset(request, 'a' + (int)(n % 26), sizeof request);
	snprintf(request, sizeof request, "%c%ld", n % one_in == one_in - 1 ? 'c' : 'r', n);
	ssize_t r = write(fd, request, REQUEST) == REQUEST ? read_all(fd, answer, REQUEST) : -1;
	for (int i = 0; r == REQUEST && i < REQUEST; i++)
		r = answer[i] == request[REQUEST - 1 - i] ? r : -2;
	/* No TIME_WAIT: there are not that many ports. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
	close(fd);
	return (int)r;
}

static void *client(void *arg) {
	char answer[REQUEST];
	for (long n; (n = atomic_fetch_add(&next, 1)) < total;) {
		int r = ask(n, answer);
		if (n % one_in == one_in - 1)
			atomic_fetch_add(&crashed, r == 0 || r == -1);
		else
			atomic_fetch_add(&disturbed, r != REQUEST);
	}
	return arg;
}

static int run_clients(void) {
	pthread_t thread[clients];
	for (long i = 0; i < clients; i++)
		pthread_create(&thread[i], NULL, client, NULL);
	for (long i = 0; i < clients; i++)
		pthread_join(thread[i], NULL);
	printf("%ld connections, %ld crashed their threads, %ld others were disturbed\n", total, crashed, disturbed);
	fflush(stdout);
	return disturbed != 0;
}

int main(int argc, char **argv) {
	socklen_t size = sizeof address;
	pthread_t acceptor;
	int status;
	total = argc > 1 ? atol(argv[1]) : total;
	one_in = argc > 2 ? atol(argv[2]) : one_in;
	clients = argc > 3 ? atol(argv[3]) : clients;
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) < 0)
		return 2;
	pid_t child = fork();
	if (child == 0) {
		close(listener);
		return run_clients();
	}
	pthread_create(&acceptor, NULL, accept_all, NULL);
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}
