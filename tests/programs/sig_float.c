/* A handler begins with the floating-point environment that the kernel gives it, whatever its thread has set, and leaves that as it was: rounding, exceptions that
 * are not masked, and those that have been raised (SIG-12). Also where no frame of the kernel's is around it: its thread waits, or opens its mask. What it writes into its
 * ucontext_t its thread goes on with. */
#include <fenv.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum how { WAITS, SUSPENDED, OPENS, COMPUTES, WAYS };
static const char *const names[] = {"waits", "suspended", "opens its mask", "computes"};

static sem_t begun, end;
static volatile double zero, result;
static volatile int handled, rounds;

static void handler(int sig, siginfo_t *info, void *context) {
	(void)sig, (void)info, (void)context;
	rounds = fegetround() != FE_TONEAREST;
	result = 1 / zero; /* kills where exceptions are not masked */
	fesetround(FE_DOWNWARD);
#ifdef __x86_64__
	if (handled++ == 1)
		((ucontext_t *)context)->uc_mcontext.fpregs->mxcsr |= 0x8000; /* flush to zero */
#else
	handled++;
#endif
}

static void *thread(void *arg) {
	int how = (int)(long)arg;
	sigset_t set, none;
	unsigned control = 0;
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (how == SUSPENDED || how == OPENS)
		pthread_sigmask(SIG_BLOCK, &set, NULL);
	feclearexcept(FE_ALL_EXCEPT);
	feenableexcept(FE_DIVBYZERO);
	fesetround(FE_UPWARD);
	int before = handled;
	sem_post(&begun);
	switch (how) {
	case WAITS:
		while (sem_wait(&end) != 0)
			continue;
		break;
	case SUSPENDED:
		sigsuspend(&none);
		sem_wait(&end);
		break;
	case OPENS:
		sem_wait(&end);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
		break;
	default:
		while (handled == before)
			continue;
		sem_wait(&end);
	}
#ifdef __x86_64__
	__asm__ volatile("stmxcsr %0" : "=m"(control));
#endif
	printf("%-16s round %d (in the handler %d), raised %d, enabled %d, control %x\n", names[how], fegetround() == FE_UPWARD, rounds, fetestexcept(FE_ALL_EXCEPT),
	       fegetexcept() == FE_DIVBYZERO, control);
	return NULL;
}

int main(void) {
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaction(SIGUSR1, &sa, NULL);
	sem_init(&begun, 0, 0);
	sem_init(&end, 0, 0);
	for (long how = 0; how < WAYS; how++) {
		pthread_t t;
		int before = handled;
		pthread_create(&t, NULL, thread, (void *)how);
		sem_wait(&begun);
		usleep(20000); /* time to get there; it makes no difference to what must happen */
		pthread_kill(t, SIGUSR1);
		while (how != OPENS && handled == before)
			usleep(1000);
		sem_post(&end);
		pthread_join(t, NULL);
	}
	return 0;
}
