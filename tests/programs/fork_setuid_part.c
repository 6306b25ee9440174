/* setresuid() that main's kernel thread may do and another may not, because its thread gave up its rights by a system call of its own: libc ends the process by
 * abort(), and the program's handler of SIGABRT runs, once or more, before that. Which thread calls abort(), and where the others are, changes from
 * child to child. Without the rights to begin with, every call fails alike. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 60 };
static sem_t gave_up, never;

static void on_abort(int sig) {
	(void)sig;
	_exit(3);
}

static void *gives_up(void *arg) {
	syscall(SYS_setresuid, 2001, 2002, 2003);
	sem_post(&gave_up);
	sem_wait(&never);
	return arg;
}

static void *waits(void *arg) {
	for (int i = 0; i < 100; i++)
		sched_yield();
	sem_wait(&never);
	return arg;
}

static void child(int how) {
	struct rlimit none = {0, 0};
	pthread_t t;
	setrlimit(RLIMIT_CORE, &none);
	sem_init(&gave_up, 0, 0);
	sem_init(&never, 0, 0);
	signal(SIGABRT, on_abort);
	for (int i = 0; i < how % 4; i++)
		pthread_create(&t, NULL, waits, NULL);
	pthread_create(&t, NULL, gives_up, NULL);
	sem_wait(&gave_up);
	_exit(setresuid(1001, 1002, 1003) == 0 ? 4 : errno == EPERM ? 3 : 5);
}

int main(void) {
	int right = 0;
	alarm(60);
	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();
		int status = -1;
		if (pid == 0)
			child(i);
		waitpid(pid, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
			right++;
		else
			printf("child %d: status %#x\n", i, (unsigned)status);
	}
	printf("%d of %d as expected\n", right, CHILDREN);
	return 0;
}
