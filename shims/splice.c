/* sendfile, splice, tee, vmsplice: the kernel moves the bytes, and may block on either end. The ends that have readiness are waited for first,
 * as goroutines wait; then the call is made, bracketed, in a form or a size that finds no reason to wait.
 *
 * Ready for writing is a stream socket for poll() when a third (TCP) or three quarters (Unix) of its buffer are free; the calls take bytes as long as there is
 * any room. sendfile() has no flag that asks for no waiting, so what room there is comes from the socket's own accounts (SO_MEMINFO), and the step is
 * as large as surely fits. */
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>

#include "io.h"

/* A socket or pipe that is writable at all takes so much without waiting for long. */
#define SENDFILE_STEP (64ul << 10)

/* Of a TCP socket: so much is left for what its segments take beside the bytes. */
#define ROOM_LEFT (4ul << 10)

#ifndef SO_MEMINFO
#define SO_MEMINFO 55 /* Linux 4.12 */
#endif

/* What an anonymous inode says to poll() is about a read of its own, which these calls are not: it refuses them, mostly, and waits for nothing. */
static bool has_readiness(enum fd_kind kind) {
	return kind != KIND_FILE && kind != KIND_TASK && kind != KIND_UNKNOWN && kind != KIND_ANON;
}

static int socket_int(struct fdcall *c, int level, int option) {
	int value = 0;
	unsigned size = sizeof value;
	return FD_TRY(c, SYS5(SYS_getsockopt, c->fd, level, option, &value, &size)) < 0 ? 0 : value;
}

/* Bytes that a stream socket takes without waiting, whatever poll() says; for a Unix one, as much of them as the kernel puts into one message, for which
 * it looks for room once. 0: none, or nobody knows. */
static size_t socket_room(struct fdcall *c) {
	uint32_t info[SK_MEMINFO_VARS] = {0};
	unsigned size = sizeof info;
	enum fd_kind kind = pd_kind(c->pd);
	if ((kind != KIND_TCP && kind != KIND_STREAM) ||
	    FD_TRY(c, SYS5(SYS_getsockopt, c->fd, SOL_SOCKET, SO_MEMINFO, info, &size)) < 0)
		return 0;
	uint32_t all = info[SK_MEMINFO_SNDBUF], queued = info[SK_MEMINFO_WMEM_QUEUED];
	if (kind == KIND_STREAM) {
		if (info[SK_MEMINFO_WMEM_ALLOC] >= all || socket_int(c, SOL_SOCKET, SO_DOMAIN) != AF_UNIX)
			return 0;
		return all / 2 - 64 < SENDFILE_STEP ? all / 2 - 64 : SENDFILE_STEP;
	}
	/* TCP_NOTSENT_LOWAT: there is room and nothing is taken. */
	if (queued >= all || all - queued < 2 * ROOM_LEFT || socket_int(c, IPPROTO_TCP, TCP_NOTSENT_LOWAT) != 0)
		return 0;
	size_t room = (all - queued) / 2 & ~(ROOM_LEFT - 1);
	return room < SENDFILE_STEP ? room : SENDFILE_STEP;
}

static bool end_is_ready(struct fdcall *c, uint8_t mode) {
	if (!has_readiness(pd_kind(c->pd)))
		return true;
	pd_try(c->pd, mode);
	if (!fdcall_poll_now(c, mode == PD_READ ? POLLIN : POLLOUT))
		return mode == PD_WRITE && socket_room(c) != 0;
	pd_more(c->pd, mode); /* asked, not taken */
	return true;
}

