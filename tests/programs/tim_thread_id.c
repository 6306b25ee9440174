/* Timers that signal the thread that they name (SIGEV_THREAD_ID), by a signal that others wait for, too; what is taken back when a timer is set anew or deleted;
 * overruns; timers on threads' CPU clocks. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "io_test.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { WAITERS = 6, ROUNDS = 40, MS = 1000000 };

static timer_t make(clockid_t clock, int sig, int value, pid_t tid) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = sig, .sigev_value.sival_int = value};
	timer_t id = NULL;
	event.sigev_notify_thread_id = tid;
	EQ(timer_create(clock, &event, &id), 0);
	return id;
}

static void set(timer_t id, long first_ns, long period_ns) {
	struct itimerspec when = {.it_value = {0, first_ns}, .it_interval = {0, period_ns}};
	EQ(timer_settime(id, 0, &when, NULL), 0);
}

static bool is_pending(int sig) {
	sigset_t pending;
	sigpending(&pending);
	return sigismember(&pending, sig);
}

static sigset_t only(int sig) {
	sigset_t want;
	sigemptyset(&want);
	sigaddset(&want, sig);
	return want;
}

/* All wait for the same signal; each gets its own timer's. */
static void *waiter(void *arg) {
	int value = (int)(intptr_t)arg;
	sigset_t want = only(SIGRTMIN);
	siginfo_t info;
	timer_t id = make(value & 1 ? CLOCK_REALTIME : CLOCK_MONOTONIC, SIGRTMIN, value, gettid());
	for (int i = 0; i < ROUNDS; i++) {
		set(id, 1000 + 300000 * value, 0);
		EQ(sigwaitinfo(&want, &info), SIGRTMIN);
		EQ(info.si_code, SI_TIMER);
		EQ(info.si_value.sival_int, value);
		EQ(info.si_overrun, 0);
	}
	EQ(timer_delete(id), 0);
	EQ(sigtimedwait(&want, &info, &(struct timespec){0}), -1);
	return NULL;
}

static _Atomic int hits, strays;
static pthread_t owner;

static void hit(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)context;
	strays += !pthread_equal(owner, pthread_self()) || info->si_value.sival_int != 77 || info->si_code != SI_TIMER;
	hits++;
}

static void *handles(void *arg) {
	struct sigaction act = {.sa_sigaction = hit, .sa_flags = SA_SIGINFO};
	owner = pthread_self();
	sigaction(SIGRTMIN + 1, &act, NULL);
	timer_t id = make(CLOCK_MONOTONIC, SIGRTMIN + 1, 77, gettid());
	set(id, MS, MS);
	while (hits < 10)
		pause();
	while (hits < 20)
		continue;
	EQ(timer_delete(id), 0);
	EQ(strays, 0);
	return arg;
}

/* One signal is pending at most; what it stands for is told with it. */
static void *overruns(void *arg) {
	sigset_t want = only(SIGRTMIN);
	siginfo_t info;
	timer_t id = make(CLOCK_MONOTONIC, SIGRTMIN, 5, gettid());
	struct itimerspec left;
	set(id, MS, MS);
	EQ(timer_getoverrun(id), 0);
	usleep(30000);
	EQ(timer_gettime(id, &left), 0);
	CHECK(left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= MS && left.it_interval.tv_nsec == MS);
	while (!is_pending(SIGRTMIN))
		continue;
	usleep(30000);
	EQ(sigwaitinfo(&want, &info), SIGRTMIN);
	CHECK(info.si_overrun >= 10);
	EQ(timer_getoverrun(id), info.si_overrun);
	set(id, MS, 0);
	EQ(sigwaitinfo(&want, &info), SIGRTMIN);
	EQ(info.si_overrun, 0);
	EQ(timer_getoverrun(id), 0);
	EQ(timer_delete(id), 0);
	FAILS(timer_settime(id, 0, &left, NULL), EINVAL);
	FAILS(timer_getoverrun(id), EINVAL);
	return arg;
}

