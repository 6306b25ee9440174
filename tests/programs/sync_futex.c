/* futex(2) through syscall(), private and shared: results, deadlines, order, requeue, the operations of FUTEX_WAKE_OP (SYN-15); and its younger relatives,
 * where the kernel has them, on the same words. */
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "sync_test.h"

static int flag; /* FUTEX_PRIVATE_FLAG or 0 */

static long fx(uint32_t *p, int op, uint32_t val, const void *timeout, uint32_t *p2, uint32_t val3) {
	errno = 0;
	long r = syscall(SYS_futex, p, op | flag, val, timeout, p2, val3);
	return r < 0 ? -errno : r;
}

#define VAL2(n) ((const void *)(uintptr_t)(n))

static void results(void) {
	uint32_t w = 5, w2 = 0;
	struct timespec ms = {0, 10000000}, bad = {0, 1000000000}, negative = {-1, 0};
	EQ(fx(&w, FUTEX_WAIT, 4, NULL, NULL, 0), -EAGAIN);
	EQ(fx(&w, FUTEX_WAIT_BITSET, 4, NULL, NULL, 1), -EAGAIN);
	EQ(fx(&w, FUTEX_WAIT_BITSET, 5, NULL, NULL, 0), -EINVAL);
	EQ(fx(&w, FUTEX_WAKE_BITSET, 5, NULL, NULL, 0), -EINVAL);
	EQ(fx(&w, FUTEX_WAIT, 5, &bad, NULL, 0), -EINVAL);
	EQ(fx(&w, FUTEX_WAIT, 4, &bad, NULL, 0), -EINVAL);
	EQ(fx(&w, FUTEX_WAIT, 5, &negative, NULL, 0), -EINVAL);
	EQ(fx((uint32_t *)((char *)&w + 1), FUTEX_WAIT, 5, NULL, NULL, 0), -EINVAL);
	EQ(fx((uint32_t *)((char *)&w + 2), FUTEX_WAKE, 1, NULL, NULL, 0), -EINVAL);
	long long t0 = now_ns(CLOCK_MONOTONIC);
	EQ(fx(&w, FUTEX_WAIT, 5, &ms, NULL, 0), -ETIMEDOUT);
	CHECK(now_ns(CLOCK_MONOTONIC) - t0 >= 9900000);
	struct timespec at = in_ms(CLOCK_MONOTONIC, 10);
	EQ(fx(&w, FUTEX_WAIT_BITSET, 5, &at, NULL, 7), -ETIMEDOUT);
	at = in_ms(CLOCK_REALTIME, 10);
	EQ(fx(&w, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &at, NULL, 7), -ETIMEDOUT);
	CHECK(now_ns(CLOCK_MONOTONIC) - t0 >= 29000000);
	at.tv_sec = 1;
	EQ(fx(&w, FUTEX_WAIT_BITSET, 5, &at, NULL, 7), -ETIMEDOUT);
	EQ(fx(&w, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 5, &ms, NULL, 0), -ENOSYS);
	EQ(fx(&w, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 5, NULL, NULL, 0), -ENOSYS);
	EQ(fx(&w, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
	EQ(fx(&w, FUTEX_REQUEUE, 1, VAL2(1), &w2, 0), 0);
	EQ(fx(&w, FUTEX_REQUEUE, (uint32_t)-1, VAL2(1), &w2, 0), -EINVAL);
	EQ(fx(&w, FUTEX_CMP_REQUEUE, 1, VAL2(1), &w2, 4), -EAGAIN);
	EQ(fx(&w, FUTEX_CMP_REQUEUE, 1, VAL2(1), &w2, 5), 0);
	EQ(fx(&w, FUTEX_CMP_REQUEUE, 0, VAL2(0), &w2, 4), -EAGAIN);
	EQ(fx(&w, FUTEX_CMP_REQUEUE, 0, VAL2(0), &w2, 5), 0);
	EQ(fx(&w, 99, 1, NULL, NULL, 0), -ENOSYS);
}

/* Waiters report in through `ready` and are then found by waking them: repeat until the kernel or the runtime has queued them. */
struct waiter {
	uint32_t *word;
	uint32_t bits, index;
	pthread_t t;
};
static uint32_t order[32], slots, woken;

static void *wait_thread(void *arg) {
	struct waiter *w = arg;
	long r = w->bits ? fx(w->word, FUTEX_WAIT_BITSET, 0, NULL, NULL, w->bits) : fx(w->word, FUTEX_WAIT, 0, NULL, NULL, 0);
	EQ(r, 0);
	order[__atomic_fetch_add(&slots, 1, __ATOMIC_RELAXED)] = w->index;
	__atomic_fetch_add(&woken, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* All n wait on the word: moving them to where they are counts them. (To another word and back would let one that comes meanwhile overtake.) */
static void settled(uint32_t *word, int n) {
	while (fx(word, FUTEX_CMP_REQUEUE, 0, VAL2(INT_MAX), word, 0) != n)
		usleep(500);
}

static void start_waiters(struct waiter *w, int n, uint32_t *word, uint32_t bits) {
	woken = slots = 0;
	for (int i = 0; i < n; i++) {
		w[i] = (struct waiter){word, bits, (uint32_t)i, 0};
		w[i].t = start(wait_thread, &w[i]);
		settled(word, i + 1);
	}
}

static void join_waiters(struct waiter *w, int n) {
	for (int i = 0; i < n; i++)
		join(w[i].t);
}

static void until_woken(uint32_t n) {
	while (__atomic_load_n(&woken, __ATOMIC_ACQUIRE) < n)
		sched_yield();
}

static void waking(void) {
	uint32_t word = 0, other = 0;
	struct waiter w[12];
	/* oldest first */
	start_waiters(w, 6, &word, 0);
	for (uint32_t i = 0; i < 4; i++) {
		EQ(fx(&word, FUTEX_WAKE, i == 3 ? 0 : 1, NULL, NULL, 0), 1); /* 0 wakes one, too */
		until_woken(i + 1);
		EQ(order[i], i);
	}
	EQ(fx(&word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0), 2);
	join_waiters(w, 6);
	/* by bits */
	start_waiters(w, 3, &word, 1);
	EQ(fx(&word, FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL, 2), 0);
	EQ(fx(&word, FUTEX_WAKE_BITSET, 2, NULL, NULL, 3), 2);
	EQ(fx(&word, FUTEX_WAKE, 5, NULL, NULL, 0), 1);
	join_waiters(w, 3);
	/* requeue: one wakes, three move, two stay */
	start_waiters(w, 6, &word, 0);
	EQ(fx(&word, FUTEX_REQUEUE, 1, VAL2(3), &other, 0), 4);
	until_woken(1);
	EQ(fx(&other, FUTEX_WAKE, INT_MAX, NULL, NULL, 0), 3);
	EQ(fx(&word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0), 2);
	join_waiters(w, 6);
	EQ(fx(&word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0), 0);
}

static void wake_op(void) {
	uint32_t word = 0, word2;
	struct waiter w[2];
	static const struct {
		uint32_t code, before, after;
		int second;
	} ops[] = {
		{FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 3), 3, 7, 1},
		{FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 3), 4, 7, 0},
		{FUTEX_OP(FUTEX_OP_ADD, 2, FUTEX_OP_CMP_NE, 3), 4, 6, 1},
		{FUTEX_OP(FUTEX_OP_ADD, 0xfff, FUTEX_OP_CMP_LT, 3), 2, 1, 1},
		{FUTEX_OP(FUTEX_OP_OR, 9, FUTEX_OP_CMP_LE, 2), 2, 11, 1},
		{FUTEX_OP(FUTEX_OP_ANDN, 1, FUTEX_OP_CMP_GT, 3), 3, 2, 0},
		{FUTEX_OP(FUTEX_OP_XOR, 3, FUTEX_OP_CMP_GE, 1), 1, 2, 1},
		{FUTEX_OP((FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT), 4, FUTEX_OP_CMP_GT, 0xfff), 0, 16, 1},
	};
	for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
		static uint32_t none;
		word2 = ops[i].before;
		EQ(fx(&none, FUTEX_WAKE_OP, 1, VAL2(1), &word2, ops[i].code), 0);
		EQ(word2, ops[i].after);
	}
	EQ(fx(&word, FUTEX_WAKE_OP, 1, VAL2(1), &word2, FUTEX_OP(6u, 0, FUTEX_OP_CMP_EQ, 0)), -ENOSYS);
	/* one waits on each word; the comparison decides about the second */
	for (int second = 0; second < 2; second++) {
		word2 = 0;
		start_waiters(&w[0], 1, &word, 0);
		start_waiters(&w[1], 1, &word2, 0);
		EQ(fx(&word, FUTEX_WAKE_OP, 1, VAL2(1), &word2, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, second ? 0u : 5u)), 1 + second);
		EQ(word2, 1);
		if (!second)
			EQ(fx(&word2, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
		join_waiters(w, 2);
	}
}

static volatile sig_atomic_t handled;
static void on_signal(int sig) {
	(void)sig;
	handled++;
}

static uint32_t sleep_word;

static void *sleeper(void *arg) {
	struct timespec ts = {20, 0};
	return (void *)fx(&sleep_word, FUTEX_WAIT, 0, arg ? &ts : NULL, NULL, 0);
}

static void interruption(void) {
	for (int restart = 0; restart < 2; restart++) {
		struct sigaction sa = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
		sigaction(SIGUSR1, &sa, NULL);
		for (int timed = 0; timed < 2; timed++) {
			pthread_t t = start(sleeper, timed ? &sa : NULL);
			settled(&sleep_word, 1);
			handled = 0;
			if (restart && !timed) {
				for (int i = 1; i <= 20; i++) {
					EQ(pthread_kill(t, SIGUSR1), 0);
					while (handled < i)
						sched_yield();
				}
				while (fx(&sleep_word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0)
					sched_yield();
				EQ(join(t), 0);
			} else {
				EQ(pthread_kill(t, SIGUSR1), 0);
				EQ(join(t), -EINTR);
			}
		}
	}
}

/* A lock made of a futex, as language runtimes make it. */
static uint32_t home_made;
static long total;

static void *home_made_thread(void *arg) {
	(void)arg;
	for (int i = 0; i < 3000; i++) {
		uint32_t c = 0;
		if (!__atomic_compare_exchange_n(&home_made, &c, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
			while (__atomic_exchange_n(&home_made, 2, __ATOMIC_ACQUIRE) != 0)
				fx(&home_made, FUTEX_WAIT, 2, NULL, NULL, 0);
		}
		total++;
		if (!(i & 31))
			sched_yield();
		if (__atomic_exchange_n(&home_made, 0, __ATOMIC_RELEASE) == 2)
			fx(&home_made, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	return NULL;
}

static void lock(void) {
	pthread_t t[6];
	total = 0;
	for (int i = 0; i < 6; i++)
		t[i] = start(home_made_thread, NULL);
	for (int i = 0; i < 6; i++)
		join(t[i]);
	EQ(total, 18000);
}

/* Private and shared waiters of one word do not see each other. */
static void two_worlds(void) {
	uint32_t word = 0;
	struct waiter w[1];
	flag = FUTEX_PRIVATE_FLAG;
	start_waiters(w, 1, &word, 0);
	flag = 0;
	EQ(fx(&word, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
	flag = FUTEX_PRIVATE_FLAG;
	EQ(fx(&word, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
	join_waiters(w, 1);
}

/* ---- the calls of Linux 5.16 and 6.7 -------------------------------------------------------------------------------- */

enum { WAITV = 449, WAKE_TWO = 454, WAIT_TWO, REQUEUE_TWO, U32 = 2 };
struct place {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};

static long two(long n, const volatile void *a, long b, long c, long d, const void *e, long f) {
	errno = 0;
	long r = syscall(n, a, b, c, d, e, f);
	return r < 0 ? -errno : r;
}

static uint32_t words[2];
static int of_two, by_two; /* the call that waits, the one that wakes */

static void *waits_two(void *arg) {
	struct place v[2];
	int own = U32 | flag;
	for (int i = 0; i < 2; i++)
		v[i] = (struct place){0, (uintptr_t)&words[i], (uint32_t)own, 0};
	(void)arg;
	if (of_two == 0)
		return (void *)fx(&words[1], FUTEX_WAIT, 0, NULL, NULL, 0);
	if (of_two == 1)
		return (void *)two(WAIT_TWO, &words[1], 0, -1u, own, NULL, 0);
	return (void *)two(WAITV, v, 2, 0, 0, NULL, CLOCK_MONOTONIC);
}

static long wakes_two(void) {
	struct place v[2] = {{0, (uintptr_t)&words[1], (uint32_t)(U32 | flag), 0}, {0, (uintptr_t)&words[0], (uint32_t)(U32 | flag), 0}};
	if (by_two == 0)
		return fx(&words[1], FUTEX_WAKE, 1, NULL, NULL, 0);
	if (by_two == 1)
		return fx(&words[1], FUTEX_REQUEUE, 0, VAL2(1), &words[0], 0);
	if (by_two == 2)
		return two(WAKE_TWO, &words[1], -1u, 1, U32 | flag, NULL, 0);
	return two(REQUEUE_TWO, v, 0, 0, 1, NULL, 0);
}

/* Each kind of waiter is found by each kind of wake-up, as soon as it waits. */
static void meeting(void) {
	pthread_t t = start(waits_two, NULL);
	long r;
	while ((r = wakes_two()) == 0) /* it does not wait yet */
		sched_yield();
	EQ(r, 1);
	/* Moved, it is woken by its other word. In the kernel one that was woken for nothing meanwhile, by an older wake-up that comes late, waits by its own word
	 * again. */
	bool moves = by_two & 1, other = moves;
	while (moves && fx(&words[0], FUTEX_WAKE, 1, NULL, NULL, 0) == 0) {
		if (fx(&words[1], FUTEX_WAKE, 1, NULL, NULL, 0) == 1) {
			other = false;
			break;
		}
		sched_yield();
	}
	EQ(join(t), of_two == 2 && !other);
}

static void meetings(void) {
	int kinds = two(WAKE_TWO, words, 1, 1, U32, NULL, 0) == -ENOSYS ? 2 : 4;
	for (of_two = 0; of_two < 3; of_two += of_two == 0 && kinds == 2 ? 2 : 1)
		for (by_two = 0; by_two < kinds; by_two++)
			for (int i = 0; i < 50; i++)
				meeting();
	if (kinds == 2)
		return;
	struct timespec soon = in_ms(CLOCK_MONOTONIC, 10), bad = {0, -1};
	EQ(two(WAIT_TWO, words, 0, 1, U32 | flag, &soon, CLOCK_MONOTONIC), -ETIMEDOUT);
	soon = in_ms(CLOCK_REALTIME, 10);
	EQ(two(WAIT_TWO, words, 0, 1, U32 | flag, &soon, CLOCK_REALTIME), -ETIMEDOUT);
	EQ(two(WAIT_TWO, words, 0, 1, U32 | flag, &soon, CLOCK_BOOTTIME), -EINVAL);
	EQ(two(WAIT_TWO, words, 0, 1, U32 | flag, &bad, CLOCK_MONOTONIC), -EINVAL);
	EQ(two(WAIT_TWO, words, 9, 1, U32 | flag, NULL, 0), -EAGAIN);
	EQ(two(WAIT_TWO, words, 0, 0, U32 | flag, NULL, 0), -EINVAL);
	EQ(two(WAIT_TWO, NULL, 0, 1, U32 | flag, NULL, 0), -EFAULT);
	EQ(two(WAIT_TWO, words, 0, 1, 99, NULL, 0), -EINVAL);
	EQ(two(WAKE_TWO, words, 0, 1, U32 | flag, NULL, 0), -EINVAL);
	EQ(two(WAKE_TWO, words, 1, 0, U32 | flag, NULL, 0), 0);
}

int main(void) {
	test_begin();
	for (int private = 0; private < 2; private++) {
		flag = private ? FUTEX_PRIVATE_FLAG : 0;
		step(private ? "private" : "shared");
		results();
		step("waking");
		waking();
		step("wake op");
		wake_op();
		step("interruption");
		interruption();
		step("lock");
		lock();
		step("younger calls");
		meetings();
	}
	two_worlds();
	return test_end();
}
