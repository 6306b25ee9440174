/* ppoll, pselect, epoll_pwait, epoll_pwait2 on a descriptor, with a mask that lets in what the thread blocks (SIG-16): the signal, sent to this thread alone, ends the
 * wait whenever it comes, its handler has run then, and the old mask is back. So do data, and the time. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 300 };
static const char *const names[] = {"ppoll", "pselect", "epoll_pwait", "epoll_pwait2"};

static _Atomic int handled;
static int pipes[2], ep;
static sem_t next;
static sigset_t open_set;

static void handler(int sig) {
	(void)sig;
	handled++;
}

static int wait_for(int way, const struct timespec *timeout) {
	struct pollfd p = {.fd = pipes[0], .events = POLLIN};
	struct epoll_event event;
	fd_set reads;
	FD_ZERO(&reads);
	FD_SET(pipes[0], &reads);
	switch (way) {
	case 0:
		return ppoll(&p, 1, timeout, &open_set);
	case 1:
		return pselect(pipes[0] + 1, &reads, NULL, NULL, timeout, &open_set);
	case 2:
		return epoll_pwait(ep, &event, 1, timeout ? (int)(timeout->tv_nsec / 1000000) : -1, &open_set);
	default:
		return epoll_pwait2(ep, &event, 1, timeout, &open_set);
	}
}

static void *waiter(void *arg) {
	sigset_t now;
	for (int way = 0; way < 4; way++) {
		int ended = 0, ran = 0, blocked = 0;
		for (int i = 0; i < ROUNDS; i++) {
			int before = handled;
			sem_post(&next);
			ended += wait_for(way, NULL) == -1 && errno == EINTR;
			ran += handled == before + 1;
			pthread_sigmask(SIG_BLOCK, NULL, &now);
			blocked += sigismember(&now, SIGUSR1);
		}
		printf("%s: ended by a signal %d, handled %d, blocked again %d\n", names[way], ended, ran, blocked);
		sem_post(&next);
		char c;
		int r = wait_for(way, NULL);
		printf("%s: data %d %zd, ", names[way], r, read(pipes[0], &c, 1));
		printf("time %d\n", wait_for(way, &(struct timespec){.tv_nsec = 20000000}));
	}
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	struct epoll_event event = {.events = EPOLLIN};
	sigset_t set;
	pthread_t t;
	sigaction(SIGUSR1, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &open_set);
	sem_init(&next, 0, 0);
	ep = epoll_create1(0);
	if (pipe(pipes) || epoll_ctl(ep, EPOLL_CTL_ADD, pipes[0], &event) || pthread_create(&t, NULL, waiter, NULL))
		return 2;
	pthread_sigmask(SIG_SETMASK, &open_set, NULL);
	for (int way = 0; way < 4; way++) {
		for (int i = 0; i < ROUNDS; i++) {
			sem_wait(&next);
			if (i % 3 == 0)
				usleep(200);
			pthread_kill(t, SIGUSR1);
		}
		sem_wait(&next);
		usleep(1000);
		if (write(pipes[1], "x", 1) != 1)
			return 3;
	}
	return pthread_join(t, NULL);
}
