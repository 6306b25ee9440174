/* The thread that a SIGEV_THREAD timer starts is made inside libc: it asks for other threads' CPU clocks, and sets timers on them. */
#include "sync_test.h"

#include <semaphore.h>
#include <signal.h>
#include <time.h>

static clockid_t of_worker, of_main;
static pthread_t worker;
static volatile int stop;
static timer_t timer;
static int round_number;
static sem_t done;

static void *works(void *arg) {
	while (!stop)
		continue;
	return arg;
}

static void expired(union sigval value) {
	struct itimerspec again = {.it_value.tv_nsec = 2000000}, left;
	struct timespec worked = {0}, mine, all;
	clockid_t clock;
	(void)value;
	EQ(clock_gettime(of_worker, &worked), 0);
	CHECK(worked.tv_sec || worked.tv_nsec >= 1000000);
	EQ(pthread_getcpuclockid(worker, &clock), 0);
	EQ(clock, of_worker);
	EQ(clock_gettime(of_main, &all), 0);
	EQ(clock_getres(of_worker, &all), 0);
	EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mine), 0);
	EQ(timer_gettime(timer, &left), 0);
	if (++round_number < 3)
		EQ(timer_settime(timer, 0, &again, NULL), 0);
	else
		sem_post(&done);
}

int main(void) {
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = expired};
	struct itimerspec first = {.it_value.tv_nsec = 2000000};
	test_begin();
	sem_init(&done, 0, 0);
	worker = start(works, NULL);
	EQ(pthread_getcpuclockid(worker, &of_worker), 0);
	EQ(pthread_getcpuclockid(pthread_self(), &of_main), 0);
	EQ(timer_create(of_worker, &ev, &timer), 0);
	EQ(timer_settime(timer, 0, &first, NULL), 0);
	while (sem_wait(&done))
		continue;
	EQ(timer_delete(timer), 0);
	stop = 1;
	join(worker);
	return test_end();
}
