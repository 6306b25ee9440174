/* A handler ends a sleep or a wait: the time that is said to be left is what was when it came, however long it then took. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

#include "sleeping.h"

#define MS 1000000LL
#define LONG_NS (100000 * MS)
#define HANDLER_NS (60 * MS)
#define SLACK_NS (10 * MS)

static pthread_t sleeper;
static _Atomic pid_t sleeper_tid;
static long long began, came;

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

static void handler(int sig) {
	(void)sig;
	came = now();
	while (now() < came + HANDLER_NS)
		usleep(1000);
}

static void *sender(void *arg) {
	await_sleeping(&sleeper_tid);
	pthread_kill(sleeper, SIGUSR1);
	return arg;
}

static void begin(pthread_t *thread) {
	pthread_create(thread, NULL, sender, NULL);
	began = now();
}

/* It began after `began`, so it looked at the clock no earlier than this says. */
static void end(pthread_t thread, const char *what, int r, long long left) {
	int error = r < 0 ? errno : r;
	pthread_join(thread, NULL);
	printf("%s: %s, left %s\n", what, error == EINTR ? "EINTR" : "?",
	       began + LONG_NS - left <= came + SLACK_NS && left <= LONG_NS + SLACK_NS ? "when it came" : "later");
}

static void *sleeps(void *arg) {
	struct sigaction act = {.sa_handler = handler};
	struct timespec time = {LONG_NS / (1000 * MS), 0}, left = {0};
	struct timeval val = {time.tv_sec, 0};
	struct {
		sigset_t *set;
		size_t bytes;
	} mask = {NULL, 8};
	pthread_t t;
	int r;
	sleeper_tid = gettid();
	sigaction(SIGUSR1, &act, NULL);
#define NS(t) ((t).tv_sec * 1000 * MS + (t).tv_nsec)
	begin(&t);
	r = nanosleep(&time, &left);
	end(t, "nanosleep", r, NS(left));
	begin(&t);
	r = clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &left);
	end(t, "clock_nanosleep", r, NS(left));
	begin(&t);
	r = clock_nanosleep(CLOCK_REALTIME, 0, &time, &left);
	end(t, "of the wall clock", r, NS(left));
	begin(&t);
	r = select(0, NULL, NULL, NULL, &val);
	end(t, "select", r, val.tv_sec * 1000 * MS + val.tv_usec * 1000LL);
	left = time;
	begin(&t);
	r = (int)syscall(SYS_ppoll, NULL, 0, &left, NULL, 8);
	end(t, "ppoll", r, NS(left));
	left = time;
	begin(&t);
	r = (int)syscall(SYS_pselect6, 0, NULL, NULL, NULL, &left, &mask);
	end(t, "pselect6", r, NS(left));
	begin(&t);
	r = (int)syscall(SYS_nanosleep, &time, &left);
	end(t, "raw nanosleep", r, NS(left));
	return arg;
}

int main(void) {
	pthread_create(&sleeper, NULL, sleeps, NULL);
	pthread_join(sleeper, NULL);
	return 0;
}
