/* No address space for another stack: pthread_create() says EAGAIN, the threads there are go on, and when there is room again it works
 * (MEM-6, RES-3). */
#include "sync_test.h"

#include <sys/resource.h>

enum { N = 4000 };
static pthread_t t[N];
static _Atomic int ran;

static void *waits(void *mutex) {
	pthread_mutex_lock(mutex);
	pthread_mutex_unlock(mutex);
	ran++;
	return NULL;
}

static void *returns(void *arg) {
	return arg;
}

/* Creates until refused; all of those end well. How many. */
static int fill(const pthread_attr_t *attr) {
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	int n = 0, r = 0;
	pthread_mutex_lock(&mutex);
	ran = 0;
	while (n < N && (r = pthread_create(&t[n], attr, waits, &mutex)) == 0)
		n++;
	EQ(r, EAGAIN);
	EQ(pthread_create(&t[n], attr, returns, NULL), EAGAIN); /* and again */
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < n; i++)
		join(t[i]);
	EQ(ran, n);
	return n;
}

int main(void) {
	pthread_attr_t attr;
	struct rlimit old, tight;
	test_begin();
	size_t base = process_bytes().mapped; /* before anything is reserved for threads, which is given up when there is a limit */
	for (int i = 0; i < 4; i++)
		t[i] = start(returns, NULL);
	for (int i = 0; i < 4; i++)
		join(t[i]);
	/* Stacks of 16 MiB, and room for fewer than a hundred. */
	pthread_attr_init(&attr);
	EQ(pthread_attr_setstacksize(&attr, 16 << 20), 0);
	EQ(getrlimit(RLIMIT_AS, &old), 0);
	tight = old;
	tight.rlim_cur = base + (1500ul << 20);
	EQ(setrlimit(RLIMIT_AS, &tight), 0);
	for (int round = 0; round < 3; round++) {
		int n = fill(&attr);
		CHECK(n >= 10 && n < 100);
		join(start(returns, NULL));
	}
	step("refused");
	void *p = malloc(1 << 20); /* the program's own memory is another matter */
	CHECK(p);
	free(p);
	EQ(setrlimit(RLIMIT_AS, &old), 0);
	for (int i = 0; i < 300; i++)
		EQ(pthread_create(&t[i], &attr, returns, (void *)(long)i), 0);
	for (int i = 0; i < 300; i++)
		EQ(join(t[i]), i);
	step("room again");
	/* No room at all, for anything. */
	tight.rlim_cur = 4096;
	EQ(setrlimit(RLIMIT_AS, &tight), 0);
	pthread_attr_setstacksize(&attr, 300 << 20);
	EQ(pthread_create(&t[0], &attr, returns, NULL), EAGAIN);
	EQ(setrlimit(RLIMIT_AS, &old), 0);
	EQ(pthread_create(&t[0], &attr, returns, NULL), 0);
	join(t[0]);
	/* More than there is. */
	EQ(pthread_attr_setstacksize(&attr, 1ul << 50), 0);
	EQ(pthread_create(&t[0], &attr, returns, NULL), EAGAIN);
	join(start(returns, NULL));
	step("too large");
	return test_end();
}
