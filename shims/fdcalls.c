/* Descriptors come and go: close, dup, fcntl, ioctl, and the calls that make pipes, eventfds and their like. They keep the table of
 * fdtable.c true, whoever calls: a goroutine or a foreign thread; only a vfork child is left alone (FRK-5).
 *
 * Order in close: the pd leaves the table and goes to pd_close() before the kernel gives the number away, so that whoever gets it
 * next finds an empty slot (FD-3), and whoever comes in between finds FD_CLOSING. The runtime's own descriptors do not exist for the program (FD-11). */
#include <linux/close_range.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>

#include "io.h"
#include "tidcall.h"


static bool vfork_child(void) {
	struct g *g = tls_g;
	return unlikely(g && g->in_vfork);
}

static bool is_hidden(int fd) {
	return fd >= 0 && sched_started() && netpoll_owns_fd(fd) && !vfork_child();
}

/* ---- close --------------------------------------------------------------------------------------------------------- */

static long close_goroutine(struct g *g, int fd) {
	if (unlikely(is_hidden(fd)))
		return -EBADF;
	fd_closing(fd);
	/* SO_LINGER can make it block, and so can a file on a network. */
	syscall_enter(g);
	long r = SYS1(SYS_close, fd);
	fd_closed(fd);
	syscall_exit(g);
	return r;
}

SHIM int close(int fd) {
	struct g *g = io_g();
	if (g) {
		shim_testcancel(g);
		return (int)io_ret(g, close_goroutine(g, fd));
	}
	if (unlikely(is_hidden(fd)))
		return (int)sys_ret(-EBADF);
	fd_closing(fd);
	int r = CALL_REAL(close, fd);
	fd_closed(fd);
	return r;
}

SHIM_ALIAS(close, __close);

/* No cancellation point. */
SHIM int mq_close(mqd_t q) {
	struct g *g = io_g();
	return g ? (int)sys_ret(close_goroutine(g, q)) : close(q);
}

/* Closes what the program can see of [first, last]: the runtime's own descriptors, wherever they are, stay (FD-11). There may be no
 * number outside the range to move them to. */
static long close_visible(unsigned first, unsigned last, int flags) {
	struct g *g = io_g();
	unsigned own;
	long r = 0;
	while (r == 0 && first <= INT_MAX && (own = (unsigned)netpoll_own_from((int)first)) <= last && own != INT_MAX) {
		if (own > first)
			r = BRACKET(g, SYS3(SYS_close_range, first, own - 1, flags));
		first = own + 1;
	}
	return r == 0 && first <= last ? BRACKET(g, SYS3(SYS_close_range, first, last, flags)) : r;
}

SHIM int close_range(unsigned first, unsigned last, int flags) {
	bool unshares = flags & CLOSE_RANGE_UNSHARE && !(flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC));
	if (first <= last && unshares && !vfork_child() && sched_started()) {
		/* The kernel does both at once, and would close what is ours as well. */
		if (unshare(CLONE_FILES) != 0)
			return -1;
		flags &= ~CLOSE_RANGE_UNSHARE;
	}
	if (first <= last && flags == 0 && !vfork_child())
		fdsize_range_closed();
	if (first > last || flags != 0 || vfork_child() || !sched_started())
		return (int)sys_ret(SYS3(SYS_close_range, first, last, flags));
	fd_closing_range(first, last);
	return (int)sys_ret(close_visible(first, last, flags));
}

/* As libc: cannot fail; without close_range() it goes through the numbers. */
SHIM void closefrom(int low) {
	unsigned first = low > 0 ? (unsigned)low : 0;
	if (close_range(first, ~0u, 0) != 0) {
		struct rlimit limit = {.rlim_cur = 1u << 20};
		SYS4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
		for (unsigned fd = first; fd < limit.rlim_cur && fd <= INT_MAX; fd++)
			close((int)fd);
	}
}

/* ---- dup ----------------------------------------------------------------------------------------------------------- */

static long dup_done(int old, long r) {
	if (r >= 0)
		fd_duplicated(old, (int)r);
	return sys_ret(r);
}

SHIM int dup(int old) {
	if (unlikely(is_hidden(old)))
		return (int)sys_ret(-EBADF);
	/* Known as shared before there are two. */
	fd_shared(old, SHARED_DUP);
	return (int)dup_done(old, SYS1(SYS_dup, old));
}

