/* The number of a thread's CPU clock, made by hand from its thread id, as tools do that know only that: (~tid << 3) | 6 (TIM-5). */
#include "sync_test.h"

#include <signal.h>
#include <sys/syscall.h>

enum { THREADS = 8, MS = 1000000 };

static clockid_t clock_of(pid_t tid) {
	return (clockid_t)(~(unsigned)tid << 3 | 6);
}

static pthread_barrier_t told, looked_at;
static pid_t tids[THREADS];

static void *burns(void *arg) {
	long n = (long)arg;
	tids[n] = gettid();
	clockid_t own = clock_of(gettid());
	long long first = now_ns(CLOCK_THREAD_CPUTIME_ID), before = now_ns(own);
	CHECK(before >= first && before - first < 5 * MS);
	while (now_ns(own) - first < (n + 1) * 2 * MS)
		continue;
	CHECK(now_ns(CLOCK_THREAD_CPUTIME_ID) - first >= (n + 1) * 2 * MS);
	pthread_barrier_wait(&told);
	pthread_barrier_wait(&looked_at);
	return arg;
}

int main(void) {
	pthread_t t[THREADS];
	struct timespec ts;
	test_begin();
	pthread_barrier_init(&told, NULL, THREADS + 1);
	pthread_barrier_init(&looked_at, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		t[i] = start(burns, (void *)i);
	pthread_barrier_wait(&told);
	for (int i = 0; i < THREADS; i++) {
		clockid_t by_libc;
		EQ(pthread_getcpuclockid(t[i], &by_libc), 0);
		EQ(by_libc, clock_of(tids[i]));
		EQ(clock_gettime(clock_of(tids[i]), &ts), 0);
		CHECK(ts.tv_sec > 0 || ts.tv_nsec >= (i + 1) * 2 * MS);
		EQ(syscall(SYS_clock_gettime, clock_of(tids[i]), &ts), 0);
		EQ(clock_getres(clock_of(tids[i]), &ts), 0);
		timer_t id;
		struct sigevent silent = {.sigev_notify = SIGEV_NONE};
		EQ(timer_create(clock_of(tids[i]), &silent, &id), 0);
		EQ(timer_delete(id), 0);
	}
	EQ(clock_gettime(clock_of(getpid()), &ts), 0);
	EQ(clock_gettime(clock_of(0), &ts), 0);
	pthread_barrier_wait(&looked_at);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	EQ(clock_gettime(clock_of(tids[0]), &ts), -1);
	EQ(errno, EINVAL);
	return test_end();
}
