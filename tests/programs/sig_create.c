/* pthread_create() in a signal handler: the process's very first one, on an alternate stack or not, and later ones, in handlers that interrupt anything. The
 * thread runs, may be joined in the handler and after it, and has the handler's mask. */
#include "sync_test.h"

#include <signal.h>
#include <sys/wait.h>

static pthread_t made;
static _Atomic int ran, handled;
static bool mask_seen;

static void *work(void *arg) {
	sigset_t mask;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	mask_seen = sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGUSR2);
	char deep[64 << 10];
	memset(deep, 1, sizeof deep);
	__asm__ volatile("" : : "r"(deep) : "memory");
	usleep(1000);
	ran++;
	return arg;
}

static void joins(int sig) {
	pthread_t t;
	int error = errno;
	EQ(pthread_create(&t, NULL, work, (void *)(long)sig), 0);
	EQ(join(t), sig);
	EQ(pthread_create(&made, NULL, work, (void *)7), 0); /* joined after the handler */
	handled++;
	errno = error;
}

static void install(bool alternate, stack_t *ss) {
	struct sigaction act = {.sa_handler = joins, .sa_flags = alternate ? SA_ONSTACK : 0};
	sigaddset(&act.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &act, NULL);
	if (alternate) {
		*ss = (stack_t){.ss_sp = malloc(1 << 18), .ss_size = 1 << 18};
		EQ(sigaltstack(ss, NULL), 0);
	}
}

static void check_after(bool alternate, const stack_t *ss) {
	stack_t now;
	sigset_t mask;
	EQ(join(made), 7);
	CHECK(mask_seen);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	EQ(sigismember(&mask, SIGUSR1), 0);
	EQ(sigismember(&mask, SIGUSR2), 0);
	EQ(sigaltstack(NULL, &now), 0);
	EQ(now.ss_flags, alternate ? 0 : SS_DISABLE);
	if (alternate)
		CHECK(now.ss_sp == ss->ss_sp && now.ss_size == ss->ss_size);
}

static void *raises(void *arg) {
	stack_t ss;
	install(arg != NULL, &ss);
	for (int i = 0; i < 20; i++) {
		raise(SIGUSR1);
		check_after(arg != NULL, &ss);
	}
	return NULL;
}

/* In a process that has no threads yet. Then as usual. */
static void first(bool alternate, bool itimer) {
	fflush(stdout);
	pid_t pid = fork();
	int status;
	if (pid) {
		EQ(waitpid(pid, &status, 0), pid);
		printf("first, %s, %s: %d\n", alternate ? "alternate stack" : "its own stack", itimer ? "timer" : "raise", status);
		return;
	}
	stack_t ss;
	test_begin();
	install(alternate, &ss);
	if (itimer) {
		struct sigaction act;
		sigaction(SIGUSR1, NULL, &act);
		sigaction(SIGVTALRM, &act, NULL);
		sigdelset(&act.sa_mask, SIGUSR1);
		ualarm(0, 0);
		timer_t id;
		struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
		EQ(timer_create(CLOCK_MONOTONIC, &event, &id), 0);
		EQ(timer_settime(id, 0, &(struct itimerspec){.it_value = {0, 1000000}}, NULL), 0);
		while (!handled)
			continue;
	} else {
		raise(SIGUSR1);
	}
	check_after(alternate, &ss);
	join(start(raises, alternate ? (void *)1 : NULL));
	raise(SIGUSR1);
	check_after(alternate, &ss);
	for (int i = 0; i < 20; i++) { /* where it interrupts malloc, stdio, and the library */
		pthread_t t;
		raise(SIGUSR1);
		pthread_create(&t, NULL, work, NULL);
		pthread_kill(t, 0);
		join(t);
		join(made);
	}
	_exit(failures != 0);
}

int main(void) {
	first(false, false);
	first(true, false);
	first(false, true);
	first(true, true);
	join(start(raises, NULL));
	join(start(raises, (void *)1));
	return test_end();
}
