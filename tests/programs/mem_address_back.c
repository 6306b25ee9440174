/* With a limit on address space, that of ended threads' stacks comes back: for stacks of another size, and for the program's own mappings (MEM-6). The
 * limit is there before the first thread, or comes when threads have been. */
#include "sync_test.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define MIB (1ul << 20)

enum { N = 400 };
static pthread_t t[N];
static struct rlimit unlimited;
static _Atomic int ran;

static void limit_to(size_t bytes) {
	struct rlimit rl = {bytes, unlimited.rlim_max};
	EQ(setrlimit(RLIMIT_AS, &rl), 0);
}

static bool can_map(size_t bytes) {
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED && munmap(p, bytes) == 0;
}

static void *waits(void *mutex) {
	pthread_mutex_lock(mutex);
	pthread_mutex_unlock(mutex);
	ran++;
	return NULL;
}

/* So many at the same time, all of which end; fewer if refused. How many. */
static int crowd(int wanted, size_t stack, bool detached) {
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_attr_t attr;
	int n = 0;
	pthread_attr_init(&attr);
	EQ(pthread_attr_setstacksize(&attr, stack), 0);
	EQ(pthread_attr_setdetachstate(&attr, detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE), 0);
	pthread_mutex_lock(&mutex);
	ran = 0;
	while (n < wanted && pthread_create(&t[n], &attr, waits, &mutex) == 0)
		n++;
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < n && !detached; i++)
		join(t[i]);
	while (ran < n)
		usleep(1000);
	return n;
}

int main(void) {
	test_begin();
	mallopt(M_ARENA_MAX, 1); /* an arena takes 64 MiB */
	EQ(getrlimit(RLIMIT_AS, &unlimited), 0);
	size_t base = process_bytes().mapped;
	limit_to(base + 900 * MIB);
	EQ(crowd(50, 16 * MIB, false), 50);
	EQ(crowd(80, 8 * MIB, false), 80);
	EQ(crowd(30, 16 * MIB, false), 30);
	step("another size");
	for (int i = 0; i < 3; i++) {
		int n = crowd(N, 8 * MIB, false);
		CHECK(n >= 90 && n < 120);
		CHECK(can_map(750 * MIB));
	}
	step("the program's own");
	for (int i = 0; i < 3; i++) {
		int n = crowd(N, 8 * MIB, true);
		CHECK(n >= 90 && n < 120);
		for (int k = 0; k < 1000 && !can_map(750 * MIB); k++) /* they are ending */
			usleep(1000);
		CHECK(can_map(750 * MIB));
	}
	step("of detached ones");
	EQ(crowd(1, 600 * MIB, false), 1);
	CHECK(can_map(750 * MIB));
	EQ(crowd(1, 700 * MIB, false), 1);
	step("large ones");
	EQ(setrlimit(RLIMIT_AS, &unlimited), 0);
	EQ(crowd(100, 12 * MIB, false), 100);
	EQ(crowd(100, 6 * MIB, false), 100);
	limit_to(base + 300 * MIB);
	EQ(crowd(1, 200 * MIB, false), 1);
	EQ(crowd(20, 8 * MIB, false), 20);
	CHECK(can_map(150 * MIB));
	step("limited later");
	return test_end();
}
