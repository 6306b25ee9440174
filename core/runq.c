/* Run queues: one bounded ring per P with a `runnext` slot before it, and one global list (design 2).
 *
 * Ring: the owner pushes at the tail and pops at the head, thieves pop half at the head; head moves by CAS only, tail is written by
 * the owner only. The indices run free (32 bit); RUNQ_SIZE divides 2^32, so wrap-around is harmless, and a thief cannot be fooled by a
 * full 2^32 cycle between its load and its CAS because it would have to sleep through four billion pops (COR-4).
 * A full ring spills its older half to the global list (COR-6).
 *
 * runnext: what the running G made ready last runs next, on warm caches, and inherits the slot of the one that parks. At most
 * RUNNEXT_STREAK times in a row, so that two friends who wake each other do not starve the queue behind them.
 *
 * Lock: sched.lock (LOCK_SCHED) for the global list only.
 */
#include "runtime.h"

#define RUNNEXT_STREAK 32
#define PREFETCH_FROM 8

uint32_t runq_length(struct p *p) {
	uint32_t n = atomic_load_explicit(&p->runq_tail, memory_order_relaxed) -
	             atomic_load_explicit(&p->runq_head, memory_order_relaxed);
	return n + (atomic_load_explicit(&p->runnext, memory_order_relaxed) != NULL);
}

bool runq_empty(struct p *p) {
	return runq_length(p) == 0;
}

/* Owner. Moves the older half of a full ring, and g, to the global list. False if a thief made room meanwhile. */
static bool runq_spill(struct p *p, struct g *g, uint32_t head, uint32_t tail) {
	struct g *batch[RUNQ_SIZE / 2 + 1];
	uint32_t n = (tail - head) / 2;
	for (uint32_t i = 0; i < n; i++)
		batch[i] = atomic_load_explicit(&p->runq[(head + i) % RUNQ_SIZE], memory_order_relaxed);
	/* release: the slots must have been read before thieves may see them as free */
	if (!atomic_compare_exchange_strong_explicit(&p->runq_head, &head, head + n, memory_order_release, memory_order_relaxed))
		return false;
	batch[n] = g;
	for (uint32_t i = 0; i < n; i++)
		batch[i]->schedlink = batch[i + 1];
	batch[n]->schedlink = NULL;
	globq_put_list(batch[0], batch[n], n + 1);
	return true;
}

static void ring_put(struct p *p, struct g *g) {
	for (;;) {
		/* acquire: pairs with the release CAS of thieves, so a slot is not overwritten before it was read */
		uint32_t head = atomic_load_explicit(&p->runq_head, memory_order_acquire);
		uint32_t tail = atomic_load_explicit(&p->runq_tail, memory_order_relaxed);
		if (tail - head < RUNQ_SIZE) {
			atomic_store_explicit(&p->runq[tail % RUNQ_SIZE], g, memory_order_relaxed);
			/* release: publishes the slot to the acquire load in runq_steal() */
			atomic_store_explicit(&p->runq_tail, tail + 1, memory_order_release);
			return;
		}
		if (runq_spill(p, g, head, tail))
			return;
	}
}

/* Owner only. next: into runnext; what was there goes to the tail. */
void runq_put(struct p *p, struct g *g, bool next) {
	if (next) {
		/* acq_rel: release publishes *g to a thief of runnext, acquire takes over the old one */
		g = atomic_exchange_explicit(&p->runnext, g, memory_order_acq_rel);
		if (!g)
			return;
	}
	ring_put(p, g);
}

static inline void prefetch(uintptr_t at, unsigned lines) {
	for (unsigned i = 0; i < lines; i++)
		__builtin_prefetch((const void *)(at + i * 64), 1);
}

/* With thousands of connections a G that is picked is cold, as is its stack: both waited for long. So while one runs, the memory of the next is on its way, and of
 * the one behind that, which says where its stack is (a request of tinyproxy's with 5,000 connections: 4 to 8 % less CPU time). Not for a few: those are warm, and are
 * a cost then. Only hints: a thief may run them by now, and a G's own memory is never unmapped. */
