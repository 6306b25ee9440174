/* An edge-triggered reader that believes a short read: it asks for more than there is, gets less than it asked for, and waits for the next edge, as epoll(7)
 * allows. Of one piece that arrives whole nothing may be left behind then. Under chaos, too, which cuts short reads of sockets that block. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "sync_test.h"

enum { ROUNDS = 200, PIECE = 6000, ROOM = 8192 };

static int from, to;
static sem_t turn;

static void *writer(void *arg) {
	static char piece[PIECE];
	for (int i = 0; i < ROUNDS; i++) {
		while (sem_wait(&turn) != 0)
			continue;
		EQ(write(to, piece, sizeof piece), PIECE);
	}
	return arg;
}

static void pair(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0);
	bind(l, (struct sockaddr *)&a, sizeof a);
	listen(l, 1);
	getsockname(l, (struct sockaddr *)&a, &size);
	to = socket(AF_INET, SOCK_STREAM, 0);
	EQ(connect(to, (struct sockaddr *)&a, sizeof a), 0);
	from = accept(l, NULL, NULL);
	close(l);
}

int main(void) {
	static char buf[ROOM];
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	pthread_t t;
	pair();
	fcntl(from, F_SETFL, O_NONBLOCK);
	int ep = epoll_create1(0);
	epoll_ctl(ep, EPOLL_CTL_ADD, from, &e);
	sem_init(&turn, 0, 1);
	pthread_create(&t, NULL, writer, NULL);
	long got = 0;
	for (int pieces = 0; pieces < ROUNDS;) {
		EQ(epoll_wait(ep, &e, 1, -1), 1);
		ssize_t n;
		do {
			n = read(from, buf, sizeof buf);
			got += n > 0 ? n : 0;
		} while (n == (ssize_t)sizeof buf);
		if (got == (long)(pieces + 1) * PIECE) {
			pieces++;
			sem_post(&turn);
		}
	}
	pthread_join(t, NULL);
	printf("%ld bytes\n", got);
	return 0;
}
