/* vfork as other libraries call it: through a pointer, from a function whose frames the child overwrites, a vfork within a vfork (FRK-6); and
 * children that do not reach their exec until another thread of the parent has moved (FRK-7); and mask, handlers and pending signals, which are the
 * child's own although its memory is not (FRK-5). */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process_test.h"

extern char **environ;
enum { THREADS = 6, ROUNDS = 8 };
static pid_t (*vfork_found)(void);
static char fifo[64];
static sem_t begins;

/* Frames where those of vfork() and its callees were. */
__attribute__((noinline)) static int clobber(int depth) {
	volatile unsigned char frame[700];
	memset((void *)frame, 0xa5, sizeof frame);
	return depth ? clobber(depth - 1) + frame[depth] - 0xa5 : 0;
}

/* A frame with something to lose: registers that the call must keep, and an array below which the child works. */
__attribute__((noinline)) static int one(int code, int nested) {
	volatile long marks[32];
	for (int i = 0; i < 32; i++)
		marks[i] = i * 7919L + code;
	pid_t pid = code & 1 ? vfork_found() : vfork();
	if (pid == 0) {
		if (nested) {
			pid_t grandchild = vfork();
			if (grandchild == 0)
				_exit(clobber(20) + 9);
			int status = 0;
			if (waitpid(grandchild, &status, 0) != grandchild || WEXITSTATUS(status) != 9)
				_exit(99);
		}
		_exit(clobber(30) + code);
	}
	int good = pid > 0 && reap(pid) == code;
	for (int i = 0; i < 32; i++)
		good &= marks[i] == i * 7919L + code;
	return good;
}

static void *many(void *arg) {
	long good = 0;
	for (int i = 0; i < ROUNDS; i++)
		good += one(i + 1, i % 4 == 3);
	return (void *)(good + 0 * (long)arg);
}

/* The spawning thread is in the kernel until the child has opened the pipe for reading; that waits for us. */
static void *lets_it_go(void *arg) {
	sem_wait(&begins);
	int fd = open(fifo, O_WRONLY);
	close(fd);
	return arg;
}

static int spawn_behind_pipe(int by_vfork) {
	char *argv[] = {"true", NULL};
	pid_t pid = -1;
	sem_post(&begins);
	if (by_vfork) {
		pid = vfork();
		if (pid == 0) {
			if (open(fifo, O_RDONLY) < 0)
				_exit(98);
			execv("/bin/true", argv);
			_exit(127);
		}
	} else {
		posix_spawn_file_actions_t actions;
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_addopen(&actions, 0, fifo, O_RDONLY, 0);
		if (posix_spawn(&pid, "/bin/true", &actions, NULL, argv, environ) != 0)
			pid = -1;
		posix_spawn_file_actions_destroy(&actions);
	}
	return pid > 0 ? reap(pid) : -1;
}

static void *spawns(void *arg) {
	int good = 0;
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t t;
		if (pthread_create(&t, NULL, lets_it_go, NULL) != 0)
			break;
		good += spawn_behind_pipe(i & 1) == 0;
		pthread_join(t, NULL);
	}
	printf("children that waited for a thread of their parent: %s\n", good == ROUNDS ? "good" : "wrong");
	return arg;
}

static volatile int handled;
static void on_signal(int sig) {
	(void)sig;
	handled++;
}

static void *changes_signals(void *arg) {
	sigset_t set, now;
	struct sigaction act;
	int good = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	signal(SIGUSR1, on_signal);
	handled = 0;
	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid = vfork();
		if (pid == 0) {
			bool fine = sigprocmask(SIG_BLOCK, &set, NULL) == 0;
			raise(SIGUSR1);
			kill(getpid(), SIGTERM);
			fine &= handled == i && sigpending(&now) == 0 && sigismember(&now, SIGUSR1) && sigismember(&now, SIGTERM);
			signal(SIGUSR1, SIG_IGN);
			signal(SIGTERM, SIG_IGN);
			fine &= sigprocmask(SIG_UNBLOCK, &set, NULL) == 0;
			sigprocmask(SIG_BLOCK, &set, NULL);
			_exit(fine ? 5 : 6);
		}
		good += reap(pid) == 5;
		pthread_sigmask(SIG_BLOCK, NULL, &now);
		sigaction(SIGUSR1, NULL, &act);
		good += !sigismember(&now, SIGUSR1) && !sigismember(&now, SIGTERM) && act.sa_handler == on_signal;
		sigpending(&now);
		good += !sigismember(&now, SIGUSR1) && !sigismember(&now, SIGTERM);
		raise(SIGUSR1);
		good += handled == i + 1;
	}
	printf("signals of the child: %s\n", good == 4 * ROUNDS ? "good" : "wrong");
	return arg;
}

int main(void) {
	char dir[] = "/tmp/fork_vfork.XXXXXX";
	pthread_t t[THREADS];
	long good = 0;
	vfork_found = (pid_t(*)(void))dlsym(RTLD_DEFAULT, "vfork");
	sem_init(&begins, 0, 0);
	if (!vfork_found || !mkdtemp(dir))
		return 1;
	snprintf(fifo, sizeof fifo, "%s/pipe", dir);
	if (mkfifo(fifo, 0600) != 0)
		return 1;
	printf("one thread: %s\n", (long)many(NULL) == ROUNDS ? "good" : "wrong");
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, many, NULL);
	good = (long)many(NULL);
	for (int i = 0; i < THREADS; i++) {
		void *r;
		pthread_join(t[i], &r);
		good += (long)r;
	}
	printf("threads: %s\n", good == (THREADS + 1) * ROUNDS ? "good" : "wrong");
	spawns(NULL);
	pthread_create(&t[0], NULL, spawns, NULL);
	pthread_join(t[0], NULL);
	changes_signals(NULL);
	pthread_create(&t[0], NULL, changes_signals, NULL);
	pthread_join(t[0], NULL);
	unlink(fifo);
	rmdir(dir);
	return 0;
}
