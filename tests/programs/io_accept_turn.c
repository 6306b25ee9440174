/* Threads accept from one non-blocking listener that another process has, too, and as many connections wait as there are calls: each call gets one, and none is told EAGAIN because another
 * thread is just at it (POL-2). */
#include "io_test.h"

enum { THREADS = 4, EACH = 16, ROUNDS = 30, ALL = THREADS * EACH };

static int l, accepted[ALL];
static pthread_barrier_t go;

static void *acceptor(void *arg) {
	int *mine = arg;
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&go);
		for (int i = 0; i < EACH; i++)
			EQ((mine[i] = accept(l, NULL, NULL)) >= 0, true);
		pthread_barrier_wait(&go);
	}
	return NULL;
}

/* Until so many connections wait for someone to accept them. */
static void await_queue(unsigned n) {
	struct tcp_info info;
	socklen_t size = sizeof info;
	do
		EQ(getsockopt(l, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
	while (info.tcpi_unacked < n && usleep(1000) == 0);
}

/* No numbers of ports stay taken. */
static void reset(int fd) {
	struct linger at_once = {1, 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(fd);
}

static void accept_round(const struct sockaddr_in *at) {
	int clients[ALL];
	for (int i = 0; i < ALL; i++)
		clients[i] = dial(at);
	await_queue(ALL);
	pthread_barrier_wait(&go);
	pthread_barrier_wait(&go);
	for (int fd; (fd = accept(l, NULL, NULL)) >= 0;)
		close(fd);
	for (int i = 0; i < ALL; i++) {
		reset(clients[i]);
		close(accepted[i]);
	}
}

int main(void) {
	struct sockaddr_in at;
	pthread_t t[THREADS];
	alarm(20);
	l = listener(2 * ALL, &at);
	EQ(fcntl(l, F_SETFL, O_NONBLOCK), 0);
	pid_t child = fork();
	while (child == 0)
		pause();
	pthread_barrier_init(&go, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		t[i] = start(acceptor, &accepted[i * EACH]);
	for (int round = 0; round < ROUNDS; round++)
		accept_round(&at);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	kill(child, SIGKILL);
	EQ(waitpid(child, NULL, 0), child);
	done("each call gets one");
	return failures != 0;
}
