/* Sockets: the recv and send families, each try with MSG_DONTWAIT. (accept and connect are in connect.c.)
 *
 * A stream send moves all of its bytes unless an error, a handler or SO_SNDTIMEO ends it (FD-8); after the first part the tries carry
 * MSG_NOSIGNAL, because the kernel sends no SIGPIPE for a call that returns a count. */
#include <linux/sockios.h>
#include <string.h>
#include <sys/socket.h>

#include "io.h"

#define SEND_NEVER_WAITS (MSG_DONTWAIT)
#define RECV_NEVER_WAITS (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB)

/* ---- receiving ---------------------------------------------------------------------------------------------------- */

/* How much to ask for: all, but for chaos. TCP may bring less than there is, but what fits the smallest segment comes whole on every network, and
 * programs rely on that. With MSG_WAITALL the rest is fetched here anyway. Never with O_NONBLOCK: epoll(7) lets who read less than he asked for take that for the
 * end of what there is, and wait for the next edge, which would not come. For the same reason no write on such a descriptor is cut: a short count says that the buffer
 * is full. */
#define SEGMENT_MIN 536
static inline size_t recv_part(struct fdcall *c, size_t n, int flags) {
	if (likely(!chaos_modes) || (flags & ~(MSG_WAITALL | MSG_NOSIGNAL)) || pd_kind(c->pd) != KIND_TCP || (fdcall_flags(c) & FL_NONBLOCK))
		return n;
	if (flags & MSG_WAITALL)
		return chaos_part(n);
	return n > SEGMENT_MIN ? SEGMENT_MIN + chaos_part(n - SEGMENT_MIN) : n;
}

/* What a successful receive says about the next one. */
static inline void recv_done(struct pd *pd, long got, size_t wanted, int flags) {
	/* The end may have come with the bytes, in one event. */
	if (pd_kind(pd) != KIND_TCP || got <= 0 || (size_t)got >= wanted || (flags & MSG_PEEK) ||
	    (atomic_load_explicit(&pd->ready, memory_order_relaxed) & PD_HUP))
		pd_more(pd, PD_READ);
}

/* After a wait for the rest of a MSG_WAITALL: does the kernel's own end here? What comes next is behind urgent data; or it has failed, or both ends are shut, and all that had come
 * before is taken. */
static bool recv_ends_here(struct fdcall *c) {
	int at_mark = 0, unread = 0;
	if (likely(!(atomic_load_explicit(&c->pd->ready, memory_order_relaxed) & PD_HUP) && pd_armed(c->pd, PD_READ)))
		return false;
	if (FD_TRY(c, SYS3(SYS_ioctl, c->fd, SIOCATMARK, &at_mark)) < 0 || !at_mark) {
		if (!fdcall_failed(c) || (FD_TRY(c, SYS3(SYS_ioctl, c->fd, FIONREAD, &unread)) == 0 && unread > 0))
			return false;
	}
	pd_more(c->pd, PD_READ); /* the next one finds out for himself */
	return true;
}

/* It will not wait after all. Nothing behind an offset (SO_PEEK_OFF) is no sign that nothing is there. */
static inline void recv_unwaited(struct fdcall *c, int flags) {
	if (unlikely(flags & MSG_PEEK) && c->pd)
		pd_more(c->pd, PD_READ);
}

/* What MSG_WAITALL may take in parts, each with a wait of its own. A Unix socket's only if waits have a limit, which the kernel's own would not have. */
static inline bool recv_in_parts(struct pd *pd) {
	return pd_kind(pd) == KIND_TCP || (pd_kind(pd) == KIND_STREAM && unlikely(io_deadline_ns != 0));
}

/* MSG_WAITALL of what cannot be taken apart (a Unix socket's ends behind a message with descriptors, or before one of somebody else), and a low-water mark: the
 * kernel's own waiting is the only right one. */
