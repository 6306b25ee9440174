/* Threads that compute and wait in io_uring_enter() by instructions of their own, more of them than there are CPUs, in a process without a signal handler: no wait ends with
 * EINTR. The ring, too, is made by such an instruction, so nobody knows of it. The kernel completes the requests inside the wait, which therefore uses CPU time. */
#include "uring_test.h"

#include <errno.h>
#include <time.h>

enum { THREADS = 6, RUN_MS = 2500, BATCH = 64, COMPUTE_US = 9500, WAIT_US = 5000 };

static _Atomic long interrupted, others;
static _Atomic bool over;

static bool ring_inline(struct ring *r) {
	struct io_uring_params p = {0};
	int fd = (int)raw(SYS_io_uring_setup, ENTRIES, (long)&p, 0, 0, 0, 0);
	if (fd >= 0)
		ring_map(r, fd, &p);
	r->inlined = true;
	return fd >= 0;
}

static long now_us(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* All but the last complete without a word, inside the wait: it uses CPU time, and has nothing to return. */
static void batch(struct ring *r) {
	struct __kernel_timespec soon = {.tv_nsec = 60000};
	long user, n;
	int result;
	for (int i = 1; i < BATCH; i++) {
		ring_queue(r, IORING_OP_NOP, -1, NULL, 0, i);
		r->sqes[(*r->sq_tail - 1) & *r->sq_mask].flags = IOSQE_ASYNC | IOSQE_CQE_SKIP_SUCCESS;
	}
	ring_queue(r, IORING_OP_TIMEOUT, -1, &soon, 1, 0);
	r->sqes[(*r->sq_tail - 1) & *r->sq_mask].off = 0;
	EQ(ring_enter(r, BATCH, 0), BATCH);
	do {
		n = ring_enter(r, 0, 1);
		interrupted += n == -EINTR;
		others += n < 0 && n != -EINTR;
	} while (!ring_reap(r, &user, &result));
	while (ring_reap(r, &user, &result))
		continue;
}

/* For as long as a thread that computes is left alone at most, and then little else than waiting. */
static void *waits(void *arg) {
	struct ring r;
	CHECK(ring_inline(&r));
	while (!over) {
		long begun = now_us();
		while (now_us() - begun < COMPUTE_US)
			continue;
		while (now_us() - begun < COMPUTE_US + WAIT_US)
			batch(&r);
	}
	close(r.fd);
	return arg;
}

static void *returns(void *arg) {
	return arg;
}

int main(void) {
	pthread_t t[THREADS];
	struct ring r;
	test_begin();
	if (!ring_inline(&r)) {
		step("there is no io_uring");
		join(start(returns, NULL));
		return test_end();
	}
	close(r.fd);
	for (long i = 0; i < THREADS; i++)
		t[i] = start(waits, (void *)i);
	usleep(RUN_MS * 1000);
	over = true;
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	EQ(interrupted, 0);
	EQ(others, 0);
	step("undisturbed");
	return test_end();
}