/* A standard signal of two timers is two signals, though kill()'s would be one. */
static void *standard(void *arg) {
	sigset_t want = only(SIGUSR2);
	siginfo_t info;
	timer_t one = make(CLOCK_MONOTONIC, SIGUSR2, 1, gettid()), two = make(CLOCK_MONOTONIC, SIGUSR2, 2, gettid());
	int sum = 0;
	set(one, 1, 0);
	while (!is_pending(SIGUSR2))
		continue;
	set(two, 1, 0);
	usleep(20000); /* there is no way to see the second */
	for (int i = 0; i < 2; i++) {
		struct timespec patience = {5, 0};
		EQ(sigtimedwait(&want, &info, &patience), SIGUSR2);
		sum += info.si_value.sival_int;
	}
	EQ(sum, 3);
	timer_delete(one);
	timer_delete(two);
	return arg;
}

/* Ignored it is lost, and the timer goes on. */
static void *ignored(void *arg) {
	struct sigaction act = {.sa_handler = SIG_IGN};
	sigaction(SIGRTMIN + 1, &act, NULL);
	hits = 0;
	owner = pthread_self();
	timer_t id = make(CLOCK_MONOTONIC, SIGRTMIN + 1, 77, gettid());
	set(id, MS, MS);
	usleep(20000);
	act = (struct sigaction){.sa_sigaction = hit, .sa_flags = SA_SIGINFO};
	sigaction(SIGRTMIN + 1, &act, NULL);
	while (hits < 3)
		pause();
	EQ(timer_delete(id), 0);
	EQ(strays, 0);
	return arg;
}

/* The thread ends; the timer does not, and signals nobody. */
static void *ends(void *arg) {
	*(timer_t *)arg = make(CLOCK_MONOTONIC, SIGRTMIN, 9, gettid());
	return NULL;
}

static void *burns(void *arg) {
	struct timespec used, before;
	clockid_t own;
	timer_t id = make(CLOCK_THREAD_CPUTIME_ID, SIGRTMIN, 6, gettid());
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	set(id, 20 * MS, 0);
	usleep(40000); /* of that it uses nothing */
	CHECK(!is_pending(SIGRTMIN));
	while (!is_pending(SIGRTMIN))
		continue;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	long ns = (used.tv_sec - before.tv_sec) * 1000000000L + used.tv_nsec - before.tv_nsec;
	CHECK(ns >= 15 * MS);
	EQ(timer_delete(id), 0);
	sigset_t want = only(SIGRTMIN);
	sigtimedwait(&want, NULL, &(struct timespec){0});
	pthread_getcpuclockid(pthread_self(), &own);
	id = make(own, SIGRTMIN, 6, gettid());
	clock_gettime(own, &used);
	used.tv_nsec += 10 * MS;
	used.tv_sec += used.tv_nsec / 1000000000;
	used.tv_nsec %= 1000000000;
	EQ(timer_settime(id, TIMER_ABSTIME, &(struct itimerspec){.it_value = used}, NULL), 0);
	while (!is_pending(SIGRTMIN))
		continue;
	EQ(sigtimedwait(&want, NULL, &(struct timespec){0}), SIGRTMIN);
	EQ(timer_delete(id), 0);
	return arg;
}

/* ---- another thread's CPU clock ------------------------------------------------------------------------------------ */

static pthread_barrier_t burner_waits;
static _Atomic bool enough;

static void *burner(void *arg) {
	pthread_barrier_wait(&burner_waits);
	pthread_barrier_wait(&burner_waits);
	while (!enough)
		continue;
	return arg;
}

