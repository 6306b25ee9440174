/* main ends with pthread_exit(): the others go on, the process ends with status 0 when the last one has, and exit
 * handlers run (EXT-2). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_t main_thread;

static void at_exit(void) {
	puts("exit handler");
}

static void cleanup(void *arg) {
	printf("cleanup of %s\n", (const char *)arg);
}

static void *last_one(void *arg) {
	void *result;
	(void)arg;
	printf("joined main: %d\n", pthread_join(main_thread, &result));
	printf("main's result: %s\n", (const char *)result);
	fflush(stdout);
	usleep(20000);
	puts("the last one ends");
	return NULL;
}

int main(void) {
	pthread_t thread;
	atexit(at_exit);
	main_thread = pthread_self();
	if (pthread_create(&thread, NULL, last_one, NULL) != 0)
		return 1;
	pthread_detach(thread);
	pthread_cleanup_push(cleanup, "main");
	pthread_exit("done");
	pthread_cleanup_pop(0);
}
