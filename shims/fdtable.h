/* What the shims know about each descriptor number: the table fd -> struct pd, the descriptor's kind, its cached flags, and who
 * else may share its description.
 *
 * A slot holds the pd of the descriptor that has this number now, or NULL: never used by a goroutine yet. Only descriptors that a
 * goroutine touched have one. Whoever takes a pd out of the table (an atomic exchange) owns it and gives it to pd_close(); whoever
 * uses one holds it (fd_hold), because another thread may close the number meanwhile. */
#ifndef GOSHIM_FDTABLE_H
#define GOSHIM_FDTABLE_H

#include <fcntl.h>

#include "../core/netpoll.h"
#include "shim.h"

/* pd_kind(pd). The order matters to fd_is_socket(). */
enum fd_kind {
	KIND_UNKNOWN,
	KIND_TCP,        /* a short read proves it drained */
	KIND_STREAM,     /* other stream sockets: Unix, vsock, TCP with an upper-layer protocol */
	KIND_MESSAGE,    /* sockets that send whole messages: seqpacket, packet */
	KIND_INET,       /* the same of the internet families, UDP and raw: no descriptor goes through them */
	KIND_UNIX_DGRAM, /* and netlink: whether a send would block depends on the receiver, readiness cannot tell */
	KIND_PIPE,       /* a short read proves it drained, too, unless it is in packet mode */
	KIND_CHAR,       /* terminals and other character devices */
	KIND_ANON,       /* eventfd, timerfd, signalfd, epoll, inotify, ...; /dev/kmsg */
	KIND_FILE, /* regular file, directory, block device: never waits for readiness, blocks the kernel thread instead */
	KIND_TASK, /* a thread's file of /proc, made by taskfile.c: never waits */
};

/* pd->spare, changed with atomic OR and AND only */
enum {
	SPARE_NO_NOWAIT_READ = 1,  /* preadv2(RWF_NOWAIT) is refused */
	SPARE_NO_NOWAIT_WRITE = 2, /* pwritev2(RWF_NOWAIT) is refused */
	SPARE_LISTENS = 4,         /* a listening socket */
	SPARE_ACCEPTING = 8,       /* one goroutine at a time asks and then accepts (connect.c) */
	SPARE_BLOCKS = 16,         /* SO_RCVLOWAT is set (fd_lowat_set()): only the kernel's own waiting is right */
	SPARE_CLOEXEC = 32,        /* exec closes this number */
	SPARE_SHUT = 64,           /* shutdown(), */
	SPARE_UNNAMED = 128,       /* or connect(AF_UNSPEC), was called on a TCP socket since a connect() began (connect.c) */
};

/* Relaxed: they change while others look, and whoever finds the old value does what was right a moment ago, or finds out from the kernel. */
static inline enum fd_kind pd_kind(struct pd *pd) {
	return (enum fd_kind)atomic_load_explicit(&pd->kind, memory_order_relaxed);
}
static inline uint8_t pd_spare(struct pd *pd) {
	return __atomic_load_n(&pd->spare, __ATOMIC_RELAXED);
}

/* pd->shared_desc */
enum {
	SHARED_DUP = 1,     /* another number of this process may name the description */
	SHARED_PROCESS = 2, /* another process may: its O_NONBLOCK may change under us at any time */
};

#define SOCKET_TIMEOUT_NOW 1 /* pd->rcv_timeout, snd_timeout, ns: a negative one was set */

/* pd->fl: what matters of F_GETFL, and in the high bits a count of changes, so that an answer that was overtaken is not kept */
enum { FL_VALID = 1, FL_NONBLOCK = 2, FL_PACKET = 4, FL_ASYNC = 8, FL_CHANGE = 16 };

#define FD_LEAF 4096u

/* In a slot: the kernel is about to give the number back. It names its old description until then, but nobody may begin to wait for that: the
 * closer has already looked for those who do (pd_close()). Who comes now makes the plain call, as a kernel thread's. */
