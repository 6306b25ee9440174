/* Threads that take a table of descriptors for themselves: what they do with a number is no business of the others', who use the same number for
 * something else; threads that they create share theirs. */
#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "sleeping.h"

static int shared[2];
static _Atomic pid_t reader_tid;
static pthread_barrier_t step;
static sem_t said;

static void *reader(void *arg) {
	char c;
	reader_tid = gettid();
	while (read(shared[0], &c, 1) == 1 && c != '.') {
		printf("reader has %c\n", c);
		sem_post(&said);
	}
	return arg;
}

/* Until it has said so and waits again. */
static void tell_reader(char c) {
	write(shared[1], &c, 1);
	sem_wait(&said);
	await_sleeping(&reader_tid);
}

static void *child_of_unshared(void *arg) {
	int *s = arg;
	char c = 0;
	ssize_t n = read(s[0], &c, 1);
	printf("its thread has %zd %c\n", n, c);
	close(s[0]);
	return NULL;
}

static void *unshares(void *arg) {
	int s[2];
	pthread_t t;
	char c = 0;
	printf("unshare %d\n", arg ? (int)syscall(SYS_unshare, CLONE_FILES) : unshare(CLONE_FILES));
	close(shared[0]);
	close(shared[1]);
	socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s);
	printf("same numbers: %d %d\n", s[0] == shared[0], s[1] == shared[1]);
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step); /* the reader waits again, for the other one of this number */
	write(s[1], "S", 1);
	struct pollfd p = {s[0], POLLIN, 0};
	int ready = poll(&p, 1, 5000);
	printf("poll %d %d\n", ready, p.revents);
	ssize_t n = read(s[0], &c, 1);
	printf("read %zd %c\n", n, c);
	fd_set set;
	struct timeval time = {0, 1000};
	FD_ZERO(&set);
	FD_SET(s[0], &set);
	printf("select %d\n", select(s[0] + 1, &set, NULL, NULL, &time));
	pthread_create(&t, NULL, child_of_unshared, s);
	write(s[1], "T", 1);
	pthread_join(t, NULL);
	n = send(s[1], "U", 1, MSG_NOSIGNAL);
	printf("closed by it: %zd %s\n", n, n < 0 ? strerror(errno) : "");
	dup2(s[1], s[0]);
	close(s[1]);
	close(s[0]);
	return NULL;
}

static void *closes_all(void *arg) {
	char c;
	int r = arg ? (int)syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_UNSHARE) : close_range(3, ~0u, CLOSE_RANGE_UNSHARE);
	ssize_t n = read(shared[0], &c, 1);
	printf("close_range %d, then read: %zd %s\n", r, n, n < 0 ? strerror(errno) : "");
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	n = write(shared[1], &c, 1);
	printf("write: %zd %s\n", n, n < 0 ? strerror(errno) : "");
	return NULL;
}

static void beside(void *(*run)(void *), void *arg) {
	pthread_t t;
	pthread_create(&t, NULL, run, arg);
	pthread_barrier_wait(&step);
	tell_reader('a');
	pthread_barrier_wait(&step);
	pthread_join(t, NULL);
	tell_reader('b');
}

/* Nobody else has what it closes. */
static void alone(void) {
	int fds[2];
	char c;
	pipe(fds);
	printf("alone: unshare %d\n", unshare(CLONE_FILES));
	close(fds[1]);
	printf("end %zd\n", read(fds[0], &c, 1));
	printf("close_range %d\n", close_range((unsigned)fds[0], (unsigned)fds[0], CLOSE_RANGE_UNSHARE));
	ssize_t n = read(fds[0], &c, 1);
	printf("read %zd %s\n", n, n < 0 ? strerror(errno) : "");
}

int main(void) {
	pthread_t r;
	setvbuf(stdout, NULL, _IONBF, 0);
	pthread_barrier_init(&step, NULL, 2);
	sem_init(&said, 0, 0);
	pipe(shared);
	pthread_create(&r, NULL, reader, NULL);
	await_sleeping(&reader_tid);
	beside(unshares, NULL);
	beside(unshares, "raw");
	beside(closes_all, NULL);
	beside(closes_all, "raw");
	write(shared[1], ".", 1);
	pthread_join(r, NULL);
	alone();
	return 0;
}
