/* The program's own calloc() has a lock. Who holds it is waiting for its turn, and everybody else in the kernel, for a lock of a file: the runtime must not
 * count on kernel threads that it has still to make, because to make one takes the same calloc(). */
#include "sync_test.h"

#include <fcntl.h>
#include <sys/file.h>

enum { THREADS = 16, TURNS = 20 };
static pthread_mutex_t heap = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int held, waiting;
static char path[] = "/tmp/heap_held.XXXXXX";
static int locked;

void *__libc_calloc(size_t n, size_t size);

void *calloc(size_t n, size_t size) {
	pthread_mutex_lock(&heap);
	void *p = __libc_calloc(n, size);
	pthread_mutex_unlock(&heap);
	return p;
}

static void lock_file(void) {
	int fd = open(path, O_RDWR | O_CLOEXEC);
	waiting++;
	EQ(flock(fd, LOCK_SH), 0);
	close(fd);
}

static void *waits(void *arg) {
	while (!held)
		sched_yield();
	lock_file();
	return arg;
}

static void *holds(void *arg) {
	pthread_mutex_lock(&heap);
	held = 1;
	while (waiting < THREADS + 1)
		sched_yield();
	for (int i = 0; i < TURNS; i++)
		sched_yield();
	pthread_mutex_unlock(&heap);
	flock(locked, LOCK_UN);
	return arg;
}

int main(void) {
	pthread_t t[THREADS + 1];
	test_begin();
	locked = mkstemp(path);
	EQ(flock(locked, LOCK_EX), 0);
	for (int i = 0; i < THREADS; i++)
		t[i] = start(waits, NULL);
	t[THREADS] = start(holds, NULL);
	while (!held)
		sched_yield();
	lock_file();
	for (int i = 0; i <= THREADS; i++)
		join(t[i]);
	unlink(path);
	step("all had their turn");
	return test_end();
}
