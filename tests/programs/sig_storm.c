/* Queued real-time signals to threads that park, yield, compute and block them now and then: none lost, none doubled, each sender's in order,
 * each on its thread, while a timer hits the process (SIG-9, SIG-15). At each instruction of a switch: tests/unit/test_switch.c. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { TARGETS = 8, SENDERS = 3, EACH = 4000 };
static __thread int me = -1;
static long got[TARGETS][SENDERS];
static int disordered, misplaced, doubled_inside;
static volatile int stop, ticks;
static sem_t sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int pipes[TARGETS][2];
static pthread_t targets[TARGETS];

static void on_queued(int sig, siginfo_t *info, void *context) {
	static __thread volatile int inside;
	int sender = info->si_value.sival_int & 15, number = info->si_value.sival_int >> 4 & 0xffff, to = info->si_value.sival_int >> 20;
	int saved = errno;
	(void)sig;
	(void)context;
	if (inside++)
		__atomic_add_fetch(&doubled_inside, 1, __ATOMIC_RELAXED);
	if (to != me || info->si_code != SI_QUEUE)
		__atomic_add_fetch(&misplaced, 1, __ATOMIC_RELAXED);
	else if (got[me][sender]++ != number)
		__atomic_add_fetch(&disordered, 1, __ATOMIC_RELAXED);
	if (number % 16 == 0)
		write(pipes[me][1], "s", 1); /* wakes itself */
	sem_post(&sem);
	inside--;
	errno = saved;
}

static void on_alarm(int sig) {
	(void)sig;
	ticks++;
}

static void *target(void *arg) {
	sigset_t set;
	unsigned seed = 1;
	volatile double x = 1;
	me = (int)(long)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!stop) {
		char b[64];
		switch (rand_r(&seed) % 6) {
		case 0:
			read(pipes[me][0], b, sizeof b);
			break;
		case 1:
			sem_wait(&sem);
			sem_post(&sem);
			break;
		case 2:
			usleep(50);
			break;
		case 3:
			pthread_sigmask(SIG_BLOCK, &set, NULL);
			sched_yield();
			pthread_mutex_lock(&mutex);
			sched_yield();
			pthread_mutex_unlock(&mutex);
			pthread_sigmask(SIG_UNBLOCK, &set, NULL);
			break;
		case 4:
			for (int i = 0; i < 2000; i++)
				x = x * 1.000001 + 0.5;
			break;
		case 5:
			free(malloc(rand_r(&seed) % 2000));
			break;
		}
	}
	return NULL;
}

static void *sender(void *arg) {
	int id = (int)(long)arg;
	for (int n = 0; n < EACH; n++) {
		for (int to = 0; to < TARGETS; to++) {
			union sigval v = {.sival_int = id | n << 4 | to << 20};
			int r;
			while ((r = pthread_sigqueue(targets[to], SIGRTMIN + 2, v)) == EAGAIN)
				usleep(100);
			if (r)
				printf("pthread_sigqueue: %s\n", strerror(r));
		}
		if (n % 64 == 63) /* not more in flight than RLIMIT_SIGPENDING of a small machine */
			for (int to = 0; to < TARGETS; to++)
				while (__atomic_load_n(&got[to][id], __ATOMIC_RELAXED) <= n - 60 && !disordered && !misplaced)
					usleep(100);
	}
	return NULL;
}

int main(void) {
	pthread_t s[SENDERS];
	struct sigaction sa = {.sa_sigaction = on_queued, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct itimerval it = {{0, 1000}, {0, 1000}}, none = {{0, 0}, {0, 0}};
	sigset_t set;
	sem_init(&sem, 0, 1);
	sigaction(SIGRTMIN + 2, &sa, NULL);
	sa.sa_handler = on_alarm;
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	for (long i = 0; i < TARGETS; i++) {
		pipe(pipes[i]);
		pthread_create(&targets[i], NULL, target, (void *)i);
	}
	for (long i = 0; i < SENDERS; i++)
		pthread_create(&s[i], NULL, sender, (void *)i);
	for (int i = 0; i < SENDERS; i++)
		pthread_join(s[i], NULL);
	for (int i = 0; i < TARGETS; i++)
		for (int j = 0; j < SENDERS; j++)
			while (__atomic_load_n(&got[i][j], __ATOMIC_RELAXED) < EACH && !disordered && !misplaced)
				usleep(1000);
	stop = 1;
	for (int i = 0; i < TARGETS; i++)
		write(pipes[i][1], "x", 1);
	for (int i = 0; i < TARGETS; i++)
		pthread_join(targets[i], NULL);
	setitimer(ITIMER_REAL, &none, NULL);
	long sum = 0;
	for (int i = 0; i < TARGETS; i++)
		for (int j = 0; j < SENDERS; j++)
			sum += got[i][j];
	printf("delivered %ld, disordered %d, misplaced %d, nested %d, ticks %s\n", sum, disordered, misplaced, doubled_inside, ticks > 5 ? "many" : "few");
	return 0;
}
