/* Timers: a 4-ary heap per P.
 *
 * Threads that wait with a timeout add and delete timers far more often than timers fire (CPython's lock hand-over alone makes
 * thousands a second), so both are O(log4 n) on one P's heap under that heap's lock, no syscall, no allocation but the doubling of the
 * slot array. A timer remembers its heap, so its owner may delete it from any M. The lock is held while `fire` runs, so after timer_del()
 * returned, the callback is over: the owner may reuse the timer (SYN-13). Rejected: one global heap (a lock every P shares); timer wheels
 * (coarse, and empty buckets cost wake-ups).
 *
 * Out of memory. The slot array may not grow; but a timed wait must end in time and not before, and cannot fail. So a timer for which there is no slot
 * goes to a plain list through the timers themselves, which every run and every look at the earliest one walks. It is as long as the
 * shortage.
 *
 * Lock: heap->lock has rank LOCK_TIMER. fire() may take LOCK_SCHED (ready()).
 */
#include <errno.h>
#include <string.h>

#include "pages.h"
#include "timer.h"

#define HEAP_MIN 64u

#define TIMER_SPILLED UINT32_MAX

static void heap_publish(struct timer_heap *h) {
	int64_t first = h->count ? h->slot[1]->when : INT64_MAX;
	for (struct timer *t = h->spilled; __builtin_expect(t != NULL, 0); t = t->spill_next)
		first = t->when < first ? t->when : first;
	/* relaxed: readers use it as a hint and take the lock before acting */
	atomic_store_explicit(&h->first, first, memory_order_relaxed);
}

static void heap_set(struct timer_heap *h, uint32_t i, struct timer *t) {
	h->slot[i] = t;
	t->index = i;
}

static uint32_t parent_of(uint32_t i) {
	return (i - 2) / 4 + 1;
}

static void sift_up(struct timer_heap *h, uint32_t i, struct timer *t) {
	while (i > 1) {
		uint32_t up = parent_of(i);
		if (h->slot[up]->when <= t->when)
			break;
		heap_set(h, i, h->slot[up]);
		i = up;
	}
	heap_set(h, i, t);
}

static void sift_down(struct timer_heap *h, uint32_t i, struct timer *t) {
	for (;;) {
		uint32_t child = (i - 1) * 4 + 2, least = 0;
		int64_t when = t->when;
		for (uint32_t c = child; c < child + 4 && c <= h->count; c++) {
			if (h->slot[c]->when < when) {
				when = h->slot[c]->when;
				least = c;
			}
		}
		if (!least)
			break;
		heap_set(h, i, h->slot[least]);
		i = least;
	}
	heap_set(h, i, t);
}

static int heap_grow(struct timer_heap *h) {
	uint32_t cap = h->cap ? h->cap * 2 : HEAP_MIN;
	size_t bytes = sizeof(struct timer *) * (cap + 1);
	struct timer **slot = pages_map_spare(bytes);
	if (!slot)
		return -ENOMEM;
	if (h->cap) {
		memcpy(slot, h->slot, sizeof(struct timer *) * (h->count + 1));
		pages_unmap(h->slot, sizeof(struct timer *) * (h->cap + 1));
	}
	h->slot = slot;
	h->cap = cap;
	return 0;
}

static void heap_remove(struct timer_heap *h, struct timer *t) {
	uint32_t i = t->index;
	struct timer *last = h->slot[h->count--];
	if (last != t) {
		if (i > 1 && h->slot[parent_of(i)]->when > last->when)
			sift_up(h, i, last);
		else
			sift_down(h, i, last);
	}
	t->index = 0;
}

static void spill_remove(struct timer_heap *h, struct timer *t) {
	struct timer **link = &h->spilled;
	while (*link != t)
		link = &(*link)->spill_next;
	*link = t->spill_next;
	t->index = 0;
}

/* Relaxed: read without the lock as a hint. */
static void walls_add(struct timer_heap *h, uint32_t n) {
	atomic_store_explicit(&h->walls, h->walls + n, memory_order_relaxed);
}

static void queue(struct timer_heap *h, struct timer *t) {
	walls_add(h, t->wall);
	if (h->count < h->cap || heap_grow(h) == 0) {
		h->count++;
		sift_up(h, h->count, t);
	} else {
		t->index = TIMER_SPILLED;
		t->spill_next = h->spilled;
		h->spilled = t;
	}
}

static void unqueue(struct timer_heap *h, struct timer *t) {
	walls_add(h, -(uint32_t)t->wall);
	if (t->index == TIMER_SPILLED)
		spill_remove(h, t);
	else
		heap_remove(h, t);
}

void timer_add(struct timer_heap *h, struct timer *t) {
	lock_acquire(&h->lock, LOCK_TIMER);
	__atomic_store_n(&t->heap, h, __ATOMIC_RELAXED); /* only the owner adds and deletes, so it needs no order of its own */
	queue(h, t);
	heap_publish(h);
	lock_release(&h->lock);
}

