/* Semaphores: values, deadlines, interruption, cancellation, lifetime (SYN-17). */
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>

#include "sync_test.h"

#define ERR(expr, want)                     \
	do {                                \
		errno = 0;                  \
		EQ(expr, -1);               \
		EQ(errno, want);            \
	} while (0)

static int value(sem_t *s) {
	int v = -1;
	EQ(sem_getvalue(s, &v), 0);
	return v;
}

static void values(int shared) {
	step(shared ? "values, shared" : "values");
	sem_t s;
	ERR(sem_init(&s, shared, (unsigned)SEM_VALUE_MAX + 1), EINVAL);
	EQ(sem_init(&s, shared, 2), 0);
	EQ(value(&s), 2);
	EQ(sem_wait(&s), 0);
	EQ(sem_trywait(&s), 0);
	EQ(value(&s), 0);
	ERR(sem_trywait(&s), EAGAIN);
	EQ(sem_post(&s), 0);
	EQ(value(&s), 1);
	struct timespec bad = {now_ns(CLOCK_REALTIME) / 1000000000 + 5, 1000000000}, ok = {bad.tv_sec, 0}, negative = {-1, 0};
	ERR(sem_timedwait(&s, &bad), EINVAL); /* though the value is 1 */
	ERR(sem_clockwait(&s, CLOCK_MONOTONIC, &bad), EINVAL);
	ERR(sem_clockwait(&s, CLOCK_PROCESS_CPUTIME_ID, &ok), EINVAL);
	EQ(value(&s), 1);
	EQ(sem_timedwait(&s, &negative), 0);
	ERR(sem_timedwait(&s, &negative), ETIMEDOUT);
	for (int i = 0; i < 2; i++) {
		clockid_t clock = i ? CLOCK_MONOTONIC : CLOCK_REALTIME;
		struct timespec ts = in_ms(clock, 20);
		long long t0 = now_ns(CLOCK_MONOTONIC);
		ERR(i ? sem_clockwait(&s, clock, &ts) : sem_timedwait(&s, &ts), ETIMEDOUT);
		CHECK(now_ns(CLOCK_MONOTONIC) - t0 >= 19000000);
	}
	EQ(value(&s), 0);
	EQ(sem_destroy(&s), 0);
	EQ(sem_init(&s, shared, SEM_VALUE_MAX), 0);
	ERR(sem_post(&s), EOVERFLOW);
	EQ(value(&s), SEM_VALUE_MAX);
	EQ(sem_wait(&s), 0);
	EQ(sem_post(&s), 0);
	EQ(sem_destroy(&s), 0);
}

static void named(void) {
	step("named");
	char name[64];
	snprintf(name, sizeof name, "/sync-sem-%d", getpid());
	sem_t *s = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
	if (s == SEM_FAILED)
		return; /* no /dev/shm here */
	EQ(sem_wait(s), 0);
	ERR(sem_trywait(s), EAGAIN);
	EQ(sem_post(s), 0);
	EQ(sem_close(s), 0);
	EQ(sem_unlink(name), 0);
}

/* ---- two threads in turn, and many on one ---- */

static sem_t ping, pong;

static void *ponger(void *arg) {
	for (long i = 0; i < (long)arg; i++) {
		EQ(sem_wait(&ping), 0);
		EQ(sem_post(&pong), 0);
	}
	return NULL;
}

static void turns(int shared) {
	step(shared ? "turns, shared" : "turns");
	EQ(sem_init(&ping, shared, 0), 0);
	EQ(sem_init(&pong, shared, 0), 0);
	pthread_t t = start(ponger, (void *)2000L);
	for (int i = 0; i < 2000; i++) {
		EQ(sem_post(&ping), 0);
		EQ(sem_wait(&pong), 0);
	}
	join(t);
	EQ(value(&ping), 0);
	EQ(value(&pong), 0);
}

static sem_t slots;
static int inside, most;

static void *guest(void *arg) {
	(void)arg;
	for (int i = 0; i < 500; i++) {
		struct timespec ts = in_ms(CLOCK_REALTIME, 20000);
		EQ(i & 1 ? sem_wait(&slots) : sem_timedwait(&slots, &ts), 0);
		int n = __atomic_add_fetch(&inside, 1, __ATOMIC_RELAXED);
		CHECK(n <= 3);
		if (n > most)
			most = n;
		if (!(i % 7))
			sched_yield();
		__atomic_sub_fetch(&inside, 1, __ATOMIC_RELAXED);
		EQ(sem_post(&slots), 0);
	}
	return NULL;
}