static inline bool recv_must_block(struct fdcall *c, int flags) {
	struct pd *pd = c->pd;
	if (unlikely(flags & MSG_WAITALL) && pd_kind(pd) == KIND_STREAM && !recv_in_parts(pd))
		return true;
	if (likely(!(pd_spare(pd) & SPARE_BLOCKS)) &&
	    likely((flags & (MSG_WAITALL | MSG_PEEK)) != (MSG_WAITALL | MSG_PEEK)))
		return false;
	return !(fdcall_flags(c) & FL_NONBLOCK);
}

/* MSG_DONTWAIT and its like: the kernel's answer as it is. Who asks so and then polls (a client library does) has it remembered for the poll,
 * once a goroutine has waited for this descriptor at all. Not a look behind an offset (SO_PEEK_OFF), which may find nothing where something is. */
#define RECV_NOW(c, flags, wanted, call)                                                                                \
	(__extension__({                                                                                                \
		struct pd *now_pd = (c)->pd;                                                                            \
		bool now_told = ((flags) & (RECV_NEVER_WAITS | MSG_PEEK)) == MSG_DONTWAIT && pd_armed(now_pd, PD_READ); \
		if (now_told)                                                                                           \
			pd_try(now_pd, PD_READ);                                                                        \
		long now_r = (call);                                                                                    \
		if (now_told && now_r != -EAGAIN)                                                                       \
			recv_done(now_pd, now_r, now_r > 0 ? (wanted) : 0, (flags));                                    \
		now_r;                                                                                                  \
	}))

long sock_recv(struct fdcall *c, void *buf, size_t n, int flags, void *addr, unsigned *addr_size) {
	size_t got = 0;
	if (n > RW_MAX && n <= SSIZE_MAX)
		n = RW_MAX;
	if (unlikely(flags & RECV_NEVER_WAITS))
		return RECV_NOW(c, flags, n, FD_TRY(c, SYS6(SYS_recvfrom, c->fd, buf, n, flags, addr, addr_size)));
	if (unlikely(recv_must_block(c, flags)))
		return FDCALL_BLOCKING(c, SYS6(SYS_recvfrom, c->fd, buf, n, flags, addr, addr_size));
	for (;;) {
		struct pd *pd = c->pd;
		long r = -EAGAIN;
		size_t part = n - got;
		if (unlikely(n > RW_MAX) || !pd_drained(pd)) {
			pd_try(pd, PD_READ);
			part = recv_part(c, part, flags);
			r = FD_TRY(c, SYS6(SYS_recvfrom, c->fd, (char *)buf + got, part, flags | MSG_DONTWAIT, addr,
					   addr_size));
		}
		if (r != -EAGAIN) {
			recv_done(pd, r, part, flags);
			if (r > 0)
				got += (size_t)r;
			if (r > 0 && pd_kind(pd) != KIND_TCP)
				fd_hint(c->number, PD_WRITE);
			if (likely(!(flags & MSG_WAITALL)) || r <= 0 || got >= n || !recv_in_parts(pd))
				return got ? (long)got : r;
		}
		r = fdcall_wait(c, PD_READ, got != 0);
		if (r == FDCALL_BLOCK)
			return FDCALL_BLOCKING(c, SYS6(SYS_recvfrom, c->fd, buf, n, flags, addr, addr_size));
		if (r != 0)
			recv_unwaited(c, flags);
		if (r != 0 || (got && recv_ends_here(c)))
			return got ? (long)got : r;
	}
}

