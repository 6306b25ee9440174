/* No more kernel threads are to be had (RLIMIT_NPROC), and those that there are wait for a robust mutex that is shared: who has it, and is bound to a kernel thread that sleeps, goes on. For another user than root. */
#include "robust_mutex.h"

#include <sys/resource.h>

enum { THREADS = 40, TURNS = 20, LIMIT = 3 };

static pthread_mutex_t *mutex;
static long turns;

static void *takes_turns(void *arg) {
	for (int i = 0; i < TURNS; i++) {
		EQ(pthread_mutex_lock(mutex), 0);
		turns++;
		usleep(200);
		EQ(pthread_mutex_unlock(mutex), 0);
	}
	return arg;
}

int main(void) {
	pthread_t t[THREADS];
	struct rlimit limit = {LIMIT, 100};
	uid_t nobody = 40000 + (uid_t)getpid() % 20000;
	long n = 0;
	test_begin();
	mutex = robust_mutex();
	join(start(takes_turns, NULL));
	if (getuid() == 0) {
		EQ(setresuid(nobody, nobody, nobody), 0);
		setrlimit(RLIMIT_NPROC, &limit);
	}
	for (int i = 0; i < THREADS; i++)
		n += pthread_create(&t[n], NULL, takes_turns, NULL) == 0;
	for (int i = 0; i < n; i++)
		join(t[i]);
	EQ(turns, (n + 1) * TURNS);
	return test_end();
}
