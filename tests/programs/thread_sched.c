/* Scheduling policy, affinity, nice value and CPU clock of single threads: what is set is read back, by handle and by number, is inherited, and
 * is nobody else's (SEC-1, SCH-9). */
#include "sync_test.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static cpu_set_t all, one;
static int base_nice, first_cpu;
static pthread_t main_thread;

static void *untouched(void *arg) {
	cpu_set_t set;
	int policy = -1;
	struct sched_param param = {99};
	EQ(pthread_getaffinity_np(pthread_self(), sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &all));
	EQ(sched_getaffinity(0, sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &all));
	EQ(pthread_getschedparam(pthread_self(), &policy, &param), 0);
	EQ(policy, SCHED_OTHER);
	EQ(param.sched_priority, 0);
	EQ(sched_getscheduler(0), SCHED_OTHER);
	EQ(getpriority(PRIO_PROCESS, 0), base_nice);
	return arg;
}

static void *inherits(void *arg) {
	cpu_set_t set;
	EQ(sched_getaffinity(0, sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &one));
	EQ(sched_getscheduler(gettid()), SCHED_BATCH);
	EQ(getpriority(PRIO_PROCESS, 0), base_nice + 3);
	return arg;
}

static void *sets(void *arg) {
	cpu_set_t set, none;
	struct sched_param param = {0};
	int policy = -1;
	CPU_ZERO(&none);
	EQ(pthread_setaffinity_np(pthread_self(), sizeof none, &none), EINVAL);
	EQ(pthread_setaffinity_np(pthread_self(), sizeof one, &one), 0);
	EQ(pthread_getaffinity_np(pthread_self(), sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &one));
	EQ(sched_setaffinity(0, sizeof all, &all), 0);
	EQ(sched_getaffinity(gettid(), sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &all));
	EQ(sched_setaffinity(gettid(), sizeof one, &one), 0);
	EQ(sched_getaffinity(0, sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &one));
	errno = 0;
	EQ(sched_setaffinity(0, sizeof none, &none), -1);
	EQ(errno, EINVAL);

	EQ(pthread_setschedparam(pthread_self(), SCHED_BATCH, &param), 0);
	EQ(pthread_getschedparam(pthread_self(), &policy, &param), 0);
	EQ(policy, SCHED_BATCH);
	EQ(sched_getscheduler(0), SCHED_BATCH);
	EQ(sched_setscheduler(gettid(), SCHED_OTHER, &param), 0);
	EQ(sched_getscheduler(gettid()), SCHED_OTHER);
	EQ(sched_setscheduler(0, SCHED_BATCH, &param), 0);
	EQ(sched_getparam(0, &param), 0);
	EQ(sched_setparam(0, &param), 0);
	param.sched_priority = 5;
	EQ(pthread_setschedparam(pthread_self(), SCHED_OTHER, &param), EINVAL);
	EQ(pthread_setschedparam(pthread_self(), 77, &param), EINVAL);

	EQ(setpriority(PRIO_PROCESS, gettid(), base_nice + 2), 0);
	EQ(getpriority(PRIO_PROCESS, 0), base_nice + 2);
	EQ(setpriority(PRIO_PROCESS, 0, base_nice + 3), 0);
	EQ(getpriority(PRIO_PROCESS, gettid()), base_nice + 3);
	sched_yield();
	usleep(1000);
	join(start(inherits, NULL));
	inherits(NULL);
	return arg;
}

static void *clocks(void *arg) {
	clockid_t clock = -1;
	struct timespec before, after;
	EQ(pthread_getcpuclockid(pthread_self(), &clock), 0);
	EQ(clock_gettime(clock, &before), 0);
	for (volatile int i = 0; i < 3000000; i++)
		;
	EQ(clock_gettime(clock, &after), 0);
	CHECK(after.tv_sec > before.tv_sec || after.tv_nsec > before.tv_nsec);
	EQ(pthread_getcpuclockid(main_thread, &clock), 0);
	EQ(clock_gettime(clock, &after), 0);
	return arg;
}

