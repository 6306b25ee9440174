/* Coroutines on small stacks of the program's own, full to the last byte: nothing may be written below or beside them by whoever wants the CPU.
 * Also handlers on alternate stacks; both kinds of stacks also in a frame of the thread's own, even where another thread has made the context; and threads on stacks that the
 * program brought. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { STACK = 16384, CANARY = 65536, THREADS = 4, USER_STACK = 65536, LOOPS = 8000000 };
static atomic_int bad;

struct coroutine {
	ucontext_t self, back;
	unsigned char below[CANARY], stack[STACK];
	long sum;
};

static __thread struct coroutine *current;

/* Descends until a few hundred bytes are left, computes there, and looks whether what it wrote is still there. */
static long descend(struct coroutine *c) {
	volatile unsigned char frame[256];
	memset((void *)frame, 0x5a, sizeof frame);
	long r = 0;
	if ((unsigned char *)frame - c->stack > 700)
		r = descend(c);
	else
		for (volatile long i = 0; i < LOOPS; i++)
			r++;
	for (size_t i = 0; i < sizeof frame; i++)
		bad += frame[i] != 0x5a;
	return r;
}

static void body(void) {
	struct coroutine *c = current;
	c->sum = descend(c);
	swapcontext(&c->self, &c->back);
}

static void *makes(void *arg) {
	struct coroutine *c = arg;
	getcontext(&c->self);
	c->self.uc_stack.ss_sp = c->stack;
	c->self.uc_stack.ss_size = sizeof c->stack;
	c->self.uc_link = NULL;
	makecontext(&c->self, body, 0);
	return NULL;
}

static void switches(struct coroutine *c) {
	makes(c);
	swapcontext(&c->back, &c->self);
}

static void switches_to_anothers(struct coroutine *c) {
	pthread_t t;
	pthread_create(&t, NULL, makes, c);
	pthread_join(t, NULL);
	swapcontext(&c->back, &c->self);
}

static void jumps_to_anothers(struct coroutine *c) {
	pthread_t t;
	volatile bool jumped = false;
	pthread_create(&t, NULL, makes, c);
	pthread_join(t, NULL);
	getcontext(&c->back);
	if (jumped)
		return;
	jumped = true;
	setcontext(&c->self);
}

static void handler(int sig) {
	(void)sig;
	current->sum = descend(current);
}

static void is_signalled(struct coroutine *c) {
	stack_t alternate = {.ss_sp = c->stack, .ss_size = sizeof c->stack}, none = {.ss_flags = SS_DISABLE};
	sigaltstack(&alternate, NULL);
	raise(SIGUSR1);
	sigaltstack(&none, NULL);
}

static void fill(struct coroutine *c, void (*enter)(struct coroutine *)) {
	for (int round = 0; round < 4; round++) {
		memset(c->below, 0xc3, sizeof c->below);
		c->sum = 0;
		current = c;
		enter(c);
		bad += c->sum != LOOPS;
		for (size_t i = 0; i < sizeof c->below; i++)
			bad += c->below[i] != 0xc3;
	}
}

static void *run(void *arg) {
	struct coroutine *c = calloc(1, sizeof *c);
	fill(c, switches);
	fill(c, is_signalled);
	free(c);
	return arg;
}

static void *run_in_frame(void *arg) {
	struct coroutine here;
	fill(&here, arg ? switches : is_signalled);
	return arg;
}

static void *run_anothers(void *arg) {
	struct coroutine here;
	for (int i = 0; i < 3; i++)
		fill(&here, arg ? switches_to_anothers : jumps_to_anothers);
	return arg;
}

int main(void) {
	pthread_t t[4 * THREADS];
	pthread_attr_t attr;
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
	sigaction(SIGUSR1, &action, NULL);
	static unsigned char stacks[THREADS][USER_STACK] __attribute__((aligned(4096)));
	pthread_attr_init(&attr);
	for (int i = 0; i < THREADS; i++) {
		pthread_create(&t[i], NULL, run, NULL);
		pthread_attr_setstack(&attr, stacks[i], USER_STACK);
		pthread_create(&t[THREADS + i], &attr, run, NULL);
		pthread_create(&t[2 * THREADS + i], NULL, run_in_frame, i % 2 ? &attr : NULL);
		pthread_create(&t[3 * THREADS + i], NULL, run_anothers, i % 2 ? &attr : NULL);
	}
	run_in_frame(NULL);
	run_in_frame(&attr);
	for (int i = 0; i < 4 * THREADS; i++)
		pthread_join(t[i], NULL);
	printf("%d bad\n", bad);
	return bad != 0;
}
