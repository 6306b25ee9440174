/* read, write, readv, writev: on sockets by way of socket.c's loops; on pipes, eventfds and the like with RWF_NOWAIT, which makes one call
 * non-blocking without touching the description's flags; where a driver refuses that, by asking poll() first; on files plainly, bracketed.
 *
 * A pipe never splits a record of PIPE_BUF bytes or less (FD-8): RWF_NOWAIT behaves as O_NONBLOCK does, and with that the kernel
 * moves all of a record that fits or nothing. Before Linux 6.4 a pipe refuses it: one that is ready takes PIPE_BUF bytes without waiting, unless another
 * writer is faster, so it gets parts of that size. What may block after all is a cancellation point, as NPTL's call would have been. */
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "io.h"
#include "taskfile.h"

#define NO_BUFFER (1ul << 47) /* no place has so many bytes behind it, or the kernel is asked whether it has */
#define RWF_NOWAIT_FLAG 8     /* RWF_NOWAIT; offset -1 with it means the file position */

static long nowait_readv(int fd, const struct iovec *iov, int count) {
	return SYS6(SYS_preadv2, fd, iov, count, -1, -1, RWF_NOWAIT_FLAG);
}

static long nowait_writev(int fd, const struct iovec *iov, int count) {
	return SYS6(SYS_pwritev2, fd, iov, count, -1, -1, RWF_NOWAIT_FLAG);
}

/* Who was woken alone for `mode` does not come to take what is there: the next one tries. */
static void turn_undo(struct fdcall *c) {
	pd_more(c->pd, *(uint8_t *)c->undo_arg);
}

/* A try that nobody can promise not to block, with the turn passed on when a handler or a cancellation comes first. */
#define HELD_TRY(c, mode, call)                                         \
	(__extension__({                                                \
		uint8_t held_mode = (mode);                             \
		(c)->undo_arg = &held_mode;                             \
		(c)->undo = turn_undo;                                  \
		long held_result = FDCALL_BRACKET_HELD_CANCEL(c, call); \
		(c)->undo = NULL;                                       \
		held_result;                                            \
	}))

/* A terminal's read does more than wait for bytes: it stops background processes, and VMIN and VTIME say when it ends. Readiness
 * stands for it only in the plain cases; the others are the kernel's. */
static bool terminal_must_block(struct fdcall *c, const struct termios *t) {
	if (!(t->c_lflag & ICANON) && (t->c_cc[VMIN] != 1 || t->c_cc[VTIME] != 0))
		return true;
	int group;
	return FD_TRY(c, SYS3(SYS_ioctl, c->fd, TIOCGPGRP, &group)) == 0 && group != SYS1(SYS_getpgid, 0);
}

/* It is not ready. The kernel never asks a device's poll() before it reads or writes it, and that may say nothing about either: so of one that is no terminal, and none of those that are
 * known, the kernel has to find out. */
static bool device_must_block(struct fdcall *c, uint8_t mode) {
	enum { MISC = 10, INPUT = 13, TUN = 200, FUSE = 229 };
	struct termios t; /* the kernel's own is shorter and begins alike */
	struct stat st;
	if (pd_kind(c->pd) != KIND_CHAR)
		return false;
	if (FD_TRY(c, SYS3(SYS_ioctl, c->fd, TCGETS, &t)) == 0)
		return mode == PD_READ && terminal_must_block(c, &t);
	if (FD_TRY(c, SYS2(SYS_fstat, c->fd, &st)) < 0)
		return false;
	return !(major(st.st_rdev) == INPUT || (major(st.st_rdev) == MISC && (minor(st.st_rdev) == TUN || minor(st.st_rdev) == FUSE)));
}

/* One try that does not block, as far as that can be had. -EAGAIN: wait; FDCALL_BLOCK: as the kernel waits. `known_good` as below: what is not, the kernel
 * looks at before it refuses not to wait, and a vector of no bytes is all that it looks at. */
static long try_readv(struct fdcall *c, const struct iovec *iov, int count, bool known_good) {
	struct pd *pd = c->pd;
	long r;
	if (likely(!(pd_spare(pd) & SPARE_NO_NOWAIT_READ)) || !known_good) {
		r = FD_TRY(c, nowait_readv(c->fd, iov, count));
		if (likely(r != -EOPNOTSUPP && r != -ENOSYS))
			return r;
		pd_spare_set(pd, SPARE_NO_NOWAIT_READ);
	}
	/* Who does not wait is told by the kernel what there is, or why not: a terminal has more than one answer. */
	if (!(fdcall_flags(c) & FL_NONBLOCK) && !fdcall_poll_now(c, POLLIN | POLLPRI))
		return device_must_block(c, PD_READ) ? FDCALL_BLOCK : -EAGAIN;
	/* Ready, unless another thread is faster: then this blocks the kernel thread, as it would have under NPTL. */
	return HELD_TRY(c, PD_READ, SYS3(SYS_readv, c->fd, iov, count));
}

