/* Signals under refused calls: handlers that end a read, that run while their thread computes, and in a queue; timers by signal and by thread; sigwait; threads
 * that are cancelled where they wait and where they compute. */
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>

#include "fail_test.h"

enum { THREADS = 8, SENT = 20, ROUNDS = 4 };

static sem_t came, there, leave;
static _Atomic int handled, ended;

static void handler(int sig) {
	(void)sig;
	handled++;
	sem_post(&came);
}

static void wait_for(sem_t *sem) {
	while (sem_wait(sem) != 0)
		CHECK(errno == EINTR);
}

static void *read_until_signal(void *arg) {
	char c;
	sem_post(&there);
	/* A signal that comes before the read does not end it: then the next one does. */
	CHECK(read(*(int *)arg, &c, 1) == -1 && errno == EINTR);
	ended = 1;
	wait_for(&leave); /* a signal to one that has ended runs no handler */
	return arg;
}

static void interrupted(void) {
	int fd[2];
	ended = 0;
	CHECK(pipe(fd) == 0);
	pthread_t t = start(read_until_signal, &fd[0]);
	wait_for(&there);
	while (!ended) {
		CHECK(pthread_kill(t, SIGUSR1) == 0);
		wait_for(&came);
	}
	sem_post(&leave);
	join(t);
	close(fd[0]);
	close(fd[1]);
}

static void *compute_until(void *arg) {
	_Atomic int *stop = arg;
	sem_post(&there);
	while (!*stop)
		continue;
	return arg;
}

static void computing(void) {
	_Atomic int stop = 0;
	pthread_t t = start(compute_until, &stop);
	wait_for(&there);
	for (int i = 0; i < SENT; i++) {
		CHECK(pthread_kill(t, SIGUSR1) == 0);
		wait_for(&came);
	}
	stop = 1;
	join(t);
}

static void *take(void *arg) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	for (int i = 0; i < SENT; i++) {
		siginfo_t info;
		int r;
		while ((r = sigwaitinfo(&set, &info)) < 0)
			CHECK(errno == EINTR);
		CHECK(r == SIGRTMIN);
	}
	return arg;
}

static void waited(void) {
	pthread_t t[THREADS];
	for (long i = 0; i < THREADS; i++)
		t[i] = start(take, (void *)i);
	for (int i = 0; i < SENT * THREADS; i++)
		CHECK(pthread_kill(t[i % THREADS], SIGRTMIN) == 0);
	for (long i = 0; i < THREADS; i++)
		CHECK(join(t[i]) == (void *)i);
}

static void tick(union sigval value) {
	sem_post(value.sival_ptr);
}

/* What POSIX lets timer_create() say, once. */
static timer_t timer_make(struct sigevent *event) {
	timer_t t;
	if (timer_create(CLOCK_MONOTONIC, event, &t) != 0) {
		CHECK(errno == EAGAIN || errno == ENOMEM);
		CHECK(++refused == 1);
		CHECK(timer_create(CLOCK_MONOTONIC, event, &t) == 0);
	}
	return t;
}

static void timers(void) {
	static sem_t ticks;
	struct sigevent by_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct sigevent by_thread = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick, .sigev_value.sival_ptr = &ticks};
	struct itimerspec once = {.it_value = {0, 1000000}};
	sem_init(&ticks, 0, 0);
	timer_t s = timer_make(&by_signal), t = timer_make(&by_thread);
	for (int i = 0; i < 3; i++) {
		CHECK(timer_settime(s, 0, &once, NULL) == 0);
		wait_for(&came);
		CHECK(timer_settime(t, 0, &once, NULL) == 0);
		wait_for(&ticks);
	}
	CHECK(timer_delete(s) == 0 && timer_delete(t) == 0);
}

static void *wait_or_compute(void *arg) {
	sem_t never;
	sem_init(&never, 0, 0);
	pthread_setcanceltype((long)arg % 2 ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED, &(int){0});
	sem_post(&there);
	switch ((long)arg % 4) {
	case 0: pause(); break;
	case 1:
		for (volatile int i = 0;; i++)
			continue;
	case 2: sem_wait(&never); break;
	default: poll(NULL, 0, -1);
	}
	return arg;
}

static void cancelled(void) {
	pthread_t t[THREADS];
	for (long i = 0; i < THREADS; i++) {
		t[i] = start(wait_or_compute, (void *)i);
		wait_for(&there);
	}
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_cancel(t[i]) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(join(t[i]) == PTHREAD_CANCELED);
}

static void round_once(void) {
	sem_init(&came, 0, 0);
	sem_init(&there, 0, 0);
	sem_init(&leave, 0, 0);
	interrupted();
	computing();
	waited();
	timers();
	cancelled();
}

int main(void) {
	struct sigaction sa = {.sa_handler = handler};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	/* libc makes a thread for each notification of a timer, and keeps its stack. Where one has not ended yet when the next comes there are two, as natively. */
	lucky_kb = (8 << 20) / 1024 + 4;
	rounds(ROUNDS, round_once);
	CHECK(handled > ROUNDS * SENT);
	return 0;
}
