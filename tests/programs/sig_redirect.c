/* A handler sends its thread elsewhere, by what it writes into its ucontext_t: as runtimes do that throw an exception in a thread, or have it call something. The thread goes on there,
 * with the stack, the arguments and the mask that are written there, wherever the signal met it. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK = 64 << 10 };
static const char *const names[] = {"waits", "raises", "opens its mask", "computes"};
static sem_t begun, never;
static volatile int stop;
static __thread sigjmp_buf back;
static __thread char stack[STACK] __attribute__((aligned(16)));

static void there(long a, long b) {
	sigset_t mask;
	char here;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	if (&here < stack || &here > stack + sizeof stack || !sigismember(&mask, SIGUSR2) || sigismember(&mask, SIGUSR1))
		a = 100;
	siglongjmp(back, (int)(a + b));
}

static void handler(int sig, siginfo_t *info, void *context) {
	ucontext_t *uc = context;
	(void)sig, (void)info;
	sigaddset(&uc->uc_sigmask, SIGUSR2);
	sigdelset(&uc->uc_sigmask, SIGUSR1);
#ifdef __x86_64__
	uc->uc_mcontext.gregs[REG_RIP] = (long)there;
	uc->uc_mcontext.gregs[REG_RSP] = (long)(stack + sizeof stack) - 8;
	uc->uc_mcontext.gregs[REG_RDI] = 3;
	uc->uc_mcontext.gregs[REG_RSI] = 4;
#else
	uc->uc_mcontext.pc = (unsigned long)there;
	uc->uc_mcontext.sp = (unsigned long)(stack + sizeof stack);
	uc->uc_mcontext.regs[0] = 3;
	uc->uc_mcontext.regs[1] = 4;
#endif
}

static void meets(int how) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	switch (how) {
	case 0:
		sem_post(&begun);
		for (;;)
			sem_wait(&never);
	case 1:
		raise(SIGUSR1);
		break;
	case 2:
		pthread_sigmask(SIG_BLOCK, &set, NULL);
		raise(SIGUSR1);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
		break;
	default:
		sem_post(&begun);
		while (!stop)
			continue;
	}
}

static void *thread(void *arg) {
	for (volatile int how = 0; how < 4; how++) {
		int r = sigsetjmp(back, 1);
		if (r == 0) {
			meets(how);
			r = -1;
		}
		printf("%s: %d\n", names[how], r);
	}
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
	pthread_t t;
	sigaction(SIGUSR1, &sa, NULL);
	sem_init(&begun, 0, 0);
	sem_init(&never, 0, 0);
	pthread_create(&t, NULL, thread, NULL);
	for (int i = 0; i < 2; i++) {
		sem_wait(&begun);
		usleep(20000);
		pthread_kill(t, SIGUSR1);
	}
	sleep(1);
	stop = 1;
	pthread_join(t, NULL);
	return 0;
}
