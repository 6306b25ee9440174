/* The runtime's own lock under contention. */
#include "core_test.h"
#include <dirent.h>
#include "lock.h"

static struct lock lock;
static uint64_t counter; /* plain: only the lock protects it */
static _Atomic int inside;
static int rounds, yield_every;

static void *increment(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	for (int i = 0; i < rounds; i++) {
		lock_acquire(&lock, LOCK_SCHED);
		must(atomic_fetch_add(&inside, 1) == 0);
		counter++;
		if (yield_every && noise(&seed) % (uint32_t)yield_every == 0)
			sched_yield(); /* a holder that loses its CPU: the others end in the kernel */
		atomic_fetch_sub(&inside, 1);
		lock_release(&lock);
	}
	return NULL;
}

static void contend(int threads, int n, int yields) {
	pthread_t t[16];
	rounds = n;
	yield_every = yields;
	counter = 0;
	for (int i = 0; i < threads; i++)
		t[i] = thread_start(increment, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < threads; i++)
		thread_join(t[i]);
	cr_expect(counter == (uint64_t)threads * (uint64_t)n);
	cr_expect(lock.word == 0);
}

Test(lock, alone) {
	for (int i = 0; i < 1000; i++) {
		cr_assert(lock.word == 0);
		lock_acquire(&lock, LOCK_SCHED);
		cr_assert(lock.word == 1);
		lock_release(&lock);
	}
}

Test(lock, two_threads) {
	contend(2, 1000000, 0);
}

Test(lock, more_threads_than_cpus) {
	contend(16, 50000, 0);
}

Test(lock, holders_lose_their_cpu) {
	contend(8, 20000, 20);
}

/* Everybody sleeps in the kernel; one release after the other must get all of them through. */
static void *pass_through(void *arg) {
	(void)arg;
	lock_acquire(&lock, LOCK_SCHED);
	counter++;
	lock_release(&lock);
	return NULL;
}

static int threads_asleep(void) {
	int asleep = 0;
	DIR *dir = opendir("/proc/self/task");
	for (struct dirent *entry; (entry = readdir(dir));) {
		char path[300], state;
		snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
		FILE *f = fopen(path, "r");
		if (!f)
			continue;
		asleep += fscanf(f, "%*d (%*[^)]) %c", &state) == 1 && state == 'S';
		fclose(f);
	}
	closedir(dir);
	return asleep;
}

Test(lock, all_sleepers_get_through) {
	pthread_t t[16];
	for (int round = 0; round < 20; round++) {
		counter = 0;
		lock_acquire(&lock, LOCK_SCHED);
		for (int i = 0; i < 16; i++)
			t[i] = thread_start(pass_through, NULL);
		until(lock.word == 2);
		if (round % 2)
			until(threads_asleep() >= 10);
		cr_assert(counter == 0);
		lock_release(&lock);
		for (int i = 0; i < 16; i++)
			thread_join(t[i]);
		cr_assert(counter == 16 && lock.word == 0);
	}
}