/* Waits until c is ready. 0; or what fdcall_wait() says. What is wrong with a call the kernel says before it waits: so the caller asks it first (below). */
static int end_wait(struct fdcall *c, uint8_t mode, bool progress) {
	while (!end_is_ready(c, mode)) {
		int r = fdcall_wait(c, mode, progress);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- sendfile --------------------------------------------------------------------------------------------------------- */

/* Before the first wait: would the kernel refuse the call, which it does whatever is ready? Nothing moves. Into a pipe even no bytes would wait for room. */
static bool sendfile_refused(struct fdcall *c, int in, off64_t *at) {
	if (pd_kind(c->pd) != KIND_PIPE)
		return FD_TRY(c, SYS4(SYS_sendfile, c->fd, in, at, 0)) < 0;
	long from = FD_TRY(c, SYS2(SYS_fcntl, in, F_GETFL)), to = FD_TRY(c, SYS2(SYS_fcntl, c->fd, F_GETFL));
	return from < 0 || to < 0 || (from & O_PATH) || (from & O_ACCMODE) == O_WRONLY || (to & O_ACCMODE) == O_RDONLY ||
	       (at && FD_TRY(c, SYS3(SYS_lseek, in, 0, SEEK_CUR)) < 0);
}

/* How much of n the kernel surely takes, or takes without waiting for long; 0: wait. Into a pipe it moves what fits and returns; into a socket all of it. */
static size_t sendfile_step(struct fdcall *c, int in, const off64_t *at, size_t n) {
	bool pipe = pd_kind(c->pd) == KIND_PIPE;
	pd_try(c->pd, PD_WRITE);
	bool ready = fdcall_poll_now(c, POLLOUT) != 0;
	if (ready)
		pd_more(c->pd, PD_WRITE); /* asked, not taken */
	size_t step = pipe ? n : SENDFILE_STEP;
	/* With a limit to its waiting the kernel must not begin to wait. */
	size_t room = !pipe && (!ready || io_deadline_ns) ? socket_room(c) : 0;
	if (room == SENDFILE_STEP && !ready) {
		/* The kernel's own steps are of sixteen pages of the file. */
		bool given = at && !address_refused(at, sizeof *at, true);
		long offset = given ? (long)*at : FD_TRY(c, SYS3(SYS_lseek, in, 0, SEEK_CUR));
		room -= offset > 0 ? (size_t)offset % 4096 : 0;
	}
	if (room || !ready)
		step = room;
	return step < n ? step : n;
}

/* 0: look again. FDCALL_BLOCK: the kernel's answer, whatever it is. Else what the call returns. */
static int sendfile_wait(struct fdcall *c, int in, off64_t *at, bool progress) {
	if (!progress && sendfile_refused(c, in, at))
		return FDCALL_BLOCK;
	int r = fdcall_wait(c, PD_WRITE, progress);
	/* No deadline is over: the descriptor is the program's to make non-blocking. */
	return r == -EAGAIN && c->deadline == 0 && !progress ? FDCALL_BLOCK : r;
}

static long sendfile_steps(struct fdcall *c, int in, off64_t *at, size_t n) {
	size_t done = 0;
	do {
		size_t step = sendfile_step(c, in, at, n - done);
		if (step == 0) {
			int ready = sendfile_wait(c, in, at, done != 0);
			if (ready == 0)
				continue;
			if (ready != FDCALL_BLOCK)
				return done ? (long)done : ready;
			step = n - done;
		}
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
	enum fd_kind in_kind, out_kind;
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

#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

/* A pair without a pipe, a closed number, an offset into what has none, a flag that there is not: the kernel's to refuse, at once. */
static bool splice_fits(const struct splice_args *a) {
	if (a->in_kind == KIND_UNKNOWN || a->out_kind == KIND_UNKNOWN || (a->flags & ~SPLICE_FLAGS))
		return false;
	if ((a->in_at && a->in_kind != KIND_FILE) || (a->out_at && a->out_kind != KIND_FILE))
		return false;
	return a->is_tee ? a->in_kind == KIND_PIPE && a->out_kind == KIND_PIPE
			 : a->in_kind == KIND_PIPE || a->out_kind == KIND_PIPE;
}

/* May the kernel be asked, without waiting, what it thinks of the call? A pipe that is not ready is what it looks at before it would wait at the other
 * end; and before that, at all that is wrong with the call (a pipe's other end, twice the same pipe). */
static bool splice_can_ask(const struct splice_args *a, int in, int out) {
	return (a->in_kind == KIND_PIPE && !fd_poll_now(in, POLLIN)) || (a->out_kind == KIND_PIPE && !fd_poll_now(out, POLLOUT));
}

static bool pipe_is_nonblocking(struct fdcall *c, enum fd_kind kind, int fd) {
	long flags = kind == KIND_PIPE ? FD_TRY(c, SYS2(SYS_fcntl, fd, F_GETFL)) : -1;
	return flags >= 0 && (flags & O_NONBLOCK);
}

/* The end `c` is not ready: does the kernel take O_NONBLOCK of a pipe, perhaps the other end, for SPLICE_F_NONBLOCK? `asked`: a pipe is what is not ready.
 * If that is the socket, only a Unix one that is read looks at the flag. */
static bool splice_may_not_wait(const struct splice_args *a, struct fdcall *c, int in, int out, bool asked) {
	return (pipe_is_nonblocking(c, a->in_kind, in) || pipe_is_nonblocking(c, a->out_kind, out)) &&
	       (asked || (a->in_kind == KIND_STREAM && socket_int(c, SOL_SOCKET, SO_DOMAIN) == AF_UNIX));
}

/* Waits for one end, `c`. Then c->fd is what to use, and only a ghost is held: nothing has been moved yet, so who closes a number while the other end is
 * waited for has closed it before the call. True: *result is the call's. */
static bool splice_end_ready(struct fdcall *c, uint8_t mode, int in, int out, const struct splice_args *a, long *result) {
	*result = FDCALL_BLOCK;
	if (!fdcall_begin(c, c->g, c->number))
		return false;
	bool done = false;
	*result = 0;
	if (!end_is_ready(c, mode)) {
		bool ask = FD_TRY(c, splice_can_ask(a, in, out));
		*result = ask ? FD_TRY(c, splice_raw(a, in, out, a->flags | SPLICE_F_NONBLOCK)) : -EAGAIN;
		done = *result != -EAGAIN || splice_may_not_wait(a, c, in, out, ask);
		if (!done) {
			*result = end_wait(c, mode, false);
			/* -EAGAIN: a deadline is over, or the descriptor is the program's to make non-blocking. */
			done = *result == -EAGAIN ? c->deadline > 0 : *result < 0 && *result != FDCALL_BLOCK;
		}
	}
	fdcall_release(c);
	return done;
}

static long splice_ends(struct fdcall *in, struct fdcall *out, const struct splice_args *a) {
	long r, s;
	if (splice_end_ready(in, PD_READ, in->number, out->number, a, &r))
		return r;
	if (splice_end_ready(out, PD_WRITE, in->fd, out->number, a, &s))
		return s;
	if (r == 0 && s == 0) {
		long moved = BRACKET(in->g, splice_raw(a, in->fd, out->fd, a->flags | SPLICE_F_NONBLOCK));
		if (moved != -EAGAIN)
			return moved;
	}
	/* One end is the program's own non-blocking one, or cannot be waited for, or somebody was faster: as the kernel does it. */
	return BRACKET_BLOCKING(in->g, true, splice_raw(a, in->fd, out->fd, a->flags));
}

static ssize_t splice_goroutine(struct g *g, int in, int out, struct splice_args *a) {
	shim_testcancel(g);
	if (!(a->flags & SPLICE_F_NONBLOCK)) {
		a->in_kind = splice_kind(g, in);
		a->out_kind = splice_kind(g, out);
	}
	if ((a->flags & SPLICE_F_NONBLOCK) || a->n == 0 || !splice_fits(a))
		return io_ret(g, BRACKET(g, splice_raw(a, in, out, a->flags)));
	struct fdcall from = {.g = g, .number = in, .before = io_handlers(g)}, to = {.g = g, .number = out, .before = io_handlers(g)};
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
	long r = -EAGAIN;
	int ready = 0;
	long access = fdcall_kind(&c) == KIND_PIPE ? FD_TRY(&c, SYS2(SYS_fcntl, c.fd, F_GETFL)) : -1;
	uint8_t mode = (access & O_ACCMODE) == O_RDONLY ? PD_READ : PD_WRITE;
	if (access >= 0 && !(access & O_NONBLOCK) && !end_is_ready(&c, mode)) {
		r = FD_TRY(&c, SYS4(SYS_vmsplice, c.fd, iov, count, flags | SPLICE_F_NONBLOCK));
		if (r == -EAGAIN)
			ready = end_wait(&c, mode, false);
	}
	if (ready == FDCALL_BLOCK)
		r = FDCALL_BLOCKING(&c, SYS4(SYS_vmsplice, c.fd, iov, count, flags));
	else if (ready == -EINTR || ready == -EBADF)
		r = ready;
	else if (r == -EAGAIN)
		r = FDCALL_BLOCKING(&c, SYS4(SYS_vmsplice, c.fd, iov, count, flags));
	fdcall_end(&c);
	return io_ret(g, r);
}
