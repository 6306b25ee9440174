/* Threads that hold a pattern in every register while others want the CPU: what pre_registers needs on any CPU. */
#ifndef REGISTERS_TEST_H
#define REGISTERS_TEST_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HOLDERS = 9 };

static int seconds_ms = 400;
static _Atomic int broken;

static int64_t now_ms(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The same words for the same seed. */
static void fill_words(void *at, size_t bytes, uint64_t seed) {
	uint64_t *word = at, x = seed * 0x9E3779B97F4A7C15ull + 1;
	for (size_t i = 0; i < bytes / 8; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		word[i] = x;
	}
}

/* Runs holder(0) to holder(HOLDERS - 1) at once. The program's argument: for how many seconds. */
static void holders_run(int argc, char **argv, void *(*holder)(void *)) {
	pthread_t t[HOLDERS];
	if (argc > 1)
		seconds_ms = atoi(argv[1]) * 1000;
	for (intptr_t i = 0; i < HOLDERS; i++)
		pthread_create(&t[i], NULL, holder, (void *)i);
	for (int i = 0; i < HOLDERS; i++)
		pthread_join(t[i], NULL);
}

#endif
