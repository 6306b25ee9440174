/* The files of a thread in /proc (taskfile.c). */
#ifndef GOSHIM_TASKFILE_H
#define GOSHIM_TASKFILE_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>

#include "shim.h"

/* A goroutine has opened `path`, and the kernel's answer is r. What the program is to get instead, if it names a goroutine's file: a descriptor, in the
 * place of r if that is one, or a negative error. */
long taskfile_opened_slow(const char *path, int flags, long r);
/* Worth a closer look, although the kernel has opened it. */
bool taskfile_may_be(const char *path);
static inline long taskfile_opened(const char *path, int flags, long r) {
	/* The kernel has read the path, in both cases. */
	if (likely(r >= 0 ? !taskfile_may_be(path) : r != -ENOENT))
		return r;
	return taskfile_opened_slow(path, flags, r);
}

/* Is it one that was made here? Known by its name, so that duplicates and a fork's child know it, too. */
bool taskfile_is(int fd);
/* read() and write() of one: kernel-style results. */
long taskfile_read(int fd, void *buf, size_t n);
long taskfile_write(int fd, const void *buf, size_t n);
long taskfile_writev(int fd, const struct iovec *iov, int count);

#endif
