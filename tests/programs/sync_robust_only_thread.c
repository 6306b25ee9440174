/* No more kernel threads are to be had (RLIMIT_NPROC) beside the process's first and those that a runtime may keep for itself: a thread locks a robust mutex that is shared all the same, and
 * again after one that ended with it (SCH-5, TLS-10). For another user than root. */
#include "robust_mutex.h"

#include <sys/resource.h>

enum { LIMIT = 3, TURNS = 20 };

static void *takes_turns(void *mutex) {
	int owner_died = 0;
	for (int i = 0; i < TURNS; i++) {
		int r = pthread_mutex_lock(mutex);
		if (r == EOWNERDEAD) {
			owner_died++;
			r = pthread_mutex_consistent(mutex);
		}
		EQ(r, 0);
		EQ(pthread_mutex_unlock(mutex), 0);
	}
	EQ(pthread_mutex_lock(mutex), 0);
	return (void *)(long)owner_died;
}

int main(void) {
	pthread_t t;
	pthread_mutex_t *mutex = robust_mutex();
	struct rlimit limit = {LIMIT, 100};
	uid_t nobody = 40000 + (uid_t)getpid() % 20000;
	test_begin();
	if (getuid() == 0) {
		EQ(setresuid(nobody, nobody, nobody), 0);
		setrlimit(RLIMIT_NPROC, &limit);
	}
	for (int i = 0; i < TURNS; i++) {
		while (pthread_create(&t, NULL, takes_turns, mutex) == EAGAIN) /* the kernel may count who was joined for a moment */
			usleep(1000);
		EQ(join(t), i > 0);
	}
	return test_end();
}
