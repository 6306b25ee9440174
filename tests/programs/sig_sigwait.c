/* A signal thread as servers have it: every thread blocks everything, one sits in sigwait(). None of the signals sent to the process
 * and none of the queued ones may be lost, reordered or end the process (SIG-4). */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KILLS = 3000, QUEUED = 20000, WORKERS = 16 };

static sem_t handled, room;
static volatile int stop;
static long kills, in_order;

static void *signal_thread(void *arg) {
	sigset_t *set = arg;
	long next = 0;
	for (;;) {
		siginfo_t info;
		int sig = sigwaitinfo(set, &info);
		if (sig == SIGUSR1) {
			kills++;
			sem_post(&handled);
		} else if (sig == SIGRTMIN + 3) {
			in_order += info.si_value.sival_int == next && info.si_code == SI_QUEUE && info.si_pid == getpid();
			next++;
			sem_post(&room);
			if (next == QUEUED)
				sem_post(&handled);
		} else if (sig == SIGTERM) {
			return NULL;
		}
	}
}

static void *worker(void *arg) {
	unsigned long n = 0;
	while (!stop) {
		n++;
		if (n % 64 == 0)
			usleep(100);
	}
	return arg;
}

static void *nothing(void *arg) {
	return arg;
}

int main(void) {
	sigset_t set;
	pthread_t signals, workers[WORKERS];
	/* While everything is open yet: whatever the library starts for itself must not stay so. */
	pthread_create(&signals, NULL, nothing, NULL);
	pthread_join(signals, NULL);
	sigfillset(&set);
	sem_init(&handled, 0, 0);
	sem_init(&room, 0, 64);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&signals, NULL, signal_thread, &set);
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&workers[i], NULL, worker, NULL);
	for (int i = 0; i < KILLS; i++) {
		kill(getpid(), SIGUSR1);
		while (sem_wait(&handled) != 0)
			;
	}
	printf("kills: %ld\n", kills);
	for (int i = 0; i < QUEUED; i++) {
		sem_wait(&room);
		if (sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = i}) != 0) {
			puts("sigqueue failed");
			return 1;
		}
	}
	sem_wait(&handled);
	printf("queued, in order: %ld\n", in_order);
	/* sigwait in two threads: each signal is taken once */
	stop = 1;
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i], NULL);
	kill(getpid(), SIGTERM);
	pthread_join(signals, NULL);
	int sig;
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGHUP);
	raise(SIGHUP);
	printf("sigwait: %d", sigwait(&one, &sig));
	printf(" %s\n", sig == SIGHUP ? "SIGHUP" : "other");
	struct timespec now = {0, 0}, soon = {0, 20000000};
	printf("nothing there: %d %d\n", sigtimedwait(&one, NULL, &now), sigtimedwait(&one, NULL, &soon));
	return 0;
}
