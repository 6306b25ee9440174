/* main returns while threads wait, run and sleep: the process ends at once, with main's status. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t started;

static void *sleeper(void *arg) {
	pthread_barrier_wait(&started);
	pause();
	return arg;
}

static void *waiter(void *arg) {
	pthread_barrier_wait(&started);
	pthread_mutex_lock(&lock);
	return arg;
}

static void *runner(void *arg) {
	pthread_barrier_wait(&started);
	for (volatile unsigned long n = 0;; n++)
		continue;
	return arg;
}

int main(void) {
	pthread_t thread;
	pthread_barrier_init(&started, NULL, 4);
	pthread_mutex_lock(&lock);
	pthread_create(&thread, NULL, sleeper, NULL);
	pthread_create(&thread, NULL, waiter, NULL);
	pthread_create(&thread, NULL, runner, NULL);
	pthread_barrier_wait(&started);
	puts("main returns");
	return 42;
}