/* The rest of a recvmsg(MSG_WAITALL) on TCP; the first part, with address, control data and flags, is in. */
static long recvmsg_rest(struct fdcall *c, const struct msghdr *msg, int flags, size_t got, size_t wanted) {
	struct iovec window[IOV_WINDOW];
	while (got < wanted) {
		struct pd *pd = c->pd;
		long r = -EAGAIN;
		if (!pd_drained(pd)) {
			struct msghdr part = {.msg_iov = window};
			part.msg_iovlen = (size_t)iov_window(window, msg->msg_iov, msg->msg_iovlen, got);
			pd_try(pd, PD_READ);
			r = FD_TRY(c, SYS3(SYS_recvmsg, c->fd, &part, (flags & ~MSG_WAITALL) | MSG_DONTWAIT));
			if (r != -EAGAIN)
				recv_done(pd, r, iov_bytes(window, part.msg_iovlen), flags);
		}
		if (r > 0) {
			got += (size_t)r;
			continue;
		}
		if (r != -EAGAIN || fdcall_wait(c, PD_READ, true) != 0 || recv_ends_here(c))
			break;
	}
	return (long)got;
}

/* [at, at + bytes) can be read. A bad pointer is the kernel's to find, and EFAULT what comes of it: so it is asked, by a call that reads 8 bytes before it
 * finds fault with its first argument. */
static bool readable(struct g *g, const void *at, size_t bytes) {
	uintptr_t low = (uintptr_t)at, last = low + bytes - 1;
	if (likely(on_own_stack(g, at, bytes)))
		return true;
	if (bytes < 8 || last < low)
		return false;
	for (uintptr_t page = low;; page = (page | 4095) + 1) {
		if (SYS4(SYS_rt_sigprocmask, -1, page, NULL, 8) == -EFAULT)
			return false;
		if ((page | 4095) >= last)
			return true;
	}
}

/* New descriptors that came with a message, or old ones that leave with it: others know their descriptions. */
static void control_scan(const struct msghdr *msg, bool received) {
	struct msghdr copy = *msg;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&copy); cm; cm = CMSG_NXTHDR(&copy, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS || cm->cmsg_len < CMSG_LEN(0))
			continue;
		const int *fds = (const int *)(const void *)CMSG_DATA(cm);
		for (size_t i = 0; i < (cm->cmsg_len - CMSG_LEN(0)) / sizeof *fds; i++) {
			if (received)
				fd_received(fds[i]);
			else
				fd_shared(fds[i], SHARED_DUP | SHARED_PROCESS);
		}
	}
}

/* Before the kernel hands out descriptors. TCP and UDP do not: to ask whether their messages can be read would cost them a call each. */
static bool control_matters(struct fdcall *c) {
	return !c->pd || (fdcall_kind(c) != KIND_TCP && fdcall_kind(c) != KIND_INET);
}

static void control_leaves(struct fdcall *c, const struct msghdr *msg) {
	if (unlikely(msg->msg_controllen >= sizeof(struct cmsghdr)) && readable(c->g, msg->msg_control, msg->msg_controllen))
		control_scan(msg, false);
}

static long sock_recvmsg(struct fdcall *c, struct msghdr *msg, int flags) {
	if (unlikely(flags & RECV_NEVER_WAITS))
		return RECV_NOW(c, flags, iov_bytes(msg->msg_iov, msg->msg_iovlen),
				FD_TRY(c, SYS3(SYS_recvmsg, c->fd, msg, flags)));
	bool waitall = flags & MSG_WAITALL;
	if (unlikely(recv_must_block(c, flags) || (waitall && pd_kind(c->pd) == KIND_STREAM)))
		return FDCALL_BLOCKING(c, SYS3(SYS_recvmsg, c->fd, msg, flags));
	for (bool known_good = false;; known_good = true) {
		struct pd *pd = c->pd;
		long r = -EAGAIN;
		/* Never a park before the kernel has found the message well-formed. */
		if (!known_good || !pd_drained(pd)) {
			pd_try(pd, PD_READ);
			r = FD_TRY(c, SYS3(SYS_recvmsg, c->fd, msg, (flags & ~MSG_WAITALL) | MSG_DONTWAIT));
		}
		if (r != -EAGAIN) {
			size_t wanted = r > 0 ? iov_bytes(msg->msg_iov, msg->msg_iovlen) : 0;
			recv_done(pd, r, wanted, flags);
			if (unlikely(waitall) && r > 0 && (size_t)r < wanted && pd_kind(pd) == KIND_TCP)
				return recvmsg_rest(c, msg, flags, (size_t)r, wanted);
			return r;
		}
		r = fdcall_wait(c, PD_READ, false);
		if (r == FDCALL_BLOCK)
			return FDCALL_BLOCKING(c, SYS3(SYS_recvmsg, c->fd, msg, flags));
		if (r < 0) {
			recv_unwaited(c, flags);
			return r;
		}
	}
}

