/* Joining in all its forms, and every error it may report: join, tryjoin, timedjoin, clockjoin, detach. */
#include "sync_test.h"

#include <signal.h>
#include <stdint.h>

static pthread_t main_thread;

static void *gives(void *arg) {
	return arg;
}

/* Stays until the mutex is free. */
static void *stays(void *mutex) {
	pthread_mutex_lock(mutex);
	pthread_mutex_unlock(mutex);
	return (void *)7;
}

/* Joined or not, it is past its last program code soon. */
static int tryjoin_until_done(pthread_t t, void **result) {
	int r;
	while ((r = pthread_tryjoin_np(t, result)) == EBUSY)
		sched_yield();
	return r;
}

static void results(void) {
	static const uintptr_t values[] = {0, 1, 42, UINTPTR_MAX, (uintptr_t)1 << 63};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		void *result = (void *)1234;
		pthread_t t = start(gives, (void *)values[i]);
		EQ(pthread_join(t, &result), 0);
		CHECK((uintptr_t)result == values[i]);
	}
	pthread_t t = start(gives, NULL);
	EQ(pthread_join(t, NULL), 0);
	step("results");
}

static void tries(void) {
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	void *result = (void *)99;
	pthread_mutex_lock(&mutex);
	pthread_t t = start(stays, &mutex);
	EQ(pthread_tryjoin_np(t, &result), EBUSY);
	CHECK(result == (void *)99);
	pthread_mutex_unlock(&mutex);
	EQ(tryjoin_until_done(t, &result), 0);
	CHECK(result == (void *)7);
	EQ(pthread_tryjoin_np(pthread_self(), NULL), EBUSY);
	step("tryjoin");
}

static void times_out(void) {
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	void *result = (void *)99;
	struct timespec past = {1, 0}, ts;
	long long before;
	pthread_mutex_lock(&mutex);
	pthread_t t = start(stays, &mutex);

	before = now_ns(CLOCK_MONOTONIC);
	ts = in_ms(CLOCK_REALTIME, 30);
	EQ(pthread_timedjoin_np(t, &result, &ts), ETIMEDOUT);
	CHECK(now_ns(CLOCK_MONOTONIC) - before >= 25000000);
	before = now_ns(CLOCK_MONOTONIC);
	ts = in_ms(CLOCK_MONOTONIC, 30);
	EQ(pthread_clockjoin_np(t, &result, CLOCK_MONOTONIC, &ts), ETIMEDOUT);
	CHECK(now_ns(CLOCK_MONOTONIC) - before >= 29000000);
	ts = in_ms(CLOCK_REALTIME, 10);
	EQ(pthread_clockjoin_np(t, &result, CLOCK_REALTIME, &ts), ETIMEDOUT);
	EQ(pthread_timedjoin_np(t, &result, &past), ETIMEDOUT);
	EQ(pthread_clockjoin_np(t, &result, CLOCK_PROCESS_CPUTIME_ID, &past), EINVAL);
	EQ(pthread_clockjoin_np(t, &result, 12345, &past), EINVAL);
	CHECK(result == (void *)99);

	pthread_mutex_unlock(&mutex);
	ts = in_ms(CLOCK_REALTIME, 20000);
	EQ(pthread_timedjoin_np(t, &result, &ts), 0);
	CHECK(result == (void *)7);
	/* A thread that is done is joined whatever the time. */
	t = start(gives, NULL);
	while (pthread_timedjoin_np(t, NULL, &past) == ETIMEDOUT)
		sched_yield();
	t = start(gives, (void *)3);
	EQ(pthread_clockjoin_np(t, &result, CLOCK_MONOTONIC, NULL), 0);
	CHECK(result == (void *)3);
	t = start(gives, (void *)4);
	EQ(pthread_timedjoin_np(t, &result, NULL), 0);
	CHECK(result == (void *)4);
	step("timedjoin and clockjoin");
}

static void detached(void) {
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_attr_t attr;
	pthread_t t;
	pthread_mutex_lock(&mutex);
	t = start(stays, &mutex);
	EQ(pthread_detach(t), 0);
	EQ(pthread_detach(t), EINVAL);
	EQ(pthread_join(t, NULL), EINVAL);
	struct timespec ts = in_ms(CLOCK_REALTIME, 1000);
	EQ(pthread_timedjoin_np(t, NULL, &ts), EINVAL);
	pthread_attr_init(&attr);
	EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
	EQ(pthread_attr_setdetachstate(&attr, 77), EINVAL);
	EQ(pthread_create(&t, &attr, stays, &mutex), 0);
	EQ(pthread_join(t, NULL), EINVAL);
	EQ(pthread_detach(t), EINVAL);
	pthread_attr_destroy(&attr);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < 2000; i++)
		EQ(pthread_detach(start(gives, NULL)), 0);
	step("detach");
}

static void *detaches_itself(void *arg) {
	EQ(pthread_detach(pthread_self()), 0);
	EQ(pthread_join(pthread_self(), NULL), EINVAL);
	pthread_barrier_wait(arg);
	return NULL;
}

