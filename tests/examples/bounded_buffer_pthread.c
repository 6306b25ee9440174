/* bounded_buffer.c in plain pthreads: run it under the preload, and its threads are goroutines, too. */
#include <pthread.h>
#include <stdio.h>

enum { ROOM = 8, PRODUCERS = 4, CONSUMERS = 3, ITEMS = 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_full = PTHREAD_COND_INITIALIZER, not_empty = PTHREAD_COND_INITIALIZER;
static int buffer[ROOM], used, in, out;
static long left = PRODUCERS * ITEMS, sum;

static void *produce(void *arg) {
	for (int i = 1; i <= ITEMS; i++) {
		pthread_mutex_lock(&lock);
		while (used == ROOM)
			pthread_cond_wait(&not_full, &lock);
		buffer[in] = i;
		in = (in + 1) % ROOM;
		used++;
		pthread_cond_signal(&not_empty);
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void *consume(void *arg) {
	pthread_mutex_lock(&lock);
	while (left > 0) {
		if (used == 0) {
			pthread_cond_wait(&not_empty, &lock);
			continue;
		}
		sum += buffer[out];
		out = (out + 1) % ROOM;
		used--;
		if (--left == 0)
			pthread_cond_broadcast(&not_empty);
		pthread_cond_signal(&not_full);
	}
	pthread_mutex_unlock(&lock);
	return arg;
}

int main(void) {
	pthread_t thread[PRODUCERS + CONSUMERS];
	for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
		pthread_create(&thread[i], NULL, i < PRODUCERS ? produce : consume, NULL);
	for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
		pthread_join(thread[i], NULL);
	printf("sum %ld\n", sum);
	return 0;
}
