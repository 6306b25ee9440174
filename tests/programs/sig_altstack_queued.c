/* A signal that waited (sent while the thread blocked it, or sat in a wait) runs its handler on the thread's alternate stack, too, if
 * SA_ONSTACK says so: from there (SIG-7) a handler sees what it would in a kernel's frame, may be interrupted, wait, fork, jump out, end the thread. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 128 << 10 };
static __thread char *alt;
static __thread sigjmp_buf env;
static __thread char *outer;
static int there[2], back[2];
static enum { PLAIN, NESTED, WAITING, FORKING, JUMPING, EXITING } todo;

static int on_alt(const char *p) {
	return p >= alt && p < alt + STACK;
}

static void show(const char *what, const char *p, const ucontext_t *context) {
	stack_t now, other = {.ss_sp = alt, .ss_size = STACK};
	sigaltstack(NULL, &now);
	int refused = sigaltstack(&other, NULL) < 0 && errno == EPERM;
	printf("%s: on it %d, so it says %d, change refused %d, context %d %d\n", what, on_alt(p), now.ss_flags == SS_ONSTACK, refused,
	       context->uc_stack.ss_sp == alt, context->uc_stack.ss_flags);
	fflush(stdout);
}

static void on_inner(int sig, siginfo_t *info, void *context) {
	char here;
	(void)sig;
	(void)info;
	(void)context;
	printf("inner: on it %d, below the outer one %d\n", on_alt(&here), &here < outer);
	fflush(stdout);
}

static void on_elsewhere(int sig) {
	char here;
	(void)sig;
	printf("without SA_ONSTACK: on it %d\n", on_alt(&here));
	fflush(stdout);
}

static void forks(const ucontext_t *context) {
	char here;
	pid_t child = fork();
	if (child == 0) {
		show("child", &here, context);
		raise(SIGUSR2);
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static void on_outer(int sig, siginfo_t *info, void *context) {
	char here, c = 'w';
	(void)info;
	outer = &here;
	show(sig == SIGUSR1 ? "outer" : "?", &here, context);
	switch (todo) {
	case PLAIN: break;
	case NESTED: raise(SIGUSR2); break;
	case WAITING:
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			_exit(2);
		printf("waited: still on it %d\n", on_alt(&here));
		break;
	case FORKING: forks(context); break;
	case JUMPING: siglongjmp(env, 1); /* with the mask of before the signal */
	case EXITING: pthread_exit((void *)7L);
	}
}

static void after(void) {
	stack_t now;
	sigset_t set;
	sigaltstack(NULL, &now);
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	printf("after: %d %d, blocked %d\n", now.ss_sp == alt && now.ss_size == STACK, now.ss_flags, sigismember(&set, SIGUSR1));
	fflush(stdout);
}

/* SIGUSR1, queued: sent while it is blocked. */
static void queued(void) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_kill(pthread_self(), SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *echo(void *arg) {
	char c;
	while (read(there[0], &c, 1) == 1 && write(back[1], &c, 1) == 1)
		continue;
	return arg;
}

static void *victim(void *arg) {
	stack_t ss = {.ss_sp = alt = malloc(STACK), .ss_size = STACK};
	sigset_t set;
	sigaltstack(&ss, NULL);
	for (todo = PLAIN; todo <= FORKING; todo++) {
		queued();
		after();
	}
	/* twice: the second starts at the stack's top again. Not at the same place: one may have the kernel's frame, which takes more. */
	int at_top = 0;
	todo = JUMPING;
	for (volatile int i = 0; i < 2; i++) {
		sigemptyset(&set);
		if (sigsetjmp(env, 1) == 0)
			queued();
		sigaddset(&set, SIGUSR1);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
		after();
		at_top += alt + STACK - outer < STACK / 2;
	}
	printf("at the top: %d of 2\n", at_top);
	todo = PLAIN;
	raise(SIGUSR1);
	after();
	signal(SIGUSR1, on_elsewhere);
	queued();
	struct sigaction sa = {.sa_sigaction = on_outer, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGUSR1, &sa, NULL);
	ss.ss_flags = SS_DISABLE;
	sigaltstack(&ss, NULL);
	free(alt);
	return arg;
}

/* The signal ends a wait. */
static void *waiter(void *arg) {
	char c;
	stack_t ss = {.ss_sp = alt = arg, .ss_size = STACK};
	sigaltstack(&ss, NULL);
	todo = EXITING;
	ssize_t n = write(there[1], "x", 1);
	for (;;)
		n += read(back[0], &c, 1) + pause();
	return (void *)n;
}

int main(void) {
	pthread_t t, e;
	void *result;
	struct sigaction sa = {.sa_sigaction = on_outer, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_sigaction = on_inner;
	sigaction(SIGUSR2, &sa, NULL);
	if (pipe(there) || pipe(back))
		return 1;
	pthread_create(&e, NULL, echo, NULL);
	pthread_create(&t, NULL, victim, NULL);
	pthread_join(t, NULL);
	char *stack = malloc(STACK), c;
	close(there[1]); /* echo leaves: its ends of the pipes are ours from here on */
	pthread_join(e, NULL);
	close(there[0]);
	if (pipe(there))
		return 1;
	pthread_create(&t, NULL, waiter, stack);
	if (read(there[0], &c, 1) != 1)
		return 3;
	pthread_kill(t, SIGUSR1);
	pthread_join(t, &result);
	printf("ended from its handler: %ld\n", (long)result);
	free(stack);
	return 0;
}
