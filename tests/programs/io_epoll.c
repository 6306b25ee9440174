/* The program's own epoll: level and edge triggered, one shot, exclusive, nested, shared by several threads (POL-3). */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "io_test.h"

static int ep;

static void add(int fd, uint32_t events) {
	struct epoll_event e = {.events = events, .data.fd = fd};
	EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
}

static void *late(void *arg) {
	settle();
	uint64_t one = 1;
	EQ(write(*(int *)arg, &one, 8), 8);
	return NULL;
}

enum { WORKERS = 16, MESSAGES = 2000, SOCKETS = 10 };
static int taken;

/* Workers share one instance, one-shot events. */
static void *worker(void *arg) {
	(void)arg;
	for (;;) {
		struct epoll_event e;
		EQ(epoll_wait(ep, &e, 1, -1), 1);
		char buf[8];
		ssize_t n = read(e.data.fd, buf, 8);
		EQ(n, 8);
		if (memcmp(buf, "the end.", 8) == 0) {
			struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = e.data.fd};
			EQ(epoll_ctl(ep, EPOLL_CTL_MOD, e.data.fd, &again), 0);
			return NULL;
		}
		__atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
		struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = e.data.fd};
		EQ(epoll_ctl(ep, EPOLL_CTL_MOD, e.data.fd, &again), 0);
	}
}

int main(void) {
	struct epoll_event e, many[8];
	uint64_t value;
	become_threaded();
	ep = epoll_create1(0);
	int ev = eventfd(0, 0);
	add(ev, EPOLLIN);
	EQ(epoll_wait(ep, &e, 1, 0), 0);
	TAKES(45, 500, EQ(epoll_wait(ep, &e, 1, 50), 0));
	pthread_t t = start(late, &ev);
	EQ(epoll_wait(ep, many, 8, -1), 1);
	EQ(many[0].data.fd, ev);
	EQ(epoll_wait(ep, &e, 1, -1), 1); /* level */
	join(t);
	EQ(read(ev, &value, 8), 8);
	EQ(epoll_wait(ep, &e, 1, 20), 0);
	done("level");

	struct epoll_event mod = {.events = EPOLLIN | EPOLLET, .data.fd = ev};
	EQ(epoll_ctl(ep, EPOLL_CTL_MOD, ev, &mod), 0);
	t = start(late, &ev);
	EQ(epoll_wait(ep, &e, 1, -1), 1);
	join(t);
	EQ(epoll_wait(ep, &e, 1, 30), 0); /* edge: once */
	t = start(late, &ev);
	EQ(epoll_wait(ep, &e, 1, -1), 1);
	join(t);
	EQ(read(ev, &value, 8), 8);
	EQ(value, 2);
	done("edge");

	int outer = epoll_create1(EPOLL_CLOEXEC), inner = ep;
	EQ(epoll_ctl(inner, EPOLL_CTL_DEL, ev, NULL), 0);
	add(ev, EPOLLIN);
	ep = outer;
	add(inner, EPOLLIN);
	t = start(late, &ev);
	EQ(epoll_wait(outer, &e, 1, -1), 1);
	EQ(e.data.fd, inner);
	EQ(epoll_wait(inner, &e, 1, -1), 1);
	EQ(read(ev, &value, 8), 8);
	join(t);
	EQ(epoll_wait(outer, &e, 1, 20), 0);
	struct pollfd p = {.fd = outer, .events = POLLIN};
	EQ(poll(&p, 1, 20), 0);
	t = start(late, &ev);
	EQ(poll(&p, 1, -1), 1);
	join(t);
	EQ(read(ev, &value, 8), 8);
	done("nested");

	struct timespec ts = {0, 30000000}, none = {0, 0};
	sigset_t mask;
	sigemptyset(&mask);
	TAKES(28, 500, EQ(epoll_pwait2(outer, &e, 1, &ts, NULL), 0));
	TAKES(28, 500, EQ(epoll_pwait2(outer, &e, 1, &ts, &mask), 0));
	EQ(epoll_pwait2(outer, &e, 1, &none, NULL), 0);
	TAKES(28, 500, EQ(epoll_pwait(outer, &e, 1, 30, &mask), 0));
	TAKES(28, 500, EQ(epoll_pwait(outer, &e, 1, 30, NULL), 0));
	FAILS(epoll_wait(outer, &e, 0, 30), EINVAL);
	FAILS(epoll_wait(ev, &e, 1, 30), EINVAL);
	FAILS(epoll_wait(9999, &e, 1, 30), EBADF);
	FAILS(epoll_wait(-1, &e, 1, -1), EBADF);
	char c;
	FAILS(read(outer, &c, 1), EINVAL);
	done("timeouts and errors");
	close(outer);
	close(inner);

	ep = epoll_create(1);
	int s[SOCKETS][2];
	pthread_t workers[WORKERS];
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(worker, NULL);
	for (int i = 0; i < SOCKETS; i++) {
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s[i]), 0);
		add(s[i][0], EPOLLIN | EPOLLONESHOT);
	}
	for (int i = 0; i < MESSAGES; i++)
		write_all(s[i % SOCKETS][1], "message.", 8);
	for (int i = 0; i < WORKERS; i++)
		write_all(s[i % SOCKETS][1], "the end.", 8);
	for (int i = 0; i < WORKERS; i++)
		join(workers[i]);
	EQ(taken, MESSAGES);
	done("shared instance");
	return failures != 0;
}
