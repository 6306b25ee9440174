/* A filter of system calls that kills who reads a process's memory by one, which no thread of NPTL's does, while a thread waits that has used much of its stack: there before the program,
 * and installed by it (SEC-3). The stack stays as it is. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "sync_test.h"

enum { DEEP = 512 << 10, WAIT_US = 2500000, CHILDREN = 2 };

static sem_t used, over;

static void install(void) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof code / sizeof *code, code};
	EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter), 0);
}

static __attribute__((noinline)) void deep(void) {
	volatile char all[DEEP];
	for (size_t i = 0; i < sizeof all; i += 1024)
		all[i] = 1;
}

static void *waits(void *arg) {
	deep();
	sem_post(&used);
	while (sem_wait(&over) != 0)
		;
	return arg;
}

static int threads(bool filters) {
	sem_init(&used, 0, 0);
	sem_init(&over, 0, 0);
	pthread_t t = start(waits, NULL);
	while (sem_wait(&used) != 0)
		;
	if (filters)
		install();
	usleep(WAIT_US); /* GOSHIM=trim=1 is over */
	sem_post(&over);
	join(t);
	return failures != 0;
}

static pid_t child(bool before) {
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	if (!before)
		_exit(threads(true));
	install();
	execl("/proc/self/exe", "child", "filtered", NULL);
	_exit(1);
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1)
		return threads(false);
	pid_t pid[CHILDREN] = {child(true), child(false)};
	join(start(waits, (sem_init(&used, 0, 0), sem_init(&over, 0, 1), NULL)));
	for (int i = 0; i < CHILDREN; i++) {
		int status = -1;
		EQ(waitpid(pid[i], &status, 0), pid[i]);
		EQ(status, 0);
	}
	return test_end();
}
