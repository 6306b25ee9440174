/* Mutexes with a priority ceiling: who holds one has its priority, as the kernel sees it, and its own again afterwards; who has more may not take it, nor a
 * thread that has no real-time priority (SEC-1). In main before there is a thread, in a thread, and in main beside it. Without the right to real-time
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