SHIM ssize_t recvfrom(int fd, void *restrict buf, size_t n, int flags, __SOCKADDR_ARG addr,
		      socklen_t *restrict addr_size) {
	struct g *g = io_g();
	struct fdcall c;
	if (!g)
		return CALL_REAL(recvfrom, fd, buf, n, flags, addr.__sockaddr__, addr_size);
	shim_testcancel(g);
	if (!fdcall_begin(&c, g, fd))
		return sys_ret(
			BRACKET_CANCEL(g, c.fd, SYS6(SYS_recvfrom, c.fd, buf, n, flags, addr.__sockaddr__, addr_size)));
	long r = fd_is_socket(fdcall_kind(&c)) ? sock_recv(&c, buf, n, flags, addr.__sockaddr__, addr_size)
					       : FDCALL_BRACKET_CANCEL(&c, SYS6(SYS_recvfrom, c.fd, buf, n, flags,
										addr.__sockaddr__, addr_size));
	fdcall_end(&c);
	return sys_ret(r);
}

SHIM ssize_t recv(int fd, void *buf, size_t n, int flags) {
	if (!io_g())
		return CALL_REAL(recv, fd, buf, n, flags);
	return recvfrom(fd, buf, n, flags, (__SOCKADDR_ARG){.__sockaddr__ = NULL}, NULL);
}

