/* Calls with an address where there is no memory of the kind that the kernel wants: what it says. Shared by the sec_*addresses programs. */
#ifndef BAD_ADDRESS_TEST_H
#define BAD_ADDRESS_TEST_H

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TELL(call)                                                                                          \
	do {                                                                                                \
		errno = 0;                                                                                  \
		long result = (long)(call);                                                                 \
		printf("%s: %ld %s\n", #call, result, result == -1 && errno ? strerrorname_np(errno) : ""); \
	} while (0)

static int sv[2], ep;
static uint32_t word;
static struct pollfd pf;
static struct epoll_event ev;
static sigset_t set;
static struct mmsghdr mm;
static struct timespec soon = {0, 1000};

/* Given or not given makes a difference where NULL is allowed. */
static void optional(void *bad) {
	struct {
		void *mask;
		size_t bytes;
	} packed = {bad, 8};
	TELL(ppoll(&pf, 1, &soon, bad));
	TELL(select(1, bad, NULL, NULL, (struct timeval[]){{0, 1}}));
	TELL(select(1, NULL, bad, NULL, (struct timeval[]){{0, 1}}));
	TELL(select(0, bad, NULL, NULL, (struct timeval[]){{0, 1}}));
	TELL(select(-1, bad, NULL, NULL, (struct timeval[]){{0, 1}}));
	TELL(pselect(1, NULL, NULL, NULL, &soon, bad));
	TELL(pselect(-1, NULL, NULL, NULL, &soon, bad));
	TELL(pselect(1, NULL, NULL, bad, &soon, NULL));
	TELL(syscall(SYS_pselect6, 1, NULL, NULL, NULL, &soon, bad));
	TELL(syscall(SYS_pselect6, 1, NULL, NULL, NULL, &soon, &packed));
	TELL(syscall(SYS_ppoll, &pf, 1, &soon, bad, 8));
	TELL(epoll_pwait(ep, &ev, 1, 1, bad));
	TELL(epoll_pwait(-1, &ev, 1, 1, bad));
	TELL(epoll_pwait(ep, &ev, 0, 1, bad));
	TELL(epoll_pwait2(ep, &ev, 1, &soon, bad));
	TELL(recvmmsg(sv[0], &mm, 1, MSG_DONTWAIT, bad));
	TELL(recvmmsg(-1, &mm, 1, 0, bad));
	TELL(sigaltstack(bad, NULL));
	TELL(sigaltstack(NULL, bad));
	TELL(sigprocmask(SIG_BLOCK, &set, bad));
	TELL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, bad, 8));
	pthread_kill(pthread_self(), SIGUSR1);
	TELL(sigtimedwait(&set, bad, &soon));
	TELL(sigtimedwait(&set, NULL, &soon));
	TELL(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, bad));
}

/* NULL would wait for ever. */
static void for_ever(void *bad) {
	TELL(syscall(SYS_ppoll, &pf, 1, bad, NULL, 8));
	TELL(syscall(SYS_pselect6, 1, NULL, NULL, NULL, bad, NULL));
#ifdef SYS_select
	TELL(syscall(SYS_select, 1, NULL, NULL, NULL, bad));
#endif
	TELL(epoll_pwait2(ep, &ev, 1, bad, NULL));
	TELL(recvmmsg(sv[0], &mm, 1, 0, bad));
	TELL(sigtimedwait(&set, NULL, bad));
	TELL(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, bad));
	TELL(syscall(SYS_futex, &word, FUTEX_WAIT, 0, bad));
	TELL(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, bad, NULL, -1));
}

static void required(void *bad) {
	int id;
	struct sigevent event = {.sigev_notify = SIGEV_NONE};
	TELL(sigsuspend(bad));
	TELL(syscall(SYS_rt_sigsuspend, bad, 8));
	TELL(sigpending(bad));
	TELL(sigtimedwait(bad, NULL, &soon));
	TELL(sigwaitinfo(bad, NULL));
	TELL(sigwait(bad, &id));
	TELL(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, bad));
	TELL(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, bad));
	TELL(clock_gettime(CLOCK_THREAD_CPUTIME_ID, bad));
	TELL(syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, bad));
	TELL(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, bad));
	TELL(syscall(SYS_futex, bad, FUTEX_WAIT_PRIVATE, 0, &soon));
	TELL(syscall(SYS_futex, bad, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, -1));
	TELL(syscall(SYS_futex, bad, FUTEX_WAKE_PRIVATE, 1));
	TELL(syscall(SYS_futex, bad, FUTEX_CMP_REQUEUE_PRIVATE, 1, 1, &word, 0));
	TELL(syscall(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, 1, bad, 0));
	TELL(sched_getaffinity(0, 8, bad));
	TELL(sched_setaffinity(0, 8, bad));
	TELL(sched_getparam(0, bad) == -1);
	TELL(sched_setparam(0, bad) == -1);
	TELL(sched_setscheduler(0, SCHED_OTHER, bad) == -1);
	TELL(prctl(PR_SET_NAME, bad));
	TELL(prctl(PR_GET_NAME, bad));
	TELL(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, bad));
	TELL(syscall(SYS_clone3, bad, 88));
}

static void bad_address_begin(void) {
	alarm(20);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) != 0)
		_exit(1);
	pf = (struct pollfd){sv[0], POLLIN, 0};
	ep = epoll_create1(0);
}

#endif
