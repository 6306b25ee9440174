/* A filter that the program installs for all its threads, which kills who touches how the kernel schedules: kernel threads that wait otherwise than the program asked (GOSHIM=batch)
 * have its policy before, and the children that they make afterwards. Before that a child of vfork that has its own, and a thread that has; meanwhile attempts that install nothing;
 * and who installs it has one of his own already. */
#include "never_scheduled.h"
#include "pairs.h"

#include <sys/prctl.h>
#include <sys/wait.h>

enum { PAIRS = 4, ROUNDS = 30 };

static pthread_barrier_t before, after;
static _Atomic bool enough;

static void child_asks(void) {
	int status = -1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(kernel_says());
	EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	EQ(WEXITSTATUS(status), SCHED_OTHER);
}

static void *pair_run(void *arg) {
	int to[2], from[2];
	EQ(pipe(to), 0);
	EQ(pipe(from), 0);
	int ends[2] = {to[0], from[1]};
	pthread_t t = start(answers, ends);
	for (int i = 0; i < ROUNDS; i++) {
		wait_often(to[1], from[0]);
		usleep(1000); /* with nobody to run, the kernel thread waits as well */
	}
	pthread_barrier_wait(&before);
	pthread_barrier_wait(&after);
	for (int i = 0; i < ROUNDS; i++) {
		wait_often(to[1], from[0]);
		usleep(1000); /* with nobody to run, the kernel thread waits as well */
	}
	child_asks();
	close(to[1]);
	join(t);
	return arg;
}

static void *own_filter(void *arg) {
	EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
	child_asks();
	return arg;
}

/* As one asks whether the kernel knows filters for all threads. */
static void *asks(void *arg) {
	while (!enough) {
		EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL), -1);
		usleep(100);
	}
	return arg;
}

static void child_with_filter(void) {
	int status = -1;
	pid_t pid = vfork();
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) != 0)
			_exit(99);
		_exit(kernel_says());
	}
	EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	EQ(WEXITSTATUS(status), SCHED_OTHER);
}

int main(void) {
	pthread_t t[PAIRS];
	test_begin();
	pthread_barrier_init(&before, NULL, PAIRS + 1);
	pthread_barrier_init(&after, NULL, PAIRS + 1);
	for (int i = 0; i < PAIRS; i++)
		t[i] = start(pair_run, NULL);
	pthread_barrier_wait(&before);
	EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL), -1);
	EQ(errno, EFAULT);
	EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL), -1);
	EQ(errno, EFAULT);
	child_with_filter();
	join(start(own_filter, NULL));
	pthread_t asking = start(asks, NULL);
	EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0); /* its own, at first */
	EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter), 0);
	pthread_barrier_wait(&after);
	for (int i = 0; i < PAIRS; i++)
		join(t[i]);
	enough = true;
	join(asking);
	return test_end();
}
