/* A program that uses threads in many ways and prints "works", or what did not. Its threads: "goroutines" or "kernel threads", as told by
 * whether the kernel could have given the numbers they have. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 50, KERNEL_NUMBERS = 4 << 20 /* its PID_MAX_LIMIT */ };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_key_t key;
static sem_t sem;
static int turn, sockets[2];
static _Atomic int destroyed, handled, known;

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			printf("failed: %s (%s)\n", #cond, strerror(errno)); \
			exit(1); \
		} \
	} while (0)

static void destroy(void *value) {
	(void)value;
	destroyed++;
}

static void handler(int signal) {
	(void)signal;
	handled++;
}

static void *thread(void *arg) {
	int mine = (int)(long)arg;
	char c;
	known += gettid() <= KERNEL_NUMBERS;
	CHECK(pthread_setspecific(key, arg ? arg : &key) == 0);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < ROUNDS; i++) {
		CHECK(pthread_mutex_lock(&mutex) == 0);
		while (turn != mine)
			CHECK(pthread_cond_wait(&cond, &mutex) == 0);
		turn = (turn + 1) % THREADS;
		CHECK(pthread_cond_broadcast(&cond) == 0);
		CHECK(pthread_mutex_unlock(&mutex) == 0);
		CHECK(pthread_rwlock_rdlock(&rwlock) == 0 && pthread_rwlock_unlock(&rwlock) == 0);
		CHECK(send(sockets[!(mine % 2)], "x", 1, 0) == 1);
		CHECK(recv(sockets[mine % 2], &c, 1, 0) == 1);
		if (i % 10 == 0)
			usleep(100);
	}
	pthread_kill(pthread_self(), SIGUSR1);
	CHECK(sem_post(&sem) == 0);
	if (mine % 2)
		pthread_exit(arg);
	return arg;
}

static void *waits(void *arg) {
	char c;
	struct pollfd p = {*(int *)arg, POLLIN, 0};
	CHECK(poll(&p, 1, -1) == 1);
	return (void *)read(*(int *)arg, &c, 1);
}

static void *sleeps(void *arg) {
	sleep(1000);
	return arg;
}

int main(void) {
	pthread_t t[THREADS], waiter, sleeper;
	void *result;
	int fds[2] = {-1, -1};
	alarm(20);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0 || pipe(fds) != 0) { /* no descriptors to be had: nothing to read from */
		CHECK(errno == EMFILE);
		CHECK(pthread_create(&sleeper, NULL, sleeps, NULL) == 0);
		CHECK(pthread_cancel(sleeper) == 0 && pthread_join(sleeper, &result) == 0 && result == PTHREAD_CANCELED);
		puts("works without descriptors");
		return 0;
	}
	signal(SIGUSR1, handler);
	CHECK(pthread_key_create(&key, destroy) == 0);
	pthread_barrier_init(&barrier, NULL, THREADS);
	sem_init(&sem, 0, 0);
	CHECK(pthread_create(&waiter, NULL, waits, &fds[0]) == 0);
	CHECK(pthread_create(&sleeper, NULL, sleeps, NULL) == 0);
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, thread, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		while (sem_wait(&sem) != 0)
			;
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], &result) == 0 && result == (void *)i);
	CHECK(pthread_cancel(sleeper) == 0);
	CHECK(pthread_join(sleeper, &result) == 0 && result == PTHREAD_CANCELED);
	CHECK(write(fds[1], "x", 1) == 1);
	CHECK(pthread_join(waiter, &result) == 0 && result == (void *)1);
	CHECK(destroyed == THREADS && handled == THREADS);
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	CHECK(sem_timedwait(&sem, &ts) == -1 && errno == ETIMEDOUT);
	pid_t pid = fork();
	if (pid == 0) {
		int r = pthread_create(&t[0], NULL, sleeps, NULL);
		_exit(r == 0 || r == EAGAIN ? 3 : 4); /* EAGAIN: the parent's count, too */
	}
	int status;
	if (pid < 0)
		CHECK(errno == EAGAIN); /* no process to be had */
	else
		CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 3);
	printf("works on %s\n", known == 0 ? "goroutines" : known == THREADS ? "kernel threads" : "both");
	return 0;
}
