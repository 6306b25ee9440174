/* Threads that never let go of the CPU: everybody else goes on, and the process ends when main says so. */
#include <pthread.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn, pipe_fds[2];

static void *forever(void *arg) {
	(void)arg;
	for (;;)
		__asm__ volatile("");
	return NULL;
}

static void *ping(void *arg) {
	int me = arg != NULL;
	for (int i = 0; i < 50; i++) {
		pthread_mutex_lock(&lock);
		while (turn != me)
			pthread_cond_wait(&cond, &lock);
		turn = !me;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *echo(void *arg) {
	char c;
	(void)arg;
	while (read(pipe_fds[0], &c, 1) == 1 && c != 'q')
		;
	return NULL;
}

int main(void) {
	pthread_t spin[3], a, b, e;
	struct timespec ms = {0, 1000000};
	if (pipe(pipe_fds))
		return 1;
	pthread_create(&e, NULL, echo, NULL);
	for (int i = 0; i < 3; i++)
		pthread_create(&spin[i], NULL, forever, NULL);
	pthread_create(&a, NULL, ping, NULL);
	pthread_create(&b, NULL, ping, &a);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	puts("ping-pong");
	for (int i = 0; i < 10; i++) {
		nanosleep(&ms, NULL);
		poll(NULL, 0, 1);
		if (write(pipe_fds[1], i == 9 ? "q" : "x", 1) != 1)
			return 1;
	}
	pthread_join(e, NULL);
	puts("sleeps and pipes");
	return 0;
}