static void ring_prefetch(struct p *p, uint32_t head, uint32_t tail) {
	if (tail - head < PREFETCH_FROM)
		return;
	const struct g *next = atomic_load_explicit(&p->runq[head % RUNQ_SIZE], memory_order_relaxed);
	const struct g *after = atomic_load_explicit(&p->runq[(head + 1) % RUNQ_SIZE], memory_order_relaxed);
	prefetch((uintptr_t)__atomic_load_n(&next->ctx.sp, __ATOMIC_RELAXED), 10); /* frames from the switch up to a shim's */
	prefetch((uintptr_t)__atomic_load_n(&next->ctx.tp, __ATOMIC_RELAXED) - 64, 2); /* errno, and the TCB's head */
	prefetch((uintptr_t)next->ext, 2);
	prefetch((uintptr_t)after, 3);
}

static struct g *ring_get(struct p *p) {
	/* acquire: pairs with thieves' release CAS */
	uint32_t head = atomic_load_explicit(&p->runq_head, memory_order_acquire);
	for (;;) {
		uint32_t tail = atomic_load_explicit(&p->runq_tail, memory_order_relaxed);
		if (head == tail)
			return NULL;
		struct g *g = atomic_load_explicit(&p->runq[head % RUNQ_SIZE], memory_order_relaxed);
		/* release: the slot was read; acquire on failure: see above */
		if (atomic_compare_exchange_weak_explicit(&p->runq_head, &head, head + 1, memory_order_release, memory_order_acquire)) {
			ring_prefetch(p, head + 1, tail);
			return g;
		}
	}
}

/* What runs next on p, if nothing comes between: a hint, for it may run by now. acquire: with the release that published the slot, what its waker wrote is seen. */
struct g *runq_peek(struct p *p) {
	struct g *next = atomic_load_explicit(&p->runnext, memory_order_acquire);
	if (next)
		return next;
	uint32_t head = atomic_load_explicit(&p->runq_head, memory_order_acquire);
	uint32_t tail = atomic_load_explicit(&p->runq_tail, memory_order_acquire);
	return head == tail ? NULL : atomic_load_explicit(&p->runq[head % RUNQ_SIZE], memory_order_relaxed);
}

static struct g *runnext_take(struct p *p) {
	if (!atomic_load_explicit(&p->runnext, memory_order_relaxed))
		return NULL;
	return atomic_exchange_explicit(&p->runnext, NULL, memory_order_acquire);
}

/* Owner only. */
struct g *runq_get(struct p *p) {
	struct g *g;
	if (p->runnext_streak < RUNNEXT_STREAK) {
		g = runnext_take(p);
		if (g) {
			p->runnext_streak++;
			return g;
		}
		p->runnext_streak = 0;
		return ring_get(p);
	}
	p->runnext_streak = 0;
	g = ring_get(p);
	return g ? g : runnext_take(p);
}

/* Thief: moves half of victim's ring to p's (p is the caller's) and returns one to run. take_next: also runnext, when nothing else is there. */
struct g *runq_steal(struct p *p, struct p *victim, bool take_next) {
	for (;;) {
		uint32_t head = atomic_load_explicit(&victim->runq_head, memory_order_acquire);
		/* acquire: pairs with the release in ring_put(): the slots below tail are filled */
		uint32_t tail = atomic_load_explicit(&victim->runq_tail, memory_order_acquire);
		uint32_t n = tail - head;
		n -= n / 2;
		if (n == 0)
			return take_next ? runnext_take(victim) : NULL;
		if (n > RUNQ_SIZE / 2)
			continue; /* head and tail were read at different times */
		struct g *batch[RUNQ_SIZE / 2];
		for (uint32_t i = 0; i < n; i++)
			batch[i] = atomic_load_explicit(&victim->runq[(head + i) % RUNQ_SIZE], memory_order_relaxed);
		/* acq_rel: slots read before they are given up; their Gs' fields seen after */
		if (!atomic_compare_exchange_strong_explicit(&victim->runq_head, &head, head + n, memory_order_acq_rel,
		                                             memory_order_relaxed))
			continue;
		for (uint32_t i = 1; i < n; i++)
			ring_put(p, batch[i]);
		return batch[0];
	}
}

