/* Calls by number that wait so long and no longer: signals for other threads neither end them nor make them last, and a time that is none is refused. */
#include "undisturbed.h"
#include "uring_test.h"

#include <linux/aio_abi.h>
#include <sys/ipc.h>
#include <sys/sem.h>

enum { WAITS = 200, WAITERS = 4 };

static struct timespec soon = {0, 1000000}, none = {0, -1};
static int sem;

static void *semaphores(void *arg) {
	struct sembuf take = {0, -1, 0};
	for (int i = 0; i < WAITS; i++) {
		EQ(syscall(SYS_semtimedop, sem, &take, 1, &soon), -1);
		EQ(errno, EAGAIN);
	}
	EQ(syscall(SYS_semtimedop, sem, &take, 1, &none), -1);
	EQ(errno, EINVAL);
	done();
	return arg;
}

static void *contexts(void *pwaits) {
	long n = pwaits ? SYS_io_pgetevents : SYS_io_getevents;
	aio_context_t context = 0;
	struct io_event e;
	bool made = syscall(SYS_io_setup, 1, &context) == 0;
	for (int i = 0; made && i < WAITS; i++)
		EQ(syscall(n, context, 1, 1, &e, &soon, NULL), 0);
	if (made)
		EQ(syscall(SYS_io_destroy, context), 0);
	done();
	return NULL;
}

static void *events(void *arg) {
	(void)arg;
	return contexts(NULL);
}

static void *pevents(void *arg) {
	(void)arg;
	return contexts(&soon);
}

static long enters(int fd, const struct timespec *time) {
	struct io_uring_getevents_arg a = {.ts = (uintptr_t)time};
	return syscall(SYS_io_uring_enter, fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &a, sizeof a);
}

static void *rings(void *arg) {
	struct io_uring_params p = {0};
	int fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
	for (int i = 0; fd >= 0 && p.features & IORING_FEAT_EXT_ARG && i < WAITS; i++) {
		EQ(enters(fd, &soon), -1);
		EQ(errno, ETIME);
	}
	if (fd >= 0)
		close(fd);
	done();
	return arg;
}

int main(void) {
	void *(*const waiters[WAITERS])(void *) = {semaphores, events, pevents, rings};
	test_begin();
	sem = semget(IPC_PRIVATE, 1, 0600);
	CHECK(sem >= 0);
	beside_signals(waiters, WAITERS, SA_RESTART);
	semctl(sem, 0, IPC_RMID);
	return test_end();
}
