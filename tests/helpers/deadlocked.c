/* deadlocked N [robust|shared|rwlock]: N threads hold a mutex each, or read a lock, and wait for the next one's, to write, in a ring.
 * deadlocked 2 callback: one of the two is the thread that libc makes for a timer's SIGEV_THREAD.
 * deadlocked 2 timed: that one waits with a time limit, so there is none.
 * deadlocked 2 held: such a one has a mutex, and a thread waits for it, but it waits for nobody.
 * deadlocked 2 readers: a thread holds a mutex and waits to write what two others read, of whom the older one waits for the mutex, and the younger one for nobody.
 * Prints "ready" and its pid when each holds its own; ends when standard input does. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t *mutex;
static pthread_rwlock_t *rwlock;
static pthread_barrier_t all;
static long count;
static sem_t nothing;

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

static void *wait_nobody(void *arg) {
	pthread_rwlock_rdlock(arg);
	pthread_barrier_wait(&all);
	sem_wait(&nothing);
	return NULL;
}

static void *lock_mutex(void *arg) {
	pthread_rwlock_rdlock(arg);
	pthread_barrier_wait(&all);
	pthread_mutex_lock(&mutex[0]);
	return NULL;
}

static void *lock_write(void *arg) {
	pthread_mutex_lock(&mutex[0]);
	pthread_barrier_wait(&all);
	pthread_rwlock_wrlock(arg);
	return NULL;
}

static void callback_two(union sigval value) {
	lock_two(value.sival_ptr);
}

static void callback_timed(union sigval value) {
	long i = (long)value.sival_ptr;
	struct timespec until = {.tv_sec = time(NULL) + 1000};
	pthread_mutex_lock(&mutex[i]);
	pthread_barrier_wait(&all);
	pthread_mutex_timedlock(&mutex[(i + 1) % count], &until);
}

static void callback_one(union sigval value) {
	pthread_mutex_lock(&mutex[(long)value.sival_ptr]);
	pthread_barrier_wait(&all);
	sem_wait(&nothing);
}

/* Starts fn(1) in a thread of libc's own. */
static void call_back(void (*fn)(union sigval)) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = fn, .sigev_value.sival_ptr = (void *)1};
	struct itimerspec soon = {.it_value.tv_nsec = 1};
	timer_t timer;
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &soon, NULL) != 0)
		abort();
}

static void threads_make(const char *kind) {
	static pthread_rwlock_t read_twice = PTHREAD_RWLOCK_INITIALIZER;
	pthread_t t;
	if (strcmp(kind, "readers") == 0) {
		pthread_barrier_init(&all, NULL, 4);
		pthread_create(&t, NULL, lock_write, &read_twice);
		pthread_create(&t, NULL, lock_mutex, &read_twice);
		pthread_create(&t, NULL, wait_nobody, &read_twice);
		return;
	}
	void (*callback)(union sigval) = strcmp(kind, "held") == 0 ? callback_one : strcmp(kind, "timed") == 0 ? callback_timed :
					 strcmp(kind, "callback") == 0 ? callback_two : NULL;
	pthread_barrier_init(&all, NULL, (unsigned)count + 1);
	for (long i = 0; i < count - (callback != NULL); i++)
		pthread_create(&t, NULL, lock_two, (void *)i);
	if (callback)
		call_back(callback);
}

int main(int argc, char **argv) {
	pthread_mutexattr_t attr;
	char byte;
	const char *kind = argc > 2 ? argv[2] : "";
	count = argc > 1 ? atol(argv[1]) : 2;
	mutex = calloc((size_t)count, sizeof *mutex);
	pthread_mutexattr_init(&attr);
	if (strcmp(kind, "robust") == 0)
		pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	if (strcmp(kind, "shared") == 0)
		pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (strcmp(kind, "rwlock") == 0)
		rwlock = calloc((size_t)count, sizeof *rwlock); /* all zero is a fresh one */
	for (long i = 0; i < count; i++)
		pthread_mutex_init(&mutex[i], &attr);
	sem_init(&nothing, 0, 0);
	threads_make(kind);
	pthread_barrier_wait(&all);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
