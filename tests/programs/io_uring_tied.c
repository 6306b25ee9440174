/* What io_uring ties to one thread is the thread's wherever it waits: a ring's number registered with it (IORING_REGISTER_RING_FDS), and a ring for a single
 * issuer, which is whoever enables it (SEC-1). */
#include "uring_test.h"

enum { THREADS = 8, ROUNDS = 40 };

static pthread_barrier_t made;

static void nop(struct ring *r, int fd, unsigned flags, long n) {
	long user = -1;
	int result = -1;
	ring_queue(r, IORING_OP_NOP, -1, NULL, 0, n);
	EQ(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS | flags, NULL, 8), 1);
	CHECK(ring_reap(r, &user, &result));
	EQ(user, n);
	EQ(result, 0);
	usleep(500);
}

/* 0: this kernel has no such thing. */
static void *registers(void *arg) {
	struct ring r;
	CHECK(ring_make(&r, 0));
	struct io_uring_rsrc_update what = {.offset = -1u, .data = (unsigned)r.fd};
	bool registered = syscall(SYS_io_uring_register, r.fd, RING_FDS, &what, 1) == 1;
	pthread_barrier_wait(&made);
	for (int i = 0; registered && i < ROUNDS; i++)
		nop(&r, (int)what.offset, ENTER_REGISTERED_RING, i);
	close(r.fd);
	(void)arg;
	return (void *)(long)registered;
}

static void *enables(void *arg) {
	struct ring *r = arg;
	if (r->fd < 0)
		return NULL;
	EQ(syscall(SYS_io_uring_register, r->fd, ENABLE_RINGS, NULL, 0), 0);
	for (int i = 0; i < ROUNDS; i++)
		nop(r, r->fd, 0, i);
	close(r->fd);
	return (void *)1;
}

static void *returns(void *arg) {
	return arg;
}

int main(void) {
	pthread_t t[THREADS];
	struct ring r[THREADS];
	long count = 0;
	test_begin();
	if (!ring_make(&r[0], 0)) {
		step("there is no io_uring");
		join(start(returns, NULL));
		return test_end();
	}
	close(r[0].fd);
	pthread_barrier_init(&made, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		t[i] = start(registers, NULL);
	for (int i = 0; i < THREADS; i++)
		count += join(t[i]);
	printf("registered: %ld\n", count);
	count = 0;
	for (int i = 0; i < THREADS; i++) {
		if (!ring_make(&r[i], SINGLE_ISSUER | IORING_SETUP_R_DISABLED))
			r[i].fd = -1;
		t[i] = start(enables, &r[i]);
	}
	for (int i = 0; i < THREADS; i++)
		count += join(t[i]);
	printf("enabled: %ld\n", count);
	return test_end();
}
