/* How kernel threads are woken is goshim's affair (GOSHIM=batch): while they wait for pipes, the policy of every thread is the one that it has, as is that of its children, by fork,
 * vfork, posix_spawn, system, popen and clone, of threads that have set something of their own, and of the program that it becomes. A child asks the kernel itself. */
#include "sync_test.h"

#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAIRS = 4, ROUNDS = 30, TURNS = 20 };

extern char **environ;
static char self[4096];

static int ended(pid_t pid) {
	int status = -1;
	EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int kernel_says(void) {
	return (int)syscall(SYS_sched_getscheduler, 0);
}

/* Those who wait most of the time. */
static void *answers(void *arg) {
	int *fd = arg;
	char c;
	while (read(fd[0], &c, 1) == 1)
		if (write(fd[1], &c, 1) != 1)
			break;
	return NULL;
}

static void wait_often(int *to, int *from) {
	char c = 'x';
	for (int i = 0; i < TURNS; i++) {
		EQ(write(to[1], &c, 1), 1);
		EQ(read(from[0], &c, 1), 1);
	}
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
		wait_often(p->to, p->from);
		usleep(1000); /* with nobody to run, the kernel thread waits as well */
		EQ(sched_getscheduler(0), SCHED_OTHER);
		if (i % 10 == 9)
			children();
	}
	/* It has a kernel thread of its own now, and what it makes is made from that one's. */
	EQ(setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0)), 0);
	wait_often(p->to, p->from);
	EQ(kernel_says(), SCHED_OTHER);
	children();
	close(p->to[1]);
	join(p->t);
	return NULL;
}

static void *becomes_another(void *arg) {
	usleep(20000);
	execl(self, self, arg, NULL);
	return NULL;
}

int main(int argc, char **argv) {
	struct pair pairs[PAIRS];
	pthread_t t[PAIRS];
	if (argc > 1 && strcmp(argv[1], "say") == 0)
		return kernel_says();
	if (argc > 1) {
		EQ(kernel_says(), SCHED_OTHER);
		puts("another");
		return test_end();
	}
	test_begin();
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n < 0 ? 0 : n] = '\0';
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
