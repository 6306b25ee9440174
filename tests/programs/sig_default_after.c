/* A thread takes a signal's last handler away the moment it has run: whatever is still on its way about that one signal must not act as a
 * second one, whose default action would end the process (SIG-5). Each process tries each signal once, in the first seconds of its life. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 25 };
static const int signals[] = {SIGHUP,  SIGINT,	SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM,  SIGXCPU,
			      SIGPROF, SIGPOLL, SIGPWR,	 SIGVTALRM, SIGXFSZ, SIGQUIT};
enum { SIGNALS = sizeof signals / sizeof *signals };
static volatile sig_atomic_t taken;
static pthread_t main_thread;
static sem_t ready;

static void on_signal(int sig) {
	taken = sig;
}

static void *sender(void *arg) {
	for (int i = 0; i < SIGNALS; i++) {
		while (sem_wait(&ready) != 0)
			continue;
		for (volatile int j = 0; j < i % 4 * 20000; j++)
			continue;
		if (i % 2)
			kill(getpid(), signals[i]);
		else
			pthread_kill(main_thread, signals[i]);
	}
	return arg;
}

static int child(void) {
	pthread_t t;
	main_thread = pthread_self();
	sem_init(&ready, 0, 0);
	for (int i = 0; i < SIGNALS; i++)
		signal(signals[i], on_signal);
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before); /* only main takes them */
	pthread_create(&t, NULL, sender, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	for (int i = 0; i < SIGNALS; i++) {
		sem_post(&ready);
		while (taken != signals[i])
			poll(NULL, 0, 1000);
		signal(signals[i], SIG_DFL);
	}
	pthread_join(t, NULL);
	return 0;
}

static void *nothing(void *arg) {
	return arg;
}

int main(void) {
	int good = 0;
	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(child());
		int status = -1;
		if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
			printf("killed by signal %d\n", WTERMSIG(status));
		good += status == 0;
	}
	pthread_t t;
	pthread_create(&t, NULL, nothing, NULL);
	pthread_join(t, NULL);
	printf("%d of %d processes lived\n", good, PROCESSES);
	return 0;
}
