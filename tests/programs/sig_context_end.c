/* A context's function ends, with another signal mask than that of the context which comes after it: the thread has the mask of that one then, now and after
 * others have run where it did, and what it lets in comes (SIG-6). Arguments, few and many; the last context of all ends the process. */
#include "contexts.h"
#include "sync_test.h"

#include <signal.h>
#include <ucontext.h>

enum { ROUNDS = 100, THREADS = 4, STACK = 64 * 1024 };

static __thread ucontext_t back, first, second;
static __thread char *stacks[2];
static __thread int ran;

static void block(int sig) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void few(int a, unsigned high, unsigned low) {
	CHECK(a == -3 && high == 0x12345678 && low == 0x9abcdef0);
	CHECK(blocks(SIGUSR2) && !blocks(SIGUSR1));
	pthread_kill(pthread_self(), SIGUSR2); /* pends until the next one lets it in */
	block(SIGHUP);
	EQ(hits, 0);
	ran++;
}

static void many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j) {
	CHECK(a == 1 && b == 2 && c == 3 && d == 4 && e == 5 && f == 6 && g == 7 && h == 8 && i == 9 && j == -10);
	CHECK(!blocks(SIGUSR2) && !blocks(SIGUSR1) && !blocks(SIGHUP));
	EQ(hits, 1);
	block(SIGUSR2);
	usleep(10);
	ran++;
}

static void context_prepare(ucontext_t *c, int stack, ucontext_t *after, int sig) {
	getcontext(c);
	c->uc_stack.ss_sp = stacks[stack];
	c->uc_stack.ss_size = STACK;
	c->uc_link = after;
	sigemptyset(&c->uc_sigmask);
	if (sig)
		sigaddset(&c->uc_sigmask, sig);
}

static void *runs(void *arg) {
	for (int i = 0; i < 2; i++)
		stacks[i] = malloc(STACK);
	block(SIGUSR1);
	for (int i = 0; i < ROUNDS; i++) {
		hits = 0;
		context_prepare(&first, 0, &second, SIGUSR2);
		makecontext(&first, (void (*)(void))few, 3, -3, 0x12345678, 0x9abcdef0);
		EQ(first.uc_stack.ss_size, STACK);
		context_prepare(&second, 1, &back, 0);
		makecontext(&second, (void (*)(void))many, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, -10);
		EQ(swapcontext(&back, &first), 0);
		CHECK(blocks(SIGUSR1) && !blocks(SIGUSR2) && !blocks(SIGHUP));
		usleep(i % 8 ? 0 : 50);
		CHECK(blocks(SIGUSR1) && !blocks(SIGUSR2) && !blocks(SIGHUP));
		pthread_kill(pthread_self(), SIGUSR2);
		EQ(hits, 2);
		EQ(ran, 2 * (i + 1));
	}
	for (int i = 0; i < 2; i++)
		free(stacks[i]);
	return arg;
}

static void at_end(void) {
	printf("the process ends\n");
}

static void last(void) {
	printf("the last context\n");
}

static void *ends_all(void *arg) {
	stacks[0] = malloc(STACK);
	context_prepare(&first, 0, NULL, 0);
	makecontext(&first, last, 0);
	setcontext(&first);
	return arg;
}

int main(void) {
	test_begin();
	signal(SIGUSR2, on_signal);
	signal(SIGUSR1, on_signal);
	pthread_t t[THREADS];
	for (int i = 0; i < THREADS; i++)
		t[i] = start(runs, NULL);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	test_end();
	atexit(at_end);
	fflush(stdout);
	join(start(ends_all, NULL));
	printf("not reached\n");
	return 1;
}
