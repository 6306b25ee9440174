/* Shared by the sync_* programs: checks that count failures, thread helpers, a watchdog. Plain pthreads; nothing of goshim. */
#ifndef SYNC_TEST_H
#define SYNC_TEST_H

#include <errno.h>
#include <stdbool.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int failures;

#define CHECK(cond)                                                                   \
	do {                                                                          \
		if (!(cond)) {                                                        \
			printf("FAIL %s:%d: %s\n", __FILE__, __LINE__, #cond);        \
			fflush(stdout); /* it may hang for that, and be killed */      \
			__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);           \
		}                                                                     \
	} while (0)

#define EQ(expr, want)                                                                                       \
	do {                                                                                                 \
		long got_ = (long)(expr), want_ = (long)(want);                                              \
		if (got_ != want_) {                                                                         \
			printf("FAIL %s:%d: %s is %ld, not %ld\n", __FILE__, __LINE__, #expr, got_, want_); \
			fflush(stdout);                                                              \
			__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);                                  \
		}                                                                                            \
	} while (0)

static inline long long now_ns(clockid_t clock) {
	struct timespec ts;
	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static inline struct timespec in_ms(clockid_t clock, long ms) {
	long long t = now_ns(clock) + ms * 1000000LL;
	struct timespec ts = {(time_t)(t / 1000000000), (long)(t % 1000000000)};
	return ts;
}

static inline pthread_t start(void *(*f)(void *), void *arg) {
	pthread_t t;
	int r = pthread_create(&t, NULL, f, arg);
	if (r) {
		printf("FAIL pthread_create: %d\n", r);
		exit(1);
	}
	return t;
}

static inline long join(pthread_t t) {
	void *v = NULL;
	int r = pthread_join(t, &v);
	if (r) {
		printf("FAIL pthread_join: %d\n", r);
		exit(1);
	}
	return (long)v;
}

/* Whatever handlers run meanwhile. */
static inline void sem_take(sem_t *sem) {
	while (sem_wait(sem) != 0)
		EQ(errno, EINTR);
}

/* Of the process: what it has mapped, and what of that is in memory. Zeroes: not known. */
struct process_bytes {
	size_t mapped, resident;
};

static inline struct process_bytes process_bytes(void) {
	struct process_bytes pages = {0, 0};
	FILE *file = fopen("/proc/self/statm", "r");
	if (!file || fscanf(file, "%zu %zu", &pages.mapped, &pages.resident) != 2)
		pages.mapped = pages.resident = 0;
	if (file)
		fclose(file);
	return (struct process_bytes){pages.mapped * 4096, pages.resident * 4096};
}

/* What the kernel calls the calling thread's process. */
static inline void comm_check(const char *name) {
	char text[32] = "";
	FILE *file = fopen("/proc/self/comm", "r");
	CHECK(file && fgets(text, sizeof text, file));
	text[strcspn(text, "\n")] = '\0';
	CHECK(strcmp(text, name) == 0);
	if (file)
		fclose(file);
}

static inline void step(const char *name) {
	printf("%s\n", name);
	fflush(stdout);
}

static inline void test_begin(void) {
	alarm(30); /* a lost wake-up ends the program */
}

static inline int test_end(void) {
	printf(failures ? "%d failures\n" : "ok\n", failures);
	return failures != 0;
}

/* A thread that computes and waits in turn, until the semaphore is posted, so that the others are now on this kernel thread and now on that. */
static inline void *computes_and_waits(void *arg) {
	sem_t *sem = (sem_t *)arg;
	struct timespec soon;
	while (sem_trywait(sem) != 0) {
		for (volatile int i = 0; i < 20000; i++)
			continue;
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec = (soon.tv_nsec + 50000) % 1000000000;
		if (sem_timedwait(sem, &soon) == 0)
			break;
	}
	return NULL;
}

#endif
