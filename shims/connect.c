/* Sockets: accept, connect, and the calls that make sockets or change what they do.
 *
 * accept and connect have no flag that keeps one call from blocking, and O_NONBLOCK is not ours to set. So a readiness check precedes
 * accept, with one goroutine at a time between the check and the call (SPARE_ACCEPTING); connect is left to the kernel where it
 * ends at once, which is everywhere but over a network, and to a listener whose backlog is full: with GOSHIM=io_deadline that has a limit.
 *
 * Forked processes that accept from one listener would all be woken for each connection: each has an epoll, and none is told what the others take, nor that
 * it was woken for nothing, as epoll_wait() sleeps on then. The kernel's own accept wakes one of those who wait in it. So where another process may have the
 * listener, one goroutine of this one waits in the kernel, at the price of a kernel thread, and the others for its turn (pd->kernel_turn): who leaves, in whichever
 * way, wakes the next, who goes there at once. No event for the epoll is needed then, and the listener is taken out of it. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "../core/futex.h"
#include "io.h"

#define SOCK_FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)
_Static_assert(SOCK_NONBLOCK == O_NONBLOCK && SOCK_CLOEXEC == O_CLOEXEC, "fd_made() takes open's names");

/* asm-generic/socket.h: the same options with 64-bit times whatever the ABI's time_t is; libc's headers show them to 32-bit programs only */
#define SO_RCVTIMEO_64 66
#define SO_SNDTIMEO_64 67

/* ---- accept ------------------------------------------------------------------------------------------------------- */

/* At most one goroutine of this process is between the readiness check and the accept that relies on it. */
static bool accepting_take(struct pd *pd) {
	/* acquire pairs with the release below: the check must see what the last holder took */
	return !(__atomic_fetch_or(&pd->spare, SPARE_ACCEPTING, __ATOMIC_ACQUIRE) & SPARE_ACCEPTING);
}

static void accepting_give(struct pd *pd) {
	__atomic_fetch_and(&pd->spare, (uint8_t)~SPARE_ACCEPTING, __ATOMIC_RELEASE);
}

/* Who was woken alone does not come to take what is there: the next one tries. */
static void accept_undo(struct fdcall *c) {
	accepting_give(c->pd);
	pd_more(c->pd, PD_READ);
}

/* The one that got the turn. -EAGAIN: nothing there. Anything else is the result. Another process may have been faster between the
 * check and the call: then this kernel thread blocks, and sysmon goes on with another. */
static long accept_turn(struct fdcall *c, void *addr, unsigned *addr_size, int flags) {
	struct pd *pd = c->pd;
	long r = -EAGAIN;
	c->undo = accept_undo;
	pd_try(pd, PD_READ);
	if (fdcall_poll_now(c, POLLIN)) {
		r = FDCALL_HELD_AS(syscall_enter, c, CANCEL_MAKES, SYS_MAKES4(c->g, SYS_accept4, c->fd, addr, addr_size, flags));
	} else if (!(pd_spare(pd) & SPARE_LISTENS)) {
		int listens = 0;
		unsigned size = sizeof listens;
		if (FD_TRY(c, SYS5(SYS_getsockopt, c->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size)) < 0 || !listens)
			r = FD_TRY(c, SYS4(SYS_accept4, c->fd, addr, addr_size, flags)); /* fails, and knows why */
		else
			pd_spare_set(pd, SPARE_LISTENS);
	}
	if (c->undo)
		accepting_give(pd);
	c->undo = NULL;
	return r;
}

/* ---- in the kernel ---- */

enum { TURN_FREE, TURN_TAKEN, TURN_AWAITED };

static bool kernel_turn_take(struct pd *pd, bool waited) {
	uint32_t turn = TURN_FREE;
	/* acquire: nothing is handed over but the turn itself. Who has waited does not know whether others do. */
	return (!waited && atomic_compare_exchange_strong_explicit(&pd->kernel_turn, &turn, TURN_TAKEN, memory_order_acquire, memory_order_relaxed)) ||
	       atomic_exchange_explicit(&pd->kernel_turn, TURN_AWAITED, memory_order_acquire) == TURN_FREE;
}

static void kernel_turn_give(struct fdcall *c) {
	if (atomic_exchange_explicit(&c->pd->kernel_turn, TURN_FREE, memory_order_release) == TURN_AWAITED)
		futex_wake(&c->pd->kernel_turn, 1, FUTEX_ANY);
}

