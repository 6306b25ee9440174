/* How much libc's own functions take from a thread's stack with alloca(), before they use malloc(): a quarter of it, and 64 KiB at the most. libc knows the size by a
 * word that it keeps of each thread, and has a function for the answer, which other libraries of its own call. A goroutine of whatever size of stack, new or
 * used, on a stack of the program's or not, gets NPTL's answer, give or take a guard of a page. */
#include <dlfcn.h>

#include "sync_test.h"

static int (*may_take)(size_t bytes);

enum { MOST = 64 << 10 };

/* The largest that it says yes to. */
static size_t most(void) {
	size_t low = 0, high = 1 << 20;
	while (low < high) {
		size_t middle = (low + high + 1) / 2;
		if (may_take(middle))
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static void *ask(void *arg) {
	(void)arg;
	return (void *)most();
}

static void expect(const pthread_attr_t *attr, size_t stack) {
	pthread_t t;
	size_t want = stack / 4 < MOST ? stack / 4 : MOST;
	EQ(pthread_create(&t, attr, ask, NULL), 0);
	size_t got = (size_t)join(t);
	if (got < want - 2048 || got > want + 2048 || got > MOST)
		printf("a stack of %zu: %zu\n", stack, got);
	CHECK(got >= want - 2048 && got <= want + 2048 && got <= MOST);
}

int main(void) {
	static const size_t sizes[] = {32 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20, 8 << 20};
	pthread_attr_t attr;
	test_begin();
	*(void **)&may_take = dlvsym(RTLD_NEXT, "__libc_alloca_cutoff", "GLIBC_PRIVATE");
	if (!may_take) {
		printf("this libc has no such function\n");
		return 1;
	}
	for (int round = 0; round < 6; round++) {
		pthread_key_t key;
		if (round == 3) /* threads have thread-specific data from now on */
			EQ(pthread_key_create(&key, NULL), 0);
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			pthread_attr_init(&attr);
			EQ(pthread_attr_setstacksize(&attr, sizes[i]), 0);
			expect(&attr, sizes[i]);
			void *own = aligned_alloc(4096, sizes[i]);
			EQ(pthread_attr_setstack(&attr, own, sizes[i]), 0);
			expect(&attr, sizes[i]);
			free(own);
			pthread_attr_destroy(&attr);
		}
		expect(NULL, 8 << 20);
	}
	return test_end();
}
