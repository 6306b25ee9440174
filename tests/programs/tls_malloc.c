/* malloc across threads: freed by others, by threads that live shortly, while arenas change hands; contents never mix. And threads that
 * come and go leave no memory behind (TLS-12). */
#include "sync_test.h"

#include <stdatomic.h>
#include <stdint.h>

enum { SLOTS = 256, THREADS = 200, OPERATIONS = 2000 };
static void *_Atomic slots[SLOTS];

struct block {
	size_t size;
	uint32_t seed;
	unsigned char bytes[];
};

static struct block *block_make(uint32_t seed) {
	size_t size = seed % 8 == 0 ? seed % 70000 : seed % 700;
	struct block *b = seed % 3 ? malloc(sizeof *b + size) : calloc(1, sizeof *b + size);
	if (!b)
		return NULL;
	b->size = size;
	b->seed = seed;
	memset(b->bytes, (int)seed, size);
	return b;
}

static long block_check(struct block *b) {
	long wrong = 0;
	for (size_t i = 0; i < b->size; i += 1 + b->size / 64)
		wrong += b->bytes[i] != (unsigned char)b->seed;
	return wrong;
}

static void *thread(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg * 2654435761u + 1;
	long wrong = 0;
	for (int i = 0; i < OPERATIONS; i++) {
		seed = seed * 1664525u + 1013904223u;
		struct block *b = block_make(seed >> 8);
		wrong += !b;
		b = atomic_exchange(&slots[(seed >> 3) % SLOTS], b);
		if (b) {
			wrong += block_check(b);
			if (seed % 5 == 0) {
				struct block *bigger = realloc(b, sizeof *b + b->size + 100);
				wrong += !bigger;
				if (bigger)
					b = bigger;
				wrong += block_check(b);
			}
			free(b);
		}
		if (i % 100 == 99)
			sched_yield();
	}
	return (void *)wrong;
}

static void *short_one(void *arg) {
	void *p[20];
	for (int i = 0; i < 20; i++)
		p[i] = malloc(100 + 50 * (size_t)i);
	for (int i = 0; i < 20; i++)
		free(p[i]);
	return arg;
}

static void shorts(int n) {
	for (int i = 0; i < n; i++)
		join(start(short_one, NULL));
}

int main(void) {
	static pthread_t t[THREADS];
	long wrong = 0;
	test_begin();
	for (long i = 0; i < THREADS; i++)
		t[i] = start(thread, (void *)i);
	for (int i = 0; i < THREADS; i++)
		wrong += join(t[i]);
	EQ(wrong, 0);
	for (int i = 0; i < SLOTS; i++) {
		if (slots[i])
			wrong += block_check(slots[i]);
		free(slots[i]);
	}
	EQ(wrong, 0);
	step("mixed");
	shorts(2000);
	size_t before = process_bytes().resident;
	shorts(20000);
	CHECK(process_bytes().resident < before + (8 << 20));
	/* Many at once, again and again. */
	for (int round = 0; round < 20; round++) {
		if (round == 5)
			before = process_bytes().resident;
		for (int i = 0; i < THREADS; i++)
			t[i] = start(short_one, NULL);
		for (int i = 0; i < THREADS; i++)
			join(t[i]);
	}
	CHECK(process_bytes().resident < before + (8 << 20));
	step("short");
	return test_end();
}
