/* What attributes ask for, threads get: stack size, the program's own stacks, guards, detached state, defaults; and what
 * pthread_getattr_np() says of a thread is true (MEM-11, MEM-12, RES-5). */
#include "sync_test.h"

#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#define KIB (1ul << 10)
#define MIB (1ul << 20)

/* Uses about `bytes` of stack, and all of it. */
__attribute__((noinline)) static unsigned use_stack(size_t bytes) {
	volatile unsigned char frame[1024];
	for (size_t i = 0; i < sizeof frame; i++)
		frame[i] = (unsigned char)(bytes / sizeof frame + i);
	unsigned sum = bytes > 2048 ? use_stack(bytes - sizeof frame - 48) : 0;
	for (size_t i = 0; i < sizeof frame; i++)
		sum += frame[i] != (unsigned char)(bytes / sizeof frame + i);
	return sum;
}

static pthread_t start_with(pthread_attr_t *attr, void *(*f)(void *), void *arg) {
	pthread_t t;
	int r = pthread_create(&t, attr, f, arg);
	if (r) {
		printf("FAIL pthread_create: %s\n", strerror(r));
		exit(1);
	}
	return t;
}

/* The caller's stack as libc tells it: holds a local variable, and each of its pages can be read. */
static void bounds_check(size_t size) {
	pthread_attr_t attr;
	void *lo;
	size_t bytes;
	volatile char local = 1;
	EQ(pthread_getattr_np(pthread_self(), &attr), 0);
	EQ(pthread_attr_getstack(&attr, &lo, &bytes), 0);
	CHECK((char *)&local > (char *)lo && (char *)&local < (char *)lo + bytes);
	CHECK(bytes >= size);
	if (lo && bytes < 1ul << 30) {
		for (size_t i = 0; i < bytes; i += 4096)
			(void)*(volatile char *)((char *)lo + i);
		(void)*(volatile char *)((char *)lo + bytes - 1);
	}
	pthread_attr_destroy(&attr);
}

static void *uses(void *arg) {
	size_t size = (size_t)arg;
	bounds_check(size);
	EQ(use_stack(size - 12 * KIB), 0);
	bounds_check(size);
	return NULL;
}

static void sizes(void) {
	static const size_t list[] = {64 * KIB, 100 * KIB, 256 * KIB, 256 * KIB, MIB + 4096, 8 * MIB, 64 * MIB, 64 * KIB};
	pthread_attr_t attr;
	size_t size;
	pthread_attr_init(&attr);
	EQ(pthread_attr_setstacksize(&attr, 4096), EINVAL);
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		EQ(pthread_attr_setstacksize(&attr, list[i]), 0);
		EQ(pthread_attr_getstacksize(&attr, &size), 0);
		EQ(size, list[i]);
		join(start_with(&attr, uses, (void *)list[i]));
	}
	/* Many at once, each to its own end: nobody reaches into a neighbour. */
	pthread_t t[32];
	EQ(pthread_attr_setstacksize(&attr, 512 * KIB), 0);
	for (int i = 0; i < 32; i++)
		t[i] = start_with(&attr, uses, (void *)(512 * KIB));
	for (int i = 0; i < 32; i++)
		join(t[i]);
	pthread_attr_destroy(&attr);
	pthread_attr_init(&attr);
	EQ(pthread_attr_getstacksize(&attr, &size), 0);
	pthread_attr_destroy(&attr);
	join(start(uses, (void *)(size < 64 * MIB ? size : 64 * MIB))); /* the default */
	step("sizes");
}

static void *does_little(void *arg) {
	char text[32];
	snprintf(text, sizeof text, "%d", 12);
	sched_yield();
	return strcmp(text, "12") == 0 ? arg : NULL;
}

static void smallest(void) {
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	EQ(pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN), 0);
	for (int i = 0; i < 100; i++)
		EQ(join(start_with(&attr, does_little, (void *)5)), 5);
	EQ(pthread_attr_setguardsize(&attr, 0), 0);
	for (int i = 0; i < 100; i++)
		EQ(join(start_with(&attr, does_little, (void *)6)), 6);
	pthread_attr_destroy(&attr);
	step("smallest");
}

/* ---- the program's stacks -------------------------------------------------------------------------------------------- */

struct area {
	char *lo;
	size_t size;
};

static __thread int counter = 5;

