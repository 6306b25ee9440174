/* A thread with an alternate signal stack waits and wakes all the time while signals to the process come in: whichever kernel thread a
 * signal finds, its frame never lands on that stack while the thread runs a handler there (SIG-7). Frames that overlap send one kernel
 * thread back to where another was: the program crashes, hangs or reads what it never asked for. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 1500, STACK = 256 << 10, WORKERS = 4 };
static volatile sig_atomic_t taken, nested, spoilt;
static int there[2], back[2];
static volatile int stop;

static void on_signal(int sig) {
	volatile char frame[2048];
	static volatile sig_atomic_t depth;
	(void)sig;
	nested += depth++;
	memset((char *)frame, (char)taken, sizeof frame);
	for (volatile int i = 0; i < 3000; i++)
		continue;
	for (size_t i = 0; i < sizeof frame; i++)
		spoilt += frame[i] != (char)taken;
	taken++;
	depth--;
}

static void *echo(void *arg) {
	char c;
	while (read(there[0], &c, 1) == 1) {
		for (volatile int j = 0; j < 20000; j++)
			continue;
		if (write(back[1], &c, 1) != 1)
			break;
	}
	return arg;
}

static void *restless(void *arg) {
	while (!stop) {
		for (volatile int i = 0; i < 10000; i++)
			continue;
		usleep(30);
	}
	return arg;
}

int main(void) {
	pthread_t threads[WORKERS + 1];
	sigset_t set;
	stack_t ss = {.ss_sp = malloc(STACK), .ss_size = STACK};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	if (pipe(there) || pipe(back))
		return 1;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pid_t pid = getpid(), child = fork();
	if (child == 0) {
		for (int i = 0; getppid() == pid; i++) {
			kill(pid, SIGUSR1);
			for (volatile int j = i % 7 * 3000; j > 0; j--)
				continue;
		}
		_exit(0);
	}
	pthread_create(&threads[0], NULL, echo, NULL);
	for (int i = 1; i <= WORKERS; i++)
		pthread_create(&threads[i], NULL, restless, NULL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!taken) /* a busy machine lets the child wait */
		usleep(100);
	char c = 'x';
	for (int i = 0; i < ROUNDS; i++) {
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			return 2;
		if (i % 4 == 0)
			usleep(50);
	}
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		continue;
	stop = 1;
	close(there[1]);
	for (int i = 0; i <= WORKERS; i++)
		pthread_join(threads[i], NULL);
	printf("signals: %s\n", taken > 0 ? "taken" : "none");
	printf("handlers on top of each other: %d, frames spoilt: %d\n", (int)nested, (int)spoilt);
	return 0;
}
