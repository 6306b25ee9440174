/* A thread makes children and waits for them, and takes SIGCHLD before main, which sleeps and could. Nearly always the handler has run when the wait returns; beside others
 * that is no promise of the kernel, so a quarter of the times is enough. */
#include "sync_test.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

enum { ROUNDS = 20 };
extern char **environ;
static volatile int handled;

static void handler(int sig) {
	handled++;
}

static pid_t forked(void) {
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return pid;
}

static pid_t spawned(void) {
	char *argv[] = {"true", NULL};
	pid_t pid = -1;
	EQ(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ), 0);
	return pid;
}

static void wait_sleeping(pid_t pid) {
	EQ(waitpid(pid, NULL, 0), pid);
}

static void wait_asking(pid_t pid) {
	while (waitpid(pid, NULL, WNOHANG) == 0)
		sched_yield();
}

static void wait_by_id(pid_t pid) {
	siginfo_t info;
	EQ(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
}

static void rounds(const char *what, pid_t (*make)(void), void (*wait)(pid_t)) {
	int in_time = 0;
	for (int i = 0; i < ROUNDS; i++) {
		handled = 0;
		wait(make());
		in_time += handled == 1;
		while (!handled)
			usleep(200);
	}
	CHECK(in_time >= ROUNDS / 4);
	step(what);
}

static void *makes(void *arg) {
	rounds("fork, wait", forked, wait_sleeping);
	rounds("fork, ask", forked, wait_asking);
	rounds("fork, waitid", forked, wait_by_id);
	rounds("spawn, wait", spawned, wait_sleeping);
	rounds("spawn, ask", spawned, wait_asking);
	return arg;
}

int main(void) {
	test_begin();
	signal(SIGCHLD, handler);
	join(start(makes, NULL));
	return failures != 0;
}
