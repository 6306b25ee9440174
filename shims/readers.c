/* Which reader-writer locks each goroutine holds for reading, where somebody may ask for deadlocks (GOSHIM=ctl): the lock itself only counts its readers.
 *
 * A list per goroutine, kept by itself and read by whoever makes a report, so no lock: slots are words, and a report looks twice (core/dump.c). What was
 * locked before the list was kept, by another thread, or beyond READ_MAX, is missing: then a deadlock is not found. What another thread unlocked stays: a wait that it
 * is named in may be for somebody else, but a report names only waits that do not end.
 *
 * A handler of the program on top may lock and unlock, too: a slot is reserved before it is filled. */
#include <string.h>

#include "../core/slab.h"
#include "sync.h"
#include "thread.h"

#define READ_MAX 15u

struct readers {
	uint32_t count;
	pthread_rwlock_t *lock[READ_MAX];
};

/* Relaxed, all: see the top. */
static pthread_rwlock_t *slot_get(struct readers *r, uint32_t i) {
	return __atomic_load_n(&r->lock[i], __ATOMIC_RELAXED);
}

static void slot_put(struct readers *r, uint32_t i, pthread_rwlock_t *l) {
	__atomic_store_n(&r->lock[i], l, __ATOMIC_RELAXED);
}

void readers_note(pthread_rwlock_t *l) {
	struct g *g = g_goroutine();
	if (!g)
		return;
	struct thread *t = thread_of(g);
	if (!t->readers) {
		struct readers *made = slab_alloc(sizeof *made);
		if (!made)
			return;
		memset(made, 0, sizeof *made);
		/* release: pairs with the acquire in readers_has() */
		__atomic_store_n(&t->readers, made, __ATOMIC_RELEASE);
	}
	struct readers *r = t->readers;
	if (r->count == READ_MAX)
		return;
	uint32_t at = __atomic_load_n(&r->count, __ATOMIC_RELAXED);
	__atomic_store_n(&r->count, at + 1, __ATOMIC_RELAXED);
	atomic_signal_fence(memory_order_seq_cst);
	slot_put(r, at, l);
}

void readers_forget(pthread_rwlock_t *l) {
	struct g *g = g_goroutine();
	struct readers *r = g ? thread_of(g)->readers : NULL;
	for (uint32_t i = r ? r->count : 0; i-- > 0;) {
		if (slot_get(r, i) != l)
			continue;
		uint32_t last = r->count - 1;
		slot_put(r, i, slot_get(r, last));
		atomic_signal_fence(memory_order_seq_cst);
		__atomic_store_n(&r->count, last, __ATOMIC_RELAXED);
		return;
	}
}

bool readers_has(struct g *g, uintptr_t l) {
	struct readers *r = __atomic_load_n(&thread_of(g)->readers, __ATOMIC_ACQUIRE);
	uint32_t n = r ? __atomic_load_n(&r->count, __ATOMIC_RELAXED) : 0;
	for (uint32_t i = 0; i < n; i++) {
		if ((uintptr_t)slot_get(r, i) == l)
			return true;
	}
	return false;
}

void readers_reset(struct readers *r) {
	if (r)
		__atomic_store_n(&r->count, 0, __ATOMIC_RELAXED);
}