SHIM ssize_t recvmsg(int fd, struct msghdr *msg, int flags) {
	struct g *g = io_g();
	struct fdcall c;
	long r;
	if (!g) {
		r = CALL_REAL(recvmsg, fd, msg, flags);
	} else {
		shim_testcancel(g);
		if (!fdcall_begin(&c, g, fd)) {
			r = io_ret(g, BRACKET_CANCEL(g, c.fd, SYS3(SYS_recvmsg, c.fd, msg, flags)));
		} else {
			r = fd_is_socket(fdcall_kind(&c))
				    ? sock_recvmsg(&c, msg, flags)
				    : FDCALL_BRACKET_CANCEL(&c, SYS3(SYS_recvmsg, c.fd, msg, flags));
			fdcall_end(&c);
			r = io_ret(g, r);
		}
	}
	if (r >= 0 && unlikely(msg->msg_controllen != 0))
		control_scan(msg, true);
	return r;
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static inline bool sends_in_parts(struct pd *pd) {
	return pd_kind(pd) == KIND_TCP || pd_kind(pd) == KIND_STREAM;
}

/* How much to offer at once. Small records stay whole: others may be writing, too. */
static inline size_t send_part(struct pd *pd, size_t n, int flags) {
	return n > PIPE_BUF && sends_in_parts(pd) && !(flags & ~MSG_NOSIGNAL) ? chaos_part(n) : n;
}

/* What waiting for a writable socket cannot stand for: the receiver's queue is what is full. */
static inline bool send_must_block(struct pd *pd) {
	return pd_kind(pd) == KIND_UNIX_DGRAM;
}

/* Each part that moved has waited for itself: a Unix socket's SO_SNDTIMEO is for a buffer, all others' for the call. */
static inline void send_moved(struct fdcall *c) {
	int domain = AF_UNSPEC;
	socklen_t size = sizeof domain;
	if (unlikely(c->deadline > 0) && pd_kind(c->pd) == KIND_STREAM &&
	    FD_TRY(c, SYS5(SYS_getsockopt, c->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size)) == 0 && domain == AF_UNIX)
		c->deadline = 0;
}

#define SEND_LAST_TRY 1 /* as a deadline: long ago */

/* A try said EAGAIN or moved a part. 0: try again. */
static long send_wait(struct fdcall *c, size_t done) {
	struct pd *pd = c->pd;
	if (atomic_load_explicit(&pd->ready, memory_order_relaxed) & PD_WRITE) {
		/* Known from before the try: forget it and try once more, so that no edge is lost in between. */
		pd_clear(pd, PD_WRITE);
		return 0;
	}
	long r = fdcall_wait(c, PD_WRITE, done != 0);
	if (r == 0 && done && fdcall_failed(c)) {
		pd_more(c->pd, PD_WRITE); /* the next one finds out for himself */
		return -EPIPE;
	}
	/* Writable is what has room for much. When the time is over, the kernel looks for any room before it gives up; TCP does not. */
	if (r == -EAGAIN && c->deadline > SEND_LAST_TRY && pd_kind(pd) != KIND_TCP) {
		c->deadline = SEND_LAST_TRY;
		return 0;
	}
	return r;
}

/* MSG_ZEROCOPY: the program is told of each call of the kernel's, by its number, and counts its own. */
static inline bool send_is_counted(struct fdcall *c, int flags) {
	return (flags & MSG_ZEROCOPY) && sends_in_parts(c->pd) && !(fdcall_flags(c) & FL_NONBLOCK);
}

long sock_send(struct fdcall *c, const void *buf, size_t n, int flags, const void *addr, unsigned addr_size) {
	size_t done = 0;
	if (n > RW_MAX && n <= SSIZE_MAX)
		n = RW_MAX;
	if (unlikely(flags & SEND_NEVER_WAITS))
		return FD_TRY(c, SYS6(SYS_sendto, c->fd, buf, n, flags, addr, addr_size));
	if (unlikely((flags & MSG_FASTOPEN) || send_is_counted(c, flags))) /* a connect is part of it */
		return FDCALL_BLOCKING(c, SYS6(SYS_sendto, c->fd, buf, n, flags, addr, addr_size));
	for (;;) {
		int how = flags | MSG_DONTWAIT | (done ? MSG_NOSIGNAL : 0);
		size_t part = send_part(c->pd, n - done, flags);
		long r = FD_TRY(c, SYS6(SYS_sendto, c->fd, (const char *)buf + done, part, how, addr, addr_size));
		if (r > 0) {
			done += (size_t)r;
			send_moved(c);
		}
		if (unlikely(part < n) && r == (long)part && done < n)
			continue; /* it was not the socket that stopped it */
		if (r != -EAGAIN && (r <= 0 || done >= n || !sends_in_parts(c->pd))) {
			pd_more(c->pd, PD_WRITE);
			if (pd_kind(c->pd) != KIND_TCP && r >= 0)
				fd_hint(c->number, PD_READ);
			return done ? (long)done : r;
		}
		if (r > 0 && pd_kind(c->pd) != KIND_TCP)
			fd_hint(c->number, PD_READ);
		r = send_must_block(c->pd) ? FDCALL_BLOCK : send_wait(c, done);
		if (r == FDCALL_BLOCK)
			return FDCALL_BLOCKING(c, SYS6(SYS_sendto, c->fd, buf, n, flags, addr, addr_size));
		if (r < 0)
			return done ? (long)done : r;
	}
}

/* Who sends is said of every part by the kernel. The kernel has read the control data. Bytes in `to`. */
static size_t credentials_copy(char to[CMSG_SPACE(sizeof(struct ucred))], const struct msghdr *msg) {
	struct msghdr read = *msg; /* CMSG_NXTHDR() wants one to write to */
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&read); c; c = CMSG_NXTHDR(&read, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memset(to, 0, CMSG_SPACE(sizeof(struct ucred)));
		memcpy(to, c, CMSG_LEN(sizeof(struct ucred)));
		return CMSG_SPACE(sizeof(struct ucred));
	}
	return 0;
}

