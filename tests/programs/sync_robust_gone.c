/* A thread ends with robust mutexes whose memory is unmapped, read-only or cleared by then (TLS-10): it ends all the same. Of others that
 * it held, who reads the list reaches those that it locked after the one that is gone, and no more. */
#include "robust_mutex.h"

enum { UNMAPPED, READ_ONLY, CLEARED, WAYS, PAGE = 4096 };
static const char *const names[WAYS] = {"unmapped", "read-only", "cleared"};
static pthread_mutex_t *lost, *kept;
static int way;

static pthread_mutex_t *mutex_new(int shared, int protocol) {
	pthread_mutex_t *m = robust_memory(PAGE);
	robust_init(m, shared, protocol, PTHREAD_MUTEX_DEFAULT);
	return m;
}

static void lose(void) {
	if (way == UNMAPPED)
		EQ(munmap(lost, PAGE), 0);
	else if (way == READ_ONLY)
		EQ(mprotect(lost, PAGE, PROT_READ), 0);
	else
		memset(lost, 0, sizeof *lost);
}

static void *loses_last(void *arg) {
	EQ(pthread_mutex_lock(kept), 0);
	EQ(pthread_mutex_lock(lost), 0);
	lose();
	return arg;
}

static void *loses_first(void *arg) {
	EQ(pthread_mutex_lock(lost), 0);
	EQ(pthread_mutex_lock(kept), 0);
	lose();
	pthread_exit(arg);
}

static void *loses_only(void *arg) {
	EQ(pthread_mutex_lock(lost), 0);
	lose();
	return arg;
}

static void *tries(void *m) {
	return (void *)(long)pthread_mutex_trylock(m);
}

static void ends(void *(*thread)(void *), int shared, int protocol, int want) {
	lost = mutex_new(shared, protocol);
	kept = mutex_new(shared, protocol);
	EQ(join(start(thread, &way)), (long)&way);
	EQ(join(start(tries, kept)), want);
	if (way == READ_ONLY) {
		mprotect(lost, PAGE, PROT_READ | PROT_WRITE);
		EQ(join(start(tries, lost)), EBUSY);
	}
	if (way != UNMAPPED)
		munmap(lost, PAGE);
	munmap(kept, PAGE);
}

static void all(int shared, int protocol) {
	for (way = 0; way < WAYS; way++) {
		ends(loses_only, shared, protocol, 0);
		ends(loses_last, shared, protocol, EBUSY);
		ends(loses_first, shared, protocol, EOWNERDEAD);
		step(names[way]);
	}
}

int main(void) {
	test_begin();
	all(PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_NONE);
	all(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE);
	return test_end();
}
