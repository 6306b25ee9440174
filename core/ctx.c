/* Contexts.
 *
 * A node that can be cancelled has a `done` channel, which is closed then, and a list of the children that can be cancelled, too. Nodes that only carry a
 * value share the channel of the nearest ancestor that has one, their `owner`, and their children hang on that.
 *
 * Two counts. `users`: whoever made or retained a node, and each node below it. When they are gone nobody can ask it or wait for it any more, so it leaves its
 * parent's list and its timer is stopped: a long-lived parent gathers no dead children. `refs` keeps the memory: one for all users together, one for the place in
 * a list (or in the hands of a canceller that took the list), one for a queued timer.
 *
 * Cancelling takes a list of children off in one piece, and works through nodes one at a time, with no lock held in between: a tree may be deeper than a
 * small stack. It runs on any stack: a deadline's timer calls it from the scheduler.
 *
 * Memory order: `err` is written before the channel is closed, with release, so who reads it without the lock after having seen the channel closed sees it.
 * Lock: ctx->lock, rank LOCK_CTX, above LOCK_TIMER and LOCK_CHAN; never two.
 */
#include <errno.h>
#include <string.h>

#include "ctx.h"
#include "runtime.h"
#include "slab.h"

struct ctx {
	struct lock lock;           /* children, linked of each child, err */
	_Atomic uint32_t users, refs;
	_Atomic int err;
	bool linked;                /* in owner_of(parent)'s list; under that one's lock */
	struct ctx *parent;
	struct ctx *owner;          /* whose `done` is ours: itself, an ancestor, or NULL */
	struct ctx *children;       /* first */
	struct ctx *next, *prev;    /* siblings; next also links what is being cancelled */
	int64_t deadline;
	const void *key;
	void *value;
	struct chan done;
	struct timer timer;
};

static struct ctx background = {.deadline = -1};

struct ctx *ctx_background(void) {
	return &background;
}

struct chan *ctx_done(struct ctx *c) {
	return c->owner ? &c->owner->done : NULL;
}

int ctx_err(struct ctx *c) {
	/* acquire: what the canceller did before is seen */
	return c->owner ? atomic_load_explicit(&c->owner->err, memory_order_acquire) : 0;
}

int64_t ctx_deadline(struct ctx *c) {
	return c->deadline;
}

void *ctx_value(struct ctx *c, const void *key) {
	for (; c; c = c->parent) {
		if (c->key == key && c->key)
			return c->value;
	}
	return NULL;
}

void ctx_retain(struct ctx *c) {
	if (c != &background)
		atomic_fetch_add_explicit(&c->users, 1, memory_order_relaxed); /* the caller is one already */
}

static void ref_take(struct ctx *c) {
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed); /* as above */
}

static void user_drop(struct ctx *c);

static void ref_drop(struct ctx *c) {
	/* acq_rel: the last one sees what the others wrote */
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	struct ctx *parent = c->parent;
	slab_free(c, sizeof *c);
	user_drop(parent);
}

static void timer_stop(struct ctx *c) {
	/* not timer_del(): in a fork's child its heap is gone, or another's */
	if (c->timer.heap && timer_disarm(&c->timer))
		ref_drop(c);
}

/* ---- the lists of children ------------------------------------------------------------------------------------------ */

static struct ctx *list_of(struct ctx *c) {
	return c->owner == c ? c->parent->owner : NULL;
}

/* Takes c out of the list it is in. */
static void child_leave(struct ctx *c) {
	struct ctx *owner = list_of(c);
	if (!owner)
		return;
	struct g *g = g_self();
	rt_enter(g);
	lock_acquire(&owner->lock, LOCK_CTX);
	bool left = c->linked;
	if (left) {
		if (c->prev)
			c->prev->next = c->next;
		else
			owner->children = c->next;
		if (c->next)
			c->next->prev = c->prev;
		c->linked = false;
	}
	lock_release(&owner->lock);
	rt_exit(g);
	if (left)
		ref_drop(c);
}

