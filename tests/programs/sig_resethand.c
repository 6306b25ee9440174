/* SA_RESETHAND: the handler runs once, and the default is in force from then on; whatever the thread was doing when the signal came, and
 * however many signals follow. */
#include <sys/wait.h>

#include "sync_test.h"

#include <signal.h>
#include <unistd.h>

enum { ROUNDS = 1500 };

static _Atomic int ran;
static _Atomic bool stop;

static void once(int sig) {
	(void)sig;
	ran++;
}

static void install(int sig, int flags) {
	struct sigaction act = {.sa_handler = once, .sa_flags = (int)SA_RESETHAND | flags};
	sigaction(sig, &act, NULL);
}

static bool is_default(int sig) {
	struct sigaction now;
	sigaction(sig, NULL, &now);
	return now.sa_handler == SIG_DFL;
}

/* In and out of the library and the kernel all the time. */
static void *busy(void *arg) {
	int fds[2];
	char c = 0;
	if (pipe(fds))
		return NULL;
	for (unsigned i = 0; !stop; i++) {
		if (i % 3 == 0)
			sched_yield();
		else if (i % 3 == 1 && write(fds[1], &c, 1) == 1)
			while (read(fds[0], &c, 1) != 1)
				continue;
		else
			for (volatile int spin = i % 500; spin; spin--)
				continue;
	}
	close(fds[0]);
	close(fds[1]);
	return arg;
}

static void runs_once(int sig, bool to_process) {
	pthread_t t[2];
	int lost = 0;
	stop = false;
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, busy, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		int before = ran;
		install(sig, i & 1 ? SA_RESTART : 0);
		if (to_process)
			kill(getpid(), sig);
		else
			pthread_kill(t[i & 1], sig);
		while (ran == before)
			sched_yield();
		lost += ran != before + 1 || !is_default(sig);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	printf("signal %d to %s: %d wrong\n", sig, to_process ? "the process" : "a thread", lost);
}

static void *raise_twice(void *arg) {
	raise(SIGUSR1);
	raise(SIGUSR1);
	return arg;
}

static void in_child(const char *what, void (*f)(void)) {
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		f();
		_exit(ran);
	}
	int status;
	waitpid(child, &status, 0);
	printf("%s: %s %d\n", what, WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void second_kills(void) {
	pthread_t t;
	install(SIGUSR1, 0);
	pthread_create(&t, NULL, raise_twice, NULL);
	pthread_join(t, NULL);
}

/* What the default ignores is ignored: no handler, no end. */
static void second_is_ignored(void) {
	pthread_t t;
	ran = 0;
	install(SIGURG, 0);
	pthread_create(&t, NULL, busy, NULL);
	for (int i = 0; i < 100; i++)
		pthread_kill(t, SIGURG);
	while (!ran)
		sched_yield();
	kill(getpid(), SIGURG);
	stop = true;
	pthread_join(t, NULL);
}

static void fault(void) {
	install(SIGSEGV, 0);
	pthread_t t;
	pthread_create(&t, NULL, busy, NULL);
	*(volatile int *)8 = 1;
}

/* All of them that the kernel shows, libc's own included. */
static void shows(const char *when, int sig) {
	struct sigaction now;
	sigaction(sig, NULL, &now);
	printf("%s: %s, flags %#x, masks SIGHUP %d, SIGQUIT %d, SIGKILL %d\n", when, now.sa_handler == SIG_DFL ? "default" : "handler", (unsigned)now.sa_flags,
	       sigismember(&now.sa_mask, SIGHUP), sigismember(&now.sa_mask, SIGQUIT), sigismember(&now.sa_mask, SIGKILL));
}

/* The handler goes, the flags and the mask stay. */
static void flags_stay(int sig) {
	struct sigaction act = {.sa_handler = once, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
	sigaddset(&act.sa_mask, SIGHUP);
	sigaddset(&act.sa_mask, SIGKILL);
	sigaction(sig, &act, NULL);
	shows("set", sig);
	raise(sig);
	shows("raised", sig);
	act.sa_handler = SIG_DFL;
	act.sa_flags = SA_NODEFER;
	sigaddset(&act.sa_mask, SIGQUIT);
	sigaction(sig, &act, NULL);
	shows("default", sig);
	act.sa_handler = once;
	sigfillset(&act.sa_mask);
	sigaction(sig, &act, NULL);
	shows("again", sig);
}

static void reports(void) {
	struct sigaction old;
	install(SIGUSR2, SA_NODEFER | SA_RESTART);
	sigaction(SIGUSR2, NULL, &old);
	printf("before: %d %#x\n", old.sa_handler == once, old.sa_flags & (SA_RESETHAND | SA_NODEFER | SA_RESTART | SA_SIGINFO));
	raise(SIGUSR2);
	sigaction(SIGUSR2, NULL, &old);
	printf("after: %d\n", old.sa_handler == SIG_DFL);
	install(SIGUSR2, 0);
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGUSR2, &ignore, &old);
	printf("replaced: %d\n", old.sa_handler == once);
	raise(SIGUSR2);
}

int main(void) {
	pthread_t t;
	stop = true;
	pthread_create(&t, NULL, busy, NULL);
	pthread_join(t, NULL);
	runs_once(SIGUSR1, false);
	runs_once(SIGUSR1, true);
	runs_once(SIGCHLD, false);
	runs_once(SIGRTMIN + 1, false);
	reports();
	flags_stay(SIGUSR1);
	flags_stay(SIGCHLD);
	stop = false;
	ran = 0;
	in_child("the second kills", second_kills);
	in_child("the second is ignored", second_is_ignored);
	in_child("fault", fault);
	return 0;
}
