/* The main thread's crash is the process's, GOSHIM=panic=isolate or not. */
#include <pthread.h>
#include <stdio.h>

static volatile int zero;

static void *nothing(void *arg) {
	return arg;
}

int main(void) {
	pthread_t thread;
	pthread_create(&thread, NULL, nothing, NULL);
	pthread_join(thread, NULL);
	puts("main crashes");
	fflush(stdout);
	*(volatile int *)(long)(zero + 8) = 1;
	puts("FAILED: not reached");
}
