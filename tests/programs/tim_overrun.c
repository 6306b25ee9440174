/* Timers that signal the process while nobody can handle that: one signal of each waits, and has what expired meanwhile as its overrun, for the handler and for
 * timer_getoverrun(). Setting a timer anew, or deleting it, takes that back. */
#include "sync_test.h"

#include <signal.h>

enum { MS = 1000000, PERIOD = 5 * MS, LONG = 60, MANY = 7 };

static timer_t timer, other;
static volatile sig_atomic_t runs, runs_of_other;
static volatile int overrun, asked, value;
static void (*volatile then)(void);

static timer_t make(int sig, int says) {
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig, .sigev_value.sival_int = says};
	timer_t id = NULL;
	EQ(timer_create(CLOCK_MONOTONIC, &event, &id), 0);
	return id;
}

static void set(timer_t id, long period_ns) {
	struct itimerspec when = {{0, period_ns}, {0, period_ns}};
	EQ(timer_settime(id, 0, &when, NULL), 0);
}

static void sleep_ms(long ms) {
	struct timespec left = {0, ms * MS};
	while (nanosleep(&left, &left) < 0)
		continue;
}

/* The first is slow, the second stops the timer. */
static void on_timer(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)context;
	EQ(info->si_code, SI_TIMER);
	if (info->si_value.sival_int == 2) {
		runs_of_other++;
		return;
	}
	if (runs++ == 0) {
		sleep_ms(LONG);
		if (then)
			then();
		return;
	}
	overrun = info->si_overrun;
	asked = timer_getoverrun(timer);
	value = info->si_value.sival_int;
	set(timer, 0);
}

static void report(const char *what) {
	printf("%s: runs %d, many overruns %d, asked the same %d, value %d, the other %d\n", what, runs, overrun >= MANY, asked == overrun, value, runs_of_other);
}

static void begin(int sig, void (*in_handler)(void)) {
	struct sigaction act = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
	sigaction(sig, &act, NULL);
	runs = runs_of_other = 0;
	overrun = asked = value = -1;
	then = in_handler;
	timer = make(sig, 1);
}

static void slow(int sig, const char *what) {
	begin(sig, NULL);
	set(timer, PERIOD);
	while (runs < 2)
		sleep_ms(1);
	sleep_ms(20);
	report(what);
	EQ(timer_delete(timer), 0);
}

static void stop_it(void) { set(timer, 0); }
static void delete_it(void) { EQ(timer_delete(timer), 0); }
static void set_anew(void) {
	set(timer, 0);
	struct itimerspec later = {.it_value = {0, 30 * MS}};
	EQ(timer_settime(timer, 0, &later, NULL), 0);
}

/* The handler takes back what waits behind it. */
static void taken_back(int sig, const char *what, void (*how)(void), int more) {
	begin(sig, how);
	set(timer, PERIOD);
	while (runs < 1 + more)
		sleep_ms(1);
	sleep_ms(20);
	EQ(runs, 1 + more);
	EQ(overrun, more ? 0 : -1);
	if (how != delete_it)
		EQ(timer_delete(timer), 0);
	step(what);
}

/* Two timers of one signal: each has its own. */
static void set_other(void) {
	struct itimerspec once = {.it_value = {0, 1}};
	EQ(timer_settime(other, 0, &once, NULL), 0);
	sleep_ms(5);
}

static void two(int sig, const char *what) {
	begin(sig, set_other);
	other = make(sig, 2);
	set(timer, PERIOD);
	while (runs < 2 || runs_of_other < 1)
		sleep_ms(1);
	report(what);
	EQ(timer_delete(timer), 0);
	EQ(timer_delete(other), 0);
}

/* Nobody takes it: the kernel has it. */
static void waited_for(int sig) {
	sigset_t set_of, old;
	siginfo_t info;
	sigemptyset(&set_of);
	sigaddset(&set_of, sig);
	pthread_sigmask(SIG_BLOCK, &set_of, &old);
	begin(sig, NULL);
	set(timer, PERIOD);
	sleep_ms(LONG);
	EQ(sigwaitinfo(&set_of, &info), sig);
	overrun = info.si_overrun;
	asked = timer_getoverrun(timer);
	value = info.si_value.sival_int;
	report("sigwaitinfo");
	EQ(timer_delete(timer), 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void all(void) {
	slow(SIGUSR1, "standard");
	slow(SIGRTMIN + 2, "real-time");
	taken_back(SIGUSR1, "stopped", stop_it, 0);
	taken_back(SIGRTMIN + 2, "stopped, real-time", stop_it, 0);
	taken_back(SIGRTMIN + 2, "deleted", delete_it, 0);
	taken_back(SIGUSR1, "set anew", set_anew, 1);
	two(SIGUSR1, "two, standard");
	two(SIGRTMIN + 2, "two, real-time");
}

static void *other_thread(void *arg) {
	sigset_t none;
	sigemptyset(&none);
	if (arg)
		pthread_sigmask(SIG_SETMASK, &none, NULL);
	if (arg)
		all();
	for (; !arg;)
		sleep_ms(100);
	return arg;
}

int main(void) {
	sigset_t most, old;
	test_begin();
	sigfillset(&most);
	pthread_sigmask(SIG_BLOCK, &most, &old);
	start(other_thread, NULL);
	waited_for(SIGRTMIN + 2);
	waited_for(SIGUSR1);
	printf("on a thread\n");
	join(start(other_thread, &timer));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	printf("on main\n");
	all();
	return test_end();
}
