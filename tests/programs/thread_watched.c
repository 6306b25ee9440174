/* A thread by its number: what is set for another thread is what is read back; who owns a descriptor's signals gets them, and nobody else; a pidfd of a
 * thread tells of its end; a counter counts it. Also if it is another's, which is parked or computes. */
#include "sync_test.h"

#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define THREAD_FLAG O_EXCL /* PIDFD_THREAD */

struct attr {
	unsigned size, policy;
	unsigned long long flags;
	int nice;
	unsigned priority;
	unsigned long long runtime, deadline, period;
};

static volatile pid_t tid;
static pthread_barrier_t turn;
static int pair[2], pidfd = -1;
static __thread int mine;
static sem_t handled;
static volatile int by_owner, by_others, code_right;

static void meet(void) {
	pthread_barrier_wait(&turn);
}

static void on_signal(int sig, siginfo_t *info, void *context) {
	(void)context;
	if (mine)
		by_owner++;
	else
		by_others++;
	if (sig == SIGRTMIN)
		code_right += info->si_code == POLL_IN && info->si_fd == pair[0];
	sem_post(&handled);
}

static void *is_set(void *arg) {
	tid = (pid_t)syscall(SYS_gettid);
	meet();
	meet();
	struct attr a = {.size = sizeof a};
	EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
	EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
	EQ(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0), 0);
	printf("the thread's: policy %u nice %d\n", a.policy, a.nice);
	printf("nice %d, scheduler %d\n", getpriority(PRIO_PROCESS, (id_t)tid), sched_getscheduler(0));
	EQ(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 2)), 0);
	EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 2));
	meet();
	meet();
	return arg;
}

static void others_settings(void) {
	pthread_t t = start(is_set, NULL);
	struct attr a = {.size = sizeof a, .policy = SCHED_BATCH, .nice = 7};
	meet();
	EQ(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6)), 0);
	EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
	EQ(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, 5 << 13), -1);
	EQ(errno, EINVAL);
	EQ(syscall(SYS_sched_setattr, tid, &a, 0), 0);
	a = (struct attr){.size = sizeof a, .policy = 77};
	EQ(syscall(SYS_sched_setattr, tid, &a, 0), -1);
	EQ(errno, EINVAL);
	a = (struct attr){.size = sizeof a, .policy = SCHED_FIFO, .priority = 1000};
	EQ(syscall(SYS_sched_setattr, tid, &a, 0), -1);
	EQ(errno, EINVAL);
	EQ(syscall(SYS_sched_setattr, tid, NULL, 0), -1);
	EQ(errno, EINVAL);
	a = (struct attr){.size = sizeof a};
	EQ(syscall(SYS_sched_getattr, tid, &a, sizeof a, 0), 0);
	printf("another's: policy %u nice %d\n", a.policy, a.nice);
	meet();
	meet();
	EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 2));
	EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), 0);
	meet();
	join(t);
	while (syscall(SYS_tgkill, getpid(), tid, 0) == 0) /* the kernel lets the joiner go a moment before the number is nobody's */
		sched_yield();
	EQ(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6)), -1);
	EQ(errno, ESRCH);
}

static void owner_take(int type, pid_t pid, int sig) {
	struct f_owner_ex owner = {type, pid}, read_back = {0};
	EQ(fcntl(pair[0], F_SETOWN_EX, &owner), 0);
	EQ(fcntl(pair[0], F_GETOWN_EX, &read_back), 0);
	EQ(read_back.type, type);
	EQ(read_back.pid, pid);
	EQ(fcntl(pair[0], F_SETSIG, sig), 0);
	EQ(fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK), 0);
}

static void wait_handled(void) {
	while (sem_wait(&handled) != 0)
		;
}

static void *owns(void *arg) {
	char byte;
	mine = 1;
	owner_take(F_OWNER_TID, (pid_t)syscall(SYS_gettid), SIGRTMIN);
	meet();
	wait_handled(); /* parked */
	EQ(read(pair[0], &byte, 1), 1);
	meet();
	while (by_owner + by_others < 2) /* computing */
		;
	EQ(read(pair[0], &byte, 1), 1);
	EQ(fcntl(pair[0], F_SETSIG, 0), 0); /* SIGIO */
	meet();
	for (int i = 0; by_owner + by_others < 3 && i < 2000; i++)
		poll(NULL, 0, 1);
	EQ(read(pair[0], &byte, 1), 1);
	meet();
	return arg;
}