long sock_sendmsg(struct fdcall *c, const struct msghdr *msg, int flags) {
	struct iovec window[IOV_WINDOW];
	struct msghdr part;
	char credentials[CMSG_SPACE(sizeof(struct ucred))] __attribute__((aligned(sizeof(size_t))));
	const struct msghdr *now = msg;
	size_t done = 0, total = 0;
	if (unlikely(flags & SEND_NEVER_WAITS))
		return FD_TRY(c, SYS3(SYS_sendmsg, c->fd, msg, flags));
	if (unlikely((flags & MSG_FASTOPEN) || send_is_counted(c, flags)))
		return FDCALL_BLOCKING(c, SYS3(SYS_sendmsg, c->fd, msg, flags));
	for (;;) {
		long r = FD_TRY(c, SYS3(SYS_sendmsg, c->fd, now, flags | MSG_DONTWAIT | (done ? MSG_NOSIGNAL : 0)));
		if (r > 0) {
			/* The kernel has read the vector: so can we. */
			total = iov_bytes(msg->msg_iov, msg->msg_iovlen);
			done += (size_t)r;
			send_moved(c);
		}
		if (r != -EAGAIN && (r <= 0 || done >= total || !sends_in_parts(c->pd))) {
			pd_more(c->pd, PD_WRITE);
			if (pd_kind(c->pd) != KIND_TCP && r >= 0)
				fd_hint(c->number, PD_READ);
			return done ? (long)done : r;
		}
		/* A window that went out whole is no sign that the socket is full. */
		if (r < 0 || now == msg || (size_t)r < iov_bytes(window, part.msg_iovlen)) {
			r = send_must_block(c->pd) ? FDCALL_BLOCK : send_wait(c, done);
			if (r == FDCALL_BLOCK)
				return FDCALL_BLOCKING(c, SYS3(SYS_sendmsg, c->fd, msg, flags));
			if (r < 0)
				return done ? (long)done : r;
		}
		if (done) {
			/* Address and control data went with the first part, all but that. */
			part = (struct msghdr){.msg_iov = window};
			if (unlikely(msg->msg_controllen) && pd_kind(c->pd) == KIND_STREAM && (part.msg_controllen = credentials_copy(credentials, msg)))
				part.msg_control = credentials;
			part.msg_iovlen = (size_t)iov_window(window, msg->msg_iov, msg->msg_iovlen, done);
			now = &part;
		}
	}
}

SHIM ssize_t sendto(int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG addr, socklen_t addr_size) {
	struct g *g = io_g();
	struct fdcall c;
	if (!g)
		return CALL_REAL(sendto, fd, buf, n, flags, addr.__sockaddr__, addr_size);
	shim_testcancel(g);
	if (!fdcall_begin(&c, g, fd))
		return io_ret(g,
			      BRACKET_CANCEL(g, c.fd, SYS6(SYS_sendto, c.fd, buf, n, flags, addr.__sockaddr__, addr_size)));
	long r = fd_is_socket(fdcall_kind(&c)) ? sock_send(&c, buf, n, flags, addr.__sockaddr__, addr_size)
					       : FDCALL_BRACKET_CANCEL(&c, SYS6(SYS_sendto, c.fd, buf, n, flags,
										addr.__sockaddr__, addr_size));
	fdcall_end(&c);
	return io_ret(g, r);
}

SHIM ssize_t send(int fd, const void *buf, size_t n, int flags) {
	if (!io_g())
		return CALL_REAL(send, fd, buf, n, flags);
	return sendto(fd, buf, n, flags, (__CONST_SOCKADDR_ARG){.__sockaddr__ = NULL}, 0);
}

SHIM_ALIAS(send, __send);

