/* Waits that are the kernel's or libc's own, and end for any handler that runs there: requests of asynchronous I/O, sleeps on a clock of CPU time. Signals
 * for other threads are no such thing: without a handler of its own the waiter never sees EINTR, and sleeps no longer than it asked for. */
#include "undisturbed.h"

#include <aio.h>
#include <errno.h>
#include <sched.h>

enum { WAITS = 400, SLEEPS = 20, KINDS = 7 };

static struct aiocb reads(int fd, char *byte) {
	struct aiocb cb = {.aio_fildes = fd, .aio_buf = byte, .aio_nbytes = 1, .aio_lio_opcode = LIO_READ};
	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	return cb;
}

static void *suspends(void *arg) {
	int nothing[2];
	char byte;
	EQ(pipe(nothing), 0);
	struct aiocb cb = reads(nothing[0], &byte);
	const struct aiocb *list[] = {&cb};
	struct timespec soon = {0, 1000000};
	EQ(aio_read(&cb), 0);
	for (int i = 0; i < WAITS; i++) {
		sched_yield(); /* so that others run where this waits */
		EQ(aio_suspend(list, 1, &soon), -1);
		EQ(errno, EAGAIN);
	}
	EQ(write(nothing[1], "x", 1), 1);
	EQ(aio_suspend(list, 1, NULL), 0);
	EQ(aio_error(&cb), 0);
	EQ(aio_return(&cb), 1);
	done();
	return arg;
}

static void *writes(void *arg) {
	usleep(500);
	EQ(write(*(int *)arg, "x", 1), 1);
	return NULL;
}

static void *lists(void *arg) {
	int ends[2];
	char byte;
	EQ(pipe(ends), 0);
	for (int i = 0; i < WAITS; i++) {
		struct aiocb cb = reads(ends[0], &byte), *list[] = {NULL, &cb};
		pthread_t writer = start(writes, &ends[1]);
		EQ(lio_listio(LIO_WAIT, list, 2, NULL), 0);
		EQ(aio_return(&cb), 1);
		join(writer);
	}
	done();
	return arg;
}

/* The CPU time that the process has used. */
static long used_us(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void *sleeps(void *arg) {
	struct timespec some = {0, 5000000};
	for (int i = 0; i < SLEEPS; i++) {
		long begun = used_us();
		EQ(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &some, NULL), 0);
		CHECK(used_us() - begun >= 5000);
	}
	EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &some, NULL), EINVAL);
	done();
	return arg;
}

int main(void) {
	void *(*const kinds[KINDS])(void *) = {suspends, lists, sleeps, suspends, lists, sleeps, suspends};
	test_begin();
	beside_signals(kinds, KINDS, 0);
	return test_end();
}
