/* A handler forks while its thread waits: in the child, as in the parent, it returns into the call, which ends with EINTR, or goes on to its timeout (FRK-1). */
#include "sync_test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t child = -1;
static _Atomic bool waits;
static int ends[2], pair[2], full[2], listener, epoll, queue, sleeper;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;

static void forks(int sig) {
	(void)sig;
	child = fork();
}

static int c_read(void) { char c; return (int)read(ends[0], &c, 1); }
static int c_recv(void) { char c; return (int)recv(pair[0], &c, 1, 0); }
static int c_recvmsg(void) {
	char c;
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	return (int)recvmsg(pair[0], &m, 0);
}
static int c_write(void) { char c = 'x'; return (int)write(full[1], &c, 1); }
static int c_accept(void) { return accept(listener, NULL, NULL); }
static int c_epoll(void) { struct epoll_event e; return epoll_wait(epoll, &e, 1, -1); }
static int c_epoll_masked(void) {
	struct epoll_event e;
	sigset_t none;
	sigemptyset(&none);
	return epoll_pwait(epoll, &e, 1, -1, &none);
}
static int c_poll(void) { struct pollfd p = {.fd = ends[0], .events = POLLIN}; return poll(&p, 1, -1); }
static int c_poll_nothing(void) { return poll(NULL, 0, 20000); }
static int c_ppoll(void) {
	struct pollfd p = {.fd = ends[0], .events = POLLIN};
	sigset_t none;
	sigemptyset(&none);
	return ppoll(&p, 1, NULL, &none);
}
static int c_select(void) {
	fd_set set;
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	return select(ends[0] + 1, &set, NULL, NULL, NULL);
}
static int c_nanosleep(void) { struct timespec t = {20, 0}; return nanosleep(&t, NULL); }
static int c_usleep(void) { return usleep(20000000); }
static int c_clock(void) {
	struct timespec t = {20, 0};
	return (errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL)) ? -1 : 0;
}
static int c_sem(void) { return sem_wait(&sem); }
static int c_sem_timed(void) { struct timespec t = in_ms(CLOCK_REALTIME, 20000); return sem_timedwait(&sem, &t); }
static int c_pause(void) { return pause(); }
static int c_sigsuspend(void) { sigset_t none; sigemptyset(&none); return sigsuspend(&none); }
static int c_sigtimedwait(void) {
	sigset_t set;
	struct timespec t = {20, 0};
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &t);
}
static int c_waitpid(void) { return waitpid(sleeper, NULL, 0); }
static int c_msgrcv(void) { struct { long type; char text[8]; } m; return (int)msgrcv(queue, &m, 8, 0, 0); }
/* These are not ended by a handler. */
static int c_cond(void) {
	struct timespec t = in_ms(CLOCK_REALTIME, 1000);
	pthread_mutex_lock(&mutex);
	int r = pthread_cond_timedwait(&cond, &mutex, &t);
	pthread_mutex_unlock(&mutex);
	errno = EINTR;
	return r == ETIMEDOUT ? -1 : r;
}
static int c_mutex(void) {
	struct timespec t = in_ms(CLOCK_REALTIME, 1000);
	static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_trylock(&held);
	int r = pthread_mutex_timedlock(&held, &t);
	errno = EINTR;
	return r == ETIMEDOUT ? -1 : r;
}

static const struct call {
	const char *name;
	int (*wait)(void);
} calls[] = {
	{"read", c_read}, {"recv", c_recv}, {"recvmsg", c_recvmsg}, {"write", c_write}, {"accept", c_accept}, {"epoll_wait", c_epoll}, {"epoll_pwait", c_epoll_masked},
	{"poll", c_poll}, {"poll of nothing", c_poll_nothing}, {"ppoll", c_ppoll}, {"select", c_select}, {"nanosleep", c_nanosleep}, {"usleep", c_usleep},
	{"clock_nanosleep", c_clock}, {"sem_wait", c_sem}, {"sem_timedwait", c_sem_timed}, {"pause", c_pause}, {"sigsuspend", c_sigsuspend},
	{"sigtimedwait", c_sigtimedwait}, {"waitpid", c_waitpid}, {"msgrcv", c_msgrcv}, {"pthread_cond_timedwait", c_cond}, {"pthread_mutex_timedlock", c_mutex},
};

static void *caller(void *arg) {
	const struct call *call = arg;
	waits = true;
	errno = 0;
	int r = call->wait(), error = errno;
	if (child == 0) {
		/* it is a process as any other */
		int p[2];
		char c = 0;
		bool works = pipe(p) == 0 && write(p[1], "x", 1) == 1 && read(p[0], &c, 1) == 1 && c == 'x' && pthread_mutex_lock(&mutex) == 0;
		_exit(r != -1 ? 3 : error != EINTR ? 4 : !works ? 5 : 7);
	}
	EQ(r, -1);
	EQ(error, EINTR);
	return NULL;
}

int main(int argc, char **argv) {
	struct sigaction sa = {.sa_handler = forks};
	test_begin();
	sigaction(SIGUSR1, &sa, NULL);
	sem_init(&sem, 0, 0);
	pipe(ends);
	pipe(full);
	fcntl(full[1], F_SETFL, O_NONBLOCK);
	while (write(full[1], "xxxxxxxxxxxxxxxx", 16) > 0)
		continue;
	fcntl(full[1], F_SETFL, 0);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	listener = socket(AF_INET, SOCK_STREAM, 0);
	EQ(bind(listener, (struct sockaddr *)&any, sizeof any), 0);
	EQ(listen(listener, 5), 0);
	epoll = epoll_create1(0);
	queue = msgget(IPC_PRIVATE, 0600);
	sleeper = fork();
	if (sleeper == 0) {
		alarm(60);
		for (;;)
			pause();
	}
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		int status = 0;
		if (argc > 1 && strcmp(argv[1], calls[i].name) != 0)
			continue;
		child = -1;
		waits = false;
		pthread_t t = start(caller, (void *)&calls[i]);
		while (!waits)
			sched_yield();
		usleep(30000);
		pthread_kill(t, SIGUSR1);
		join(t);
		CHECK(child > 0);
		EQ(waitpid(child, &status, 0), child);
		printf("%s: %s %d\n", calls[i].name, WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		fflush(stdout);
	}
	kill(sleeper, SIGKILL);
	msgctl(queue, IPC_RMID, NULL);
	return test_end();
}
