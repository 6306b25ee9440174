/* A thread is cancelled in the routine of pthread_once(), which was compiled without unwind tables (the .flags file): the unwinder cannot pass it.
 * The routine counts as not run, is run by whoever waits, and the cleanup handlers around the call are called. SYN-16 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sem_t inside, never;
static int runs, cleanups;

static void routine(void) {
	if (++runs > 2)
		return;
	sem_post(&inside);
	sem_wait(&never);
	puts("not reached");
}

static void cleanup(void *arg) {
	(void)arg;
	cleanups++;
}

static void *first(void *arg) {
	pthread_cleanup_push(cleanup, arg);
	pthread_once(&once, routine);
	pthread_cleanup_pop(0);
	return NULL;
}

int main(void) {
	sem_init(&inside, 0, 0);
	sem_init(&never, 0, 0);
	for (int i = 0; i < 2; i++) {
		pthread_t thread;
		void *result;
		pthread_create(&thread, NULL, first, NULL);
		sem_wait(&inside);
		pthread_cancel(thread);
		pthread_join(thread, &result);
		printf("%s, %d cleanups\n", result == PTHREAD_CANCELED ? "cancelled" : "returned", cleanups);
	}
	pthread_t waiter;
	pthread_create(&waiter, NULL, first, NULL);
	pthread_once(&once, routine);
	pthread_join(waiter, NULL);
	printf("run %d times\n", runs);
	return 0;
}
