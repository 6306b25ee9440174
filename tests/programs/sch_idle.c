/* A process whose 100 threads all wait uses no CPU, one hundredth of one at most (SCH-2): waiting for mutexes, conditions, semaphores, pipes, sockets, sleeps, a poll. */
#include "sync_test.h"

#include <poll.h>
#include <semaphore.h>
#include <sys/socket.h>

enum { N = 100 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, other = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static int fds[2], sockets[2];
static bool stop;
static _Atomic int waiting;

static void *waits(void *arg) {
	char c;
	struct pollfd p = {fds[0], POLLIN, 0};
	waiting++;
	switch ((long)arg % 7) {
	case 0:
		pthread_mutex_lock(&mutex);
		pthread_mutex_unlock(&mutex);
		break;
	case 1:
		pthread_mutex_lock(&other);
		while (!stop)
			pthread_cond_wait(&cond, &other);
		pthread_mutex_unlock(&other);
		break;
	case 2:
		while (sem_wait(&sem) != 0)
			;
		break;
	case 3:
		return (void *)(read(fds[0], &c, 1) - 1);
	case 4:
		return (void *)(recv(sockets[0], &c, 1, 0) - 1);
	case 5:
		sleep(2);
		break;
	default:
		return (void *)(long)(poll(&p, 1, 2000) < 0);
	}
	return NULL;
}

int main(void) {
	pthread_t t[N];
	test_begin();
	sem_init(&sem, 0, 0);
	if (pipe(fds) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0)
		return 1;
	pthread_mutex_lock(&mutex);
	for (long i = 0; i < N; i++)
		t[i] = start(waits, (void *)i);
	while (waiting < N)
		sched_yield();
	usleep(100000);
	long long before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	usleep(1500000);
	long long used = now_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
	puts(used < 15000000 ? "idle" : "not idle");
	fprintf(stderr, "%lld us of CPU\n", used / 1000);
	pthread_mutex_unlock(&mutex);
	pthread_mutex_lock(&other);
	stop = true;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&other);
	for (int i = 0; i < N; i++) {
		sem_post(&sem);
		EQ(write(fds[1], "x", 1), 1);
		EQ(write(sockets[1], "x", 1), 1);
	}
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	return test_end();
}
