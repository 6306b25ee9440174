/* Mutex, condition variable and wait group of goshim.h. No bigger than they need be: they are the program's own, not glibc's objects.
 *
 * Mutex: one word, 0 free, 1 locked, 2 locked and somebody may wait; waiters park on the word (core/futex.c). A woken one competes with newcomers: who is
 * running gets it, which is what makes an unlock cheap.
 *
 * Condition variable: a queue of its own, because "waits end for no other reason" includes handlers of signals. A waiter that has to run one stays
 * in the queue, marked `away`: a notification that meets it is left in its node instead of waking it. A handler may end the thread: by unwinding, which comes
 * through here, or without (a crash that is isolated, the kernel's exit(2)), which leaves the stack as it is, to be used anew. So for that time the node in the
 * queue is not the one on the stack, and the thread has a list of those nodes.
 *
 * Wait group: count in the low half of one 64-bit word, in the high half "somebody waits". Whoever brings the count to 0 clears both at once, and with that
 * the object may be gone, or in use again: so a waiter does not look at it after a wake-up, and no wake-up may be another's. Therefore the last `done` of a group
 * that is waited for changes the word with the parking lot's bucket locked, as a waiter does that queues itself: who waits for the next use is not in the queue
 * yet. And the address of the queue is odd: a late wake-up of what was in this memory before, or will be, is for a word.
 *
 * Locks: cond->lock has rank LOCK_CHAN. */
#include <string.h>

#include "../core/futex.h"
#include "../core/runtime.h"
#include "../core/slab.h"
#include "golib.h"
#include "sync.h"
#include "thread.h"

/* ---- mutex ------------------------------------------------------------------------------------------------------------ */

enum { UNLOCKED, LOCKED, CONTENDED };

static _Atomic uint32_t *word_of(go_mutex *m) {
	return (_Atomic uint32_t *)&m->private_[0];
}

SHIM int go_mutex_trylock(go_mutex *m) {
	uint32_t v = UNLOCKED;
	/* acquire: pairs with the release in go_mutex_unlock() */
	return atomic_compare_exchange_strong_explicit(word_of(m), &v, LOCKED, memory_order_acquire, memory_order_relaxed) ? 0 : -EBUSY;
}

static __attribute__((noinline)) int mutex_wait(go_mutex *m, struct ctx *ctx, bool cancel_point) {
	_Atomic uint32_t *word = word_of(m);
	unsigned pauses = 0;
	do {
		if (atomic_load_explicit(word, memory_order_relaxed) == UNLOCKED && go_mutex_trylock(m) == 0)
			return 0;
	} while (sync_spin(&pauses));
	/* From here on taken as CONTENDED: we cannot know whether others wait. */
	while (atomic_exchange_explicit(word, CONTENDED, memory_order_acquire) != UNLOCKED) {
		int r = chan_futex_wait(word, CONTENDED, -1, ctx ? ctx_done(ctx) : NULL, "go_mutex");
		if (r == -ECANCELED)
			return ctx_err(ctx);
		if (r == -EINTR) {
			struct g *g = g_self();
			shim_interrupted(g, true);
			if (cancel_point)
				shim_testcancel(g);
		}
	}
	return 0;
}

SHIM void go_mutex_lock(go_mutex *m) {
	if (unlikely(go_mutex_trylock(m) != 0))
		mutex_wait(m, NULL, false);
}

SHIM int go_mutex_lock_ctx(go_ctx *ctx, go_mutex *m) {
	int err = golib_ctx_refuses(ctx);
	if (err || go_mutex_trylock(m) == 0)
		return err;
	return mutex_wait(m, ctx_of(ctx), true);
}

SHIM int go_mutex_unlock(go_mutex *m) {
	_Atomic uint32_t *word = word_of(m);
	if (unlikely(atomic_load_explicit(word, memory_order_relaxed) == UNLOCKED))
		return -EPERM;
	/* release: pairs with the acquire in trylock. The address is only a key afterwards. */
	if (unlikely(atomic_exchange_explicit(word, UNLOCKED, memory_order_release) == CONTENDED))
		futex_wake(word, 1, FUTEX_ANY);
	return 0;
}

