/* Mutexes with a priority ceiling: who holds one has its priority, as the kernel sees it, and its own again afterwards; who has more may not take it, nor a
 * thread that has no real-time priority (SEC-1); ceilings are changed, also while somebody has the mutex. In main before there is a thread, in a thread, and in main beside it. Without the right to real-time
 * priorities there is only the last to see. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sleeping.h"

static pthread_mutex_t low, high;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void make(pthread_mutex_t *m, int ceiling) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT);
	pthread_mutexattr_setprioceiling(&a, ceiling);
	pthread_mutex_init(m, &a);
}

/* Its own, the kernel's by libc and by the bare call. */
static void priorities(const char *when) {
	struct sched_param own, now, bare;
	int policy;
	pthread_getschedparam(pthread_self(), &policy, &own);
	sched_getparam(0, &now);
	syscall(SYS_sched_getparam, (pid_t)syscall(SYS_gettid), &bare);
	printf("  %-28s policy %d, own %d, now %d, %d\n", when, policy, own.sched_priority, now.sched_priority, bare.sched_priority);
}

static void took(const char *what, int error) {
	printf("  %s: %s\n", what, strerror(error));
}

static void *holds(void *who) {
	struct timespec past = {1, 0};
	struct sched_param param = {6};
	puts(who);
	priorities("at first");
	took("low", pthread_mutex_lock(&low));
	priorities("with low");
	took("high, too", pthread_mutex_trylock(&high));
	priorities("with both");
	pthread_mutex_unlock(&low);
	priorities("with high");
	took("waiting", pthread_cond_timedwait(&cond, &high, &past));
	priorities("with high again");
	pthread_mutex_unlock(&high);
	priorities("with none");
	took("low", pthread_mutex_lock(&low));
	took("a priority above it", pthread_setschedparam(pthread_self(), SCHED_FIFO, &param));
	priorities("with low");
	pthread_mutex_unlock(&low);
	took("low again", pthread_mutex_lock(&low));
	priorities("with none");
	param.sched_priority = 2;
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
	priorities("at the end");
	return NULL;
}

static void *ordinary(void *who) {
	puts(who);
	took("low", pthread_mutex_lock(&low));
	priorities("refused");
	return NULL;
}

/* ---- another ceiling ---- */

static pthread_mutex_t busy, checked, twice;
static _Atomic pid_t changer;

static void kind(pthread_mutex_t *m, int type) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT);
	pthread_mutexattr_setprioceiling(&a, 5);
	pthread_mutexattr_settype(&a, type);
	pthread_mutex_init(m, &a);
}

static void change(const char *what, pthread_mutex_t *m, int to) {
	int old = -1, now = -1, r = pthread_mutex_setprioceiling(m, to, &old);
	pthread_mutex_getprioceiling(m, &now);
	printf("  %s to %d: %s, was %d, is %d\n", what, to, strerror(r), old, now);
}

static void *changes(void *arg) {
	changer = gettid();
	change("somebody's", &busy, 7);
	return arg;
}

/* Who has no real-time policy is refused a ceiling, once. */
static void lock_twice(pthread_mutex_t *m) {
	if (pthread_mutex_lock(m) != 0)
		took("at the second time", pthread_mutex_lock(m));
}

static void *ceilings(void *who) {
	struct timespec bad = {-1, -1};
	pthread_t t;
	puts(who);
	kind(&busy, PTHREAD_MUTEX_NORMAL);
	kind(&checked, PTHREAD_MUTEX_ERRORCHECK);
	kind(&twice, PTHREAD_MUTEX_RECURSIVE);
	change("nobody's", &busy, 6);
	change("nobody's", &busy, 0);
	change("nobody's", &busy, 100);
	change("no ceiling's", &(pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER, 6);
	lock_twice(&busy);
	took("a time before all times", pthread_mutex_timedlock(&busy, &bad));
	changer = 0;
	pthread_create(&t, NULL, changes, NULL);
	await_sleeping(&changer);
	pthread_mutex_unlock(&busy);
	pthread_join(t, NULL);
	lock_twice(&checked);
	change("one's own, checked", &checked, 6);
	pthread_mutex_unlock(&checked);
	lock_twice(&twice);
	change("one's own, recursive", &twice, 6);
	pthread_mutex_unlock(&twice);
	return NULL;
}

static void threads(void *(*f)(void *), const char *first, const char *second) {
	pthread_t t;
	pthread_create(&t, NULL, f, (void *)first);
	pthread_join(t, NULL);
	f((void *)second);
}

int main(void) {
	struct sched_param param = {2};
	pthread_t t;
	int status;
	alarm(30);
	setvbuf(stdout, NULL, _IOLBF, 0);
	make(&low, 4);
	make(&high, 8);
	pid_t pid = fork();
	if (pid == 0) {
		threads(ordinary, "thread without real-time policy", "main without");
		threads(ceilings, "changes by a thread", "changes by main");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) != 0)
		return 0;
	holds("main alone");
	pthread_create(&t, NULL, holds, "thread");
	pthread_join(t, NULL);
	holds("main beside it");
	return 0;
}
