/* Contexts with signal masks of their own: setcontext() and swapcontext() change the mask of the thread that calls them and of no other, let in what was
 * pending, and save the mask that was; one saved context may be resumed many times (SIG-6). */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "contexts.h"

enum { ROUNDS = 200, THREADS = 4, STACK = 64 * 1024 };

static volatile int strays;
static __thread ucontext_t back, inner;
static __thread int wrong;

/* Runs with SIGUSR1 open and SIGUSR2 blocked; who calls it has them the other way round. */
static void body(int a, int b) {
	wrong += a != 7 || b != 9;
	for (int i = 0;; i++) {
		wrong += blocks(SIGUSR1) || !blocks(SIGUSR2) || hits != i + 1;
		pthread_kill(pthread_self(), SIGUSR2);
		usleep(i % 16 ? 0 : 100); /* others run here meanwhile */
		wrong += blocks(SIGUSR1) || !blocks(SIGUSR2) || hits != i + 1;
		hits = 0;
		if (swapcontext(&inner, &back))
			wrong++;
	}
}

static void *swaps(void *arg) {
	char *stack = malloc(STACK);
	sigset_t usr1, usr2;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	getcontext(&inner);
	inner.uc_stack.ss_sp = stack;
	inner.uc_stack.ss_size = STACK;
	inner.uc_link = &back;
	inner.uc_sigmask = usr2;
	makecontext(&inner, (void (*)(void))body, 2, 7, 9);
	pthread_sigmask(SIG_SETMASK, &usr1, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		wrong += !blocks(SIGUSR1) || blocks(SIGUSR2);
		hits = i;
		pthread_kill(pthread_self(), SIGUSR1);
		wrong += hits != i;
		if (swapcontext(&back, &inner))
			wrong++;
		wrong += !blocks(SIGUSR1) || blocks(SIGUSR2) || hits != 1;
	}
	printf("wrong: %d\n", wrong);
	free(stack);
	return arg;
}

/* Has a mask of neither kind, and is never to be seen with another. */
static void *bystander(void *arg) {
	for (int i = 0; i < ROUNDS; i++) {
		strays += blocks(SIGUSR1) || blocks(SIGUSR2) || hits;
		usleep(50);
	}
	return arg;
}

static void nothing(void) {
}

/* A context that swapcontext() saved, resumed again and again after the function that saved it went on. */
static void *again(void *arg) {
	char *stack = malloc(STACK);
	volatile int times = 0;
	sigset_t hup;
	sigemptyset(&hup);
	sigaddset(&hup, SIGHUP);
	getcontext(&inner);
	inner.uc_stack.ss_sp = stack;
	inner.uc_stack.ss_size = STACK;
	inner.uc_link = &back;
	inner.uc_sigmask = hup;
	makecontext(&inner, nothing, 0);
	int r = swapcontext(&back, &inner);
	times++;
	char line[100];
	snprintf(line, sizeof line, "%d: resumed with %d, HUP blocked %d", times, r,
		 blocks(SIGHUP)); /* where the frame of the call was */
	puts(line);
	if (times < 4) {
		pthread_sigmask(SIG_BLOCK, times % 2 ? &hup : NULL, NULL);
		setcontext(&back);
	}
	volatile int once = 0;
	ucontext_t here;
	hits = 0;
	getcontext(&here);
	if (!once) {
		once = 1;
		sigset_t usr1;
		sigemptyset(&usr1);
		sigaddset(&usr1, SIGUSR1);
		pthread_sigmask(SIG_BLOCK, &usr1, NULL);
		pthread_kill(pthread_self(), SIGUSR1);
		printf("blocked: %d\n", hits);
		setcontext(&here);
	}
	printf("let in by setcontext: %d\n", hits);
	free(stack);
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_handler = on_signal};
	pthread_t t[2 * THREADS];
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	for (int i = 0; i < 2 * THREADS; i++)
		pthread_create(&t[i], NULL, i % 2 ? bystander : swaps, NULL);
	for (int i = 0; i < 2 * THREADS; i++)
		pthread_join(t[i], NULL);
	printf("strays: %d\n", strays);
	pthread_create(&t[0], NULL, again, NULL);
	pthread_join(t[0], NULL);
	again(NULL);
	return 0;
}
