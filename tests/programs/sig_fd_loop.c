/* Event loops that block signals, as those of servers with a thread for signals do: while they wait somebody makes a signalfd for one of these, has an epoll instance watch
 * it and sends the signal, to the loop's thread and to the process. The loop that it is for reads it; the others go on. */
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "signal_test.h"

enum { LOOPS = 4 };

static struct loop {
	pthread_t thread;
	int epoll, wake[2];
	_Atomic int woken, read_sig;
} loops[LOOPS];

static void *loop_main(void *arg) {
	struct loop *l = arg;
	struct epoll_event ev;
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		int n = epoll_wait(l->epoll, &ev, 1, -1);
		EQ(n, 1);
		if (ev.data.fd != l->wake[0]) {
			struct signalfd_siginfo info;
			EQ(read(ev.data.fd, &info, sizeof info), sizeof info);
			l->read_sig = (int)info.ssi_signo;
			continue;
		}
		char c;
		EQ(read(l->wake[0], &c, 1), 1);
		l->woken++;
		if (c)
			return NULL;
	}
}

static void watch(int epoll, int fd) {
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
	EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev), 0);
}

static void wake_all(char last) {
	for (int i = 0; i < LOOPS; i++) {
		int before = loops[i].woken;
		EQ(write(loops[i].wake[1], &last, 1), 1);
		while (loops[i].woken == before)
			usleep(100);
	}
}

int main(void) {
	sigset_t set;
	test_begin();
	mask(SIG_BLOCK, SIGUSR2);
	for (int i = 0; i < LOOPS; i++) {
		struct loop *l = &loops[i];
		EQ(pipe(l->wake), 0);
		l->epoll = epoll_create1(0);
		watch(l->epoll, l->wake[0]);
		EQ(pthread_create(&l->thread, NULL, loop_main, l), 0);
	}
	wake_all(0);
	usleep(20000); /* they wait */
	for (int i = 0; i < LOOPS; i++) {
		struct loop *l = &loops[i];
		int sig = i % 2 ? SIGUSR2 : SIGUSR1; /* all threads block SIGUSR2 */
		sigemptyset(&set);
		sigaddset(&set, sig);
		int fd = signalfd(-1, &set, 0);
		watch(l->epoll, fd);
		if (i < 2)
			EQ(pthread_kill(l->thread, sig), 0);
		else if (sig == SIGUSR2)
			EQ(kill(getpid(), sig), 0);
		while (!l->read_sig && (i < 2 || sig == SIGUSR2))
			usleep(100);
		printf("loop %d: signal %d\n", i, l->read_sig);
		EQ(epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL), 0);
		wake_all(0);
	}
	wake_all(1);
	for (int i = 0; i < LOOPS; i++)
		EQ(pthread_join(loops[i].thread, NULL), 0);
	return test_end();
}
