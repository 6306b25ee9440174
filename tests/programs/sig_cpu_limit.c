/* The signal of RLIMIT_CPU interrupts the thread that computes, not main, which waits and would take it, too. */
#include "sync_test.h"

#include <signal.h>
#include <sys/resource.h>

static pthread_t ran;
static volatile int runs;

static void handler(int sig) {
	EQ(sig, SIGXCPU);
	ran = pthread_self();
	runs = 1;
}

static void *computes(void *arg) {
	while (!runs)
		continue;
	EQ(pthread_equal(ran, pthread_self()) != 0, 1);
	return arg;
}

int main(void) {
	pthread_t t;
	struct rlimit limit;
	test_begin();
	signal(SIGXCPU, handler);
	getrlimit(RLIMIT_CPU, &limit);
	limit.rlim_cur = 1; /* no limit is shorter */
	EQ(setrlimit(RLIMIT_CPU, &limit), 0);
	EQ(pthread_create(&t, NULL, computes, NULL), 0);
	EQ(pthread_join(t, NULL), 0);
	return test_end();
}