static void *lives_in(void *arg) {
	struct area *a = arg;
	pthread_attr_t attr;
	void *lo;
	size_t size;
	volatile char local = 0;
	CHECK((char *)&local >= a->lo && (char *)&local < a->lo + a->size);
	CHECK((char *)&counter >= a->lo - 64 * KIB && counter == 5);
	counter++;
	EQ(pthread_getattr_np(pthread_self(), &attr), 0);
	EQ(pthread_attr_getstack(&attr, &lo, &size), 0);
	CHECK(lo == a->lo);
	EQ(size, a->size);
	pthread_attr_destroy(&attr);
	sched_yield();
	usleep(100);
	EQ(use_stack(a->size - 12 * KIB), 0);
	return arg;
}

static void own_stacks(void) {
	enum { N = 8, SIZE = 128 * 1024 };
	pthread_attr_t attr;
	struct area a[N];
	pthread_t t[N];
	pthread_attr_init(&attr);
	a[0] = (struct area){aligned_alloc(4096, SIZE), SIZE};
	EQ(pthread_attr_setstack(&attr, a[0].lo, 4096), EINVAL);
	EQ(pthread_attr_setstack(&attr, a[0].lo, SIZE), 0);
	/* The memory is the program's again as soon as join returns: overwritten, given away, mapped anew. */
	for (int i = 0; i < 300; i++) {
		CHECK(join(start_with(&attr, lives_in, &a[0])) == (long)&a[0]);
		memset(a[0].lo, 0xaa, SIZE);
	}
	free(a[0].lo);
	for (int i = 0; i < 100; i++) {
		a[0].lo = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		EQ(pthread_attr_setstack(&attr, a[0].lo, SIZE), 0);
		join(start_with(&attr, lives_in, &a[0]));
		EQ(munmap(a[0].lo, SIZE), 0);
	}
	/* Several at once, the first again and again. */
	for (int i = 0; i < N; i++)
		a[i] = (struct area){aligned_alloc(64, SIZE), SIZE};
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < N; i++) {
			EQ(pthread_attr_setstack(&attr, a[i].lo, SIZE), 0);
			t[i] = start_with(&attr, lives_in, &a[i]);
		}
		for (int i = 0; i < N; i++) {
			join(t[i]);
			memset(a[i].lo, 0x55, SIZE);
		}
	}
	for (int i = 0; i < N; i++)
		free(a[i].lo);
	pthread_attr_destroy(&attr);
	step("own stacks");
}

/* tryjoin says "done" only when the stack is free, too. */
static void own_stack_tryjoin(void) {
	enum { SIZE = 64 * 1024 };
	pthread_attr_t attr;
	struct area a = {aligned_alloc(4096, SIZE), SIZE};
	pthread_attr_init(&attr);
	for (int i = 0; i < 300; i++) {
		EQ(pthread_attr_setstack(&attr, a.lo, SIZE), 0);
		pthread_t t = start_with(&attr, lives_in, &a);
		while (pthread_tryjoin_np(t, NULL) == EBUSY)
			sched_yield();
		memset(a.lo, 0x33, SIZE);
	}
	free(a.lo);
	pthread_attr_destroy(&attr);
	step("own stack, tryjoin");
}

/* ---- what is reported --------------------------------------------------------------------------------------------------- */

static void *reports_guard(void *arg) {
	pthread_attr_t attr;
	size_t guard = 12345;
	(void)arg;
	EQ(pthread_getattr_np(pthread_self(), &attr), 0);
	EQ(pthread_attr_getguardsize(&attr, &guard), 0);
	pthread_attr_destroy(&attr);
	EQ(use_stack(100 * KIB), 0);
	return (void *)guard;
}

static void guards(void) {
	static const size_t list[] = {0, 1, 4096, 5000, 64 * KIB, MIB, 4096, 0};
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	EQ(pthread_attr_setstacksize(&attr, 256 * KIB), 0);
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		EQ(pthread_attr_setguardsize(&attr, list[i]), 0);
		printf("guard %zu: %ld\n", list[i], join(start_with(&attr, reports_guard, NULL)));
	}
	pthread_attr_destroy(&attr);
	step("guards");
}

static void *reports_state(void *arg) {
	pthread_attr_t attr;
	int state = -1;
	EQ(pthread_getattr_np(pthread_self(), &attr), 0);
	EQ(pthread_attr_getdetachstate(&attr, &state), 0);
	pthread_attr_destroy(&attr);
	*(int *)arg = state;
	return NULL;
}

struct told {
	pthread_barrier_t told;
	int state;
};

