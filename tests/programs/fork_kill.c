/* pthread_kill() in a fork's child: the parent's other threads are not there (until a new thread has such a one's name); who forked is. In the
 * parent a thread that has ended and was not joined can be sent anything. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static sem_t end;
static pthread_t other, ended;

static void *waits(void *arg) {
	sem_wait(&end);
	return arg;
}

static void *returns(void *arg) {
	return arg;
}

static void child(void) {
	pthread_t t;
	printf("child: another %d, ", pthread_kill(other, SIGUSR1));
	printf("asked for %d, itself %d\n", pthread_kill(other, 0), pthread_kill(pthread_self(), 0));
	pthread_create(&t, NULL, waits, NULL);
	printf("its thread %d, ", pthread_kill(t, 0));
	sem_post(&end);
	pthread_join(t, NULL);
	printf("itself %d\n", pthread_kill(pthread_self(), 0));
	fflush(stdout);
	_exit(0);
}

static void *forks(void *arg) {
	printf("another %d, one that has ended %d %d\n", pthread_kill(other, 0), pthread_kill(ended, 0), pthread_kill(ended, SIGUSR1));
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		child();
	waitpid(pid, NULL, 0);
	return arg;
}

int main(void) {
	pthread_t t;
	signal(SIGUSR1, SIG_IGN);
	sem_init(&end, 0, 0);
	pthread_create(&other, NULL, waits, NULL);
	pthread_create(&ended, NULL, returns, NULL);
	while (pthread_tryjoin_np(ended, NULL) != 0)
		usleep(100);
	pthread_create(&ended, NULL, returns, NULL);
	usleep(20000); /* natively 0 either way */
	pthread_create(&t, NULL, forks, NULL);
	pthread_join(t, NULL);
	forks(NULL);
	sem_post(&end);
	pthread_join(other, NULL);
	pthread_join(ended, NULL);
	return 0;
}
