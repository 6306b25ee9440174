/* What the I/O shims share: who is calling, calls that block the kernel thread, and one operation on a descriptor that may park. */
#ifndef GOSHIM_IO_H
#define GOSHIM_IO_H

#include <limits.h>
#include <poll.h>
#include <sys/uio.h>

#include "../core/chaos.h"
#include "fdtable.h"
#include "sigstate.h"

#define RW_MAX 0x7ffff000ul /* the kernel moves at most so much per call */

/* The calling goroutine; NULL: let libc do it. A vfork child borrows its parent's goroutine and must not park on it (FRK-5). */
static inline struct g *io_g(void) {
	struct g *g = g_goroutine();
	return likely(g != NULL) && likely(!g->in_vfork) ? g : NULL;
}

/* libc's own function, looked up already or not (INT-6). */
#define CALL_REAL(name, ...)  \
	(__extension__({      \
		REAL_READY(); \
		real.name;    \
	}))(__VA_ARGS__)

/* libc's second name for a call. */
#if defined(__has_attribute) && __has_attribute(copy)
#define SHIM_COPY(name) __attribute__((copy(name)))
#else
#define SHIM_COPY(name)
#endif
#define SHIM_ALIAS(name, alias_name) \
	extern __typeof__(name) alias_name SHIM_COPY(name) __attribute__((alias(#name), visibility("default")))

/* ---- calls that block the kernel thread ------------------------------------------------------------------------------- */

/* A wait ended with -EINTR: runs the handlers that are queued for this goroutine, acts on cancellation. True: the call fails with EINTR. */
static inline bool io_interrupted(struct g *g, bool restartable) {
	bool fails = shim_interrupted(g, restartable);
	shim_testcancel(g);
	return fails;
}

/* What a cancellation point returns. One that failed has had no effect, so a cancellation that came while it was on its way acts now: the
 * canceller may have caused the failure, by a close, and on kernel threads is always seen first. After a success it stays pending (CAN-1). */
static inline long io_ret(struct g *g, long r) {
	if (unlikely(r < 0 && r > -4096))
		shim_testcancel(g);
	return sys_ret(r);
}

/* A cancellation point that waits in the kernel: while it does, cancellation acts at once, as it does in libc's own calls. */
bool io_cancel_open(struct g *g);
void io_cancel_close(struct g *g, bool opened);

/* A bracketed call came back with EINTR, but no handler ran on this goroutine since `handlers`: what disturbed it was a signal for somebody
 * else who shares the kernel thread's process. No thread of its own would have noticed: repeat it (SIG-1). Whether a call is restarted after a
 * handler is for the kernel to decide: a signal for this goroutine arrives as the same number on its kernel thread. */
static inline bool io_disturbed(struct g *g, long r, uint32_t handlers) {
	return unlikely(r == -EINTR) && g && sig_handlers_run(g) == handlers;
}

static inline uint32_t io_handlers(struct g *g) {
	return g ? sig_handlers_run(g) : 0;
}

/* A raw system call between brackets. */
#define BRACKET_AS(enter, g, cancel_point, call)                                   \
	(__extension__({                                                           \
		long bracket_result;                                               \
		uint32_t bracket_handlers = io_handlers(g);                        \
		do {                                                               \
			bool bracket_opened = (cancel_point) && io_cancel_open(g); \
			enter(g);                                                  \
			bracket_result = (call);                                   \
			syscall_exit(g);                                           \
			if (cancel_point)                                          \
				io_cancel_close((g), bracket_opened);              \
		} while (io_disturbed((g), bracket_result, bracket_handlers));     \
		bracket_result;                                                    \
	}))

/* One that may block this kernel thread for a while: sysmon then gives the P away. */
#define BRACKET(g, call) BRACKET_AS(syscall_enter, g, false, call)
/* One that waits for a disk at most. */
#define BRACKET_DISK(g, call) BRACKET_AS(syscall_enter_disk, g, false, call)
/* For a cancellation point that may take long. */
#define BRACKET_CANCEL(g, call) BRACKET_AS(syscall_enter, g, true, call)
/* One that is known to block for long, a cancellation point: the P is given away at once. */
#define BRACKET_BLOCKING(g, call) BRACKET_AS(syscall_enter_blocking, g, true, call)
/* The same, not a cancellation point. */
#define BRACKET_LONG(g, call) BRACKET_AS(syscall_enter_blocking, g, false, call)

/* ---- calls that park -------------------------------------------------------------------------------------------------- */

/* One call of the program on one descriptor. */
struct fdcall {
	struct g *g;
	struct pd *pd;    /* held */
	int number;       /* what the program called it */
	int fd;           /* what to use in system calls: after a park, perhaps a ghost of the number (FD-1) */
	int64_t deadline; /* CLOCK_MONOTONIC ns; -1 none; 0 not decided yet */
	bool patient;     /* io_deadline_ns is not for it: who accepts waits for no peer that could be dead */
	bool limited;     /* deadline is by io_deadline_ns: else the call is as one without */
};

enum {
	FDCALL_BLOCK = -4000
}; /* cannot be waited for by epoll: make a bracketed blocking call. Never a kernel error number */

/* False: no pd; make a bracketed plain call on c->fd. Every true one needs fdcall_end(). */
static inline bool fdcall_begin(struct fdcall *c, struct g *g, int fd) {
	chaos_yield();
	c->g = g;
	c->number = c->fd = fd;
	c->deadline = 0;
	c->patient = c->limited = false;
	c->pd = fd_hold(fd);
	if (likely(c->pd != NULL)) {
		if (unlikely(fd_users_noted))
			fd_user_note(c->pd, g->id);
		return true;
	}
	/* One of the runtime's own: for the program there is no such descriptor. */
	if (fd >= 0 && netpoll_owns_fd(fd))
		c->fd = -1;
	return false;
}

static inline void fdcall_end(struct fdcall *c) {
	if (likely(c->pd != NULL))
		pd_drop(c->pd);
}

/* Before a call that blocks in the kernel for lack of anything better: it may end in a cancellation, and a pd held for ever would keep
 * the descriptor open after its close. A ghost's stays: the hold is what keeps the number. c->pd is not to be used any more. */
static inline void fdcall_release(struct fdcall *c) {
	if (c->pd && !atomic_load_explicit(&c->pd->ghost, memory_order_relaxed)) {
		pd_drop(c->pd);
		c->pd = NULL;
	}
}

#define FDCALL_BLOCKING(c, call)                \
	(__extension__({                        \
		fdcall_release(c);              \
		BRACKET_BLOCKING((c)->g, call); \
	}))

/* GOSHIM=io_deadline: a socket call that waits longer than this for its peer fails as if SO_RCVTIMEO or SO_SNDTIMEO were set; 0 never. */
extern int64_t io_deadline_ns;

/* The try said EAGAIN (or the descriptor is known to be drained): waits for `mode`. 0: try again, with c->pd and c->fd as they are now. Else
 * what the call returns: -EAGAIN (the program's O_NONBLOCK, or SO_RCVTIMEO or SO_SNDTIMEO expired), -EINTR,
 * -EBADF; or FDCALL_BLOCK. progress: the call has moved bytes already, so it is not restarted after a handler. */
int fdcall_wait(struct fdcall *c, uint8_t mode, bool progress);

/* poll(fd, events) now: revents. */
static inline short fd_poll_now(int fd, short events) {
	struct pollfd p = {.fd = fd, .events = events};
	return arch_poll(&p, 1, 0) > 0 ? p.revents : 0;
}

/* After a wait in the middle of a stream operation that moved bytes already: has the connection failed? Then the call must return what it
 * has and leave the error for the next one, as the kernel does; a try would take it. */
static inline bool fdcall_failed(struct fdcall *c) {
	return unlikely(atomic_load_explicit(&c->pd->ready, memory_order_relaxed) & PD_HUP) &&
	       (fd_poll_now(c->fd, 0) & (POLLERR | POLLHUP | POLLNVAL));
}

/* The part of iov[0..count) after `skip` bytes, as much of it as fits into out[IOV_WINDOW]. Returns how many. */
#define IOV_WINDOW 16
int iov_window(struct iovec *out, const struct iovec *iov, size_t count, size_t skip);
size_t iov_bytes(const struct iovec *iov, size_t count);

/* The families' insides, for one another, the fortified twins and syscall(). They return negative error numbers. */
long io_read(struct g *g, int fd, void *buf, size_t n);
long io_write(struct g *g, int fd, const void *buf, size_t n);
long io_readv(struct g *g, int fd, const struct iovec *iov, int count);
long io_writev(struct g *g, int fd, const struct iovec *iov, int count);
long sock_recv(struct fdcall *c, void *buf, size_t n, int flags, void *addr, unsigned *addr_size);
long sock_send(struct fdcall *c, const void *buf, size_t n, int flags, const void *addr, unsigned addr_size);
long sock_sendmsg(struct fdcall *c, const struct msghdr *msg, int flags);

#endif
