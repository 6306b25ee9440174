/* Descriptors with close-on-exec, and children that get to what they name all the same: by a duplicate, by having the flag cleared, by file
 * actions, or before they execute anything. When such a child makes it non-blocking, the next read here finds that; without one a read waits (FD-5). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process_test.h"

extern char **environ;
enum way { NONE, SYSTEM, DUP2, CLEAR_IN_CHILD, IOCTL_IN_CHILD, SET_IN_CHILD, CLEAR_BEFORE, DUP_BEFORE, SPAWN, FORK, WAYS };
static const char *names[WAYS] = {"nothing", "system", "dup2 by the child", "F_SETFD by the child", "FIONCLEX by the child", "O_NONBLOCK by the child",
                                  "F_SETFD before", "dup before", "file actions", "fork"};

static pid_t make_child(enum way way, int fd, int number) {
	char text[16], *argv[] = {"self", text, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;
	snprintf(text, sizeof text, "%d", number);
	if (way == SPAWN) {
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_adddup2(&actions, fd, number);
		if (posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ) != 0)
			pid = -1;
		posix_spawn_file_actions_destroy(&actions);
		return pid;
	}
	pid = way == FORK ? fork() : vfork();
	if (pid == 0) {
		if (way == DUP2 || way == FORK)
			dup2(fd, number);
		else if (way == CLEAR_IN_CHILD)
			fcntl(fd, F_SETFD, 0);
		else if (way == IOCTL_IN_CHILD)
			ioctl(fd, FIONCLEX);
		else if (way == SET_IN_CHILD)
			fcntl(fd, F_SETFL, O_NONBLOCK);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	return pid;
}

static void *answers(void *arg) {
	usleep(20000); /* the other is in read() by now, or finds it there: both are right */
	write(*(int *)arg, "z", 1);
	return arg;
}

static void one(enum way way) {
	int fds[2], number = 400 + way, copy = -1;
	char c = 0;
	pthread_t t;
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
	for (int i = 0; i < 2; i++) { /* what it is, and its flags, are known from here on */
		write(fds[1], "a", 1);
		read(fds[0], &c, 1);
	}
	if (way == CLEAR_BEFORE)
		fcntl(fds[0], F_SETFD, 0);
	else if (way == DUP_BEFORE)
		copy = dup(fds[0]);
	if (way == CLEAR_BEFORE || way == CLEAR_IN_CHILD || way == IOCTL_IN_CHILD)
		number = fds[0];
	else if (way == DUP_BEFORE)
		number = copy;
	int status = way == SYSTEM ? system("exit 9") >> 8 : reap(make_child(way, fds[0], number));
	int waits = way == NONE || way == SYSTEM;
	if (waits)
		pthread_create(&t, NULL, answers, &fds[1]);
	errno = 0;
	ssize_t n = read(fds[0], &c, 1);
	printf("%s: child %d, read %zd %s\n", names[way], status, n, n < 0 ? strerror(errno) : "");
	if (waits)
		pthread_join(t, NULL);
	close(copy);
	close(fds[0]);
	close(fds[1]);
}

static void *all(void *arg) {
	for (enum way way = NONE; way < WAYS; way++)
		one(way);
	fflush(stdout);
	return arg;
}

int main(int argc, char **argv) {
	pthread_t t;
	if (argc > 1) {
		int fd = atoi(argv[1]), flags = fcntl(fd, F_GETFL);
		return flags < 0 ? 9 : fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0;
	}
	pthread_create(&t, NULL, all, NULL);
	pthread_join(t, NULL);
	all(NULL);
	return 0;
}
