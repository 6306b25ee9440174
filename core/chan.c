/* Channels: queues that goroutines (and foreign threads) wait on, and select over several of them.
 *
 * A channel is a ring of `capacity` elements, a queue of receivers and a queue of senders, under one lock. At most one of the two queues holds
 * somebody who can be served (a select that waits to send and to receive on one channel is in both, and does not serve itself).
 * Whoever finds a waiter on the other side hands the element over directly, from or to the waiter's own memory: no turn through the ring, and the
 * waiter, when it runs, has nothing left to do and touches the channel no more. So after a receive from a channel the receiver may free it.
 *
 * Who serves whom is decided by wait_claim() on the waiter's G: a select waits in several channels at once, and a deadline and an interrupt are further
 * claimants; exactly one wins. Therefore
 * 1. the element is copied after the claim and before ready(): a claimed G does not run, and its memory stays;
 * 2. a waiter that cannot be claimed is leaving; it is passed over, and takes itself out under the lock.
 *
 * Select locks all of its channels, in the order of their addresses (so two selects cannot wait for each other), looks at all, and serves one or
 * queues in all. Because all are locked, it never sees a mixed state: one where each channel was not ready at another time. Of several ready ones it
 * takes each with the same probability. It allocates nothing: waiters are part of the cases, which are the caller's.
 * Rejected: locking one after another and backing out; two selects that meet each other on two channels can then back out for ever.
 *
 * Watchers. A context's `done` is a channel that nobody sends on. A wait for something else (a lock, time, a descriptor) that a context may end links a
 * waiter to it whose claim is WAKE_INTR, so that the wait ends as an interrupted one, which knows how to leave.
 *
 * Lock: chan->lock, rank LOCK_CHAN: below LOCK_TIMER (timers send), above LOCK_SCHED. Several: only select, by address.
 */
#include <errno.h>
#include <string.h>

#include "chan.h"
#include "futex.h"
#include "runtime.h"

enum outcome { BLOCKED, DONE, CLOSED };

void chan_init(struct chan *c, uint32_t elem_bytes, uint32_t capacity, void *buffer) {
	memset(c, 0, sizeof *c);
	c->elem_bytes = elem_bytes;
	c->capacity = capacity;
	c->buffer = buffer;
}

/* ---- queues, under the channel's lock -------------------------------------------------------------------------------- */

static inline void waitq_append(struct waitq *q, struct chan_waiter *w) {
	w->next = NULL;
	w->prev = q->tail;
	if (q->tail)
		q->tail->next = w;
	else
		q->head = w;
	q->tail = w;
	w->queued = true;
}

static inline void waitq_remove(struct waitq *q, struct chan_waiter *w) {
	if (w->prev)
		w->prev->next = w->next;
	else
		q->head = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		q->tail = w->prev;
	w->queued = false;
}

/* The oldest waiter that can be had, claimed and taken out; NULL if there is none. */
static inline struct chan_waiter *waitq_claim(struct waitq *q) {
	for (struct chan_waiter *w = q->head; w; w = w->next) {
		if (wait_claim(w->g, w->reason)) {
			waitq_remove(q, w);
			w->fired = true;
			return w;
		}
	}
	return NULL;
}

static inline void waiter_init(struct chan_waiter *w, struct g *g, void *elem, enum wake reason) {
	w->g = g;
	w->elem = elem;
	w->reason = (uint8_t)reason;
	w->queued = w->fired = w->closed = false;
}

/* ---- one channel, under its lock ------------------------------------------------------------------------------------- */

static inline void elem_copy(void *to, const void *from, uint32_t bytes) {
	if (!to || !from)
		return;
	if (bytes == 8)
		memcpy(to, from, 8); /* the usual size as one load and store */
	else
		memcpy(to, from, bytes);
}

static inline unsigned char *slot_of(struct chan *c, uint32_t n) {
	uint64_t i = (uint64_t)c->head + n;
	return c->buffer + (i >= c->capacity ? i - c->capacity : i) * c->elem_bytes;
}

