/* A timer's signal is one thread's alone where all others block it: once that thread has stopped or deleted the timer, its handler does not run for it any more,
 * nor does it end the process, once the handler is gone. The timers signal the process, at times that differ, so that some are under way on another kernel thread when
 * that is; and the thread is not main (SIG-5). */
#include "sync_test.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/time.h>

enum { TURNS = 2000, SECONDS = 6 }; /* of each kind; the seconds end it where a turn takes a hundred times as long (make race) */

static volatile sig_atomic_t armed, late, taken;

static void on_timer(int sig, siginfo_t *info, void *context) {
	(void)context;
	EQ(info->si_signo, sig);
	late += !armed;
	taken++;
}

static void set(timer_t id, long ns) {
	struct itimerspec when = {{0, ns}, {0, ns}};
	EQ(timer_settime(id, 0, &when, NULL), 0);
}

static void set_itimer(long us) {
	struct itimerval when = {{0, us}, {0, us}};
	EQ(setitimer(ITIMER_REAL, &when, NULL), 0);
}

static void turn(int i, int sig, timer_t kept) {
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig};
	timer_t id = kept;
	if (i % 2)
		EQ(timer_create(CLOCK_MONOTONIC, &event, &id), 0);
	armed = 1;
	if (sig == SIGALRM)
		set_itimer(60);
	else
		set(id, 60000);
	for (volatile int j = 0; j < i * 7919 % 60000; j++)
		continue;
	if (i % 8 >= 4)
		usleep(50);
	if (sig == SIGALRM && i % 4 < 2)
		set_itimer(0);
	else if (sig == SIGALRM)
		alarm(0);
	else if (i % 2 == 0)
		set(id, 0);
	if (i % 2)
		EQ(timer_delete(id), 0);
	armed = 0;
	if (i % 3 == 0)
		signal(sig, SIG_DFL);
	if (i % 16 >= 8)
		usleep(50); /* what is late comes now */
}

static void *timing(void *arg) {
	int sig = *(int *)arg;
	struct sigaction act = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig};
	sigset_t one;
	timer_t kept;
	sigemptyset(&one);
	sigaddset(&one, sig);
	EQ(timer_create(CLOCK_MONOTONIC, &event, &kept), 0);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	long long end = now_ns(CLOCK_MONOTONIC) + SECONDS * 1000000000ll;
	for (int i = 0; i < TURNS && now_ns(CLOCK_MONOTONIC) < end; i++) {
		EQ(sigaction(sig, &act, NULL), 0);
		turn(i, sig, kept);
	}
	EQ(timer_delete(kept), 0);
	return NULL;
}

int main(void) {
	pthread_t t[2];
	sem_t stop;
	sigset_t all;
	test_begin();
	sem_init(&stop, 0, 0);
	sigfillset(&all);
	alarm(0); /* the watchdog is SIGALRM's */
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	for (int i = 0; i < 2; i++)
		t[i] = start(computes_and_waits, &stop);
	static const char *const names[] = {"standard", "real-time", "setitimer() and alarm()"};
	for (int i = 0; i < 3; i++) {
		int sig = i == 0 ? SIGUSR1 : i == 1 ? SIGRTMIN + 2 : SIGALRM;
		late = taken = 0;
		join(start(timing, &sig));
		EQ(late, 0);
		CHECK(taken > 0);
		step(names[i]);
	}
	for (int i = 0; i < 2; i++)
		sem_post(&stop);
	for (int i = 0; i < 2; i++)
		join(t[i]);
	return test_end();
}
