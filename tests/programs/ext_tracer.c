/* Threads that trace children: the kernel knows a tracer by its thread, the one that forked a child which asks to be traced. All requests must come
 * from there, however often the thread waits in between (EXT-5). */
#include <sys/ptrace.h>

#include "io_test.h"

enum { TRACERS = 4, STEPS = 30 };

static void *tracer(void *arg) {
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(7);
	}
	int status = 0;
	EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	for (int i = 0; i < STEPS; i++) {
		siginfo_t info;
		usleep(500);
		sched_yield();
		EQ(ptrace(PTRACE_GETSIGINFO, child, NULL, &info), 0);
		EQ(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		EQ(waitpid(child, &status, 0), child);
		CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	}
	EQ(ptrace(PTRACE_CONT, child, NULL, NULL), 0);
	EQ(waitpid(child, &status, 0), child);
	EQ(WEXITSTATUS(status), 7);
	return arg;
}

int main(void) {
	pthread_t t[TRACERS];
	alarm(60);
	become_threaded();
	for (int i = 0; i < TRACERS; i++)
		t[i] = start(tracer, NULL);
	for (int i = 0; i < TRACERS; i++)
		join(t[i]);
	done("tracers");
	return failures != 0;
}
