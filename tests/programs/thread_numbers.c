/* Calls that take the number of a thread, raw ones and libc's: one's own, another thread's, main's, nobody's (SEC-1). */
#include "sync_test.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define TELL(call)                                                                                            \
	do {                                                                                                  \
		errno = 0;                                                                                    \
		long result = (long)(call);                                                                   \
		printf("  %s: %ld %s\n", #call, result, result == -1 && errno ? strerrorname_np(errno) : ""); \
	} while (0)

enum { NO_THREAD = 0x3fffffff, PROCESS = 1 /* IOPRIO_WHO_PROCESS */, IDLE = 3 << 13 };

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t more[4];
};

static void asks(pid_t tid) {
	struct attr attr = {.size = sizeof attr};
	struct rlimit own, seen;
	struct timespec slice;
	void *list;
	size_t length;
	char from[] = "hello", to[sizeof from] = "";
	struct iovec local = {to, sizeof to}, remote = {from, sizeof from};
	struct {
		unsigned version;
		int pid;
	} head = {0x20080522, tid};
	unsigned caps[6];
	TELL(syscall(SYS_sched_getattr, tid, &attr, sizeof attr, 0));
	printf("  policy %u nice %d priority %u\n", attr.policy, attr.nice, attr.priority);
	TELL(syscall(SYS_sched_getattr, tid, NULL, sizeof attr, 0));
	TELL(syscall(SYS_ioprio_get, PROCESS, tid));
	TELL(syscall(SYS_getpriority, PRIO_PROCESS, tid));
	TELL(getpriority(PRIO_PROCESS, tid));
	TELL(syscall(SYS_get_robust_list, tid, &list, &length));
	TELL(syscall(SYS_sched_rr_get_interval, tid, &slice));
	TELL(sched_rr_get_interval(tid, &slice));
	TELL(syscall(SYS_kcmp, getpid(), tid, 1, 0, 0));
	TELL(syscall(SYS_kcmp, tid, getpid(), 1, 0, 0));
	getrlimit(RLIMIT_NOFILE, &own);
	seen = (struct rlimit){0};
	TELL(syscall(SYS_prlimit64, tid, RLIMIT_NOFILE, NULL, &seen));
	TELL(prlimit(tid, RLIMIT_NOFILE, NULL, &seen));
	printf("  same limit %d\n", seen.rlim_cur == own.rlim_cur);
	printf("  group %d %d session %d %d\n", getpgid(tid) == getpgrp(), syscall(SYS_getpgid, tid) == getpgrp(),
	       getsid(tid) == getsid(0), syscall(SYS_getsid, tid) == getsid(0));
	TELL(process_vm_readv(tid, &local, 1, &remote, 1, 0));
	TELL(syscall(SYS_process_vm_writev, tid, &local, 1, &remote, 1, 0));
	printf("  %s\n", to);
	TELL(syscall(SYS_capget, &head, caps));
	head.version = 1;
	TELL(syscall(SYS_capget, &head, NULL));
	printf("  version %x\n", head.version);
	if (tid != getpid() && tid != 0) {
		TELL(setpgid(tid, 0));
		printf("  no descriptor %d\n", syscall(SYS_pidfd_open, tid, 0) == -1);
	}
}

static pthread_barrier_t barrier;
static pid_t tid_of_waiter;

static void *waits(void *arg) {
	tid_of_waiter = gettid();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return arg;
}

static void *heir(void *arg) {
	printf(" inherited\n");
	asks(gettid());
	return arg;
}

static void *sets(void *arg) {
	struct attr attr = {.size = sizeof attr, .policy = SCHED_BATCH, .nice = 4};
	printf(" own\n");
	asks(gettid());
	printf(" set\n");
	TELL(syscall(SYS_sched_setattr, gettid(), &attr, 0));
	TELL(syscall(SYS_ioprio_set, PROCESS, gettid(), IDLE));
	TELL(sched_getscheduler(0));
	asks(gettid());
	asks(0);
	TELL(syscall(SYS_setpriority, PRIO_PROCESS, gettid(), 5));
	TELL(syscall(SYS_getpriority, PRIO_PROCESS, gettid()));
	attr.policy = 77;
	TELL(syscall(SYS_sched_setattr, gettid(), &attr, 0));
	TELL(syscall(SYS_sched_setattr, gettid(), NULL, 0));
	TELL(syscall(SYS_set_tid_address, arg) == gettid());
	pthread_barrier_wait(&barrier);
	return arg;
}

static void *reads(void *arg) {
	printf(" main's\n");
	asks(getpid());
	printf(" another's\n");
	asks(tid_of_waiter);
	printf(" nobody's\n");
	asks(NO_THREAD);
	return arg;
}

static void *begets(void *arg) {
	struct attr attr = {.size = sizeof attr, .policy = SCHED_BATCH, .nice = 2};
	TELL(syscall(SYS_sched_setattr, gettid(), &attr, 0));
	join(start(heir, NULL));
	return arg;
}

int main(void) {
	test_begin();
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_t waiter = start(waits, NULL);
	pthread_barrier_wait(&barrier);
	join(start(reads, NULL));
	join(start(begets, NULL));
	asks(getpid());
	asks(tid_of_waiter);
	pthread_barrier_wait(&barrier);
	join(waiter);
	/* The last: where it tells the kernel to clear, a joiner on kernel threads would look in vain. */
	static int cleared;
	pthread_attr_t detached;
	pthread_t t;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	EQ(pthread_create(&t, &detached, sets, &cleared), 0);
	pthread_barrier_wait(&barrier);
	return test_end();
}
