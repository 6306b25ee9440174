/* Who waits for room in a Unix stream when its peer closes with bytes unread is told ECONNRESET, and gets no SIGPIPE. Who writes after that is told
 * EPIPE, and gets one. */
#include "stream_writes.h"

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

static void lost(ssize_t (*writes)(void)) {
	struct writer w = {.writes = writes};
	int s[2];
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	fd = s[0];
	fill(fd);
	pipes_broken = 0;
	pthread_t t = start(writes_once, &w);
	await_sleeping(&w.tid);
	close(s[1]);
	join(t);
	EQ(w.got, -1);
	EQ(w.error, ECONNRESET);
	EQ(pipes_broken, 0);
	FAILS(write(fd, bytes, 1), EPIPE);
	EQ(pipes_broken, 1);
	close(fd);
}

int main(void) {
	char name[] = "/tmp/io_lost_reader.XXXXXX";
	signal(SIGPIPE, broken);
	file = mkstemp(name);
	unlink(name);
	write_all(file, bytes, N);
	EQ(pipe(full), 0);
	write_all(full[1], bytes, N);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		lost(ways[i]);
		done(names[i]);
	}
	printf("%d failures\n", failures);
	return failures != 0;
}