/* Not where a wait has a limit, which the kernel would begin anew; nor where threads are short. */
static bool accept_must_queue(struct fdcall *c) {
	return unlikely(atomic_load_explicit(&c->pd->shared_desc, memory_order_relaxed) & SHARED_PROCESS) && fdcall_may_wait(c, PD_READ) == 0 &&
	       c->deadline == -1 && !c->limited && !io_waits_itself(c->g) && !atomic_load_explicit(&sched.m_lacking, memory_order_relaxed);
}

/* False: try again, with c->pd as it is now. -EAGAIN: O_NONBLOCK or SO_RCVTIMEO was set while it waited for the turn, too late to concern it. */
static bool accept_queue(struct fdcall *c, void *addr, unsigned *addr_size, int flags, long *result) {
	struct pd *pd = c->pd;
	netpoll_disarm(pd);
	for (bool waited = false; !kernel_turn_take(pd, waited); waited = true) {
		int r = futex_wait(&pd->kernel_turn, TURN_AWAITED, -1, FUTEX_ANY, true, "turn to accept");
		if (r == -EINTR && !shim_stray(c->g)) {
			*result = fdcall_interrupted(c, false);
			return *result != 0;
		}
	}
	c->undo = kernel_turn_give;
	*result = FDCALL_WAITS(c, SYS_MAKES4(c->g, SYS_accept4, c->fd, addr, addr_size, flags));
	if (c->undo)
		kernel_turn_give(c);
	c->undo = NULL;
	return true;
}

/* ---- either ---- */

static long sock_accept(struct fdcall *c, void *addr, unsigned *addr_size, int flags) {
	c->patient = true;
	if (unlikely(flags & ~SOCK_FLAGS))
		return FD_TRY(c, SYS4(SYS_accept4, c->fd, addr, addr_size, flags)); /* refused, whoever connects */
	/* At first the kernel is asked whether it may wait, if another process may have a say in that: who has no turn would not know that there is a connection. */
	for (bool began = false;; began = true) {
		struct pd *pd = c->pd;
		long r = -EAGAIN;
		if ((began ? fd_flags_known(pd) : fdcall_flags(c)) & FL_NONBLOCK)
			return FD_TRY(c, SYS4(SYS_accept4, c->fd, addr, addr_size, flags));
		bool turn = accepting_take(pd);
		if (turn) {
			r = accept_turn(c, addr, addr_size, flags);
			if (r != -EAGAIN) {
				pd_more(c->pd, PD_READ); /* the next acceptor tries, too (POL-2) */
				return r;
			}
		}
		if (accept_must_queue(c)) {
			if (accept_queue(c, addr, addr_size, flags, &r) && r != -EAGAIN)
				return r;
			c->limited = r == -EAGAIN; /* from here on the kernel's wait is not this call's: never there */
			continue;
		}
		if (!turn && atomic_load_explicit(&pd->ready, memory_order_relaxed) & PD_READ) {
			fdcall_yield(c); /* somebody is at it; the bit is his to clear */
			continue;
		}
		r = fdcall_wait(c, PD_READ, false);
		if (r == FDCALL_BLOCK)
			return FDCALL_HELD_AS(io_enter_waiting, c, CANCEL_MAKES, SYS_MAKES4(c->g, SYS_accept4, c->fd, addr, addr_size, flags));
		if (r < 0)
			return r;
	}
}

static int accept_foreign(int fd) {
	if (fd >= 0)
		fd_made(fd, KIND_UNKNOWN, 0, NULL);
	return fd;
}

SHIM int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *restrict addr_size, int flags) {
	struct g *g = io_g();
	struct fdcall c;
	long r;
	if (!g)
		return accept_foreign(CALL_REAL(accept4, fd, addr.__sockaddr__, addr_size, flags));
	shim_testcancel(g);
	if (!fdcall_begin(&c, g, fd)) {
		r = BRACKET_AS(io_enter_waiting, g, CANCEL_MAKES, io_restarts(c.fd), SYS_MAKES4(g, SYS_accept4, c.fd, addr.__sockaddr__, addr_size, flags));
		if (r >= 0)
			fd_made((int)r, KIND_UNKNOWN, 0, NULL);
		return (int)io_ret(g, r);
	}
	enum fd_kind kind = fdcall_kind(&c);
	r = fd_is_socket(kind)
		    ? sock_accept(&c, addr.__sockaddr__, addr_size, flags)
		    : FDCALL_BRACKET_CANCEL(&c, SYS4(SYS_accept4, c.fd, addr.__sockaddr__, addr_size, flags));
	if (r >= 0)
		fd_made((int)r, c.pd ? kind : KIND_UNKNOWN, flags & SOCK_FLAGS, c.pd);
	fdcall_end(&c);
	if (r >= 0)
		g_admitted(g);
	return (int)io_ret(g, r);
}

