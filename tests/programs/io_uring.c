/* Requests to an io_uring stay under way whatever their thread waits for meanwhile; the kernel cancels those of a kernel thread that ends (SCH-6). By rings that
 * were made before there were threads, by the threads themselves, and by a process that forked. */
#include "uring_test.h"

static bool plain_ring(struct ring *r) {
	return ring_make(r, 0);
}

static void *returns(void *arg) {
	return arg;
}

static struct ring first;

static void before_threads(void) {
	CHECK(plain_ring(readers_ring = &first));
	many_readers();
}

static void forks(void) {
	CHECK(plain_ring(&first));
	join(start(returns, NULL));
	readers_ring = &first;
	in_child("inherited", many_readers);
}

int main(void) {
	test_begin();
	ring_maker = plain_ring;
	if (!plain_ring(&first)) {
		step("there is no io_uring");
		join(start(returns, NULL));
		return test_end();
	}
	close(first.fd);
	in_child("before threads", before_threads);
	in_child("by threads", many_readers);
	in_child("forked", forks);
	join(start(returns, NULL));
	return test_end();
}