struct readv_try {
	int fd;
	const struct iovec *iov;
	int count;
};

/* Of a signalfd, while signals are lent. One that refuses RWF_NOWAIT (Linux 6.9) has what it was ready with, unless that was the process's, and another
 * reader was faster. */
static long lent_readv(void *arg) {
	struct readv_try *t = arg;
	long r = nowait_readv(t->fd, t->iov, t->count);
	if (r != -EOPNOTSUPP && r != -ENOSYS)
		return r;
	return fd_poll_now(t->fd, POLLIN) ? SYS3(SYS_readv, t->fd, t->iov, t->count) : -EAGAIN;
}

/* It has no pd: there was no memory for one, or it is not open. If it is a signalfd, it must not be waited for in the kernel. */
static bool unheld_must_nap(struct g *g, int fd) {
	return unlikely(io_must_nap(g, false)) && sig_fd_is(fd);
}

static long unheld_readv(struct g *g, int fd, const struct iovec *iov, int count) {
	struct readv_try t = {fd, iov, count};
	for (;;) {
		long r = sig_fd_due(g) ? io_ask_lent(g, lent_readv, &t) : lent_readv(&t);
		if (r != -EAGAIN || (SYS3(SYS_fcntl, fd, F_GETFL, 0) & O_NONBLOCK))
			return r;
		if (netpoll_nap(NULL, 0, -1) == -EINTR && io_interrupted(g, true))
			return -EINTR;
	}
}

/* There is nothing, and the kernel would not have waited for more: it refuses a buffer that is too small first. Where it is asked for readiness only,
 * nobody has told. */
static bool too_short(struct fdcall *c, size_t n) {
	if (likely(!(pd_spare(c->pd) & SPARE_NO_NOWAIT_READ)) || pd_kind(c->pd) != KIND_ANON)
		return false;
	return n < sizeof(uint64_t) || (n < sizeof(struct signalfd_siginfo) && FD_TRY(c, sig_fd_is(c->fd)));
}

/* A terminal whose other end is closed has an error for who waits, and the end for who comes later. */
static bool master_gone(struct fdcall *c) {
	struct stat st;
	return pd_kind(c->pd) == KIND_CHAR && FD_TRY(c, SYS2(SYS_fstat, c->fd, &st)) == 0 && st.st_nlink == 0;
}

/* The kernel stops at a page that it cannot write to, after what it could; a few bytes earlier, perhaps, as it copies. So a count that ends there proves nothing, nor one that ends with a
 * part of the vector. `done` is less than the vector has. */
#define COPY_STEP 64u
#define PAGE_BYTES 4096u /* the smallest there are */
static bool cut_by_page(const struct iovec *iov, size_t done) {
	for (; done >= iov->iov_len; iov++)
		done -= iov->iov_len;
	return done == 0 || (((uintptr_t)iov->iov_base + done + COPY_STEP - 1) & (PAGE_BYTES - 1)) < COPY_STEP;
}

/* `known_good`: the kernel would find nothing wrong with the arguments, so parking before asking it is the same. */
static long loop_readv(struct fdcall *c, const struct iovec *iov, int count, bool known_good) {
	bool ours = known_good; /* the vector */
	bool waited = false;
	for (;; known_good = true) {
		struct pd *pd = c->pd;
		long r = -EAGAIN;
		if (!known_good || !pd_drained(pd)) {
			pd_try(pd, PD_READ);
			r = try_readv(c, iov, count, known_good);
		}
		if (r == -EAGAIN && unlikely(sig_fd_due(c->g)))
			r = FD_TRY(c, sig_fd_ask(c->g, lent_readv, &((struct readv_try){c->fd, iov, count})));
		if (r != -EAGAIN && r != FDCALL_BLOCK) {
			/* Short: the pipe or the connection is empty. At its end, which the event that told of the bytes may have told, after an error, or for
			 * all other kinds: nothing is known. */
			bool drained = r > 0 && (size_t)r < iov_bytes(iov, count) && pd_short_empties(pd) && !cut_by_page(iov, (size_t)r) &&
				       !(atomic_load_explicit(&pd->ready, memory_order_relaxed) & PD_HUP);
			if (!drained)
				pd_more(pd, PD_READ);
			if (r > 0)
				fd_hint(c->number, PD_WRITE);
			return unlikely(r == 0) && waited && master_gone(c) ? -EIO : r;
		}
		if (r == -EAGAIN)
			r = ours && too_short(c, iov->iov_len) ? FDCALL_BLOCK : fdcall_wait(c, PD_READ, false);
		if (r == FDCALL_BLOCK)
			return FDCALL_BLOCKING(c, SYS3(SYS_readv, c->fd, iov, count));
		if (r < 0)
			return r;
		waited = true;
	}
}