static void *tells_state(void *arg) {
	struct told *s = arg;
	reports_state(&s->state);
	pthread_barrier_wait(&s->told);
	return NULL;
}

static void states(void) {
	static struct told s;
	pthread_attr_t attr;
	int state = -1;
	pthread_barrier_init(&s.told, NULL, 2);
	pthread_attr_init(&attr);
	EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
	start_with(&attr, tells_state, &s);
	pthread_barrier_wait(&s.told);
	CHECK(s.state == PTHREAD_CREATE_DETACHED);
	join(start(reports_state, &state));
	CHECK(state == PTHREAD_CREATE_JOINABLE);
	reports_state(&state);
	CHECK(state == PTHREAD_CREATE_JOINABLE);
	bounds_check(64 * KIB); /* main's */
	pthread_attr_destroy(&attr);
	step("states");
}

static void *looks_at(void *other) {
	pthread_attr_t attr;
	size_t size = 0;
	EQ(pthread_getattr_np(*(pthread_t *)other, &attr), 0);
	EQ(pthread_attr_getstacksize(&attr, &size), 0);
	pthread_attr_destroy(&attr);
	return (void *)size;
}

static void *waits(void *mutex) {
	pthread_mutex_lock(mutex);
	pthread_mutex_unlock(mutex);
	return NULL;
}

static void others(void) {
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_attr_t attr;
	pthread_mutex_lock(&mutex);
	pthread_attr_init(&attr);
	EQ(pthread_attr_setstacksize(&attr, 3 * MIB), 0);
	pthread_t t = start_with(&attr, waits, &mutex), main_thread = pthread_self();
	CHECK((size_t)looks_at(&t) >= 3 * MIB);
	CHECK((size_t)join(start(looks_at, &t)) >= 3 * MIB);
	CHECK((size_t)join(start(looks_at, &main_thread)) >= 64 * KIB);
	pthread_mutex_unlock(&mutex);
	join(t);
	pthread_attr_destroy(&attr);
	step("others");
}

static void defaults(void) {
	pthread_attr_t attr, old;
	size_t size = 0;
	EQ(pthread_getattr_default_np(&old), 0);
	pthread_attr_init(&attr);
	EQ(pthread_attr_setstacksize(&attr, 192 * KIB), 0);
	EQ(pthread_attr_setguardsize(&attr, 8192), 0);
	EQ(pthread_setattr_default_np(&attr), 0);
	EQ(join(start(reports_guard, NULL)), 8192);
	join(start(uses, (void *)(192 * KIB)));
	pthread_attr_t fresh;
	pthread_attr_init(&fresh);
	EQ(pthread_attr_getstacksize(&fresh, &size), 0);
	EQ(size, 192 * KIB);
	join(start_with(&fresh, uses, (void *)(192 * KIB)));
	EQ(pthread_setattr_default_np(&old), 0);
	EQ(pthread_attr_getstacksize(&old, &size), 0);
	join(start(uses, (void *)(size < MIB ? size : MIB)));
	pthread_attr_destroy(&fresh);
	pthread_attr_destroy(&attr);
	pthread_attr_destroy(&old);
	step("defaults");
}

static void *tells_mask(void *arg) {
	sigset_t now;
	(void)arg;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	return (void *)(intptr_t)(sigismember(&now, SIGUSR1) + 2 * sigismember(&now, SIGUSR2));
}

static void mask_and_affinity(void) {
	pthread_attr_t attr;
	sigset_t set;
	cpu_set_t cpus;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	EQ(join(start(tells_mask, NULL)), 2); /* the creator's */
	pthread_attr_init(&attr);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	EQ(pthread_attr_setsigmask_np(&attr, &set), 0);
	EQ(join(start_with(&attr, tells_mask, NULL)), 1);
	EQ(join(start(tells_mask, NULL)), 2);
	EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
	EQ(pthread_attr_setaffinity_np(&attr, sizeof cpus, &cpus), 0);
	EQ(join(start_with(&attr, tells_mask, NULL)), 1);
	EQ(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED), 0);
	EQ(join(start_with(&attr, tells_mask, NULL)), 1);
	pthread_attr_destroy(&attr);
	step("mask and affinity");
}

int main(void) {
	test_begin();
	sizes();
	smallest();
	own_stacks();
	own_stack_tryjoin();
	guards();
	states();
	others();
	defaults();
	mask_and_affinity();
	return test_end();
}
