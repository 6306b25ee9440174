/* A program that handles its crashes itself: GOSHIM=panic=isolate changes nothing for it, as long as its handler is there. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static __thread sigjmp_buf back;
static volatile int zero;

static void handler(int sig) {
	siglongjmp(back, sig);
}

static void *crash(void *arg) {
	int sig = sigsetjmp(back, 1);
	if (sig == 0) {
		if (arg)
			abort();
		*(volatile int *)(long)(zero + 8) = 1;
	}
	return (void *)(long)sig;
}

static void show(int sig) {
	struct sigaction now;
	sigaction(sig, NULL, &now);
	printf("%s: %s, flags %x, masks %d\n", strsignal(sig),
	       now.sa_handler == SIG_DFL ? "default" : now.sa_handler == handler ? "handler" : "FAILED", (unsigned)now.sa_flags & 0xfbffffff,
	       sigismember(&now.sa_mask, SIGUSR1));
}

int main(void) {
	pthread_t thread;
	void *result;
	struct sigaction ours = {.sa_handler = handler, .sa_flags = SA_NODEFER};
	for (int round = 0; round < 3; round++) {
		/* Before the first thread, and after it: set, looked at, taken back. */
		for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
			show(signals[i]);
			sigaction(signals[i], &ours, NULL);
			show(signals[i]);
		}
		for (long aborts = 0; aborts < 2; aborts++) {
			pthread_create(&thread, NULL, crash, (void *)aborts);
			pthread_join(thread, &result);
			printf("caught %s\n", strsignal((int)(long)result));
		}
		for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
			signal(signals[i], SIG_DFL);
	}
	return 0;
}