static void owners(void) {
	struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaction(SIGRTMIN, &act, NULL);
	sigaction(SIGIO, &act, NULL);
	sem_init(&handled, 0, 0);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pthread_t t = start(owns, NULL);
	meet();
	for (int i = 0; i < 3; i++) {
		EQ(write(pair[1], "x", 1), 1);
		meet();
	}
	join(t);
	printf("signals: %d to the owner, %d to others, %d right\n", by_owner, by_others, code_right);
	EQ(fcntl(pair[0], F_SETOWN_EX, (void *)8), -1);
	EQ(errno, EFAULT);
	close(pair[0]);
	close(pair[1]);
}

static void *watched(void *arg) {
	pidfd = (int)syscall(SYS_pidfd_open, syscall(SYS_gettid), THREAD_FLAG);
	meet();
	meet();
	return arg;
}

static void pidfds(void) {
	pthread_t t = start(watched, NULL);
	meet();
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	printf("pidfd: %d\n", pidfd >= 0);
	EQ(poll(&p, 1, 0), 0);
	meet();
	join(t);
	if (pidfd >= 0) {
		EQ(poll(&p, 1, 10000), 1);
		close(pidfd);
	}
}

static void *counted(void *arg) {
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1};
	int fd = (int)syscall(SYS_perf_event_open, &attr, syscall(SYS_gettid), -1, -1, 0);
	printf("counter: %d\n", fd >= 0);
	long long before = now_ns(CLOCK_THREAD_CPUTIME_ID), ran = 0;
	while (now_ns(CLOCK_THREAD_CPUTIME_ID) < before + 30000000)
		;
	if (fd >= 0) {
		EQ(read(fd, &ran, sizeof ran), sizeof ran);
		CHECK(ran >= 25000000);
		close(fd);
	}
	return arg;
}

/* What others watch of one that is parked, computes, or sleeps: its wait does not end by that. */
static sem_t parked_here;
static volatile int quit;

static void *is_watched(void *arg) {
	tid = (pid_t)syscall(SYS_gettid);
	meet();
	if (arg) {
		EQ(sem_wait(&parked_here), 0);
	} else {
		while (!quit)
			;
	}
	return arg;
}

static void by_another(void *how) {
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1};
	struct f_owner_ex owner = {.type = F_OWNER_TID}, read_back = {0};
	sem_init(&parked_here, 0, 0);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	quit = 0;
	pthread_t t = start(is_watched, how);
	meet();
	usleep(20000);
	owner.pid = tid;
	EQ(fcntl(pair[0], F_SETOWN_EX, &owner), 0);
	EQ(fcntl(pair[0], F_GETOWN_EX, &read_back), 0);
	EQ(read_back.pid, tid);
	int fd = (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, 0);
	pidfd = (int)syscall(SYS_pidfd_open, tid, THREAD_FLAG);
	printf("by another: counter %d, pidfd %d\n", fd >= 0, pidfd >= 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	EQ(poll(&p, 1, 0), 0);
	quit = 1;
	sem_post(&parked_here);
	join(t);
	if (pidfd >= 0)
		EQ(poll(&p, 1, 10000), 1);
	close(fd);
	close(pidfd);
	close(pair[0]);
	close(pair[1]);
}

/* In a process of its own: main has watched something before, and what it makes has its own kernel thread by that. */
static void by_another_of(void *how) {
	int status;
	pid_t child = fork();
	if (child == 0) {
		by_another(how);
		_exit(test_end());
	}
	EQ(waitpid(child, &status, 0), child);
	EQ(status, 0);
}

int main(void) {
	test_begin();
	setvbuf(stdout, NULL, _IONBF, 0);
	pthread_barrier_init(&turn, NULL, 2);
	others_settings();
	owners();
	pidfds();
	join(start(counted, NULL));
	by_another_of(NULL);
	by_another_of(&turn);
	return test_end();
}
