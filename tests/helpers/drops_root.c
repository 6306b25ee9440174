/* A daemon that begins as root and goes on as nobody: "early" makes its first thread before, otherwise afterwards. Prints "ready" and its pid; ends when standard
 * input does. */
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NOBODY 65534

static void *nothing(void *arg) {
	return arg;
}

static void thread(void) {
	pthread_t t;
	if (pthread_create(&t, NULL, nothing, NULL) == 0)
		pthread_join(t, NULL);
}

int main(int argc, char **argv) {
	char byte;
	if (argc > 1 && strcmp(argv[1], "early") == 0)
		thread();
	if (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
		return 1;
	thread();
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
