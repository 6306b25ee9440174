/* FUTEX_LOCK_PI and its relatives by syscall(): the word has the owner's number, which a program that finds it free writes there by itself; who waits gets it
 * from who unlocks, and nobody else may unlock it (SYN-15). */
#include <linux/futex.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "sync_test.h"

enum { THREADS = 4, ROUNDS = 300 };

static int flag; /* FUTEX_PRIVATE_FLAG or 0 */
static uint32_t word, cond;
static long sum;

static long fx(uint32_t *p, int op, uint32_t val, const void *timeout, uint32_t *p2, uint32_t val3) {
	errno = 0;
	long r = syscall(SYS_futex, p, op | flag, val, timeout, p2, val3);
	return r < 0 ? -errno : r;
}

static int mine(void) {
	return (__atomic_load_n(&word, __ATOMIC_RELAXED) & FUTEX_TID_MASK) == (uint32_t)syscall(SYS_gettid);
}

static void until_waited_for(void) {
	while (!(__atomic_load_n(&word, __ATOMIC_RELAXED) & FUTEX_WAITERS))
		usleep(500);
}

static void *waits(void *arg) {
	EQ(fx(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), -EPERM);
	EQ(fx(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
	CHECK(mine());
	EQ(fx(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
	return arg;
}

static void *is_late(void *arg) {
	struct timespec until = in_ms(CLOCK_REALTIME, 20), bad = {0, 1000000000};
	EQ(fx(&word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0), -EAGAIN);
	EQ(fx(&word, FUTEX_LOCK_PI, 0, &until, NULL, 0), -ETIMEDOUT);
	EQ(fx(&word, FUTEX_LOCK_PI, 0, &bad, NULL, 0), -EINVAL);
	return arg;
}

static void owns(void) {
	word = 0;
	EQ(fx(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
	CHECK(mine());
	EQ(fx(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), -EDEADLK);
	EQ(fx(&word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0), -EDEADLK);
	join(start(is_late, NULL));
	pthread_t t = start(waits, NULL);
	until_waited_for();
	usleep(5000);
	CHECK(mine());
	EQ(fx(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
	join(t);
	EQ(word, 0);
	EQ(fx(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), -EPERM);
	EQ(fx(&word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0), 0);
	EQ(fx(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
}

/* As a library does it: the kernel is asked when somebody else has it. */
static void *counts(void *arg) {
	uint32_t self = (uint32_t)syscall(SYS_gettid);
	for (int i = 0; i < ROUNDS; i++) {
		uint32_t none = 0, own = self;
		if (!__atomic_compare_exchange_n(&word, &none, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			EQ(fx(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
		long was = sum;
		if (i % 16 == 0)
			sched_yield();
		sum = was + 1;
		if (!__atomic_compare_exchange_n(&word, &own, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			EQ(fx(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
	}
	return arg;
}

static void excludes(void) {
	pthread_t t[THREADS];
	word = 0;
	sum = 0;
	for (int i = 0; i < THREADS; i++)
		t[i] = start(counts, NULL);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	EQ(sum, THREADS * ROUNDS);
}

static void *requeued(void *arg) {
	EQ(fx(&cond, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &word, 0), 0);
	CHECK(mine());
	EQ(fx(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
	return arg;
}

static void requeues(void) {
	word = cond = 0;
	struct timespec until = in_ms(CLOCK_MONOTONIC, 10);
	EQ(fx(&cond, FUTEX_WAIT_REQUEUE_PI, 1, NULL, &word, 0), -EAGAIN);
	EQ(fx(&cond, FUTEX_WAIT_REQUEUE_PI, 0, &until, &word, 0), -ETIMEDOUT);
	EQ(fx(&cond, FUTEX_CMP_REQUEUE_PI, 1, NULL, &word, 1), -EAGAIN);
	EQ(fx(&cond, FUTEX_CMP_REQUEUE_PI, 2, NULL, &word, 0), -EINVAL);
	pthread_t t[2];
	for (int i = 0; i < 2; i++)
		t[i] = start(requeued, NULL);
	for (long n = 0; n < 2; usleep(500)) {
		long r = fx(&cond, FUTEX_CMP_REQUEUE_PI, 1, (void *)1, &word, 0);
		CHECK(r >= 0);
		n += r;
	}
	for (int i = 0; i < 2; i++)
		join(t[i]);
}

/* The kernel's, which knows threads by another number. */
static void *meets(void *arg) {
	EQ(fx(arg, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), -EPERM);
	EQ(fx(arg, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0), -EAGAIN);
	EQ(fx(arg, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
	usleep(1000);
	EQ(fx(arg, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
	return arg;
}

static void *in_shared_memory(void *arg) {
	uint32_t *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_t t[THREADS];
	CHECK(at != MAP_FAILED);
	EQ(fx(at, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
	for (int i = 0; i < THREADS; i++)
		t[i] = start(meets, at);
	while (!(__atomic_load_n(at, __ATOMIC_RELAXED) & FUTEX_WAITERS))
		usleep(500);
	usleep(5000);
	EQ(fx(at, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	munmap(at, 4096);
	return arg;
}

int main(void) {
	test_begin();
	for (int i = 0; i < 2; i++) {
		flag = i ? 0 : FUTEX_PRIVATE_FLAG;
		join(start(counts, NULL));
		owns();
		excludes();
		requeues();
		step(i ? "shared" : "private");
	}
	join(start(in_shared_memory, NULL));
	in_shared_memory(NULL);
	step("other processes'");
	return failures != 0;
}
