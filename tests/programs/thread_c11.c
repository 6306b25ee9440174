/* C11 threads: create, join, detach, exit, equal, sleep, yield, with the results the standard names. */
#include "sync_test.h"

#include <limits.h>
#include <threads.h>

static int gives(void *arg) {
	return *(int *)arg;
}

__attribute__((noinline)) static void leaves(int value) {
	thrd_exit(value);
}

static int exits(void *arg) {
	leaves(*(int *)arg);
	return -1;
}

static mtx_t mutex;
static cnd_t changed;
static int count;

static int counts(void *arg) {
	(void)arg;
	thrd_yield();
	mtx_lock(&mutex);
	count++;
	cnd_signal(&changed);
	mtx_unlock(&mutex);
	return 0;
}

static thrd_t self_seen;

static int tells_self(void *arg) {
	(void)arg;
	self_seen = thrd_current();
	return 0;
}

static int detaches_itself(void *arg) {
	thrd_detach(thrd_current());
	return counts(arg);
}

int main(void) {
	test_begin();
	thrd_t t;
	int values[] = {0, 1, -1, 42, INT_MAX, INT_MIN}, result;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		result = 99;
		EQ(thrd_create(&t, gives, &values[i]), thrd_success);
		EQ(thrd_join(t, &result), thrd_success);
		EQ(result, values[i]);
		result = 99;
		EQ(thrd_create(&t, exits, &values[i]), thrd_success);
		EQ(thrd_join(t, &result), thrd_success);
		EQ(result, values[i]);
		EQ(thrd_create(&t, gives, &values[i]), thrd_success);
		EQ(thrd_join(t, NULL), thrd_success);
	}
	step("results");
	EQ(thrd_create(&t, tells_self, NULL), thrd_success);
	EQ(thrd_join(t, NULL), thrd_success);
	CHECK(thrd_equal(t, self_seen) && !thrd_equal(self_seen, thrd_current()));
	EQ(thrd_join(thrd_current(), NULL), thrd_error);
	step("equal");
	EQ(mtx_init(&mutex, mtx_plain), thrd_success);
	EQ(cnd_init(&changed), thrd_success);
	for (int i = 0; i < 500; i++) {
		EQ(thrd_create(&t, i % 2 ? counts : detaches_itself, NULL), thrd_success);
		if (i % 2)
			EQ(thrd_detach(t), thrd_success);
	}
	mtx_lock(&mutex);
	while (count < 500)
		cnd_wait(&changed, &mutex);
	mtx_unlock(&mutex);
	step("detached");
	struct timespec nap = {0, 20000000}, invalid = {0, 1000000000};
	long long before = now_ns(CLOCK_MONOTONIC);
	EQ(thrd_sleep(&nap, NULL), 0);
	CHECK(now_ns(CLOCK_MONOTONIC) - before >= 20000000);
	CHECK(thrd_sleep(&invalid, NULL) < -1);
	step("sleep");
	return test_end();
}
