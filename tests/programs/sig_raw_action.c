/* Handlers that are installed by syscall(SYS_rt_sigaction), as runtimes of other languages do: like those of sigaction(), which shows them, each runs on the thread that
 * it is sent to and ends its wait. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's own. */
struct action {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

static sem_t begun, end;
static volatile int handled;
static pthread_t handled_by;

static void handler(int sig) {
	(void)sig;
	handled_by = pthread_self();
	handled++;
}

static void *thread(void *arg) {
	int interrupted = 0;
	sem_post(&begun);
	while (sem_wait(&end) != 0)
		interrupted++;
	printf("interrupted %d, handled %d\n", interrupted, handled);
	return arg;
}

static void direct(const char *when) {
	struct action a = {0}, old;
	struct sigaction sa = {.sa_handler = handler}, seen;
	pthread_t t;
	handled = 0;
	/* What the kernel needs to return from it libc has put there. */
	sigaction(SIGUSR2, &sa, NULL);
	syscall(SYS_rt_sigaction, SIGUSR2, NULL, &a, 8);
	a.handler = handler;
	a.mask = 1ul << (SIGHUP - 1);
	printf("%s: set %ld\n", when, syscall(SYS_rt_sigaction, SIGUSR1, &a, NULL, 8));
	sigaction(SIGUSR1, NULL, &seen);
	printf("libc sees it %d, its mask %d\n", seen.sa_handler == handler, sigismember(&seen.sa_mask, SIGHUP));
	memset(&old, 0, sizeof old);
	syscall(SYS_rt_sigaction, SIGUSR1, NULL, &old, 8);
	printf("the kernel's shows it %d, its mask %lx\n", old.handler == handler, old.mask);
	printf("refused: %ld %ld %ld\n", syscall(SYS_rt_sigaction, SIGKILL, &a, NULL, 8), syscall(SYS_rt_sigaction, SIGUSR1, &a, NULL, 4),
	       syscall(SYS_rt_sigaction, SIGUSR1, (void *)8, NULL, 8));
	pthread_create(&t, NULL, thread, NULL);
	sem_wait(&begun);
	usleep(20000);
	pthread_kill(t, SIGUSR1);
	while (!handled)
		usleep(1000);
	printf("on that thread %d\n", pthread_equal(handled_by, t));
	sem_post(&end);
	pthread_join(t, NULL);
	a.handler = SIG_IGN;
	syscall(SYS_rt_sigaction, SIGUSR1, &a, &old, 8);
	raise(SIGUSR1);
	printf("ignored, before that it was %d\n", old.handler == handler);
}

int main(void) {
	sem_init(&begun, 0, 0);
	sem_init(&end, 0, 0);
	direct("before there is a thread");
	direct("after");
	return 0;
}
