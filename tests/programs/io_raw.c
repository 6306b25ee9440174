/* syscall(2): the calls by number behave as those by name; the kernel's conventions where they differ from libc's; what no wrapper has. */
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "io_test.h"

static int fds[2];
static uint32_t word;

static void *late(void *arg) {
	settle();
	EQ(syscall(SYS_write, fds[1], "raw", 3), 3);
	return arg;
}

static void *futex_waiter(void *arg) {
	EQ(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), 0);
	return arg;
}

static void *tids(void *arg) {
	*(long *)arg = syscall(SYS_gettid);
	EQ(*(long *)arg, gettid());
	return NULL;
}

static int got_signal;
static void on_signal(int sig) {
	got_signal = sig;
}

static pid_t target;
static int over;
static void *signalled(void *arg) {
	__atomic_store_n(&target, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	pause();
	__atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
	return arg;
}

int main(void) {
	char buf[10];
	become_threaded();
	EQ(syscall(SYS_pipe2, fds, 0), 0);
	pthread_t t = start(late, NULL);
	EQ(syscall(SYS_read, fds[0], buf, 10), 3);
	join(t);
	struct pollfd p = {.fd = fds[0], .events = POLLIN};
	EQ(syscall(SYS_poll, &p, 1, 20), 0);
	struct timespec ts = {0, 30000000};
	FAILS(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &ts, NULL), EOPNOTSUPP);
	EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ts, NULL), EINVAL);
	EQ(syscall(SYS_ppoll, &p, 1, &ts, NULL, 8), 0);
	EQ(ts.tv_nsec, 0); /* the kernel writes what is left */
	ts.tv_nsec = 30000000;
	fd_set r;
	FD_ZERO(&r);
	FD_SET(fds[0], &r);
	EQ(syscall(SYS_pselect6, fds[0] + 1, &r, NULL, NULL, &ts, NULL), 0);
	EQ(ts.tv_nsec, 0);
	t = start(late, NULL);
	EQ(syscall(SYS_poll, &p, 1, -1), 1);
	join(t);
	EQ(syscall(SYS_read, fds[0], buf, 10), 3);
	ts.tv_nsec = 20000000;
	TAKES(20, 300, EQ(syscall(SYS_nanosleep, &ts, NULL), 0));
	TAKES(20, 300, EQ(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL), 0));
	ts.tv_nsec = -1;
	FAILS(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL), EINVAL);
	FAILS(syscall(SYS_read, 9999, buf, 1), EBADF);
	FAILS(syscall(SYS_close, -1), EBADF);
	FAILS(syscall(100000), ENOSYS);
	int ep = (int)syscall(SYS_epoll_create1, 0);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = 1};
	EQ(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, fds[0], &e), 0);
	EQ(syscall(SYS_epoll_wait, ep, &e, 1, 10), 0);
	EQ(syscall(SYS_close, ep), 0);
	int s = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
	CHECK(s >= 0);
	EQ(syscall(SYS_dup3, fds[0], s, 0), s);
	t = start(late, NULL);
	EQ(syscall(SYS_read, s, buf, 10), 3);
	join(t);
	EQ(syscall(SYS_close, s), 0);
	done("descriptors");

	t = start(futex_waiter, NULL);
	while (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) != 1)
		sched_yield();
	join(t);
	FAILS(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0), EAGAIN);
	ts.tv_nsec = 20000000;
	TAKES(20, 300, FAILS(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0), ETIMEDOUT));
	done("futex");

	long a = 0, b = 0;
	t = start(tids, &a);
	pthread_t t2 = start(tids, &b);
	join(t);
	join(t2);
	CHECK(a > 0 && b > 0 && a != getpid());
	EQ(syscall(SYS_gettid), getpid());
	signal(SIGUSR1, on_signal);
	t = start(signalled, NULL);
	while (!__atomic_load_n(&target, __ATOMIC_SEQ_CST))
		sched_yield();
	while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) { /* one may come before pause() */
		EQ(syscall(SYS_tgkill, getpid(), target, SIGUSR1), 0);
		usleep(2000);
	}
	join(t);
	EQ(got_signal, SIGUSR1);
	FAILS(syscall(SYS_tgkill, getpid(), 1 << 30, 0), ESRCH);
	FAILS(syscall(SYS_tgkill, -1, gettid(), 0), EINVAL);
	FAILS(syscall(SYS_tgkill, 0, gettid(), SIGUSR1), EINVAL);
	FAILS(tgkill(-1, gettid(), 0), EINVAL);
	EQ(syscall(SYS_tkill, getpid(), 0), 0);
	pid_t child = (pid_t)syscall(SYS_fork);
	if (child == 0)
		_exit(9);
	int status;
	EQ(syscall(SYS_wait4, child, &status, 0, NULL), child);
	EQ(WEXITSTATUS(status), 9);
	done("threads and processes");
	return failures != 0;
}
