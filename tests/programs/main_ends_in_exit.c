/* main ends its thread inside an exit handler, by pthread_exit() or cancelled, after it returned or called exit(): the others go on, join it, and
 * the last of them ends the process with status 0 and runs the handlers that are left. */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum how { EXITS = 1, EXITS_ALONE = 2, CANCELLED = 3, CALLS_EXIT = 4 };

static pthread_t main_thread;
static sem_t in_handler;
static enum how how;

static void last_handler(int status, void *arg) {
	dprintf(1, "last handler, status %d%s\n", status, (char *)arg);
}

static void ending_handler(void) {
	dprintf(1, "handler on main: %d\n", pthread_equal(pthread_self(), main_thread));
	sem_post(&in_handler);
	if ((how & ~CALLS_EXIT) != CANCELLED)
		pthread_exit("left");
	for (;;)
		pause();
}

static void *other(void *arg) {
	void *result;
	sem_wait(&in_handler);
	if ((how & ~CALLS_EXIT) == CANCELLED)
		dprintf(1, "cancel main: %d\n", pthread_cancel(main_thread));
	dprintf(1, "join main: %d\n", pthread_join(main_thread, &result));
	dprintf(1, "result: %s\n", result == PTHREAD_CANCELED ? "cancelled" : (char *)result);
	return arg;
}

static void *nothing(void *arg) {
	return arg;
}

/* Forks a child for each way, before there are threads. True: this is one. */
static int is_child(void) {
	for (int i = 1; i < 8; i++) {
		int status = -1;
		how = i;
		if ((how & ~CALLS_EXIT) == 0)
			continue;
		dprintf(1, "%d:\n", i);
		pid_t pid = fork();
		if (pid == 0)
			return 1;
		waitpid(pid, &status, 0);
		dprintf(1, "status %x\n", (unsigned)status);
	}
	return 0;
}

int main(void) {
	pthread_t thread;
	if (!is_child())
		return 0;
	main_thread = pthread_self();
	sem_init(&in_handler, 0, 0);
	on_exit(last_handler, "");
	atexit(ending_handler);
	if ((how & ~CALLS_EXIT) == EXITS_ALONE) {
		pthread_create(&thread, NULL, nothing, NULL);
		pthread_join(thread, NULL);
	} else {
		pthread_create(&thread, NULL, other, NULL);
	}
	if (how & CALLS_EXIT)
		exit(3);
	return 4;
}
