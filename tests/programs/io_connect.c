/* connect() that has to wait: a listener whose queue is full drops the handshake, and the client tries again after a second. SO_SNDTIMEO
 * limits the wait, signals end it, others go on meanwhile (FD-9). */
#include "io_test.h"

static struct sockaddr_in at;

static void *accept_later(void *arg) {
	usleep(300000);
	int l = *(int *)arg, fd;
	/* makes room until nobody comes any more */
	struct pollfd p = {.fd = l, .events = POLLIN};
	while (poll(&p, 1, 2500) == 1) {
		fd = accept(l, NULL, NULL);
		CHECK(fd >= 0);
		char c;
		while (recv(fd, &c, 1, MSG_DONTWAIT) > 0)
			continue;
		close(fd);
	}
	return NULL;
}

/* Fills the queue of l; the connections that filled it. */
static int fill(int filler[], int room) {
	int n = 0;
	while (n < room) {
		filler[n] = socket(AF_INET, SOCK_STREAM, 0);
		struct timeval tv = {0, 50000};
		setsockopt(filler[n], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
		if (connect(filler[n], (struct sockaddr *)&at, sizeof at) != 0)
			break;
		n++;
	}
	CHECK(n < room);
	CHECK(errno == EINPROGRESS);
	close(filler[n]);
	return n;
}

static void on_signal(int sig) {
	(void)sig;
}

struct dialing {
	int result, error, over;
};

static void *dials(void *arg) {
	struct dialing *d = arg;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	d->result = connect(fd, (struct sockaddr *)&at, sizeof at);
	d->error = errno;
	if (d->result == 0) {
		socklen_t size = sizeof at;
		struct sockaddr_in peer;
		CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
		EQ(getpeername(fd, (struct sockaddr *)&peer, &size), 0); /* there really is somebody */
	}
	close(fd);
	__atomic_store_n(&d->over, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

int main(void) {
	int filler[20];
	become_threaded();
	int l = listener(0, &at), n = fill(filler, 20);

	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct timeval tv = {0, 100000}, got;
	socklen_t size = sizeof got;
	EQ(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv), 0);
	TAKES(90, 700, FAILS(connect(fd, (struct sockaddr *)&at, sizeof at), EINPROGRESS));
	EQ(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &got, &size), 0);
	CHECK(got.tv_sec == 0 && got.tv_usec >= 100000 && got.tv_usec < 110000);
	close(fd);
	done("SO_SNDTIMEO");

	struct sigaction act = {.sa_handler = on_signal};
	sigaction(SIGUSR1, &act, NULL);
	struct dialing d = {0};
	pthread_t t = start(dials, &d);
	while (!__atomic_load_n(&d.over, __ATOMIC_SEQ_CST)) { /* one may come before connect() */
		pthread_kill(t, SIGUSR1);
		usleep(2000);
	}
	join(t);
	EQ(d.result, -1);
	EQ(d.error, EINTR);
	done("signal");

	/* Several at once; they get through when there is room. */
	struct dialing many[3];
	pthread_t dialers[3], accepter = start(accept_later, &l);
	for (int i = 0; i < 3; i++)
		dialers[i] = start(dials, &many[i]);
	for (int i = 0; i < 3; i++) {
		join(dialers[i]);
		EQ(many[i].result, 0);
	}
	join(accepter);
	for (int i = 0; i < n; i++)
		close(filler[i]);
	done("retries");

	close(l);
	join(start(dials, &d));
	EQ(d.result, -1);
	EQ(d.error, ECONNREFUSED);
	/* the same socket, once more */
	fd = socket(AF_INET, SOCK_STREAM, 0);
	FAILS(connect(fd, (struct sockaddr *)&at, sizeof at), ECONNREFUSED);
	FAILS(connect(fd, (struct sockaddr *)&at, sizeof at), ECONNREFUSED);
	l = listener(5, &at);
	EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	FAILS(connect(fd, (struct sockaddr *)&at, sizeof at), EISCONN);
	int b = accept(l, NULL, NULL);
	write_all(b, "hello", 5);
	char buf[8];
	EQ(read(fd, buf, 8), 5);
	done("refused, then accepted");
	return failures != 0;
}
