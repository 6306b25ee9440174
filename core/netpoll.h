/* Netpoll: descriptors that goroutines wait for.
 *
 * One poll descriptor (pd) per open descriptor that was ever waited on or classified; type-stable memory, a generation against stale
 * events (FD-3). epoll, edge-triggered, one registration per descriptor lifetime, made on the first wait. Readiness is remembered in
 * pd->ready: an event sets bits, a consumer clears a bit *before* it tries its syscall and parks only if the bit is still
 * clear after EAGAIN (or, where a short read proves the socket drained, without trying at all). No edge can be lost: an edge
 * after the clear sets the bit again; one before it is covered by the syscall that follows. */
#ifndef GOSHIM_NETPOLL_H
#define GOSHIM_NETPOLL_H

#include <errno.h>

#include "chaos.h"
#include "proc.h"

enum { PD_READ = 1, PD_WRITE = 2, PD_HUP = 4 /* sticky: error, hang-up, peer shutdown, urgent data: never trust "drained" again */ };

struct pdwait {
	struct pdwait *next, *prev; /* pd's list, under pd->lock */
	struct pd *pd;
	struct g *g;
	uint8_t mode;               /* PD_READ | PD_WRITE */
	bool shared;                /* poll(): every such waiter is woken; else one per event */
	bool linked;
	bool until_closed;          /* set before netpoll_link(): pd_close() ends the wait, and sets `closed`, under pd->lock */
	bool closed;                /* netpoll_link() may find it already */
};

struct pd {
	struct lock lock;           /* LOCK_NETPOLL */
	int fd;                     /* the descriptor to use in syscalls; changes when it becomes a ghost (FD-1): pd_try_begin() reads it */
	_Atomic uint32_t ready;     /* PD_* */
	_Atomic uint32_t gen;       /* bumped when the pd is let go */
	uint8_t armed;              /* PD_READ|PD_WRITE registered in epoll */
	bool unpollable;            /* epoll_ctl said EPERM: regular file or directory */
	_Atomic int ghost_fd;       /* for a fork's child: the ghost's number; 0: none */
	_Atomic uint32_t waiting;   /* how many pdwaits are linked */
	struct pdwait waiters;      /* list head */
	uint32_t readers, writers, sharers; /* how many of them wait alone to read, or to write; and how many are shared. Under lock */
	/* for shims/fdtable.c: what the descriptor is. See fdtable.h */
	_Atomic uint8_t kind;
	_Atomic uint8_t shared_desc; /* the description may be shared (dup, fork, SCM_RIGHTS) */
	uint8_t spare;
	_Atomic uint32_t kernel_turn; /* connect.c: 0 free, 1 somebody waits in the kernel, 2 and others may wait for his turn */
	_Atomic uint32_t refs;      /* operations that may park on it: pd_hold/pd_drop; and PD_GHOST */
	_Atomic uint32_t fl_epoch;  /* epoch of the cached O_NONBLOCK */
	_Atomic uint32_t fl;        /* cached F_GETFL */
	_Atomic int64_t rcv_timeout, snd_timeout; /* SO_RCVTIMEO/SO_SNDTIMEO in ns; 0 none; -1 not asked yet */
	struct pd *free_next;
	_Atomic uint32_t user;      /* id of the one goroutine that used it, if that is noted; see fd_user_note() */
};

/* In refs: its number was closed by the program while Gs held it; the last pd_drop closes fd. One word, so that who drops it knows whether he is the last one of a ghost. */
#define PD_GHOST (1u << 31)

static inline bool pd_is_ghost(struct pd *pd) {
	return atomic_load_explicit(&pd->refs, memory_order_relaxed) & PD_GHOST;
}

/* A pd for fd, or NULL when memory is out. Not registered yet. */
struct pd *pd_new(int fd);
/* Its descriptor is about to be closed (or was replaced); the caller has taken it out of its table (seq_cst store) before. Removes the registration; with
 * waiters the pd turns into a ghost that keeps the description open for them, as a kernel thread's read would. */
void pd_close(struct pd *pd);

/* An operation that parks on pd holds it from before its first netpoll_wait/netpoll_link until its last use of pd->fd, so that close() by
 * another thread leaves it a ghost to go on with. It is inside the runtime while it does: a handler of the program might jump away, and a hold
 * that nobody drops keeps the descriptor open for ever. After pd_hold the caller checks that its table still names pd for that number (else
 * pd_drop and look again): the hold and the table change are the two halves of a Dekker pair (both seq_cst). */
static inline void pd_hold(struct pd *pd) {
	atomic_fetch_add(&pd->refs, 1);
}
void pd_drop(struct pd *pd);

/* Around one system call on a held pd: the number of its descriptor, which names it until pd_try_end() whatever others close or open meanwhile
 * (FD-3). pd_close() puts a ghost's number there, and then waits for those who may have read the old one, before the kernel gives that away.
 * Asymmetric, as retake: two plain stores here; the closer of a descriptor that is in use pays for the order with membarrier(). He waits
 * no longer than it takes to get into the kernel. Inside the runtime, so that no handler of the program gets between, unless bracketed; no park in
 * between. */