static void *pinned(void *arg) {
	cpu_set_t set;
	EQ(pthread_getaffinity_np(pthread_self(), sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &one));
	EQ(sched_getscheduler(0), SCHED_OTHER);
	return arg;
}

static void attributes(void) {
	pthread_attr_t attr;
	pthread_t t;
	cpu_set_t none;
	struct sched_param param = {0};
	pthread_attr_init(&attr);
	CPU_ZERO(&none);
	EQ(pthread_attr_setaffinity_np(&attr, sizeof none, &none), 0);
	EQ(pthread_create(&t, &attr, inherits, NULL), EINVAL);
	EQ(pthread_attr_setaffinity_np(&attr, sizeof one, &one), 0);
	EQ(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED), 0);
	EQ(pthread_attr_setschedpolicy(&attr, SCHED_OTHER), 0);
	EQ(pthread_attr_setschedparam(&attr, &param), 0);
	EQ(pthread_create(&t, &attr, pinned, NULL), 0);
	join(t);
	pthread_attr_destroy(&attr);
}

/* Attributes say "explicitly" and do not name all of it, or are the default ones: what is not named is the creator's. */
static void *has_policy(void *arg) {
	EQ(sched_getscheduler(0), (long)arg);
	return NULL;
}

static void made_with(const pthread_attr_t *attr, int policy) {
	pthread_t t;
	EQ(pthread_create(&t, attr, has_policy, (void *)(long)policy), 0);
	join(t);
}

static void *by_halves(void *arg) {
	struct sched_param param = {0};
	pthread_attr_t attr, before;
	EQ(pthread_setschedparam(pthread_self(), SCHED_BATCH, &param), 0);
	pthread_attr_init(&attr);
	EQ(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED), 0);
	made_with(&attr, SCHED_BATCH);
	EQ(pthread_attr_setschedparam(&attr, &param), 0);
	made_with(&attr, SCHED_BATCH);
	EQ(pthread_attr_setschedpolicy(&attr, SCHED_OTHER), 0);
	made_with(&attr, SCHED_OTHER);
	made_with(NULL, SCHED_BATCH);

	EQ(pthread_getattr_default_np(&before), 0);
	EQ(pthread_attr_setaffinity_np(&attr, sizeof one, &one), 0);
	EQ(pthread_setattr_default_np(&attr), 0);
	made_with(NULL, SCHED_OTHER);
	join(start(pinned, NULL));
	EQ(pthread_setattr_default_np(&before), 0);
	made_with(NULL, SCHED_BATCH);
	pthread_attr_destroy(&before);
	pthread_attr_destroy(&attr);
	return arg;
}

/* The kernel's call takes any size that has room for the CPUs there are, and says what it wrote. */
static void *raw_affinity(void *arg) {
	unsigned long set[16] = {0};
	for (long size = 8; size <= (long)sizeof set; size *= 2)
		printf("%ld: %ld\n", size, syscall(SYS_sched_getaffinity, 0, size, set));
	EQ(syscall(SYS_sched_getaffinity, 0, 12, set), -1);
	EQ(errno, EINVAL);
	return arg;
}

int main(void) {
	test_begin();
	main_thread = pthread_self();
	EQ(sched_getaffinity(0, sizeof all, &all), 0);
	base_nice = getpriority(PRIO_PROCESS, 0);
	while (!CPU_ISSET(first_cpu, &all))
		first_cpu++;
	CPU_ZERO(&one);
	CPU_SET(first_cpu, &one);
	join(start(untouched, NULL));
	for (int i = 0; i < 10; i++) {
		join(start(sets, NULL));
		join(start(untouched, NULL));
	}
	untouched(NULL);
	step("set");
	attributes();
	join(start(untouched, NULL));
	step("attributes");
	join(start(by_halves, NULL));
	join(start(untouched, NULL));
	step("default attributes");
	join(start(raw_affinity, NULL));
	step("raw");
	join(start(clocks, NULL));
	step("clocks");
	errno = 0;
	EQ(sched_getaffinity(0x3fffffff, sizeof one, &one), -1);
	EQ(errno, ESRCH);
	return test_end();
}
