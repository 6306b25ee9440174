/* epoll_pwait() that does not wait, or need not, with a mask that lets in a signal which is pending: it says what is ready, no handler runs, and the signal stays pending. With time to wait,
 * the signal ends it (SIG-16). */
#include <sys/epoll.h>

#include "signal_test.h"

enum { LONG_MS = 5000 };

static volatile int handled;
static int epoll, pipes[2];
static sigset_t open_set;

static void handler(int sig) {
	(void)sig;
	handled++;
}

static int asks(bool fine, int ms) {
	struct epoll_event e;
	struct timespec time = {ms / 1000, ms % 1000 * 1000000};
	errno = 0;
	return fine ? epoll_pwait2(epoll, &e, 1, &time, &open_set) : epoll_pwait(epoll, &e, 1, ms, &open_set);
}

static void *both(void *fine) {
	char c = 'x';
	handled = 0;
	EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
	EQ(asks(fine, 0), 0);
	EQ(write(pipes[1], &c, 1), 1);
	EQ(asks(fine, 0), 1);
	EQ(asks(fine, LONG_MS), 1);
	EQ(read(pipes[0], &c, 1), 1);
	EQ(handled, 0);
	EQ(pending(SIGUSR1), 1);
	EQ(asks(fine, LONG_MS), -1);
	EQ(errno, EINTR);
	EQ(handled, 1);
	EQ(pending(SIGUSR1), 0);
	return NULL;
}

int main(void) {
	struct epoll_event e = {.events = EPOLLIN};
	struct sigaction sa = {.sa_handler = handler};
	test_begin();
	EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	pthread_sigmask(SIG_BLOCK, NULL, &open_set);
	mask(SIG_BLOCK, SIGUSR1);
	epoll = epoll_create1(0);
	EQ(pipe(pipes), 0);
	EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &e), 0);
	join(start(both, NULL));
	step("epoll_pwait");
	join(start(both, &e));
	step("epoll_pwait2");
	return test_end();
}
