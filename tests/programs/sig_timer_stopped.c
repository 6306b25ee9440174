/* A timer's signal is main's alone where the other threads block it: once the timer is stopped none comes any more, and the default action that
 * the program then sets is never carried out for one that came before (SIG-5). */
#include "sync_test.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { TURNS = 3000, SECONDS = 18, KINDS = 4 }; /* the seconds end it where a turn takes a hundred times as long (make race) */

static volatile sig_atomic_t armed, late, taken;
static timer_t timer;

static void on_alarm(int sig) {
	(void)sig;
	late += !armed;
	taken++;
}

static void set(int kind, long us, bool once) {
	long again = once ? 0 : us;
	struct itimerval often = {{0, again}, {0, us}};
	struct itimerspec precise = {{0, again * 1000}, {0, us * 1000}};
	if (kind == 1)
		ualarm((useconds_t)us, (useconds_t)again);
	else if (kind == 2)
		EQ(timer_settime(timer, 0, &precise, NULL), 0);
	else if (kind == 3 && !us)
		alarm(0); /* it stops what setitimer() began */
	else
		EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
}

/* What was left when it was stopped. */
static void check_left(void) {
	static const struct {
		struct timeval value;
		unsigned left;
	} set[] = {{{100, 990000}, 101}, {{100, 300000}, 100}, {{1, 400000}, 1}, {{0, 0}, 0}};
	struct itimerval none = {{0, 0}, {0, 0}}, was;
	for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
		EQ(setitimer(ITIMER_REAL, &(struct itimerval){{50, 0}, set[i].value}, NULL), 0);
		EQ(alarm(0), set[i].left);
		EQ(alarm(0), 0);
	}
	EQ(alarm(100), 0);
	EQ(setitimer(ITIMER_REAL, &none, &was), 0);
	CHECK(was.it_value.tv_sec >= 50 && was.it_interval.tv_sec == 0);
	EQ(alarm(7), 0);
	EQ(alarm(100), 7);
	CHECK(alarm(0) >= 50);
}

int main(void) {
	pthread_t t[2];
	sem_t stop;
	sigset_t all, before;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	test_begin();
	alarm(0); /* the watchdog is SIGALRM's, too */
	sem_init(&stop, 0, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	for (int i = 0; i < 2; i++)
		EQ(pthread_create(&t[i], NULL, computes_and_waits, &stop), 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	check_left();
	long long end = now_ns(CLOCK_MONOTONIC) + SECONDS * 1000000000ll;
	for (int i = 0; i < TURNS && now_ns(CLOCK_MONOTONIC) < end; i++) {
		int kind = i % KINDS;
		signal(SIGALRM, on_alarm);
		armed = 1;
		bool once = i / KINDS % 2;
		set(kind, 60, once);
		for (volatile int j = 0; j < i * 7919 % 60000; j++)
			continue;
		if (i % 8 >= 4)
			usleep(50);
		set(kind, 0, once);
		armed = 0;
		signal(SIGALRM, i % 3 ? SIG_DFL : on_alarm);
	}
	EQ(late, 0);
	CHECK(taken > 0);
	sem_post(&stop);
	sem_post(&stop);
	for (int i = 0; i < 2; i++)
		join(t[i]);
	return test_end();
}