static void *told(void *arg) {
	pthread_t t;
	clockid_t clock;
	struct itimerspec left;
	sigset_t want = only(SIGRTMIN);
	siginfo_t info;
	pthread_barrier_init(&burner_waits, NULL, 2);
	pthread_create(&t, NULL, burner, NULL);
	EQ(pthread_getcpuclockid(t, &clock), 0);
	pthread_barrier_wait(&burner_waits);
	timer_t id = make(clock, SIGRTMIN, 11, gettid()), plain, silent;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2}, none = {.sigev_notify = SIGEV_NONE};
	EQ(timer_create(clock, &event, &plain), 0);
	EQ(timer_create(clock, &none, &silent), 0);
	EQ(timer_gettime(id, &left), 0);
	EQ(left.it_value.tv_nsec, 0);
	set(id, 10 * MS, 10 * MS);
	set(plain, 10 * MS, 0);
	set(silent, 10 * MS, 0);
	EQ(timer_gettime(id, &left), 0);
	CHECK(left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 10 * MS && left.it_interval.tv_nsec == 10 * MS);
	EQ(sigtimedwait(&want, &info, &(struct timespec){0, 50 * MS}), -1); /* it has not begun */
	pthread_barrier_wait(&burner_waits);
	for (int i = 0; i < 3; i++) {
		EQ(sigwaitinfo(&want, &info), SIGRTMIN);
		EQ(info.si_value.sival_int, 11);
		EQ(info.si_code, SI_TIMER);
	}
	want = only(SIGRTMIN + 2);
	EQ(sigwaitinfo(&want, &info), SIGRTMIN + 2);
	struct timespec used;
	clock_gettime(clock, &used);
	CHECK(used.tv_sec > 0 || used.tv_nsec >= 25 * MS);
	set(id, 0, 0);
	EQ(timer_gettime(id, &left), 0);
	CHECK(left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
	enough = true;
	pthread_join(t, NULL);
	EQ(timer_delete(id), 0);
	EQ(timer_delete(plain), 0);
	EQ(timer_delete(silent), 0);
	int refused;
	while ((refused = timer_create(clock, &none, &silent) == 0 ? 0 : errno) == 0) /* natively the kernel may know it for a moment longer */
		EQ(timer_delete(silent), 0);
	EQ(refused, EINVAL);
	return arg;
}

int main(void) {
	pthread_t t[WAITERS];
	sigset_t block = only(SIGRTMIN);
	struct sigevent bad = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
	siginfo_t info;
	timer_t id, early = make(CLOCK_MONOTONIC, SIGRTMIN, 1, gettid()), ended;
	sigaddset(&block, SIGUSR2);
	sigaddset(&block, SIGRTMIN + 2);
	pthread_sigmask(SIG_BLOCK, &block, NULL);
	set(early, MS, 0);
	become_threaded();
	EQ(sigwaitinfo(&block, &info), SIGRTMIN);
	EQ(info.si_value.sival_int, 1);
	EQ(timer_delete(early), 0);
	for (intptr_t i = 0; i < WAITERS; i++)
		t[i] = start(waiter, (void *)i);
	for (int i = 0; i < WAITERS; i++)
		join(t[i]);
	done("waiters");
	join(start(handles, NULL));
	done("handler");
	join(start(overruns, NULL));
	done("overruns");
	join(start(standard, NULL));
	done("two of one");
	join(start(ignored, NULL));
	done("ignored");
	join(start(ends, &ended));
	set(ended, 1, MS);
	usleep(10000);
	CHECK(!is_pending(SIGRTMIN));
	EQ(timer_delete(ended), 0);
	done("ended");
	join(start(burns, NULL));
	done("own CPU clock");
	join(start(told, NULL));
	done("another's CPU clock");
	bad.sigev_notify_thread_id = 1;
	FAILS(timer_create(CLOCK_MONOTONIC, &bad, &id), EINVAL);
	id = make(CLOCK_MONOTONIC, SIGRTMIN, 8, gettid());
	set(id, MS, 0);
	EQ(sigwaitinfo(&block, &info), SIGRTMIN);
	EQ(info.si_value.sival_int, 8);
	EQ(timer_delete(id), 0);
	int number;
	bad.sigev_notify_thread_id = gettid();
	EQ(syscall(SYS_timer_create, CLOCK_MONOTONIC, &bad, &number), 0);
	struct itimerspec soon = {.it_value = {0, 1}};
	EQ(syscall(SYS_timer_settime, number, 0, &soon, NULL), 0);
	EQ(sigwaitinfo(&block, &info), SIGRTMIN);
	EQ(info.si_timerid, number);
	EQ(syscall(SYS_timer_delete, number), 0);
	done("main");
	return failures != 0;
}
