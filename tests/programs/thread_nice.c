/* nice() is about the thread that calls it, whatever it runs on by and by: others, and threads made later by others, keep theirs. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_barrier_t barrier;

static int mine(void) { return getpriority(PRIO_PROCESS, 0); }

static void *nicer(void *arg) {
	(void)arg;
	errno = EXDEV;
	int r = nice(3);
	printf("nice(3): %d, errno kept: %d\n", r, errno == EXDEV);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	usleep(1000);
	printf("after a while: %d\n", mine());
	r = nice(0);
	printf("nice(0): %d\n", r);
	r = nice(100);
	printf("nice(100): %d\n", r);
	return NULL;
}

static void *other(void *arg) {
	printf("%s: %d\n", (const char *)arg, mine());
	return NULL;
}

static void look(const char *who) {
	pthread_t t;
	pthread_create(&t, NULL, other, (void *)who);
	pthread_join(t, NULL);
}

/* All threads of a group: those there are. */
static void *in_group(void *arg) {
	(void)arg;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	printf("in the group: %d\n", mine());
	return NULL;
}

static void group(void) {
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		pthread_t t;
		setpgid(0, 0);
		pthread_create(&t, NULL, in_group, NULL);
		pthread_barrier_wait(&barrier);
		printf("of the group: %d\n", setpriority(PRIO_PGRP, 0, 9));
		pthread_barrier_wait(&barrier);
		pthread_join(t, NULL);
		look("after that");
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

int main(void) {
	pthread_t t;
	pthread_barrier_init(&barrier, NULL, 2);
	look("before");
	pthread_create(&t, NULL, nicer, NULL);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 5; i++)
		look("meanwhile");
	printf("main: %d\n", mine());
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
	for (int i = 0; i < 5; i++)
		look("afterwards");
	printf("main: %d\n", mine());
	printf("nice(1): %d\n", nice(1));
	look("main's");
	group();
	return 0;
}
