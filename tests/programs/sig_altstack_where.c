/* On which stack a handler runs: with and without SA_ONSTACK, with and without an alternate stack, nested, disarmed, per thread; and what
 * sigaltstack() and the handler's context say about it. Handlers may wait, and other threads use their alternate stacks meanwhile. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif
enum { SIZE = 65536 };
static __thread char *alt;
static __thread const char *volatile where, *volatile inner;
static __thread volatile int said, context_said, context_size;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static const char *place(const void *p) {
	return alt && (const char *)p >= alt && (const char *)p < alt + SIZE ? "alternate" : "own";
}

static void handler(int sig, siginfo_t *info, void *context) {
	char here;
	stack_t now;
	struct timespec ts = {0, 1000000};
	(void)info;
	if (sig == SIGUSR2) {
		inner = place(&here);
		nanosleep(&ts, NULL);
		return;
	}
	where = place(&here);
	sigaltstack(NULL, &now);
	said = (int)((unsigned)now.ss_flags & ~SS_AUTODISARM);
	context_said = (int)((unsigned)((ucontext_t *)context)->uc_stack.ss_flags & ~SS_AUTODISARM);
	context_size = (int)((ucontext_t *)context)->uc_stack.ss_size;
	nanosleep(&ts, NULL); /* may go on elsewhere */
	raise(SIGUSR2);
	nanosleep(&ts, NULL);
}

static void one(const char *title) {
	stack_t after;
	where = inner = "nowhere";
	raise(SIGUSR1);
	sigaltstack(NULL, &after);
	printf("%s: on its %s stack, inner on its %s; %d there, context %d %d; %d %zu after\n", title, where, inner, said, context_said,
	       context_size, (int)((unsigned)after.ss_flags & ~SS_AUTODISARM), after.ss_size);
}

static void *cases(void *arg) {
	stack_t ss = {.ss_flags = SS_DISABLE}, small = {.ss_size = 100};
	int r;
	if (arg)
		pthread_mutex_lock(&turn);
	one("none");
	alt = malloc(SIZE);
	ss = (stack_t){.ss_sp = alt, .ss_size = SIZE};
	printf("set %d\n", sigaltstack(&ss, NULL));
	one("set");
	one("again");
	ss.ss_flags = (int)SS_AUTODISARM;
	printf("disarming %d\n", sigaltstack(&ss, NULL));
	one("disarming");
	small.ss_sp = alt;
	r = sigaltstack(&small, NULL);
	printf("small %d %s\n", r, strerror(errno));
	ss.ss_flags = 0x40;
	r = sigaltstack(&ss, NULL);
	printf("strange %d %s\n", r, strerror(errno));
	ss.ss_flags = SS_DISABLE;
	printf("off %d\n", sigaltstack(&ss, NULL));
	one("off");
	free(alt);
	alt = NULL;
	if (arg)
		pthread_mutex_unlock(&turn);
	return NULL;
}

static void install(int flags) {
	struct sigaction sa;
	memset(&sa, 0, sizeof sa);
	sa.sa_sigaction = handler;
	sa.sa_flags = SA_SIGINFO | flags;
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
}

/* Many at once, each with its own; nothing printed. */
static void *crowd(void *arg) {
	static _Atomic int bad;
	stack_t ss = {.ss_size = SIZE};
	(void)arg;
	alt = malloc(SIZE);
	ss.ss_sp = alt;
	sigaltstack(&ss, NULL);
	for (int i = 0; i < 5; i++) {
		raise(SIGUSR1);
		bad += strcmp(where, "alternate") || strcmp(inner, "alternate") || said != SS_ONSTACK;
	}
	ss.ss_flags = SS_DISABLE;
	sigaltstack(&ss, NULL);
	free(alt);
	return (void *)(long)bad;
}

int main(void) {
	pthread_t t[20];
	void *bad;
	install(SA_ONSTACK);
	cases(NULL);
	pthread_create(&t[0], NULL, cases, &turn);
	pthread_join(t[0], NULL);
	install(0);
	pthread_create(&t[0], NULL, cases, &turn);
	pthread_join(t[0], NULL);
	install(SA_ONSTACK | SA_NODEFER);
	for (int i = 0; i < 20; i++)
		pthread_create(&t[i], NULL, crowd, NULL);
	for (int i = 0; i < 20; i++) {
		pthread_join(t[i], &bad);
		if (bad)
			puts("wrong in the crowd");
	}
	cases(NULL);
	return 0;
}
