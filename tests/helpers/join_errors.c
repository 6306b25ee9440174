/* Errors of join that POSIX asks for and glibc 2.36 does not report, so that no fixture can expect them: a thread that two want to join, and
 * A joins B joins A. Prints what the second one got. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static pthread_t pair[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t set;

static void *waits_for_the_other(void *arg) {
	int r;
	pthread_barrier_wait(&set);
	while ((r = pthread_join(pair[1], NULL)) == EINVAL) /* main's look at it came in between */
		;
	return arg;
}

static void *asks_second(void *arg) {
	(void)arg;
	pthread_mutex_lock(&mutex);
	printf("A joins B joins A: %s\n", strerror(pthread_join(pair[0], NULL)));
	pthread_mutex_unlock(&mutex);
	return NULL;
}

int main(void) {
	struct timespec past = {1, 0};
	pthread_barrier_init(&set, NULL, 2);
	pthread_mutex_lock(&mutex);
	pthread_create(&pair[0], NULL, waits_for_the_other, NULL);
	pthread_create(&pair[1], NULL, asks_second, NULL);
	pthread_barrier_wait(&set);
	while (pthread_timedjoin_np(pair[1], NULL, &past) != EINVAL) /* until somebody waits for it */
		;
	printf("two join one: %s\n", strerror(pthread_join(pair[1], NULL)));
	pthread_mutex_unlock(&mutex);
	printf("join: %s\n", strerror(pthread_join(pair[0], NULL)));
	return 0;
}
