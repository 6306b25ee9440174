/* Threads, mutexes, condition variables and timed waits under refused calls. More timed waits than a timer heap starts with. */
#include "fail_test.h"

enum { THREADS = 70, ROUNDS = 4 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER, never = PTHREAD_COND_INITIALIZER;
static int count;

static void *timed(void *arg) {
	struct timespec end, now;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_nsec += 20000000;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	CHECK(pthread_mutex_lock(&lock) == 0);
	count++;
	pthread_cond_broadcast(&turn);
	CHECK(pthread_cond_timedwait(&never, &lock, &end) == ETIMEDOUT);
	clock_gettime(CLOCK_REALTIME, &now);
	CHECK(now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec)); /* never early */
	CHECK(pthread_mutex_unlock(&lock) == 0);
	return arg;
}

static void round_once(void) {
	pthread_t t[THREADS];
	count = 0;
	for (long i = 0; i < THREADS; i++)
		t[i] = start(timed, (void *)i);
	pthread_mutex_lock(&lock);
	while (count < THREADS)
		pthread_cond_wait(&turn, &lock);
	pthread_mutex_unlock(&lock);
	for (long i = 0; i < THREADS; i++)
		CHECK(join(t[i]) == (void *)i);
}

int main(void) {
	rounds(ROUNDS, round_once);
	return 0;
}
