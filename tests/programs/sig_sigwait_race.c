/* A signal sent to one thread while that is on its way into sigwait(), sigwaitinfo() or sigtimedwait() with it blocked: none is lost (SIG-5), whatever
 * moment the thread is at. The sender hears of each before it sends the next, so a lost one is a hang, and it sends after a different delay each time. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS = 4 };
static int rounds = 1000;
static struct pair {
	pthread_t waiter, sender;
	sem_t got;
	int wrong;
} pairs[PAIRS];
static sigset_t set;

static void *waits(void *arg) {
	struct pair *p = arg;
	for (int i = 0; i < rounds; i++) {
		struct timespec long_time = {1000, 0};
		siginfo_t info;
		int sig = 0;
		if (i % 3 == 0)
			sigwait(&set, &sig);
		else
			sig = i % 3 == 1 ? sigwaitinfo(&set, &info) : sigtimedwait(&set, &info, &long_time);
		p->wrong += sig != SIGUSR1;
		sem_post(&p->got);
	}
	return NULL;
}

static void *sends(void *arg) {
	struct pair *p = arg;
	for (int i = 0; i < rounds; i++) {
		for (volatile int spin = i * 37 % 2000; spin > 0; spin--)
			continue;
		pthread_kill(p->waiter, SIGUSR1);
		sem_wait(&p->got);
	}
	return NULL;
}

int main(int argc, char **argv) {
	int wrong = 0;
	if (argc > 1)
		rounds = atoi(argv[1]);
	alarm(argc > 1 ? 600 : 100);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < PAIRS; i++) {
		sem_init(&pairs[i].got, 0, 0);
		pthread_create(&pairs[i].waiter, NULL, waits, &pairs[i]);
		pthread_create(&pairs[i].sender, NULL, sends, &pairs[i]);
	}
	for (int i = 0; i < PAIRS; i++) {
		pthread_join(pairs[i].waiter, NULL);
		pthread_join(pairs[i].sender, NULL);
		wrong += pairs[i].wrong;
	}
	printf("%d wrong\n", wrong);
	return 0;
}