#define FD_CLOSING ((struct pd *)1)

struct fd_leaf {
	_Atomic(struct pd *) slot[FD_LEAF];
	/* 1 + the number of the other end of a pipe or socket pair made here; 0 unknown. Only a hint (fd_hint), so it may be outdated. */
	_Atomic int32_t peer[FD_LEAF];
};

/* NULL until the first goroutine uses a descriptor. */
extern _Atomic(_Atomic(struct fd_leaf *) *) fd_root;
extern _Atomic uint32_t fd_flags_epoch;

/* The pd of fd or NULL. Valid only while held: use fd_hold() unless a wrong answer does no harm. */
static inline struct pd *fd_lookup(int fd) {
	/* acquire, three times: pairs with the release that published the root, the leaf and the pd */
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_acquire);
	if (unlikely(!root) || unlikely(fd < 0))
		return NULL;
	struct fd_leaf *leaf = atomic_load_explicit(&root[(unsigned)fd / FD_LEAF], memory_order_acquire);
	if (unlikely(!leaf))
		return NULL;
	/* seq_cst (a plain load on x86): fd_hold()'s second look must not be satisfied before its hold is visible */
	struct pd *pd = atomic_load(&leaf->slot[(unsigned)fd % FD_LEAF]);
	return likely(pd != FD_CLOSING) ? pd : NULL;
}

/* The slow half of fd_hold(): makes the pd. */
struct pd *fd_hold_slow(int fd);

/* The pd of fd, held: pd_drop() it. NULL: no memory, or a negative number; then make a bracketed plain call. It may be of
 * KIND_UNKNOWN and name a closed number. */
static inline struct pd *fd_hold(int fd) {
	struct pd *pd = fd_lookup(fd);
	if (likely(pd != NULL)) {
		pd_hold(pd);
		if (likely(fd_lookup(fd) == pd))
			return pd;
		pd_drop(pd);
	}
	return fd_hold_slow(fd);
}

/* The same for a call that has begun; where there is none, one of a descriptor that is closed. Never NULL. */
struct pd *fd_hold_again(int fd);

/* Finds out what fd is. KIND_UNKNOWN: it is not open, and its pd is out of the table again; or the kernel does not tell this thread. The call is
 * the kernel's in both cases, plain. The caller holds pd. */
enum fd_kind fd_classify(struct pd *pd, int fd);

static inline enum fd_kind fd_kind(struct pd *pd, int fd) {
	enum fd_kind kind = pd_kind(pd);
	return likely(kind != KIND_UNKNOWN) ? kind : fd_classify(pd, fd);
}

static inline bool fd_is_socket(enum fd_kind kind) {
	return kind >= KIND_TCP && kind <= KIND_UNIX_DGRAM;
}

enum fd_kind fd_socket_kind(int domain, int type, int protocol);

/* SO_RCVLOWAT of this socket has just been set. */
void fd_lowat_set(int fd);

/* ---- numbers come and go ------------------------------------------------------------------------------------- */

/* A new description got this number (socket, pipe, open, accept, ...). flags: its O_NONBLOCK and O_DIRECT. like: the pd of the
 * listener whose options it inherits, or NULL. */
void fd_made(int fd, enum fd_kind kind, int flags, struct pd *like);
/* The two were made as the ends of one pipe or socket pair. */
void fd_paired(int a, int b);
/* fd became another name of old's description. */
void fd_duplicated(int old, int fd);
/* fd came from another process (SCM_RIGHTS, pidfd_getfd). */
void fd_received(int fd);
/* fd is about to be closed: call this before the kernel does it; and the other one after. */
void fd_closing(int fd);
/* Another thread is about to. */
bool fd_is_closing(int fd);
void fd_closed(int fd);
/* fd is about to be replaced by dup2, which may still fail; fd_closed() after it. */
void fd_replacing(int fd);
/* The same for a range of numbers, inclusive. */
void fd_closing_range(unsigned first, unsigned last);
/* The pd turned out to describe a descriptor that is gone: closed where no shim saw it. */
void fd_stale(int fd, struct pd *pd);
/* Its description is about to be known elsewhere: `how` is SHARED_DUP or SHARED_PROCESS. */
void fd_shared(int fd, int how);

