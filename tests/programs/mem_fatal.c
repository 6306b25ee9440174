/* Faults nobody handles end the process with the signal's status: wild pointer, stack overflow, illegal instruction, division;
 * with the fault's default action after SA_RESETHAND, too. */
#include "sync_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static volatile int zero;

static volatile int depth_max = 1 << 30;

__attribute__((noinline)) static int overflow(int n) {
	volatile char frame[1000];
	frame[0] = (char)n;
	return n < depth_max ? overflow(n + 1) + frame[0] : 0;
}

static void *wild(void *arg) {
	sched_yield();
	*(volatile int *)(16 + (long)arg) = 1;
	return NULL;
}

static void *overflows(void *arg) {
	usleep(50);
	overflow(0);
	return arg;
}

static void *divides(void *arg) {
	sched_yield();
	return (void *)((long)arg / zero);
}

static void *illegal(void *arg) {
	sched_yield();
	__builtin_trap();
	return arg;
}

static void *aborts(void *arg) {
	sched_yield();
	abort();
	return arg;
}

static void handler(int signal) {
	(void)signal;
	static const char text[] = "handler\n";
	if (write(1, text, sizeof text - 1) < 0)
		_exit(9);
}

static void *once(void *arg) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESETHAND};
	sigaction(SIGSEGV, &sa, NULL);
	return wild(arg); /* the handler returns to the faulting instruction, which faults again */
}

static void *blocked(void *arg) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	return wild(arg); /* a fault is not to be blocked */
}

static void *ignored(void *arg) {
	signal(SIGSEGV, SIG_IGN);
	return wild(arg);
}

static void *sleeps(void *arg) {
	pause();
	return arg;
}

static void *returns(void *arg) {
	return arg;
}

struct fate {
	const char *name;
	void *(*f)(void *);
	int signal;
};

int main(void) {
	static const struct fate fates[] = {
		{"wild", wild, SIGSEGV},       {"overflow", overflows, SIGSEGV}, {"divide", divides, SIGFPE},   {"illegal", illegal, SIGILL},
		{"abort", aborts, SIGABRT},    {"once", once, SIGSEGV},          {"blocked", blocked, SIGSEGV}, {"ignored", ignored, SIGSEGV},
	};
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	test_begin();
	join(start(returns, NULL)); /* the parent has threads, too */
	for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			for (int k = 0; k < 10; k++)
				start(sleeps, NULL);
			join(start(fates[i].f, NULL));
			_exit(0);
		}
		int status = 0;
		EQ(waitpid(pid, &status, 0), pid);
		printf("%s: %s\n", fates[i].name, WIFSIGNALED(status) && WTERMSIG(status) == fates[i].signal ? "as it should" : "not so");
	}
	return test_end();
}
