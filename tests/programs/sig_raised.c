/* The signal that a call raises, which writes where nobody reads (SIGPIPE) or beyond the limit of a file's size (SIGXFSZ), is for the thread that made the call:
 * its handler runs there, before the call returns; where the thread blocks the signal it stays pending for that thread alone, while it waits and until it ends.
 * Nobody else has it, main neither, which blocks nothing and would end the process by it. */
#include "signal_test.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { LIMIT = 8192, WORKERS = 4, WAYS = 8 };

static pthread_barrier_t raised, looked;
static pthread_t ran;
static volatile int runs, file;
static sigjmp_buf back;

static void handler(int sig) {
	(void)sig;
	runs++;
	ran = pthread_self();
}

static void jumps(int sig) {
	(void)sig;
	siglongjmp(back, 1);
}

/* What is pending is taken; the number, or -1. */
static int take(int sig) {
	struct timespec none = {0};
	siginfo_t info;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, sig);
	int r = sigtimedwait(&set, &info, &none);
	EQ(r < 0 || info.si_pid == getpid(), 1);
	return r;
}

static void nobody_reads(int fds[2]) {
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	close(fds[0]);
}

static long write_by(int way, int fd) {
	char text[4] = "abc";
	struct iovec iov = {text, 3};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct mmsghdr vec = {.msg_hdr = msg};
	switch (way) {
	case 0:
		return write(fd, text, 3);
	case 1:
		return writev(fd, &iov, 1);
	case 2:
		return syscall(SYS_write, fd, text, 3);
	case 3:
		return dprintf(fd, "abc");
	case 4:
		return sendfile(fd, file, &(off_t){0}, 10);
	case 5:
		return splice(file, &(off_t){0}, fd, NULL, 10, 0);
	case 6:
		return sendmsg(fd, &msg, 0);
	default:
		return sendmmsg(fd, &vec, 1, 0);
	}
}

/* All that is pending for it goes with it. */
static void *writes_and_ends(void *arg) {
	int fds[2];
	nobody_reads(fds);
	EQ(write(fds[1], "x", 1), -1);
	EQ(errno, EPIPE);
	EQ(pending(SIGPIPE), 1);
	close(fds[1]);
	return arg;
}

static void *writes_and_stays(void *arg) {
	int fds[2];
	nobody_reads(fds);
	EQ(send(fds[1], "x", 1, 0), -1);
	pthread_barrier_wait(&raised);
	pthread_barrier_wait(&looked);
	EQ(pending(SIGPIPE), 1);
	EQ(take(SIGPIPE), SIGPIPE);
	EQ(take(SIGPIPE), -1);
	close(fds[1]);
	return arg;
}

static void *writes_each_way(void *arg) {
	int ends[2], fds[2];
	EQ(pipe(ends), 0);
	close(ends[0]);
	nobody_reads(fds);
	for (int way = 0; way < WAYS; way++) {
		int fd = way < 6 ? ends[1] : fds[1];
		runs = 0;
		EQ(write_by(way, fd), -1);
		EQ(errno, EPIPE);
		EQ(runs, 1);
		EQ(pthread_equal(ran, pthread_self()) != 0, 1);
		mask(SIG_BLOCK, SIGPIPE);
		EQ(write_by(way, fd), -1);
		usleep(1000);
		EQ(pending(SIGPIPE), 1);
		EQ(runs, 1);
		mask(SIG_UNBLOCK, SIGPIPE);
		EQ(runs, 2);
		EQ(pthread_equal(ran, pthread_self()) != 0, 1);
	}
	mask(SIG_BLOCK, SIGPIPE);
	EQ(send(fds[1], "x", 1, MSG_NOSIGNAL), -1);
	EQ(pending(SIGPIPE), 0);
	mask(SIG_UNBLOCK, SIGPIPE);
	close(ends[1]);
	close(fds[1]);
	return arg;
}

static void *fills(void *arg) {
	char path[] = "/tmp/goshim-raised-XXXXXX", bytes[LIMIT] = {0};
	int fd = mkstemp(path);
	unlink(path);
	EQ(write(fd, bytes, LIMIT), LIMIT);
	runs = 0;
	EQ(write(fd, bytes, 1), -1);
	EQ(errno, EFBIG);
	EQ(runs, 1);
	EQ(pthread_equal(ran, pthread_self()) != 0, 1);
	EQ(ftruncate(fd, LIMIT + 1), -1);
	EQ(runs, 2);
	mask(SIG_BLOCK, SIGXFSZ);
	EQ(pwrite(fd, bytes, 1, LIMIT), -1);
	usleep(1000);
	EQ(pending(SIGXFSZ), 1);
	mask(SIG_UNBLOCK, SIGXFSZ);
	EQ(runs, 3);
	EQ(pthread_equal(ran, pthread_self()) != 0, 1);
	signal(SIGXFSZ, jumps);
	if (sigsetjmp(back, 1) == 0) {
		EQ(write(fd, bytes, 1), -1);
		EQ("jumped", NULL);
	}
	close(fd);
	return arg;
}

static void one(void *(*fn)(void *)) {
	pthread_t t;
	EQ(pthread_create(&t, NULL, fn, NULL), 0);
	EQ(pthread_join(t, NULL), 0);
}

int main(void) {
	pthread_t t[WORKERS];
	sigset_t all, before;
	test_begin();
	sigfillset(&all);
	pthread_barrier_init(&raised, NULL, WORKERS + 1);
	pthread_barrier_init(&looked, NULL, WORKERS + 1);
	for (int i = 0; i < 20; i++) {
		pthread_sigmask(SIG_SETMASK, &all, &before);
		EQ(pthread_create(&t[0], NULL, writes_and_ends, NULL), 0);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		EQ(pthread_join(t[0], NULL), 0);
	}
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (int i = 0; i < WORKERS; i++)
		EQ(pthread_create(&t[i], NULL, writes_and_stays, NULL), 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_barrier_wait(&raised);
	usleep(10000);
	EQ(pending(SIGPIPE), 0);
	pthread_barrier_wait(&looked);
	for (int i = 0; i < WORKERS; i++)
		EQ(pthread_join(t[i], NULL), 0);

	file = open("/etc/passwd", O_RDONLY);
	signal(SIGPIPE, handler);
	one(writes_each_way);
	struct rlimit limit;
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = LIMIT;
	EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, handler);
	one(fills);
	return test_end();
}
