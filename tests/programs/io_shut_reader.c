/* Who waits for room in a Unix socket whose peer shuts its own end for reading, or both ways, here or in another process, is told EPIPE, and gets no SIGPIPE.
 * So he is if it is his own end that is shut, in either way. Who writes to the stream after that is told EPIPE, and gets one. */
#include "stream_writes.h"

enum { WRITERS = 2, WAYS = sizeof ways / sizeof *ways, STREAM_ONLY = 2 /* of them, the last ones */ };

struct writer {
	ssize_t (*writes)(void);
	ssize_t got;
	int error;
	_Atomic pid_t tid;
};

static void *writes_once(void *arg) {
	struct writer *w = arg;
	w->tid = gettid();
	w->got = w->writes();
	w->error = errno;
	return NULL;
}

static void fill(int s) {
	EQ(fcntl(s, F_SETFL, O_NONBLOCK), 0);
	for (size_t n = sizeof bytes; n > 0; n /= 2)
		while (write(s, bytes, n) > 0)
			continue;
	EQ(fcntl(s, F_SETFL, 0), 0);
}

static void shut_elsewhere(int s, int how) {
	pid_t child = fork();
	if (child == 0)
		_exit(shutdown(s, how) != 0);
	int status = -1;
	EQ(waitpid(child, &status, 0), child);
	EQ(status, 0);
}

enum by { OWN, OWN_BOTH, PEER, PEER_BOTH, ELSEWHERE, ELSEWHERE_BOTH, BYS };

static void shut(ssize_t (*writes)(void), int type, enum by by) {
	struct writer w[WRITERS] = {{.writes = writes}, {.writes = writes}};
	pthread_t t[WRITERS];
	int s[2];
	EQ(socketpair(AF_UNIX, type, 0, s), 0);
	fd = s[0];
	fill(fd);
	pipes_broken = 0;
	int writers = writes == by_splice ? 1 : WRITERS; /* the pipe is for one at a time */
	for (int i = 0; i < writers; i++) {
		t[i] = start(writes_once, &w[i]);
		await_sleeping(&w[i].tid);
	}
	static const int how[BYS] = {SHUT_WR, SHUT_RDWR, SHUT_RD, SHUT_RDWR, SHUT_RD, SHUT_RDWR};
	if (by >= ELSEWHERE)
		shut_elsewhere(s[1], how[by]);
	else
		EQ(shutdown(s[by >= PEER], how[by]), 0);
	for (int i = 0; i < writers; i++) {
		join(t[i]);
		EQ(w[i].got, -1);
		EQ(w[i].error, EPIPE);
	}
	EQ(pipes_broken, 0);
	FAILS(write(fd, bytes, 1), EPIPE);
	EQ(pipes_broken, type == SOCK_STREAM);
	close(s[0]);
	close(s[1]);
}

int main(void) {
	char name[] = "/tmp/io_shut_reader.XXXXXX";
	signal(SIGPIPE, broken);
	file = mkstemp(name);
	unlink(name);
	write_all(file, bytes, N);
	EQ(pipe(full), 0);
	write_all(full[1], bytes, N);
	for (int i = 0; i < WAYS; i++) {
		for (enum by by = OWN; by < BYS; by++) {
			shut(ways[i], SOCK_STREAM, by);
			if (i < WAYS - STREAM_ONLY)
				shut(ways[i], SOCK_SEQPACKET, by);
		}
		done(names[i]);
	}
	return failures != 0;
}
