/* Who waits for a condition with a robust mutex that is shared, and does not have it, is told so, whoever signals meanwhile: also if it never had one. */
#include "robust_mutex.h"

enum { THREADS = 16, ROUNDS = 60 };

static pthread_mutex_t *mutex;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static _Atomic bool enough;

static void *signals(void *arg) {
	while (!enough)
		pthread_cond_broadcast(&cond);
	return arg;
}

static void *waits(void *arg) {
	EQ(pthread_cond_wait(&cond, mutex), EPERM);
	usleep(100);
	if (arg) {
		EQ(pthread_mutex_lock(mutex), 0);
		EQ(pthread_mutex_unlock(mutex), 0);
		EQ(pthread_cond_wait(&cond, mutex), EPERM);
	}
	return NULL;
}

int main(void) {
	pthread_t t[THREADS], s;
	test_begin();
	mutex = robust_mutex();
	s = start(signals, NULL);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < THREADS; i++)
			t[i] = start(waits, i % 2 ? mutex : NULL);
		for (int i = 0; i < THREADS; i++)
			join(t[i]);
	}
	enough = true;
	join(s);
	return test_end();
}
