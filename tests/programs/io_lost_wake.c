/* Several threads wait for one descriptor, and what they wait for comes once, for all of them: who takes his part passes the rest on. */
#include <linux/netlink.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#include "io_test.h"

enum { MOVERS = 4 };

struct mover {
	int from, to;
	_Atomic pid_t tid;
	ssize_t moved;
};

static char big[1 << 20];

static void *send_file(void *arg) {
	struct mover *m = arg;
	off_t at = 0;
	m->tid = gettid();
	m->moved = sendfile(m->to, m->from, &at, 100);
	return NULL;
}

static void *splice_byte(void *arg) {
	struct mover *m = arg;
	m->tid = gettid();
	m->moved = splice(m->from, NULL, m->to, NULL, 1, 0);
	return NULL;
}

static void *tee_byte(void *arg) {
	struct mover *m = arg;
	m->tid = gettid();
	m->moved = tee(m->from, m->to, 1, 0);
	return NULL;
}

static void *vmsplice_byte(void *arg) {
	struct mover *m = arg;
	struct iovec v = {big, 1};
	m->tid = gettid();
	m->moved = vmsplice(m->to, &v, 1, 0);
	return NULL;
}

static void movers(void *(*call)(void *), int from, int to, void (*let)(int), int fd, ssize_t each) {
	struct mover m[MOVERS] = {0};
	pthread_t t[MOVERS];
	for (int i = 0; i < MOVERS; i++) {
		m[i].from = from;
		m[i].to = to;
		t[i] = start(call, &m[i]);
		await_sleeping(&m[i].tid);
	}
	pid_t child = fork(); /* no thread of this process, of whose bytes others may hear in another way */
	if (child == 0) {
		let(fd);
		_exit(0);
	}
	for (int i = 0; i < MOVERS; i++) {
		join(t[i]);
		EQ(m[i].moved, each);
	}
	kill(child, SIGKILL);
	EQ(waitpid(child, NULL, 0), child);
}

static void fill(int fd) {
	EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while (write(fd, big, sizeof big) > 0)
		continue;
	while (write(fd, big, 1) > 0)
		continue;
	EQ(fcntl(fd, F_SETFL, 0), 0);
}

static void take(int fd) {
	static char buf[65536];
	while (read(fd, buf, sizeof buf) > 0)
		continue;
}

static void give(int fd) {
	if (write(fd, "123456789", 9) != 9)
		_exit(1);
	pause();
}

static void test_moved(void) {
	char name[] = "/tmp/io_lost_wakeXXXXXX";
	int file = mkstemp(name), s[2], p[2], q[2];
	unlink(name);
	EQ(write(file, big, 100), 100);
	tcp_pair(s);
	fill(s[0]);
	movers(send_file, file, s[0], take, s[1], 100);
	EQ(pipe(p), 0);
	EQ(pipe(q), 0);
	movers(splice_byte, p[0], q[1], give, p[1], 1);
	EQ(read(p[0], big, 20), 5);
	movers(tee_byte, p[0], q[1], give, p[1], 1);
	EQ(read(p[0], big, 20), 9);
	EQ(read(q[0], big, 20), 8);
	fill(p[1]);
	movers(vmsplice_byte, -1, p[1], take, p[0], 1);
	done("sendfile, splice, tee, vmsplice");
}

static void write_two(int fd) {
	if (write(fd, "one", 3) != 3 || write(fd, "two", 3) != 3)
		_exit(1);
	pause();
}

static void *hog(void *arg) {
	for (long long until = now_ms() + 100; now_ms() < until;)
		continue;
	return arg;
}

/* Short reads, each of a whole packet. The hogs make it likely that one event tells of both. */
static void test_packets(void) {
	struct reader r[2] = {0};
	pthread_t t[2], h[2];
	int p[2];
	EQ(pipe2(p, O_DIRECT), 0);
	for (int i = 0; i < 2; i++) {
		r[i].fd = p[0];
		t[i] = start(read_once, &r[i]);
		await_waiting(&r[i]);
	}
	for (int i = 0; i < 2; i++)
		h[i] = start(hog, NULL);
	pid_t child = fork();
	if (child == 0)
		write_two(p[1]);
	for (int i = 0; i < 2; i++) {
		join(t[i]);
		EQ(r[i].got, 3);
		join(h[i]);
	}
	kill(child, SIGKILL);
	EQ(waitpid(child, NULL, 0), child);
	done("packets in a pipe");
}

struct talker {
	int fd;
	struct sockaddr_nl to;
	_Atomic pid_t tid;
};

enum { LETTERS = 100, LETTER_BYTES = 2000 };

static void *talk(void *arg) {
	struct talker *k = arg;
	k->tid = gettid();
	for (int i = 0; i < LETTERS; i++)
		EQ(sendto(k->fd, big, LETTER_BYTES, 0, (struct sockaddr *)&k->to, sizeof k->to), LETTER_BYTES);
	return NULL;
}

/* Whether it can be sent depends on the receiver, of whom the sender's readiness says nothing. */
static void test_netlink(void) {
	struct talker k = {.fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK)};
	int to = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK), room = 20000;
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	socklen_t size = sizeof k.to;
	if (to >= 0) {
		EQ(bind(to, (struct sockaddr *)&any, sizeof any), 0);
		EQ(getsockname(to, (struct sockaddr *)&k.to, &size), 0);
		EQ(setsockopt(to, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
		pthread_t t = start(talk, &k);
		await_sleeping(&k.tid);
		for (int i = 0; i < LETTERS; i++)
			EQ(recv(to, big, sizeof big, 0), LETTER_BYTES);
		join(t);
	}
	done("netlink");
}

static void *send_all(void *arg) {
	struct mover *m = arg;
	m->tid = gettid();
	while ((m->moved = send(m->to, big, 20000, MSG_NOSIGNAL)) == 20000)
		continue;
	return NULL;
}

/* Senders that wait, and this end is shut for writing: no room comes of it. */
static void shut(int type, bool duplicate, bool raw) {
	struct mover m[2] = {0};
	pthread_t t[2];
	int s[2];
	EQ(socketpair(AF_UNIX, type, 0, s), 0);
	for (int i = 0; i < 2; i++) {
		m[i].to = s[0];
		t[i] = start(send_all, &m[i]);
		await_sleeping(&m[i].tid);
	}
	int fd = duplicate ? dup(s[0]) : s[0];
	EQ(raw ? syscall(SYS_shutdown, fd, SHUT_WR) : shutdown(fd, SHUT_WR), 0);
	for (int i = 0; i < 2; i++) {
		join(t[i]);
		CHECK(m[i].moved < 20000);
	}
	close(s[0]);
	close(s[1]);
	if (duplicate)
		close(fd);
}

static void test_shutdown(void) {
	int type[] = {SOCK_STREAM, SOCK_SEQPACKET};
	for (int i = 0; i < 8; i++)
		shut(type[i & 1], i & 2, i & 4);
	done("senders shut down");
}

int main(void) {
	alarm(60);
	become_threaded();
	test_moved();
	test_packets();
	test_netlink();
	test_shutdown();
	return failures != 0;
}
