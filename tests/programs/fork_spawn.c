/* system, popen, posix_spawn, vfork + exec, fork + exec, daemon from threads: exit statuses, output, the child's signal mask and
 * dispositions (FRK-8, FRK-10), the parent's descriptors after a vfork child closed its own (FRK-5). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process_test.h"

extern char **environ;
enum { THREADS = 8, ROUNDS = 6 };
static int good[8];

static void count(int which, int is_good) {
	if (is_good)
		__atomic_add_fetch(&good[which], 1, __ATOMIC_RELAXED);
}

static void on_signal(int sig) {
	(void)sig;
}

/* A word of /proc/self/status as this program, run as a child, sees it. (A shell would change its own.) */
static unsigned long status_word(char *name, int by_vfork) {
	char line[200] = "", *argv[] = {"self", name, NULL};
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) != 0)
		return -1;
	pid_t pid = by_vfork ? vfork() : fork();
	if (pid == 0) {
		dup2(pair[1], 1);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(pair[1]);
	size_t have = 0;
	ssize_t n;
	while ((n = read(pair[0], line + have, sizeof line - 1 - have)) > 0)
		have += n;
	close(pair[0]);
	reap(pid);
	char *colon = strchr(line, ':');
	return colon ? strtoul(colon + 1, NULL, 16) : -1ul;
}

static int child_status_print(const char *name) {
	char line[200];
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, name, strlen(name)) == 0)
			fputs(line, stdout);
	return 0;
}

static void *thread(void *arg) {
	long id = (long)arg;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + (int)id);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		char command[64], line[64] = "", want[64];
		snprintf(command, sizeof command, "exit %ld", id + i);
		int r = system(command);
		count(0, WIFEXITED(r) && WEXITSTATUS(r) == id + i);

		snprintf(command, sizeof command, "echo %ld-%d", id, i);
		snprintf(want, sizeof want, "%ld-%d\n", id, i);
		FILE *f = popen(command, "r");
		int read_right = f && fgets(line, sizeof line, f) && strcmp(line, want) == 0;
		count(1, read_right && pclose(f) == 0);

		char *argv[] = {"sh", "-c", "exit 5", NULL};
		pid_t pid;
		count(2, posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0 && reap(pid) == 5);
		count(2, posix_spawnp(&pid, "no-such-program-here", NULL, NULL, argv, environ) == ENOENT);

		/* vfork: the child closes and moves descriptors; the parent goes on using them */
		int pair[2], child_status;
		socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
		volatile long keep = id * 1000 + i;
		pid = vfork();
		if (pid == 0) {
			for (int fd = 3; fd < 200; fd++)
				close(fd);
			dup2(0, 9);
			execv("/bin/sh", argv);
			_exit(127);
		}
		child_status = reap(pid);
		char b = 0;
		usleep(100);
		write(pair[0], "y", 1);
		read(pair[1], &b, 1);
		count(3, child_status == 5 && b == 'y' && keep == id * 1000 + i);
		close(pair[0]);
		close(pair[1]);
		pid = vfork();
		if (pid == 0)
			_exit(33);
		count(3, reap(pid) == 33);
		if (i == 0) {
			unsigned long bit = 1ul << (SIGRTMIN + id - 1);
			count(4, status_word("SigBlk", 0) == bit);
			count(4, status_word("SigBlk", 1) == bit);
			count(5, (status_word("SigCgt", 1) & 1ul << (SIGUSR1 - 1)) == 0);
			count(5, (status_word("SigIgn", 0) & (1ul << (SIGUSR1 - 1) | 1ul << (SIGUSR2 - 1))) == 1ul << (SIGUSR2 - 1));
		}
	}
	return NULL;
}

static void *does_nothing(void *arg) {
	return arg;
}

int main(int argc, char **argv) {
	if (argc > 1)
		return child_status_print(argv[1]);
	static const char *names[] = {"system", "popen", "posix_spawn", "vfork", "child's mask", "child's dispositions"};
	static const int wants[] = {THREADS * ROUNDS, THREADS * ROUNDS, 2 * THREADS * ROUNDS, 2 * THREADS * ROUNDS, 2 * THREADS, 2 * THREADS};
	pthread_t t[THREADS];
	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, SIG_IGN);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, thread, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 6; i++)
		printf("%s: %s\n", names[i], good[i] == wants[i] ? "good" : "wrong");
	fflush(stdout);
	/* daemon() forks inside libc; threads work in the daemon */
	int pair[2];
	char b[3] = "";
	pipe(pair);
	pid_t pid = fork();
	if (pid == 0) {
		pthread_create(&t[0], NULL, does_nothing, NULL);
		pthread_join(t[0], NULL);
		if (daemon(1, 1) != 0)
			_exit(1);
		void *r = NULL;
		if (pthread_create(&t[0], NULL, does_nothing, &t) == 0 && pthread_join(t[0], &r) == 0 && r == &t)
			write(pair[1], "ok", 2);
		_exit(0);
	}
	close(pair[1]);
	reap(pid);
	size_t have = 0;
	ssize_t n;
	while (have < 2 && (n = read(pair[0], b + have, 2 - have)) > 0)
		have += n;
	printf("daemon: %s\n", b);
	return 0;
}
