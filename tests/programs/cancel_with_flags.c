/* preadv2() and pwritev2() with flags, of a pipe, and vmsplice(), which waits also where the pipe is O_NONBLOCK, are cancelled while they wait. Nothing
 * that the pipe holds is lost. */
#include "io_test.h"

static char bytes[4096];
static _Atomic pid_t tid;

static void *reads(void *fds) {
	struct iovec v = {bytes, sizeof bytes};
	tid = gettid();
	return (void *)preadv2(((int *)fds)[0], &v, 1, -1, RWF_HIPRI);
}

static void *writes(void *fds) {
	struct iovec v = {bytes, sizeof bytes};
	tid = gettid();
	return (void *)pwritev2(((int *)fds)[1], &v, 1, -1, RWF_HIPRI);
}

static void *splices(void *fds) {
	struct iovec v = {bytes, sizeof bytes};
	tid = gettid();
	return (void *)vmsplice(((int *)fds)[1], &v, 1, 0);
}

static size_t fill(int fd) {
	size_t sum = 0;
	for (ssize_t n; (n = write(fd, bytes, sizeof bytes)) > 0; sum += (size_t)n)
		continue;
	return sum;
}

static void cancelled(void *(*waits)(void *), bool full, int flags) {
	int fds[2];
	EQ(pipe2(fds, O_NONBLOCK), 0);
	size_t held = full ? fill(fds[1]) : 0;
	EQ(fcntl(fds[0], F_SETFL, flags), 0);
	EQ(fcntl(fds[1], F_SETFL, flags), 0);
	tid = 0;
	pthread_t t = start(waits, fds);
	await_sleeping(&tid);
	EQ(pthread_cancel(t), 0);
	CHECK(join(t) == PTHREAD_CANCELED);
	int n = -1;
	EQ(ioctl(fds[0], FIONREAD, &n), 0);
	EQ(n, held);
	close(fds[0]);
	close(fds[1]);
}

int main(void) {
	cancelled(reads, false, 0);
	done("preadv2");
	cancelled(writes, true, 0);
	done("pwritev2");
	cancelled(splices, true, 0);
	cancelled(splices, true, O_NONBLOCK);
	done("vmsplice");
	printf("%d failures\n", failures);
	return failures != 0;
}
