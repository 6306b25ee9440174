/* A chain of forks from threads: each child makes threads, forks in one of them, and so on. What is the forking thread's and main's stays whole, the threads that did
 * not come along give their memory to new ones, and nothing grows from child to child. */
#include "sync_test.h"

#include <sys/wait.h>

enum { GENERATIONS = 16, EARLY = 6, CROWD = 12, TOUCH = 96 << 10, WORDS = 512 };

static int (*mains)[WORDS];
static pthread_barrier_t barrier;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

/* KiB. */
static long memory(const char *field) {
	char line[128];
	long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, field, strlen(field)) == 0)
			kib = atol(line + strlen(field));
	if (f)
		fclose(f);
	return kib;
}

static void *touches(void *arg) {
	char deep[TOUCH];
	memset(deep, (int)(long)arg, sizeof deep);
	__asm__ volatile("" : : "r"(deep) : "memory");
	for (size_t i = 0; i < sizeof deep; i += 4096)
		CHECK(deep[i] == (char)(long)arg);
	return arg;
}

/* Lives while the other forks; never comes back in the child. */
static void *stays(void *arg) {
	touches(arg);
	pthread_barrier_wait(&barrier);
	pthread_mutex_lock(&held);
	pthread_mutex_unlock(&held);
	return NULL;
}

static bool whole(int *words, int first) {
	for (int i = 0; i < WORDS; i++)
		if (words[i] != first + i)
			return false;
	return true;
}

static void fill(int *words, int first) {
	for (int i = 0; i < WORDS; i++)
		words[i] = first + i;
}

struct generation {
	int number;
	long resident, size;
};

static void *generation(void *arg);

/* On the thread that forked, in the child. */
static void in_child(struct generation last) {
	int mine[WORDS];
	fill(mine, last.number);
	struct generation next = {last.number + 1, last.resident, last.size};
	if (next.number == EARLY) {
		next.resident = memory("VmRSS:");
		next.size = memory("VmSize:");
	}
	join(start(generation, &next)); /* in a thread of its own */
	CHECK(whole(mine, last.number));
	CHECK(whole(*mains, 1000));
	fflush(stdout);
	_exit(failures != 0);
}

static void *generation(void *arg) {
	struct generation *g = arg;
	pthread_t crowd[CROWD];
	int mine[WORDS], status = 0;
	fill(mine, g->number * 3);
	if (g->number == GENERATIONS) {
		long resident = memory("VmRSS:") - g->resident, size = memory("VmSize:") - g->size;
		CHECK(resident < 4096);
		CHECK(size < 1 << 20); /* address space only */
		return NULL;
	}
	for (long i = 0; i < CROWD; i++)
		crowd[i] = start(touches, (void *)i);
	for (int i = 0; i < CROWD; i++)
		join(crowd[i]);
	pthread_mutex_init(&held, NULL);
	pthread_mutex_lock(&held);
	pthread_barrier_init(&barrier, NULL, CROWD + 1);
	for (long i = 0; i < CROWD; i++)
		crowd[i] = start(stays, (void *)i);
	pthread_barrier_wait(&barrier);
	pid_t pid = fork();
	if (pid == 0) {
		in_child(*g);
	}
	CHECK(pid > 0);
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
	CHECK(whole(mine, g->number * 3));
	pthread_mutex_unlock(&held);
	for (int i = 0; i < CROWD; i++)
		join(crowd[i]);
	return NULL;
}

int main(void) {
	int words[WORDS];
	struct generation first = {0, 0, 0};
	test_begin();
	fill(words, 1000);
	mains = &words;
	join(start(generation, &first));
	CHECK(whole(words, 1000));
	return test_end();
}
