/* Shared by the io_* programs. Plain POSIX; nothing of goshim. Every test prints one line that does not depend on timing. */
#ifndef IO_TEST_H
#define IO_TEST_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sleeping.h"

/* Wrong arguments are what some of the tests are about. */
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#pragma GCC diagnostic ignored "-Wstringop-overread"
#endif

static int failures;

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			printf("FAIL %s:%d: %s (errno %s)\n", __FILE__, __LINE__, #cond, strerror(errno)); \
			__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED); \
		} \
	} while (0)

/* expr == want; on failure shows both. */
#define EQ(expr, want) \
	do { \
		errno = 0; \
		long long got_ = (long long)(expr), want_ = (long long)(want); \
		if (got_ != want_) { \
			printf("FAIL %s:%d: %s is %lld, not %lld (errno %s)\n", __FILE__, __LINE__, #expr, got_, want_, strerror(errno)); \
			__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED); \
		} \
	} while (0)

/* expr fails with this errno. */
#define FAILS(expr, error) \
	do { \
		errno = 0; \
		long long got_ = (long long)(expr); \
		int errno_ = errno; \
		if (got_ != -1 || errno_ != (error)) { \
			printf("FAIL %s:%d: %s is %lld, errno %s, not %s\n", __FILE__, __LINE__, #expr, got_, strerror(errno_), \
			       strerror(error)); \
			__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED); \
		} \
	} while (0)

static inline long long now_ms(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* The statement takes from..to milliseconds, and what a busy machine adds to it. */
enum { BUSY_MS = 5000 };
#define TAKES(from, to, statement) \
	do { \
		long long start_ = now_ms(); \
		statement; \
		long long took_ = now_ms() - start_; \
		if (took_ < (from) || took_ > (to) + BUSY_MS) { \
			printf("FAIL %s:%d: %s took %lld ms\n", __FILE__, __LINE__, #statement, took_); \
			__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED); \
		} \
	} while (0)

static inline pthread_t start(void *(*f)(void *), void *arg) {
	pthread_t t;
	int r = pthread_create(&t, NULL, f, arg);
	if (r) {
		printf("FAIL pthread_create: %s\n", strerror(r));
		exit(1);
	}
	return t;
}

static inline void *join(pthread_t t) {
	void *result = NULL;
	pthread_join(t, &result);
	return result;
}

static inline void *nothing(void *arg) {
	return arg;
}

/* From here on threads exist. */
static inline void become_threaded(void) {
	join(start(nothing, NULL));
}

/* Lets other threads get to where they block. Only makes a race likelier to be the interesting one; no result depends on it. */
static inline void settle(void) {
	struct timespec ts = {0, 60000000};
	nanosleep(&ts, NULL);
}

static inline void done(const char *what) {
	printf("%s: %s\n", what, failures ? "FAILED" : "ok");
	fflush(stdout);
}

static inline int listener(int backlog, struct sockaddr_in *at) {
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof *at;
	*at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(fd, (struct sockaddr *)at, sizeof *at) || listen(fd, backlog) || getsockname(fd, (struct sockaddr *)at, &size)) {
		perror("listener");
		exit(1);
	}
	return fd;
}

static inline int dial(const struct sockaddr_in *to) {
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof *to)) {
		perror("dial");
		exit(1);
	}
	return fd;
}

/* A connected pair of TCP sockets. */
static inline void tcp_pair(int fds[2]) {
	struct sockaddr_in at;
	int l = listener(1, &at);
	fds[0] = dial(&at);
	struct sockaddr_in ours, from = {0};
	socklen_t size = sizeof ours;
	EQ(getsockname(fds[0], (struct sockaddr *)&ours, &size), 0);
	/* Others may dial this number, whom nobody listened to when they took it: a test beside this one. */
	while ((fds[1] = accept(l, (struct sockaddr *)&from, &size)) >= 0 && from.sin_port != ours.sin_port)
		close(fds[1]);
	close(l);
}

static inline void write_all(int fd, const void *buf, size_t n) {
	EQ(write(fd, buf, n), (long long)n);
}

static inline size_t read_full(int fd, void *buf, size_t n) {
	size_t got = 0;
	while (got < n) {
		ssize_t r = read(fd, (char *)buf + got, n - got);
		if (r <= 0)
			break;
		got += (size_t)r;
	}
	return got;
}

/* A thread that reads once. */
struct reader {
	int fd;
	size_t n;
	char buf[64];
	ssize_t got;
	int error;
	_Atomic pid_t tid; /* set before it waits */
};

static inline void *read_once(void *arg) {
	struct reader *r = arg;
	r->tid = gettid();
	r->got = read(r->fd, r->buf, r->n ? r->n : sizeof r->buf);
	r->error = errno;
	return NULL;
}

/* Until the reader waits: for what would be something else if it came first. */
static inline void await_waiting(struct reader *r) {
	await_sleeping(&r->tid);
}

#endif
