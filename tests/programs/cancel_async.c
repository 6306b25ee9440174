/* Cancellation at places that are easily forgotten: a mutex, and calls that are no cancellation points, with asynchronous cancellation and every signal blocked; semaphores that
 * need not be waited for; and what a default attribute says of masks and detaching (CAN-8). */
#include "sync_test.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/syscall.h>

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static int cleaned;
static sem_t go, there;

static void clean(void *arg) {
	cleaned += (int)(intptr_t)arg;
}

enum { NO_POINTS = 11, A_MUTEX = NO_POINTS };
static int empty[2], other[2], locked[2];
static pthread_rwlock_t written = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier[2]; /* one for each time */
static int barriers;
static uint32_t word;
static const struct timespec long_time = {1000, 0};

/* None of these is a cancellation point. */
static long no_point(int call) {
	struct pollfd p = {empty[0], POLLIN, 0};
	char c;
	switch (call) {
	case 0:
		return syscall(SYS_read, empty[0], &c, 1);
	case 1:
		return syscall(SYS_ppoll, &p, 1, NULL, NULL, 8);
	case 2:
		return syscall(SYS_nanosleep, &long_time, NULL);
	case 3:
		return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL);
	case 4:
		return splice(empty[0], NULL, other[1], NULL, 1, 0);
	case 5:
		return tee(empty[0], other[1], 1, 0);
	case 6:
		return pthread_rwlock_rdlock(&written);
	case 7:
		return pthread_rwlock_wrlock(&written);
	case 8:
		return pthread_barrier_wait(&barrier[barriers++]);
	case 9:
		return flock(locked[1], LOCK_EX);
	case A_MUTEX:
		return pthread_mutex_lock(&held);
#ifdef SYS_pause
	default:
		return syscall(SYS_pause);
#else
	default:
		return syscall(SYS_ppoll, NULL, 0, NULL, NULL, 8);
#endif
	}
}

static void *calls(void *arg) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_cleanup_push(clean, (void *)1);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	sem_post(&there);
	no_point((int)(intptr_t)arg);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *takes(void *arg) {
	struct timespec until = {.tv_sec = (time_t)1 << 40};
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	sem_post(&there);
	while (sem_wait(&go))
		;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pthread_cleanup_push(clean, (void *)1);
	if ((intptr_t)arg == 0)
		sem_wait(&there);
	else
		sem_timedwait(&there, &until);
	pthread_cleanup_pop(0);
	return arg;
}

static void *tells_mask(void *arg) {
	sigset_t now;
	(void)arg;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	return (void *)(intptr_t)(sigismember(&now, SIGHUP) + 2 * sigismember(&now, SIGUSR1));
}

static int state;

static void *tells_state(void *arg) {
	pthread_attr_t attr;
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getdetachstate(&attr, &state);
	pthread_attr_destroy(&attr);
	sem_post(&go);
	return arg;
}

int main(void) {
	test_begin();
	sem_init(&go, 0, 0);
	sem_init(&there, 0, 0);
	pthread_mutex_lock(&held);
	pthread_t t = start(calls, (void *)A_MUTEX);
	sem_wait(&there);
	pthread_cancel(t);
	EQ(join(t), (intptr_t)PTHREAD_CANCELED);
	EQ(cleaned, 1);
	pthread_mutex_unlock(&held);
	step("in a mutex");

	char path[] = "/tmp/cancel_async.XXXXXX";
	locked[0] = mkstemp(path);
	locked[1] = open(path, O_RDWR);
	unlink(path);
	if (pipe(empty) != 0 || pipe(other) != 0 || flock(locked[0], LOCK_EX) != 0)
		return 1;
	pthread_rwlock_wrlock(&written);
	for (int i = 0; i < 2; i++)
		pthread_barrier_init(&barrier[i], NULL, 2);
	for (intptr_t call = 0; call < NO_POINTS; call++) {
		for (int late = 0; late < 2; late++) {
			cleaned = 0;
			t = start(calls, (void *)call);
			sem_wait(&there);
			if (late)
				usleep(10000); /* to get into it; it must make no difference */
			pthread_cancel(t);
			EQ(join(t), (intptr_t)PTHREAD_CANCELED);
			EQ(cleaned, 1);
		}
	}
	step("in calls that are no cancellation points");

	for (intptr_t how = 0; how < 2; how++) {
		cleaned = 0;
		t = start(takes, (void *)how);
		sem_wait(&there);
		pthread_cancel(t);
		sem_post(&there); /* there is one to take */
		sem_post(&go);
		EQ(join(t), (intptr_t)PTHREAD_CANCELED);
		EQ(cleaned, 1);
		EQ(sem_trywait(&there), 0); /* and it was not taken */
	}
	step("before a semaphore that is free");

	pthread_attr_t attr;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	pthread_attr_init(&attr);
	EQ(pthread_attr_setsigmask_np(&attr, &set), 0);
	EQ(pthread_setattr_default_np(&attr), 0);
	EQ(join(start(tells_mask, NULL)), 1);
	pthread_attr_destroy(&attr);
	pthread_attr_init(&attr);
	EQ(pthread_setattr_default_np(&attr), 0);
	EQ(join(start(tells_mask, NULL)), 2);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_setattr_default_np(&attr) == 0) {
		start(tells_state, NULL);
		sem_wait(&go);
		EQ(state, PTHREAD_CREATE_DETACHED);
	}
	step("defaults");
	return test_end();
}
