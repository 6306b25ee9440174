/* Nobody sets a thread's CPU clock: not its own, another's or main's, by libc or by number; one of no thread there is not. */
#include <sys/syscall.h>

#include "sync_test.h"

static sem_t leave;

static void *waits(void *arg) {
	sem_take(&leave);
	return arg;
}

static void refused(clockid_t clock, int error) {
	struct timespec time = {0, 1}, bad = {0, -1};
	EQ(clock_settime(clock, &time), -1);
	EQ(errno, error);
	EQ(syscall(SYS_clock_settime, clock, &time), -1);
	EQ(errno, error);
	EQ(syscall(SYS_clock_settime, clock, 8), -1);
	EQ(errno, clock < 0 ? EFAULT : EINVAL);
	EQ(clock_settime(clock, &bad), -1);
	EQ(errno, EINVAL);
}

static void refused_of(pthread_t t) {
	clockid_t clock = 0;
	EQ(pthread_getcpuclockid(t, &clock), 0);
	refused(clock, EPERM);
}

static void *looks(void *arg) {
	refused_of(pthread_self());
	refused_of(*(pthread_t *)arg);
	return arg;
}

int main(void) {
	test_begin();
	pthread_t self = pthread_self(), t = start(waits, NULL);
	refused_of(self);
	refused_of(t);
	join(start(looks, &self));
	join(start(looks, &t));
	refused(CLOCK_THREAD_CPUTIME_ID, EINVAL);
	refused((clockid_t)(~0x3ffffff0u << 3 | 6), EINVAL);
	sem_post(&leave);
	join(t);
	return failures != 0;
}
