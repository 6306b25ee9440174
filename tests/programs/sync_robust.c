/* Robust mutexes (TLS-10): who locks one and ends in whatever way leaves it to the next with EOWNERDEAD. And mutexes
 * with priority inheritance (SYN-8). */
#include "robust_mutex.h"

#include <signal.h>
#include <sys/wait.h>

static pthread_mutex_t *m;
static _Atomic int locked;

static void init(int shared, int protocol) {
	robust_init(m, shared, protocol, PTHREAD_MUTEX_DEFAULT);
}

static void *locks_and_returns(void *arg) {
	(void)arg;
	return (void *)(long)pthread_mutex_lock(m);
}

static void *locks_and_exits(void *arg) {
	(void)arg;
	pthread_exit((void *)(long)pthread_mutex_lock(m));
}

static void *locks_and_is_cancelled(void *arg) {
	pthread_mutex_lock(m);
	locked = 1;
	while (locked)
		pause();
	return arg;
}

static void *locks_after(void *arg) {
	(void)arg;
	return (void *)(long)pthread_mutex_lock(m);
}

static void next_owner(const char *how) {
	pthread_t t = start(locks_after, NULL); /* another thread than the one that recovers, twice */
	long r = join(t);
	int mine = pthread_mutex_lock(m);
	printf("%s: %ld, then %d", how, r, mine);
	printf(", consistent %d", pthread_mutex_consistent(m));
	printf(", unlock %d", pthread_mutex_unlock(m));
	printf(", lock %d", pthread_mutex_lock(m));
	printf(", unlock %d\n", pthread_mutex_unlock(m));
	pthread_mutex_destroy(m);
}

static void threads(int shared, int protocol) {
	init(shared, protocol);
	EQ(join(start(locks_and_returns, NULL)), 0);
	next_owner("returned");
	init(shared, protocol);
	EQ(join(start(locks_and_exits, NULL)), 0);
	next_owner("pthread_exit");
	init(shared, protocol);
	locked = 0;
	pthread_t t = start(locks_and_is_cancelled, NULL);
	while (!locked)
		sched_yield();
	pthread_cancel(t);
	pthread_join(t, NULL);
	next_owner("cancelled");
}

static void processes(void) {
	for (int how = 0; how < 3; how++) {
		init(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE);
		pid_t pid = fork();
		if (pid == 0) {
			if (how == 1)
				join(start(locks_and_returns, NULL));
			else
				pthread_mutex_lock(m);
			if (how == 2)
				kill(getpid(), SIGKILL);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		next_owner(how == 0 ? "process exited" : how == 1 ? "its thread ended" : "killed");
	}
}

static void *waits_for_owner(void *arg) {
	(void)arg;
	int r = pthread_mutex_lock(m);
	if (r == EOWNERDEAD) {
		pthread_mutex_consistent(m);
		pthread_mutex_unlock(m);
	}
	return (void *)(long)r;
}

/* Somebody waits already when the owner ends. */
static void waiting(void) {
	init(PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_NONE);
	locked = 0;
	pthread_t owner = start(locks_and_is_cancelled, NULL);
	while (!locked)
		sched_yield();
	pthread_t t = start(waits_for_owner, NULL);
	usleep(20000);
	pthread_cancel(owner);
	pthread_join(owner, NULL);
	printf("waited: %ld\n", join(t));
	pthread_mutex_destroy(m);
}

static void *asks(void *arg) {
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	long r = pthread_mutex_timedlock(m, &until);
	(void)arg;
	return (void *)r;
}

/* Nobody made it consistent: from then on every thread that asks is refused, and none has it. */
static void unrecoverable(int shared, int protocol) {
	init(shared, protocol);
	join(start(locks_and_returns, NULL));
	printf("left behind: %d", pthread_mutex_lock(m));
	printf(", unlocked %d", pthread_mutex_unlock(m));
	for (int i = 0; i < 2; i++) {
		printf(", lock %d", pthread_mutex_lock(m));
		printf(", unlock %d", pthread_mutex_unlock(m));
	}
	printf(", in threads %ld", join(start(asks, NULL)));
	printf(" %ld", join(start(asks, NULL)));
	printf(", destroy %d\n", pthread_mutex_destroy(m));
}

static long pi_counter;

static void *counts(void *arg) {
	(void)arg;
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(m);
		long c = pi_counter;
		if (i % 20 == 0)
			sched_yield();
		pi_counter = c + 1;
		pthread_mutex_unlock(m);
	}
	return NULL;
}

static void inheritance(int shared, int robust) {
	pthread_mutexattr_t a;
	pthread_t t[20];
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	pthread_mutexattr_setpshared(&a, shared);
	pthread_mutexattr_setrobust(&a, robust);
	EQ(pthread_mutex_init(m, &a), 0);
	pi_counter = 0;
	for (int i = 0; i < 20; i++)
		t[i] = start(counts, NULL);
	for (int i = 0; i < 20; i++)
		join(t[i]);
	printf("inheritance %d %d: %ld, destroy %d\n", shared, robust, pi_counter, pthread_mutex_destroy(m));
}

int main(void) {
	m = robust_memory(sizeof *m);
	setvbuf(stdout, NULL, _IOLBF, 0);
	threads(PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_NONE);
	threads(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE);
	processes();
	waiting();
	unrecoverable(PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_NONE);
	unrecoverable(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE);
	unrecoverable(PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_INHERIT);
	inheritance(PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_STALLED);
	inheritance(PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_STALLED);
	inheritance(PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_ROBUST);
	threads(PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_INHERIT);
	return failures != 0;
}
