/* setjmp/longjmp within threads, over waits; the pointer and stack guards behind them are the process's (TLS-8). makecontext-style stacks
 * inside a thread. */
#include "sync_test.h"

#include <setjmp.h>
#include <ucontext.h>

__attribute__((noinline)) static void jumps(jmp_buf env, int depth, int value) {
	volatile char frame[200];
	frame[0] = (char)depth;
	if (depth > 20)
		return;
	if (depth == 0)
		longjmp(env, value);
	sched_yield();
	jumps(env, depth - 1, value);
	frame[1] = frame[0];
}

static void *thread(void *arg) {
	volatile long wrong = 0;
	for (volatile int i = 1; i <= 30; i++) {
		jmp_buf env;
		volatile int before = i;
		int r = setjmp(env);
		if (r == 0) {
			if (i % 7 == 0)
				usleep(50); /* back on another kernel thread, perhaps */
			jumps(env, i % 10, i + 5);
			wrong++;
		}
		wrong += r != i + 5 || before != i;
		sigjmp_buf senv;
		if (sigsetjmp(senv, 1) == 0) {
			sched_yield();
			siglongjmp(senv, 1);
		}
	}
	(void)arg;
	return (void *)wrong;
}

/* Coroutines in threads: a stack of the thread's own making under it. */
static void co_body(int *count, ucontext_t *self, ucontext_t *back) {
	for (;;) {
		++*count;
		usleep(10); /* waits on a stack that is not the thread's */
		swapcontext(self, back);
	}
}

static void *coroutines(void *arg) {
	ucontext_t back, co;
	int count = 0;
	size_t size = 64 << 10;
	char *stack = malloc(size);
	getcontext(&co);
	co.uc_stack.ss_sp = stack;
	co.uc_stack.ss_size = size;
	co.uc_link = NULL;
	makecontext(&co, (void (*)(void))co_body, 3, &count, &co, &back);
	for (int i = 0; i < 50; i++)
		swapcontext(&back, &co);
	free(stack);
	(void)arg;
	return (void *)(long)(count != 50);
}

static _Atomic int exits;

static void at_exit(void) {
	exits++;
}

/* Function pointers that libc keeps are mangled with the pointer guard: registered here, called there. */
static void *registers(void *arg) {
	EQ(atexit(at_exit), 0);
	return arg;
}

static void last(void) {
	printf("handlers: %d\n", exits);
}

int main(void) {
	static pthread_t t[100];
	test_begin();
	atexit(last);
	for (int i = 0; i < 100; i++)
		t[i] = start(i % 4 ? thread : coroutines, NULL);
	for (int i = 0; i < 100; i++)
		EQ(join(t[i]), 0);
	for (int i = 0; i < 10; i++)
		join(start(registers, NULL));
	return test_end();
}
