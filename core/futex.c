/* The parking lot (see futex.h).
 *
 * 1. A waiter locks the bucket of its address, compares the word, queues itself, unlocks, parks. A waker changes the word first, then locks
 *    the bucket: so either the waiter sees the new word, or the waker sees the waiter (SYN-14). That needs no fence: both go through the
 *    bucket's lock.
 * 2. Who leaves by timeout or interrupt takes itself out under the bucket's lock. A waker that meets such a waiter fails to claim it
 *    (wait_claim) and goes on to the next one, so no wake-up is lost on somebody who is leaving (SYN-13).
 *    So does a requeue: it counts whom a wake-up of the other address will find.
 * 3. A waker takes out whom it meets. A woken waiter finds `addr` NULL and never touches the object again, so the object may be freed as
 *    soon as the waker's call is over (SYN-10, SYN-17, SYN-20). Those who are leaving find that it was done for them.
 *
 * Buckets are fixed: 4096 of 64 bytes in .bss, touched only when used. Rejected: a growing table (a rehash would stop the world), and
 * queues inside the objects (glibc's layouts leave no room, and destroyed objects would leave dangling queues).
 *
 * Lock: bucket->lock, rank LOCK_FUTEX; two buckets (requeue) in address order. ready() below it takes LOCK_SCHED.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "chaos.h"
#include "futex.h"
#include "pages.h"
#include "runtime.h"

#define BUCKETS 4096u

struct bucket {
	struct lock lock;
	struct fwaiter *head, *tail;
} __attribute__((aligned(64)));

static struct bucket buckets[BUCKETS] __attribute__((aligned(4096)));
static bool wiped; /* the kernel empties them in a fork's child */

const char futex_what_cond[] = "cond", futex_what_mutex[] = "mutex", futex_what_mutex_timed[] = "mutex";

static struct bucket *bucket_of(const void *addr) {
	uint64_t h = ((uint64_t)(uintptr_t)addr >> 2) * 0x9E3779B97F4A7C15ull; /* Fibonacci hashing */
	return &buckets[h >> 52];
}

void futex_init(void) {
	wiped = pages_wipe_on_fork(buckets, sizeof buckets);
}

void futex_fork_child(void) {
	for (uint32_t i = 0; i < BUCKETS && !wiped; i++) {
		if (buckets[i].head || buckets[i].lock.word)
			memset(&buckets[i], 0, sizeof buckets[i]);
	}
}

static void bucket_append(struct bucket *b, struct fwaiter *w) {
	w->next = NULL;
	w->prev = b->tail;
	if (b->tail)
		b->tail->next = w;
	else
		b->head = w;
	b->tail = w;
}

static void bucket_remove(struct bucket *b, struct fwaiter *w) {
	if (w->prev)
		w->prev->next = w->next;
	else
		b->head = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		b->tail = w->prev;
}

/* Takes w out if it is still queued, wherever requeue moved it. True if it was. `count` counts the waiters of `home` only: a requeued one
 * has been counted out by the mover. */
static bool waiter_leave(struct fwaiter *w, const void *home, _Atomic uint32_t *count) {
	for (;;) {
		/* acquire: pairs with the release stores of wakers and requeuers */
		const void *addr = __atomic_load_n(&w->addr, __ATOMIC_ACQUIRE);
		if (!addr)
			return false;
		struct bucket *b = bucket_of(addr);
		lock_acquire(&b->lock, LOCK_FUTEX);
		if (w->addr == addr) {
			bucket_remove(b, w);
			w->addr = NULL;
			if (count && addr == home)
				atomic_store_explicit(count, *count - 1, memory_order_relaxed);
			lock_release(&b->lock);
			return true;
		}
		lock_release(&b->lock);
	}
}

/* The counters of the P that g runs on; g is inside the runtime. */
static inline _Atomic uint64_t *stat_of(struct g *g) {
	return g->m && g->m->p ? g->m->p->stat : NULL;
}

static void waiter_init(struct fwaiter *w, const void *addr, struct g *g, uint32_t bitset) {
	w->addr = addr;
	w->g = g;
	w->bitset = bitset;
	w->moving = false;
}

/* A wait has begun that is not needed; g is published nowhere. Leaves the runtime. */
static void wait_not(struct g *g) {
	wait_claim_self(g, WAKE_READY);
	wait_park(g, -1);
	wait_unneeded(g);
	rt_exit(g);
}

