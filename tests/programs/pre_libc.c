/* Threads that compute inside libc: in qsort's callbacks, in malloc, in stdio with a lock held by somebody who lost the CPU (SCH-4). */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SORTERS = 3, ALLOCATORS = 3, PRINTERS = 3, LINES = 2000 };
static atomic_int wrong, stop;
static FILE *out;

static int compare(const void *a, const void *b) {
	int x = *(const int *)a, y = *(const int *)b;
	for (volatile int i = 0; i < 20; i++)
		;
	return x < y ? -1 : x > y;
}

static void *sorter(void *arg) {
	enum { N = 20000 };
	int *v = malloc(N * sizeof *v);
	unsigned x = (unsigned)(long)arg + 1;
	for (int round = 0; round < 8; round++) {
		for (int i = 0; i < N; i++)
			v[i] = (int)(x = x * 1664525u + 1013904223u);
		qsort(v, N, sizeof *v, compare);
		for (int i = 1; i < N; i++)
			wrong += v[i - 1] > v[i];
	}
	free(v);
	return NULL;
}

static void *allocator(void *arg) {
	enum { KEEP = 64 };
	unsigned char *p[KEEP] = {NULL};
	size_t size[KEEP] = {0};
	unsigned x = (unsigned)(long)arg * 77 + 5;
	for (int i = 0; i < 60000; i++) {
		unsigned k = (x = x * 1664525u + 1013904223u) >> 8 & (KEEP - 1);
		if (p[k])
			wrong += p[k][0] != (unsigned char)k || p[k][size[k] - 1] != (unsigned char)k;
		free(p[k]);
		size[k] = 1 + (x >> 16) % 3000;
		p[k] = malloc(size[k]);
		memset(p[k], (int)k, size[k]);
	}
	for (int k = 0; k < KEEP; k++)
		free(p[k]);
	return NULL;
}

static void *printer(void *arg) {
	for (int i = 0; i < LINES; i++)
		fprintf(out, "%ld %06d %.3f end\n", (long)arg, i, i / 8.0);
	return NULL;
}

static void *hog(void *arg) {
	(void)arg;
	while (!stop)
		;
	return NULL;
}

int main(void) {
	pthread_t t[SORTERS + ALLOCATORS + PRINTERS], h;
	int n = 0, next[PRINTERS] = {0}, lines = 0;
	char line[100];
	out = tmpfile();
	pthread_create(&h, NULL, hog, NULL);
	for (long i = 0; i < PRINTERS; i++)
		pthread_create(&t[n++], NULL, printer, (void *)i);
	for (long i = 0; i < SORTERS; i++)
		pthread_create(&t[n++], NULL, sorter, (void *)i);
	for (long i = 0; i < ALLOCATORS; i++)
		pthread_create(&t[n++], NULL, allocator, (void *)i);
	while (n)
		pthread_join(t[--n], NULL);
	stop = 1;
	pthread_join(h, NULL);
	rewind(out);
	while (fgets(line, sizeof line, out)) {
		long who;
		int i;
		double x;
		char end[8];
		if (sscanf(line, "%ld %d %lf %7s", &who, &i, &x, end) != 4 || strcmp(end, "end") || who < 0 || who >= PRINTERS ||
		    i != next[who]++ || x != i / 8.0)
			wrong++;
		lines++;
	}
	printf("%d lines, %d wrong\n", lines, wrong);
	return 0;
}
