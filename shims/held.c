/* Which mutexes each goroutine holds, under GOSHIM=panic=isolate only: for the report on one that crashed.
 *
 * A list per goroutine, kept by itself, so no lock. It is a superset of the truth: a mutex that another thread unlocks (default mutexes may be, in
 * practice), or whose memory was given back while it was locked, stays in it. Who asks looks at the mutex, by peek(): it counts if the
 * mutex says that it is held, and by this goroutine. When the list is full, what does not count is dropped; should 62 count all the same, later ones are not
 * noted. The list is made at the first lock and stays with the G for the threads after it: a thread locks to its very end (its malloc may).
 *
 * A handler of the program on top may lock and unlock, too (it should not, but does): a slot is reserved before it is filled. */
#include "../core/slab.h"
#include "../core/unwind.h"
#include "isolate.h"
#include "sync.h"
#include "thread.h"

#define HELD_MAX 62u

struct held {
	uint32_t count;
	pthread_mutex_t *mutex[HELD_MAX];
};
_Static_assert(sizeof(struct held) <= 512, "one object of its size class");

static bool holds(int32_t tid, pthread_mutex_t *m) {
	pthread_mutex_t copy;
	return m && peek(&copy, (uintptr_t)m, sizeof copy) && copy.__data.__lock != 0 && copy.__data.__owner == tid;
}

static void list_tidy(struct held *h, int32_t tid) {
	for (uint32_t i = h->count; i-- > 0;) {
		if (!holds(tid, h->mutex[i]))
			h->mutex[i] = h->mutex[--h->count];
	}
}

void held_note(pthread_mutex_t *m) {
	struct g *g = g_goroutine();
	if (!g || g->kind != G_GOROUTINE)
		return;
	struct thread *t = thread_of(g);
	if (!t->held) {
		struct held *made = slab_alloc(sizeof *made);
		if (!made)
			return;
		made->count = 0;
		t->held = made;
	}
	struct held *h = t->held;
	if (h->count == HELD_MAX)
		list_tidy(h, g->tid);
	if (h->count < HELD_MAX) {
		uint32_t at = h->count++;
		atomic_signal_fence(memory_order_seq_cst);
		h->mutex[at] = m;
	}
}

void held_forget(pthread_mutex_t *m) {
	struct g *g = g_goroutine();
	struct held *h = g ? thread_of(g)->held : NULL;
	if (!h)
		return;
	for (uint32_t i = h->count; i-- > 0;) {
		if (h->mutex[i] == m) {
			h->mutex[i] = h->mutex[h->count - 1];
			atomic_signal_fence(memory_order_seq_cst);
			h->count--;
			return;
		}
	}
}

pthread_mutex_t *held_next(struct g *g) {
	struct held *h = thread_of(g)->held;
	while (h && h->count > 0) {
		pthread_mutex_t *m = h->mutex[--h->count];
		for (uint32_t i = 0; i < h->count; i++) { /* a recursive one is there once per level */
			if (h->mutex[i] == m)
				h->mutex[i] = NULL;
		}
		if (holds(g->tid, m))
			return m;
	}
	return NULL;
}

void held_reset(struct held *h) {
	if (h)
		h->count = 0;
}
