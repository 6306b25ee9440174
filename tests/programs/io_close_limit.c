/* Descriptors closed under those who wait for them (FD-1), where the limit leaves few numbers. */
#include <sys/resource.h>

#include "io_test.h"

static void *write_much(void *arg) {
	static char much[200000];
	struct reader *r = arg;
	r->tid = gettid();
	r->got = write(r->fd, much, sizeof much);
	return NULL;
}

/* One who waits goes on with the descriptor he began with. */
static void close_under(void) {
	char buf[4096];
	int fds[2], total = 0;
	EQ(pipe(fds), 0);
	struct reader r = {.fd = fds[0]};
	pthread_t t = start(read_once, &r);
	await_waiting(&r);
	EQ(close(fds[0]), 0);
	write_all(fds[1], "ab", 2);
	join(t);
	EQ(r.got, 2);
	close(fds[1]);

	EQ(pipe(fds), 0);
	struct reader w = {.fd = fds[1]};
	t = start(write_much, &w);
	await_waiting(&w);
	EQ(close(fds[1]), 0);
	for (ssize_t n; (n = read(fds[0], buf, sizeof buf)) > 0;)
		total += (int)n;
	join(t);
	EQ(w.got, 200000);
	EQ(total, 200000);
	close(fds[0]);
}

int main(void) {
	static const rlim_t limits[] = {1000, 512, 24, 12};
	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	become_threaded();
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		struct rlimit limit = {limits[i], 1024};
		EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
		close_under();
	}
	done("closed under a reader and a writer");
	return failures != 0;
}
