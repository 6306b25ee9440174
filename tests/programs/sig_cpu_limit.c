/* The signal of RLIMIT_CPU, and those of a timer on the CPU clock of the process, whatever their number, interrupt the thread that computes, not main, which waits and
 * would take them, too. */
#include "sync_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <time.h>

static pthread_t ran;
static volatile int runs;

static void handler(int sig) {
	EQ(sig, SIGXCPU);
	ran = pthread_self();
	runs = 1;
}

static void ticks(int sig) {
	(void)sig;
	if (pthread_equal(ran, pthread_self()))
		runs++;
}

static void *is_ticked(void *arg) {
	ran = pthread_self();
	while (runs < 3)
		continue;
	return arg;
}

static void timer_of_process(int sig) {
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig};
	struct itimerspec spec = {{0, 5000000}, {0, 5000000}}, none = {0};
	pthread_t t;
	timer_t timer;
	struct sigaction act = {.sa_handler = ticks, .sa_flags = SA_RESTART};
	runs = 0;
	EQ(sigaction(sig, &act, NULL), 0);
	EQ(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer), 0);
	EQ(timer_settime(timer, 0, &spec, NULL), 0);
	EQ(pthread_create(&t, NULL, is_ticked, NULL), 0);
	EQ(pthread_join(t, NULL), 0);
	EQ(timer_settime(timer, 0, &none, NULL), 0);
	EQ(timer_delete(timer), 0);
}

static void *computes(void *arg) {
	while (!runs)
		continue;
	EQ(pthread_equal(ran, pthread_self()) != 0, 1);
	return arg;
}

int main(void) {
	pthread_t t;
	struct rlimit limit;
	test_begin();
	timer_of_process(SIGUSR1);
	timer_of_process(SIGRTMIN + 1);
	runs = 0;
	signal(SIGXCPU, handler);
	getrlimit(RLIMIT_CPU, &limit);
	limit.rlim_cur = 1; /* no limit is shorter */
	EQ(setrlimit(RLIMIT_CPU, &limit), 0);
	EQ(pthread_create(&t, NULL, computes, NULL), 0);
	EQ(pthread_join(t, NULL), 0);
	return test_end();
}