static inline void ring_push(struct chan *c, const void *elem) {
	elem_copy(slot_of(c, c->count), elem, c->elem_bytes);
	c->count++;
}

static inline void ring_pop(struct chan *c, void *elem) {
	elem_copy(elem, slot_of(c, 0), c->elem_bytes);
	c->head = c->head + 1 == c->capacity ? 0 : c->head + 1;
	c->count--;
}

/* *wake: whom the caller must make ready, after the lock. */
static inline enum outcome try_send(struct chan *c, const void *elem, struct g **wake) {
	if (atomic_load_explicit(&c->closed, memory_order_relaxed))
		return CLOSED;
	struct chan_waiter *w = c->receivers.head ? waitq_claim(&c->receivers) : NULL;
	if (w) {
		elem_copy(w->elem, elem, c->elem_bytes);
		*wake = w->g;
		return DONE;
	}
	if (c->count == c->capacity)
		return BLOCKED;
	ring_push(c, elem);
	return DONE;
}

static inline enum outcome try_receive(struct chan *c, void *elem, struct g **wake) {
	if (c->count) {
		ring_pop(c, elem);
		struct chan_waiter *w = c->senders.head ? waitq_claim(&c->senders) : NULL;
		if (w) { /* there is room now for who has waited longest */
			ring_push(c, w->elem);
			*wake = w->g;
		}
		return DONE;
	}
	struct chan_waiter *w = c->senders.head ? waitq_claim(&c->senders) : NULL;
	if (w) {
		elem_copy(elem, w->elem, c->elem_bytes);
		*wake = w->g;
		return DONE;
	}
	if (!atomic_load_explicit(&c->closed, memory_order_relaxed))
		return BLOCKED;
	if (elem)
		memset(elem, 0, c->elem_bytes);
	return CLOSED;
}

static inline struct waitq *queue_of(struct chan *c, bool send) {
	return send ? &c->senders : &c->receivers;
}

int chan_op(struct chan *c, void *elem, bool send, bool block, int64_t deadline) {
	struct g *g = g_self(), *wake = NULL;
	rt_enter(g);
	lock_acquire(&c->lock, LOCK_CHAN);
	enum outcome out = send ? try_send(c, elem, &wake) : try_receive(c, elem, &wake);
	if (out != BLOCKED || !block) {
		lock_release(&c->lock);
		if (wake)
			ready(wake);
		rt_exit(g);
		return out == DONE ? 0 : out == CLOSED ? -EPIPE : -EAGAIN;
	}
	struct chan_waiter w;
	waiter_init(&w, g, elem, WAKE_READY);
	wait_begin(g, g->kind <= G_MAIN, send ? "channel send" : "channel receive", (uintptr_t)c);
	waitq_append(queue_of(c, send), &w);
	lock_release(&c->lock);
	int r = wait_park(g, deadline);
	if (r < 0) {
		lock_acquire(&c->lock, LOCK_CHAN);
		waitq_remove(queue_of(c, send), &w);
		lock_release(&c->lock);
	} else if (w.closed) {
		r = -EPIPE;
	}
	rt_exit(g);
	return r;
}

bool chan_offer(struct chan *c, const void *elem) {
	struct g *g = g_self(), *wake = NULL;
	rt_enter(g);
	lock_acquire(&c->lock, LOCK_CHAN);
	enum outcome out = try_send(c, elem, &wake);
	lock_release(&c->lock);
	if (wake)
		ready(wake);
	rt_exit(g);
	return out == DONE;
}

/* Claims all of q; returns the end of the list they were appended to. Receivers get zeroes here: the channel may be gone when they run. */
static struct g **queue_close(struct waitq *q, uint32_t zero_bytes, struct g **end) {
	struct chan_waiter *w;
	while ((w = waitq_claim(q))) {
		w->closed = true;
		if (w->elem)
			memset(w->elem, 0, zero_bytes);
		*end = w->g;
		end = &w->g->schedlink;
	}
	return end;
}

