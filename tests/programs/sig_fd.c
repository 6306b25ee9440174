/* A signal that was sent to one thread, and that everybody blocks, is read from a signalfd as one that was sent to the process. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static int fd;
static pthread_barrier_t ready;

static void show(const char *how) {
	struct signalfd_siginfo info;
	if (read(fd, &info, sizeof info) != sizeof info)
		exit(1);
	printf("%s: %s, value %d\n", how, strsignal((int)info.ssi_signo), info.ssi_int);
}

static void *nothing(void *how) {
	pthread_barrier_wait(&ready);
	return how;
}

static void *reader(void *how) {
	pthread_barrier_wait(&ready);
	show(how);
	return NULL;
}

static void *poller(void *how) {
	struct pollfd p = {.fd = fd, .events = POLLIN};
	pthread_barrier_wait(&ready);
	printf("poll: %d\n", poll(&p, 1, -1));
	show(how);
	return NULL;
}

static void *epoller(void *how) {
	struct epoll_event event = {.events = EPOLLIN};
	int ep = epoll_create1(0);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	pthread_barrier_wait(&ready);
	printf("epoll_wait: %d\n", epoll_wait(ep, &event, 1, -1));
	show(how);
	close(ep);
	return NULL;
}

static pthread_t started(void *(*what)(void *), const char *how) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, what, (void *)how))
		exit(2);
	pthread_barrier_wait(&ready);
	return thread;
}

int main(void) {
	sigset_t set;
	pthread_t thread;
	pthread_barrier_init(&ready, NULL, 2);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &(sigset_t){0}, 0); /* made before the first thread, and given its signals later */
	pthread_join(started(nothing, ""), NULL);
	raise(SIGUSR1);
	signalfd(fd, &set, 0);
	show("pending before it was watched");
	thread = started(reader, "sent to a thread");
	pthread_kill(thread, SIGHUP);
	pthread_join(thread, NULL);
	raise(SIGUSR1);
	show("raised");
	thread = started(poller, "queued to a thread that polls");
	pthread_sigqueue(thread, SIGRTMIN, (union sigval){.sival_int = 7});
	pthread_join(thread, NULL);
	thread = started(epoller, "sent to a thread that waits in epoll");
	pthread_kill(thread, SIGHUP);
	pthread_join(thread, NULL);
	raise(SIGUSR1);
	sigpending(&set);
	printf("pending: %d\n", sigismember(&set, SIGUSR1));
	return 0;
}