SHIM int accept(int fd, __SOCKADDR_ARG addr, socklen_t *restrict addr_size) {
	return io_g() ? accept4(fd, addr, addr_size, 0) : accept_foreign(CALL_REAL(accept, fd, addr.__sockaddr__, addr_size));
}

/* ---- connect ------------------------------------------------------------------------------------------------------ */

/* -1: the kernel refuses the address. */
static int connect_family(const struct sockaddr *addr, socklen_t size) {
	return size < sizeof(sa_family_t) || address_refused(addr, size, false) ? -1 : addr->sa_family;
}

/* The answer may take a network's time to come. */
static bool connect_is_remote(int family, const struct sockaddr *addr, socklen_t size) {
	if (family == AF_INET && size >= sizeof(struct sockaddr_in)) {
		in_addr_t to = ntohl(((const struct sockaddr_in *)(const void *)addr)->sin_addr.s_addr);
		return to >> 24 != 127 && to != INADDR_ANY;
	}
	if (family == AF_INET6 && size >= sizeof(struct sockaddr_in6)) {
		const struct in6_addr *to = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
		bool mapped_local = IN6_IS_ADDR_V4MAPPED(to) && to->s6_addr[12] == 127;
		return !IN6_IS_ADDR_LOOPBACK(to) && !IN6_IS_ADDR_UNSPECIFIED(to) && !mapped_local;
	}
	return false;
}

/* Has another thread ended it? The kernel has the socket back as it was, so that one more connect() would begin anew. Nothing else tells: one that was refused needs that. */
static long connect_ended(struct fdcall *c) {
	uint8_t how = pd_spare(c->pd) & (SPARE_SHUT | SPARE_UNNAMED);
	if (likely(how == 0))
		return 0;
	if (how & SPARE_UNNAMED)
		return -EPIPE;
	int error = fdcall_socket_error(c);
	return error ? -error : -ECONNABORTED;
}

static void connect_undo(struct fdcall *c) {
	SYS5(SYS_setsockopt, c->fd, SOL_SOCKET, SO_SNDTIMEO, c->undo_arg, sizeof(struct timeval));
}

/* connect() has no flag that makes one call non-blocking, and O_NONBLOCK would be seen by others. What there is, is the send timeout: with
 * one clock tick of it the call returns EINPROGRESS while the handshake goes on. The timeout is put back at once. The second connect()
 * then takes the outcome, and with it the socket's state is what one blocking call leaves. */
static long connect_remote(struct fdcall *c, const struct sockaddr *addr, socklen_t size) {
	struct timeval was, tick = {.tv_usec = 1};
	unsigned was_size = sizeof was;
	if (FD_TRY(c, SYS5(SYS_getsockopt, c->fd, SOL_SOCKET, SO_SNDTIMEO, &was, &was_size)) < 0 ||
	    FD_TRY(c, SYS5(SYS_setsockopt, c->fd, SOL_SOCKET, SO_SNDTIMEO, &tick, sizeof tick)) < 0)
		return FDCALL_BLOCKING(c, SYS3(SYS_connect, c->fd, addr, size));
	c->undo = connect_undo;
	c->undo_arg = &was;
	pd_spare_clear(c->pd, SPARE_SHUT | SPARE_UNNAMED);
	long r = FDCALL_BRACKET_HELD(c, SYS3(SYS_connect, c->fd, addr, size));
	if (c->undo)
		FD_TRY(c, SYS5(SYS_setsockopt, c->fd, SOL_SOCKET, SO_SNDTIMEO, &was, sizeof was));
	c->undo = NULL;
	if (r != -EINPROGRESS && r != -EALREADY)
		return r;
	for (;;) {
		pd_try(c->pd, PD_WRITE);
		if (fdcall_poll_now(c, POLLOUT)) {
			long ended = connect_ended(c);
			return ended ? ended : FDCALL_BRACKET(c, SYS3(SYS_connect, c->fd, addr, size));
		}
		long waited = fdcall_wait(c, PD_WRITE, false);
		if (waited == FDCALL_BLOCK)
			return FDCALL_BLOCKING(c, SYS3(SYS_connect, c->fd, addr, size));
		if (waited < 0)
			return waited == -EAGAIN ? r : waited; /* SO_SNDTIMEO is over: as the kernel says it */
	}
}

