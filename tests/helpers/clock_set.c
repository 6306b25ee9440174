/* The wall clock is set while threads wait for a time of it (TIM-2): forward past that time, and all waits end; back, and none does. Run where the clock is
 * the process's own (tests/audit/clock_fake.c). */
#include "../programs/sync_test.h"

#include <linux/futex.h>
#include <semaphore.h>
#include <sys/syscall.h>

enum { HOUR = 3600 };
static _Atomic int ended, over;
static _Atomic bool released;
static struct timespec until;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, held = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t written = PTHREAD_RWLOCK_INITIALIZER;
static sem_t none;
static pthread_t sleeper;
static int word;

static int by_cond(void) {
	int r = 0;
	pthread_mutex_lock(&mutex);
	while (r == 0)
		r = pthread_cond_timedwait(&cond, &mutex, &until);
	pthread_mutex_unlock(&mutex);
	return r;
}
static int by_mutex(void) { return pthread_mutex_timedlock(&held, &until); }
static int by_reader(void) { return pthread_rwlock_timedrdlock(&written, &until); }
static int by_writer(void) { return pthread_rwlock_timedwrlock(&written, &until); }
static int by_sem(void) { return sem_timedwait(&none, &until) == 0 ? 0 : errno; }
static int by_join(void) { return pthread_timedjoin_np(sleeper, NULL, &until); }
static int by_sleep(void) { return clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL) == 0 ? ETIMEDOUT : 0; }
static int by_futex(void) {
	return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &until, NULL, FUTEX_BITSET_MATCH_ANY) == 0 ? 0 : errno;
}

static const struct {
	const char *name;
	int (*call)(void);
} waits[] = {{"cond", by_cond},   {"mutex", by_mutex}, {"reader", by_reader}, {"writer", by_writer},
             {"sem", by_sem},     {"join", by_join},   {"sleep", by_sleep},   {"futex", by_futex}};
enum { WAITS = sizeof waits / sizeof *waits };
static int results[WAITS];

static void *waiter(void *arg) {
	long i = (long)arg;
	results[i] = waits[i].call();
	ended++;
	return NULL;
}

/* What waits by the other clock sees nothing of it. */
static void *monotonic(void *arg) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += HOUR;
	pthread_mutex_lock(&mutex);
	while (!released) {
		EQ(pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &t), 0);
		over += !released;
	}
	pthread_mutex_unlock(&mutex);
	return arg;
}

static void clock_set(long seconds) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += seconds;
	EQ(clock_settime(CLOCK_REALTIME, &now), 0);
}

static void *sleeps(void *arg) {
	while (!released)
		usleep(1000);
	return arg;
}

static void begin(pthread_t *t, long ms) {
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	ended = 0;
	for (long i = 0; i < WAITS; i++)
		t[i] = start(waiter, (void *)i);
	usleep(100000);
}

static void end(pthread_t *t, const char *what) {
	for (int i = 0; i < WAITS; i++)
		join(t[i]);
	for (int i = 0; i < WAITS; i++)
		printf("%s %s: %s\n", what, waits[i].name, results[i] ? strerror(results[i]) : "0");
	fflush(stdout);
}

int main(void) {
	pthread_t t[WAITS], other;
	test_begin();
	sem_init(&none, 0, 0);
	pthread_mutex_lock(&held);
	pthread_rwlock_wrlock(&written);
	sleeper = start(sleeps, NULL);
	other = start(monotonic, NULL);
	begin(t, HOUR * 1000);
	EQ(ended, 0);
	clock_set(2 * HOUR);
	end(t, "forward");
	begin(t, 200);
	clock_set(-HOUR);
	usleep(400000);
	EQ(ended, 0);
	clock_set(HOUR);
	end(t, "back and forth");
	EQ(over, 0);
	released = true;
	pthread_mutex_lock(&mutex);
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	join(other);
	join(sleeper);
	return test_end();
}
