/* libc loads a module by itself, libgcc_s for the first pthread_exit(), and its malloc, the program's, has to wait with the loader's locks taken. Meanwhile more
 * threads end than there are kernel threads; all of them want those locks, and so does who makes another thread. Whoever can end the wait must still get to run. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 30 };
extern void *__libc_malloc(size_t size);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool waits, may_go, may_end;
static __thread bool is_slow;

void *malloc(size_t size) {
	if (is_slow) {
		is_slow = false;
		pthread_mutex_lock(&mutex);
		waits = true;
		pthread_cond_broadcast(&changed);
		while (!may_go)
			pthread_cond_wait(&changed, &mutex);
		pthread_mutex_unlock(&mutex);
	}
	return __libc_malloc(size);
}

static void *slow(void *arg) {
	is_slow = true;
	pthread_exit(arg);
}

static void *ends(void *arg) {
	pthread_mutex_lock(&mutex);
	while (!may_end)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
	pthread_exit(arg);
}

static void *idles(void *arg) {
	return arg;
}

int main(void) {
	pthread_t first, all[THREADS], last;
	for (long i = 0; i < THREADS; i++)
		pthread_create(&all[i], NULL, ends, (void *)i);
	pthread_create(&first, NULL, slow, NULL);
	pthread_mutex_lock(&mutex);
	while (!waits)
		pthread_cond_wait(&changed, &mutex);
	puts("a module is being loaded");
	may_end = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	usleep(100000);
	pthread_mutex_lock(&mutex);
	may_go = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	long sum = 0;
	pthread_join(first, NULL);
	for (int i = 0; i < THREADS; i++) {
		void *result;
		pthread_join(all[i], &result);
		sum += (long)result;
	}
	pthread_create(&last, NULL, idles, NULL);
	pthread_join(last, NULL);
	printf("all have ended, %ld\n", sum);
	return 0;
}
