/* Robust mutexes of each kind, and one in memory that processes share. */
#ifndef ROBUST_MUTEX_H
#define ROBUST_MUTEX_H

#include <sys/mman.h>
#include "sync_test.h"

static inline void robust_init(pthread_mutex_t *m, int shared, int protocol, int type) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	EQ(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST), 0);
	pthread_mutexattr_setpshared(&a, shared);
	pthread_mutexattr_setprotocol(&a, protocol);
	pthread_mutexattr_settype(&a, type);
	EQ(pthread_mutex_init(m, &a), 0);
}

static inline void *robust_memory(size_t size) {
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(at != MAP_FAILED);
	return at;
}

static inline pthread_mutex_t *robust_mutex(void) {
	pthread_mutex_t *m = robust_memory(sizeof *m);
	robust_init(m, PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_DEFAULT);
	return m;
}

#endif
