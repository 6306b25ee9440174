/* A signal that another process directs at main, by tgkill(), is main's and nobody else's, whatever the other threads mask and do, and main's wait ends for it: also when
 * they block it and were the last to run, when main has only just stopped to block it, or does so for one wait only. While main blocks it, it is pending, though others
 * would take it. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, ROUNDS = 60, PASSES = 20, LATER_US = 1500, WAIT_S = 5 };

static volatile int hits, strays, stop;
static volatile time_t hit_at;
static pthread_t main_thread;
static sem_t go[THREADS], never;
static int asks[2];
static sigset_t usr1, none;

static time_t now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void on_signal(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)context;
	hit_at = now();
	if (pthread_equal(pthread_self(), main_thread) && info->si_code == SI_TKILL && info->si_pid != getpid())
		hits++;
	else
		strays++;
}

/* When main waits, they run for a while, one after the other. */
static void *runs(void *arg) {
	long i = (long)arg;
	while (!sem_wait(&go[i]) && !stop) {
		for (int n = 0; n < PASSES; n++)
			sched_yield();
		usleep(100);
	}
	return arg;
}

static void threads_make(pthread_t *t, int how) {
	pthread_sigmask(how, &usr1, NULL);
	stop = 0;
	for (long i = 0; i < THREADS; i++) {
		sem_init(&go[i], 0, 0);
		pthread_create(&t[i], NULL, runs, (void *)i);
	}
}

static void threads_end(const pthread_t *t) {
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		sem_post(&go[i]);
	for (int i = 0; i < THREADS; i++)
		while (pthread_join(t[i], NULL))
			;
}

static void ask(void) {
	for (int i = 0; i < THREADS; i++)
		sem_post(&go[i]);
	if (write(asks[1], "", 1) != 1)
		_exit(2);
}

/* Main's waits. Each ends for the signal; if that came before main waited, after WAIT_S. */
static void waits(int round) {
	struct timespec long_time = {WAIT_S, 0}, until;
	struct pollfd nothing = {.fd = asks[1], .events = POLLIN};
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	switch (round % 4) {
	case 0:
		sem_timedwait(&never, &until);
		return;
	case 1:
		nanosleep(&long_time, NULL);
		return;
	case 2:
		poll(&nothing, 1, WAIT_S * 1000);
		return;
	default:
		select(0, NULL, NULL, NULL, &(struct timeval){WAIT_S, 0});
	}
}

static void open_main(const char *name, int how) {
	pthread_t t[THREADS];
	int late = 0;
	hits = 0;
	threads_make(t, how);
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	for (int i = 0; i < ROUNDS && !late; i++) {
		time_t asked = now();
		ask();
		waits(i);
		late += hits != i + 1 || hit_at - asked >= WAIT_S - 1;
	}
	threads_end(t);
	printf("%s: %d, late %d\n", name, hits, late);
}

static void open_while_waiting(const char *name, int how) {
	pthread_t t[THREADS];
	hits = 0;
	threads_make(t, how);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		ask();
		while (hits == i)
			sigsuspend(&none);
	}
	threads_end(t);
	printf("%s: %d\n", name, hits);
}

/* It comes while main has it blocked, and waits in a call that opens nothing. */
static void open_late(const char *name, int how) {
	pthread_t t[THREADS];
	int early = 0;
	hits = 0;
	threads_make(t, how);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_sigmask(SIG_BLOCK, &usr1, NULL);
		ask();
		usleep(2 * LATER_US);
		early += hits - i;
		pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
		while (hits == i)
			usleep(100);
	}
	threads_end(t);
	printf("%s: %d, early %d\n", name, hits, early);
}

int main(void) {
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
	char c;
	sigemptyset(&usr1);
	sigemptyset(&none);
	sigaddset(&usr1, SIGUSR1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	main_thread = pthread_self();
	sem_init(&never, 0, 0);
	if (pipe(asks))
		return 2;
	pid_t pid = getpid();
	if (fork() == 0) {
		close(asks[1]);
		while (read(asks[0], &c, 1) == 1) {
			usleep(LATER_US);
			syscall(SYS_tgkill, pid, pid, SIGUSR1);
		}
		_exit(0);
	}
	close(asks[0]);
	alarm(25);
	sigaction(SIGUSR1, &sa, NULL);
	open_main("all take it", SIG_UNBLOCK);
	open_main("main alone takes it", SIG_BLOCK);
	open_while_waiting("main, while it waits", SIG_BLOCK);
	open_while_waiting("main, while it waits; others always", SIG_UNBLOCK);
	open_late("main, late", SIG_BLOCK);
	open_late("main, late; others always", SIG_UNBLOCK);
	printf("strays %d\n", strays);
	return 0;
}