bool chan_close(struct chan *c) {
	struct g *g = g_self(), *list = NULL, **end = &list;
	rt_enter(g);
	lock_acquire(&c->lock, LOCK_CHAN);
	bool first = !atomic_load_explicit(&c->closed, memory_order_relaxed);
	if (first) {
		/* release: for those who look without the lock */
		atomic_store_explicit(&c->closed, true, memory_order_release);
		end = queue_close(&c->receivers, c->elem_bytes, end);
		end = queue_close(&c->senders, 0, end);
		*end = NULL;
	}
	lock_release(&c->lock);
	if (list)
		ready_list(list);
	rt_exit(g);
	return first;
}

/* ---- select ------------------------------------------------------------------------------------------------------------ */

/* Inserts one case by the address of its channel. Few cases: no better sort pays. */
static struct chan_case *order_insert(struct chan_case *list, struct chan_case *one) {
	struct chan_case **at = &list;
	while (*at && (uintptr_t)(*at)->chan < (uintptr_t)one->chan)
		at = &(*at)->next;
	one->next = *at;
	*at = one;
	return list;
}

static struct chan_case *order_make(struct chan_case *cases, uint32_t n, struct chan_case *extra) {
	struct chan_case *list = NULL;
	for (uint32_t i = 0; i < n; i++) {
		if (cases[i].chan)
			list = order_insert(list, &cases[i]);
	}
	return extra && extra->chan ? order_insert(list, extra) : list;
}

static void lock_all(struct chan_case *list) {
	struct chan *last = NULL;
	for (struct chan_case *k = list; k; k = k->next) {
		if (k->chan != last)
			lock_acquire(&k->chan->lock, LOCK_CHAN);
		last = k->chan;
	}
}

static void unlock_all(struct chan_case *list) {
	for (struct chan_case *k = list; k; k = k->next) {
		if (!k->next || k->next->chan != k->chan)
			lock_release(&k->chan->lock);
	}
}

static uint32_t random_next(struct g *g) {
	static _Atomic uint32_t shared = 1;
	struct m *m = g->m;
	/* A linear congruence: relaxed for foreign threads, whose races only make it more random. */
	if (m)
		return (m->rand = m->rand * 1664525u + 1013904223u) >> 8;
	uint32_t x = atomic_load_explicit(&shared, memory_order_relaxed) * 1664525u + 1013904223u;
	atomic_store_explicit(&shared, x, memory_order_relaxed);
	return x >> 8;
}

/* May it go on? A waiter on the other side may turn out to be leaving. */
static bool case_looks_ready(struct chan_case *k) {
	struct chan *c = k->chan;
	if (atomic_load_explicit(&c->closed, memory_order_relaxed))
		return true;
	return k->send ? c->count < c->capacity || c->receivers.head : c->count || c->senders.head;
}

/* All locked: serves one ready case, each with the same probability. NULL: none is. */
static struct chan_case *select_serve(struct chan_case *list, struct g *g, struct g **wake) {
	for (struct chan_case *k = list; k; k = k->next)
		k->closed = false; /* until it was chosen: "was tried in vain" */
	for (;;) {
		struct chan_case *chosen = NULL;
		uint32_t seen = 0;
		for (struct chan_case *k = list; k; k = k->next) {
			if (!k->closed && case_looks_ready(k) && (seen++ == 0 || random_next(g) % seen == 0))
				chosen = k;
		}
		if (!chosen)
			return NULL;
		enum outcome out = chosen->send ? try_send(chosen->chan, chosen->elem, wake)
						: try_receive(chosen->chan, chosen->elem, wake);
		if (out != BLOCKED) {
			chosen->closed = out == CLOSED;
			return chosen;
		}
		chosen->closed = true;
	}
}

