/* How kernel threads are woken is goshim's affair (GOSHIM=batch): while they wait for pipes, the policy of every thread is the one that it has, as is that of its children, by fork,
 * vfork, posix_spawn, system, popen and clone, of threads that have set something of their own, of those that libc makes for timers, queues and aio, and of the program that it
 * becomes. A child asks the kernel itself, and so does libc's thread. */
#include "pairs.h"

#include <aio.h>
#include <mqueue.h>
#include <semaphore.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAIRS = 4, ROUNDS = 30 };

extern char **environ;
static char self[4096];

static int ended(pid_t pid) {
	int status = -1;
	EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void children(void) {
	char command[4200], *argv[] = {self, "say", NULL};
	pid_t pid;
	FILE *f;
	if ((pid = fork()) == 0)
		_exit(kernel_says());
	EQ(ended(pid), SCHED_OTHER);
	if ((pid = vfork()) == 0) {
		execv(self, argv);
		_exit(127);
	}
	EQ(ended(pid), SCHED_OTHER);
	EQ(posix_spawn(&pid, self, NULL, NULL, argv, environ), 0);
	EQ(ended(pid), SCHED_OTHER);
	if ((pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) == 0)
		_exit(kernel_says());
	EQ(ended(pid), SCHED_OTHER);
	snprintf(command, sizeof command, "exec '%s' say", self);
	EQ(WEXITSTATUS(system(command)), SCHED_OTHER);
	CHECK((f = popen(command, "r")) != NULL);
	EQ(WEXITSTATUS(pclose(f)), SCHED_OTHER);
}

/* In the memory of its parent, where it is said: it has no thread's identity of its own, so it does nothing else. */
static int asks(void *arg) {
	long policy;
#ifdef __x86_64__
	__asm__ volatile("syscall" : "=a"(policy) : "a"(SYS_sched_getscheduler), "D"(0) : "rcx", "r11", "memory");
#else
	register long call __asm__("x8") = SYS_sched_getscheduler, a __asm__("x0") = 0;
	__asm__ volatile("svc 0" : "+r"(a) : "r"(call) : "memory");
	policy = a;
#endif
	*(long *)arg = policy;
	return 0;
}

static void child_in_our_memory(void) {
	_Alignas(16) char stack[16384];
	long policy = -1;
	pid_t pid = clone(asks, stack + sizeof stack, CLONE_VM | SIGCHLD, &policy);
	EQ(ended(pid), 0);
	EQ(policy, SCHED_OTHER);
}

/* Long enough for the kernel thread to wait, too. */
static void wait_alone(void) {
	for (int i = 0; i < TURNS; i++)
		usleep(1000);
}

static sem_t told;
static int told_policy;

static void libcs_thread(union sigval value) {
	(void)value;
	told_policy = kernel_says();
	sem_post(&told);
}

static void libcs_threads(void) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = libcs_thread};
	struct itimerspec soon = {.it_value.tv_nsec = 1000000};
	struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 8};
	char name[64], c;
	timer_t timer;
	mqd_t queue;
	wait_alone();
	EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	EQ(timer_settime(timer, 0, &soon, NULL), 0);
	sem_wait(&told);
	EQ(told_policy, SCHED_OTHER);
	timer_delete(timer);

	wait_alone();
	struct aiocb request = {.aio_fildes = open("/dev/zero", O_RDONLY), .aio_buf = &c, .aio_nbytes = 1, .aio_sigevent = event};
	EQ(aio_read(&request), 0);
	sem_wait(&told);
	EQ(told_policy, SCHED_OTHER);
	close(request.aio_fildes);

	wait_alone();
	snprintf(name, sizeof name, "/fork_batch.%d", (int)getpid());
	if ((queue = mq_open(name, O_RDWR | O_CREAT, 0600, &attr)) < 0)
		return; /* none here */
	mq_unlink(name);
	EQ(mq_notify(queue, &event), 0);
	EQ(mq_send(queue, "x", 1, 0), 0);
	sem_wait(&told);
	EQ(told_policy, SCHED_OTHER);
	mq_close(queue);
}

struct pair {
	int to[2], from[2], ends[2];
	pthread_t t;
};

static void *pair_run(void *arg) {
	struct pair *p = arg;
	EQ(pipe(p->to), 0);
	EQ(pipe(p->from), 0);
	p->ends[0] = p->to[0];
	p->ends[1] = p->from[1];
	p->t = start(answers, p->ends);
	for (int i = 0; i < ROUNDS; i++) {
		wait_often(p->to[1], p->from[0]);
		usleep(1000); /* with nobody to run, the kernel thread waits as well */
		EQ(sched_getscheduler(0), SCHED_OTHER);
		if (i % 10 == 9)
			children();
		else if (i % 10 == 5)
			child_in_our_memory();
	}
	/* It has a kernel thread of its own now, and what it makes is made from that one's. */
	EQ(setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0)), 0);
	wait_often(p->to[1], p->from[0]);
	EQ(kernel_says(), SCHED_OTHER);
	children();
	child_in_our_memory();
	close(p->to[1]);
	join(p->t);
	return NULL;
}

static void *libcs_threads_of(void *arg) {
	libcs_threads();
	return arg;
}

static void *becomes_another(void *arg) {
	char *argv[] = {self, arg, NULL};
	usleep(20000);
	if (strcmp(arg, "become") == 0)
		syscall(SYS_execve, self, argv, environ);
	execl(self, self, arg, NULL);
	return NULL;
}

int main(int argc, char **argv) {
	struct pair pairs[PAIRS];
	pthread_t t[PAIRS];
	if (argc > 1 && strcmp(argv[1], "say") == 0)
		return kernel_says();
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n < 0 ? 0 : n] = '\0';
	if (argc > 1) {
		EQ(kernel_says(), SCHED_OTHER);
		puts("another");
		if (strcmp(argv[1], "become") == 0) {
			fflush(stdout);
			join(start(becomes_another, "again"));
		}
		return test_end();
	}
	test_begin();
	join(start(libcs_threads_of, NULL));
	for (int i = 0; i < PAIRS; i++)
		t[i] = start(pair_run, &pairs[i]);
	for (int i = 0; i < PAIRS; i++)
		join(t[i]);
	EQ(sched_getscheduler(0), SCHED_OTHER);
	puts("as before");
	fflush(stdout);
	join(start(becomes_another, "become"));
	return 1;
}
