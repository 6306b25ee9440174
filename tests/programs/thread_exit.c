/* How threads end: return, pthread_exit() from nested frames with cleanup handlers, from handlers and destructors; who they are: self, equal,
 * gettid() unique, stable, and the same by syscall() (TLS-11). */
#include "sync_test.h"

#include <stdint.h>
#include <sys/syscall.h>

static char trace[200];
static pthread_key_t key;

static void note(void *text) {
	strcat(trace, text);
}

static void destroy(void *text) {
	strcat(trace, text);
}

__attribute__((noinline)) static void deep(int depth) {
	volatile char frame[100];
	frame[0] = (char)depth;
	if (depth > 3)
		return;
	pthread_cleanup_push(note, depth % 2 ? "(odd)" : "(even)");
	if (depth == 0)
		pthread_exit((void *)4711);
	deep(depth - 1);
	pthread_cleanup_pop(0);
	frame[1] = frame[0];
}

static void *exits_deep(void *arg) {
	pthread_setspecific(key, "(key)");
	pthread_cleanup_push(note, "(outer)");
	pthread_cleanup_push(note, "(popped)");
	pthread_cleanup_pop(1);
	deep(3);
	pthread_cleanup_pop(0);
	return arg;
}

static void *returns(void *arg) {
	pthread_setspecific(key, "(key)");
	return arg;
}

static void ends(void) {
	EQ(pthread_key_create(&key, destroy), 0);
	for (int i = 0; i < 3; i++) {
		trace[0] = '\0';
		EQ(join(start(exits_deep, NULL)), 4711);
		puts(trace);
	}
	trace[0] = '\0';
	EQ(join(start(returns, (void *)-1)), -1);
	puts(trace);
	EQ(pthread_key_delete(key), 0);
	step("ends");
}

/* ---- who ------------------------------------------------------------------------------------------------------------------ */

enum { N = 300 };
struct who {
	pthread_t given, self;
	pid_t tid;
};
static struct who who[N];
static pthread_barrier_t all;
static __thread char own;
static char *owns[N];

static void *identifies(void *arg) {
	struct who *w = arg;
	w->self = pthread_self();
	w->tid = gettid();
	owns[w - who] = &own;
	pthread_barrier_wait(&all); /* all live at once */
	for (int i = 0; i < 20; i++) {
		if (i % 5 == 4)
			usleep(200);
		else
			sched_yield();
		CHECK(gettid() == w->tid && syscall(SYS_gettid) == w->tid && pthread_equal(pthread_self(), w->self) && &own == owns[w - who]);
	}
	CHECK(getpid() != w->tid);
	pthread_barrier_wait(&all);
	return NULL;
}

static int by_tid(const void *a, const void *b) {
	return ((const struct who *)a)->tid - ((const struct who *)b)->tid;
}

static void identities(void) {
	pthread_barrier_init(&all, NULL, N);
	CHECK(gettid() == getpid() && syscall(SYS_gettid) == getpid());
	for (int i = 0; i < N; i++)
		who[i].given = start(identifies, &who[i]);
	for (int i = 0; i < N; i++)
		join(who[i].given);
	for (int i = 0; i < N; i++) {
		CHECK(pthread_equal(who[i].given, who[i].self));
		CHECK(!pthread_equal(who[i].self, pthread_self()));
		for (int k = 0; k < i; k++)
			CHECK(!pthread_equal(who[i].self, who[k].self) && owns[i] != owns[k]);
	}
	qsort(who, N, sizeof *who, by_tid);
	for (int i = 1; i < N; i++)
		CHECK(who[i].tid != who[i - 1].tid);
	CHECK(gettid() == getpid());
	step("identities");
}

int main(void) {
	test_begin();
	ends();
	identities();
	return test_end();
}
