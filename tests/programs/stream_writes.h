/* The ways to write to a stream, and a count of the SIGPIPEs that came of it. */
#ifndef GOSHIM_TESTS_STREAM_WRITES_H
#define GOSHIM_TESTS_STREAM_WRITES_H

#include "io_test.h"

#include <sys/sendfile.h>

enum { N = 5 };
static int fd, file, full[2];
static char bytes[1 << 16];
static _Atomic int pipes_broken;

static void broken(int sig) {
	(void)sig;
	pipes_broken++;
}

static ssize_t by_write(void) {
	return write(fd, bytes, N);
}

static ssize_t by_send(void) {
	return send(fd, bytes, N, 0);
}

static ssize_t by_sendmsg(void) {
	struct iovec v = {bytes, N};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	return sendmsg(fd, &m, 0);
}

static ssize_t by_writev(void) {
	struct iovec v[2] = {{bytes, N}, {bytes, N}};
	return writev(fd, v, 2);
}

static ssize_t by_sendfile(void) {
	off_t from = 0;
	return sendfile(fd, file, &from, N);
}

static ssize_t by_splice(void) {
	return splice(full[0], NULL, fd, NULL, N, 0);
}

static ssize_t (*const ways[])(void) = {by_write, by_send, by_sendmsg, by_writev, by_sendfile, by_splice};
static const char *const names[] = {"write", "send", "sendmsg", "writev", "sendfile", "splice"};

#endif
