/* pthread_kill() runs the handler on the thread it names, wherever that is: running, queued, parked (SIG-5). */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static __thread int me;
static volatile int on_thread[64];
static sem_t seen;

static void on_signal(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)context;
	if (info->si_code == SI_TKILL && info->si_pid == getpid())
		on_thread[me]++;
	sem_post(&seen);
}

enum { SPINS, YIELDS, SLEEPS, READS, SEM, COND, MUTEX, JOIN, WAYS };
static volatile int stop;
static int pipes[2];
static sem_t sem, started;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, held = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_t spinner;

static void *thread(void *arg) {
	me = (int)(long)arg;
	sem_post(&started);
	switch (me) {
	case SPINS:
		while (!stop)
			;
		break;
	case YIELDS:
		while (!stop)
			sched_yield();
		break;
	case SLEEPS:
		while (!stop)
			usleep(50000);
		break;
	case READS: {
		char b;
		while (read(pipes[0], &b, 1) < 0)
			;
		break;
	}
	case SEM:
		while (sem_wait(&sem) != 0)
			;
		break;
	case COND:
		pthread_mutex_lock(&mutex);
		while (!stop)
			pthread_cond_wait(&cond, &mutex);
		pthread_mutex_unlock(&mutex);
		break;
	case MUTEX:
		pthread_mutex_lock(&held);
		pthread_mutex_unlock(&held);
		break;
	case JOIN:
		pthread_join(spinner, NULL);
		break;
	}
	return NULL;
}

static _Atomic pid_t nobody;

static void *nothing(void *arg) {
	nobody = gettid();
	return arg;
}

static volatile int selfs;
static void on_self(int sig) {
	(void)sig;
	selfs++;
}

int main(void) {
	static const char *names[] = {"spinning", "yielding", "sleeping", "in read", "in sem_wait", "in cond_wait", "in mutex_lock", "in join"};
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	pthread_t t[WAYS], gone;
	sigaction(SIGUSR1, &sa, NULL);
	pipe(pipes);
	sem_init(&seen, 0, 0);
	sem_init(&sem, 0, 0);
	sem_init(&started, 0, 0);
	pthread_mutex_lock(&held);
	for (long i = 0; i < WAYS; i++) {
		pthread_create(&t[i], NULL, thread, (void *)i);
		if (i == SPINS)
			spinner = t[0];
		while (sem_wait(&started) != 0)
			;
	}
	usleep(20000);
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < WAYS; i++) {
			if (pthread_kill(t[i], SIGUSR1) != 0)
				printf("pthread_kill failed\n");
			while (sem_wait(&seen) != 0)
				;
		}
	}
	stop = 1;
	write(pipes[1], "x", 1);
	sem_post(&sem);
	pthread_mutex_lock(&mutex);
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	pthread_mutex_unlock(&held);
	for (int i = 1; i < WAYS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < WAYS; i++)
		printf("%s: %d\n", names[i], on_thread[i]);

	/* Oneself: the handler has run when raise() and pthread_kill() return. */
	sa = (struct sigaction){.sa_handler = on_self};
	sigaction(SIGUSR2, &sa, NULL);
	int missed = 0;
	for (int i = 0; i < 2000; i++) {
		int before = selfs;
		if (i % 3 == 0)
			raise(SIGUSR2);
		else if (i % 3 == 1)
			pthread_kill(pthread_self(), SIGUSR2);
		else
			kill(getpid(), SIGUSR2);
		missed += selfs != before + 1;
	}
	printf("own: %d, late %d\n", selfs, missed);

	/* Exited and not joined: success, no effect, a default action neither (CAN-6). Bad numbers. */
	pthread_create(&gone, NULL, nothing, NULL);
	while (!nobody || tgkill(getpid(), nobody, 0) == 0)
		usleep(1000);
	void *result = &missed;
	char name[16];
	printf("exited, and wrong: %d %d, its name: %d %d\n", pthread_kill(gone, 999), pthread_kill(gone, 32), pthread_setname_np(gone, "x"),
	       pthread_getname_np(gone, name, sizeof name));
	printf("exited, defaults: %d %d %d, cancel: %d", pthread_kill(gone, SIGTERM), pthread_kill(gone, SIGKILL), pthread_kill(gone, SIGSEGV),
	       pthread_cancel(gone));
	printf(", ");
	printf("exited: %d %d, bad: %d, probe: %d\n", pthread_kill(gone, 0), pthread_kill(gone, SIGUSR1), pthread_kill(pthread_self(), 999) == EINVAL,
	       pthread_kill(pthread_self(), 0));
	pthread_join(gone, &result);
	printf("its result: %s\n", result == NULL ? "its own" : "another");
	return 0;
}