int futex_wait(const _Atomic uint32_t *addr, uint32_t expected, int64_t deadline, uint32_t bitset, bool interruptible,
               const char *what) {
	struct g *g = g_self();
	struct fwaiter w;
	chaos_yield();
	waiter_init(&w, (const void *)addr, g, bitset);
	rt_enter(g); /* until w is in no bucket: a signal that comes right after the park must not find us published either */
	wait_begin(g, interruptible, what, (uintptr_t)addr);
	struct bucket *b = bucket_of((const void *)addr);
	lock_acquire(&b->lock, LOCK_FUTEX);
	/* relaxed: the bucket's lock orders it against a waker that stored before it locked */
	if (atomic_load_explicit((_Atomic uint32_t *)addr, memory_order_relaxed) != expected) {
		lock_release(&b->lock);
		wait_not(g);
		return -EAGAIN;
	}
	bucket_append(b, &w);
	lock_release(&b->lock);
	stat_count(stat_of(g), STAT_FUTEX_WAITS, 1);
	int r = wait_park(g, deadline);
	if (r < 0)
		waiter_leave(&w, (const void *)addr, NULL);
	rt_exit(g);
	return r;
}

void futex_nap(int64_t ns, const char *what) {
	static const _Atomic uint32_t never;
	futex_wait(&never, 0, deadline_in(ns), FUTEX_ANY, false, what);
}

void futex_prepare(struct fwaiter *w, const void *addr, _Atomic uint32_t *count, bool interruptible, const char *what) {
	struct g *g = g_self();
	waiter_init(w, addr, g, FUTEX_ANY);
	rt_enter(g); /* as in futex_wait(); futex_commit() leaves */
	wait_begin(g, interruptible, what, (uintptr_t)addr);
	stat_count(stat_of(g), STAT_FUTEX_WAITS, 1);
	struct bucket *b = bucket_of(addr);
	lock_acquire(&b->lock, LOCK_FUTEX);
	bucket_append(b, w);
	if (count)
		atomic_store_explicit(count, *count + 1, memory_order_relaxed);
	lock_release(&b->lock);
}

bool futex_prepare_unless(struct fwaiter *w, const void *addr, bool interruptible, const char *what, bool (*over)(void *arg), void *arg) {
	struct g *g = g_self();
	waiter_init(w, addr, g, FUTEX_ANY);
	rt_enter(g);
	wait_begin(g, interruptible, what, (uintptr_t)futex_word(addr));
	struct bucket *b = bucket_of(addr);
	lock_acquire(&b->lock, LOCK_FUTEX);
	bool waits = !over(arg);
	if (waits)
		bucket_append(b, w);
	lock_release(&b->lock);
	if (waits)
		stat_count(stat_of(g), STAT_FUTEX_WAITS, 1);
	else
		wait_not(g);
	return waits;
}

int futex_commit(struct fwaiter *w, const void *addr, _Atomic uint32_t *count, int64_t deadline) {
	int r = wait_park(w->g, deadline);
	if (r < 0)
		waiter_leave(w, addr, count);
	rt_exit(w->g);
	return r;
}

bool futex_uncommit(struct fwaiter *w, const void *addr, _Atomic uint32_t *count) {
	wait_claim_self(w->g, WAKE_TIMEOUT);
	int r = wait_park(w->g, -1);
	if (r < 0)
		waiter_leave(w, addr, count);
	wait_unneeded(w->g);
	rt_exit(w->g);
	return r == 0;
}

/* b's lock held; w is in it. */
static void waiter_take_out(struct bucket *b, struct fwaiter *w, _Atomic uint32_t *count) {
	bucket_remove(b, w);
	if (count)
		atomic_store_explicit(count, *count - 1, memory_order_relaxed);
	/* release: the last access to *w, which lives on the waiter's stack */
	__atomic_store_n(&w->addr, NULL, __ATOMIC_RELEASE);
}

/* The same; true: it was ours to claim, and ends the list that *end points to the end of. False: it is leaving by itself, and is taken out for it, or every waker would walk past the
 * thousands that timed out and had no turn yet. */
