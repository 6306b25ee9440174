/* deadlocked N [robust|shared|rwlock]: N threads hold a mutex each, or read a lock, and wait for the next one's, to write, in a ring. Prints "ready" and its pid when each holds its own; ends when
 * standard input does. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t *mutex;
static pthread_rwlock_t *rwlock;
static pthread_barrier_t all;
static long count;

static void *lock_two(void *arg) {
	long i = (long)arg;
	if (rwlock) {
		pthread_rwlock_rdlock(&rwlock[i]);
		pthread_barrier_wait(&all);
		pthread_rwlock_wrlock(&rwlock[(i + 1) % count]);
		return NULL;
	}
	pthread_mutex_lock(&mutex[i]);
	pthread_barrier_wait(&all);
	pthread_mutex_lock(&mutex[(i + 1) % count]);
	return NULL;
}

int main(int argc, char **argv) {
	pthread_mutexattr_t attr;
	pthread_t t;
	char byte;
	count = argc > 1 ? atol(argv[1]) : 2;
	mutex = calloc((size_t)count, sizeof *mutex);
	pthread_mutexattr_init(&attr);
	if (argc > 2 && strcmp(argv[2], "robust") == 0)
		pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	if (argc > 2 && strcmp(argv[2], "shared") == 0)
		pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (argc > 2 && strcmp(argv[2], "rwlock") == 0)
		rwlock = calloc((size_t)count, sizeof *rwlock); /* all zero is a fresh one */
	pthread_barrier_init(&all, NULL, (unsigned)count + 1);
	for (long i = 0; i < count; i++) {
		pthread_mutex_init(&mutex[i], &attr);
		pthread_create(&t, NULL, lock_two, (void *)i);
	}
	pthread_barrier_wait(&all);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
