/* Who handles SIGCHLD: the thread that made the child, whatever made it and whatever became of it, and whatever other threads could; another only when that one blocks the
 * signal or has ended. So it is that thread's call that ends with EINTR, not main's. (On a busy machine the kernel now and then gives one to another, hence the .out
 * file.) */
#include "sync_test.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static pthread_t main_thread, by;
static _Atomic int handled;
static volatile int code;

static void on_child(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)context;
	by = pthread_self();
	code = info->si_code;
	handled++;
}

static const char *who(void) {
	return pthread_equal(by, pthread_self()) ? "by its maker" : pthread_equal(by, main_thread) ? "by main" : "by another";
}

/* One more handler has run; who ran it. */
static void told(const char *what) {
	while (!handled)
		usleep(100);
	printf("%s: %s, code %d\n", what, who(), code);
	fflush(stdout);
	handled = 0;
}

static void reap(pid_t child) {
	EQ(waitpid(child, NULL, 0), child);
}

/* A child goes on when it is told. Not before its maker, who blocks all signals in libc's calls that make it. */
static int go[2];

static void wait_for_go(void) {
	char c;
	if (read(go[0], &c, 1) != 1)
		_exit(1);
}

static void let_go(void) {
	EQ(write(go[1], "\n", 1), 1);
}

static pid_t forked_to_stop(void) {
	pid_t child = fork();
	if (child == 0) {
		wait_for_go();
		raise(SIGSTOP);
		for (;;)
			pause();
	}
	return child;
}

static pid_t ends_if_child(pid_t child) {
	if (child == 0) {
		wait_for_go();
		_exit(0);
	}
	return child;
}

static pid_t forked(void) {
	return ends_if_child(fork());
}

static pid_t forked_quietly(void) {
	return ends_if_child(_Fork());
}

static pid_t cloned(void) {
	return ends_if_child((pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static char *reads[] = {"sh", "-c", "read x", NULL};

static pid_t vforked(void) {
	pid_t child = vfork();
	if (child == 0) {
		dup2(go[0], 0);
		execv("/bin/sh", reads);
		_exit(127);
	}
	return child;
}

static pid_t spawned(void) {
	posix_spawn_file_actions_t actions;
	pid_t child = -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, go[0], 0);
	EQ(posix_spawn(&child, "/bin/sh", &actions, NULL, reads, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	return child;
}

static void ends(const char *what, pid_t (*make)(void)) {
	pid_t child = make();
	let_go();
	told(what);
	reap(child);
	child = make();
	let_go();
	reap(child);
	told("  while it is waited for");
}

static void fates(void) {
	pid_t child = forked_to_stop();
	let_go();
	told("stops");
	kill(child, SIGCONT);
	told("continues");
	kill(child, SIGKILL);
	told("is killed");
	reap(child);
	ends("fork", forked);
	ends("_Fork", forked_quietly);
	ends("clone", cloned);
	ends("vfork", vforked);
	ends("spawn", spawned);
	FILE *f = popen("read x", "w");
	fprintf(f, "\n");
	fflush(f);
	told("popen");
	pclose(f);
}

static void *makes(void *arg) {
	fates();
	return arg;
}

static void block(int how) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(how, &set, NULL);
}

static void *makes_and_blocks(void *arg) {
	block(SIG_BLOCK);
	pid_t child = forked();
	let_go();
	told("its maker blocks it");
	reap(child);
	return arg;
}

static void *makes_and_ends(void *arg) {
	*(pid_t *)arg = forked();
	return NULL;
}

/* Both are in a call that a handler ends; the child is told to end by a third. */
static void *is_interrupted(void *arg) {
	forked();
	sem_post(arg);
	int r = usleep(900000);
	printf("the maker sleeps: %d\n", r);
	wait(NULL);
	return arg;
}

static void *lets_go(void *arg) {
	block(SIG_BLOCK);
	sem_wait(arg);
	usleep(100000);
	let_go();
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_sigaction = on_child, .sa_flags = SA_RESTART | SA_SIGINFO};
	sem_t ready;
	pid_t child;
	test_begin();
	main_thread = pthread_self();
	sem_init(&ready, 0, 0);
	EQ(pipe(go), 0);
	sigaction(SIGCHLD, &sa, NULL);
	join(start(makes, NULL));
	printf("main\n");
	fates();
	join(start(makes_and_blocks, NULL));
	join(start(makes_and_ends, &child));
	let_go();
	told("its maker has ended");
	reap(child);

	sa.sa_flags = SA_SIGINFO;
	sigaction(SIGCHLD, &sa, NULL);
	pthread_t interrupted = start(is_interrupted, &ready), third = start(lets_go, &ready);
	int slept = usleep(300000);
	join(interrupted);
	join(third);
	printf("main sleeps: %d\n", slept);
	return test_end();
}
