/* pthread_spin_*: glibc's word, but who spins on a goroutine lets others run: the holder may be waiting for this very
 * P (SYN-18).
 *
 * Which value means free is the CPU's (arch_cpu.h). Same protocol as glibc's for both
 * private and process-shared locks: another process may use glibc's functions on the same word. */
#include <errno.h>

#include "sync.h"

enum { SPIN_FREE = ARCH_SPIN_FREE, SPIN_HELD = !SPIN_FREE };

#define SPINS_BEFORE_YIELD 200 /* some microseconds: more than any critical section worth a spin lock */

static inline _Atomic int *spin_word(pthread_spinlock_t *l) {
	return (_Atomic int *)l;
}

/* acquire: pairs with the release in unlock. An exchange also swallows another process's failed decrements, which is harmless. */
static inline bool spin_take(_Atomic int *word) {
	return atomic_exchange_explicit(word, SPIN_HELD, memory_order_acquire) == SPIN_FREE;
}

static __attribute__((noinline)) int spin_wait(_Atomic int *word) {
	for (;;) {
		for (int i = 0; i < SPINS_BEFORE_YIELD; i++) {
			/* relaxed: only a hint when to try again */
			if (atomic_load_explicit(word, memory_order_relaxed) == SPIN_FREE && spin_take(word))
				return 0;
			arch_relax();
		}
		struct g *g = g_goroutine();
		if (g)
			g_yield(g);
	}
}

SHIM int pthread_spin_lock(pthread_spinlock_t *l) {
	return likely(spin_take(spin_word(l))) ? 0 : spin_wait(spin_word(l));
}

SHIM int pthread_spin_trylock(pthread_spinlock_t *l) {
	int expected = SPIN_FREE;
	return atomic_compare_exchange_strong_explicit(spin_word(l), &expected, SPIN_HELD, memory_order_acquire, memory_order_relaxed)
	               ? 0 : EBUSY;
}

SHIM int pthread_spin_unlock(pthread_spinlock_t *l) {
	atomic_store_explicit(spin_word(l), SPIN_FREE, memory_order_release);
	return 0;
}

SHIM int pthread_spin_init(pthread_spinlock_t *l, int pshared) {
	(void)pshared;
	atomic_store_explicit(spin_word(l), SPIN_FREE, memory_order_relaxed); /* nobody else knows it yet */
	return 0;
}

SHIM int pthread_spin_destroy(pthread_spinlock_t *l) {
	(void)l;
	return 0;
}
