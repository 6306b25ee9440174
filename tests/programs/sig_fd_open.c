/* A signal that was sent to one thread, which blocks it while others do not, is read from a signalfd by that thread and by nobody else.
 * Also when the thread has a property of its own in the kernel. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int fd, fd_nonblock, fd_other;
static pthread_barrier_t ready, over;
static _Atomic int handled;
static pthread_t target;

static void handler(int sig) {
	(void)sig;
	handled++;
}

static sigset_t set_of(int a, int b) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, a);
	sigaddset(&set, b);
	return set;
}

static void show(const char *how, int from) {
	struct signalfd_siginfo info;
	ssize_t n = read(from, &info, sizeof info);
	if (n == sizeof info)
		printf("%s: %s, code %d, value %d\n", how, strsignal((int)info.ssi_signo), info.ssi_code, info.ssi_int);
	else
		printf("%s: %s\n", how, n < 0 ? strerror(errno) : "short");
}

static int ready_now(int what) {
	struct pollfd p = {.fd = what, .events = POLLIN};
	return poll(&p, 1, 0);
}

static void several(void) {
	struct signalfd_siginfo info[8];
	struct iovec iov = {info, sizeof info};
	ssize_t n = readv(fd, &iov, 1);
	printf("readv: %zd records:", n / (ssize_t)sizeof *info);
	for (ssize_t i = 0; i < n / (ssize_t)sizeof *info; i++)
		printf(" %s/%d", info[i].ssi_signo == SIGUSR1 ? "USR1" : "RTMIN",
		       info[i].ssi_signo == SIGUSR1 ? 0 : info[i].ssi_int);
	printf("\n");
}

static void wait_all(void) {
	struct epoll_event event = {.events = EPOLLIN};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int ep = epoll_create1(0);
	fd_set reads;
	FD_ZERO(&reads);
	FD_SET(fd, &reads);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	printf("epoll: %d, ", epoll_wait(ep, &event, 1, -1));
	printf("again: %d, ", epoll_wait(ep, &event, 1, 0));
	printf("poll: %d, ", poll(&p, 1, -1));
	printf("select: %d\n", select(fd + 1, &reads, NULL, NULL, NULL));
	show("what they saw", fd);
	printf("epoll afterwards: %d\n", epoll_wait(ep, &event, 1, 0));
	close(ep);
}

static void by_timer(void) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 9};
	struct itimerspec soon = {.it_value.tv_nsec = 5000000};
	timer_t timer;
	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &soon, NULL))
		exit(3);
	show("from a timer", fd);
	timer_delete(timer);
}

/* What the other thread does comes in steps, of which each begins when this thread is about to wait. */
static void *reader(void *arg) {
	sigset_t set = set_of(SIGUSR1, SIGRTMIN), pending;
	int before = handled;
	if (arg)
		prctl(PR_SET_TIMERSLACK, 70000);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_barrier_wait(&ready);
	show("read that waits", fd);
	pthread_barrier_wait(&ready);
	wait_all();
	pthread_barrier_wait(&ready); /* three are sent ... */
	pthread_barrier_wait(&over);  /* ... and are there */
	printf("ready: %d, other signals' descriptor: %d\n", ready_now(fd), ready_now(fd_other));
	show("other signals' descriptor", fd_other);
	sigpending(&pending);
	printf("pending: %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGRTMIN));
	several();
	show("nothing is left", fd_nonblock);
	pthread_barrier_wait(&ready); /* one is sent, and another thread looks */
	pthread_barrier_wait(&over);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	printf("handled when it is opened: %d\n", handled - before);
	show("and not read then", fd_nonblock);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	show("raised", fd_nonblock);
	pthread_barrier_wait(&ready);
	for (int i = 0; i < 200; i++) {
		struct signalfd_siginfo info;
		if (read(fd, &info, sizeof info) != sizeof info || info.ssi_int != i) {
			printf("out of order at %d: %d\n", i, info.ssi_int);
			break;
		}
	}
	by_timer();
	return arg;
}

static void *bystander(void *arg) {
	printf("another thread: ready %d\n", ready_now(fd));
	show("another thread", fd_nonblock);
	return arg;
}

static void *with(void *(*what)(void *)) {
	pthread_t t;
	void *r;
	if (pthread_create(&t, NULL, what, NULL))
		exit(2);
	pthread_join(t, &r);
	return r;
}

static void pause_ms(long ms) {
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void round_with(void *arg) {
	if (pthread_create(&target, NULL, reader, arg))
		exit(2);
	pthread_barrier_wait(&ready);
	pause_ms(20); /* it may wait by now, or not yet: both are right */
	pthread_kill(target, SIGUSR1);
	pthread_barrier_wait(&ready);
	pause_ms(20);
	pthread_sigqueue(target, SIGRTMIN, (union sigval){.sival_int = 7});
	pthread_barrier_wait(&ready);
	pthread_sigqueue(target, SIGRTMIN, (union sigval){.sival_int = 1});
	pthread_sigqueue(target, SIGRTMIN, (union sigval){.sival_int = 2});
	pthread_kill(target, SIGUSR1);
	pthread_kill(target, SIGUSR1);
	pthread_barrier_wait(&over);
	pthread_barrier_wait(&ready);
	pthread_kill(target, SIGUSR1);
	with(bystander);
	pthread_barrier_wait(&over);
	pthread_barrier_wait(&ready);
	for (int i = 0; i < 200; i++)
		pthread_sigqueue(target, SIGRTMIN, (union sigval){.sival_int = i});
	pthread_join(target, NULL);
}

int main(void) {
	struct sigaction sa = {.sa_handler = handler};
	sigset_t set = set_of(SIGUSR1, SIGRTMIN), other = set_of(SIGHUP, SIGHUP);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGRTMIN, &sa, NULL);
	pthread_barrier_init(&ready, NULL, 2);
	pthread_barrier_init(&over, NULL, 2);
	fd = signalfd(-1, &set, 0);
	fd_nonblock = signalfd(-1, &set, SFD_NONBLOCK);
	fd_other = signalfd(-1, &other, SFD_NONBLOCK);
	round_with(NULL);
	round_with("a property of its own");
	return 0;
}
