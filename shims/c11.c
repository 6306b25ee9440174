/* C11 mtx_* and cnd_*: the POSIX objects under other names, as in glibc; only the results are translated.
 *
 * mtx_init and mtx_destroy only write into the object and stay glibc's. call_once is in once.c; thrd_* and tss_* are elsewhere. */
#include <errno.h>
#include <threads.h>

#include "sync.h"

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t), "glibc's C11 objects");

static int thrd_result(int error) {
	switch (error) {
	case 0:
		return thrd_success;
	case ENOMEM:
		return thrd_nomem;
	case ETIMEDOUT:
		return thrd_timedout;
	case EBUSY:
		return thrd_busy;
	default:
		return thrd_error;
	}
}

static inline pthread_mutex_t *mutex_of(mtx_t *m) {
	return (pthread_mutex_t *)m;
}

static inline pthread_cond_t *cond_of(cnd_t *c) {
	return (pthread_cond_t *)c;
}

SHIM int mtx_lock(mtx_t *m) {
	return thrd_result(pthread_mutex_lock(mutex_of(m)));
}

SHIM int mtx_timedlock(mtx_t *restrict m, const struct timespec *restrict until) {
	return thrd_result(pthread_mutex_timedlock(mutex_of(m), until));
}

SHIM int mtx_trylock(mtx_t *m) {
	return thrd_result(pthread_mutex_trylock(mutex_of(m)));
}

SHIM int mtx_unlock(mtx_t *m) {
	return thrd_result(pthread_mutex_unlock(mutex_of(m)));
}

SHIM int cnd_init(cnd_t *c) {
	return thrd_result(pthread_cond_init(cond_of(c), NULL));
}

SHIM void cnd_destroy(cnd_t *c) {
	pthread_cond_destroy(cond_of(c));
}

SHIM int cnd_wait(cnd_t *c, mtx_t *m) {
	return thrd_result(pthread_cond_wait(cond_of(c), mutex_of(m)));
}

SHIM int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict until) {
	return thrd_result(pthread_cond_timedwait(cond_of(c), mutex_of(m), until));
}

SHIM int cnd_signal(cnd_t *c) {
	return thrd_result(pthread_cond_signal(cond_of(c)));
}

SHIM int cnd_broadcast(cnd_t *c) {
	return thrd_result(pthread_cond_broadcast(cond_of(c)));
}
