/* kill() and sigqueue() take the id of any thread of a process for the process: a thread that does not block the signal gets it. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static pid_t tid;
static sem_t known, taken, end;
static pthread_t taker;

static void handler(int sig, siginfo_t *info, void *context) {
	(void)context;
	if (sig == SIGUSR1 && pthread_equal(pthread_self(), taker) && info->si_pid == getpid() &&
	    (info->si_code == SI_USER || info->si_value.sival_int == 7))
		sem_post(&taken);
}

static void *blocks(void *arg) {
	tid = gettid();
	sem_post(&known);
	while (sem_wait(&end) != 0)
		;
	return arg;
}

static void *takes(void *arg) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (sem_wait(&end) != 0)
		;
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	pthread_t blocker;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sem_init(&known, 0, 0);
	sem_init(&taken, 0, 0);
	sem_init(&end, 0, 0);
	pthread_create(&blocker, NULL, blocks, NULL);
	pthread_create(&taker, NULL, takes, NULL);
	sem_wait(&known);
	printf("kill: %d\n", kill(tid, SIGUSR1));
	sem_wait(&taken);
	printf("kill with 0: %d\n", kill(tid, 0));
	printf("sigqueue: %d\n", sigqueue(tid, SIGUSR1, (union sigval){.sival_int = 7}));
	sem_wait(&taken);
	sem_post(&end);
	sem_post(&end);
	pthread_join(blocker, NULL);
	pthread_join(taker, NULL);
	puts("end");
	return 0;
}