static long dup_onto(int old, int fd, int flags, bool three) {
	if (unlikely(is_hidden(old)))
		return -EBADF;
	if (unlikely(is_hidden(fd)) && netpoll_evade((unsigned)fd, (unsigned)fd) < 0)
		return -EMFILE;
	if (old == fd)
		return three ? SYS3(SYS_dup3, old, fd, flags) : arch_dup2(old, fd);
	fd_shared(old, SHARED_DUP);
	fd_replacing(fd);
	struct g *g = io_g();
	long r = BRACKET(g, three ? SYS3(SYS_dup3, old, fd, flags) : arch_dup2(old, fd));
	if (r >= 0)
		fd_duplicated(old, fd);
	fd_closed(fd);
	return r;
}

SHIM int dup2(int old, int fd) {
	return (int)sys_ret(dup_onto(old, fd, 0, false));
}

SHIM_ALIAS(dup2, __dup2);

SHIM int dup3(int old, int fd, int flags) {
	return (int)sys_ret(dup_onto(old, fd, flags, true));
}

/* ---- fcntl, ioctl --------------------------------------------------------------------------------------------------- */

/* Whom the signals of a descriptor are sent to, when that is a thread: it needs a kernel thread (tidcall.c, sigentry.c). */
static long owner_set(int fd, struct f_owner_ex *owner) {
	if (address_bad(owner) || owner->type != F_OWNER_TID)
		return SYS3(SYS_fcntl, fd, F_SETOWN_EX, owner);
	struct f_owner_ex named = {F_OWNER_TID, tid_own(owner->pid)};
	sig_own_note();
	return SYS3(SYS_fcntl, fd, F_SETOWN_EX, &named);
}

static long owner_get(int fd, struct f_owner_ex *owner) {
	long r = SYS3(SYS_fcntl, fd, F_GETOWN_EX, owner);
	if (r == 0 && owner->type == F_OWNER_TID)
		owner->pid = tid_of_own(owner->pid);
	return r;
}

/* The number of a thread stands for its process here, if the kernel knows it. */
static pid_t owner_known(pid_t id) {
	pid_t own = tid_own(id);
	if (own != id)
		sig_own_note();
	return own;
}

/* Who takes a lease, or asks to be notified, is its owner from then on unless there is one: to the kernel, the kernel thread, for its process; that of a goroutine may
 * end. One that is not the first it does not name. */
static void owner_lives(int fd) {
	if (SYS3(SYS_fcntl, fd, F_GETOWN, 0) == 0)
		SYS3(SYS_fcntl, fd, F_SETOWN, SYS0(SYS_getpid));
}

static long ofd_lock_wait(struct g *g, int fd, void *lock) {
	struct fdcall c;
	shim_testcancel(g);
	return BRACKET_HELD(io_enter_waiting, &c, g, fd, CANCEL_MAKES, SYS_MAKES3(g, SYS_fcntl, c.fd, F_OFD_SETLKW, lock));
}

static int fcntl_goroutine(struct g *g, int fd, int command, void *arg) {
	switch (command) {
	case F_OFD_SETLKW:
		return (int)io_ret(g, ofd_lock_wait(g, fd, arg));
	case F_SETLKW: /* not held: its ghost would guard the lock that it got itself, and be there as long as that */
		shim_testcancel(g);
		return (int)io_ret(g, BRACKET_WAITS(g, CANCEL_MAKES, SYS_MAKES3(g, SYS_fcntl, fd, command, arg)));
	case F_SETOWN_EX:
		return (int)sys_ret(owner_set(fd, arg));
	case F_GETOWN_EX:
		return (int)sys_ret(owner_get(fd, arg));
	case F_SETOWN:
		return (int)sys_ret(SYS3(SYS_fcntl, fd, F_SETOWN, owner_known((pid_t)(intptr_t)arg)));
	case F_GETOWN: /* libc translates the answer, which may look like an error */
		return tid_of_own(real.fcntl(fd, command, arg));
	default:; /* F_SETLK and leases may ask a server */
		long r = BRACKET(g, SYS3(SYS_fcntl, fd, command, arg));
		if (r == 0 && ((command == F_SETLEASE && (intptr_t)arg != F_UNLCK) || (command == F_NOTIFY && arg)))
			owner_lives(fd);
		return (int)sys_ret(r);
	}
}

/* FIOSETOWN and its like. */
static long ioctl_owner(int fd, unsigned long request, pid_t *id) {
	bool sets = request == FIOSETOWN || request == SIOCSPGRP;
	if (address_refused(id, sizeof *id, !sets))
		return SYS3(SYS_ioctl, fd, request, id);
	pid_t known = sets ? owner_known(*id) : 0;
	long r = SYS3(SYS_ioctl, fd, request, &known);
	if (r == 0 && !sets)
		*id = tid_of_own(known);
	return r;
}

