/* Compiled with the stack protector on every function: the canary is the process's in every thread, before and after waits (TLS-8); and it
 * does its duty in a thread. */
#include "sync_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

__attribute__((noinline)) static long work(int depth, char *out) {
	char frame[64];
	memset(frame, depth, sizeof frame);
	if (depth % 3 == 0)
		sched_yield();
	if (depth % 17 == 0)
		usleep(20);
	*out += frame[depth % 64];
	return depth ? work(depth - 1, frame) : 0;
}

static void *thread(void *arg) {
	char c = 0;
	for (int i = 0; i < 10; i++)
		work(40, &c);
	return arg;
}

__attribute__((noinline)) static void smash(volatile int n) {
	volatile char frame[16];
	for (volatile char *p = frame; n-- > 0; p++)
		*p = 'x';
}

static void *smashes(void *arg) {
	sched_yield();
	smash(40);
	return arg;
}

int main(void) {
	static pthread_t t[200];
	test_begin();
	for (int i = 0; i < 200; i++)
		t[i] = start(thread, (void *)3);
	for (int i = 0; i < 200; i++)
		EQ(join(t[i]), 3);
	step("canaries");
	pid_t pid = fork();
	if (pid == 0) {
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		close(2);
		join(start(smashes, NULL));
		_exit(0);
	}
	int status = 0;
	EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	step("smashed");
	return test_end();
}
