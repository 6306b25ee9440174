/* poll, ppoll, select, pselect: results, timeouts, invalid descriptors, many descriptors, the time that is left (POL-4, POL-6). */
#include <sys/eventfd.h>
#include <sys/select.h>

#include "io_test.h"

static int fds[2];

static void *late(void *arg) {
	settle();
	write_all(*(int *)arg, "12345678", 8);
	return NULL;
}

static void *late_read(void *arg) {
	static char buf[1 << 20];
	settle();
	CHECK(read(*(int *)arg, buf, sizeof buf) > 0);
	return NULL;
}

static void polls(void) {
	struct pollfd p = {.fd = fds[0], .events = POLLIN}, many[200];
	char c[8];
	EQ(poll(&p, 1, 0), 0);
	TAKES(45, 500, EQ(poll(&p, 1, 50), 0));
	pthread_t t = start(late, &fds[1]);
	EQ(poll(&p, 1, -1), 1);
	EQ(p.revents, POLLIN);
	EQ(poll(&p, 1, 1000), 1);
	join(t);
	EQ(read(fds[0], c, 8), 8);
	EQ(poll(&p, 1, 0), 0);
	TAKES(45, 500, EQ(poll(NULL, 0, 50), 0));
	p.fd = -1;
	TAKES(45, 500, EQ(poll(&p, 1, 50), 0));
	EQ(p.revents, 0);
	p.fd = 9999;
	EQ(poll(&p, 1, -1), 1);
	EQ(p.revents, POLLNVAL);
	FAILS(poll((struct pollfd *)8, 1, 10), EFAULT);
	FAILS(poll(&p, 1u << 30, 10), EINVAL);
	/* writable */
	p = (struct pollfd){.fd = fds[1], .events = POLLOUT};
	EQ(poll(&p, 1, -1), 1);
	EQ(p.revents, POLLOUT);
	static char full[1 << 16];
	EQ(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	while (write(fds[1], full, sizeof full) > 0)
		continue;
	EQ(poll(&p, 1, 10), 0);
	t = start(late_read, &fds[0]);
	EQ(poll(&p, 1, 5000), 1);
	EQ(p.revents, POLLOUT);
	join(t);
	EQ(fcntl(fds[1], F_SETFL, 0), 0);
	EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	while (read(fds[0], full, sizeof full) > 0)
		continue;
	EQ(fcntl(fds[0], F_SETFL, 0), 0);
	/* the same descriptor twice, both directions, holes, a file */
	int file = open("/proc/self/exe", O_RDONLY);
	for (int i = 0; i < 200; i++)
		many[i] = (struct pollfd){.fd = i % 3 ? fds[0] : -1, .events = POLLIN};
	TAKES(25, 500, EQ(poll(many, 200, 30), 0));
	t = start(late, &fds[1]);
	EQ(poll(many, 200, -1), 133);
	join(t);
	EQ(read(fds[0], c, 8), 8);
	many[7] = (struct pollfd){.fd = file, .events = POLLIN};
	EQ(poll(many, 200, -1), 1);
	many[7].events = 0; /* a file has no readiness to wait for */
	TAKES(25, 500, EQ(poll(many, 200, 30), 0));
	close(file);
	/* ppoll */
	struct timespec ts = {0, 40000000}, bad = {0, 1000000000};
	p = (struct pollfd){.fd = fds[0], .events = POLLIN};
	TAKES(38, 500, EQ(ppoll(&p, 1, &ts, NULL), 0));
	EQ(ts.tv_nsec, 40000000);
	FAILS(ppoll(&p, 1, &bad, NULL), EINVAL);
	sigset_t mask;
	sigemptyset(&mask);
	TAKES(38, 500, EQ(ppoll(&p, 1, &ts, &mask), 0));
	t = start(late, &fds[1]);
	EQ(ppoll(&p, 1, NULL, &mask), 1);
	join(t);
	EQ(read(fds[0], c, 8), 8);
	ts = (struct timespec){0, 0};
	EQ(ppoll(&p, 1, &ts, NULL), 0);
}

static void selects(void) {
	fd_set r, w, e;
	char c[8];
	struct timeval tv = {0, 50000};
	FD_ZERO(&r);
	FD_SET(fds[0], &r);
	TAKES(45, 500, EQ(select(fds[0] + 1, &r, NULL, NULL, &tv), 0));
	CHECK(!FD_ISSET(fds[0], &r));
	EQ(tv.tv_sec * 1000000 + tv.tv_usec, 0);
	FD_SET(fds[0], &r);
	FD_ZERO(&w);
	FD_SET(fds[1], &w);
	e = r;
	EQ(select(FD_SETSIZE, &r, &w, &e, NULL), 1);
	CHECK(!FD_ISSET(fds[0], &r) && FD_ISSET(fds[1], &w) && !FD_ISSET(fds[0], &e));
	FD_SET(fds[0], &r);
	pthread_t t = start(late, &fds[1]);
	tv = (struct timeval){10, 0};
	EQ(select(fds[0] + 1, &r, NULL, NULL, &tv), 1);
	CHECK(FD_ISSET(fds[0], &r));
	CHECK(tv.tv_sec >= 5 && tv.tv_sec < 10); /* what is left */
	join(t);
	EQ(read(fds[0], c, 8), 8);
	/* beyond nfds nothing is looked at */
	FD_SET(fds[0], &r);
	tv = (struct timeval){0, 20000};
	EQ(select(fds[0], &r, NULL, NULL, &tv), 0);
	tv = (struct timeval){0, 40000};
	TAKES(38, 500, EQ(select(0, NULL, NULL, NULL, &tv), 0));
	tv = (struct timeval){0, -1};
	FAILS(select(0, NULL, NULL, NULL, &tv), EINVAL);
	FAILS(select(-1, NULL, NULL, NULL, NULL), EINVAL);
	FD_ZERO(&r);
	FD_SET(60, &r); /* numbers beyond the kernel's table are not looked at, so not a larger one */
	FAILS(select(61, &r, NULL, NULL, NULL), EBADF);
	struct timespec ts = {0, 40000000};
	FD_ZERO(&r);
	FD_SET(fds[0], &r);
	TAKES(38, 500, EQ(pselect(fds[0] + 1, &r, NULL, NULL, &ts, NULL), 0));
	EQ(ts.tv_nsec, 40000000);
	sigset_t mask;
	sigemptyset(&mask);
	FD_SET(fds[0], &r);
	TAKES(38, 500, EQ(pselect(fds[0] + 1, &r, NULL, NULL, &ts, &mask), 0));
	/* more than FD_SETSIZE */
	int high = fcntl(fds[0], F_DUPFD, 2000);
	CHECK(high >= 2000);
	unsigned long set[64] = {0};
	set[high / 64] = 1ul << (high % 64);
	t = start(late, &fds[1]);
	EQ(select(high + 1, (fd_set *)set, NULL, NULL, NULL), 1);
	CHECK(set[high / 64] == 1ul << (high % 64));
	join(t);
	EQ(read(high, c, 8), 8);
	close(high);
}

/* All pollers of one descriptor are woken. */
static void *one_of_many(void *arg) {
	struct pollfd p = {.fd = *(int *)arg, .events = POLLIN};
	EQ(poll(&p, 1, 10000), 1);
	return NULL;
}

int main(void) {
	become_threaded();
	EQ(pipe(fds), 0);
	polls();
	selects();
	done("pipe");
	close(fds[0]);
	close(fds[1]);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	selects();
	done("unix");
	struct pollfd p = {.fd = fds[0], .events = POLLIN | POLLRDHUP};
	pthread_t t[50];
	for (int i = 0; i < 50; i++)
		t[i] = start(one_of_many, &fds[0]);
	settle();
	write_all(fds[1], "x", 1);
	for (int i = 0; i < 50; i++)
		join(t[i]);
	char c;
	EQ(read(fds[0], &c, 1), 1);
	done("all pollers");
	close(fds[1]);
	EQ(poll(&p, 1, -1), 1);
	EQ(p.revents, POLLIN | POLLHUP | POLLRDHUP);
	p.events = 0;
	EQ(poll(&p, 1, -1), 1);
	EQ(p.revents, POLLHUP);
	close(fds[0]);
	tcp_pair(fds);
	p = (struct pollfd){.fd = fds[0], .events = POLLRDHUP};
	EQ(poll(&p, 1, 20), 0);
	EQ(shutdown(fds[1], SHUT_WR), 0);
	EQ(poll(&p, 1, 5000), 1);
	EQ(p.revents, POLLRDHUP);
	done("hang-ups");
	return failures != 0;
}
