/* Calls that can block the kernel thread and cannot wait for readiness: files, locks, System V and POSIX queues. Each is its raw system call
 * between brackets, so that sysmon gives the P away when the kernel takes its time (FD-7). One line of a table each.
 *
 * CALL: a cancellation point that waits for a disk at most (core/disk.c); PLAIN: the same, not a cancellation point; TAKING and TELLING:
 * cancellation points of POSIX queues, which wait for others: the P is given away at once. */
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <termios.h>

#include "io.h"
#include "taskfile.h"

#define TABLE_ENTRY(ret, name, params, args, cancel, how, raw) \
	SHIM ret name params {                                 \
		struct g *g = io_g();                          \
		if (!g) {                                      \
			REAL_READY();                          \
			return real.name args;                 \
		}                                              \
		if (cancel)                                    \
			shim_testcancel(g);                    \
		long r = how(g, raw);                          \
		return (ret)(cancel ? io_ret(g, r) : sys_ret(r)); \
	}
#define CALL(ret, name, params, args, raw) TABLE_ENTRY(ret, name, params, args, true, BRACKET_DISK_CANCEL, raw)
#define PLAIN(ret, name, params, args, raw) TABLE_ENTRY(ret, name, params, args, false, BRACKET_DISK, raw)
#define BRACKET_DEVICE(g, call) BRACKET_BLOCKING(g, false, call)

/* ---- at an offset: files only --------------------------------------------------------------------------------------- */

CALL(ssize_t, pread64, (int fd, void *buf, size_t n, off64_t at), (fd, buf, n, at), SYS4(SYS_pread64, fd, buf, n, at))
CALL(ssize_t, pwrite64, (int fd, const void *buf, size_t n, off64_t at), (fd, buf, n, at),
     SYS4(SYS_pwrite64, fd, buf, n, at))
CALL(ssize_t, preadv64, (int fd, const struct iovec *iov, int count, off64_t at), (fd, iov, count, at),
     SYS5(SYS_preadv, fd, iov, count, at, 0))
CALL(ssize_t, pwritev64, (int fd, const struct iovec *iov, int count, off64_t at), (fd, iov, count, at),
     SYS5(SYS_pwritev, fd, iov, count, at, 0))
SHIM_ALIAS(pread64, pread);
SHIM_ALIAS(pread64, __pread64);
SHIM_ALIAS(pwrite64, pwrite);
SHIM_ALIAS(pwrite64, __pwrite64);
SHIM_ALIAS(preadv64, preadv);
SHIM_ALIAS(pwritev64, pwritev);

/* ---- to the disk ------------------------------------------------------------------------------------------------------ */

CALL(int, fsync, (int fd), (fd), SYS1(SYS_fsync, fd))
CALL(int, fdatasync, (int fd), (fd), SYS1(SYS_fdatasync, fd))
PLAIN(int, syncfs, (int fd), (fd), SYS1(SYS_syncfs, fd))
CALL(int, sync_file_range, (int fd, off64_t at, off64_t n, unsigned flags), (fd, at, n, flags),
     SYS4(SYS_sync_file_range, fd, at, n, flags))
CALL(int, msync, (void *at, size_t n, int flags), (at, n, flags), SYS3(SYS_msync, at, n, flags))
CALL(int, fallocate64, (int fd, int mode, off64_t at, off64_t n), (fd, mode, at, n),
     SYS4(SYS_fallocate, fd, mode, at, n))
SHIM_ALIAS(fallocate64, fallocate);
PLAIN(int, ftruncate64, (int fd, off64_t n), (fd, n), SYS2(SYS_ftruncate, fd, n))
SHIM_ALIAS(ftruncate64, ftruncate);
PLAIN(int, truncate64, (const char *path, off64_t n), (path, n), SYS2(SYS_truncate, path, n))
SHIM_ALIAS(truncate64, truncate);
CALL(ssize_t, copy_file_range, (int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags),
     (in, in_at, out, out_at, n, flags), SYS6(SYS_copy_file_range, in, in_at, out, out_at, n, flags))
TABLE_ENTRY(ssize_t, getrandom, (void *buf, size_t n, unsigned flags), (buf, n, flags), true, BRACKET,
	    SYS3(SYS_getrandom, buf, n, flags))

