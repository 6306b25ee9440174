/* Several threads read one signalfd: each signal is read once, whether it was sent to the process or to one of them. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { READERS = 3, SIGNALS = 200 };

static int fd;
static _Atomic int got[SIGNALS], total;
static pthread_barrier_t ready;

static void *reader(void *arg) {
	struct signalfd_siginfo info;
	pthread_barrier_wait(&ready);
	for (;;) {
		if (read(fd, &info, sizeof info) != sizeof info)
			exit(1);
		if (info.ssi_int < 0)
			return arg;
		got[info.ssi_int]++;
		total++;
	}
}

static void send(pthread_t *to, int value) {
	union sigval v = {.sival_int = value};
	if (to ? pthread_sigqueue(*to, SIGRTMIN, v) : sigqueue(getpid(), SIGRTMIN, v))
		exit(2);
}

static void all(const char *how, int directed) {
	pthread_t t[READERS];
	int once = 0;
	total = 0;
	for (int i = 0; i < READERS; i++)
		pthread_create(&t[i], NULL, reader, NULL);
	pthread_barrier_wait(&ready);
	for (int i = 0; i < SIGNALS; i++)
		send(directed ? &t[i % READERS] : NULL, i);
	for (int i = 0; i < READERS; i++)
		send(NULL, -1); /* a thread that has ended cannot be signalled */
	for (int i = 0; i < READERS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < SIGNALS; i++) {
		once += got[i] == 1;
		got[i] = 0;
	}
	printf("%s: %d read, %d once\n", how, total, once);
}

int main(void) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, 0);
	pthread_barrier_init(&ready, NULL, READERS + 1);
	all("to the process", 0);
	all("to one thread", 1);
	return 0;
}
