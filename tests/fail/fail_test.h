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

static pthread_t start(void *(*fn)(void *), void *arg) {
	pthread_t t;
	int r = pthread_create(&t, NULL, fn, arg);
	if (r != 0) {
		CHECK(r == EAGAIN);
		CHECK(++refused == 1); /* one call fails, so one creation may */
		CHECK(pthread_create(&t, NULL, fn, arg) == 0);
	}
	return t;
}

static void *join(pthread_t t) {
	void *r;
	CHECK(pthread_join(t, &r) == 0);
	return r;
}

static int open_files(void) {
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* The first round may leave what is made once; after it every descriptor that a round opens is closed again. */
static void rounds(int n, void (*round)(void)) {
	round();
	int before = open_files();
	for (int i = 1; i < n; i++)
		round();
	int after = open_files();
	CHECK(before == after);
	puts("ok");
}

#endif