/* ---- condition variable --------------------------------------------------------------------------------------------------- */

struct cond_waiter {
	struct cond_waiter *next, *prev;
	struct g *g;
	bool away;     /* runs a handler: is not armed */
	bool notified; /* and out of the queue */
	bool by_all;   /* ... as were all others */
};

struct cond {
	struct lock lock;
	struct cond_waiter *head, *tail;
};
_Static_assert(sizeof(struct cond) <= sizeof(go_cond), "go_cond has room for a cond");

static struct cond *cond_of(go_cond *c) {
	return (struct cond *)c;
}

static void cond_append(struct cond *c, struct cond_waiter *w) {
	w->next = NULL;
	w->prev = c->tail;
	if (c->tail)
		c->tail->next = w;
	else
		c->head = w;
	c->tail = w;
}

static void cond_remove(struct cond *c, struct cond_waiter *w) {
	if (w->prev)
		w->prev->next = w->next;
	else
		c->head = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		c->tail = w->prev;
}

static void cond_notify(struct cond *c, bool all) {
	struct g *g = g_self(), *list = NULL, **end = &list;
	struct cond_waiter *next;
	rt_enter(g);
	lock_acquire(&c->lock, LOCK_CHAN);
	for (struct cond_waiter *w = c->head; w; w = next) {
		next = w->next;
		cond_remove(c, w);
		w->notified = true;
		w->by_all = all;
		/* One that cannot be claimed is awake for another reason, and will find the mark under the lock. */
		if (!w->away && wait_claim(w->g, WAKE_READY)) {
			*end = w->g;
			end = &w->g->schedlink;
		}
		if (!all)
			break;
	}
	*end = NULL;
	lock_release(&c->lock);
	if (list && !all)
		ready(list);
	else if (list)
		ready_list(list);
	rt_exit(g);
}

SHIM void go_cond_notify_one(go_cond *c) {
	cond_notify(cond_of(c), false);
}

SHIM void go_cond_notify_all(go_cond *c) {
	cond_notify(cond_of(c), true);
}

/* Not notified, and the wait is over for another reason than a handler: out of the queue. False: notified after all. */
static bool cond_leave(struct cond *c, struct cond_waiter *w) {
	struct g *g = w->g;
	rt_enter(g);
	lock_acquire(&c->lock, LOCK_CHAN);
	bool leaves = !w->notified;
	if (leaves)
		cond_remove(c, w);
	lock_release(&c->lock);
	rt_exit(g);
	return leaves;
}

/* It ends without having waited to the end: what was meant for it alone goes to the next. */
static void cond_give_up(struct cond *c, struct cond_waiter *w) {
	if (!cond_leave(c, w) && !w->by_all)
		cond_notify(c, false);
}

/* The node that stands in the queue for one on the stack while handlers run. */
struct cond_away {
	struct cond_waiter node;
	struct cond *cond;
	struct cond_away *below; /* a handler may wait, too */
};

/* `to` takes the place, and what has happened to it. `away`: what it is from now on. */
static void cond_replace(struct cond *c, struct cond_waiter *from, struct cond_waiter *to) {
	struct g *g = from->g;
	rt_enter(g);
	lock_acquire(&c->lock, LOCK_CHAN);
	*to = *from;
	to->away = true;
	if (!to->notified) {
		*(to->prev ? &to->prev->next : &c->head) = to;
		*(to->next ? &to->next->prev : &c->tail) = to;
	}
	lock_release(&c->lock);
	rt_exit(g);
}

/* Without memory the node on the stack has to do. */
static struct cond_away *cond_go_away(struct cond *c, struct cond_waiter *w) {
	struct thread *t = thread_of(w->g);
	struct cond_away *a = slab_alloc(sizeof *a);
	if (!a) {
		cond_replace(c, w, w);
		return NULL;
	}
	cond_replace(c, w, &a->node);
	a->cond = c;
	a->below = t->conds_away;
	t->conds_away = a;
	return a;
}