static bool waiter_claim(struct bucket *b, struct fwaiter *w, bool moving, _Atomic uint32_t *count, struct g ***end) {
	struct g *g = w->g;
	bool claimed = wait_claim(g, WAKE_READY);
	w->moving |= moving && claimed;
	waiter_take_out(b, w, count); /* one that we claimed runs only after ready() */
	if (!claimed)
		return false;
	**end = g;
	*end = &g->schedlink;
	return true;
}

/* Takes up to n matching waiters out of b and claims them; returns them linked by schedlink. */
static struct g *bucket_take(struct bucket *b, const void *addr, int n, uint32_t bitset, bool moving, _Atomic uint32_t *count, int *taken) {
	struct g *list = NULL, **end = &list;
	struct fwaiter *next;
	*taken = 0;
	for (struct fwaiter *w = b->head; w && *taken < n; w = next) {
		next = w->next;
		if (w->addr != addr || !(w->bitset & bitset))
			continue;
		*taken += waiter_claim(b, w, moving, count, &end);
	}
	*end = NULL;
	return list;
}

/* No lock held: those that were taken out run. */
static void taken_ready(struct g *self, struct g *list, int taken) {
	if (list)
		ready_list(list);
	if (taken)
		stat_count(stat_of(self), STAT_FUTEX_WAKES, (uint64_t)taken);
}

static int wake(const void *addr, int n, uint32_t bitset, _Atomic uint32_t *count) {
	struct bucket *b = bucket_of(addr);
	struct g *self = g_self();
	int taken;
	rt_enter(self);
	lock_acquire(&b->lock, LOCK_FUTEX);
	struct g *list = bucket_take(b, addr, n, bitset, false, count, &taken);
	lock_release(&b->lock);
	if (taken == 1)
		ready(list);
	else if (list)
		ready_list(list);
	if (taken)
		stat_count(stat_of(self), STAT_FUTEX_WAKES, (uint64_t)taken);
	rt_exit(self);
	chaos_yield();
	return taken;
}

int futex_wake(const void *addr, int n, uint32_t bitset) {
	return wake(addr, n, bitset, NULL);
}

int futex_wake_counted(const void *addr, int n, _Atomic uint32_t *count) {
	return wake(addr, n, FUTEX_ANY, count);
}

int futex_wake_update(const void *addr, void (*update)(void *arg, int woke, bool more), void *arg) {
	struct bucket *b = bucket_of(addr);
	struct g *self = g_self();
	int taken;
	bool more = false;
	rt_enter(self);
	lock_acquire(&b->lock, LOCK_FUTEX);
	struct g *list = bucket_take(b, addr, 1, FUTEX_ANY, false, NULL, &taken);
	for (struct fwaiter *w = b->head; w && !more; w = w->next)
		more = w->addr == addr;
	update(arg, taken, more);
	lock_release(&b->lock);
	if (list)
		ready(list);
	rt_exit(self);
	return taken;
}

int futex_wake_if(const void *addr, bool (*update)(void *arg), void *arg) {
	struct bucket *b = bucket_of(addr);
	struct g *self = g_self(), *list = NULL;
	int taken = 0;
	rt_enter(self);
	lock_acquire(&b->lock, LOCK_FUTEX);
	if (update(arg))
		list = bucket_take(b, addr, INT_MAX, FUTEX_ANY, false, NULL, &taken);
	lock_release(&b->lock);
	taken_ready(self, list, taken);
	rt_exit(self);
	chaos_yield();
	return taken;
}

static void buckets_lock(struct bucket *a, struct bucket *z) {
	lock_acquire(a < z ? &a->lock : &z->lock, LOCK_FUTEX);
	if (a != z)
		lock_acquire(a < z ? &z->lock : &a->lock, LOCK_FUTEX);
}

static void buckets_unlock(struct bucket *a, struct bucket *z) {
	if (a != z)
		lock_release(a < z ? &z->lock : &a->lock);
	lock_release(a < z ? &a->lock : &z->lock);
}

