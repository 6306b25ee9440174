/* Threads are created and cancelled at random moments of a loop of waits; each takes a descriptor and gives it back in its cleanup handler, so
 * none may be left at the end (CAN-1). */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROUNDS = 60, THREADS = 30 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static volatile int open_count, held_count;

static void give_back(void *arg) {
	int *pair = arg;
	close(pair[0]);
	close(pair[1]);
	__atomic_sub_fetch(&open_count, 2, __ATOMIC_RELAXED);
}

static void unlock(void *arg) {
	held_count--;
	pthread_mutex_unlock(arg);
}

static void *thread(void *arg) {
	int pair[2], old;
	unsigned seed = (unsigned)(long)arg;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	if (pipe(pair) != 0)
		abort();
	__atomic_add_fetch(&open_count, 2, __ATOMIC_RELAXED);
	pthread_cleanup_push(give_back, pair);
	pthread_setcancelstate(old, NULL);
	for (;;) {
		char b = 0;
		switch (rand_r(&seed) % 5) {
		case 0:
			write(pair[1], &b, 1);
			read(pair[0], &b, 1);
			break;
		case 1:
			usleep(50);
			break;
		case 2:
			pthread_mutex_lock(&mutex);
			held_count++;
			pthread_cleanup_push(unlock, &mutex);
			struct timespec ts = {0, 0};
			pthread_cond_timedwait(&cond, &mutex, &ts);
			pthread_cleanup_pop(1);
			break;
		case 3:
			pthread_testcancel();
			sched_yield();
			break;
		case 4:
			read(pair[0], &b, seed % 7 == 0 ? 1 : 0);
			break;
		}
	}
	pthread_cleanup_pop(0);
	return NULL;
}

int main(void) {
	int cancelled = 0;
	for (int round = 0; round < ROUNDS; round++) {
		pthread_t t[THREADS];
		for (long i = 0; i < THREADS; i++)
			pthread_create(&t[i], NULL, thread, (void *)(i + round * 100));
		for (int i = 0; i < THREADS; i++) {
			if (i % 5 == 0)
				usleep(100);
			pthread_cancel(t[i]);
		}
		for (int i = 0; i < THREADS; i++) {
			void *r;
			pthread_join(t[i], &r);
			cancelled += r == PTHREAD_CANCELED;
		}
	}
	printf("cancelled %d, descriptors left %d, mutex %s\n", cancelled, open_count, pthread_mutex_trylock(&mutex) == 0 ? "free" : "held");
	return 0;
}