static void cond_come_back(struct cond_away *a, struct cond_waiter *w) {
	if (!a)
		return;
	thread_of(w->g)->conds_away = a->below; /* handlers that were jumped out of are forgotten with it */
	cond_replace(a->cond, &a->node, w);
	slab_free(a, sizeof *a);
}

void golib_waits_abandon(struct g *g) {
	struct thread *t = thread_of(g);
	while (t->conds_away) {
		struct cond_away *a = t->conds_away;
		t->conds_away = a->below;
		cond_give_up(a->cond, &a->node);
		slab_free(a, sizeof *a);
	}
}

struct cond_frame {
	struct cond *cond; /* NULL: it goes on */
	struct cond_waiter *waiter;
	struct cond_away *away;
	go_mutex *mutex;
};

/* A handler, or a cancellation, unwinds it: with the mutex. */
static void cond_unwound(struct cond_frame *f) {
	if (!f->cond)
		return;
	cond_come_back(f->away, f->waiter);
	cond_give_up(f->cond, f->waiter);
	go_mutex_lock(f->mutex);
}

/* The wait was interrupted: runs handlers, acts on cancellation. */
static void cond_interrupted(struct cond *c, struct cond_waiter *w, go_mutex *m) {
	struct g *g = w->g;
	__attribute__((cleanup(cond_unwound))) struct cond_frame frame = {c, w, cond_go_away(c, w), m};
	shim_interrupted(g, true);
	shim_testcancel(g);
	cond_come_back(frame.away, w);
	frame.cond = NULL;
}

/* One sleep. 0: notified. `first`: m is to be unlocked. */
static int cond_park(struct cond *c, struct cond_waiter *w, go_mutex *m, struct chan *done, bool first) {
	struct g *g = w->g;
	struct chan_waiter watch;
	bool watching = false;
	rt_enter(g);
	wait_begin(g, g->kind <= G_MAIN, "go_cond", (uintptr_t)c);
	lock_acquire(&c->lock, LOCK_CHAN);
	if (first)
		cond_append(c, w);
	w->away = false;
	bool notified = w->notified;
	lock_release(&c->lock);
	if (first)
		go_mutex_unlock(m); /* wakes, never parks */
	if (notified || (done && !(watching = chan_watch(done, &watch, g))))
		wait_claim_self(g, WAKE_INTR);
	int r = wait_park(g, -1);
	if (notified)
		r = 0;
	else if (done && (!watching || chan_unwatch(done, &watch)))
		r = r == 0 ? 0 : -ECANCELED;
	rt_exit(g);
	return r;
}

static int cond_wait(go_cond *cond, go_mutex *m, struct ctx *ctx) {
	struct cond *c = cond_of(cond);
	struct cond_waiter w = {.g = g_self()};
	struct chan *done = ctx ? ctx_done(ctx) : NULL;
	int r = cond_park(c, &w, m, done, true);
	while (r == -EINTR) {
		cond_interrupted(c, &w, m);
		r = cond_park(c, &w, m, done, false);
	}
	if (r < 0 && !cond_leave(c, &w))
		r = 0;
	go_mutex_lock(m);
	return golib_result(ctx, r);
}

SHIM int go_cond_wait(go_cond *c, go_mutex *m) {
	return cond_wait(c, m, NULL);
}

SHIM int go_cond_wait_ctx(go_ctx *ctx, go_cond *c, go_mutex *m) {
	int err = golib_ctx_refuses(ctx);
	return err ? err : cond_wait(c, m, ctx_of(ctx));
}

/* ---- wait group ----------------------------------------------------------------------------------------------------------- */

#define WG_WAITED (1ull << 32)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the high half is the second word");

static _Atomic uint64_t *state_of(go_wg *wg) {
	return (_Atomic uint64_t *)&wg->private_[0];
}