static void guests(void) {
	step("at most three inside");
	pthread_t t[8];
	EQ(sem_init(&slots, 0, 3), 0);
	for (int i = 0; i < 8; i++)
		t[i] = start(guest, NULL);
	for (int i = 0; i < 8; i++)
		join(t[i]);
	EQ(value(&slots), 3);
}

/* ---- freed by the waiter as soon as the wait returns ---- */

static void *post_it(void *arg) {
	sem_post(arg);
	return NULL;
}

static void lifetime(void) {
	step("lifetime");
	for (int i = 0; i < 3000; i++) {
		sem_t *s = malloc(sizeof *s);
		EQ(sem_init(s, 0, 0), 0);
		pthread_t t = start(post_it, s);
		EQ(sem_wait(s), 0);
		EQ(sem_destroy(s), 0);
		memset(s, 0x5a, sizeof *s);
		free(s);
		join(t);
	}
}

/* ---- handlers ---- */

static sem_t asleep, from_handler;
static volatile sig_atomic_t handled;
static int posting;

static void on_signal(int sig) {
	(void)sig;
	handled++;
	if (posting)
		sem_post(&from_handler);
}

enum how { WAIT, TIMED, CLOCK };

static void *sleeper(void *arg) {
	struct timespec ts = in_ms((long)arg == CLOCK ? CLOCK_MONOTONIC : CLOCK_REALTIME, 20000);
	int r = (long)arg == WAIT    ? sem_wait(&asleep)
	        : (long)arg == TIMED ? sem_timedwait(&asleep, &ts)
	                             : sem_clockwait(&asleep, CLOCK_MONOTONIC, &ts);
	return (void *)(long)(r ? errno : 0);
}

static void interruption(void) {
	step("interruption");
	EQ(sem_init(&asleep, 0, 0), 0);
	for (int restart = 0; restart < 2; restart++) {
		struct sigaction sa = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
		sigaction(SIGUSR1, &sa, NULL);
		for (long how = WAIT; how <= CLOCK; how++) {
			bool eintr = !restart || how != WAIT;
			pthread_t t = start(sleeper, (void *)how);
			handled = 0;
			if (eintr) {
				/* the first signals may arrive before it sleeps */
				struct timespec now;
				void *v = NULL;
				int r;
				do {
					pthread_kill(t, SIGUSR1);
					now = in_ms(CLOCK_REALTIME, 2);
				} while ((r = pthread_timedjoin_np(t, &v, &now)) == ETIMEDOUT);
				EQ(r, 0);
				EQ((long)v, EINTR);
				EQ(value(&asleep), 0);
			} else {
				for (int i = 1; i <= 30; i++) {
					pthread_kill(t, SIGUSR1);
					while (handled < i)
						sched_yield();
				}
				sem_post(&asleep);
				EQ(join(t), 0);
			}
		}
	}
	/* posted by the handler of the very thread that waits */
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &sa, NULL);
	EQ(sem_init(&from_handler, 0, 0), 0);
	posting = 1;
	ualarm(10000, 0);
	EQ(sem_wait(&from_handler), 0);
	posting = 0;
	signal(SIGALRM, SIG_DFL);
	alarm(30);
}

/* The same while the process has one thread. */
static void alone(void) {
	step("alone");
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &sa, NULL);
	EQ(sem_init(&from_handler, 0, 0), 0);
	posting = 1;
	ualarm(10000, 0);
	EQ(sem_wait(&from_handler), 0);
	posting = 0;
	sa.sa_flags = 0;
	sigaction(SIGALRM, &sa, NULL);
	ualarm(10000, 10000); /* one may come before the wait */
	ERR(sem_wait(&from_handler), EINTR);
	ualarm(0, 0);
	signal(SIGALRM, SIG_DFL);
	alarm(30);
}

/* ---- cancellation ---- */

static void *cancelled(void *arg) {
	sem_wait(arg);
	return NULL;
}

static void cancellation(void) {
	step("cancellation");
	sem_t s;
	EQ(sem_init(&s, 0, 0), 0);
	for (int i = 0; i < 20; i++) {
		void *result;
		pthread_t t = start(cancelled, &s);
		if (i & 1)
			usleep(1000);
		EQ(pthread_cancel(t), 0);
		EQ(pthread_join(t, &result), 0);
		CHECK(result == PTHREAD_CANCELED);
	}
	EQ(sem_post(&s), 0);
	EQ(value(&s), 1);
	EQ(sem_trywait(&s), 0);
	EQ(sem_destroy(&s), 0);
}

int main(void) {
	test_begin();
	values(0);
	values(1);
	named();
	alone();
	turns(0);
	turns(1);
	values(0);
	guests();
	lifetime();
	interruption();
	cancellation();
	return test_end();
}
