/* Several signals that a thread may take at once. The kernel makes a frame for each before it lets the thread go on, the lowest first: so
 * the highest one's handler runs first, on top of the others' frames; unless a lower one's mask keeps it away (SIG-6). With sigsuspend(), ppoll() and by
 * unblocking; in main and in a thread; where one of them forks. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { SIGNALS = 4 };
static int order[16], masks[16], count;
static volatile int fork_in = -1;
static pid_t child;

static void on_signal(int sig, siginfo_t *info, void *context) {
	sigset_t now;
	int returns_to = 0;
	(void)info;
	for (int i = 0; i < SIGNALS; i++)
		returns_to |= sigismember(&((ucontext_t *)context)->uc_sigmask, SIGRTMIN + i) << i;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	int in = 0;
	for (int i = 0; i < SIGNALS; i++)
		in |= sigismember(&now, SIGRTMIN + i) << i;
	order[count] = sig - SIGRTMIN;
	masks[count++] = in << 4 | returns_to;
	if (sig - SIGRTMIN == fork_in)
		child = fork();
}

static void set(int masking, int flags) {
	for (int i = 0; i < SIGNALS; i++) {
		struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags};
		sigemptyset(&sa.sa_mask);
		for (int k = 0; masking && k < SIGNALS; k++) {
			if (masking == 1 || k == (i + 1) % SIGNALS)
				sigaddset(&sa.sa_mask, SIGRTMIN + k);
		}
		sigaction(SIGRTMIN + i, &sa, NULL);
	}
}

static void show(const char *what, int masking) {
	char line[300];
	int n = snprintf(line, sizeof line, "%s, masking %d:", what, masking);
	for (int i = 0; i < count; i++)
		n += snprintf(line + n, sizeof line - (size_t)n, " %d (%x)", order[i], (unsigned)masks[i]);
	line[n++] = '\n';
	write(1, line, (size_t)n);
	count = 0;
}

static void *all(void *arg) {
	sigset_t rt, before;
	sigemptyset(&rt);
	for (int i = 0; i < SIGNALS; i++)
		sigaddset(&rt, SIGRTMIN + i);
	pthread_sigmask(SIG_BLOCK, &rt, &before);
	for (int masking = 0; masking < 3; masking++) {
		for (int way = 0; way < 3; way++) {
			set(masking, way == 1 ? SA_RESTART : 0);
			for (int i = SIGNALS - 1; i >= 0; i--) {
				pthread_kill(pthread_self(), SIGRTMIN + i);
				pthread_kill(pthread_self(), SIGRTMIN + i);
			}
			if (way == 0) {
				pthread_sigmask(SIG_SETMASK, &before, NULL);
				pthread_sigmask(SIG_BLOCK, &rt, NULL);
				show("unblocked", masking);
			} else if (way == 1) {
				sigsuspend(&before);
				show("sigsuspend", masking);
			} else {
				ppoll(NULL, 0, &(struct timespec){10, 0}, &before);
				show("ppoll", masking);
			}
			pthread_sigmask(SIG_SETMASK, &before, NULL);
			pthread_sigmask(SIG_BLOCK, &rt, NULL);
			show("the rest", masking);
		}
	}
	set(0, 0);
	fork_in = 2; /* in the middle: below it others wait for their turn, on both sides */
	for (int i = 0; i < SIGNALS; i++)
		pthread_kill(pthread_self(), SIGRTMIN + i);
	pid_t me = getpid();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (getpid() != me) {
		show("the child", 0);
		_exit(0);
	}
	fork_in = -1;
	waitpid(child, NULL, 0);
	show("its parent", 0);
	return arg;
}

int main(void) {
	pthread_t t;
	pthread_create(&t, NULL, all, NULL);
	pthread_join(t, NULL);
	all(NULL);
	return 0;
}
