/* Numbers: the lowest free one, dup and its relations, closing ranges while others wait; what a program that closes everything
 * sees (FD-11). */
#include <sys/resource.h>

#include "io_test.h"

static void lowest_free(void) {
	int a = open("/dev/null", O_RDONLY), b = open("/dev/null", O_RDONLY), fds[2];
	EQ(b, a + 1);
	close(a);
	EQ(dup(b), a);
	close(a);
	EQ(pipe(fds), 0);
	EQ(fds[0], a);
	EQ(fds[1], b + 1);
	EQ(fcntl(b, F_DUPFD, a), b + 2);
	EQ(fcntl(b, F_DUPFD_CLOEXEC, a), b + 3);
	EQ(fcntl(b + 3, F_GETFD), FD_CLOEXEC);
	for (int fd = a; fd <= b + 3; fd++)
		EQ(close(fd), 0);
}

static void errors(void) {
	FAILS(close(-1), EBADF);
	FAILS(close(9999), EBADF);
	FAILS(dup(9999), EBADF);
	FAILS(dup2(9999, 5), EBADF);
	FAILS(dup2(0, -1), EBADF);
	FAILS(dup3(0, 0, 0), EINVAL);
	FAILS(dup3(0, 50, 12345), EINVAL);
	EQ(dup2(0, 0), 0);
	FAILS(dup2(9999, 9999), EBADF);
	FAILS(fcntl(9999, F_GETFL), EBADF);
	FAILS(fcntl(0, 12345), EINVAL);
	FAILS(fcntl(0, F_DUPFD, -1), EINVAL);
	FAILS(close_range(10, 5, 0), EINVAL);
	FAILS(close_range(1000000, 1000001, 77), EINVAL);
}

/* A failed dup2 leaves the target as it was. */
static void dup2_fails(void) {
	int fds[2];
	EQ(pipe(fds), 0);
	struct reader r = {.fd = fds[0]};
	pthread_t t = start(read_once, &r);
	settle();
	write_all(fds[1], "1", 1);
	join(t);
	FAILS(dup2(9999, fds[0]), EBADF);
	t = start(read_once, &r);
	settle();
	write_all(fds[1], "22", 2);
	join(t);
	EQ(r.got, 2);
	close(fds[0]);
	close(fds[1]);
}

static void *late(void *arg) {
	settle();
	write_all(*(int *)arg, "z", 1);
	return NULL;
}

/* The program sees the descriptors it opened, no others, and closing all the rest harms nobody (FRK-11). */
static void close_everything(int keep_in, int keep_out, int last) {
	int open_ones = 0;
	for (int fd = 3; fd < 5000; fd++)
		open_ones += fcntl(fd, F_GETFD) >= 0;
	EQ(open_ones, 2);
	for (int fd = last + 1; fd < 5000; fd++) {
		FAILS(close(fd), EBADF);
		FAILS(dup2(fd, last + 1), EBADF);
	}
	struct reader r = {.fd = keep_in};
	pthread_t t = start(late, &keep_out);
	read_once(&r);
	EQ(r.got, 1);
	join(t);
	EQ(close_range((unsigned)last + 1, ~0u, 0), 0);
	t = start(late, &keep_out);
	read_once(&r);
	EQ(r.got, 1);
	join(t);
	closefrom(last + 1);
	t = start(late, &keep_out);
	read_once(&r);
	EQ(r.got, 1);
	join(t);
	/* onto every number */
	for (int fd = last + 1; fd < 1100; fd++)
		EQ(dup2(keep_in, fd), fd);
	t = start(late, &keep_out);
	r.fd = 1050;
	read_once(&r);
	EQ(r.got, 1);
	join(t);
	EQ(close_range((unsigned)last + 1, 1099, 0), 0);
	r.fd = keep_in;
	t = start(late, &keep_out);
	read_once(&r);
	EQ(r.got, 1);
	join(t);
	/* readers wait while all is closed around them */
	struct reader waiting = {.fd = keep_in};
	t = start(read_once, &waiting);
	settle();
	EQ(close_range((unsigned)last + 1, ~0u, 0), 0);
	settle();
	write_all(keep_out, "end", 3);
	join(t);
	EQ(waiting.got, 3);
	TAKES(28, 500, usleep(30000));
}

/* Out of numbers. */
static void exhausted(void) {
	struct rlimit limit, low;
	int fds[2], opened[64], n = 0;
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = 20;
	EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (n < 64 && (opened[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	CHECK(errno == EMFILE);
	FAILS(pipe(fds), EMFILE);
	FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	FAILS(dup(0), EMFILE);
	while (n > 0)
		close(opened[--n]);
	EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

int main(void) {
	int fds[2];
	struct rlimit limit;
	closefrom(3);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max < 5000 ? limit.rlim_max : 5000;
	setrlimit(RLIMIT_NOFILE, &limit);
	become_threaded();
	lowest_free();
	done("lowest free number");
	errors();
	done("errors");
	dup2_fails();
	done("failed dup2");
	EQ(pipe(fds), 0);
	close_everything(fds[0], fds[1], fds[1] > fds[0] ? fds[1] : fds[0]);
	done("close everything");
	exhausted();
	done("exhausted");
	return failures != 0;
}
