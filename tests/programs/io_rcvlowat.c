/* SO_RCVLOWAT of a socket, wherever it comes from: set before there were threads, inherited from a listener, shared with a duplicate. */
#include "io_test.h"

static int early[2];

static void low(int fd) {
	int bytes = 5;
	EQ(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes), 0);
}

/* Three bytes are there, which is too few; then there are more. */
static void check(int fd, int peer) {
	struct reader r = {.fd = fd};
	int there = 0, one = 1;
	EQ(setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
	EQ(write(peer, "abc", 3), 3);
	for (; there < 3; usleep(1000))
		EQ(ioctl(fd, FIONREAD, &there), 0);
	pthread_t t = start(read_once, &r);
	await_waiting(&r);
	settle();
	EQ(write(peer, "defgh", 5), 5);
	join(t);
	EQ(r.got, 8);
}

static void both(int fd, int peer) {
	int d = dup(fd);
	check(fd, peer);
	check(d, peer);
	close(d);
}

static void test_duplicates(void) {
	int s[2], d;
	tcp_pair(s);
	d = dup(s[1]);
	for (int i = 0; i < 2; i++) { /* each is known to the process */
		EQ(write(s[0], "x", 1), 1);
		EQ(read_full(i ? d : s[1], &(char){0}, 1), 1);
	}
	low(s[1]);
	check(d, s[0]);
	check(s[1], s[0]);
	close(d);
	close(s[0]);
	close(s[1]);
}

static void *test_listener(void *arg) {
	struct sockaddr_in at;
	int l = listener(1, &at);
	low(l);
	int c = dial(&at), s = accept(l, NULL, NULL);
	both(s, c);
	close(l);
	close(c);
	close(s);
	return arg;
}

int main(void) {
	alarm(60);
	tcp_pair(early);
	low(early[1]);
	become_threaded();
	both(early[1], early[0]);
	done("set early");
	join(start(test_listener, NULL));
	done("inherited");
	test_duplicates();
	done("duplicates");
	return failures != 0;
}
