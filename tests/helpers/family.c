/* A tree of threads. "root" creates "child", which creates "grandchild", and "mayfly", which creates "orphan" and ends. "deep" is the last of a chain
 * of 20 below root. "deaf" has cancellation disabled. "stranger" is main's. Each says when it is cancelled. Prints "ready" and its pid; ends
 * when standard input does. */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sem_t up;

static void say(void *name) {
	char line[64];
	int n = snprintf(line, sizeof line, "%s is cancelled\n", (const char *)name);
	if (write(1, line, (size_t)n) != n)
		abort();
}

static void make(void *(*fn)(void *), void *arg) {
	pthread_t t;
	if (pthread_create(&t, NULL, fn, arg) != 0)
		abort();
	pthread_detach(t);
}

static void *wait_named(void *name) {
	pthread_setname_np(pthread_self(), name);
	pthread_cleanup_push(say, name);
	sem_post(&up);
	sleep(1000);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *deaf(void *arg) {
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return wait_named(arg);
}

static void *mayfly(void *arg) {
	make(wait_named, "orphan");
	return arg;
}

static void *chain(void *arg) {
	long left = (long)arg;
	if (left == 0)
		return wait_named("deep");
	make(chain, (void *)(left - 1));
	sleep(1000);
	return NULL;
}

static void *child(void *arg) {
	make(wait_named, "grandchild");
	return wait_named(arg);
}

static void *root(void *arg) {
	make(child, "child");
	make(mayfly, NULL);
	make(chain, (void *)20);
	make(deaf, "deaf");
	return wait_named(arg);
}

int main(void) {
	char byte;
	sem_init(&up, 0, 0);
	make(root, "root");
	make(wait_named, "stranger");
	for (int i = 0; i < 7; i++)
		sem_wait(&up);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	puts("end");
	return 0;
}
