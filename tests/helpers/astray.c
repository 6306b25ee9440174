/* A thread that computes and never comes by the runtime, as long as standard input is open. Main waits a moment, for which the other has to make room, and then for good. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "computes.h"

static volatile unsigned long count;

int main(void) {
	char c;
	pthread_t t;
	if (pthread_create(&t, NULL, computes, (void *)&count) != 0)
		abort();
	while (count == 0)
		usleep(1000);
	for (int i = 0; i < 3; i++)
		usleep(3000);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		continue;
	return 0;
}
