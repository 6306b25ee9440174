/* Of two who wait in accept() the first is cancelled as a connection comes: the other one gets it. */
#include "io_test.h"

enum { ROUNDS = 500, SPINS = 200, SPIN = 100 };

static int l;

struct acceptor {
	_Atomic pid_t tid;
	int fd;
};

static void *accept_one(void *arg) {
	struct acceptor *a = arg;
	a->tid = gettid();
	a->fd = accept(l, NULL, NULL);
	return NULL;
}

int main(void) {
	struct sockaddr_in at;
	alarm(60);
	l = listener(50, &at);
	for (int i = 0; i < ROUNDS; i++) {
		struct acceptor first = {.fd = -1}, second = {.fd = -1};
		pthread_t a = start(accept_one, &first);
		while (!first.tid)
			usleep(50);
		usleep(200);
		pthread_t b = start(accept_one, &second);
		while (!second.tid)
			usleep(50);
		usleep(200);
		int fd = dial(&at), more = -1;
		for (volatile int spin = 0; spin < i % SPINS * SPIN; spin++)
			continue;
		pthread_cancel(a);
		bool cancelled = join(a) == PTHREAD_CANCELED;
		if (!cancelled)
			pthread_cancel(b);
		else if (poll(&(struct pollfd){.fd = l, .events = POLLIN}, 1, 0) == 0) /* gone with the first, or on its way */
			more = dial(&at);
		join(b); /* or waits for ever */
		EQ(fcntl(l, F_SETFL, O_RDWR | O_NONBLOCK), 0);
		for (int left; (left = accept(l, NULL, NULL)) >= 0;)
			close(left);
		EQ(fcntl(l, F_SETFL, O_RDWR), 0);
		close(first.fd);
		close(second.fd);
		close(fd);
		close(more);
	}
	done("the turn is passed on");
	return failures != 0;
}
