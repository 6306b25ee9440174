/* Threads one after another, whose guards are no multiple of a page: each lives where one before it did. */
#include "sync_test.h"

enum { N = 2000, FEW = N / 4 };

static void *starts(void *arg) { return arg; }

static int compare(const void *a, const void *b) {
	pthread_t x = *(const pthread_t *)a, y = *(const pthread_t *)b;
	return (x > y) - (x < y);
}

int main(void) {
	static const size_t guards[] = {1, 5000, 8191};
	for (size_t k = 0; k < sizeof guards / sizeof *guards; k++) {
		static pthread_t t[N];
		pthread_attr_t attr;
		int different = 1;
		pthread_attr_init(&attr);
		pthread_attr_setguardsize(&attr, guards[k]);
		for (int i = 0; i < N; i++) {
			EQ(pthread_create(&t[i], &attr, starts, NULL), 0);
			EQ(pthread_join(t[i], NULL), 0);
		}
		pthread_attr_destroy(&attr);
		qsort(t, N, sizeof *t, compare);
		for (int i = 1; i < N; i++)
			different += t[i] != t[i - 1];
		if (different > FEW)
			printf("guard %zu: %d places\n", guards[k], different);
		CHECK(different <= FEW);
	}
	return test_end();
}
