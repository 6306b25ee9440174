/* One operation on a descriptor that may park: the wait in the middle of it, and the helpers every family needs.
 *
 * The shape of all of them:
 *     struct fdcall c;
 *     if (!fdcall_begin(&c, g, fd)) plain bracketed call
 *     for (;;) {
 *         pd_try(); FD_TRY(a system call that cannot block); done or -EAGAIN
 *         r = fdcall_wait(&c, mode, moved != 0); if (r < 0) return moved ? moved : r
 *     }
 *     fdcall_end(&c)
 * The pd is held all the while, so that close() by another thread leaves a ghost of the descriptor to go on with, as a blocked
 * kernel thread holds the description (FD-1). It is not held while a handler of the program runs: that may never come back. Therefore all of it is inside
 * the runtime, but for the calls that may block. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "io.h"
#include "thread.h"

#define CANCEL_ASYNC 2 /* glibc's bit of cancelhandling: cancellation acts at once */

bool io_cancel_open(struct g *g, enum io_cancel how) {
	if (!g)
		return false;
	bool opened = false;
	if (how == CANCEL_WAITS) {
		/* acq_rel: a canceller either finds the bit and nudges us out of the kernel, or we find its own below */
		int old = atomic_fetch_or_explicit(tcb_cancelhandling(g->ctx.tp), CANCEL_ASYNC, memory_order_acq_rel);
		opened = !(old & CANCEL_ASYNC);
	}
	shim_testcancel(g);
	return opened;
}

void io_cancel_close(struct g *g, bool opened) {
	if (opened)
		atomic_fetch_and_explicit(tcb_cancelhandling(g->ctx.tp), ~CANCEL_ASYNC, memory_order_acq_rel);
}

bool io_restarts(int fd) {
	struct timeval in = {0}, out = {0};
	socklen_t in_size = sizeof in, out_size = sizeof out;
	SYS5(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &in, &in_size); /* what is no socket has none */
	SYS5(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &out, &out_size);
	return !(in.tv_sec | in.tv_usec | out.tv_sec | out.tv_usec);
}

/* SO_RCVTIMEO or SO_SNDTIMEO in ns, 0 for none. Kept, unless the description is shared: then others may change it. */
static int64_t socket_timeout(struct fdcall *c, uint8_t mode) {
	_Atomic int64_t *kept = mode == PD_READ ? &c->pd->rcv_timeout : &c->pd->snd_timeout;
	bool shared = atomic_load_explicit(&c->pd->shared_desc, memory_order_relaxed) != 0;
	int64_t known = atomic_load_explicit(kept, memory_order_relaxed); /* two who ask at once write the same */
	if ((known >= 0 && !shared) || known == SOCKET_TIMEOUT_NOW)
		return known;
	struct timeval tv = {0};
	socklen_t size = sizeof tv;
	if (FD_TRY(c, SYS5(SYS_getsockopt, c->fd, SOL_SOCKET, mode == PD_READ ? SO_RCVTIMEO : SO_SNDTIMEO, &tv,
			   &size)) < 0)
		return 0;
	int64_t ns = tv.tv_sec >= INT64_MAX / 2000000000 ? 0 : tv.tv_sec * 1000000000 + tv.tv_usec * 1000;
	atomic_store_explicit(kept, ns, memory_order_relaxed);
	return ns;
}

void fdcall_chaos(struct fdcall *c) {
	c->before = io_handlers(c->g);
	chaos_yield();
}

void fdcall_open(struct fdcall *c) {
	/* Read before a handler may run, which begins as the runtime is left: who is interrupted before his call is in the kernel has not begun it. */
	c->fd = c->pd ? pd_call_begin(c->g, c->pd) : c->number;
	thread_of(c->g)->fdcall = c;
	atomic_signal_fence(memory_order_seq_cst);
	fdcall_leave(c);
}

void fdcall_close(struct fdcall *c) {
	fdcall_reenter(c);
	thread_of(c->g)->fdcall = NULL;
}

void fdcall_yield(struct fdcall *c) {
	fdcall_open(c);
	pd_call_end(c->g);
	g_yield(c->g);
	fdcall_close(c);
	if (!c->pd)
		c->pd = fd_hold_again(c->number);
}

bool fdcall_repeats(struct fdcall *c, struct io_handlers before, bool restarts) {
	if (!io_disturbed(c->g, before, restarts))
		return false;
	fdcall_open(c);
	pd_call_end(c->g);
	g_make_way(c->g);
	fdcall_close(c);
	if (!io_disturbed(c->g, before, restarts))
		return false;
	fdcall_open(c);
	if (likely(io_disturbed(c->g, before, restarts)))
		return true;
	pd_call_end(c->g);
	fdcall_close(c);
	return false;
}

