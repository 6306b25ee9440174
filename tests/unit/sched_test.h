/* The embedder of the tests that really run goroutines: what the shims are to the core in the library. A test says start(procs), go() and wait_all(). */
#ifndef GOSHIM_TESTS_SCHED_TEST_H
#define GOSHIM_TESTS_SCHED_TEST_H

#include "core_test.h"

#include <dlfcn.h>

#include "futex.h"
#include "runtime.h"
#include "stack.h"
#include "tcb.h"

#define STACK_BYTES ((size_t)256 << 10)

static _Atomic int threads_allowed = 1000000;

static inline int create_thread(void *(*fn)(void *), void *arg) {
	pthread_attr_t attr;
	pthread_t t;
	if (atomic_fetch_sub(&threads_allowed, 1) <= 0)
		return -EAGAIN;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, (128 << 10) + tcb_bytes());
	return -pthread_create(&t, &attr, fn, arg);
}

static inline void *lookup(const char *name) {
	return dlvsym(RTLD_DEFAULT, name, "GLIBC_PRIVATE");
}

static inline int try_start(uint32_t procs, const char **why) {
	tcb_lookup = lookup;
	sched_thread_create = create_thread;
	sched_config.gomaxprocs = procs;
	return sched_start(why);
}

static inline void start(uint32_t procs) {
	const char *why = NULL;
	alarm(100);
	int r = try_start(procs, &why);
	if (r < 0)
		fprintf(stderr, "start: %s (%d)\n", why, r);
	must(r == 0);
}

struct task {
	void (*fn)(void *arg);
	void *arg;
	bool keep; /* somebody else frees it */
};

static _Atomic uint32_t tasks;

static inline void task_main(struct g *g) {
	struct task *t = (struct task *)(void *)g->ext;
	bool keep = t->keep;
	tcb_thread_start();
	t->fn(t->arg);
	g_live_drop();
	if (!keep)
		g_free(g);
	if (atomic_fetch_sub(&tasks, 1) == 1)
		futex_wake(&tasks, 1, FUTEX_ANY);
}

static inline struct g *task_new(void (*fn)(void *), void *arg, const struct g_stack_req *req, int *err) {
	struct g *g = g_new(req, task_main, err);
	if (g)
		*(struct task *)(void *)g->ext = (struct task){fn, arg, false};
	return g;
}

static inline struct g *go_sized(void (*fn)(void *), void *arg, size_t size) {
	int err = 0;
	struct g *g = task_new(fn, arg, &(struct g_stack_req){.size = size, .guard = 4096}, &err);
	must(g);
	atomic_fetch_add(&tasks, 1);
	ready_new(g);
	return g;
}

static inline struct g *go(void (*fn)(void *), void *arg) {
	return go_sized(fn, arg, STACK_BYTES);
}

static inline void wait_all(void) {
	for (uint32_t n; (n = atomic_load(&tasks));)
		futex_wait(&tasks, n, -1, FUTEX_ANY, false, "all");
}

static inline void sleep_ns(int64_t ns) {
	static _Atomic uint32_t never;
	int64_t end = nanotime() + ns;
	int r = futex_wait(&never, 0, end, FUTEX_ANY, false, "sleep");
	must(r == -ETIMEDOUT && nanotime() >= end);
}

static _Atomic int noted;

static inline void note_run(void *arg) {
	(void)arg;
	atomic_fetch_add(&noted, 1);
}

/* On a goroutine: gives the P away, not the CPU. */
#define yield_until(condition) \
	do { \
		int64_t yield_end = nanotime() + LONG_NS; \
		while (!(condition)) { \
			must(nanotime() < yield_end); \
			g_yield(g_self()); \
		} \
	} while (0)

/* A test of this suite with several GOMAXPROCS, each in a test process of its own. */
#define TEST_PROCS(suite, name) \
	static void name##_body(uint32_t procs); \
	Test(suite, name##_1) { name##_body(1); } \
	Test(suite, name##_2) { name##_body(2); } \
	Test(suite, name##_8) { name##_body(8); } \
	static void name##_body(uint32_t procs)

/* A kernel thread, not only about to. Opens a file. */
static inline bool thread_sleeps(int32_t tid) {
	char path[64], stat[256] = "", *state;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	FILE *f = fopen(path, "r");
	must(f && fgets(stat, sizeof(stat), f));
	fclose(f);
	state = strrchr(stat, ')');
	return state && state[2] == 'S';
}

/* sysmon has found nothing to watch, and has looked again before it slept. */
static inline bool sysmon_sleeps(void) {
	return atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP && thread_sleeps(sysmon_ktid());
}

static inline uint32_t gs_ever(void) {
	uint32_t n = 0;
	for (struct g *g = g_all(); g; g = g->all_next)
		n++;
	return n;
}

#endif
