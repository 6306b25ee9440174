/* Timers that start a thread (SIGEV_THREAD): the function has its value, runs on a thread of its own with the attributes that were asked for and the mask that libc gives it, may use every
 * object; and what a fork's child has of them. */
#include "sync_test.h"

#include <mqueue.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>

enum { STACK = 1 << 20, MS = 1000000, SEVERAL = 20 };

static sem_t told;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_t maker, last;
static pthread_key_t key;
static int count, destroyed, open_signals;
static _Thread_local int fresh;

static void destroy(void *value) {
	(void)value;
	__atomic_fetch_add(&destroyed, 1, __ATOMIC_SEQ_CST);
	sem_post(&told);
}

static void hit(union sigval value) {
	pthread_attr_t attr;
	size_t size;
	sigset_t mask;
	int state;
	CHECK(!pthread_equal(pthread_self(), maker));
	EQ(fresh++, 0);
	EQ(value.sival_int, 42);
	EQ(pthread_getattr_np(pthread_self(), &attr), 0);
	pthread_attr_getstacksize(&attr, &size);
	CHECK(size == STACK);
	pthread_attr_getdetachstate(&attr, &state);
	EQ(state, PTHREAD_CREATE_DETACHED);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	for (int s = 1; s <= SIGRTMAX; s++)
		open_signals += sigismember(&mask, s) == 0;
	pthread_mutex_lock(&mutex);
	count++;
	last = pthread_self();
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	pthread_setspecific(key, &count);
	sem_post(&told);
}

static timer_t make(clockid_t clock, void (*f)(union sigval), pthread_attr_t *attr, int value) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = f, .sigev_notify_attributes = attr,
	                         .sigev_value.sival_int = value};
	timer_t id = NULL;
	EQ(timer_create(clock, &event, &id), 0);
	return id;
}

static void set(timer_t id, long first_ns, long period_ns) {
	struct itimerspec when = {.it_value = {0, first_ns}, .it_interval = {0, period_ns}};
	EQ(timer_settime(id, 0, &when, NULL), 0);
}

static void await(sem_t *sem) {
	while (sem_wait(sem))
		continue;
}

static void *asks(void *arg) {
	pthread_attr_t attr;
	maker = pthread_self();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_JOINABLE); /* it is detached all the same */
	timer_t id = make(CLOCK_MONOTONIC, hit, &attr, 42);
	pthread_attr_destroy(&attr);
	set(id, MS, 0);
	await(&told);
	await(&told); /* the destructor's */
	EQ(destroyed, 1);
	printf("signals that are not blocked: %d\n", open_signals);
	set(id, MS, MS);
	pthread_mutex_lock(&mutex);
	while (count < 1 + SEVERAL)
		pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
	EQ(timer_delete(id), 0);
	return arg;
}

/* A thread that the library made may create, join, cancel, and be waited for. */
static void *grandchild(void *arg) {
	sem_t *never = arg;
	sem_wait(never);
	return NULL;
}

static sem_t never, done;

static void manages(union sigval value) {
	pthread_t t;
	void *result;
	(void)value;
	EQ(pthread_create(&t, NULL, grandchild, &never), 0);
	EQ(pthread_cancel(t), 0);
	EQ(pthread_join(t, &result), 0);
	CHECK(result == PTHREAD_CANCELED);
	usleep(1000);
	sem_post(&done);
	pthread_exit(NULL);
}

static void *burns(void *arg) {
	timer_t id = make(CLOCK_THREAD_CPUTIME_ID, manages, NULL, 0);
	set(id, 10 * MS, 0);
	while (sem_trywait(&done))
		continue;
	EQ(timer_delete(id), 0);
	return arg;
}

static void exits(union sigval value) {
	_exit(value.sival_int);
}

/* The child has none of its parent's timers, and may make its own. */
static void *forks(void *arg) {
	int status;
	timer_t id = make(CLOCK_MONOTONIC, manages, NULL, 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct itimerspec spec;
		if (timer_gettime(make(CLOCK_MONOTONIC, exits, NULL, 5), &spec))
			_exit(1);
		set(make(CLOCK_MONOTONIC, exits, NULL, 7), MS, 0);
		for (;;)
			pause();
	}
	EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	set(id, 1, 0);
	await(&done);
	EQ(timer_delete(id), 0);
	return arg;
}

int main(void) {
	test_begin();
	sem_init(&told, 0, 0);
	sem_init(&never, 0, 0);
	sem_init(&done, 0, 0);
	pthread_key_create(&key, destroy);
	join(start(asks, NULL));
	step("attributes");
	join(start(burns, NULL));
	step("CPU clock");
	join(start(forks, NULL));
	step("fork");
	timer_t id = make(CLOCK_REALTIME, manages, NULL, 0);
	set(id, MS, 0);
	await(&done);
	EQ(timer_delete(id), 0);
	step("main");
	return test_end();
}
