/* Channels and select (see chan.c), and the `done` channel that ends other waits. */
#ifndef GOSHIM_CHAN_H
#define GOSHIM_CHAN_H

#include "proc.h"

struct chan;

/* One wait of one G on one channel. Lives on the waiter's stack. Guarded by the channel's lock while `queued`; the fields below it are written by the
 * waker between its successful wait_claim() and ready(). */
struct chan_waiter {
	struct chan_waiter *next, *prev;
	struct g *g;
	void *elem;      /* where the element is copied from or to; NULL: nowhere */
	uint8_t reason;  /* enum wake: what the waker claims with */
	bool queued;
	bool fired;      /* this is the wait that ended */
	bool closed;     /* ... because the channel was closed */
};

struct waitq {
	struct chan_waiter *head, *tail;
};

struct chan {
	struct lock lock;         /* LOCK_CHAN */
	uint32_t elem_bytes;
	uint32_t capacity, count; /* elements the buffer holds, and holds now */
	uint32_t head;            /* index of the oldest */
	_Atomic bool closed;      /* written under lock */
	struct waitq receivers, senders;
	unsigned char *buffer;
};

/* One alternative of a select. The caller sets the first three; a case without channel is never ready. */
struct chan_case {
	struct chan *chan;
	void *elem;
	bool send;
	bool closed;              /* out, of the case that was chosen: its channel is closed */
	struct chan_waiter wait;
	struct chan_case *next;   /* all cases in the order their channels are locked */
};

/* elem_bytes may be 0; buffer: room for capacity elements, NULL if capacity is 0. */
void chan_init(struct chan *c, uint32_t elem_bytes, uint32_t capacity, void *buffer);

/* Sends *elem or receives into *elem (NULL: drops it). Parks if it must and `block`. 0; -EPIPE: closed (a receiver gets zeroes); -EAGAIN: not `block`;
 * -ETIMEDOUT: deadline (CLOCK_MONOTONIC ns, -1 none); -EINTR: a goroutine was interrupted, nothing happened. Any thread that holds no lock. */
int chan_op(struct chan *c, void *elem, bool send, bool block, int64_t deadline);

/* Waits until one of cases[0..n) or `extra` (may be NULL) can go on, does it, and returns it; of several that can, each is equally likely. NULL: none,
 * and *why is one of chan_op's other errors. */
struct chan_case *chan_select(struct chan_case *cases, uint32_t n, struct chan_case *extra, bool block, int64_t deadline, int *why);

/* Wakes everybody with `closed`. False: it was closed before. May be called with LOCK_TIMER held or inside the runtime. */
bool chan_close(struct chan *c);

/* A send that never parks, for timers: may be called with LOCK_TIMER held. False: full. */
bool chan_offer(struct chan *c, const void *elem);

/* Makes the close of c end a wait of g with WAKE_INTR: between wait_begin() and wait_park(), after which chan_unwatch() must follow. False: c is closed
 * already, nothing was linked. */
bool chan_watch(struct chan *c, struct chan_waiter *w, struct g *g);
/* True if it was the close that ended the wait. */
bool chan_unwatch(struct chan *c, struct chan_waiter *w);

static inline bool chan_is_closed(struct chan *c) {
	/* acquire: pairs with the release in chan_close(): what its caller wrote before is seen */
	return atomic_load_explicit(&c->closed, memory_order_acquire);
}

/* futex_wait() that the close of `done` ends, too, with -ECANCELED; done may be NULL. Interruptible for goroutines. */
int chan_futex_wait(const _Atomic uint32_t *addr, uint32_t expected, int64_t deadline, struct chan *done, const char *what);
/* A wait for time alone: -ETIMEDOUT, -EINTR, -ECANCELED. */
int chan_sleep(int64_t deadline, struct chan *done);

#endif
