/* Several threads wait for one descriptor, and what ends their calls comes once: each of them finds out. */
#include <linux/sockios.h>

#include "waitall_test.h"

enum { READERS = 3 };

static char big[16 << 20];

/* A byte and the end in one segment, or in one event: who takes the byte leaves the end to the others. */
static void byte_and_end(bool tcp) {
	struct reader r[READERS] = {0};
	pthread_t t[READERS];
	int p[2];
	long bytes = 0;
	if (tcp)
		tcp_pair(p);
	else
		EQ(pipe(p), 0);
	int in = p[tcp], out = p[!tcp];
	for (int i = 0; i < READERS; i++) {
		r[i].fd = in;
		t[i] = start(read_once, &r[i]);
		await_waiting(&r[i]);
	}
	if (tcp) {
		EQ(send(out, "x", 1, MSG_MORE), 1);
	} else if (fork() == 0) { /* not by a thread of this process, of whose bytes others may hear in another way */
		_exit(write(out, "x", 1) != 1);
	}
	close(out);
	for (int i = 0; i < READERS; i++) {
		join(t[i]);
		CHECK(r[i].got >= 0);
		bytes += r[i].got;
	}
	EQ(bytes, 1);
	if (!tcp)
		wait(NULL);
	close(in);
}

/* The end of what MSG_WAITALL waits for comes with the last bytes. */
static void waitall_end(void *(*call)(void *)) {
	struct reader r = {0};
	int p[2];
	tcp_pair(p);
	r.fd = p[1];
	pthread_t t = start(call, &r);
	await_waiting(&r);
	EQ(send(p[0], "hello", 5, MSG_MORE), 5);
	close(p[0]);
	join(t);
	EQ(r.got, 5);
	close(p[1]);
}

static void reset(int fd) {
	struct linger l = {1, 0};
	EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l), 0);
	close(fd);
}

/* One has a part, which it returns; the other has the error. */
static void waitall_reset(void *(*call)(void *)) {
	struct reader r[2] = {0};
	pthread_t t[2];
	int p[2];
	tcp_pair(p);
	for (int i = 0; i < 2; i++) {
		r[i].fd = p[1];
		t[i] = start(call, &r[i]);
		await_waiting(&r[i]);
		if (i == 0) {
			EQ(send(p[0], "hello", 5, 0), 5);
			await_taken(p[1], &r[i].tid);
		}
	}
	reset(p[0]);
	for (int i = 0; i < 2; i++)
		join(t[i]);
	bool first = r[0].got == 5;
	EQ(r[!first].got, 5);
	EQ(r[first].got, -1);
	EQ(r[first].error, ECONNRESET);
	close(p[1]);
}

struct sender {
	int fd;
	_Atomic pid_t tid;
	ssize_t sent;
};

static void *send_big(void *arg) {
	struct sender *s = arg;
	s->tid = gettid();
	s->sent = send(s->fd, big, sizeof big, MSG_NOSIGNAL);
	return NULL;
}

static void senders_reset(void) {
	struct sender s[2] = {0};
	pthread_t t[2];
	int p[2], full, was;
	tcp_pair(p);
	for (int i = 0; i < 2; i++) {
		s[i].fd = p[0];
		t[i] = start(send_big, &s[i]);
		await_sleeping(&s[i].tid);
		for (full = 0, was = -1; full != was; usleep(10000)) { /* until nothing moves: it waits for room */
			was = full;
			EQ(ioctl(p[0], SIOCOUTQ, &full), 0);
		}
		await_sleeping(&s[i].tid);
	}
	reset(p[1]);
	for (int i = 0; i < 2; i++) {
		join(t[i]);
		CHECK(s[i].sent < (ssize_t)sizeof big);
	}
	close(p[0]);
}

static void shut_datagrams(bool inet) {
	struct reader r[READERS] = {0};
	pthread_t t[READERS];
	int p[2];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	if (inet) {
		p[0] = socket(AF_INET, SOCK_DGRAM, 0);
		p[1] = -1;
		EQ(bind(p[0], (struct sockaddr *)&a, size), 0);
		EQ(getsockname(p[0], (struct sockaddr *)&a, &size), 0);
		EQ(connect(p[0], (struct sockaddr *)&a, size), 0);
	} else {
		EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, p), 0);
	}
	for (int i = 0; i < READERS; i++) {
		r[i].fd = p[0];
		t[i] = start(read_once, &r[i]);
		await_waiting(&r[i]);
	}
	EQ(shutdown(p[0], SHUT_RD), 0);
	for (int i = 0; i < READERS; i++) {
		join(t[i]);
		EQ(r[i].got, 0);
	}
	close(p[0]);
	close(p[1]);
}

int main(void) {
	alarm(60);
	become_threaded();
	byte_and_end(true);
	byte_and_end(false);
	done("a byte and the end");
	waitall_end(wait_all);
	waitall_end(wait_all_message);
	done("the end of MSG_WAITALL");
	waitall_reset(wait_all);
	waitall_reset(wait_all_message);
	done("MSG_WAITALL and a reset");
	senders_reset();
	done("two senders and a reset");
	shut_datagrams(false);
	shut_datagrams(true);
	done("datagrams shut down");
	return failures != 0;
}
