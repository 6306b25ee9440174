/* sendfile() and splice() into a socket that nobody reads: as much goes as there is room, though poll() says long before that there is none; and the timeout of
 * the socket ends what finds none. How much goes is seen on another pair, which does not block. */
#include "sync_test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

enum { CHUNK = 16 << 10, SIZE = 1 << 20, BUFFER = 256 << 10, MARGIN = 64 << 10 };
static int file;

static void unix_pair(int fds[2]) {
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

static void tcp_pair(int fds[2]) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0), bytes = BUFFER;
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	EQ(bind(listener, (struct sockaddr *)&address, size), 0);
	EQ(listen(listener, 1), 0);
	EQ(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	EQ(connect(fds[0], (struct sockaddr *)&address, size), 0);
	fds[1] = accept(listener, NULL, NULL);
	close(listener);
}

static ssize_t by_sendfile(int out, size_t n) {
	off_t at = 0;
	return sendfile(out, file, &at, n);
}

static ssize_t by_splice(int out, size_t n) {
	static char bytes[CHUNK];
	int fds[2];
	EQ(pipe(fds), 0);
	EQ(write(fds[1], bytes, n), n);
	ssize_t r = splice(fds[0], NULL, out, NULL, n, 0);
	int error = errno;
	close(fds[0]);
	close(fds[1]);
	errno = error;
	return r;
}

/* Whole chunks that go without blocking. */
static size_t capacity(void (*pair)(int[2]), ssize_t (*send_by)(int, size_t), size_t chunk) {
	int fds[2];
	size_t n = 0;
	pair(fds);
	EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	while (send_by(fds[0], chunk) == (ssize_t)chunk)
		n++;
	close(fds[0]);
	close(fds[1]);
	return n;
}

/* So many go from one that may block, too; then nothing does, which the timeout ends. */
static void *fills(void (*pair)(int[2]), ssize_t (*send_by)(int, size_t), size_t chunk, size_t margin) {
	struct timeval limit = {.tv_usec = 100000};
	int fds[2];
	size_t n = capacity(pair, send_by, chunk);
	CHECK(n * chunk > 2 * margin);
	pair(fds);
	for (size_t i = 0; i < n - margin / chunk; i++)
		EQ(send_by(fds[0], chunk), chunk);
	EQ(setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
	ssize_t r;
	do {
		long long before = now_ns(CLOCK_MONOTONIC);
		r = send_by(fds[0], chunk);
		if (r < 0)
			CHECK(errno == EAGAIN && now_ns(CLOCK_MONOTONIC) - before >= 90000000);
	} while (r > 0);
	close(fds[0]);
	close(fds[1]);
	return NULL;
}

static void *all(void *arg) {
	fills(unix_pair, by_sendfile, CHUNK, 0);
	fills(unix_pair, by_sendfile, 1000, 0);
	fills(unix_pair, by_sendfile, 4 * CHUNK, 0);
	step("sendfile to unix");
	fills(tcp_pair, by_sendfile, CHUNK, MARGIN);
	step("sendfile to tcp");
	fills(unix_pair, by_splice, CHUNK, 0);
	step("splice to unix");
	fills(tcp_pair, by_splice, CHUNK, MARGIN);
	step("splice to tcp");
	return arg;
}

int main(void) {
	char name[] = "/tmp/io_send_room.XXXXXX";
	test_begin();
	file = mkstemp(name);
	unlink(name);
	EQ(ftruncate(file, SIZE), 0);
	join(start(all, NULL));
	return test_end();
}
