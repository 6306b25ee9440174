/* sigsuspend, ppoll, pselect: the mask is changed atomically with the wait (SIG-16): a signal that is pending already, or comes at the
 * worst moment, ends it. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/select.h>
#include <unistd.h>

enum { ROUNDS = 2000 };
static volatile int ran, masked_inside;
static pthread_t waiter;
static sem_t next;

static void on_signal(int sig) {
	sigset_t set;
	(void)sig;
	ran++;
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	masked_inside += sigismember(&set, SIGUSR1);
}

static void *sender(void *arg) {
	for (int i = 0; i < 3 * ROUNDS; i++) {
		while (sem_wait(&next) != 0)
			;
		if (i % 3 == 0)
			sched_yield();
		pthread_kill(waiter, SIGUSR1);
	}
	return arg;
}

static void *receiver(void *arg) {
	sigset_t set, open;
	int eintr = 0, early = 0, wrong = 0;
	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &open);
	sigdelset(&open, SIGUSR1);
	for (int way = 0; way < 3; way++) {
		eintr = early = wrong = 0;
		for (int i = 0; i < ROUNDS; i++) {
			int before = ran, r;
			sem_post(&next);
			if (way == 0)
				r = sigsuspend(&open);
			else if (way == 1)
				r = ppoll(NULL, 0, NULL, &open);
			else
				r = pselect(0, NULL, NULL, NULL, NULL, &open);
			eintr += r == -1 && errno == EINTR;
			early += ran != before + 1;
			sigset_t now;
			pthread_sigmask(SIG_BLOCK, NULL, &now);
			wrong += !sigismember(&now, SIGUSR1);
		}
		printf("%s: EINTR %d, without handler %d, mask not restored %d\n", way == 0 ? "sigsuspend" : way == 1 ? "ppoll" : "pselect", eintr, early, wrong);
	}
	return NULL;
}

int main(void) {
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t t;
	sigset_t set;
	sem_init(&next, 0, 0);
	sigaction(SIGUSR1, &sa, NULL);
	/* blocked in every thread but while the receiver waits */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&waiter, NULL, receiver, NULL);
	pthread_create(&t, NULL, sender, NULL);
	pthread_join(waiter, NULL);
	pthread_join(t, NULL);
	printf("handlers: %d, with the signal masked: %d\n", ran, masked_inside);
	return 0;
}