/* One try of connect_limited(). */
static long connect_until(struct fdcall *c, int64_t deadline, const struct sockaddr *addr, socklen_t size) {
	int64_t left = deadline - nanotime();
	if (left < 1000)
		left = 1000; /* none at all would mean for ever */
	struct timeval limit = {.tv_sec = left / 1000000000, .tv_usec = left % 1000000000 / 1000};
	if (SYS5(SYS_setsockopt, c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0)
		c->undo = connect_undo;
	return SYS3(SYS_connect, c->fd, addr, size);
}

/* GOSHIM=io_deadline, to a listener on this machine whose backlog is full. Nothing tells when it has room, so the kernel waits, with a send timeout for that
 * time: nobody sends on what is not connected. */
static long connect_limited(struct fdcall *c, const struct sockaddr *addr, socklen_t size) {
	struct timeval was = {0};
	unsigned was_size = sizeof was;
	int64_t deadline = nanotime() + io_deadline_ns;
	if (FD_TRY(c, SYS5(SYS_getsockopt, c->fd, SOL_SOCKET, SO_SNDTIMEO, &was, &was_size)) < 0 || was.tv_sec || was.tv_usec)
		return FDCALL_BRACKET_HELD_CANCEL(c, SYS3(SYS_connect, c->fd, addr, size)); /* it has its own */
	c->undo_arg = &was;
	long r = FDCALL_BRACKET_HELD_CANCEL(c, connect_until(c, deadline, addr, size));
	if (c->undo && c->pd)
		FD_TRY(c, SYS5(SYS_setsockopt, c->fd, SOL_SOCKET, SO_SNDTIMEO, &was, sizeof was));
	c->undo = NULL;
	return r;
}

/* May it wait in the kernel, for one on this machine? */
static bool connect_needs_limit(enum fd_kind kind) {
	return unlikely(io_deadline_ns != 0) && (kind == KIND_STREAM || kind == KIND_MESSAGE);
}

SHIM int connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t size) {
	struct g *g = io_g();
	struct fdcall c;
	if (!g)
		return CALL_REAL(connect, fd, addr.__sockaddr__, size);
	shim_testcancel(g);
	if (!fdcall_begin(&c, g, fd))
		return (int)io_ret(g, BRACKET_CANCEL(g, c.fd, SYS3(SYS_connect, c.fd, addr.__sockaddr__, size)));
	long r;
	enum fd_kind kind = fdcall_kind(&c);
	int family = kind == KIND_TCP ? connect_family(addr.__sockaddr__, size) : -1;
	if (unlikely(family == AF_UNSPEC))
		pd_spare_set(c.pd, SPARE_UNNAMED); /* before who waits is woken */
	if (kind == KIND_TCP && family != AF_UNSPEC && (unlikely(io_deadline_ns != 0) || connect_is_remote(family, addr.__sockaddr__, size)) &&
	    !(fdcall_flags(&c) & FL_NONBLOCK)) {
		r = connect_remote(&c, addr.__sockaddr__, size);
		fdcall_end(&c);
	} else if (connect_needs_limit(kind) && !(fdcall_flags(&c) & FL_NONBLOCK)) {
		r = connect_limited(&c, addr.__sockaddr__, size);
		fdcall_end(&c);
	} else {
		r = FDCALL_BRACKET_HELD_CANCEL(&c, SYS3(SYS_connect, c.fd, addr.__sockaddr__, size));
		fdcall_end(&c);
	}
	/* What was known of the unconnected socket is void, and others may have waited for the connection. Not held: too many bits do no harm. */
	struct pd *pd = fd_lookup(fd);
	if (pd)
		pd_pass(pd, PD_READ | PD_WRITE);
	return (int)io_ret(g, r);
}

SHIM_ALIAS(connect, __connect);

/* ---- making sockets, options ------------------------------------------------------------------------------------------ */

SHIM int socket(int domain, int type, int protocol) {
	int fd = io_g() ? (int)sys_ret(SYS3(SYS_socket, domain, type, protocol))
			: CALL_REAL(socket, domain, type, protocol);
	if (fd >= 0)
		fd_made(fd, fd_socket_kind(domain, type, protocol), type & SOCK_FLAGS, NULL);
	return fd;
}

