/* A robust mutex in memory that processes share. */
#ifndef ROBUST_MUTEX_H
#define ROBUST_MUTEX_H

#include <sys/mman.h>
#include "sync_test.h"

static pthread_mutex_t *robust_mutex(void) {
	pthread_mutexattr_t a;
	pthread_mutex_t *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(m, &a);
	return m;
}

#endif