/* Both locked: up to n waiters of addr, in a, wait on `to`, in z, from now on. How many. */
static int buckets_move(struct bucket *a, const void *addr, int n, struct bucket *z, const void *to, bool moving, _Atomic uint32_t *count) {
	struct fwaiter *next;
	int moved = 0;
	for (struct fwaiter *w = a->head; w && moved < n; w = next) {
		next = w->next;
		if (w->addr != addr)
			continue;
		if (wait_claimed(w->g)) { /* it is leaving by itself, and the next wake-up would pass it by: it does not wait any more */
			waiter_take_out(a, w, count);
			continue;
		}
		moved++;
		if (addr == to) /* they stay, in their order, and count */
			continue;
		bucket_remove(a, w);
		bucket_append(z, w);
		w->moving |= moving;
		if (count)
			atomic_store_explicit(count, *count - 1, memory_order_relaxed);
		/* release: pairs with the acquire in waiter_leave() */
		__atomic_store_n(&w->addr, to, __ATOMIC_RELEASE);
		/* relaxed: for dumps only; the waiter may have timed out and be clearing it. Its next wait begins after it took this bucket's lock. */
		__atomic_store_n(&w->g->wait_on, (uintptr_t)futex_word(to), __ATOMIC_RELAXED);
		if (__atomic_load_n(&w->g->wait_what, __ATOMIC_RELAXED) == futex_what_cond)
			__atomic_store_n(&w->g->wait_what, futex_what_mutex, __ATOMIC_RELAXED);
	}
	return moved;
}

int futex_requeue_counted(const void *addr, int n_wake, int n_move, const void *to, bool check, uint32_t expected,
                          _Atomic uint32_t *count) {
	struct bucket *a = bucket_of(addr), *z = bucket_of(to);
	struct g *self = g_self();
	int taken, moved;
	rt_enter(self);
	buckets_lock(a, z);
	if (check && atomic_load_explicit((const _Atomic uint32_t *)futex_word(addr), memory_order_relaxed) != expected) {
		buckets_unlock(a, z);
		rt_exit(self);
		return -EAGAIN;
	}
	struct g *list = bucket_take(a, addr, n_wake, FUTEX_ANY, false, count, &taken);
	moved = buckets_move(a, addr, n_move, z, to, false, count);
	buckets_unlock(a, z);
	taken_ready(self, list, taken);
	rt_exit(self);
	return taken + moved;
}

int futex_requeue(const void *addr, int n_wake, int n_move, const void *to, bool check, uint32_t expected) {
	return futex_requeue_counted(addr, n_wake, n_move, to, check, expected, NULL);
}

void futex_broadcast(const void *addr, const void *_Atomic *to_at, void (*met)(void *arg, int n), void *arg) {
	struct g *self = g_self(), *list = NULL;
	const void *to;
	int taken = 0;
	for (;;) {
		/* relaxed: a guess; what counts is what it is with the bucket locked, after the last who queued himself there */
		to = atomic_load_explicit(to_at, memory_order_relaxed);
		if (!to) {
			wake(addr, INT_MAX, FUTEX_ANY, NULL);
			return;
		}
		struct bucket *a = bucket_of(addr), *z = bucket_of(to);
		rt_enter(self);
		buckets_lock(a, z);
		bool same = atomic_load_explicit(to_at, memory_order_relaxed) == to;
		if (same) {
			list = bucket_take(a, addr, 1, FUTEX_ANY, true, NULL, &taken);
			int moved = buckets_move(a, addr, INT_MAX, z, to, true, NULL);
			if (taken + moved)
				met(arg, taken + moved);
		}
		buckets_unlock(a, z);
		if (same)
			break;
		rt_exit(self);
	}
	taken_ready(self, list, taken);
	rt_exit(self);
	chaos_yield();
}

/* b's lock held. */
static struct g *seconds_take(struct bucket *b, uintptr_t from, uintptr_t to) {
	struct g *list = NULL, **end = &list;
	struct fwaiter *next;
	for (struct fwaiter *w = b->head; w; w = next) {
		next = w->next;
		uintptr_t word = (uintptr_t)futex_word(w->addr);
		if (word != (uintptr_t)w->addr && word >= from && word < to)
			waiter_claim(b, w, false, NULL, &end);
	}
	*end = NULL;
	return list;
}

void futex_wake_seconds(uintptr_t from, uintptr_t to) {
	struct g *self = g_self();
	rt_enter(self);
	for (uint32_t i = 0; i < BUCKETS; i++) {
		/* Locked, not only looked at: who queues later looks with the lock held whether he may. */
		lock_acquire(&buckets[i].lock, LOCK_FUTEX);
		struct g *list = seconds_take(&buckets[i], from, to);
		lock_release(&buckets[i].lock);
		if (list)
			ready_list(list);
	}
	rt_exit(self);
}
