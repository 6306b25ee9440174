/* A thread's CPU clock counts what that thread computed and nothing else, whatever runs beside it (TIM-5). */
#include "sync_test.h"

#include <semaphore.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { BURNERS = 4, IDLERS = 4, MS = 1000000 };

static long long ns_of(clockid_t clock) {
	struct timespec ts;
	if (clock_gettime(clock, &ts))
		return -errno;
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static long long usage_ns(void) {
	struct rusage u;
	getrusage(RUSAGE_THREAD, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000LL + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000LL;
}

static _Atomic int stop;

/* Until its own clock has gone on by so much, giving way now and then. */
static void *burn(void *arg) {
	long long first = ns_of(CLOCK_THREAD_CPUTIME_ID), usage = usage_ns(), now = first;
	for (unsigned i = 0; now - first < (long)arg; i++) {
		if (i % 64 == 0)
			sched_yield();
		for (volatile int spin = 20000; spin; spin--)
			continue;
		long long next = ns_of(CLOCK_THREAD_CPUTIME_ID);
		CHECK(next >= now);
		now = next;
	}
	usage = usage_ns() - usage;
	CHECK(usage >= (long)arg - 12 * MS && usage <= now - first + 12 * MS);
	return (void *)(long)(now - first);
}

/* Comes and goes beside them, and uses nearly nothing. */
static void *idle(void *arg) {
	long long first = ns_of(CLOCK_THREAD_CPUTIME_ID);
	(void)arg;
	for (int i = 0; i < 20 || !stop; i++)
		usleep(1000);
	return (void *)(long)(ns_of(CLOCK_THREAD_CPUTIME_ID) - first);
}

static void shares(void) {
	pthread_t burner[BURNERS], idler[IDLERS];
	long long before = ns_of(CLOCK_PROCESS_CPUTIME_ID), sum = 0, idle_sum = 0;
	for (long i = 0; i < IDLERS; i++)
		pthread_create(&idler[i], NULL, idle, NULL);
	for (long i = 0; i < BURNERS; i++)
		pthread_create(&burner[i], NULL, burn, (void *)(40L * MS));
	for (int i = 0; i < BURNERS; i++) {
		void *used;
		pthread_join(burner[i], &used);
		CHECK((long)used >= 40 * MS);
		sum += (long)used;
	}
	stop = 1;
	for (int i = 0; i < IDLERS; i++) {
		void *used;
		pthread_join(idler[i], &used);
		idle_sum += (long)used;
	}
	CHECK(sum + idle_sum <= ns_of(CLOCK_PROCESS_CPUTIME_ID) - before);
	CHECK(idle_sum > 0 && idle_sum < sum / 2);
}

static sem_t go, ready;
static _Atomic bool enough;

static void *on_demand(void *arg) {
	for (;;) {
		sem_post(&ready);
		sem_wait(&go);
		if (stop == 2)
			return NULL;
		do
			burn(arg);
		while (!enough); /* who waits for our clock may have come late */
	}
}

static void another(void) {
	pthread_t t;
	clockid_t clock, own;
	sem_init(&go, 0, 0);
	sem_init(&ready, 0, 0);
	pthread_create(&t, NULL, on_demand, (void *)(30L * MS));
	EQ(pthread_getcpuclockid(t, &clock), 0);
	EQ(pthread_getcpuclockid(pthread_self(), &own), 0);
	CHECK(clock != own && clock < 0 && own < 0);
	sem_wait(&ready);
	usleep(20000);
	long long parked = ns_of(clock);
	usleep(20000);
	EQ(ns_of(clock), parked);
	for (int i = 0; i < 2; i++) {
		enough = false;
		sem_post(&go);
		struct timespec part = {0, 10 * MS}, until;
		if (i) {
			long long target = parked + 45 * MS;
			until = (struct timespec){target / 1000000000, target % 1000000000};
			EQ(clock_nanosleep(clock, TIMER_ABSTIME, &until, NULL), 0);
			CHECK(ns_of(clock) >= target);
		} else {
			EQ(clock_nanosleep(clock, 0, &part, NULL), 0);
			CHECK(ns_of(clock) >= parked + 10 * MS);
		}
		enough = true;
		sem_wait(&ready);
		CHECK(ns_of(clock) >= parked + (i + 1) * 30 * MS);
	}
	struct timespec step, bad = {0, 1000000000}, some = {0, 1};
	EQ(clock_getres(clock, &step), 0);
	EQ(clock_nanosleep(own, 0, &some, NULL), EINVAL);
	EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &some, NULL), EINVAL);
	EQ(clock_nanosleep(clock, 0, &bad, NULL), EINVAL);
	long long mine = ns_of(own), same = ns_of(CLOCK_THREAD_CPUTIME_ID);
	CHECK(same >= mine && same - mine < 20 * MS);
	struct timespec raw;
	EQ(syscall(SYS_clock_gettime, own, &raw), 0);
	CHECK(raw.tv_sec * 1000000000LL + raw.tv_nsec >= same);
	stop = 2;
	sem_post(&go);
	pthread_join(t, NULL);
	while (ns_of(clock) != -EINVAL) /* a kernel thread is joined a moment before it is gone */
		sched_yield();
}

int main(void) {
	pthread_t t;
	long long early = ns_of(CLOCK_THREAD_CPUTIME_ID);
	stop = 1;
	pthread_create(&t, NULL, idle, NULL);
	pthread_join(t, NULL);
	stop = 0;
	CHECK(ns_of(CLOCK_THREAD_CPUTIME_ID) > early); /* main's goes on where it was */
	shares();
	another();
	printf("cpu clocks: %s\n", failures ? "FAILED" : "ok");
	return failures != 0;
}
