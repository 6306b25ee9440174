/* Shared by programs about MSG_WAITALL: a reader that waits for all that it wants, by each call. */
#ifndef WAITALL_TEST_H
#define WAITALL_TEST_H

#include "io_test.h"

static inline size_t reader_wants(const struct reader *r) {
	return r->n ? r->n : sizeof r->buf;
}

static inline void *wait_all(void *arg) {
	struct reader *r = arg;
	r->tid = gettid();
	r->got = recv(r->fd, r->buf, reader_wants(r), MSG_WAITALL);
	r->error = errno;
	return NULL;
}

static inline void *wait_all_message(void *arg) {
	struct reader *r = arg;
	struct iovec v = {r->buf, reader_wants(r)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	r->tid = gettid();
	r->got = recvmsg(r->fd, &m, MSG_WAITALL);
	r->error = errno;
	return NULL;
}

/* Until nothing is left of what had come, and the reader waits for more. */
static inline void await_taken(int fd, _Atomic pid_t *tid) {
	for (int left = 1; left; usleep(1000))
		EQ(ioctl(fd, FIONREAD, &left), 0);
	await_sleeping(tid);
}

#endif
