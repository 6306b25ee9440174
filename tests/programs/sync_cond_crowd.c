/* A crowd in front of one lock as CPython's interpreter lock makes it: a flag under a mutex with a condition variable, whose waiters
 * time out and wait again all the time. Timeouts far outnumber hand-overs; everybody must get its turns, and nobody two at once. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 400, TURNS = 20, WAIT_NS = 200000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed;
static bool held;
static int inside, turns;
static int pipes[2];
static atomic_int timeouts;

static void take(void) {
	pthread_mutex_lock(&mutex);
	while (held) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += WAIT_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (pthread_cond_timedwait(&freed, &mutex, &until))
			atomic_fetch_add(&timeouts, 1);
	}
	held = true;
	pthread_mutex_unlock(&mutex);
}

static void drop(void) {
	pthread_mutex_lock(&mutex);
	held = false;
	pthread_cond_signal(&freed);
	pthread_mutex_unlock(&mutex);
}

static void *work(void *unused) {
	char byte = 0;
	(void)unused;
	for (int i = 0; i < TURNS; i++) {
		take();
		if (++inside != 1)
			printf("two at once\n");
		turns++;
		inside--;
		drop();
		/* A call that may block, as between two turns of an interpreter. */
		if (write(pipes[1], &byte, 1) != 1 || read(pipes[0], &byte, 1) != 1)
			perror("pipe");
	}
	return NULL;
}

int main(void) {
	pthread_t thread[THREADS];
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&freed, &attr);
	if (pipe(pipes) != 0)
		return 1;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, work, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	printf("%d turns\n", turns);
	return 0;
}