/* Where its waiters are queued. */
static const void *queue_of(go_wg *wg) {
	return (const char *)wg + 1;
}

struct wg_change {
	go_wg *wg;
	uint64_t from;
};

/* With the queue locked: the count goes to 0. */
static bool wg_ends(void *arg) {
	struct wg_change *c = arg;
	/* acq_rel: see go_wg_add() */
	return atomic_compare_exchange_strong_explicit(state_of(c->wg), &c->from, 0, memory_order_acq_rel, memory_order_relaxed);
}

static bool wg_change(go_wg *wg, uint64_t *from, uint64_t to) {
	if (unlikely(!to && (*from & WG_WAITED))) {
		struct wg_change c = {wg, *from};
		futex_wake_if(queue_of(wg), wg_ends, &c);
		bool done = c.from == *from;
		*from = c.from;
		return done;
	}
	/* acq_rel: what was done before each done is seen by who finds 0 */
	return atomic_compare_exchange_weak_explicit(state_of(wg), from, to, memory_order_acq_rel, memory_order_relaxed);
}

SHIM int go_wg_add(go_wg *wg, int n) {
	uint64_t v = atomic_load_explicit(state_of(wg), memory_order_relaxed), next;
	do {
		int64_t count = (int64_t)(uint32_t)v + n;
		if (count < 0)
			return -EINVAL;
		if (count > INT32_MAX)
			return -EOVERFLOW;
		next = count ? (v & WG_WAITED) | (uint64_t)count : 0;
	} while (!wg_change(wg, &v, next));
	return 0;
}

SHIM int go_wg_done(go_wg *wg) {
	return go_wg_add(wg, -1);
}

/* With the queue locked: it is 0 already. If not, it is noted that somebody waits. */
static bool wg_is_over(void *arg) {
	go_wg *wg = arg;
	/* acquire: see go_wg_add() */
	uint64_t v = atomic_load_explicit(state_of(wg), memory_order_acquire);
	do {
		if ((uint32_t)v == 0)
			return true;
	} while (!(v & WG_WAITED) && !atomic_compare_exchange_weak_explicit(state_of(wg), &v, v | WG_WAITED, memory_order_acquire,
									    memory_order_acquire));
	return false;
}

/* 0: it was 0 and may be gone. -ECANCELED: `done` was closed. -EINTR. */
static int wg_park(go_wg *wg, struct chan *done) {
	struct g *g = g_self();
	struct fwaiter w;
	struct chan_waiter watch;
	bool watching = false;
	rt_enter(g); /* published twice: no handler between the two ways out */
	if (!futex_prepare_unless(&w, queue_of(wg), g->kind <= G_MAIN, "go_wg", wg_is_over, wg)) {
		rt_exit(g);
		return 0;
	}
	if (done && !(watching = chan_watch(done, &watch, g)))
		wait_claim_self(g, WAKE_INTR);
	int r = futex_commit(&w, queue_of(wg), NULL, -1);
	if (watching ? chan_unwatch(done, &watch) : done && r < 0)
		r = -ECANCELED;
	rt_exit(g);
	return r;
}

static int wg_wait(go_wg *wg, struct ctx *ctx) {
	struct chan *done = ctx ? ctx_done(ctx) : NULL;
	for (;;) {
		/* acquire: see go_wg_add() */
		if ((uint32_t)atomic_load_explicit(state_of(wg), memory_order_acquire) == 0)
			return 0;
		int r = wg_park(wg, done);
		if (r == 0)
			return 0;
		if (r == -ECANCELED)
			return ctx_err(ctx);
		if (r == -EINTR)
			golib_interrupted();
	}
}

SHIM int go_wg_wait(go_wg *wg) {
	return wg_wait(wg, NULL);
}

SHIM int go_wg_wait_ctx(go_ctx *ctx, go_wg *wg) {
	int err = golib_ctx_refuses(ctx);
	return err ? err : wg_wait(wg, ctx_of(ctx));
}
