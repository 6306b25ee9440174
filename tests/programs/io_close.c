/* What happens to threads that wait for a descriptor when it is closed, shut down, replaced or its number reused (FD-1, FD-2, FD-3). */
#include "io_test.h"

static void *accept_once(void *arg) {
	struct reader *r = arg;
	r->tid = gettid();
	r->got = accept(r->fd, NULL, NULL);
	r->error = errno;
	return NULL;
}

/* The reader was blocked when the number was closed: it still gets what comes later. */
static void close_under_reader(int reader_fd, int writer_fd) {
	struct reader r = {.fd = reader_fd};
	pthread_t t = start(read_once, &r);
	await_waiting(&r);
	EQ(close(reader_fd), 0);
	char c;
	FAILS(read(reader_fd, &c, 1), EBADF);
	settle();
	write_all(writer_fd, "late", 4);
	join(t);
	EQ(r.got, 4);
	CHECK(memcmp(r.buf, "late", 4) == 0);
	close(writer_fd);
}

static void *poll_once(void *arg) {
	struct reader *r = arg;
	struct pollfd p = {.fd = r->fd, .events = POLLIN};
	r->tid = gettid();
	r->got = poll(&p, 1, 150);
	r->error = p.revents;
	return NULL;
}

enum { CHURNERS = 8, CHURN = 400 };

/* Numbers are reused all the time by all threads; nobody may see another's bytes. */
static void *churner(void *arg) {
	char id = (char)(uintptr_t)arg;
	for (int i = 0; i < CHURN; i++) {
		int fds[2];
		if (i % 3 == 0)
			EQ(pipe(fds), 0);
		else if (i % 3 == 1)
			EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		else
			tcp_pair(fds);
		struct reader r = {.fd = fds[0], .n = 2};
		pthread_t t = start(read_once, &r);
		if (i % 2)
			sched_yield();
		char message[2] = {id, (char)i};
		write_all(fds[1], message, 2);
		join(t);
		EQ(r.got, 2);
		CHECK(memcmp(r.buf, message, 2) == 0);
		close(fds[i & 1]);
		close(fds[!(i & 1)]);
	}
	return NULL;
}

int main(void) {
	int fds[2];
	char c;
	become_threaded();

	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	close_under_reader(fds[0], fds[1]);
	done("close under a read of a Unix socket");
	EQ(pipe(fds), 0);
	close_under_reader(fds[0], fds[1]);
	done("close under a read of a pipe");
	tcp_pair(fds);
	close_under_reader(fds[0], fds[1]);
	done("close under a read of a TCP socket");

	/* The number is used for something else at once. */
	tcp_pair(fds);
	struct reader r = {.fd = fds[0]};
	pthread_t t = start(read_once, &r);
	await_waiting(&r);
	close(fds[0]);
	int reused[2];
	EQ(pipe(reused), 0);
	EQ(reused[0] == fds[0] || reused[1] == fds[0], 1);
	write_all(reused[1], "pipe", 4);
	settle();
	write_all(fds[1], "tcp", 3);
	join(t);
	EQ(r.got, 3);
	EQ(read(reused[0], &c, 1), 1);
	EQ(c, 'p');
	close(reused[0]);
	close(reused[1]);
	close(fds[1]);
	done("number reused under a read");

	/* dup2 onto it. */
	tcp_pair(fds);
	r = (struct reader){.fd = fds[0]};
	t = start(read_once, &r);
	await_waiting(&r);
	EQ(pipe(reused), 0);
	EQ(dup2(reused[0], fds[0]), fds[0]);
	write_all(fds[1], "old", 3);
	join(t);
	EQ(r.got, 3);
	write_all(reused[1], "new", 3);
	EQ(read(fds[0], &c, 1), 1);
	EQ(c, 'n');
	close(reused[0]);
	close(reused[1]);
	close(fds[0]);
	close(fds[1]);
	done("dup2 under a read");

	/* One of two numbers is closed: the other goes on. */
	tcp_pair(fds);
	int twin = dup(fds[0]);
	r = (struct reader){.fd = fds[0]};
	t = start(read_once, &r);
	await_waiting(&r);
	close(fds[0]);
	write_all(fds[1], "x", 1);
	join(t);
	EQ(r.got, 1);
	struct reader r2 = {.fd = twin};
	t = start(read_once, &r2);
	await_waiting(&r2);
	write_all(fds[1], "yz", 2);
	join(t);
	EQ(r2.got, 2);
	close(twin);
	close(fds[1]);
	done("one of two numbers");

	EQ(pipe(fds), 0);
	r = (struct reader){.fd = fds[0]};
	t = start(poll_once, &r);
	settle();
	close(fds[0]);
	join(t);
	EQ(r.got, 1);
	EQ(r.error, POLLNVAL);
	close(fds[1]);
	done("close under a poll");

	/* shutdown wakes */
	struct sockaddr_in at;
	int l = listener(5, &at);
	r = (struct reader){.fd = l};
	t = start(accept_once, &r);
	await_waiting(&r);
	EQ(shutdown(l, SHUT_RDWR), 0);
	join(t);
	EQ(r.got, -1);
	EQ(r.error, EINVAL);
	close(l);
	tcp_pair(fds);
	r = (struct reader){.fd = fds[0]};
	t = start(read_once, &r);
	await_waiting(&r);
	EQ(shutdown(fds[0], SHUT_RD), 0);
	join(t);
	EQ(r.got, 0);
	EQ(read(fds[0], &c, 1), 0);
	EQ(read(fds[0], &c, 1), 0);
	close(fds[0]);
	close(fds[1]);
	done("shutdown");

	/* Peers end in the middle: a short read, then the end; a reset. */
	tcp_pair(fds);
	write_all(fds[1], "bye", 3);
	r = (struct reader){.fd = fds[0]};
	read_once(&r);
	EQ(r.got, 3);
	t = start(read_once, &r);
	await_waiting(&r);
	close(fds[1]);
	join(t);
	EQ(r.got, 0);
	EQ(read(fds[0], &c, 1), 0);
	close(fds[0]);
	tcp_pair(fds);
	write_all(fds[1], "bye", 3);
	close(fds[1]);
	EQ(read(fds[0], r.buf, 64), 3);
	EQ(read(fds[0], r.buf, 64), 0);
	close(fds[0]);
	tcp_pair(fds);
	struct linger hard = {1, 0};
	r = (struct reader){.fd = fds[0]};
	t = start(read_once, &r);
	await_waiting(&r);
	setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	close(fds[1]);
	join(t);
	EQ(r.got, -1);
	EQ(r.error, ECONNRESET);
	EQ(read(fds[0], &c, 1), 0);
	close(fds[0]);
	done("end and reset of the peer");

	pthread_t churners[CHURNERS];
	for (uintptr_t i = 0; i < CHURNERS; i++)
		churners[i] = start(churner, (void *)(i + 1));
	for (int i = 0; i < CHURNERS; i++)
		join(churners[i]);
	done("churn");
	return failures != 0;
}