SHIM void sync(void) {
	struct g *g = io_g();
	if (!g) {
		CALL_REAL(sync);
		return;
	}
	(void)BRACKET_DISK(g, SYS0(SYS_sync));
}

/* Where the file system cannot, libc writes the blocks one by one. */
SHIM int posix_fallocate64(int fd, off64_t at, off64_t n) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(posix_fallocate64, fd, at, n);
	long r = BRACKET_DISK(g, SYS4(SYS_fallocate, fd, 0, at, n));
	return r == -EOPNOTSUPP ? real.posix_fallocate64(fd, at, n) : (int)-r;
}

SHIM_ALIAS(posix_fallocate64, posix_fallocate);

/* ---- locks and queues ------------------------------------------------------------------------------------------------- */

SHIM int flock(int fd, int how) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(flock, fd, how);
	struct fdcall c;
	long r;
	/* Held: disturbed, it waits for the same file again, whatever the number names by then (FD-3). */
	if (fdcall_begin(&c, g, fd)) {
		r = FDCALL_BRACKET_HELD(&c, SYS2(SYS_flock, c.fd, how | LOCK_NB));
		if (r == -EWOULDBLOCK && !(how & LOCK_NB))
			r = FDCALL_HELD(io_enter_waiting, &c, CANCEL_NOT, true, SYS2(SYS_flock, c.fd, how));
		fdcall_end(&c);
	} else {
		r = BRACKET_WAITS(g, CANCEL_NOT, SYS2(SYS_flock, c.fd, how));
	}
	return (int)sys_ret(r);
}

SHIM int lockf64(int fd, int command, off64_t n) {
	struct g *g = io_g();
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_len = n};
	if (!g)
		return CALL_REAL(lockf64, fd, command, n);
	switch (command) {
	case F_TEST:
		lock.l_type = F_RDLCK;
		long r = BRACKET(g, SYS3(SYS_fcntl, fd, F_GETLK, &lock));
		if (r == 0 && lock.l_type != F_UNLCK && lock.l_pid != getpid())
			r = -EACCES;
		return (int)sys_ret(r);
	case F_ULOCK:
		lock.l_type = F_UNLCK;
		return (int)sys_ret(BRACKET(g, SYS3(SYS_fcntl, fd, F_SETLK, &lock)));
	case F_LOCK:
		shim_testcancel(g);
		return (int)io_ret(g, BRACKET_WAITS(g, CANCEL_MAKES, SYS_MAKES3(g, SYS_fcntl, fd, F_SETLKW, &lock)));
	case F_TLOCK:
		return (int)sys_ret(BRACKET(g, SYS3(SYS_fcntl, fd, F_SETLK, &lock)));
	default:
		return (int)sys_ret(-EINVAL);
	}
}

SHIM_ALIAS(lockf64, lockf);

TABLE_ENTRY(int, msgsnd, (int id, const void *msg, size_t n, int flags), (id, msg, n, flags), true, BRACKET_QUEUE,
	    SYS_MAKES4(g, SYS_msgsnd, id, msg, n, flags))
TABLE_ENTRY(ssize_t, msgrcv, (int id, void *msg, size_t n, long type, int flags), (id, msg, n, type, flags), true,
	    BRACKET_QUEUE, SYS_MAKES5(g, SYS_msgrcv, id, msg, n, type, flags))
TABLE_ENTRY(int, semop, (int id, struct sembuf *ops, size_t n), (id, ops, n), false, BRACKET_SEMOP,
	    SYS3(SYS_semop, id, ops, n))

SHIM int semtimedop(int id, struct sembuf *ops, size_t n, const struct timespec *timeout) {
	struct g *g = io_g();
	struct timespec left;
	int64_t deadline = -1;
	if (!g)
		return CALL_REAL(semtimedop, id, ops, n, timeout);
	if (!timeout)
		return semop(id, ops, n);
	if (address_bad(timeout))
		return (int)sys_ret(-EFAULT);
	return (int)sys_ret(BRACKET_SEMOP(g, SYS4(SYS_semtimedop, id, ops, n, timeout_left(&left, timeout, &deadline))));
}