static void *joins_itself(void *arg) {
	EQ(pthread_join(pthread_self(), NULL), EDEADLK);
	return arg;
}

/* (That A joins B joins A is refused only sometimes by NPTL: see tests/helpers/join_errors.c.) */
static void deadlocks(void) {
	struct timespec ts = in_ms(CLOCK_REALTIME, 5000);
	EQ(pthread_join(pthread_self(), NULL), EDEADLK);
	EQ(pthread_timedjoin_np(pthread_self(), NULL, &ts), EDEADLK);
	join(start(joins_itself, NULL));
	step("deadlocks");
	pthread_barrier_t detached;
	pthread_barrier_init(&detached, NULL, 2);
	start(detaches_itself, &detached);
	pthread_barrier_wait(&detached);
	step("detaches itself");
}

/* Signals do not end a join. */
static volatile sig_atomic_t handled;
static void handler(int signal) {
	(void)signal;
	handled++;
}

static void *pesters(void *mutex) {
	for (int i = 1; i <= 20; i++) {
		pthread_kill(main_thread, SIGUSR1);
		while (handled < i)
			sched_yield();
	}
	pthread_mutex_unlock(mutex);
	return NULL;
}

static void signals(void) {
	struct sigaction sa = {.sa_handler = handler};
	sigaction(SIGUSR1, &sa, NULL);
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&mutex);
	pthread_t t = start(stays, &mutex), p = start(pesters, &mutex);
	void *result = NULL;
	EQ(pthread_join(t, &result), 0);
	CHECK(result == (void *)7);
	EQ(pthread_join(p, NULL), 0);
	EQ(handled, 20);
	step("signals");
}

/* A cancelled joiner leaves the thread joinable. */
static void *joins(void *target) {
	pthread_join(*(pthread_t *)target, NULL);
	return NULL;
}

static void cancelled(void) {
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&mutex);
	pthread_t t = start(stays, &mutex);
	pthread_t j = start(joins, &t);
	usleep(5000);
	void *result = NULL;
	EQ(pthread_cancel(j), 0);
	EQ(pthread_join(j, &result), 0);
	CHECK(result == PTHREAD_CANCELED);
	pthread_mutex_unlock(&mutex);
	EQ(pthread_join(t, &result), 0);
	CHECK(result == (void *)7);
	step("cancelled");
}

/* Times that are none: libc looks at them only if it must wait. */
static void odd_times(void) {
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	struct timespec negative = {-1, 0}, nonsense = {1, 2000000000}, both = {-1, 2000000000};
	void *result = NULL;
	pthread_mutex_lock(&mutex);
	pthread_t t = start(stays, &mutex);
	EQ(pthread_timedjoin_np(t, &result, &negative), ETIMEDOUT);
	EQ(pthread_clockjoin_np(t, &result, CLOCK_MONOTONIC, &both), ETIMEDOUT);
	pthread_mutex_unlock(&mutex);
	EQ(pthread_timedjoin_np(t, &result, &nonsense), 0);
	CHECK(result == (void *)7);
	t = start(gives, (void *)5);
	int r;
	while ((r = pthread_timedjoin_np(t, &result, &negative)) == ETIMEDOUT)
		sched_yield();
	EQ(r, 0);
	CHECK(result == (void *)5);
	step("odd times");
}

/* A join that need not wait is no cancellation point. */
static void *joins_late(void *arg) {
	void *result = NULL;
	clockid_t clock;
	pthread_t t = start(gives, arg);
	while (pthread_getcpuclockid(t, &clock) == 0) /* it has ended when it has no clock */
		sched_yield();
	pthread_cancel(pthread_self());
	EQ(pthread_join(t, &result), 0);
	CHECK(result == arg);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return (void *)1;
}

static void cancelled_late(void) {
	EQ(join(start(joins_late, (void *)6)), 1);
	step("cancelled, and need not wait");
}

/* Who has ended and is not joined yet has no kernel thread to ask about. */
static void ended(void) {
	struct sched_param param = {0};
	clockid_t clock;
	int policy;
	pthread_t t = start(gives, (void *)5);
	while (pthread_getcpuclockid(t, &clock) == 0)
		sched_yield();
	EQ(pthread_getcpuclockid(t, &clock), ESRCH);
	EQ(pthread_getschedparam(t, &policy, &param), ESRCH);
	EQ(pthread_setschedparam(t, SCHED_OTHER, &param), ESRCH);
	EQ(pthread_setschedparam(t, SCHED_BATCH, &param), ESRCH);
	EQ(pthread_setschedprio(t, 0), ESRCH);
	EQ(join(t), 5);
	step("ended");
}

static void many(void) {
	enum { N = 2000 };
	static pthread_t t[N];
	for (intptr_t i = 0; i < N; i++)
		t[i] = start(gives, (void *)i);
	for (intptr_t i = N; i-- > 0;)
		EQ(join(t[i]), i);
	step("many");
}

int main(void) {
	test_begin();
	main_thread = pthread_self();
	results();
	tries();
	times_out();
	detached();
	deadlocks();
	signals();
	cancelled();
	odd_times();
	cancelled_late();
	ended();
	many();
	return test_end();
}
