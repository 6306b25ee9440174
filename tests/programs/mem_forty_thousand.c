/* 40,000 threads with default stacks live at once (MEM-4): each runs, waits, and ends. A process that is refused some of them (NPTL meets
 * vm.max_map_count at 32,750) gets EAGAIN, goes on with those it has, and can create again afterwards (RES-3). With an argument, so many and all of
 * them, or it is a failure. */
#include "sync_test.h"

enum { N = 40000, MOST = 1000000 };
static pthread_t t[MOST];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER, go = PTHREAD_COND_INITIALIZER;
static int arrived, stop;

static void *waits(void *arg) {
	pthread_mutex_lock(&mutex);
	arrived++;
	pthread_cond_signal(&changed);
	while (!stop)
		pthread_cond_wait(&go, &mutex);
	pthread_mutex_unlock(&mutex);
	return arg;
}

static int round_of(int wanted, bool all) {
	int n = 0, r = 0;
	arrived = stop = 0;
	while (n < wanted && (r = pthread_create(&t[n], NULL, waits, (void *)(long)n)) == 0)
		n++;
	if (r) {
		EQ(r, EAGAIN);
		CHECK(!all);
	}
	pthread_mutex_lock(&mutex);
	while (arrived < n)
		pthread_cond_wait(&changed, &mutex);
	stop = 1;
	pthread_cond_broadcast(&go);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < n; i++)
		EQ(join(t[i]), i);
	return n;
}

int main(int argc, char **argv) {
	int wanted = argc > 1 ? atoi(argv[1]) : N;
	alarm(wanted > N ? 1200 : 110);
	int n = round_of(wanted > 0 && wanted < MOST ? wanted : N, argc > 1);
	CHECK(n >= 1000);
	EQ(round_of(1000, true), 1000);
	return test_end();
}