static long try_writev(struct fdcall *c, const struct iovec *iov, int count, bool known_good) {
	struct pd *pd = c->pd;
	if (likely(!(pd_spare(pd) & SPARE_NO_NOWAIT_WRITE)) || !known_good) {
		long r = FD_TRY(c, nowait_writev(c->fd, iov, count));
		if (likely(r != -EOPNOTSUPP && r != -ENOSYS))
			return r;
		pd_spare_set(pd, SPARE_NO_NOWAIT_WRITE);
	}
	if (!(fdcall_flags(c) & FL_NONBLOCK) && !fdcall_poll_now(c, POLLOUT))
		return device_must_block(c, PD_WRITE) ? FDCALL_BLOCK : -EAGAIN;
	return HELD_TRY(c, PD_WRITE, SYS3(SYS_writev, c->fd, iov, count));
}

/* Cuts the vector to `bytes`, which it has. Returns how many parts are left. */
static int iov_cut(struct iovec *iov, size_t bytes) {
	int n = 0;
	for (; bytes > iov[n].iov_len; n++)
		bytes -= iov[n].iov_len;
	iov[n].iov_len = bytes;
	return n + 1;
}

/* Pipes and character devices: all of it, unless an error or a handler comes in between. `ours`: the vector is not the program's, we may read it
 * before the kernel did. */
static long loop_writev(struct fdcall *c, const struct iovec *iov, int count, bool ours) {
	struct iovec window[IOV_WINDOW];
	size_t done = 0;
	for (;;) {
		struct pd *pd = c->pd;
		const struct iovec *rest = done ? window : iov;
		int rest_count = done ? iov_window(window, iov, (size_t)count, done) : count;
		size_t bytes = done || ours ? iov_bytes(rest, (size_t)rest_count) : 0;
		bool device = pd_kind(pd) == KIND_CHAR; /* may know records of any size, and keeps other writers out of them */
		if (bytes > PIPE_BUF && !device) { /* smaller records are never split */
			window[0] = rest[0];
			/* A part would be a packet. */
			size_t part = atomic_load_explicit(&fd_packets, memory_order_relaxed) ? bytes : chaos_part(bytes);
			rest_count = iov_cut(window, (pd_spare(pd) & SPARE_NO_NOWAIT_WRITE) ? PIPE_BUF : part);
			rest = window;
		}
		uint32_t handlers = sig_handlers_run(c->g);
		long r = try_writev(c, rest, rest_count, done || ours);
		if (r > 0) {
			done += (size_t)r;
			fd_hint(c->number, PD_READ);
		}
		if (unlikely(r == FDCALL_BLOCK)) { /* a device, whose vector is not cut */
			r = FDCALL_BLOCKING(c, SYS3(SYS_writev, c->fd, rest, rest_count));
			return r > 0 ? (long)done + r : done ? (long)done : r;
		}
		if (r != -EAGAIN && (r <= 0 || done >= iov_bytes(iov, (size_t)count) || unlikely(sig_handlers_run(c->g) != handlers))) {
			pd_more(c->pd, PD_WRITE);
			return done ? (long)done : r;
		}
		if (r > 0 && r == (long)iov_bytes(rest, (size_t)rest_count))
			continue; /* the window was smaller than what is left */
		if (atomic_load_explicit(&pd->ready, memory_order_relaxed) & PD_WRITE) {
			/* What was known is from before this try: forget it and try once more, so that no edge falls in between. */
			pd_clear(pd, PD_WRITE);
			continue;
		}
		r = fdcall_wait(c, PD_WRITE, done != 0);
		if (r == FDCALL_BLOCK)
			return FDCALL_BLOCKING(c, SYS3(SYS_writev, c->fd, iov, count));
		if (r < 0)
			return done ? (long)done : r;
	}
}

/* A kind that does not fit: the number was reused where no shim saw it. Forget the pd; the caller looks again, once. */
static bool kind_was_wrong(struct fdcall *c, enum fd_kind kind, long r) {
	bool wrong = fd_is_socket(kind) ? r == -ENOTSOCK : r == -ESPIPE;
	if (unlikely(wrong))
		fd_stale(c->number, c->pd);
	return wrong;
}