SHIM int fcntl(int fd, int command, ...) {
	va_list ap;
	va_start(ap, command);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	struct g *g = io_g();
	bool duplicates = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
	if (unlikely(is_hidden(fd)))
		return (int)sys_ret(-EBADF);
	bool keeps = command == F_SETFD && !((uintptr_t)arg & FD_CLOEXEC);
	if (duplicates)
		fd_shared(fd, SHARED_DUP);
	else if (keeps)
		fd_cloexec(fd, false);
	if (command == F_SETFL && ((uintptr_t)arg & O_DIRECT)) /* before the first packet can be read */
		atomic_store_explicit(&fd_packets, true, memory_order_relaxed);
	int r = g ? fcntl_goroutine(g, fd, command, arg) : CALL_REAL(fcntl, fd, command, arg);
	if (duplicates && r >= 0)
		fd_duplicated(fd, r);
	else if (command == F_SETFL && r == 0)
		fd_flags_changed(fd);
	else if (command == F_SETFD && !keeps && r == 0)
		fd_cloexec(fd, true);
	return r;
}

SHIM_ALIAS(fcntl, fcntl64);
SHIM_ALIAS(fcntl, __fcntl);

SHIM int ioctl(int fd, unsigned long request, ...) {
	va_list ap;
	va_start(ap, request);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	struct g *g = io_g();
	if (request == FIONCLEX)
		fd_cloexec(fd, false);
	bool owner = request == FIOSETOWN || request == SIOCSPGRP || request == FIOGETOWN || request == SIOCGPGRP;
	int r = !g ? CALL_REAL(ioctl, fd, request, arg)
		   : (int)sys_ret(owner ? ioctl_owner(fd, request, arg) : BRACKET(g, SYS3(SYS_ioctl, fd, request, arg)));
	if ((request == FIONBIO || request == FIOASYNC) && r == 0)
		fd_flags_changed(fd);
	else if (request == FIOCLEX && r == 0)
		fd_cloexec(fd, true);
	else if (request == TIOCSWINSZ && r == 0) /* it may be the terminal of this very process */
		sig_sent_settle(g, SIGWINCH);
	return r;
}

_Atomic bool fd_packets;

/* ---- new descriptors ------------------------------------------------------------------------------------------------- */

static int pipe_made(int r, const int fds[2], int flags) {
	if (r != 0)
		return r;
	if (flags & O_DIRECT)
		atomic_store_explicit(&fd_packets, true, memory_order_relaxed);
	fd_made(fds[0], KIND_PIPE, flags, NULL);
	fd_made(fds[1], KIND_PIPE, flags, NULL);
	fd_paired(fds[0], fds[1]);
	return 0;
}

SHIM int pipe2(int fds[2], int flags) {
	int r = io_g() ? (int)sys_ret(SYS2(SYS_pipe2, fds, flags)) : CALL_REAL(pipe2, fds, flags);
	return pipe_made(r, fds, flags);
}

SHIM int pipe(int fds[2]) {
	int r = io_g() ? (int)sys_ret(SYS2(SYS_pipe2, fds, 0)) : CALL_REAL(pipe, fds);
	return pipe_made(r, fds, 0);
}

SHIM_ALIAS(pipe, __pipe);

/* An anonymous inode. All of them spell the flags as O_NONBLOCK and O_CLOEXEC. */
static int anon_made(int fd, int flags) {
	if (fd >= 0)
		fd_made(fd, KIND_ANON, flags & (O_NONBLOCK | O_CLOEXEC), NULL);
	return fd;
}

SHIM int eventfd(unsigned count, int flags) {
	return anon_made(CALL_REAL(eventfd, count, flags), flags);
}

SHIM int timerfd_create(clockid_t clock, int flags) {
	return anon_made(CALL_REAL(timerfd_create, clock, flags), flags);
}

SHIM int epoll_create(int size) {
	return anon_made(CALL_REAL(epoll_create, size), 0);
}

SHIM int epoll_create1(int flags) {
	return anon_made(CALL_REAL(epoll_create1, flags), 0);
}

SHIM int inotify_init(void) {
	return anon_made(CALL_REAL(inotify_init), 0);
}

SHIM int inotify_init1(int flags) {
	return anon_made(CALL_REAL(inotify_init1, flags), flags);
}

SHIM int memfd_create(const char *name, unsigned flags) {
	int fd = CALL_REAL(memfd_create, name, flags);
	if (fd >= 0)
		fd_made(fd, KIND_FILE, 0, NULL);
	return fd;
}