SHIM ssize_t sendmsg(int fd, const struct msghdr *msg, int flags) {
	struct g *g = io_g();
	struct fdcall c;
	long r;
	if (!g) {
		r = CALL_REAL(sendmsg, fd, msg, flags);
		if (r >= 0 && unlikely(msg->msg_controllen != 0)) /* the kernel has read it: so can we */
			control_scan(msg, false);
		return r;
	}
	shim_testcancel(g);
	bool begun = fdcall_begin(&c, g, fd);
	if (control_matters(&c) && readable(g, msg, sizeof *msg))
		control_leaves(&c, msg);
	if (!begun)
		return io_ret(g, BRACKET_CANCEL(g, c.fd, SYS3(SYS_sendmsg, c.fd, msg, flags)));
	r = fd_is_socket(fdcall_kind(&c)) ? sock_sendmsg(&c, msg, flags)
					       : FDCALL_BRACKET_CANCEL(&c, SYS3(SYS_sendmsg, c.fd, msg, flags));
	fdcall_end(&c);
	return io_ret(g, r);
}

/* ---- several messages per call ---------------------------------------------------------------------------------------- */

/* A call that began now would take the error. That is for the next one. */
static bool recvmmsg_failed(struct fdcall *c) {
	if (likely(!(atomic_load_explicit(&c->pd->ready, memory_order_relaxed) & PD_HUP)) || !(fdcall_poll_now(c, 0) & POLLERR))
		return false;
	pd_more(c->pd, PD_READ);
	return true;
}

/* As the kernel: the time is looked at after each message only, an error after the first message waits for the next call. */
static long sock_recvmmsg(struct fdcall *c, struct mmsghdr *vec, unsigned count, int flags, int64_t until) {
	unsigned got = 0;
	struct timespec left;
	if (flags & RECV_NEVER_WAITS)
		return FD_TRY(c, SYS5(SYS_recvmmsg, c->fd, vec, count, flags, NULL));
	if (unlikely(recv_must_block(c, flags) || (flags & MSG_WAITALL && sends_in_parts(c->pd) && !(fdcall_flags(c) & FL_NONBLOCK)))) /* each whole */
		return FDCALL_BLOCKING(c, SYS5(SYS_recvmmsg, c->fd, vec, count, flags, time_left(&left, until)));
	for (;;) {
		struct pd *pd = c->pd;
		pd_try(pd, PD_READ);
		long r = FD_TRY(c, SYS5(SYS_recvmmsg, c->fd, vec + got, count - got,
					(flags & ~MSG_WAITFORONE) | MSG_DONTWAIT, time_left(&left, until)));
		if (r != -EAGAIN)
			pd_more(pd, PD_READ);
		if (r >= 0) {
			got += (unsigned)r;
			c->deadline = 0; /* SO_RCVTIMEO is for a message */
		} else if (r != -EAGAIN)
			return got ? (long)got : r;
		if (got >= count || r == 0 ||
		    (got && ((flags & MSG_WAITFORONE) || (until >= 0 && nanotime() >= until))))
			return (long)got;
		r = fdcall_wait(c, PD_READ, got != 0);
		if (r == FDCALL_BLOCK)
			r = FDCALL_BLOCKING(c, SYS5(SYS_recvmmsg, c->fd, vec + got, count - got, flags, time_left(&left, until)));
		else if (r == 0 && !(got && recvmmsg_failed(c)))
			continue;
		return r > 0 ? (long)got + r : got ? (long)got : r;
	}
}

SHIM int recvmmsg(int fd, struct mmsghdr *vec, unsigned count, int flags, struct timespec *timeout) {
	struct g *g = io_g();
	struct fdcall c;
	long r;
	if (!g) {
		r = CALL_REAL(recvmmsg, fd, vec, count, flags, timeout);
	} else {
		shim_testcancel(g);
		if (address_unwritable_given(timeout))
			return (int)io_ret(g, -EFAULT);
		if (timeout && !timespec_valid(timeout))
			return (int)io_ret(g, -EINVAL);
		int64_t until = timeout ? deadline_rel(timeout) : -1;
		if (!fdcall_begin(&c, g, fd))
			return (int)io_ret(g, BRACKET_CANCEL(g, c.fd, SYS5(SYS_recvmmsg, c.fd, vec, count, flags, timeout)));
		r = fd_is_socket(fdcall_kind(&c))
			    ? sock_recvmmsg(&c, vec, count, flags, until)
			    : FDCALL_BRACKET_CANCEL(&c, SYS5(SYS_recvmmsg, c.fd, vec, count, flags, timeout));
		fdcall_end(&c);
		if (timeout && r > 0) {
			int64_t left = until - nanotime();
			left = left > 0 ? left : 0;
			*timeout = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
		}
		r = io_ret(g, r);
	}
	for (long i = 0; i < r; i++) {
		if (unlikely(vec[i].msg_hdr.msg_controllen != 0))
			control_scan(&vec[i].msg_hdr, true);
	}
	return (int)r;
}

