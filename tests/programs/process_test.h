/* What several programs ask the kernel about processes. */
#ifndef PROCESS_TEST_H
#define PROCESS_TEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

/* The exit status of a child; -1: it did not exit. */
static inline int reap(pid_t pid) {
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* But "." and "..". */
static inline int files_in(const char *directory) {
	int n = 0;
	DIR *d = opendir(directory);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

/* Of this process. */
static inline int kernel_threads(void) {
	return files_in("/proc/self/task");
}

/* How many of them may stand by for the next call that only the kernel can wait in (SCH-6): sixteen more than threads may run at once. */
static inline int kernel_threads_idle(void) {
	const char *procs = getenv("GOMAXPROCS");
	return 16 + (procs ? atoi(procs) : (int)sysconf(_SC_NPROCESSORS_ONLN));
}

/* Waits for a lock on a file that somebody else has; 0, or -1. */
static inline int await_file_lock(const char *path) {
	int fd = open(path, O_RDONLY);
	int r = fd < 0 ? -1 : flock(fd, LOCK_SH);
	close(fd);
	return r;
}

#endif
