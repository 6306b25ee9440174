/* A thread takes a lock again and again, with nothing in between: who waits for it gets it all the same, as natively the lock is handed to who waits. A writer beside a reader, a reader
 * beside a writer, and a mutex with priority inheritance (SYN-11). How often the other had it meanwhile depends on the machine: on stderr. */
#include "sync_test.h"

enum { TURNS = 20, SECTION_NS = 2000000 };

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t mutex;
static _Atomic bool stop, waits;
static _Atomic long sections, meanwhile;

static const struct way {
	const char *name;
	int (*hogs)(void *), (*waits)(void *), (*gives)(void *);
	void *lock;
} ways[] = {
#define CALL(name) (int (*)(void *))pthread_##name
	{"a writer waits", CALL(rwlock_rdlock), CALL(rwlock_wrlock), CALL(rwlock_unlock), &rwlock},
	{"a reader waits", CALL(rwlock_wrlock), CALL(rwlock_rdlock), CALL(rwlock_unlock), &rwlock},
	{"inheritance", CALL(mutex_lock), CALL(mutex_lock), CALL(mutex_unlock), &mutex},
};

static void *hogs(void *arg) {
	const struct way *w = arg;
	while (!stop) {
		EQ(w->hogs(w->lock), 0);
		sections++;
		for (long long end = now_ns(CLOCK_MONOTONIC) + SECTION_NS; now_ns(CLOCK_MONOTONIC) < end;)
			continue;
		meanwhile += waits;
		EQ(w->gives(w->lock), 0);
	}
	return arg;
}

static void beside(const struct way *w) {
	long most = 0;
	step(w->name);
	stop = false;
	pthread_t t = start(hogs, (void *)w);
	for (int i = 0; i < TURNS; i++) {
		for (long before = sections; sections == before;) /* it has it */
			usleep(100);
		meanwhile = 0;
		waits = true;
		EQ(w->waits(w->lock), 0);
		waits = false;
		most = meanwhile > most ? meanwhile : most;
		EQ(w->gives(w->lock), 0);
	}
	stop = true;
	join(t);
	fprintf(stderr, "%s: the other had it %ld times at most\n", w->name, most);
}

int main(void) {
	pthread_mutexattr_t inherits;
	test_begin();
	pthread_mutexattr_init(&inherits);
	EQ(pthread_mutexattr_setprotocol(&inherits, PTHREAD_PRIO_INHERIT), 0);
	EQ(pthread_mutex_init(&mutex, &inherits), 0);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		beside(&ways[i]);
	return test_end();
}
