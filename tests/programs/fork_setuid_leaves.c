/* setuid and its family reach all other threads while main ends. Without privileges there is nothing to see. There is nothing to compare with: glibc's waits now and
 * then for an answer of main, which has gone. SEC-2 */
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static volatile int go, changed, wrong;

static void *looks(void *arg) {
	while (!changed)
		usleep(50);
	for (int i = 0; i < 5; i++) {
		for (volatile int k = 0; k < 3000; k++)
			;
		if (syscall(SYS_geteuid) != NOBODY)
			__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
		usleep(20);
	}
	return arg;
}

static void *changes_once(void *delay) {
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, looks, NULL);
	usleep(200);
	go = 1;
	for (volatile int k = 0; k < *(int *)delay; k++)
		;
	int r = setresuid(NOBODY, NOBODY, NOBODY);
	changed = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	_exit(r != 0 || wrong ? 1 : 0);
}

static int leaves(void) {
	int bad = 0;
	for (int i = 0; i < 60; i++) {
		int status = -1, delay = i * 137 % 4000;
		pthread_t t;
		pid_t pid = fork();
		if (pid == 0) {
			alarm(20);
			pthread_create(&t, NULL, changes_once, &delay);
			while (!go)
				;
			pthread_exit(NULL);
		}
		waitpid(pid, &status, 0);
		bad += status != 0;
	}
	return bad;
}

int main(void) {
	printf("while main ends: %d\n", geteuid() == 0 ? leaves() : 0);
	return 0;
}