/* 0, or the error that the owner was cancelled with. */
static int child_enter(struct ctx *owner, struct ctx *c) {
	struct g *g = g_self();
	rt_enter(g);
	lock_acquire(&owner->lock, LOCK_CTX);
	int err = atomic_load_explicit(&owner->err, memory_order_relaxed);
	if (!err) {
		ref_take(c);
		c->next = owner->children;
		if (c->next)
			c->next->prev = c;
		owner->children = c;
		c->linked = true;
	}
	lock_release(&owner->lock);
	rt_exit(g);
	return err;
}

/* A loop over the ancestors that lose their last user with it, not a recursion: the tree may be deep. */
static void user_drop(struct ctx *c) {
	while (c != &background) {
		/* acq_rel: as for refs */
		if (atomic_fetch_sub_explicit(&c->users, 1, memory_order_acq_rel) != 1)
			return;
		child_leave(c);
		timer_stop(c);
		if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
			return;
		struct ctx *parent = c->parent;
		slab_free(c, sizeof *c);
		c = parent;
	}
}

void ctx_release(struct ctx *c) {
	user_drop(c);
}

/* ---- cancelling ------------------------------------------------------------------------------------------------------- */

/* One node: its children are put before `list`, each with the reference that the list of children had. */
static struct ctx *cancel_one(struct ctx *c, int err, struct ctx *list) {
	struct ctx *first = NULL;
	lock_acquire(&c->lock, LOCK_CTX);
	bool mine = atomic_load_explicit(&c->err, memory_order_relaxed) == 0;
	if (mine) {
		atomic_store_explicit(&c->err, err, memory_order_release);
		first = c->children;
		c->children = NULL;
		for (struct ctx *k = first; k; k = k->next) {
			k->linked = false;
			if (!k->next) {
				k->next = list;
				list = first;
				break;
			}
		}
	}
	lock_release(&c->lock);
	if (!mine)
		return list;
	chan_close(&c->done);
	timer_stop(c);
	return list;
}

void ctx_cancel(struct ctx *c, int err) {
	struct g *g = g_self();
	if (c->owner != c)
		return;
	rt_enter(g);
	struct ctx *list = cancel_one(c, err, NULL);
	while (list) {
		struct ctx *k = list;
		list = cancel_one(k, err, k->next);
		ref_drop(k);
	}
	rt_exit(g);
	child_leave(c);
}

static void deadline_fire(struct timer *t) {
	struct ctx *c = t->arg;
	ctx_cancel(c, -ETIMEDOUT);
	ref_drop(c);
}

/* ---- making ------------------------------------------------------------------------------------------------------------- */

static struct ctx *node_new(struct ctx *parent) {
	struct ctx *c = slab_alloc(sizeof *c);
	if (!c)
		return NULL;
	memset(c, 0, sizeof *c);
	atomic_store_explicit(&c->users, 1, memory_order_relaxed);
	atomic_store_explicit(&c->refs, 1, memory_order_relaxed);
	c->parent = parent;
	c->owner = parent->owner;
	c->deadline = parent->deadline;
	ctx_retain(parent);
	return c;
}

struct ctx *ctx_with_value(struct ctx *parent, const void *key, void *value) {
	struct ctx *c = node_new(parent);
	if (c) {
		c->key = key;
		c->value = value;
	}
	return c;
}

struct ctx *ctx_child(struct ctx *parent, int64_t deadline) {
	struct ctx *c = node_new(parent);
	if (!c)
		return NULL;
	struct ctx *above = c->owner;
	c->owner = c;
	chan_init(&c->done, 0, 0, NULL);
	bool sooner = deadline >= 0 && (c->deadline < 0 || deadline < c->deadline);
	if (sooner)
		c->deadline = deadline;
	bool over = sooner && deadline <= nanotime();
	/* The timer first: who finds c in the list sees it. */
	if (sooner && !over) {
		c->timer.when = deadline;
		c->timer.fire = deadline_fire;
		c->timer.arg = c;
		c->timer.unlocked = true;
		ref_take(c);
		if (timer_arm(&c->timer) < 0) {
			ref_drop(c);
			user_drop(c);
			return NULL;
		}
	}
	int err = above ? child_enter(above, c) : 0;
	if (err || over)
		ctx_cancel(c, err ? err : -ETIMEDOUT);
	return c;
}
