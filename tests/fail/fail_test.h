/* For the programs of `make fail`. Plain POSIX. Each does its work over and over while one call of the runtime's, somewhere, is refused; what it may
 * see of that is what a thread library may say: EAGAIN from pthread_create, once (RES-1, RES-2). */
#ifndef FAIL_TEST_H
#define FAIL_TEST_H

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			printf("FAIL %s:%d: %s\n", __FILE__, __LINE__, #cond); \
			fflush(stdout); \
			_exit(1); \
		} \
	} while (0)

static _Atomic int refused;

__attribute__((unused)) static pthread_t start(void *(*fn)(void *), void *arg) {
	pthread_t t;
	int r = pthread_create(&t, NULL, fn, arg);
	if (r != 0) {
		CHECK(r == EAGAIN);
		CHECK(++refused == 1); /* one call fails, so one creation may */
		CHECK(pthread_create(&t, NULL, fn, arg) == 0);
	}
	return t;
}

__attribute__((unused)) static void *join(pthread_t t) {
	void *r;
	CHECK(pthread_join(t, &r) == 0);
	return r;
}

static int entries(const char *folder) {
	int n = 0;
	DIR *d = opendir(folder);
	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Where malloc's heap ended at first. How far it grows depends on how many threads are at it at once; what is lost there is resident. */
static char *heap;

__attribute__((constructor)) static void heap_look(void) {
	heap = sbrk(0);
}

/* What the process has: descriptors, kernel threads, kilobytes mapped but for that heap, and of all these resident. */
struct held {
	int files, threads;
	long mapped, resident;
};

static struct held held_now(void) {
	struct held h = {.files = entries("/proc/self/fd"), .threads = entries("/proc/self/task")};
	FILE *f = fopen("/proc/self/statm", "r");
	CHECK(f && fscanf(f, "%ld %ld", &h.mapped, &h.resident) == 2);
	fclose(f);
	h.mapped = h.mapped * 4 - ((char *)sbrk(0) - heap) / 1024;
	h.resident *= 4;
	return h;
}

enum {
	ARENA_KB = 65536, /* malloc's arenas take so much room each, whenever two threads meet there */
	SLAB_KB = 63 * (8192 + 16), /* stacks are mapped by so much, when all are taken; those of threads that were joined just now are taken still, by luck */
	MAPPED_KB = 1024, /* what else may be mapped meanwhile: a stack of 8 MB, or the TCBs of a thousand threads, are more */
	RESIDENT_KB = 1024,
	THREADS_MORE = 8, /* how many must block at once, and how many are kept for the next time (GOSHIM=idle_ms), is the scheduler's luck */
	THREAD_KB = 512,  /* of a kernel thread, also of one that has ended: libc keeps its stack */
};

/* What of a program may be mapped once more or not, by luck. */
static long lucky_kb;

/* The first round may leave what is made once, the second what the first to need it a few times over keeps for the next: from then on every descriptor that
 * a round opens is closed again, and what it takes of memory and kernel threads comes from what is kept. What was lost before that, the driver finds: it
 * compares with a run without refusals. */
static void rounds(int n, void (*round)(void)) {
	round();
	held_now(); /* libc makes what it needs for that */
	round();
	struct held before = held_now();
	for (int i = 2; i < n; i++)
		round();
	struct held after = held_now();
	CHECK(before.files == after.files);
	fprintf(stderr, "held: kernel threads %d, then %d, KB mapped %ld, then %ld, resident %ld, then %ld\n", before.threads, after.threads, before.mapped, after.mapped,
		before.resident, after.resident);
	int more = after.threads > before.threads ? after.threads - before.threads : 0;
	CHECK(more <= THREADS_MORE);
	long grown = after.mapped > before.mapped ? after.mapped - before.mapped : 0;
	grown -= grown >= SLAB_KB ? SLAB_KB : 0;
	long odd = grown % ARENA_KB;
	odd -= lucky_kb && odd >= lucky_kb ? lucky_kb : 0;
	CHECK(odd <= MAPPED_KB + THREADS_MORE * THREAD_KB);
	CHECK(after.resident <= before.resident + RESIDENT_KB);
	printf("ok %d %ld\n", after.threads, after.mapped);
}

#endif