void fdcall_abandon(struct g *g) {
	struct thread *t = thread_of(g);
	if (likely(!t->fdcall))
		return;
	in_rt_up(g); /* no handler in between; the P is not touched */
	atomic_signal_fence(memory_order_seq_cst);
	struct fdcall *c = t->fdcall;
	t->fdcall = NULL;
	pd_call_end(g);
	if (c && c->undo) {
		c->undo(c);
		c->undo = NULL;
	}
	/* A ghost's hold is what keeps its number. */
	if (c && c->pd && !pd_is_ghost(c->pd)) {
		pd_drop(c->pd);
		c->pd = NULL;
		c->fd = c->number;
	}
	atomic_signal_fence(memory_order_seq_cst);
	in_rt_drop(g); /* it is about to run a handler: no look for others */
}

/* A datagram socket that was shut down for reading tells it (0) to who would wait; who would not gets EAGAIN for ever. A shutdown is an event, which
 * sets PD_HUP; errors set it, too. */
static bool shut_for_reading(struct fdcall *c) {
	enum fd_kind kind = pd_kind(c->pd);
	if (likely(kind != KIND_INET && kind != KIND_UNIX_DGRAM && kind != KIND_MESSAGE) ||
	    !(atomic_load_explicit(&c->pd->ready, memory_order_relaxed) & PD_HUP))
		return false;
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
	return FD_TRY(c, arch_poll(&p, 1, 0)) == 1 && p.revents & POLLRDHUP;
}

int64_t io_deadline_ns;

int fdcall_may_wait(struct fdcall *c, uint8_t mode) {
	/* A pipe's flag is looked at each time it would wait, as the kernel does. */
	if (c->deadline != 0 && pd_kind(c->pd) != KIND_PIPE)
		return 0;
	uint32_t flags = fdcall_flags(c);
	c->async = flags & FL_ASYNC;
	if (flags & FL_NONBLOCK)
		return -EAGAIN;
	int64_t timeout = fd_is_socket(pd_kind(c->pd)) ? socket_timeout(c, mode) : 0;
	if (!timeout && io_deadline_ns && fd_is_socket(pd_kind(c->pd)) && !c->patient) {
		timeout = io_deadline_ns;
		c->limited = true;
	}
	c->deadline = timeout ? deadline_in(timeout) : -1;
	return 0;
}

int fdcall_interrupted(struct fdcall *c, bool progress) {
	pd_drop(c->pd);
	c->pd = NULL;
	fdcall_leave(c);
	if (io_interrupted(c->g, !progress && (c->deadline == -1 || c->limited)))
		return -EINTR;
	fdcall_reenter(c);
	c->pd = io_hold(c->g, c->number);
	if (!c->pd)
		return -EBADF;
	/* It begins anew: the handler may have made it non-blocking, or limited. */
	if (!progress && !c->limited)
		c->deadline = 0;
	return c->limited && (fdcall_flags(c) & FL_NONBLOCK) ? -EAGAIN : 0;
}

int fdcall_socket_error(struct fdcall *c) {
	int error = 0;
	socklen_t size = sizeof error;
	return FD_TRY(c, SYS5(SYS_getsockopt, c->fd, SOL_SOCKET, SO_ERROR, &error, &size)) < 0 ? 0 : error;
}

/* Who waited for room, and now finds the peer gone, is told of the socket's error, if there is one; who tries only then is told EPIPE, by a signal as well. */
static int peer_lost(struct fdcall *c) {
	int error = fdcall_socket_error(c);
	if (error)
		pd_more(c->pd, PD_WRITE);
	return -error;
}

_Atomic uint32_t fdcall_shuts, fdcall_senders;

static bool is_unix(struct fdcall *c) {
	int domain = AF_UNSPEC;
	socklen_t size = sizeof domain;
	return FD_TRY(c, SYS5(SYS_getsockopt, c->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size)) == 0 && domain == AF_UNIX;
}

/* A Unix stream that has been shut refuses even no bytes, which are no message there. */
static bool send_is_shut(struct fdcall *c) {
	return is_unix(c) &&
	       FD_TRY(c, SYS6(SYS_sendto, c->fd, NULL, 0, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0)) == -EPIPE;
}

/* Who waited for room in a stream is to try again, or is told. Of a shutdown without a signal: that is for who tries only then. */
static int stream_told(struct fdcall *c, bool progress, bool perhaps_shut) {
	if (!progress && unlikely(fdcall_failed(c))) {
		int error = peer_lost(c);
		if (error)
			return error;
		perhaps_shut = true;
	}
	if (likely(!perhaps_shut) || !send_is_shut(c))
		return 0;
	atomic_fetch_add(&fdcall_shuts, 1); /* as shutdown() does: who is woken now is to look, too */
	pd_more(c->pd, PD_WRITE);
	return -EPIPE;
}

#define SEND_LOOK_NS INT64_C(100000000)
#define SEND_LOOK_DOUBLES 6
#define SEND_LOOKS_NEVER UINT8_MAX

/* Who sends through what may be a Unix socket. */
static bool is_sender(struct fdcall *c, uint8_t mode) {
	return mode == PD_WRITE && (pd_kind(c->pd) == KIND_STREAM || pd_kind(c->pd) == KIND_MESSAGE);
}

/* A peer that shuts its end of a Unix socket for reading ends the kernel's wait for room there, but makes nothing ready that epoll would tell of. If it is of
 * this process, shutdown() tells (connect.c); of another one nobody does: so who waits tries again now and then, ever more rarely, and all at
 * one time: a process that only waits is to stay idle. When to, or the deadline. Of this process's own socket it cannot be spared, which a fork gives to another. */
