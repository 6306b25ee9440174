/* A filter of system calls that kills who reads a process's memory by one, which no thread of NPTL's does: installed by the program before its first thread; there before the program; and
 * for all threads when they exist. Threads come and go, and one that ends with robust mutexes leaves them to the next (SEC-3, TLS-10). */
#include <sys/wait.h>

#include "never_read.h"
#include "robust_mutex.h"

enum { PRIVATE, SHARED, KINDS };

static pthread_mutex_t *mutex[KINDS];
static sem_t held, go;

static void *ends_with_them(void *arg) {
	for (int i = 0; i < KINDS; i++)
		EQ(pthread_mutex_lock(mutex[i]), 0);
	sem_post(&held);
	sem_take(&go);
	return arg;
}

static int threads(bool install_meanwhile) {
	static pthread_mutex_t own;
	sem_init(&held, 0, 0);
	sem_init(&go, 0, 0);
	robust_init(&own, PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_DEFAULT);
	mutex[PRIVATE] = &own;
	mutex[SHARED] = robust_mutex();
	pthread_t t = start(ends_with_them, NULL);
	sem_take(&held);
	if (install_meanwhile)
		never_read(SECCOMP_FILTER_FLAG_TSYNC);
	sem_post(&go);
	for (int i = 0; i < KINDS; i++) {
		EQ(pthread_mutex_lock(mutex[i]), EOWNERDEAD);
		EQ(pthread_mutex_consistent(mutex[i]), 0);
		EQ(pthread_mutex_unlock(mutex[i]), 0);
	}
	join(t);
	return test_end();
}

static void child(const char *name, bool executes) {
	int status = -1;
	step(name);
	pid_t pid = fork();
	if (pid == 0) {
		test_begin();
		never_read(0);
		if (!executes)
			exit(threads(false));
		execl("/proc/self/exe", name, "filtered", NULL);
		exit(1);
	}
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1)
		return threads(false);
	test_begin();
	child("before the first thread", false);
	child("before the program", true);
	step("with threads");
	return threads(true);
}
