/* posix_spawn() from a thread with file actions and attributes: what the child has (descriptors, folder, mask, dispositions, group, session, scheduling), and what the
 * parent still has: descriptors that it goes on using, blocking as before. The child is this program, which reports. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
enum { FIRST = 60, LAST = 75 };

static int child(void) {
	sigset_t mask;
	struct sigaction act;
	char text[256];
	printf("  descriptors");
	for (int fd = FIRST; fd <= LAST; fd++) {
		int flags = fcntl(fd, F_GETFL);
		if (flags >= 0)
			printf(" %d:%s%s", fd - FIRST, flags & O_NONBLOCK ? "n" : "", (flags & O_ACCMODE) == O_RDONLY ? "r" : "w");
	}
	if (fcntl(FIRST + 12, F_GETFD) >= 0) {
		ssize_t n = read(FIRST + 12, text, sizeof text);
		printf(" read %.*s", n > 0 ? (int)n : 0, text);
	}
	printf("\n  folder %s, mask", getcwd(text, sizeof text));
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	for (int s = 1; s <= 64; s++)
		if (sigismember(&mask, s) == 1)
			printf(" %d", s);
	printf("\n  ignored");
	for (int s = 1; s <= 64; s++)
		if (sigaction(s, NULL, &act) == 0 && act.sa_handler == SIG_IGN)
			printf(" %d", s);
	printf("\n  %s, %s, policy %d\n", getpgrp() == getpid() ? "own group" : "parent's group", getsid(0) == getpid() ? "own session" : "parent's session",
	       sched_getscheduler(0));
	return 0;
}

/* Runs the child and shows what it prints. */
static int spawn(const char *how, posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, const char *path) {
	char *argv[] = {"self", "child", NULL}, text[2048];
	int out[2], status = -1;
	size_t have = 0;
	ssize_t n;
	pid_t pid;
	pipe2(out, O_CLOEXEC);
	posix_spawn_file_actions_adddup2(actions, out[1], 1);
	int r = posix_spawn(&pid, path, actions, attr, argv, environ);
	close(out[1]);
	while ((n = read(out[0], text + have, sizeof text - 1 - have)) > 0)
		have += (size_t)n;
	text[have] = '\0';
	close(out[0]);
	if (r == 0)
		waitpid(pid, &status, 0);
	printf("%s: %s, status %d\n%s", how, r ? strerror(r) : "spawned", status, text);
	fflush(stdout);
	return r;
}

static int pair[2], spare[2];

/* What the parent has after it: the socket still blocks until the other thread writes, polls, and can be closed. */
static void *writes(void *arg) {
	usleep(2000);
	write(pair[1], arg, 1);
	return NULL;
}

static void parent_check(void) {
	char c = 0;
	pthread_t t;
	pthread_create(&t, NULL, writes, "x");
	ssize_t n = read(pair[0], &c, 1); /* parks */
	pthread_join(t, NULL);
	pthread_create(&t, NULL, writes, "y");
	struct pollfd p = {.fd = pair[0], .events = POLLIN};
	int ready = poll(&p, 1, -1);
	char d = 0;
	n += read(pair[0], &d, 1);
	pthread_join(t, NULL);
	printf("  parent: %zd %d %c%c, flags %d %d, spare %d %d\n", n, ready, c, d, fcntl(pair[0], F_GETFL) & O_NONBLOCK, fcntl(pair[0], F_GETFD),
	       fcntl(spare[0], F_GETFD), fcntl(spare[1], F_GETFD));
	write(spare[1], "z", 1);
	read(spare[0], &c, 1);
	printf("  parent's pipe: %c\n", c);
	fflush(stdout);
}

static void on_signal(int sig) {
	(void)sig;
}

