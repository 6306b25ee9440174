/* The runtime's own lock: a word, spun on briefly, then a kernel futex.
 *
 * Holders are always inside the runtime (rt_enter), so no handler of the program runs on top of a held lock and no P is
 * taken from a holder; only the kernel may deschedule one, which is why waiters end in the kernel and do not spin on.
 * States: 0 free, 1 held, 2 held and somebody may sleep in the kernel.
 *
 * Ranks (enum lock_rank): a thread takes locks in this order only, and no two of one rank, but that a select takes several channels', and a
 * requeue two buckets, by address. Who takes a lock names its rank: that costs nothing, and a lock in zeroed memory needs no set-up.
 *
 * A debug build (GOSHIM_DEBUG) keeps a record of what each G, g0 and foreign thread holds. It dies, with a dump of every goroutine, when one
 * takes a lock out of order or one that it holds already, lets go of what it does not hold, or switches with a lock held.
 */
#ifndef GOSHIM_LOCK_H
#define GOSHIM_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "lock_rank.h"

struct lock {
	_Atomic uint32_t word;
};

void lock_slow(struct lock *l);
void unlock_slow(struct lock *l);

#ifdef GOSHIM_DEBUG
void lock_note_acquire(struct lock *l, enum lock_rank rank);
void lock_note_release(struct lock *l);
/* The caller is about to switch stacks. In debug.c, all three. */
void lock_none_held(void);
#else
static inline void lock_note_acquire(struct lock *l, enum lock_rank rank) {
	(void)l, (void)rank;
}
static inline void lock_note_release(struct lock *l) {
	(void)l;
}
static inline void lock_none_held(void) {
}
#endif

/* Acquire pairs with the release in lock_release(): the critical sections are totally ordered. */
static inline void lock_acquire(struct lock *l, enum lock_rank rank) {
	uint32_t free_word = 0;
	lock_note_acquire(l, rank);
	if (__builtin_expect(!atomic_compare_exchange_strong_explicit(&l->word, &free_word, 1, memory_order_acquire,
	                                                              memory_order_relaxed), 0))
		lock_slow(l);
}

static inline void lock_release(struct lock *l) {
	lock_note_release(l);
	if (__builtin_expect(atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2, 0))
		unlock_slow(l);
}

#endif