/* Streams: each message whole before the next one begins. One that is cut short is the last, as in the kernel. */
static long sendmmsg_whole(struct fdcall *c, struct mmsghdr *vec, unsigned count, int flags) {
	for (unsigned done = 0; done < count; done++) {
		c->deadline = 0; /* SO_SNDTIMEO is for a message */
		long r = c->pd ? sock_sendmsg(c, &vec[done].msg_hdr, flags) : -EBADF;
		if (r < 0)
			return done ? (long)done : r;
		vec[done].msg_len = (unsigned)r;
		if ((size_t)r < iov_bytes(vec[done].msg_hdr.msg_iov, vec[done].msg_hdr.msg_iovlen))
			return (long)done + 1;
	}
	return (long)count;
}

static long sendmmsg_records(struct fdcall *c, struct mmsghdr *vec, unsigned count, int flags) {
	unsigned done = 0;
	do {
		long r = FD_TRY(c, SYS4(SYS_sendmmsg, c->fd, vec + done, count - done, flags | MSG_DONTWAIT));
		if (r == -EAGAIN) {
			r = send_must_block(c->pd) ? FDCALL_BLOCK : send_wait(c, done);
			if (r == FDCALL_BLOCK) {
				r = FDCALL_BLOCKING(c, SYS4(SYS_sendmmsg, c->fd, vec + done, count - done, flags));
				return r > 0 ? (long)done + r : done ? (long)done : r;
			}
			if (r == 0)
				continue;
		}
		if (r <= 0)
			return done ? (long)done : r;
		done += (unsigned)r;
		c->deadline = 0; /* SO_SNDTIMEO is for a message */
		pd_more(c->pd, PD_WRITE);
	} while (done < count);
	return (long)done;
}

SHIM int sendmmsg(int fd, struct mmsghdr *vec, unsigned count, int flags) {
	struct g *g = io_g();
	struct fdcall c;
	long r;
	if (count > IOV_MAX)
		count = IOV_MAX; /* as the kernel does */
	if (!g) {
		r = CALL_REAL(sendmmsg, fd, vec, count, flags);
		for (long i = 0; i < r; i++) {
			if (unlikely(vec[i].msg_hdr.msg_controllen != 0))
				control_scan(&vec[i].msg_hdr, false);
		}
		return (int)r;
	}
	shim_testcancel(g);
	bool begun = fdcall_begin(&c, g, fd);
	if (control_matters(&c) && count && readable(g, vec, count * sizeof *vec)) {
		for (unsigned i = 0; i < count; i++)
			control_leaves(&c, &vec[i].msg_hdr);
	}
	if (!begun)
		return (int)io_ret(g, BRACKET(g, SYS4(SYS_sendmmsg, c.fd, vec, count, flags)));
	if (flags & SEND_NEVER_WAITS)
		r = FDCALL_BRACKET(&c, SYS4(SYS_sendmmsg, c.fd, vec, count, flags));
	else
		r = fd_is_socket(fdcall_kind(&c)) && sends_in_parts(c.pd) ? sendmmsg_whole(&c, vec, count, flags)
								       : sendmmsg_records(&c, vec, count, flags);
	fdcall_end(&c);
	return (int)io_ret(g, r);
}