static int64_t send_look_at(struct fdcall *c, uint8_t mode) {
	if (likely(!is_sender(c, mode)) || c->looks == SEND_LOOKS_NEVER)
		return c->deadline;
	int64_t step = SEND_LOOK_NS << c->looks, at = (nanotime() / step + 1) * step;
	return c->deadline >= 0 && c->deadline < at ? c->deadline : at;
}

/* It has looked, and only a Unix socket can be shut so. */
static void send_looked(struct fdcall *c) {
	if (c->looks == 0 && !is_unix(c))
		c->looks = SEND_LOOKS_NEVER;
	else if (c->looks < SEND_LOOK_DOUBLES)
		c->looks++;
}

/* shutdown() looks for senders only if one waits. Dekker, seq_cst on both sides: here the sender is counted, then the shutdowns are looked at; there the
 * shutdown is counted, after it was made, then the senders are looked at. So either shutdown() finds the sender and passes PD_WRITE on, which ends a wait that is yet to
 * begin, too; or the sender finds a shutdown that was not counted before its last try (c->shuts), and tries again. One that was, that try has met. */
static int sender_wait(struct fdcall *c, int64_t until) {
	chaos_delay();
	atomic_fetch_add(&fdcall_senders, 1);
	int r = atomic_load(&fdcall_shuts) != c->shuts ? 0 : netpoll_wait(c->pd, PD_WRITE, until, true);
	atomic_fetch_sub_explicit(&fdcall_senders, 1, memory_order_relaxed); /* it waits no more: who finds too many looks for nothing */
	return r;
}

/* O_ASYNC: the kernel sends no SIGIO for bytes that somebody waits for in a stream socket. Of that it must know. */
static bool recv_spares_signal(struct fdcall *c, uint8_t mode) {
	enum fd_kind kind = pd_kind(c->pd);
	return mode == PD_READ && (kind == KIND_TCP || kind == KIND_STREAM) && c->deadline == -1 && !c->patient && unlikely(c->async);
}

int fdcall_wait(struct fdcall *c, uint8_t mode, bool progress) {
	struct pd *pd = c->pd;
	if (unlikely(fdcall_may_wait(c, mode) < 0))
		return -EAGAIN;
	if (io_ends_by_chaos(c->g, c->before, !progress && (c->deadline == -1 || c->limited))) {
		pd_drop(pd);
		c->pd = NULL;
		fdcall_leave(c);
		shim_testcancel(c->g);
		return -EINTR;
	}
	if (unlikely(mode == PD_READ && shut_for_reading(c))) {
		pd_more(pd, PD_READ); /* all who wait are told */
		return FDCALL_BLOCK;
	}
	if ((io_waits_itself(c->g) || recv_spares_signal(c, mode)) && !c->limited && !progress) /* the kernel would restart what had progress */
		return FDCALL_BLOCK;
	int r;
	int64_t look_at = send_look_at(c, mode);
	do { /* a kernel thread would not have noticed: the pd stays held, its number may be another's by now */
		r = is_sender(c, mode) ? sender_wait(c, look_at) : netpoll_wait(pd, mode, look_at, true);
		if (unlikely(netpoll_refused(r)) && (progress || c->limited || (pd_kind(pd) == KIND_ANON && io_must_nap(c->g, false))))
			r = netpoll_nap(pd, mode, c->deadline);
	} while (r == -EINTR && shim_stray(c->g));
	bool looks = r == -ETIMEDOUT && look_at != c->deadline;
	if (likely(r == 0) || looks) {
		if (looks)
			send_looked(c);
		bool perhaps_shut = fdcall_shuts_note(c) || looks;
		return mode == PD_WRITE && pd_kind(pd) == KIND_STREAM ? stream_told(c, progress, perhaps_shut) : 0;
	}
	if (r == -ETIMEDOUT) {
		/* Who waits for no time at all has waited for no event: the kernel knows of more. */
		bool now = c->deadline > 0 && fd_is_socket(pd_kind(pd)) && socket_timeout(c, mode) == SOCKET_TIMEOUT_NOW;
		return unlikely(now) && fdcall_poll_now(c, mode == PD_READ ? POLLIN : POLLOUT) ? 0 : -EAGAIN;
	}
	return r == -EINTR ? fdcall_interrupted(c, progress) : FDCALL_BLOCK;
}

int iov_window(struct iovec *out, const struct iovec *iov, size_t count, size_t skip) {
	int n = 0;
	for (; count && n < IOV_WINDOW; iov++, count--) {
		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		out[n].iov_base = (char *)iov->iov_base + skip;
		out[n++].iov_len = iov->iov_len - skip;
		skip = 0;
	}
	return n;
}

size_t iov_bytes(const struct iovec *iov, size_t count) {
	size_t sum = 0;
	for (; count; iov++, count--) {
		sum += iov->iov_len;
		if (sum > RW_MAX)
			return RW_MAX;
	}
	return sum;
}