static long fd_read(struct fdcall *c, void *buf, size_t n) {
	enum fd_kind kind = fdcall_kind(c);
	if (fd_is_socket(kind))
		return sock_recv(c, buf, n, 0, NULL, NULL);
	if (kind == KIND_FILE)
		return FDCALL_BRACKET_DISK(c, SYS3(SYS_read, c->fd, buf, n));
	if (kind == KIND_UNKNOWN)
		return FDCALL_BRACKET_CANCEL(c, SYS3(SYS_read, c->fd, buf, n));
	if (kind == KIND_TASK)
		return taskfile_read(c->fd, buf, n);
	struct iovec iov = {.iov_base = buf, .iov_len = n > RW_MAX ? RW_MAX : n};
	return loop_readv(c, &iov, 1, true);
}

long io_read(struct g *g, int fd, void *buf, size_t n) {
	struct fdcall c;
	struct pd *pd = fd_lookup(fd);
	/* Not held: whatever it is, the plain call is right for it, only dearer. Zero bytes: each kind has its own answer. Too many: recvfrom() would take
	 * what is there. */
	if (unlikely(n - 1 >= NO_BUFFER - 1) || (pd && pd_kind(pd) == KIND_FILE))
		return BRACKET_DISK_CANCEL(g, SYS3(SYS_read, fd, buf, n));
	for (int attempt = 0;; attempt++) {
		if (!fdcall_begin(&c, g, fd))
			return unheld_must_nap(g, c.fd) ? unheld_readv(g, c.fd, &(struct iovec){buf, n}, 1)
							: BRACKET_CANCEL(g, c.fd, SYS3(SYS_read, c.fd, buf, n));
		enum fd_kind kind = pd_kind(c.pd);
		long r = fd_read(&c, buf, n);
		bool again = attempt == 0 && r < 0 && c.pd && kind_was_wrong(&c, kind, r);
		fdcall_end(&c);
		if (likely(!again))
			return r;
	}
}

static long fd_write(struct fdcall *c, const void *buf, size_t n) {
	enum fd_kind kind = fdcall_kind(c);
	if (fd_is_socket(kind))
		return sock_send(c, buf, n, 0, NULL, 0);
	/* Of the anonymous kinds only an eventfd that is near 2^64 makes writers wait. */
	if (kind == KIND_ANON)
		return FDCALL_BRACKET_HELD_CANCEL(c, SYS3(SYS_write, c->fd, buf, n));
	if (kind == KIND_UNKNOWN)
		return FDCALL_BRACKET_CANCEL(c, SYS3(SYS_write, c->fd, buf, n));
	if (kind == KIND_FILE)
		return FDCALL_BRACKET_DISK(c, SYS3(SYS_write, c->fd, buf, n));
	if (kind == KIND_TASK)
		return taskfile_write(c->fd, buf, n);
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = n > RW_MAX ? RW_MAX : n};
	return loop_writev(c, &iov, 1, true);
}

long io_write(struct g *g, int fd, const void *buf, size_t n) {
	struct fdcall c;
	struct pd *pd = fd_lookup(fd);
	if (unlikely(n - 1 >= NO_BUFFER - 1) || (pd && pd_kind(pd) == KIND_FILE))
		return BRACKET_DISK_CANCEL(g, SYS3(SYS_write, fd, buf, n));
	for (int attempt = 0;; attempt++) {
		if (!fdcall_begin(&c, g, fd))
			return BRACKET_CANCEL(g, c.fd, SYS3(SYS_write, c.fd, buf, n));
		enum fd_kind kind = pd_kind(c.pd);
		long r = fd_write(&c, buf, n);
		bool again = attempt == 0 && r < 0 && c.pd && kind_was_wrong(&c, kind, r);
		fdcall_end(&c);
		if (likely(!again))
			return r;
	}
}

long io_readv(struct g *g, int fd, const struct iovec *iov, int count) {
	struct fdcall c;
	if (count <= 0 || count > IOV_MAX) /* refused before it waits, where a try is only a look at readiness, too */
		return BRACKET(g, SYS3(SYS_readv, fd, iov, count));
	if (!fdcall_begin(&c, g, fd))
		return unheld_must_nap(g, c.fd) ? unheld_readv(g, c.fd, iov, count) : BRACKET_CANCEL(g, c.fd, SYS3(SYS_readv, c.fd, iov, count));
	enum fd_kind kind = fdcall_kind(&c);
	long r;
	if (kind == KIND_FILE || kind == KIND_TASK)
		r = FDCALL_BRACKET_DISK(&c, SYS3(SYS_readv, c.fd, iov, count));
	else if (kind == KIND_UNKNOWN)
		r = FDCALL_BRACKET_CANCEL(&c, SYS3(SYS_readv, c.fd, iov, count));
	else if (pd_spare(c.pd) & SPARE_BLOCKS)
		r = FDCALL_BLOCKING(&c, SYS3(SYS_readv, c.fd, iov, count));
	else
		r = loop_readv(&c, iov, count, false);
	fdcall_end(&c);
	return r;
}

