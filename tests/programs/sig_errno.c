/* What a handler leaves in errno stays there, wherever it ran (a call that fails says why after it), and another thread's is not touched. */
#include "sync_test.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_t other;
static sem_t sem, begun;
static volatile int ran, done;
static int flag, fds[2];

static void handler(int sig) {
	(void)sig;
	errno = EXFULL;
	ran++;
}

static void *nothing(void *arg) {
	while (ran < 1)
		usleep(1000);
	return arg;
}

static int locks(void) {
	return pthread_mutex_lock(&mutex) || pthread_mutex_unlock(&mutex);
}
static int waits(void) {
	pthread_mutex_lock(&mutex);
	while (!flag)
		pthread_cond_wait(&cond, &mutex);
	return pthread_mutex_unlock(&mutex);
}
static int joins(void) {
	return pthread_join(other, NULL);
}
static int reads(void) {
	char c;
	return read(fds[0], &c, 1) == 1 ? 0 : -1;
}
static int takes(void) {
	return sem_wait(&sem);
}
static int sleeps(void) {
	struct timespec ts = {10, 0};
	return nanosleep(&ts, NULL);
}
static int spins(void) {
	while (!ran)
		continue;
	return 0;
}

static const struct {
	const char *name;
	int (*call)(void);
	bool restart;
} calls[] = {{"pthread_mutex_lock", locks, false}, {"pthread_cond_wait", waits, false}, {"pthread_join", joins, false},
             {"read", reads, false},               {"read, restarted", reads, true},    {"sem_wait", takes, false},
             {"sem_wait, restarted", takes, true}, {"nanosleep", sleeps, true},         {"none", spins, false}};

static void *caller(void *arg) {
	const long i = (long)arg;
	errno = ENOTUNIQ;
	sem_post(&begun);
	int r = calls[i].call(), e = errno;
	printf("%-20s %2d %s\n", calls[i].name, r, strerror(e));
	done = 1;
	return NULL;
}

static void one(long i) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = calls[i].restart ? SA_RESTART : 0};
	sigaction(SIGUSR1, &sa, NULL);
	ran = done = flag = 0;
	pthread_mutex_lock(&mutex);
	pthread_cond_init(&cond, NULL);
	if (calls[i].call == joins)
		other = start(nothing, NULL);
	pthread_t t = start(caller, (void *)i);
	sem_wait(&begun);
	if (calls[i].call == waits)
		pthread_mutex_unlock(&mutex);
	usleep(10000); /* most likely it waits by now; else the handler runs before, and what it left is the same */
	errno = ENOTUNIQ;
	pthread_kill(t, SIGUSR1);
	while (!ran)
		usleep(1000);
	EQ(errno, ENOTUNIQ);
	if (calls[i].call == waits)
		pthread_mutex_lock(&mutex);
	flag = 1;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&mutex);
	if (calls[i].call == reads && calls[i].restart)
		EQ(write(fds[1], "x", 1), 1);
	if (calls[i].call == takes && calls[i].restart)
		sem_post(&sem);
	while (!done) { /* it did not wait yet, and has nothing else to end it */
		usleep(10000);
		if (calls[i].call == sleeps || (!calls[i].restart && (calls[i].call == reads || calls[i].call == takes)))
			pthread_kill(t, SIGUSR1);
	}
	join(t);
}

static void *at_once(void *arg) {
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	errno = ENOTUNIQ;
	raise(SIGUSR1);
	printf("raise %s\n", strerror(errno));
	errno = ENOTUNIQ;
	pthread_kill(pthread_self(), SIGUSR1);
	printf("pthread_kill %s\n", strerror(errno));
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	raise(SIGUSR1);
	errno = ENOTUNIQ;
	pthread_sigmask(SIG_UNBLOCK, &s, NULL);
	printf("pthread_sigmask %s\n", strerror(errno));
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_handler = handler};
	test_begin();
	sem_init(&sem, 0, 0);
	sem_init(&begun, 0, 0);
	EQ(pipe(fds), 0);
	sigaction(SIGUSR1, &sa, NULL);
	at_once(NULL);
	join(start(at_once, NULL));
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		one((long)i);
	return test_end();
}