SHIM int socketpair(int domain, int type, int protocol, int fds[2]) {
	int r = io_g() ? (int)sys_ret(SYS4(SYS_socketpair, domain, type, protocol, fds))
		       : CALL_REAL(socketpair, domain, type, protocol, fds);
	for (int i = 0; r == 0 && i < 2; i++)
		fd_made(fds[i], fd_socket_kind(domain, type, protocol), type & SOCK_FLAGS, NULL);
	if (r == 0)
		fd_paired(fds[0], fds[1]);
	return r;
}

/* What the kernel took. A negative one means not to wait at all; asked, the kernel says 0 of that and of none. */
static int64_t timeout_set(const struct timeval *tv) {
	return tv->tv_sec < 0 ? SOCKET_TIMEOUT_NOW : -1;
}

SHIM int setsockopt(int fd, int level, int option, const void *value, socklen_t size) {
	int r = CALL_REAL(setsockopt, fd, level, option, value, size);
	struct pd *pd;
	if (r == 0 && level == SOL_SOCKET && option == SO_RCVLOWAT)
		fd_lowat_set(fd);
	if (r != 0 || (level != SOL_SOCKET && level != IPPROTO_TCP) || (tls_g && tls_g->in_vfork) ||
	    !(pd = fd_lookup(fd)))
		return r;
	/* Not held: a pd that was given to another descriptor meanwhile asks once more, or is treated with more caution. */
	if (level == IPPROTO_TCP) {
		if (option == TCP_ULP && pd_kind(pd) == KIND_TCP)
			atomic_store_explicit(&pd->kind, KIND_STREAM, memory_order_relaxed); /* a record ends a read; that says nothing about what follows */
	} else if (option == SO_RCVTIMEO || option == SO_RCVTIMEO_64) {
		atomic_store_explicit(&pd->rcv_timeout, timeout_set(value), memory_order_relaxed);
	} else if (option == SO_SNDTIMEO || option == SO_SNDTIMEO_64) {
		atomic_store_explicit(&pd->snd_timeout, timeout_set(value), memory_order_relaxed);
	}
	return r;
}

static bool shutdown_matters(struct pd *pd) {
	return pd_kind(pd) == KIND_STREAM || pd_kind(pd) == KIND_MESSAGE || pd_kind(pd) == KIND_UNKNOWN;
}

static void shutdown_told(int fd, struct pd *pd) {
	if (!shutdown_matters(pd))
		return;
	atomic_fetch_or(&pd->ready, PD_READ | PD_WRITE); /* seq_cst, as in pd_pass(); to another socket it does no harm */
	if (atomic_load(&pd->waiting) != 0 && fd_same_socket(fd, __atomic_load_n(&pd->fd, __ATOMIC_RELAXED)))
		pd_pass(pd, PD_READ | PD_WRITE);
}

/* A Unix socket was shut for reading: who waits for room at its other end is to try again. Which number has that, if one here, nobody knows; to others it does
 * no harm. */
static void shutdown_senders(void) {
	if (likely(atomic_load(&fdcall_senders) == 0)) /* seq_cst: sender_wait() */
		return;
	for (int fd = -1; (fd = fd_next_of_kinds(1u << KIND_STREAM | 1u << KIND_MESSAGE, fd)) >= 0;) {
		struct pd *pd = fd_lookup(fd); /* not held, as above */
		if (pd)
			pd_pass(pd, PD_WRITE); /* also where nobody waits: a sender may be counted and yet to begin */
	}
}

/* The kernel wakes the senders that a shutdown of their own end of a Unix socket ends, or one of the other end for reading; epoll it tells nothing, for there
 * is no room still. */
SHIM int shutdown(int fd, int how) {
	struct pd *tcp = (tls_g && tls_g->in_vfork) ? NULL : fd_lookup(fd); /* not held, as above */
	if (tcp && pd_kind(tcp) == KIND_TCP)
		pd_spare_set(tcp, SPARE_SHUT); /* before who waits is woken */
	int r = io_g() ? (int)sys_ret(SYS2(SYS_shutdown, fd, how)) : CALL_REAL(shutdown, fd, how);
	if (r != 0 || (tls_g && tls_g->in_vfork))
		return r;
	struct pd *pd = fd_lookup(fd); /* not held, as above */
	if (pd && !shutdown_matters(pd))
		return r;
	atomic_fetch_add(&fdcall_shuts, 1); /* seq_cst: sender_wait(). Before the bits are set that tell of it */
	fd_each_name(fd, shutdown_told); /* no goroutine has used this name, perhaps, but another one */
	if (how == SHUT_RD)
		shutdown_senders();
	return r;
}
