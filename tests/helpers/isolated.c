/* One thread, named "victim", that crashes as the first argument says, while main waits for standard input to end. "ready" when it is over.
 *   held       while it holds two mutexes, one recursive and twice; another thread, "heir", then waits for the first for ever
 *   release    the same, and main takes both afterwards
 *   many N     N threads, one after the other
 *   malloc     in free()
 *   stdio      in printf()
 *   exit       in a function that exit() calls
 *   kill       no crash: the thread is sent SIGABRT by another
 *   last       main has ended, it is the last
 *   blocked    while it blocks every signal
 *   shared     a socket that main used, too, stays open
 *   reset      twice: the program's own handler is for once (SA_RESETHAND)
 *   handler    in a handler of its own, on an alternate stack */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER, recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static volatile int zero;
static const char *mode;
static int pair[2];
static pthread_barrier_t both;

static void fault(void) {
	*(volatile int *)(long)(zero + 8) = 1;
}

static void handler(int sig) {
	(void)sig;
	fault();
}

static void handled(int sig) {
	printf("handled %d\n", sig);
	fflush(stdout);
	pthread_exit(NULL);
}

static void crash_in_handler(void) {
	static char stack[65536];
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
}

static void *victim(void *arg) {
	char byte = 'v';
	sigset_t set;
	pthread_setname_np(pthread_self(), "victim");
	if (strcmp(mode, "held") == 0 || strcmp(mode, "release") == 0) {
		pthread_mutex_lock(&plain);
		pthread_mutex_lock(&recursive);
		pthread_mutex_lock(&recursive);
	} else if (strcmp(mode, "malloc") == 0) {
		free((void *)(long)(zero + 24));
	} else if (strcmp(mode, "stdio") == 0) {
		printf("%s and %d\n", (char *)(long)(zero + 8), zero);
	} else if (strcmp(mode, "exit") == 0) {
		atexit(fault);
		exit(0);
	} else if (strcmp(mode, "kill") == 0) {
		pthread_barrier_wait(&both);
		sleep(1000);
	} else if (strcmp(mode, "last") == 0) {
		pthread_join(*(pthread_t *)arg, NULL);
	} else if (strcmp(mode, "blocked") == 0) {
		sigfillset(&set);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
	} else if (strcmp(mode, "shared") == 0) {
		if (write(pair[1], &byte, 1) != 1)
			perror("write");
	} else if (strcmp(mode, "handler") == 0) {
		crash_in_handler();
	}
	fault();
	return NULL;
}

static void *heir(void *arg) {
	pthread_setname_np(pthread_self(), "heir");
	pthread_mutex_lock(&plain);
	return arg;
}

static void try_shared(void) {
	char buffer[8];
	if (write(pair[1], "m", 1) != 1 || read(pair[0], buffer, 2) != 2 || write(pair[1], "n", 1) != 1 || read(pair[0], buffer, 1) != 1)
		puts("FAILED");
	else
		puts("open");
}

int main(int argc, char **argv) {
	static pthread_t self;
	pthread_t thread;
	void *result = NULL;
	int n = argc > 2 ? atoi(argv[2]) : 1;
	char byte;
	mode = argc > 1 ? argv[1] : "";
	self = pthread_self();
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 2;
	pthread_barrier_init(&both, NULL, 2);
	if (strcmp(mode, "shared") == 0 && (write(pair[1], "m", 1) != 1 || read(pair[0], &byte, 1) != 1))
		return 2;
	for (int i = 0; i < n; i++) {
		if (strcmp(mode, "reset") == 0 && i == 0)
			sigaction(SIGSEGV, &(struct sigaction){.sa_handler = handled, .sa_flags = (int)SA_RESETHAND}, NULL);
		pthread_create(&thread, NULL, victim, &self);
		if (strcmp(mode, "kill") == 0) {
			pthread_barrier_wait(&both);
			pthread_kill(thread, SIGABRT);
		}
		if (strcmp(mode, "last") == 0)
			pthread_exit(NULL);
		pthread_join(thread, &result);
		if (result == PTHREAD_CANCELED)
			puts("ended alone");
		fflush(stdout);
	}
	if (strcmp(mode, "shared") == 0)
		try_shared();
	if (strcmp(mode, "held") == 0)
		pthread_create(&thread, NULL, heir, NULL);
	if (strcmp(mode, "release") == 0)
		printf("taken: %d %d\n", pthread_mutex_trylock(&plain), pthread_mutex_trylock(&recursive));
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
