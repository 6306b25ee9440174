/* A handler that comes into the program's malloc(), with its lock held, executes a program, itself or in a child of vfork() or fork(), after main has changed its nice value. Who makes
 * a thread takes that lock, too, and nobody gives it back: the handler cannot wait for one. Each case is a process of its own. */
#include "sync_test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

enum how { EXECS, VFORKS, FORKS, HOWS };

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local volatile int crashes;
static enum how how;
static void *volatile kept;

static void take_turns(void) {
	if (pthread_mutex_lock(&lock) != 0)
		abort();
	if (crashes)
		raise(SIGUSR1);
	pthread_mutex_unlock(&lock);
}

void *malloc(size_t size) {
	take_turns();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
	take_turns();
	return __libc_calloc(n, size);
}

static void handler(int sig) {
	int status = -1;
	(void)sig;
	pid_t pid = how == VFORKS ? vfork() : how == FORKS ? fork() : 0;
	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	_exit(waitpid(pid, &status, 0) == pid ? status != 0 : 2);
}

static void *nothing(void *arg) {
	return arg;
}

static void *crashing(void *arg) {
	crashes = 1;
	kept = malloc(10);
	return arg;
}

int main(void) {
	test_begin();
	signal(SIGUSR1, handler);
	for (how = EXECS; how < HOWS; how++) {
		int status = -1;
		pid_t pid = fork();
		if (pid == 0) {
			join(start(nothing, NULL));
			errno = 0;
			EQ(nice(3) == -1 && errno, 0);
			join(start(crashing, NULL));
			_exit(3);
		}
		EQ(waitpid(pid, &status, 0), pid);
		EQ(status, 0);
	}
	return test_end();
}
