/* Slow paths of the runtime's lock: spin a little, then sleep in the kernel (lock.h). */
#include <linux/futex.h>

#include "arch.h"
#include "lock.h"

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
	while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0) {
		SYS4(SYS_futex, &l->word, FUTEX_WAIT_PRIVATE, 2, 0);
		arch_tp_mend();
	}
}

void unlock_slow(struct lock *l) {
	SYS3(SYS_futex, &l->word, FUTEX_WAKE_PRIVATE, 1);
}
