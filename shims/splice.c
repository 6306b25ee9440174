/* sendfile, splice, tee, vmsplice: the kernel moves the bytes, and may block on either end. The ends that have readiness are waited for first,
 * as goroutines wait; then the call is made, bracketed, in a form or a size that finds no reason to wait. */
#include <sys/sendfile.h>

#include "io.h"

/* A socket or pipe that is writable at all takes so much without waiting for long. */
#define SENDFILE_STEP (64ul << 10)

static bool has_readiness(enum fd_kind kind) {
	return kind != KIND_FILE && kind != KIND_UNKNOWN;
}

/* Waits until c is ready. 0; or what fdcall_wait() says. */
static int end_ready(struct fdcall *c, uint8_t mode, bool progress) {
	while (has_readiness(pd_kind(c->pd))) {
		pd_try(c->pd, mode);
		if (fdcall_poll_now(c, mode == PD_READ ? POLLIN : POLLOUT)) {
			pd_set(c->pd, mode); /* asked, not taken */
			return 0;
		}
		int r = fdcall_wait(c, mode, progress);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- sendfile --------------------------------------------------------------------------------------------------------- */

static long sendfile_steps(struct fdcall *c, int in, off64_t *at, size_t n) {
	size_t done = 0;
	/* Into a pipe the kernel moves what fits and returns; into a socket all of it. */
	size_t largest = pd_kind(c->pd) == KIND_PIPE ? n : SENDFILE_STEP;
	do {
		size_t step = n - done < largest ? n - done : largest;
		int ready = end_ready(c, PD_WRITE, done != 0);
		if (ready == FDCALL_BLOCK)
			step = n - done;
		else if (ready < 0 && !(ready == -EAGAIN && done == 0))
			return done ? (long)done : ready;
		/* Not ready and the descriptor is the program's to make non-blocking: the kernel's answer, whatever it is. */
		long r = FDCALL_BRACKET_HELD(c, SYS4(SYS_sendfile, c->fd, in, at, step));
		if (r > 0)
			done += (size_t)r;
		if (r <= 0)
			return done ? (long)done : r;
		if ((size_t)r < step)
			return (long)done; /* the file ends, or a handler ran */
	} while (done < n);
	return (long)done;
}

SHIM ssize_t sendfile64(int out, int in, off64_t *at, size_t n) {
	struct g *g = io_g();
	struct fdcall c;
	if (!g)
		return CALL_REAL(sendfile64, out, in, at, n);
	if (n == 0 || !fdcall_begin(&c, g, out))
		return sys_ret(BRACKET(g, SYS4(SYS_sendfile, out, in, at, n)));
	long r;
	if (n > RW_MAX)
		n = RW_MAX;
	if (has_readiness(fdcall_kind(&c)) && !(fdcall_flags(&c) & FL_NONBLOCK)) {
		bool held = shim_cancel_hold(g); /* it is no cancellation point */
		r = sendfile_steps(&c, in, at, n);
		shim_cancel_release(g, held);
	} else {
		r = FDCALL_BRACKET(&c, SYS4(SYS_sendfile, c.fd, in, at, n));
	}
	fdcall_end(&c);
	return sys_ret(r);
}

SHIM_ALIAS(sendfile64, sendfile);

/* ---- splice, tee ------------------------------------------------------------------------------------------------------- */

struct splice_args {
	bool is_tee;
	off64_t *in_at, *out_at;
	size_t n;
	unsigned flags;
};

static long splice_raw(const struct splice_args *a, int in, int out, unsigned flags) {
	return a->is_tee ? SYS4(SYS_tee, in, out, a->n, flags)
			 : SYS6(SYS_splice, in, a->in_at, out, a->out_at, a->n, flags);
}

static enum fd_kind splice_kind(struct g *g, int fd) {
	struct fdcall c;
	if (!fdcall_begin(&c, g, fd))
		return KIND_UNKNOWN;
	enum fd_kind kind = fdcall_kind(&c);
	fdcall_end(&c);
	return kind;
}

/* A pair without a pipe, or a closed number, is the kernel's to refuse, at once. */
static bool splice_fits(struct g *g, int in, int out, bool is_tee) {
	enum fd_kind a = splice_kind(g, in), b = splice_kind(g, out);
	return a != KIND_UNKNOWN && b != KIND_UNKNOWN &&
	       (is_tee ? a == KIND_PIPE && b == KIND_PIPE : a == KIND_PIPE || b == KIND_PIPE);
}

/* Waits for one end. Then c->fd is what to use, and only a ghost is held: nothing has been moved yet, so who closes a number while the other end is
 * waited for has closed it before the call. */
static int splice_end_ready(struct fdcall *c, struct g *g, int fd, uint8_t mode) {
	if (!fdcall_begin(c, g, fd))
		return FDCALL_BLOCK;
	int r = end_ready(c, mode, false);
	fdcall_release(c);
	return r;
}

static long splice_ends(struct fdcall *in, struct fdcall *out, const struct splice_args *a) {
	int r = splice_end_ready(in, in->g, in->number, PD_READ);
	if (r == -EINTR || r == -EBADF)
		return r;
	int s = splice_end_ready(out, out->g, out->number, PD_WRITE);
	if (s == -EINTR || s == -EBADF)
		return s;
	if (r == 0 && s == 0) {
		long moved = BRACKET(in->g, splice_raw(a, in->fd, out->fd, a->flags | SPLICE_F_NONBLOCK));
		if (moved != -EAGAIN)
			return moved;
	}
	/* One end is the program's own non-blocking one, or cannot be waited for, or somebody was faster: as the kernel does it. */
	return BRACKET_BLOCKING(in->g, splice_raw(a, in->fd, out->fd, a->flags));
}

static ssize_t splice_goroutine(struct g *g, int in, int out, const struct splice_args *a) {
	shim_testcancel(g);
	if ((a->flags & SPLICE_F_NONBLOCK) || a->n == 0 || !splice_fits(g, in, out, a->is_tee))
		return io_ret(g, BRACKET(g, splice_raw(a, in, out, a->flags)));
	struct fdcall from = {.g = g, .number = in}, to = {.g = g, .number = out};
	long r = splice_ends(&from, &to, a);
	fdcall_end(&to);
	fdcall_end(&from);
	return io_ret(g, r);
}

SHIM ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(splice, in, in_at, out, out_at, n, flags);
	struct splice_args a = {.in_at = in_at, .out_at = out_at, .n = n, .flags = flags};
	return splice_goroutine(g, in, out, &a);
}

SHIM ssize_t tee(int in, int out, size_t n, unsigned flags) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(tee, in, out, n, flags);
	struct splice_args a = {.is_tee = true, .n = n, .flags = flags};
	return splice_goroutine(g, in, out, &a);
}

SHIM ssize_t vmsplice(int fd, const struct iovec *iov, size_t count, unsigned flags) {
	struct g *g = io_g();
	struct fdcall c;
	if (!g)
		return CALL_REAL(vmsplice, fd, iov, count, flags);
	shim_testcancel(g);
	if ((flags & SPLICE_F_NONBLOCK) || !fdcall_begin(&c, g, fd))
		return io_ret(g, BRACKET(g, SYS4(SYS_vmsplice, fd, iov, count, flags)));
	long r = 0;
	long access = fdcall_kind(&c) == KIND_PIPE ? FD_TRY(&c, SYS2(SYS_fcntl, c.fd, F_GETFL)) : -1;
	if (access >= 0 && !(access & O_NONBLOCK))
		r = end_ready(&c, (access & O_ACCMODE) == O_RDONLY ? PD_READ : PD_WRITE, false);
	if (r == FDCALL_BLOCK)
		r = FDCALL_BLOCKING(&c, SYS4(SYS_vmsplice, c.fd, iov, count, flags));
	else if (r != -EINTR && r != -EBADF)
		r = FDCALL_BRACKET(&c, SYS4(SYS_vmsplice, c.fd, iov, count, flags));
	fdcall_end(&c);
	return io_ret(g, r);
}
