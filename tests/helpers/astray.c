/* A thread that computes and never comes by the runtime, as long as standard input is open. Main waits a moment, for which the other has to make room, and then for good. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile unsigned long count;

static void *computes(void *arg) {
	unsigned long a = 1, b = 2, c = 3; /* only counting would look like waiting for somebody */
	(void)arg;
	for (;; count = a) {
		a = (a ^ a << 13) + b;
		b = (b ^ b >> 7) + c;
		c = (c ^ c << 17) + a;
	}
	return NULL;
}

int main(void) {
	char c;
	pthread_t t;
	if (pthread_create(&t, NULL, computes, NULL) != 0)
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