/* Around fork() and its like. Prepare: before, in the parent; marks all descriptors as shared with another process, or for a child that does
 * nothing with descriptors before it execs (what the shims see a vfork child do is told to fd_shared) those only that exec leaves open. Parent: when
 * the child is made. Child: in the child, after netpoll_fork_child(): nothing is known of any descriptor. */
void fdtable_fork_prepare(void);
void fdtable_spawn_prepare(void);
void fdtable_fork_parent(void);
void fdtable_fork_child(void);

/* ---- how many there can be (fdsize.c) -------------------------------------------------------------------------- */

/* The highest number that came or went. */
extern _Atomic int fd_highest;
extern _Atomic bool fd_highest_due;
static inline void fd_highest_note(int fd) {
	/* relaxed: a number is given out and taken back by the kernel, which orders whoever uses it */
	int seen = atomic_load_explicit(&fd_highest, memory_order_relaxed);
	while (unlikely(fd > seen) && !atomic_compare_exchange_weak_explicit(&fd_highest, &seen, fd, memory_order_relaxed, memory_order_relaxed))
		;
}
/* Before the runtime has a descriptor; in a fork's child. */
void fdsize_start(void);
void fdsize_fork_child(void);
/* A range of numbers is about to be closed, by a process without goroutines. */
void fdsize_range_closed(void);
/* How many places the kernel's table would have, without our own descriptors: by what was seen, which is a minimum; and by what is open as well, which
 * takes a few system calls. INT_MAX: not known. */
int fdsize_seen(void);
int fdsize(void);

/* ---- O_NONBLOCK ------------------------------------------------------------------------------------------------ */

/* FL_* of pd if they are known without asking, else 0. */
static inline uint32_t fd_flags_known(struct pd *pd) {
	/* acquire: the epoch is read after the flags it vouches for */
	uint32_t fl = atomic_load_explicit(&pd->fl, memory_order_acquire);
	bool ours = !(atomic_load_explicit(&pd->shared_desc, memory_order_relaxed) & SHARED_PROCESS);
	return ours && atomic_load_explicit(&pd->fl_epoch, memory_order_acquire) ==
				       atomic_load_explicit(&fd_flags_epoch, memory_order_acquire)
		       ? fl
		       : 0;
}
/* The same; asks the kernel when it must. */
uint32_t fd_flags(struct pd *pd, int fd);
/* The program has just changed fd's flags. */
void fd_flags_changed(int fd);
/* The program asks, or has just asked, that exec closes fd; or not, which is told before it is done. */
void fd_cloexec(int fd, bool closes);

/* ---- readiness -------------------------------------------------------------------------------------------------- */

/* Somebody in this process has made a pipe's end one for packets. relaxed: he has done so before he writes one */
extern _Atomic bool fd_packets;

/* A read that brought less than it asked for has emptied it, unless its end came, too. */
static inline bool pd_short_empties(struct pd *pd) {
	/* A pipe of packets gives one at a time: there a short read proves nothing. It is the writer's flag that makes them. */
	return pd_kind(pd) == KIND_TCP || (pd_kind(pd) == KIND_PIPE && !atomic_load_explicit(&fd_packets, memory_order_relaxed) && (fd_flags_known(pd) & (FL_VALID | FL_PACKET)) == FL_VALID);
}

/* Nothing can be there to read. */
static inline bool pd_empty(struct pd *pd) {
	/* acquire: pairs with the poller's RMW */
	if (atomic_load_explicit(&pd->ready, memory_order_acquire) & (PD_READ | PD_HUP))
		return false;
	if (pd_spare(pd) & (SPARE_LISTENS | SPARE_BLOCKS))
		return false;
	return pd_short_empties(pd);
}

