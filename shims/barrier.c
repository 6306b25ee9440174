/* pthread_barrier_*: private barriers, in glibc's 32-byte object.
 *
 *   arrived, round   one 64-bit word: how many have come in this round, and the round's number. The last one starts the next round
 *                    with a single compare-and-swap, and wakes who waits on the address of `round`.
 *   count, shared    glibc's, from pthread_barrier_init.
 *   left             bit 0: somebody waits in destroy; from bit 1: how many threads have left, ever. The increment is a
 *                    thread's last access to the object. pthread_barrier_destroy() waits until as many have left as have
 *                    come (modulo 2^31), so it may be called as soon as any thread has returned (SYN-10).
 *
 * Waiters sleep while the round's number stands; a new round can begin only when all of the last one have been let go,
 * and the number does not come back before 2^32 rounds. No cancellation point; handlers run while a thread waits, and
 * it waits on. Process-shared barriers are glibc's; pthread_barrier_init is not interposed. */
#include <errno.h>

#include "inspect.h"
#include "sigstate.h"
#include "sync.h"

struct barrier {
	union {
		_Atomic uint64_t state;
		struct {
			uint32_t arrived;
			_Atomic uint32_t round;
		};
	};
	uint32_t count;
	int shared;
	_Atomic uint32_t left;
};

enum { LEFT_DESTROY = 1, LEFT_ONE = 2, LEFT_SHIFT = 1 };
#define LEFT_MASK 0x7fffffffu

_Static_assert(offsetof(struct barrier, round) == BARRIER_WORD, "reports");
_Static_assert(sizeof(struct barrier) <= sizeof(pthread_barrier_t) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "glibc's pthread_barrier_t");

static void barrier_leave(struct barrier *b) {
	/* release: pairs with the acquire in destroy */
	if (atomic_fetch_add_explicit(&b->left, LEFT_ONE, memory_order_release) & LEFT_DESTROY)
		futex_wake(&b->left, INT_MAX, FUTEX_ANY);
}

static void barrier_sleep(struct barrier *b, uint32_t round) {
	/* acquire: pairs with the release of the last one, behind everybody's arrival */
	while (atomic_load_explicit(&b->round, memory_order_acquire) == round) {
		if (futex_wait(&b->round, round, -1, FUTEX_ANY, true, "barrier") == -EINTR)
			shim_interrupted_anew(g_self());
	}
}

SHIM int pthread_barrier_wait(pthread_barrier_t *barrier) {
	struct barrier *b = (struct barrier *)barrier;
	if (unlikely(b->shared || sync_real)) {
		REAL_READY();
		struct g *g = g_goroutine();
		syscall_enter_blocking(g);
		int r = real.pthread_barrier_wait(barrier);
		syscall_exit(g);
		return r;
	}
	uint64_t s = atomic_load_explicit(&b->state, memory_order_relaxed), to;
	bool last;
	do {
		last = (uint32_t)s + 1 == b->count;
		to = last ? (uint64_t)((uint32_t)(s >> 32) + 1) << 32 : s + 1;
		/* acq_rel: the last one gathers what all wrote before they came and hands it on */
	} while (!atomic_compare_exchange_weak_explicit(&b->state, &s, to, memory_order_acq_rel, memory_order_relaxed));
	if (last)
		futex_wake(&b->round, INT_MAX, FUTEX_ANY);
	else
		barrier_sleep(b, (uint32_t)(s >> 32));
	barrier_leave(b);
	return last ? PTHREAD_BARRIER_SERIAL_THREAD : 0;
}

SHIM int pthread_barrier_destroy(pthread_barrier_t *barrier) {
	struct barrier *b = (struct barrier *)barrier;
	if (unlikely(b->shared || sync_real)) {
		REAL_READY();
		struct g *g = g_goroutine();
		syscall_enter_blocking(g);
		int r = real.pthread_barrier_destroy(barrier);
		syscall_exit(g);
		return r;
	}
	uint64_t s = atomic_load_explicit(&b->state, memory_order_relaxed); /* nobody arrives any more */
	uint32_t come = ((uint32_t)(s >> 32) * b->count + (uint32_t)s) & LEFT_MASK;
	/* acquire: pairs with the release in barrier_leave() */
	uint32_t left = atomic_fetch_or_explicit(&b->left, LEFT_DESTROY, memory_order_acquire) | LEFT_DESTROY;
	while (left >> LEFT_SHIFT != come) {
		if (futex_wait(&b->left, left, -1, FUTEX_ANY, true, "barrier destroy") == -EINTR)
			shim_interrupted_anew(g_self());
		left = atomic_load_explicit(&b->left, memory_order_acquire);
	}
	return 0;
}
