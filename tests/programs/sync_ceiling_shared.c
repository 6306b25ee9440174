/* Mutexes with a priority ceiling that are shared with other processes: one account with the private ones, so that a thread without real-time priority is refused as
 * often as natively; who holds one is raised; and threads and processes exclude each other. */
#include "process_test.h"
#include "sync_test.h"

#include <sys/mman.h>
#include <sys/syscall.h>

enum { THREADS = 4, ROUNDS = 400 };

struct memory {
	pthread_mutex_t low, high, recursive;
	long count;
	int inside, wrong, turn;
};

static struct memory *shared;
static pthread_mutex_t own;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void make(pthread_mutex_t *m, int ceiling, int pshared, int type) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT);
	pthread_mutexattr_setprioceiling(&a, ceiling);
	pthread_mutexattr_setpshared(&a, pshared);
	pthread_mutexattr_settype(&a, type);
	EQ(pthread_mutex_init(m, &a), 0);
}

static void say(const char *what, int r) {
	struct sched_param p = {0};
	syscall(SYS_sched_getparam, (pid_t)syscall(SYS_gettid), &p);
	printf("  %s: %d, priority %d\n", what, r, p.sched_priority);
}

static void *ordinary(void *who) {
	struct timespec past = {1, 0};
	puts(who);
	say("own", pthread_mutex_lock(&own)); /* refused and counted */
	say("low", pthread_mutex_lock(&shared->low));
	say("low, let go", pthread_mutex_unlock(&shared->low));
	say("low again", pthread_mutex_lock(&shared->low));
	say("low, let go", pthread_mutex_unlock(&shared->low));
	say("high", pthread_mutex_lock(&shared->high));
	say("high, let go", pthread_mutex_unlock(&shared->high));
	say("high again", pthread_mutex_lock(&shared->high));
	say("high, let go", pthread_mutex_unlock(&shared->high));
	say("own, let go", pthread_mutex_unlock(&own));
	say("own again", pthread_mutex_lock(&own));
	say("own, let go", pthread_mutex_unlock(&own));
	say("low, timed", pthread_mutex_timedlock(&shared->low, &past));
	say("low, timed again", pthread_mutex_timedlock(&shared->low, &past));
	say("low, held, timed", pthread_mutex_timedlock(&shared->low, &past));
	say("low, held, tried", pthread_mutex_trylock(&shared->low));
	say("low, let go", pthread_mutex_unlock(&shared->low));
	say("recursive", pthread_mutex_lock(&shared->recursive));
	say("recursive", pthread_mutex_lock(&shared->recursive));
	say("recursive, let go", pthread_mutex_unlock(&shared->recursive));
	say("recursive, let go", pthread_mutex_unlock(&shared->recursive));
	return NULL;
}

static void *realtime(void *who) {
	struct sched_param param = {2};
	puts(who);
	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) != 0)
		return NULL;
	say("low", pthread_mutex_lock(&shared->low));
	say("own", pthread_mutex_lock(&own));
	say("high", pthread_mutex_lock(&shared->high));
	say("low, let go", pthread_mutex_unlock(&shared->low));
	say("own, let go", pthread_mutex_unlock(&own));
	say("high, let go", pthread_mutex_unlock(&shared->high));
	param.sched_priority = 7;
	say("priority 7", pthread_setschedparam(pthread_self(), SCHED_FIFO, &param));
	say("low", pthread_mutex_lock(&shared->low));
	say("high", pthread_mutex_lock(&shared->high));
	say("high, let go", pthread_mutex_unlock(&shared->high));
	param.sched_priority = 0;
	say("ordinary again", pthread_setschedparam(pthread_self(), SCHED_OTHER, &param));
	return NULL;
}

static void *excludes(void *arg) {
	int r = pthread_mutex_lock(&shared->low); /* the first time refused, and let go then */
	if (r != EINVAL)
		printf("first: %d\n", r);
	for (int i = 0; i < ROUNDS; i++) {
		EQ(pthread_mutex_lock(&shared->low), 0);
		if (__atomic_fetch_add(&shared->inside, 1, __ATOMIC_RELAXED) != 0)
			shared->wrong++;
		shared->count++;
		if (i % 50 == 0)
			usleep(100);
		__atomic_fetch_sub(&shared->inside, 1, __ATOMIC_RELAXED);
		EQ(pthread_mutex_unlock(&shared->low), 0);
	}
	return arg;
}

static void exclusion(void) {
	pthread_t t[THREADS];
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		excludes(NULL);
		_exit(failures);
	}
	/* more threads than one, and another process */
	for (int i = 0; i < THREADS; i++)
		t[i] = start(excludes, NULL);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	EQ(reap(pid), 0);
	printf("count %ld, wrong %d\n", shared->count, shared->wrong);
}

/* One of the two who take turns: whose it is while `turn` is odd, or even. */
static void *takes_turns(void *odd) {
	pthread_mutex_lock(&shared->low);
	for (int i = 0; i < 20; i++) {
		EQ(pthread_mutex_lock(&shared->low), 0);
		while ((shared->turn % 2 == 1) != (odd != NULL))
			EQ(pthread_cond_wait(&cond, &shared->low), 0);
		shared->turn++;
		pthread_cond_broadcast(&cond);
		EQ(pthread_mutex_unlock(&shared->low), 0);
	}
	return NULL;
}

static void condition(void) {
	pthread_t a = start(takes_turns, NULL), b = start(takes_turns, shared);
	join(a);
	join(b);
	printf("turns %d\n", shared->turn);
}

int main(void) {
	test_begin();
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	make(&own, 4, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_NORMAL);
	make(&shared->low, 4, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_NORMAL);
	make(&shared->high, 8, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_NORMAL);
	make(&shared->recursive, 6, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_RECURSIVE);
	join(start(ordinary, "a thread"));
	join(start(realtime, "a thread with priority"));
	make(&shared->low, 4, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_NORMAL); /* it has ended with it */
	exclusion();
	condition();
	puts("main");
	say("low", pthread_mutex_lock(&shared->low));
	say("low again", pthread_mutex_lock(&shared->low));
	say("low, let go", pthread_mutex_unlock(&shared->low));
	return test_end();
}
