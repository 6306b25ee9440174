/* Signal masks per thread: inherited, kept over parks and migrations (SIG-6), pending signals delivered on unblocking. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 40, ROUNDS = 300 };
static volatile int wrong;
static int pipes[2];
static sem_t turn;

/* The kernel's own idea of it. */
static unsigned long kernel_mask(void) {
	unsigned long mask = 0;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
	return mask;
}

static void *own_mask(void *arg) {
	long id = (long)arg;
	sigset_t set;
	sigemptyset(&set);
	for (int bit = 0; bit < 6; bit++)
		if (id >> bit & 1)
			sigaddset(&set, SIGRTMIN + 1 + bit);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	unsigned long want = kernel_mask();
	for (int i = 0; i < ROUNDS; i++) {
		if (i % 4 == 0)
			usleep(100);
		else if (i % 4 == 1) {
			sem_wait(&turn);
			sem_post(&turn);
		} else
			sched_yield();
		if (kernel_mask() != want)
			wrong++;
	}
	return NULL;
}

static volatile int ran;
static pthread_t ran_on;
static void on_signal(int sig) {
	(void)sig;
	ran++;
	ran_on = pthread_self();
}

static void *inherits(void *arg) {
	sigset_t set;
	(void)arg;
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	printf("inherited: USR1 %d, USR2 %d\n", sigismember(&set, SIGUSR1), sigismember(&set, SIGUSR2));
	/* blocked: stays pending with this thread */
	raise(SIGUSR1);
	raise(SIGUSR1);
	sigset_t pending;
	sigpending(&pending);
	printf("pending: USR1 %d, ran %d\n", sigismember(&pending, SIGUSR1), ran);
	usleep(2000);
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	printf("unblocked: ran %d, here %d\n", ran, pthread_equal(ran_on, pthread_self()) != 0);
	sigpending(&pending);
	printf("pending: USR1 %d\n", sigismember(&pending, SIGUSR1));
	printf("bad how: %s\n", strerror(pthread_sigmask(77, &one, NULL)));
	return NULL;
}

/* The only thread that accepts a signal gets it, asleep or not, though main and the others block it. */
static volatile int done;
static pthread_t acceptor;
static void *accepts(void *arg) {
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	sem_post(arg);
	while (!done) {
		char b;
		if (read(pipes[0], &b, 1) < 0 && errno != EINTR)
			break;
	}
	return NULL;
}

static volatile int accepted, elsewhere;
static sem_t accepted_sem;
static void on_accept(int sig) {
	(void)sig;
	accepted++;
	if (!pthread_equal(acceptor, pthread_self()))
		elsewhere++;
	sem_post(&accepted_sem);
}

int main(void) {
	pthread_t t[THREADS], one;
	sigset_t set;
	sem_t ready;
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sem_init(&turn, 0, 1);
	sem_init(&ready, 0, 0);
	sem_init(&accepted_sem, 0, 0);
	pipe(pipes);
	sigaction(SIGUSR1, &sa, NULL);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, own_mask, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	printf("wrong masks: %d\n", wrong);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&one, NULL, inherits, NULL);
	pthread_join(one, NULL);

	sa.sa_handler = on_accept;
	sigaction(SIGUSR2, &sa, NULL);
	pthread_create(&acceptor, NULL, accepts, &ready);
	sem_wait(&ready);
	for (int i = 0; i < 300; i++) {
		kill(getpid(), SIGUSR2);
		sem_wait(&accepted_sem);
	}
	done = 1;
	write(pipes[1], "x", 1);
	pthread_join(acceptor, NULL);
	printf("accepted: %d, elsewhere: %d\n", accepted, elsewhere);
	/* Nobody accepts it any more: it stays pending, and main gets it when it unblocks. */
	kill(getpid(), SIGUSR2);
	usleep(20000);
	sigpending(&set);
	printf("pending: %d, accepted %d\n", sigismember(&set, SIGUSR2), accepted);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	printf("accepted: %d, elsewhere: %d\n", accepted, elsewhere);
	return 0;
}
