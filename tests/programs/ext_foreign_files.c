/* A thread takes a table of descriptors for itself and ends. What a thread of libc's own does to descriptors afterwards (SIGEV_THREAD) is done to those that all others have: who waits for
 * one that it has made another's gets what comes for the new one (SCH-11). */
#include <signal.h>
#include <sys/mman.h>

#include "sleeping.h"
#include "sync_test.h"

enum { SIZE = 256 << 10 };

static int old[2], new[2];
static sem_t had, go, called, replaced;
static _Atomic pid_t waiting;

static char next(void) {
	char c = 0;
	waiting = gettid();
	EQ(read(old[0], &c, 1), 1);
	return c;
}

static void *reads(void *arg) {
	EQ(next(), '1');
	sem_post(&had);
	sem_take(&go);
	EQ(next(), '2');
	return arg;
}

static void write_when_it_waits(int fd, char c) {
	await_sleeping(&waiting);
	waiting = 0;
	EQ(write(fd, &c, 1), 1);
}

static void *unshares(void *arg) {
	EQ(unshare(CLONE_FILES), 0);
	return arg;
}

/* On a stack of the program's: its memory is then what a thread without one may be given. */
static void unshare_files(void) {
	pthread_t t;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), SIZE);
	EQ(pthread_create(&t, &attr, unshares, NULL), 0);
	join(t);
}

static void expired(union sigval value) {
	(void)value;
	sem_post(&called); /* wakes main */
	EQ(dup2(new[0], old[0]), old[0]);
	sem_post(&replaced);
}

int main(void) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = expired};
	struct itimerspec soon = {.it_value = {0, 1000000}};
	timer_t timer;
	test_begin();
	EQ(pipe(old), 0);
	EQ(pipe(new), 0);
	pthread_t reader = start(reads, NULL);
	write_when_it_waits(old[1], '1');
	sem_take(&had);
	unshare_files();
	EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	EQ(timer_settime(timer, 0, &soon, NULL), 0);
	sem_take(&called);
	sem_take(&replaced);
	sem_post(&go);
	write_when_it_waits(new[1], '2');
	join(reader);
	return test_end();
}