static void *parent(void *arg) {
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set, mine;
	int low[2];
	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR1);
	sigaddset(&mine, SIGRTMIN + 3);
	pthread_sigmask(SIG_SETMASK, &mine, NULL); /* main's is another */
	socketpair(AF_UNIX, SOCK_STREAM, 0, low);
	pair[0] = fcntl(low[0], F_DUPFD, FIRST);
	pair[1] = fcntl(low[1], F_DUPFD, FIRST);
	close(low[0]);
	close(low[1]);
	pipe(low);
	spare[0] = fcntl(low[0], F_DUPFD_CLOEXEC, FIRST);
	spare[1] = fcntl(low[1], F_DUPFD, FIRST);
	close(low[0]);
	close(low[1]);
	parent_check(); /* so the library knows them */

	posix_spawn_file_actions_init(&actions);
	spawn("nothing", &actions, NULL, "/proc/self/exe");
	parent_check();
	posix_spawn_file_actions_destroy(&actions);

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addclose(&actions, pair[0]);
	posix_spawn_file_actions_addclose(&actions, pair[1]);
	posix_spawn_file_actions_adddup2(&actions, spare[0], FIRST + 10);
	posix_spawn_file_actions_adddup2(&actions, spare[0], spare[0]); /* takes O_CLOEXEC away */
	posix_spawn_file_actions_addopen(&actions, FIRST + 11, "/dev/null", O_WRONLY | O_NONBLOCK, 0);
	posix_spawn_file_actions_addchdir_np(&actions, "/usr");
	posix_spawn_file_actions_addopen(&actions, FIRST + 12, "../etc/hostname", O_RDONLY, 0);
	spawn("files", &actions, NULL, "/proc/self/exe");
	parent_check();
	posix_spawn_file_actions_destroy(&actions);

	posix_spawn_file_actions_init(&actions);
	int folder = open("/usr/lib", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	posix_spawn_file_actions_addfchdir_np(&actions, folder);
	posix_spawn_file_actions_adddup2(&actions, 2, FIRST - 1);
	posix_spawn_file_actions_addclosefrom_np(&actions, FIRST);
	posix_spawnattr_init(&attr);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	posix_spawnattr_setsigmask(&attr, &set);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setschedpolicy(&attr, SCHED_BATCH);
	posix_spawnattr_setschedparam(&attr, &(struct sched_param){0});
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSCHEDULER);
	spawn("attributes", &actions, &attr, "/proc/self/exe");
	parent_check();
	posix_spawn_file_actions_destroy(&actions);
	close(folder);

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_RESETIDS | POSIX_SPAWN_SETSIGDEF);
	spawn("session", &actions, &attr, "/proc/self/exe");
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addclose(&actions, pair[0]);
	posix_spawn_file_actions_addopen(&actions, FIRST, "/nonexistent/file", O_RDONLY, 0);
	spawn("no such file", &actions, NULL, "/proc/self/exe");
	posix_spawn_file_actions_destroy(&actions);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, FIRST + 500, FIRST);
	spawn("no such descriptor", &actions, NULL, "/proc/self/exe");
	posix_spawn_file_actions_destroy(&actions);
	posix_spawn_file_actions_init(&actions);
	spawn("no such program", &actions, NULL, "/nonexistent/program");
	posix_spawn_file_actions_destroy(&actions);
	parent_check();

	sigset_t now;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	printf("parent's mask: %d %d %d\n", sigismember(&now, SIGUSR1), sigismember(&now, SIGRTMIN + 3), sigismember(&now, SIGHUP));
	/* a descriptor that a failed child closed is the parent's; closed by the parent it is closed */
	close(pair[1]);
	char c;
	printf("end of file: %zd\n", read(pair[0], &c, 1));
	return arg;
}

int main(int argc, char **argv) {
	pthread_t t;
	if (argc > 1 && argv)
		return child();
	signal(SIGUSR2, SIG_IGN);
	signal(SIGWINCH, SIG_IGN);
	signal(SIGHUP, on_signal);
	pthread_create(&t, NULL, parent, NULL);
	pthread_join(t, NULL);
	return 0;
}