/* After the wait: out of the queues that did not end it. Returns the case that did. */
static struct chan_case *select_leave(struct chan_case *list) {
	struct chan_case *fired = NULL;
	for (struct chan_case *k = list; k; k = k->next) {
		/* Only its own waker takes a waiter out: who finds it claimed by another passes it over. */
		if (k->wait.fired) {
			fired = k;
			continue;
		}
		lock_acquire(&k->chan->lock, LOCK_CHAN);
		waitq_remove(queue_of(k->chan, k->send), &k->wait);
		lock_release(&k->chan->lock);
	}
	return fired;
}

struct chan_case *chan_select(struct chan_case *cases, uint32_t n, struct chan_case *extra, bool block, int64_t deadline,
			      int *why) {
	struct g *g = g_self(), *wake = NULL;
	struct chan_case *list = order_make(cases, n, extra);
	rt_enter(g);
	lock_all(list);
	struct chan_case *k = select_serve(list, g, &wake);
	if (k || !block) {
		unlock_all(list);
		if (wake)
			ready(wake);
		rt_exit(g);
		*why = -EAGAIN;
		return k;
	}
	wait_begin(g, g->kind <= G_MAIN, "select", n);
	for (k = list; k; k = k->next) {
		waiter_init(&k->wait, g, k->elem, WAKE_READY);
		waitq_append(queue_of(k->chan, k->send), &k->wait);
	}
	unlock_all(list);
	*why = wait_park(g, deadline);
	k = select_leave(list);
	rt_exit(g);
	if (k)
		k->closed = k->wait.closed;
	return k;
}

/* ---- waits that a channel's close ends ----------------------------------------------------------------------------------- */

bool chan_watch(struct chan *c, struct chan_waiter *w, struct g *g) {
	waiter_init(w, g, NULL, WAKE_INTR);
	lock_acquire(&c->lock, LOCK_CHAN);
	bool open = !atomic_load_explicit(&c->closed, memory_order_relaxed);
	if (open)
		waitq_append(&c->receivers, w);
	lock_release(&c->lock);
	return open;
}

bool chan_unwatch(struct chan *c, struct chan_waiter *w) {
	struct g *g = g_self();
	if (w->fired) /* then its waker took it out, before it made us ready */
		return true;
	rt_enter(g);
	lock_acquire(&c->lock, LOCK_CHAN);
	waitq_remove(&c->receivers, w);
	lock_release(&c->lock);
	rt_exit(g);
	return false;
}

int chan_futex_wait(const _Atomic uint32_t *addr, uint32_t expected, int64_t deadline, struct chan *done, const char *what) {
	struct g *g = g_self();
	bool interruptible = g->kind <= G_MAIN;
	if (!done)
		return futex_wait(addr, expected, deadline, FUTEX_ANY, interruptible, what);
	struct fwaiter w;
	struct chan_waiter watch;
	bool differs = false;
	rt_enter(g); /* published twice: no handler between the two ways out */
	futex_prepare(&w, (const void *)addr, NULL, interruptible, what);
	bool watching = chan_watch(done, &watch, g);
	if (!watching)
		wait_claim_self(g, WAKE_INTR);
	/* relaxed: whoever changed the word before we were queued had the bucket's lock before us */
	else if ((differs = atomic_load_explicit((_Atomic uint32_t *)addr, memory_order_relaxed) != expected))
		wait_claim_self(g, WAKE_INTR);
	int r = futex_commit(&w, (const void *)addr, NULL, deadline);
	if (watching ? chan_unwatch(done, &watch) : r < 0)
		r = -ECANCELED;
	else if (differs && r == -EINTR)
		r = -EAGAIN;
	rt_exit(g);
	return r;
}

int chan_sleep(int64_t deadline, struct chan *done) {
	struct g *g = g_self();
	struct chan_waiter watch;
	bool watching = false;
	rt_enter(g);
	wait_begin(g, g->kind <= G_MAIN, "sleep", 0);
	if (done && !(watching = chan_watch(done, &watch, g)))
		wait_claim_self(g, WAKE_INTR);
	int r = wait_park(g, deadline);
	if (done && (!watching || chan_unwatch(done, &watch)))
		r = -ECANCELED;
	rt_exit(g);
	return r;
}
