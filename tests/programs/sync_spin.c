/* Spin locks: results, exclusion, and more contenders than CPUs, one of which sleeps while it holds the lock. */
#include "sync_test.h"

static pthread_spinlock_t l;
static long total;

static void *spinner(void *arg) {
	for (long i = 0; i < (long)arg; i++) {
		int r = i & 1 ? pthread_spin_trylock(&l) : pthread_spin_lock(&l);
		if (r == EBUSY) {
			i--;
			sched_yield();
			continue;
		}
		EQ(r, 0);
		total++;
		if (i % 500 == 0)
			sched_yield();
		EQ(pthread_spin_unlock(&l), 0);
	}
	return NULL;
}

static void *sleeping_holder(void *arg) {
	(void)arg;
	EQ(pthread_spin_lock(&l), 0);
	total++;
	usleep(30000);
	EQ(pthread_spin_unlock(&l), 0);
	return NULL;
}

int main(void) {
	test_begin();
	for (int shared = 0; shared < 2; shared++) {
		EQ(pthread_spin_init(&l, shared), 0);
		EQ(pthread_spin_trylock(&l), 0);
		EQ(pthread_spin_trylock(&l), EBUSY);
		EQ(pthread_spin_unlock(&l), 0);
		pthread_t t[8];
		total = 0;
		for (int i = 0; i < 8; i++)
			t[i] = start(spinner, (void *)2000L);
		for (int i = 0; i < 8; i++)
			join(t[i]);
		EQ(total, 16000);
		for (int i = 0; i < 4; i++)
			t[i] = start(sleeping_holder, NULL);
		for (int i = 0; i < 4; i++)
			join(t[i]);
		EQ(total, 16004);
		EQ(pthread_spin_destroy(&l), 0);
	}
	return test_end();
}