/* The same, and a blocking read is what the program wants: park without asking the kernel. */
static inline bool pd_drained(struct pd *pd) {
	return pd_empty(pd) && (fd_flags_known(pd) & (FL_VALID | FL_NONBLOCK)) == FL_VALID;
}

/* Before a try whose failure leads to a wait: forget what was known. */
static inline void pd_try(struct pd *pd, uint8_t mode) {
	/* relaxed: an edge after this load sets the bit, and the bit being clear already is what we want */
	if (atomic_load_explicit(&pd->ready, memory_order_relaxed) & mode)
		pd_clear(pd, mode);
}

/* After a success that does not prove that nothing is left: the next try is worth a syscall, and so is the next waiter's. The bit is set
 * before `waiting` is looked at; a waiter links itself before it looks at the bit. When the bit is found set, whoever cleared
 * it last has yet to try, or looks again after linking. */
static inline void pd_more(struct pd *pd, uint8_t mode) {
	if (!(atomic_load(&pd->ready) & mode) || atomic_load(&pd->waiting) != 0)
		pd_pass(pd, mode);
}

/* The caller has just moved bytes through fd: so `mode` is worth a try at the other end. That is how threads of one process that talk through a
 * pipe wake each other without a turn through epoll, which would tell the same later. A hint that is wrong costs its receiver one
 * failing try, so nothing is held, and nobody cares if the number is somebody else's by now. */
static inline void fd_hint(int fd, uint8_t mode) {
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_acquire);
	struct fd_leaf *leaf =
		root && fd >= 0 ? atomic_load_explicit(&root[(unsigned)fd / FD_LEAF], memory_order_acquire) : NULL;
	int32_t peer = leaf ? atomic_load_explicit(&leaf->peer[(unsigned)fd % FD_LEAF], memory_order_relaxed) : 0;
	struct pd *pd = peer ? fd_lookup(peer - 1) : NULL;
	if (pd)
		pd_more(pd, mode);
}

/* ---- who uses it ---------------------------------------------------------------------------------------------- */

/* Set before there is a second goroutine: each operation notes its goroutine (isolate.c). */
extern bool fd_users_noted;
#define FD_USERS_MANY UINT32_MAX

static inline void fd_user_note(struct pd *pd, uint32_t id) {
	/* relaxed: read by the one user that is in it, or by nobody */
	uint32_t user = atomic_load_explicit(&pd->user, memory_order_relaxed);
	if (user == id || user == FD_USERS_MANY)
		return;
	if (user == 0 && atomic_compare_exchange_strong_explicit(&pd->user, &user, id, memory_order_relaxed, memory_order_relaxed))
		return;
	atomic_store_explicit(&pd->user, FD_USERS_MANY, memory_order_relaxed);
}

/* The next socket behind number `after` that goroutine `id` alone has used; -1: there is none. */
int fd_next_used_by(uint32_t id, int after);
/* The same, of some kinds, a bit 1 << KIND each; it may be another's by now. */
int fd_next_of_kinds(uint32_t kinds, int after);

/* What was done to the description of socket fd concerns all its names in this process: f(fd, its pd or another that may be of the same), not held. */
void fd_each_name(int fd, void (*f)(int fd, struct pd *pd));
bool fd_same_socket(int a, int b);

static inline void pd_spare_set(struct pd *pd, uint8_t bits) {
	/* relaxed: hints that any thread may find out again by itself */
	__atomic_fetch_or(&pd->spare, bits, __ATOMIC_RELAXED);
}

static inline void pd_spare_clear(struct pd *pd, uint8_t bits) {
	__atomic_fetch_and(&pd->spare, (uint8_t)~bits, __ATOMIC_RELAXED); /* as above */
}

#endif