/* There is nothing to write. sendmsg() would send a message without bytes, or find the connection closed; to writev() the vector is all it looks at. */
static bool vector_empty(const struct iovec *iov, int count) {
	while (count > 0 && !address_bad(iov) && iov->iov_len == 0)
		iov++, count--;
	return count == 0;
}

long io_writev(struct g *g, int fd, const struct iovec *iov, int count) {
	struct fdcall c;
	if (count <= 0 || count > IOV_MAX)
		return BRACKET(g, SYS3(SYS_writev, fd, iov, count));
	if (!fdcall_begin(&c, g, fd))
		return BRACKET_CANCEL(g, c.fd, SYS3(SYS_writev, c.fd, iov, count));
	enum fd_kind kind = fdcall_kind(&c);
	long r;
	if (fd_is_socket(kind) && unlikely(vector_empty(iov, count))) {
		r = FD_TRY(&c, SYS3(SYS_writev, c.fd, iov, count));
	} else if (fd_is_socket(kind)) {
		struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
		r = sock_sendmsg(&c, &msg, 0);
	} else if (kind == KIND_ANON) {
		r = FDCALL_BRACKET_HELD_CANCEL(&c, SYS3(SYS_writev, c.fd, iov, count));
	} else if (kind == KIND_UNKNOWN) {
		r = FDCALL_BRACKET_CANCEL(&c, SYS3(SYS_writev, c.fd, iov, count));
	} else if (kind == KIND_TASK) {
		r = taskfile_writev(c.fd, iov, count);
	} else if (kind == KIND_FILE) {
		r = FDCALL_BRACKET_DISK(&c, SYS3(SYS_writev, c.fd, iov, count));
	} else {
		r = loop_writev(&c, iov, count, false);
	}
	fdcall_end(&c);
	return r;
}

/* ---- the calls ------------------------------------------------------------------------------------------------------ */

SHIM ssize_t read(int fd, void *buf, size_t n) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(read, fd, buf, n);
	shim_testcancel(g);
	return io_ret(g, io_read(g, fd, buf, n));
}

SHIM ssize_t write(int fd, const void *buf, size_t n) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(write, fd, buf, n);
	shim_testcancel(g);
	return io_ret(g, io_write(g, fd, buf, n));
}

SHIM ssize_t readv(int fd, const struct iovec *iov, int count) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(readv, fd, iov, count);
	shim_testcancel(g);
	return io_ret(g, io_readv(g, fd, iov, count));
}

SHIM ssize_t writev(int fd, const struct iovec *iov, int count) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(writev, fd, iov, count);
	shim_testcancel(g);
	return io_ret(g, io_writev(g, fd, iov, count));
}

SHIM_ALIAS(read, __read);
SHIM_ALIAS(write, __write);

/* Offset -1: at the file position, as readv. Anything else is a file's; on a pipe or socket the kernel says ESPIPE. */
SHIM ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(preadv64v2, fd, iov, count, offset, flags);
	shim_testcancel(g);
	if (offset == -1 && flags == 0)
		return io_ret(g, io_readv(g, fd, iov, count));
	return io_ret(g, BRACKET_CANCEL(g, fd, SYS6(SYS_preadv2, fd, iov, count, offset, 0, flags)));
}

SHIM ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(pwritev64v2, fd, iov, count, offset, flags);
	shim_testcancel(g);
	if (offset == -1 && flags == 0)
		return io_ret(g, io_writev(g, fd, iov, count));
	return io_ret(g, BRACKET_CANCEL(g, fd, SYS6(SYS_pwritev2, fd, iov, count, offset, 0, flags)));
}

SHIM_ALIAS(preadv64v2, preadv2);
SHIM_ALIAS(pwritev64v2, pwritev2);

/* libc's own read inside these is out of our reach. */
SHIM int eventfd_read(int fd, eventfd_t *value) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(eventfd_read, fd, value);
	return read(fd, value, sizeof *value) == sizeof *value ? 0 : -1;
}

SHIM int eventfd_write(int fd, eventfd_t value) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(eventfd_write, fd, value);
	return write(fd, &value, sizeof value) == sizeof value ? 0 : -1;
}