static inline int pd_try_begin(struct g *g, struct pd *pd) {
	/* The compiler's fence is for tries_await(). Release: sysmon, which acquires it (is_outside()), takes the P over as it is now. */
	atomic_store_explicit(&g->trying, pd, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	int fd = __atomic_load_n(&pd->fd, __ATOMIC_RELAXED);
	chaos_delay();
	return fd;
}
static inline void pd_try_end(struct g *g) {
	/* release: the call is over */
	atomic_store_explicit(&g->trying, NULL, memory_order_release);
}

/* The same for a call that is made outside the runtime. What is inside meanwhile, the way into the call or a handler, has the P as always. */
static inline int pd_call_begin(struct g *g, struct pd *pd) {
	/* relaxed: is_outside() acquires `trying` first, and both stores below are releases */
	atomic_store_explicit(&g->call_outside, true, memory_order_relaxed);
	return pd_try_begin(g, pd);
}
static inline void pd_call_end(struct g *g) {
	pd_try_end(g);
	/* release: who finds it false, having seen this call's `trying`, finds g behind the call; g looks at `retake` before it touches the P */
	atomic_store_explicit(&g->call_outside, false, memory_order_release);
}

/* Waits until `mode` (one bit) may be ready. Registers on first use. deadline: CLOCK_MONOTONIC ns or -1.
 * Returns 0 (try again), -ETIMEDOUT, -EINTR, or what epoll_ctl failed with (-EPERM: not pollable, -ENOMEM, -ENOSPC, -ELOOP: use a
 * bracketed blocking call instead, or netpoll_nap()). */
int netpoll_wait(struct pd *pd, uint8_t mode, int64_t deadline, bool interruptible);

static inline bool netpoll_refused(int r) {
	return r != 0 && r != -ETIMEDOUT && r != -EINTR;
}

/* For a descriptor that the kernel refuses to register, by somebody who must not wait in the kernel for it either, because it does not know all that
 * ends his wait (shims/io.h says when): parks for a moment. Nobody tells him of the descriptor meanwhile, so he is to ask then. Signals and
 * cancellation end it as any wait. NETPOLL_NAP_NS from now, or the deadline if that is first: */
#define NETPOLL_NAP_NS 5000000
int64_t netpoll_nap_until(int64_t deadline);
/* 0 (ask again), -ETIMEDOUT, -EINTR. pd, with its `mode` worth a try afterwards, may be NULL. */
int netpoll_nap(struct pd *pd, uint8_t mode, int64_t deadline);

/* Consumer's side of the protocol above. */
static inline void pd_clear(struct pd *pd, uint8_t mode) {
	/* The system call that follows must find what arrived before the clear: a full fence in between, as a call is none. */
	atomic_fetch_and_explicit(&pd->ready, ~(uint32_t)mode, memory_order_acq_rel);
	arch_rmw_fence();
}
static inline void pd_set(struct pd *pd, uint8_t mode) {
	atomic_fetch_or_explicit(&pd->ready, mode, memory_order_acq_rel);
}
/* Its edges set bits of pd->ready: somebody has waited for `mode`. A guess, as fits who only wants to save himself work. */
static inline bool pd_armed(struct pd *pd, uint8_t mode) {
	return __atomic_load_n(&pd->armed, __ATOMIC_RELAXED) & mode;
}
/* More may be there (a full read, one accept of many): remember it, and let the next exclusive waiter try. */
void pd_pass(struct pd *pd, uint8_t mode);

/* For poll(): link w (w->mode, shared) so that an event claims and readies w->g. Registers the pd. Same errors. The caller brackets it
 * with wait_begin/wait_park and must netpoll_unlink every w afterwards. */
int netpoll_link(struct pd *pd, struct pdwait *w, struct g *g, uint8_t mode);
void netpoll_unlink(struct pdwait *w);

/* The caller is going to wait for pd in the kernel: what nobody waits for here is taken out of the set, so that its events wake no kernel thread for nothing.
 * The next wait registers it anew, and is told what is there then. */
void netpoll_disarm(struct pd *pd);

/* ---- scheduler's side -------------------------------------------------------------------------------------- */
int netpoll_init(void);                  /* 0 or negative error */
/* Polls for up to timeout ns (0: no wait, -1: for ever). Returns claimed Gs linked by schedlink. */
struct g *netpoll_poll(int64_t timeout_ns);
/* Sleeps until there may be events for netpoll_poll(0), for at most timeout ns; takes none. False: timed out. */
bool netpoll_await(int64_t timeout_ns);
void netpoll_break(void);                /* ends a blocking netpoll_poll */
bool netpoll_has_waiters(void);
/* Around a fork, in the parent; and in its child. */
void netpoll_fork_prepare(void);
/* Around taking a descriptor for a moment, which no fork's child is to have. False: a process is just being forked. Not by who may fork in between. */
bool netpoll_fork_hold(void);
void netpoll_fork_release(void);
void netpoll_fork_parent(void);
void netpoll_fork_child(void);
/* Before that, in a child that shares its descriptors with the parent: what is ours among them is the parent's, and to stay open. */
void netpoll_fork_shared(void);
/* True if fd is one of the runtime's own descriptors (the program must not close or see it). */
bool netpoll_owns_fd(int fd);
/* The lowest of them that is not below `from`, for those who look at many; INT_MAX: there is none. */
int netpoll_own_from(int from);
/* The program closed "everything" (FD-11): move the runtime's descriptors out of [first,last]. 0 or negative error. */
int netpoll_evade(unsigned first, unsigned last);
/* A kernel thread is about to have a table of its own, where they have the same numbers: from now on they cannot move. */
void netpoll_stay(void);

#endif