/* Nothing ends one for want of kernel threads: each begins anew with its time, and with the same queue, whatever q names by then. */
#define BRACKET_POSIX_QUEUE(g, call)                                                          \
	(__extension__({                                                                      \
		struct fdcall c;                                                              \
		BRACKET_HELD(syscall_enter_blocking, &c, g, q, CANCEL_MAKES, call);           \
	}))
#define TAKING(ret, name, params, args, raw) TABLE_ENTRY(ret, name, params, args, true, BRACKET_POSIX_QUEUE, raw)
TAKING(ssize_t, mq_timedreceive,
     (mqd_t q, char *restrict msg, size_t n, unsigned *restrict priority, const struct timespec *restrict until),
     (q, msg, n, priority, until), SYS_MAKES5(g, SYS_mq_timedreceive, c.fd, msg, n, priority, until))
#define BRACKET_TELLING(g, call) sig_mq_sent(g, BRACKET_POSIX_QUEUE(g, call))
#define TELLING(ret, name, params, args, raw) TABLE_ENTRY(ret, name, params, args, true, BRACKET_TELLING, raw)
TELLING(int, mq_timedsend, (mqd_t q, const char *msg, size_t n, unsigned priority, const struct timespec *until),
     (q, msg, n, priority, until), SYS_MAKES5(g, SYS_mq_timedsend, c.fd, msg, n, priority, until))
TAKING(ssize_t, mq_receive, (mqd_t q, char *msg, size_t n, unsigned *priority), (q, msg, n, priority),
     SYS_MAKES5(g, SYS_mq_timedreceive, c.fd, msg, n, priority, NULL))
TELLING(int, mq_send, (mqd_t q, const char *msg, size_t n, unsigned priority), (q, msg, n, priority),
     SYS_MAKES5(g, SYS_mq_timedsend, c.fd, msg, n, priority, NULL))
/* The kernel says EINTR itself, after any handler. */
TABLE_ENTRY(int, tcdrain, (int fd), (fd), true, BRACKET_DEVICE, SYS3(SYS_ioctl, fd, TCSBRK, 1))

/* ---- open ------------------------------------------------------------------------------------------------------------- */

static inline void open_enter(struct g *g) {
	syscall_enter(g); /* rarely waits: the P stays */
	syscall_repeats(g);
}

/* A FIFO blocks until somebody opens its other end; a file on a network or a device as long as that takes. */
static long open_goroutine(struct g *g, int dir, const char *path, int flags, mode_t mode) {
	shim_testcancel(g);
	long r = BRACKET_AS(open_enter, g, CANCEL_MAKES, true, SYS_MAKES4(g, SYS_openat, dir, path, flags, mode));
	r = taskfile_opened(path, flags, r);
	if (r >= 0)
		fd_made((int)r, KIND_UNKNOWN, 0, NULL);
	return io_ret(g, r);
}

static int open_foreign(int fd) {
	if (fd >= 0)
		fd_made(fd, KIND_UNKNOWN, 0, NULL);
	return fd;
}

#define MODE_ARGUMENT(last, flags, mode)                           \
	mode_t mode = 0;                                           \
	if ((flags)&O_CREAT || ((flags)&O_TMPFILE) == O_TMPFILE) { \
		va_list ap;                                        \
		va_start(ap, last);                                \
		mode = va_arg(ap, mode_t);                         \
		va_end(ap);                                        \
	}

SHIM int open64(const char *path, int flags, ...) {
	MODE_ARGUMENT(flags, flags, mode)
	struct g *g = io_g();
	return g ? (int)open_goroutine(g, AT_FDCWD, path, flags, mode)
		 : open_foreign(CALL_REAL(open64, path, flags, mode));
}

SHIM_ALIAS(open64, open);
SHIM_ALIAS(open64, __open64);
SHIM_ALIAS(open64, __open);

SHIM int openat64(int dir, const char *path, int flags, ...) {
	MODE_ARGUMENT(flags, flags, mode)
	struct g *g = io_g();
	return g ? (int)open_goroutine(g, dir, path, flags, mode)
		 : open_foreign(CALL_REAL(openat64, dir, path, flags, mode));
}

SHIM_ALIAS(openat64, openat);

SHIM int creat64(const char *path, mode_t mode) {
	return io_g() ? open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode) : open_foreign(CALL_REAL(creat64, path, mode));
}

SHIM_ALIAS(creat64, creat);
