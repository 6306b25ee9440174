/* What is pending for a thread is pending in the program that it executes, once each and with what it carries; after an exec that fails, it is as it was.
 * By main and by another thread, also by the system call's number; what is pending for others is lost. */
#include "sync_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

static sigset_t all;
static sem_t ready;

static void send_to(pthread_t t, int first) {
	EQ(pthread_kill(t, SIGUSR1), 0);
	EQ(pthread_kill(t, SIGUSR1), 0);
	for (int i = 0; i < 3; i++)
		EQ(pthread_sigqueue(t, SIGRTMIN + 2, (union sigval){.sival_int = first + i}), 0);
	EQ(pthread_sigqueue(t, SIGHUP, (union sigval){.sival_int = first + 9}), 0);
}

/* Takes all there is. */
static void show(const char *where) {
	struct timespec none = {0, 0};
	siginfo_t info;
	sigset_t pending;
	sigpending(&pending);
	printf("%s: USR1 %d, USR2 %d, RT %d; taken:", where, sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2), sigismember(&pending, SIGRTMIN + 2));
	while (sigtimedwait(&all, &info, &none) > 0) {
		if (info.si_code == SI_QUEUE)
			printf(" %d with %d", info.si_signo, info.si_value.sival_int);
		else
			printf(" %d %s", info.si_signo, info.si_code == SI_TKILL ? "by tkill" : info.si_code == SI_USER ? "by kill" : "otherwise");
		printf("%s", info.si_pid == getpid() ? "" : " of another");
	}
	puts("");
	fflush(stdout);
}

static void *executes(void *arg) {
	static char *argv[] = {"fork_exec_pending", "show", NULL};
	long fails = (long)arg;
	sigset_t has;
	send_to(pthread_self(), 10);
	raise(SIGTERM);
	if (fails == 3) {
		EQ(syscall(SYS_execve, "/nowhere", argv, environ), -1);
		EQ(errno, ENOENT);
		EQ(syscall(SYS_execveat, AT_FDCWD, "/nowhere", argv, environ, 0), -1);
		EQ(errno, ENOENT);
		EQ(kill(getpid(), SIGUSR2), 0);
		syscall(SYS_execve, "/proc/self/exe", argv, environ);
		_exit(1);
	}
	if (fails) {
		EQ(execv("/nowhere", argv), -1);
		EQ(errno, ENOENT);
		EQ(execlp("fork_exec_pending_nowhere", "x", (char *)NULL), -1);
		EQ(errno, ENOENT);
		pthread_sigmask(SIG_BLOCK, NULL, &has);
		EQ(sigismember(&has, SIGUSR1), 1);
	}
	if (fails == 2)
		show("after exec that failed");
	EQ(kill(getpid(), SIGUSR2), 0);
	execv("/proc/self/exe", argv);
	_exit(1);
}

static void *other(void *arg) {
	send_to(pthread_self(), 90);
	sem_post(&ready);
	for (;;)
		pause();
	return arg;
}

static void child(int by_main, long fails) {
	alarm(20);
	start(other, NULL);
	sem_wait(&ready);
	if (!by_main) {
		send_to(pthread_self(), 70);
		start(executes, (void *)fails);
		for (;;)
			pause();
	}
	executes((void *)fails);
}

int main(int argc, char **argv) {
	sigfillset(&all);
	sigdelset(&all, SIGALRM);
	if (argc > 1) {
		show(argv[1]);
		return 0;
	}
	test_begin();
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	sem_init(&ready, 0, 0);
	for (int i = 0; i < 8; i++) {
		int status = -1;
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0)
			child(i % 2, i / 2);
		EQ(waitpid(pid, &status, 0), pid);
		EQ(status, 0);
	}
	step("end");
	return failures != 0;
}