/* sched.lock held. Behind the others. */
static void list_append(struct g_list *list, struct g *head, struct g *tail, uint32_t n) {
	tail->schedlink = NULL;
	if (list->tail)
		list->tail->schedlink = head;
	else
		list->head = head;
	list->tail = tail;
	/* relaxed: a hint for who reads it without the lock */
	atomic_store_explicit(&list->size, list->size + n, memory_order_relaxed);
}

/* sched.lock held. The n (at least 1) that are behind `before`, or in front of the list where that is NULL, leave it, linked. */
static void list_take(struct g_list *list, struct g *before, uint32_t n) {
	struct g *last = before ? before->schedlink : list->head;
	for (uint32_t i = 1; i < n; i++)
		last = last->schedlink;
	if (before)
		before->schedlink = last->schedlink;
	else
		list->head = last->schedlink;
	if (list->tail == last)
		list->tail = before;
	last->schedlink = NULL;
	atomic_store_explicit(&list->size, list->size - n, memory_order_relaxed);
}

void globq_put_list(struct g *head, struct g *tail, uint32_t n) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	list_append(&sched.runq, head, tail, n);
	lock_release(&sched.lock);
}

void globq_put_late(struct g *g) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	list_append(&sched.late, g, g, 1);
	lock_release(&sched.lock);
}

struct g *globq_get_late(void) {
	if (atomic_load_explicit(&sched.late.size, memory_order_relaxed) == 0)
		return NULL;
	lock_acquire(&sched.lock, LOCK_SCHED);
	struct g *g = sched.late.head;
	if (g)
		list_take(&sched.late, NULL, 1);
	lock_release(&sched.lock);
	return g;
}

/* sched.lock held. The first that is bound to an M leaves the list; NULL: there is none. */
static struct g *list_take_bound(struct g_list *list) {
	struct g *before = NULL, *g = list->head;
	for (; g; before = g, g = g->schedlink) {
		struct m *m = __atomic_load_n(&g->wired_m, __ATOMIC_RELAXED);
		if (m && m != &m_elsewhere)
			break;
	}
	if (g)
		list_take(list, before, 1);
	return g;
}

struct g *globq_get_bound(struct p **p) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	struct g *g = NULL;
	*p = p_idle_pop();
	if (*p && !(g = list_take_bound(&sched.runq)) && !(g = list_take_bound(&sched.late)))
		p_idle_push(*p);
	lock_release(&sched.lock);
	return g;
}

void globq_put(struct g *g) {
	globq_put_list(g, g, 1);
}

/* Takes a fair share, at most max: one to run, the rest to p's queue. */
struct g *globq_get(struct p *p, uint32_t max) {
	if (atomic_load_explicit(&sched.runq.size, memory_order_relaxed) == 0)
		return globq_get_late();
	lock_acquire(&sched.lock, LOCK_SCHED);
	uint32_t size = sched.runq.size, n = size / sched.procs + 1;
	if (n > size)
		n = size;
	if (__builtin_expect(atomic_load_explicit(&sched.m_lacking, memory_order_relaxed), 0))
		max = 1; /* m_lacks() */
	if (n > max)
		n = max;
	if (n > RUNQ_SIZE / 2)
		n = RUNQ_SIZE / 2;
	struct g *first = sched.runq.head, *rest = first ? first->schedlink : NULL;
	if (n)
		list_take(&sched.runq, NULL, n);
	lock_release(&sched.lock);
	if (!n)
		return globq_get_late();
	for (uint32_t i = 1; i < n; i++) {
		struct g *link = rest->schedlink;
		ring_put(p, rest); /* may spill back when the ring is nearly full: at most half of it came in */
		rest = link;
	}
	return first;
}
