/* A thread is cancelled in a call that waits with a mask of its own. Its cleanup handler is no longer in that: a signal that no mask blocks is handled at once, before raise() returns, and
 * while it computes, whether it was sent to the thread or to the process, where all others block it (SIG-16). pause(), which brings no mask, as well. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "signal_test.h"
#include "sleeping.h"

enum { WAYS = 5, LIMIT_S = 5 };

static const char *const names[WAYS] = {"sigsuspend", "ppoll", "pselect", "epoll_pwait", "pause"};
static int fds[2], set;
static sigset_t none;
static sem_t cleaning;
static _Atomic pid_t waiting;
static _Atomic int ran;

static void on_usr1(int sig) {
	(void)sig;
	ran++;
}

/* One handler more. No call: the thread is where it is. */
static void compute_until_handled(void) {
	for (long long end = now_ns(CLOCK_MONOTONIC) + LIMIT_S * 1000000000LL; ran == 0 && now_ns(CLOCK_MONOTONIC) < end;)
		continue;
	EQ(ran, 1);
	ran = 0;
}

static void cleans(void *arg) {
	(void)arg;
	EQ(raise(SIGUSR1), 0);
	EQ(ran, 1);
	ran = 0;
	for (int i = 0; i < 2; i++) {
		sem_post(&cleaning);
		compute_until_handled();
	}
}

static void wait_somehow(long way) {
	struct pollfd p = {fds[0], POLLIN, 0};
	struct epoll_event e;
	fd_set reads;
	FD_ZERO(&reads);
	FD_SET(fds[0], &reads);
	switch (way) {
	case 0: sigsuspend(&none); break;
	case 1: ppoll(&p, 1, NULL, &none); break;
	case 2: pselect(fds[0] + 1, &reads, NULL, NULL, NULL, &none); break;
	case 3: epoll_pwait(set, &e, 1, -1, &none); break;
	case 4: pause(); break;
	}
	CHECK(!"the call returned");
}

static void *waits(void *way) {
	mask(SIG_UNBLOCK, SIGUSR1);
	pthread_cleanup_push(cleans, NULL);
	waiting = gettid();
	wait_somehow((long)way);
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancelled(long way) {
	step(names[way]);
	waiting = 0;
	pthread_t t = start(waits, (void *)way);
	await_sleeping(&waiting);
	EQ(pthread_cancel(t), 0);
	sem_take(&cleaning);
	EQ(pthread_kill(t, SIGUSR1), 0);
	sem_take(&cleaning);
	EQ(kill(getpid(), SIGUSR1), 0);
	EQ(join(t), (long)PTHREAD_CANCELED);
}

int main(void) {
	struct sigaction sa = {.sa_handler = on_usr1, .sa_flags = SA_RESTART};
	struct epoll_event e = {.events = EPOLLIN};
	test_begin();
	sem_init(&cleaning, 0, 0);
	EQ(pipe(fds), 0);
	set = epoll_create1(0);
	EQ(epoll_ctl(set, EPOLL_CTL_ADD, fds[0], &e), 0);
	EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	mask(SIG_BLOCK, SIGUSR1);
	for (long way = 0; way < WAYS; way++)
		cancelled(way);
	return test_end();
}
