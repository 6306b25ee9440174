/* Sleeping and yielding: durations, what is left after a signal, wrong values, the clocks (TIM-6). */
#include <sched.h>
#include <threads.h>

#include "io_test.h"

static volatile int handled;

static void on_signal(int sig) {
	(void)sig;
	handled++;
}

static long long clock_ms(clockid_t clock) {
	struct timespec ts;
	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static struct timespec in_ms(clockid_t clock, long ms) {
	struct timespec ts;
	clock_gettime(clock, &ts);
	ts.tv_nsec += ms * 1000000;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	return ts;
}

/* What a sleep leaves behind when a signal ends it. */
struct nap {
	int how, result, error, over;
	struct timespec left;
};

static void *nap(void *arg) {
	struct nap *n = arg;
	struct timespec long_time = {100, 0}, until;
	errno = 0;
	switch (n->how) {
	case 0: n->result = nanosleep(&long_time, &n->left); break;
	case 1: n->result = (int)sleep(100); break;
	case 2: n->result = usleep(100000000); break;
	case 3: n->result = clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, &n->left); break;
	case 4: n->result = clock_nanosleep(CLOCK_REALTIME, 0, &long_time, &n->left); break;
	case 5:
		until = in_ms(CLOCK_MONOTONIC, 100000);
		n->result = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &n->left);
		break;
	case 6:
		until = in_ms(CLOCK_REALTIME, 100000);
		n->result = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, &n->left);
		break;
	case 7: n->result = thrd_sleep(&long_time, &n->left); break;
	case 8: n->result = pause(); break;
	case 9: n->result = nanosleep(&long_time, NULL); break;
	}
	n->error = errno;
	__atomic_store_n(&n->over, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Nobody waits for hours in here, whatever else the machine does. */
static bool nearly(long s) {
	return s >= 60 && s <= 100;
}

static void interrupted(void) {
	struct nap naps[10];
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &act, NULL);
	for (int how = 0; how < 10; how++) {
		naps[how] = (struct nap){.how = how, .left = {-7, -7}};
		handled = 0;
		pthread_t t = start(nap, &naps[how]);
		while (!__atomic_load_n(&naps[how].over, __ATOMIC_SEQ_CST)) { /* one may come before the sleep */
			pthread_kill(t, SIGUSR1);
			usleep(2000);
		}
		join(t);
		CHECK(handled > 0);
	}
	for (int how = 0; how < 10; how++) {
		struct nap *n = &naps[how];
		bool has_left = how == 0 || how == 3 || how == 4 || how == 7;
		CHECK(has_left ? nearly(n->left.tv_sec) : n->left.tv_sec == -7);
		CHECK(how == 1 ? nearly(n->result) : n->result == (how >= 3 && how <= 6 ? EINTR : -1));
		EQ(n->error, how >= 3 && how <= 7 ? 0 : EINTR);
	}
}

static void wrong(void) {
	struct timespec left = {-7, -7};
	const struct timespec bad[] = {{0, -1}, {0, 1000000000}, {-1, 0}, {-1, 5}};
	for (int i = 0; i < 4; i++) {
		FAILS(nanosleep(&bad[i], &left), EINVAL);
		EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad[i], &left), EINVAL);
		EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &bad[i], &left), EINVAL);
		EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &bad[i], &left), EINVAL);
		EQ(thrd_sleep(&bad[i], &left), -2);
	}
	EQ(left.tv_sec, -7);
	struct timespec ok = {0, 1000};
	EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ok, NULL), EINVAL);
	EQ(clock_nanosleep(12345, 0, &ok, NULL), EINVAL);
	FAILS(nanosleep(NULL, NULL), EFAULT);
	/* in the past */
	struct timespec past = in_ms(CLOCK_MONOTONIC, 0), zero = {0, 0};
	past.tv_sec--;
	TAKES(0, 200, EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL), 0));
	TAKES(0, 200, EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL), 0));
	TAKES(0, 200, EQ(nanosleep(&zero, NULL), 0));
	TAKES(0, 200, EQ(usleep(0), 0));
	TAKES(0, 200, EQ(sleep(0), 0));
}

static void durations(void) {
	struct timespec ts = {0, 50000000}, until;
	TAKES(50, 300, EQ(nanosleep(&ts, NULL), 0));
	TAKES(49, 300, EQ(usleep(50000), 0));
	TAKES(49, 300, EQ(thrd_sleep(&ts, NULL), 0));
	TAKES(999, 1400, EQ(sleep(1), 0));
	TAKES(49, 300, EQ(clock_nanosleep(CLOCK_REALTIME, 0, &ts, NULL), 0));
	TAKES(49, 300, EQ(clock_nanosleep(CLOCK_BOOTTIME, 0, &ts, NULL), 0));
	until = in_ms(CLOCK_REALTIME, 50);
	TAKES(48, 300, EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL), 0));
	CHECK(clock_ms(CLOCK_REALTIME) >= until.tv_sec * 1000LL + until.tv_nsec / 1000000);
	until = in_ms(CLOCK_MONOTONIC, 50);
	TAKES(48, 300, EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), 0));
	errno = 77;
	sleep(0);
	usleep(1);
	sched_yield();
	EQ(errno == 0 || errno == 77, 1);
	EQ(sched_yield(), 0);
	thrd_yield();
}

enum { SLEEPERS = 500 };
static int order_errors;
static void *sleeper(void *arg) {
	long us = (long)(intptr_t)arg * 100;
	long long begin = now_ms();
	usleep((useconds_t)us);
	if (now_ms() - begin < us / 1000)
		__atomic_fetch_add(&order_errors, 1, __ATOMIC_RELAXED);
	return NULL;
}

int main(void) {
	static pthread_t t[SLEEPERS];
	become_threaded();
	durations();
	done("durations");
	wrong();
	done("wrong values");
	interrupted();
	done("interrupted");
	for (intptr_t i = 0; i < SLEEPERS; i++)
		t[i] = start(sleeper, (void *)(i * 7919 % SLEEPERS));
	for (int i = 0; i < SLEEPERS; i++)
		join(t[i]);
	EQ(order_errors, 0);
	done("many sleepers");
	return failures != 0;
}
