/* Whoever waits in the kernel can be watched, too, and goes on waiting: for a connection at a listener that another process has, a lock of a file, a child's end. */
#include "sync_test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile pid_t tid, ran_on;
static int listener, locked;
static pid_t child;

static void on_io(int sig) {
	(void)sig;
	ran_on = (pid_t)syscall(SYS_gettid);
}

static void accepts(void) {
	int fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0);
	close(fd);
}

static void locks(void) {
	int fd = open("/proc/self/exe", O_RDONLY);
	EQ(flock(fd, LOCK_EX), 0);
	close(fd);
}

static void waits(void) {
	int status;
	EQ(waitpid(child, &status, 0), child);
}

static void *calls(void *arg) {
	tid = (pid_t)syscall(SYS_gettid);
	((void (*)(void))arg)();
	return NULL;
}

static void ends_accept(void) {
	struct sockaddr_in to;
	socklen_t size = sizeof to;
	EQ(getsockname(listener, (struct sockaddr *)&to, &size), 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	EQ(connect(fd, (struct sockaddr *)&to, size), 0);
	close(fd);
}

static void ends_lock(void) {
	EQ(flock(locked, LOCK_UN), 0);
}

static void ends_child(void) {
	EQ(kill(child, SIGKILL), 0);
}

/* Watched while it waits, it gets the signal of the descriptor, which does not end its wait. */
static void watch(const char *what, void (*call)(void), void (*end)(void)) {
	struct f_owner_ex owner = {.type = F_OWNER_TID};
	struct timespec a_while = {0, 50000000}, moment = {0, 1000000};
	int pair[2];
	tid = ran_on = 0;
	pthread_t t = start(calls, (void *)call);
	while (!tid)
		sched_yield();
	nanosleep(&a_while, NULL); /* most times it is there by then */
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	owner.pid = tid;
	EQ(fcntl(pair[0], F_SETOWN_EX, &owner), 0);
	EQ(fcntl(pair[0], F_SETFL, O_ASYNC), 0);
	EQ(write(pair[1], "x", 1), 1);
	while (!ran_on && !failures)
		nanosleep(&moment, NULL);
	EQ(ran_on, tid);
	end();
	EQ(join(t), 0);
	close(pair[0]);
	close(pair[1]);
	step(what);
}

int main(void) {
	struct sigaction action = {.sa_handler = on_io, .sa_flags = SA_RESTART};
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	test_begin();
	sigaction(SIGIO, &action, NULL);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	EQ(bind(listener, (struct sockaddr *)&any, sizeof any), 0);
	EQ(listen(listener, 8), 0);
	child = fork();
	if (!child) {
		alarm(60); /* should its parent end before it */
		for (;;)
			pause();
	}
	locked = open("/proc/self/exe", O_RDONLY);
	EQ(flock(locked, LOCK_EX), 0);
	watch("accept", accepts, ends_accept);
	watch("flock", locks, ends_lock);
	watch("waitpid", waits, ends_child);
	return test_end();
}
