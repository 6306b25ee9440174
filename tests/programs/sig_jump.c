/* siglongjmp() out of handlers (SIG-11), alternate stacks per thread (SIG-7), SIGSEGV on them, SA_RESETHAND, SA_NODEFER. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static __thread sigjmp_buf env;
static __thread char *alt;
static __thread volatile int on_alt;

static void on_segv(int sig, siginfo_t *info, void *context) {
	char here;
	(void)sig;
	(void)context;
	on_alt += alt && &here >= alt && &here < alt + 65536;
	siglongjmp(env, info->si_addr == (void *)16 ? 1 : 2);
}

static void on_usr1(int sig) {
	(void)sig;
	siglongjmp(env, 3);
}

#pragma GCC diagnostic ignored "-Winfinite-recursion"
__attribute__((noinline)) static int deep(volatile char *p) { /* a frame less than a guard: the next touches it */
	volatile char frame[4096];
	memset((char *)frame, 1, sizeof frame);
	return deep(frame) + p[0] + frame[17];
}

static volatile int faults, overflows, jumps, blocked;

static void *thread(void *arg) {
	volatile int i; /* kept over siglongjmp() */
	stack_t ss = {.ss_size = 65536};
	alt = ss.ss_sp = malloc(65536);
	sigaltstack(&ss, NULL);
	for (i = 0; i < 50; i++) {
		if (sigsetjmp(env, 1) == 0)
			*(volatile int *)16 = 1;
		else
			__atomic_add_fetch(&faults, 1, __ATOMIC_RELAXED);
		usleep(200);
		stack_t now;
		sigaltstack(NULL, &now);
		if (now.ss_sp != alt || now.ss_flags != 0)
			printf("alternate stack lost\n");
	}
	if (arg && sigsetjmp(env, 1) == 0)
		deep((volatile char *)"x");
	else if (arg)
		__atomic_add_fetch(&overflows, 1, __ATOMIC_RELAXED);
	for (i = 0; i < 200; i++) {
		if (sigsetjmp(env, 1) == 0)
			raise(SIGUSR1);
		else
			__atomic_add_fetch(&jumps, 1, __ATOMIC_RELAXED);
		if (i % 16 == 0)
			sched_yield();
	}
	sigset_t set;
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	blocked += sigismember(&set, SIGUSR1) + sigismember(&set, SIGSEGV);
	__atomic_add_fetch((int *)&overflows, on_alt == (arg ? 51 : 50) ? 1000 : 0, __ATOMIC_RELAXED);
	ss.ss_flags = SS_DISABLE;
	sigaltstack(&ss, NULL);
	free(alt);
	return NULL;
}

static volatile int resets, nested, depth;
static void on_reset(int sig) {
	(void)sig;
	resets++;
}
static void on_nested(int sig) {
	if (++depth < 5)
		raise(sig);
	nested++;
	depth--;
}

int main(void) {
	struct sigaction sa = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	pthread_t t[8];
	pthread_attr_t attr;
	sigaction(SIGSEGV, &sa, NULL);
	sa = (struct sigaction){.sa_handler = on_usr1};
	sigaction(SIGUSR1, &sa, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (long i = 0; i < 8; i++)
		pthread_create(&t[i], &attr, thread, (void *)(i % 2));
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	printf("faults %d, overflows %d, threads on their own alternate stack %d, jumps %d, still blocked %d\n", faults, overflows % 1000,
	       overflows / 1000, jumps, blocked);
	sa = (struct sigaction){.sa_handler = on_reset, .sa_flags = SA_RESETHAND};
	sigaction(SIGUSR2, &sa, NULL);
	raise(SIGUSR2);
	struct sigaction now;
	sigaction(SIGUSR2, NULL, &now);
	printf("reset: ran %d, default now %d\n", resets, now.sa_handler == SIG_DFL);
	sa = (struct sigaction){.sa_handler = on_nested, .sa_flags = SA_NODEFER};
	sigaction(SIGUSR2, &sa, NULL);
	raise(SIGUSR2);
	printf("nested: %d\n", nested);
	sigaction(SIGUSR2, NULL, &now);
	printf("shows what was set: %d %d\n", now.sa_handler == on_nested, (now.sa_flags & (SA_NODEFER | SA_SIGINFO)) == SA_NODEFER);
	printf("signal() shows it, too: %d\n", signal(SIGUSR2, SIG_IGN) == on_nested);
	raise(SIGUSR2);
	printf("ignored\n");
	return 0;
}
