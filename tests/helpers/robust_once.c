/* 60 threads that have each locked a robust mutex in shared memory once, as a database's readers do, and one that holds such a mutex. "ready" when that is done; ends with its input. */
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { THREADS = 60 };

static pthread_mutex_t *mutex;
static pthread_barrier_t done;

static void *once(void *arg) {
	pthread_mutex_lock(&mutex[0]);
	pthread_mutex_unlock(&mutex[0]);
	if (arg)
		pthread_mutex_lock(&mutex[1]);
	pthread_barrier_wait(&done);
	pthread_barrier_wait(&done);
	if (arg)
		pthread_mutex_unlock(&mutex[1]);
	return NULL;
}

int main(void) {
	pthread_t t[THREADS];
	pthread_mutexattr_t a;
	char c;
	mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&mutex[0], &a);
	pthread_mutex_init(&mutex[1], &a);
	pthread_barrier_init(&done, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, once, i == 7 ? &c : NULL);
	pthread_barrier_wait(&done);
	puts("ready");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		continue;
	pthread_barrier_wait(&done);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	puts("end");
	return 0;
}
