/* What the I/O shims share: who is calling, calls that block the kernel thread, and one operation on a descriptor that may park. */
#ifndef GOSHIM_IO_H
#define GOSHIM_IO_H

#include <limits.h>
#include <poll.h>
#include <sys/uio.h>

#include "../core/chaos.h"
#include "../core/runtime.h"
#include "../core/tcb.h"
#include "fdtable.h"
#include "sigstate.h"

#define RW_MAX 0x7ffff000ul /* the kernel moves at most so much per call */

/* The calling goroutine; NULL: let libc do it. A vfork child borrows its parent's goroutine and must not park on it (FRK-5). */
static inline struct g *io_g(void) {
	struct g *g = g_goroutine();
	return likely(g != NULL) && likely(!g->in_vfork) ? g : NULL;
}

/* [at, at + bytes) is in a frame of the caller's; never true for main, whose stack has no end that we know. */
static inline bool on_own_stack(struct g *g, const void *at, size_t bytes) {
	uintptr_t here = (uintptr_t)__builtin_frame_address(0), low = (uintptr_t)at, high = (uintptr_t)g->stack.hi;
	return (uintptr_t)g->stack.lo <= here && here <= low && low <= high && bytes <= high - low;
}

/* fd_hold(), where g's numbers are those of the table; NULL: the call is the kernel's. */
static inline struct pd *io_hold(struct g *g, int fd) {
	return likely(!g->own_files) ? fd_hold(fd) : NULL;
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

/* What a call that waits in the kernel is to cancellation. CANCEL_WAITS: while it does, cancellation acts at once, as it does in libc's own calls, also on one that is
 * back with a part of its bytes, because the canceller's signal ended it. CANCEL_MAKES: it makes or takes something whole (a descriptor, a child's status, a lock, a
 * message), which would be nobody's: once it has succeeded, a cancellation waits for the next point (CAN-1; libc before 2.41 loses it). Its call is a SYS_MAKES(),
 * which opens and closes by itself. */
enum io_cancel { CANCEL_NOT, CANCEL_WAITS, CANCEL_MAKES };
/* False: cancellation acts at once anyhow, or is SYS_MAKES()'s. */
bool io_cancel_open(struct g *g, enum io_cancel how);
void io_cancel_close(struct g *g, bool opened);

#define SYS_MAKES5(g, n, a, b, c, d, e) \
	arch_syscall_makes(tcb_cancelhandling((g)->ctx.tp), (n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))
#define SYS_MAKES4(g, n, a, b, c, d) SYS_MAKES5(g, n, a, b, c, d, 0)
#define SYS_MAKES3(g, n, a, b, c) SYS_MAKES5(g, n, a, b, c, 0, 0)

/* The handlers that have run on a goroutine, before a call of its. */
struct io_handlers {
	uint32_t all, ending;
};

static inline struct io_handlers io_handlers(struct g *g) {
	return g ? (struct io_handlers){sig_handlers_run(g), sig_handlers_ending(g)} : (struct io_handlers){0};
}

/* A call came back with EINTR, but no handler that ends it ran on this goroutine since `before`: what disturbed it was a signal for somebody else, whose
 * handler ran on the kernel thread, or would have. No thread of its own would have noticed: repeat it (SIG-1). `restarts`: the kernel restarts such a call
 * after a handler with SA_RESTART, so only one without ends it. The kernel has restarted it after this goroutine's own, because they arrive as the same numbers
 * on its kernel thread; what then ended it was another's. False where nobody knows whether it does: then any handler of its own is taken for the end. And where a
 * handler has forked, and this is the child: nobody counted it, and g is a goroutine no more. */
static inline bool io_disturbed(struct g *g, struct io_handlers before, bool restarts) {
	struct io_handlers now = io_handlers(g);
	return g && likely(g->kind <= G_MAIN) && (restarts ? now.ending == before.ending : now.all == before.all);
}

/* The same outside the runtime, where sysmon may have ended the call for want of kernel threads: others run first. */
static inline bool io_repeats(struct g *g, struct io_handlers before, bool restarts) {
	if (!io_disturbed(g, before, restarts))
		return false;
	g_make_way(g);
	return io_disturbed(g, before, restarts);
}

/* EINTR again and again, and no signal has come: the kernel means it (a file system in user space, ioctl(KVM_RUN)). Once or twice it may be of one that another kernel thread
 * has taken since. */
struct io_answer {
	uint32_t signals;
	unsigned vain;
};
#define IO_VAIN_MAX 3

static inline bool io_answered(struct g *g, struct io_answer *a) {
	if (!g || g->signals == a->signals)
		return ++a->vain > IO_VAIN_MAX;
	*a = (struct io_answer){g->signals, 0};
	return false;
}

/* Chaos: a handler that ends such a call ran on this goroutine since the program made it, and now it is about to wait. Natively the signal may as well have come a
 * moment later, in the wait, and nobody can tell the two apart: the call fails with EINTR, or with progress says how far it came. Never where no handler ran, nor instead
 * of what is there already: the kernel looks for that first. */
static inline bool io_ends_by_chaos(struct g *g, struct io_handlers before, bool restarts) {
	return unlikely(chaos_modes != 0) && !io_disturbed(g, before, restarts) && chaos(CHAOS_INTR);
}

/* Does the kernel restart a call on this descriptor? Not if it is a socket with a timeout, in whichever direction. */
bool io_restarts(int fd);

/* A raw system call between brackets, repeated when it was disturbed. `restarts` is looked at only then. */
#define BRACKET_AS(enter, g, cancel, restarts, call)                                                         \
	(__extension__({                                                                                     \
		long bracket_result;                                                                         \
		struct io_handlers bracket_before = io_handlers(g);                                          \
		struct io_answer bracket_answer = {0, 0};                                                    \
		do {                                                                                         \
			bool bracket_opened = (cancel) != CANCEL_NOT && io_cancel_open((g), (cancel));       \
			enter(g);                                                                            \
			bracket_result = (call);                                                             \
			sig_raised_by((g), bracket_result);                                                  \
			arch_tp_mend();                                                                      \
			syscall_exit(g);                                                                     \
			if ((cancel) != CANCEL_NOT)                                                          \
				io_cancel_close((g), bracket_opened);                                        \
		} while (unlikely(bracket_result == -EINTR) && !io_answered((g), &bracket_answer) &&         \
			 io_repeats((g), bracket_before, (restarts)));                                       \
		bracket_result;                                                                              \
	}))

/* One that may block this kernel thread for a while: sysmon then gives the P away. Whether the kernel restarts it, we do not know. */
#define BRACKET(g, call) BRACKET_AS(syscall_enter, g, CANCEL_NOT, false, call)
/* One that waits for a disk at most; EINTR is then what a file system in user space says, and the kernel does not restart it. */
#define BRACKET_DISK(g, call) BRACKET_AS(syscall_enter_disk, g, CANCEL_NOT, false, call)
/* The same for a cancellation point: what is named like a file may wait for more than a disk (/proc/kmsg, a pipe of tracefs, a server of files). */
#define BRACKET_DISK_CANCEL(g, call) BRACKET_AS(syscall_enter_disk, g, CANCEL_WAITS, false, call)
/* For a cancellation point that may take long, on a descriptor. */
#define BRACKET_CANCEL(g, fd, call) BRACKET_AS(syscall_enter, g, CANCEL_WAITS, io_restarts(fd), call)
/* One that is known to block for long, a cancellation point: the P is given away at once. */
#define BRACKET_BLOCKING(g, restarts, call) BRACKET_AS(syscall_enter_blocking, g, CANCEL_WAITS, restarts, call)
/* One that waits for long for what does not go away (a lock of a file, a child's end, the other end of a FIFO, a semaphore of System V): sysmon may end it for want
 * of kernel threads. Then others run, and it is made again, unless a handler that ends such a call ran since it began, or while it made way: one without SA_RESTART
 * where the kernel restarts the call, else any. */
static inline void io_enter_waiting(struct g *g) {
	syscall_enter_blocking(g);
	syscall_repeats(g);
}

#define BRACKET_WAITS(g, cancel, call) BRACKET_AS(io_enter_waiting, g, cancel, true, call)
#define BRACKET_QUEUE(g, call) BRACKET_AS(io_enter_waiting, g, CANCEL_MAKES, false, call)
#define BRACKET_SEMOP(g, call) BRACKET_AS(io_enter_waiting, g, CANCEL_NOT, false, call)
/* BRACKET_BLOCKING that is no cancellation point. */
#define BRACKET_LONG(g, restarts, call) BRACKET_AS(syscall_enter_blocking, g, CANCEL_NOT, restarts, call)

/* A wired goroutine waits for descriptors in the kernel, as a kernel thread does: parked, each event would cost two hand-overs between kernel
 * threads (core/wired.c). Not where a signal mask is exchanged for the time of the wait, or there is a signalfd: what is pending
 * for the goroutine alone, the kernel does not know. */
static inline bool io_waits_itself(struct g *g) {
	return unlikely(g->wired_m != NULL) && !sig_fd_blocked(g);
}

/* Nor can it wait in the kernel where epoll refused the descriptors (no memory, fs.epoll.max_user_watches): it would miss, or mistake,
 *   - a signal in the goroutine's own queue, which a signalfd among them shows (sigfd.c), or which the mask of the call lets in;
 *   - a deadline that is ours and not the socket's (io_deadline_ns);
 *   - that a part is moved already, so that a handler ends the call: the kernel would begin the rest anew.
 * Who waits for one of these asks again every NETPOLL_NAP_NS. All others wait in the kernel: threads cost more than parked goroutines then, but as much
 * as without us, and no time. */
static inline bool io_must_nap(struct g *g, bool masked) {
	return masked || sig_fd_blocked(g);
}

/* sig_fd_ask() from outside. */
static inline long io_ask_lent(struct g *g, long (*ask)(void *), void *arg) {
	rt_enter(g);
	long r = sig_fd_ask(g, ask, arg);
	rt_exit(g);
	return r;
}

/* ---- calls that park -------------------------------------------------------------------------------------------------- */

/* One call of the program on one descriptor. */
struct fdcall {
	struct g *g;
	struct pd *pd;    /* held */
	int number;       /* what the program called it */
	int fd;           /* in FD_TRY(): what to use in the system call, the number or a ghost of it (FD-1) */
	int64_t deadline; /* CLOCK_MONOTONIC ns; -1 none; 0 not decided yet */
	bool patient;     /* io_deadline_ns is not for it: who accepts waits for no peer that could be dead */
	bool inside;      /* the runtime: no handler of the program runs while pd is held */
	bool async;       /* O_ASYNC, as fdcall_may_wait() found it */
	uint32_t shuts;   /* fdcall_shuts before the last try */
	uint8_t looks;    /* how often fdcall_wait() has ended a wait for nothing (send_look_at()) */
	bool limited;     /* deadline is by io_deadline_ns: else the call is as one without. The kernel must not wait for it */
	void (*undo)(struct fdcall *c); /* by fdcall_abandon(), before it lets go; or NULL */
	void *undo_arg;
	struct io_handlers before; /* under chaos: that had run when the program made the call */
};

/* Under chaos, at the beginning of a call: others run, and handlers. */
void fdcall_chaos(struct fdcall *c);

enum {
	FDCALL_BLOCK = -4000
}; /* cannot be waited for by epoll: make a bracketed blocking call. Never a kernel error number */

static inline void fdcall_leave(struct fdcall *c) {
	if (likely(c->inside)) {
		c->inside = false;
		rt_exit(c->g);
	}
}

static inline void fdcall_reenter(struct fdcall *c) {
	c->inside = true;
	in_rt_up(c->g);
	atomic_signal_fence(memory_order_seq_cst);
}

/* A system call on c->fd that does not wait, or another question about it. What c->fd names cannot be another's by now (FD-3). sysmon may take the
 * P meanwhile (is_outside()): the look at `retake` comes after the store of `trying`, as in rt_enter(). */
#define FD_TRY(c, call)                                                                                        \
	(__extension__({                                                                                       \
		struct g *fd_try_g = (c)->g;                                                                   \
		(c)->fd = pd_try_begin(fd_try_g, (c)->pd);                                                     \
		long fd_try_result = (call);                                                                   \
		sig_raised_by(fd_try_g, fd_try_result);                                                        \
		pd_try_end(fd_try_g);                                                                          \
		atomic_signal_fence(memory_order_seq_cst);                                                     \
		if (fd_try_result > 0 && fd_is_socket(pd_kind((c)->pd))) /* others may be wake-ups of the program's own */ \
			m_moved(fd_try_g->m);                                                                  \
		if (unlikely(atomic_load_explicit(&fd_try_g->m->retake, memory_order_relaxed) != RETAKE_NONE)) \
			rt_enter_slow(fd_try_g);                                                               \
		fd_try_result;                                                                                 \
	}))

/* Counts the shutdowns of sockets that are no TCP's, here and, as far as somebody found out, elsewhere; and who waits for room in what may be a Unix socket now. */
extern _Atomic uint32_t fdcall_shuts, fdcall_senders;

/* Before a try. Has there been one since the last time? */
static inline bool fdcall_shuts_note(struct fdcall *c) {
	/* acquire: pairs with the count in shutdown(), made after the kernel's work. The try meets each shutdown that is counted here. */
	uint32_t before = c->shuts, now = atomic_load_explicit(&fdcall_shuts, memory_order_acquire);
	c->shuts = now;
	return now != before;
}

/* False: no pd; make a bracketed plain call on c->fd. Every true one needs fdcall_end(). */
static inline bool fdcall_begin(struct fdcall *c, struct g *g, int fd) {
	c->g = g;
	if (unlikely(chaos_modes != 0))
		fdcall_chaos(c);
	c->number = c->fd = fd;
	c->deadline = 0;
	c->patient = c->limited = false;
	c->looks = 0;
	c->shuts = atomic_load_explicit(&fdcall_shuts, memory_order_acquire); /* as in fdcall_shuts_note() */
	c->undo = NULL;
	c->inside = true;
	in_rt_up(g); /* the P is not touched: no look at retake */
	atomic_signal_fence(memory_order_seq_cst);
	c->pd = io_hold(g, fd);
	if (likely(c->pd != NULL)) {
		if (unlikely(fd_users_noted))
			fd_user_note(c->pd, g->id);
		return true;
	}
	fdcall_leave(c);
	/* One of the runtime's own: for the program there is no such descriptor. */
	if (fd >= 0 && netpoll_owns_fd(fd))
		c->fd = -1;
	return false;
}

static inline void fdcall_end(struct fdcall *c) {
	if (likely(c->pd != NULL))
		pd_drop(c->pd);
	fdcall_leave(c);
}

/* What it is; KIND_UNKNOWN: not open, or not to be found out: make a bracketed plain call. */
static inline enum fd_kind fdcall_kind(struct fdcall *c) {
	enum fd_kind kind = pd_kind(c->pd);
	return likely(kind != KIND_UNKNOWN) ? kind : (enum fd_kind)FD_TRY(c, fd_classify(c->pd, c->fd));
}

/* Before a call that may block in the kernel for lack of anything better: it may end in a cancellation or a jump, and a pd held for ever would
 * keep the descriptor open after its close. A ghost's stays: the hold is what keeps the number. c->pd is not to be used any more. */
static inline void fdcall_release(struct fdcall *c) {
	if (c->pd && !pd_is_ghost(c->pd)) {
		pd_drop(c->pd);
		c->pd = NULL;
		c->fd = c->number;
	} else if (c->pd) {
		c->fd = __atomic_load_n(&c->pd->fd, __ATOMIC_RELAXED);
	}
	fdcall_leave(c);
}

/* Outside the runtime with c->pd held, and inside again. */
void fdcall_open(struct fdcall *c);
void fdcall_close(struct fdcall *c);
/* Lets others run, and handlers. */
void fdcall_yield(struct fdcall *c);
/* io_repeats() in the middle of an operation. True: outside again, for the next call; what a handler did on the way there counts. */
bool fdcall_repeats(struct fdcall *c, struct io_handlers before, bool restarts);

/* The last call of an operation, which may block for a while. */
#define FDCALL_BRACKET(c, call)                                                       \
	(__extension__({                                                              \
		fdcall_release(c);                                                    \
		BRACKET_AS(syscall_enter, (c)->g, CANCEL_NOT, io_restarts((c)->fd), call); \
	}))

/* The same for a disk, a cancellation point. */
#define FDCALL_BRACKET_DISK(c, call)               \
	(__extension__({                           \
		fdcall_release(c);                 \
		BRACKET_DISK_CANCEL((c)->g, call); \
	}))

/* The same for a cancellation point. */
#define FDCALL_BRACKET_CANCEL(c, call)                 \
	(__extension__({                               \
		fdcall_release(c);                     \
		BRACKET_CANCEL((c)->g, (c)->fd, call); \
	}))

/* One in the middle of it, which may block, with c->pd held: what it began on one description it goes on with there, whatever the number comes to
 * mean. A handler of the program may run, and may jump away, and so may a cancellation: before it does, fdcall_abandon() lets go. Then c->pd is what
 * the number names now. `restarts` as for BRACKET_AS(). */
#define FDCALL_HELD(enter, c, cancel, restarts, call)                                   \
	(__extension__({                                                                \
		long fd_held_result;                                                    \
		struct io_handlers fd_held_before;                                      \
		struct io_answer fd_held_answer = {0, 0};                                       \
		fdcall_open(c);                                                         \
		fd_held_before = io_handlers((c)->g);                                   \
		do {                                                                    \
			bool fd_held_opened = (cancel) != CANCEL_NOT && io_cancel_open((c)->g, (cancel)); \
			enter((c)->g);                                                  \
			fd_held_result = (call);                                        \
			sig_raised_by((c)->g, fd_held_result);                          \
			pd_call_end((c)->g);                                            \
			arch_tp_mend();                                                 \
			syscall_exit((c)->g);                                           \
			if ((cancel) != CANCEL_NOT)                                     \
				io_cancel_close((c)->g, fd_held_opened);                \
			fdcall_close(c);                                                \
		} while (unlikely(fd_held_result == -EINTR) && !io_answered((c)->g, &fd_held_answer) && \
			 fdcall_repeats(c, fd_held_before, (restarts)));                \
		if (unlikely(!(c)->pd))                                                 \
			(c)->pd = fd_hold_again((c)->number);                           \
		fd_held_result;                                                         \
	}))

/* A call of the program's that is one such call, restarted: with c begun for it, and by number where fd cannot be held. */
#define BRACKET_HELD(enter, c, g, fd, cancel, call)                                     \
	(__extension__({                                                                \
		long bracket_held_result;                                               \
		if (fdcall_begin(c, g, fd)) {                                           \
			bracket_held_result = FDCALL_HELD(enter, c, cancel, true, call); \
			fdcall_end(c);                                                  \
		} else {                                                                \
			bracket_held_result = BRACKET_AS(enter, g, cancel, true, call); \
		}                                                                       \
		bracket_held_result;                                                    \
	}))

/* What the kernel restarts unless it is a socket with a timeout. */
#define FDCALL_HELD_AS(enter, c, cancel, call) FDCALL_HELD(enter, c, cancel, io_restarts((c)->fd), call)
/* It is not expected to block, but nobody can promise. */
#define FDCALL_BRACKET_HELD(c, call) FDCALL_HELD_AS(syscall_enter, c, CANCEL_NOT, call)
/* The same for a cancellation point. */
#define FDCALL_BRACKET_HELD_CANCEL(c, call) FDCALL_HELD_AS(syscall_enter, c, CANCEL_WAITS, call)
/* A cancellation point that blocks in the kernel for lack of anything better. */
#define FDCALL_BLOCKING(c, call) FDCALL_HELD_AS(syscall_enter_blocking, c, CANCEL_WAITS, call)
/* The same for one that waits for what does not go away (BRACKET_WAITS). */
#define FDCALL_WAITS(c, call) FDCALL_HELD_AS(syscall_enter_idling, c, CANCEL_MAKES, call)

/* GOSHIM=io_deadline: a socket call that waits longer than this for its peer fails as if SO_RCVTIMEO or SO_SNDTIMEO were set; 0 never. */
extern int64_t io_deadline_ns;

/* The try said EAGAIN (or the descriptor is known to be drained): waits for `mode`. 0: try again, with c->pd as it is now. Else
 * what the call returns: -EAGAIN (the program's O_NONBLOCK, or SO_RCVTIMEO or SO_SNDTIMEO expired), -EINTR,
 * -EBADF; or FDCALL_BLOCK. progress: the call has moved bytes already, so it is not restarted after a handler, nor is it ever FDCALL_BLOCK. */
int fdcall_wait(struct fdcall *c, uint8_t mode, bool progress);
/* Its parts, for who waits in another way. May the call wait for `mode`? 0, with c->deadline known, or -EAGAIN. */
int fdcall_may_wait(struct fdcall *c, uint8_t mode);
/* Takes SO_ERROR, a positive number; 0: none. */
int fdcall_socket_error(struct fdcall *c);
/* The wait ended with -EINTR and is published nowhere. 0: try again; else what the call returns. */
int fdcall_interrupted(struct fdcall *c, bool progress);

/* poll(fd, events) now: revents. */
static inline short fd_poll_now(int fd, short events) {
	struct pollfd p = {.fd = fd, .events = events};
	return arch_poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static inline short fdcall_poll_now(struct fdcall *c, short events) {
	return (short)FD_TRY(c, fd_poll_now(c->fd, events));
}

static inline uint32_t fdcall_flags(struct fdcall *c) {
	uint32_t known = fd_flags_known(c->pd);
	return likely(known & FL_VALID) ? known : (uint32_t)FD_TRY(c, fd_flags(c->pd, c->fd));
}

/* After a wait in the middle of a stream operation that moved bytes already: has the connection failed? Then the call must return what it
 * has and leave the error for the next one, as the kernel does; a try would take it. POLLERR of TCP may tell of something in the error queue (time stamps, the end of a
 * MSG_ZEROCOPY), and what makes a connection fail shuts it as well. */
static inline bool fdcall_failed(struct fdcall *c) {
	short bad = pd_kind(c->pd) == KIND_TCP ? POLLHUP | POLLNVAL : POLLERR | POLLHUP | POLLNVAL;
	return unlikely(atomic_load_explicit(&c->pd->ready, memory_order_relaxed) & PD_HUP) && (fdcall_poll_now(c, 0) & bad);
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
/* With the kernel's own arguments: a mask of `bytes`, or a pair of its address and its bytes; what is left of the time is written back. */
long raw_ppoll(struct g *g, struct pollfd *fds, nfds_t n, struct timespec *time, const sigset_t *mask, size_t bytes);
long raw_pselect(struct g *g, int n, fd_set *reads, fd_set *writes, fd_set *excepts, struct timespec *time, const uintptr_t *mask);

#endif
