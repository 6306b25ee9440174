/* exit() from a thread other than main ends the process with its status; handlers run on that thread. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_t exiting;

static void at_exit(void) {
	puts(pthread_equal(pthread_self(), exiting) ? "handler on the thread that called exit" : "handler elsewhere");
}

static void *thread(void *arg) {
	exiting = pthread_self();
	exit(17);
	return arg;
}

int main(void) {
	pthread_t t;
	atexit(at_exit);
	if (pthread_create(&t, NULL, thread, NULL) == 0)
		pthread_join(t, NULL);
	puts("not reached");
	return 1;
}
