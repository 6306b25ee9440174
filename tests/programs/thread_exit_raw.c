/* A thread that leaves by the kernel's exit(2), as those do who know nothing of pthreads: none of its handlers and destructors are run, who joins it is told, and
 * libc counts it as if it still were there. So nobody is the last thread: the process ends when all have left, and without exit handlers. */
#include "sync_test.h"

#include <sys/syscall.h>
#include <sys/wait.h>

static pthread_key_t key;
static pthread_t main_thread;
static pthread_mutex_t robust;
static int how;

static void says(void *text) {
	puts(text);
}

static void at_exit(void) {
	puts("exit handler");
	fflush(stdout);
}

static void *leaves(void *arg) {
	pthread_setspecific(key, "destructor");
	pthread_mutex_lock(&robust);
	pthread_cleanup_push(says, "cleanup");
	syscall(SYS_exit, 3);
	pthread_cleanup_pop(0);
	return arg;
}

static void joined(void) {
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &attr);
	for (int i = 0; i < 20; i++) {
		void *result = (void *)99;
		pthread_t t = start(leaves, NULL);
		EQ(pthread_join(t, &result), 0);
		if (i == 0)
			EQ(result, 0);
		EQ(pthread_mutex_lock(&robust), EOWNERDEAD);
		pthread_mutex_consistent(&robust);
		pthread_mutex_unlock(&robust);
	}
	step("joined");
}

/* The others end while main waits or is gone; the last of them does it in one way or another. */
static void *ends(void *arg) {
	if (how != 0)
		pthread_join(main_thread, NULL);
	if (how == 2)
		syscall(SYS_exit, 4); /* which of them is the process's status depends on the kernel */
	return arg;
}

static void *vanishes(void *arg) {
	syscall(SYS_exit, 5);
	return arg;
}

static void child(void) {
	main_thread = pthread_self();
	atexit(at_exit);
	join(start(vanishes, NULL));
	pthread_t t = start(ends, NULL);
	if (how == 0)
		join(t);
	else
		pthread_detach(t);
	if (how == 2)
		syscall(SYS_exit, 4);
	if (how == 1)
		syscall(SYS_exit, 0);
	pthread_exit((void *)8);
}

static void last(void) {
	for (how = 0; how < 4; how++) {
		int status = 0;
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			alarm(10);
			child();
		}
		EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFEXITED(status));
		printf("%d: status %d\n", how, WEXITSTATUS(status));
	}
}

int main(void) {
	test_begin();
	EQ(pthread_key_create(&key, says), 0);
	last();
	joined();
	last();
	return test_end();
}
