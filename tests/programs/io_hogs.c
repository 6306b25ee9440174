/* Threads that compute without end on every CPU, and a conversation on a socket that goes on all the same (POL-7). */
#include "io_test.h"

enum { HOGS = 12, TURNS = 100 };
static volatile int stop;

static void *hog(void *arg) {
	volatile unsigned n = 0;
	while (!stop)
		n++;
	return arg;
}

static void *echoes(void *arg) {
	int fd = *(int *)arg;
	char c;
	while (read(fd, &c, 1) == 1)
		write_all(fd, &c, 1);
	return NULL;
}

int main(void) {
	pthread_t hogs[HOGS];
	int fds[2];
	alarm(60);
	tcp_pair(fds);
	for (int i = 0; i < HOGS; i++)
		hogs[i] = start(hog, NULL);
	pthread_t t = start(echoes, &fds[1]);
	for (int i = 0; i < TURNS; i++) {
		char c = (char)i, back = 0;
		write_all(fds[0], &c, 1);
		EQ(read(fds[0], &back, 1), 1);
		EQ(back, c);
	}
	done("conversation");
	stop = 1;
	close(fds[0]);
	join(t);
	for (int i = 0; i < HOGS; i++)
		join(hogs[i]);
	return failures != 0;
}
