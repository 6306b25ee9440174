/* The address of one thread's stack does not tell where the others are (SEC-6): 64 made in a row are at all sorts of distances, and hardly one is next to the one
 * before. Natively they are all next to each other, so there is no native run. */
#include "sync_test.h"

#include <stdint.h>

enum { N = 64 };
static uintptr_t at[N];
static pthread_barrier_t all;

static void *where(void *arg) {
	char here;
	at[(long)arg] = (uintptr_t)&here;
	pthread_barrier_wait(&all);
	return NULL;
}

int main(void) {
	pthread_t t[N];
	pthread_attr_t attr;
	size_t size;
	int distinct = 0, adjacent = 0;
	test_begin();
	EQ(pthread_attr_init(&attr), 0);
	EQ(pthread_attr_getstacksize(&attr, &size), 0);
	pthread_barrier_init(&all, NULL, N + 1);
	for (long i = 0; i < N; i++)
		t[i] = start(where, (void *)i);
	pthread_barrier_wait(&all);
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	for (int i = 1; i < N; i++) {
		uintptr_t apart = at[i] - at[i - 1];
		int k = 1;
		while (k < i && at[k] - at[k - 1] != apart)
			k++;
		distinct += k == i;
		adjacent += apart < size + size / 2 || -apart < size + size / 2;
	}
	fprintf(stderr, "%d distances, %d next to each other\n", distinct, adjacent);
	CHECK(distinct >= N / 2);
	CHECK(adjacent <= N / 4); /* two, on average */
	step("slots");
	return test_end();
}
