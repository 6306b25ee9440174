/* Slow paths of the runtime's lock: spin a little, then sleep in the kernel (lock.h). */
#include <linux/futex.h>

#include "arch.h"
#include "lock.h"
#ifdef GOSHIM_DEBUG
#include "proc.h"
#endif

/* A holder keeps a lock for well under a microsecond; spinning longer than this means it lost its CPU. */
#ifndef LOCK_SPINS /* tests/model: once */
#define LOCK_SPINS 64
#endif

void lock_slow(struct lock *l) {
	for (int i = 0; i < LOCK_SPINS; i++) {
		uint32_t free_word = 0;
		if (atomic_load_explicit(&l->word, memory_order_relaxed) == 0 &&
		    atomic_compare_exchange_weak_explicit(&l->word, &free_word, 1, memory_order_acquire, memory_order_relaxed))
			return;
		arch_relax();
	}
	/* From here on we take it as "2": we cannot know whether others sleep. Acquire: as in lock_acquire(). */
	while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0)
		SYS4(SYS_futex, &l->word, FUTEX_WAIT_PRIVATE, 2, 0);
}

void unlock_slow(struct lock *l) {
	SYS3(SYS_futex, &l->word, FUTEX_WAKE_PRIVATE, 1);
}

#ifdef GOSHIM_DEBUG
/* The record is the G's: nobody switches with a lock held, so it does not matter that a G may change its M. A thread without a G (none is made just
 * for this) is not watched. */
static void die(const char *why) {
	size_t n = __builtin_strlen(why);
	SYS3(SYS_write, 2, why, n);
	__builtin_trap();
}

void lock_note_acquire(struct lock *l) {
	struct g *g = tls_g;
	if (!g)
		return;
	g->locks_lost |= g->locks_held >= G_LOCKS_MAX; /* a large select: from here to its end they are only counted */
	for (uint32_t i = 0; i < g->locks_held && !g->locks_lost; i++) {
		if (g->locks[i] == l)
			die("goshim: takes a lock that it holds already\n");
	}
	if (!g->locks_lost)
		g->locks[g->locks_held] = l;
	g->locks_held++;
}

void lock_note_release(struct lock *l) {
	struct g *g = tls_g;
	if (!g)
		return;
	uint32_t i = g->locks_held;
	while (!g->locks_lost && i-- > 0 && g->locks[i] != l)
		;
	if (g->locks_held == 0 || i == UINT32_MAX) {
		if (g->kind != G_FOREIGN) /* one of those may have taken it before it had a G */
			die("goshim: lets go of a lock that it does not hold\n");
		return;
	}
	g->locks_held--;
	if (!g->locks_lost)
		g->locks[i] = g->locks[g->locks_held];
	g->locks_lost &= g->locks_held != 0;
}

void lock_none_held(void) {
	struct g *g = tls_g;
	if (g && g->locks_held)
		die("goshim: switches with a lock held\n");
}
#endif
