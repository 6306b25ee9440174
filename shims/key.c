/* Thread-specific data. Values live in each thread's TCB, which goroutines have, so pthread_getspecific and pthread_setspecific are
 * libc's own, untouched. Only creation and deletion of keys are watched, to know the destructors: libc runs them on a path through
 * thread exit that a goroutine does not take. */
#include <limits.h>
#include <threads.h>

#include "thread.h"

static _Atomic(void (*)(void *)) destructors[PTHREAD_KEYS_MAX];
static _Atomic bool live[PTHREAD_KEYS_MAX];
static _Atomic uint32_t keys_end; /* one above the highest key ever made */

static void key_note(pthread_key_t key, void (*destructor)(void *)) {
	if (key >= PTHREAD_KEYS_MAX)
		return;
	atomic_store_explicit(&destructors[key], destructor, memory_order_relaxed);
	/* release: pairs with the acquire in key_run_destructors() */
	atomic_store_explicit(&live[key], true, memory_order_release);
	uint32_t end = atomic_load_explicit(&keys_end, memory_order_relaxed);
	while (end < key + 1 && !atomic_compare_exchange_weak_explicit(&keys_end, &end, key + 1, memory_order_release, memory_order_relaxed))
		;
}

SHIM int pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
	REAL_READY();
	int r = real.pthread_key_create(key, destructor);
	if (r == 0)
		key_note(*key, destructor);
	return r;
}

SHIM int __pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
	return pthread_key_create(key, destructor);
}

SHIM int pthread_key_delete(pthread_key_t key) {
	REAL_READY();
	if (key < PTHREAD_KEYS_MAX)
		atomic_store_explicit(&live[key], false, memory_order_relaxed);
	return real.pthread_key_delete(key);
}

SHIM int tss_create(tss_t *key, tss_dtor_t destructor) {
	return pthread_key_create(key, destructor) == 0 ? thrd_success : thrd_error;
}

SHIM void tss_delete(tss_t key) {
	pthread_key_delete(key);
}

bool keys_were_made(void) {
	return atomic_load_explicit(&keys_end, memory_order_relaxed); /* says only what is likely */
}

void key_run_destructors(void) {
	for (int round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
		bool found = false;
		uint32_t end = atomic_load_explicit(&keys_end, memory_order_acquire);
		for (uint32_t k = 0; k < end; k++) {
			if (!atomic_load_explicit(&live[k], memory_order_acquire))
				continue;
			void *value = real.pthread_getspecific(k);
			if (!value)
				continue;
			real.pthread_setspecific(k, NULL);
			void (*destructor)(void *) = atomic_load_explicit(&destructors[k], memory_order_relaxed);
			if (destructor) {
				found = true;
				destructor(value);
			}
		}
		if (!found)
			return;
	}
}