bool timer_del(struct timer *t) {
	for (;;) {
		struct timer_heap *h = __atomic_load_n(&t->heap, __ATOMIC_RELAXED);
		if (!h)
			return false;
		lock_acquire(&h->lock, LOCK_TIMER);
		/* It may have been moved before we had the lock; under it, it is not. */
		if (__atomic_load_n(&t->heap, __ATOMIC_RELAXED) != h) {
			lock_release(&h->lock);
			continue;
		}
		bool queued = t->index != 0;
		if (queued) {
			unqueue(h, t);
			heap_publish(h);
		}
		lock_release(&h->lock);
		return queued;
	}
}

static bool is_queued(struct timer_heap *h, struct timer *t) {
	uint32_t i = t->index;
	if (i == TIMER_SPILLED) {
		struct timer *s = h->spilled;
		while (s && s != t)
			s = s->spill_next;
		return s != NULL;
	}
	return i > 0 && i <= h->count && h->slot[i] == t;
}

bool timer_forget(struct timer_heap *h, struct timer *t) {
	lock_acquire(&h->lock, LOCK_TIMER);
	bool queued = is_queued(h, t);
	if (queued) {
		unqueue(h, t);
		heap_publish(h);
	}
	lock_release(&h->lock);
	return queued;
}

void timers_move(struct timer_heap *from, struct timer_heap *to) {
	lock_acquire(&from->lock, LOCK_TIMER);
	if (from->count || from->spilled) {
		lock_acquire(&to->lock, LOCK_TIMER_P0);
		uint32_t walls = from->walls;
		walls_add(to, walls); /* before they are gone from the other: wall_waited() sees each in one of the two, like timers_first() */
		atomic_thread_fence(memory_order_release);
		while (from->count || from->spilled) {
			struct timer *t = from->count ? from->slot[from->count] : from->spilled;
			unqueue(from, t);
			/* Both locks are held: timer_del() finds it in one heap or the other. */
			__atomic_store_n(&t->heap, to, __ATOMIC_RELAXED);
			queue(to, t);
		}
		walls_add(to, -walls); /* each was counted again */
		heap_publish(to);
		lock_release(&to->lock);
		atomic_thread_fence(memory_order_release); /* timers_first() sees each in one of the two */
		heap_publish(from);
	}
	lock_release(&from->lock);
}

/* In step with its first time, and never behind: what was missed is missed. What lies beyond the end of time is there for good. */
static void period_next(struct timer_heap *h, struct timer *t, int64_t now) {
	int64_t missed = (now - t->when) / t->period * t->period;
	if (__builtin_add_overflow(t->when + missed, t->period, &t->when))
		t->when = INT64_MAX;
	queue(h, t);
}

/* Takes out those with `wall`, linked by spill_next. In one pass over the slots: they may be most of them. */
static struct timer *walls_take(struct timer_heap *h) {
	struct timer *taken = NULL, **link = &h->spilled, *t;
	uint32_t kept = 0;
	while ((t = *link)) {
		if (!t->wall) {
			link = &t->spill_next;
			continue;
		}
		*link = t->spill_next;
		t->spill_next = taken;
		taken = t;
	}
	for (uint32_t i = 1; i <= h->count; i++) {
		t = h->slot[i];
		if (t->wall) {
			t->spill_next = taken;
			taken = t;
		} else {
			heap_set(h, ++kept, t);
		}
	}
	h->count = kept;
	for (uint32_t i = kept > 1 ? parent_of(kept) : 0; i >= 1; i--)
		sift_down(h, i, h->slot[i]);
	atomic_store_explicit(&h->walls, 0, memory_order_relaxed);
	return taken;
}

void timers_clock_set(struct timer_heap *h) {
	/* acquire: who finds none here any more finds them where timers_move() has put them */
	if (atomic_load_explicit(&h->walls, memory_order_acquire) == 0)
		return;
	lock_acquire(&h->lock, LOCK_TIMER);
	struct timer *next;
	for (struct timer *t = walls_take(h); t; t = next) {
		next = t->spill_next;
		t->index = 0;
		h->fired++;
		t->fire(t); /* under the lock: the owner, who takes it to delete the timer, does not reuse it meanwhile */
	}
	heap_publish(h);
	lock_release(&h->lock);
}

static struct timer *due(struct timer_heap *h, int64_t now) {
	if (h->count && h->slot[1]->when <= now)
		return h->slot[1];
	struct timer *t = h->spilled;
	while (__builtin_expect(t != NULL, 0) && t->when > now)
		t = t->spill_next;
	return t;
}

int timer_run(struct timer_heap *h, int64_t now, int max) {
	int fired = 0;
	struct timer *t;
	if (atomic_load_explicit(&h->first, memory_order_relaxed) > now)
		return 0;
	lock_acquire(&h->lock, LOCK_TIMER);
	for (; fired < max && (t = due(h, now)); fired++) {
		unqueue(h, t);
		h->fired++;
		if (t->unlocked) {
			lock_release(&h->lock);
			t->fire(t);
			lock_acquire(&h->lock, LOCK_TIMER);
			continue;
		}
		if (t->period > 0)
			period_next(h, t, now);
		t->fire(t);
	}
	heap_publish(h);
	lock_release(&h->lock);
	return fired;
}
