/* Which calls a handled signal ends with EINTR, with and without SA_RESTART (SIG-1): pthread_kill() to a thread that waits. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t handled;
static void on_signal(int sig) {
	(void)sig;
	handled++;
}

static int pipes[2], sockets[2], listener, efd, epfd, timed_sockets[2];
static sem_t sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static int go, child;

static struct timespec after_ms(long ms) {
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += ms * 1000000;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	return ts;
}

/* Each returns what the call returned; errno is looked at when it is -1. */
static long c_read_pipe(void) { char b; return read(pipes[0], &b, 1); }
static long c_read_eventfd(void) { uint64_t v; return read(efd, &v, 8); }
static long c_recv(void) { char b; return recv(sockets[0], &b, 1, 0); }
static long c_recv_timeout(void) { char b; return recv(timed_sockets[0], &b, 1, 0); }
static long c_accept(void) { return accept(listener, NULL, NULL) < 0 ? -1 : 0; }
static long c_poll(void) { struct pollfd p = {pipes[0], POLLIN, 0}; return poll(&p, 1, -1); }
static long c_poll_nothing(void) { return poll(NULL, 0, 2000); }
static long c_ppoll(void) { struct pollfd p = {pipes[0], POLLIN, 0}; return ppoll(&p, 1, NULL, NULL); }
static long c_select(void) { fd_set s; FD_ZERO(&s); FD_SET(pipes[0], &s); return select(pipes[0] + 1, &s, NULL, NULL, NULL); }
static long c_epoll(void) { struct epoll_event e; return epoll_wait(epfd, &e, 1, -1); }
static long c_nanosleep(void) { struct timespec ts = {2, 0}, left = {0, 0}; long r = nanosleep(&ts, &left); return r == -1 && left.tv_sec == 0 && left.tv_nsec == 0 ? -2 : r; }
static long c_clock_nanosleep(void) { struct timespec ts = {2, 0}; errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL); return errno ? -1 : 0; }
static long c_usleep(void) { return usleep(2000000); }
static long c_sleep(void) { return sleep(3) > 0 ? (errno = EINTR, -1) : 0; }
static long c_sem_wait(void) { return sem_wait(&sem); }
static long c_sem_timedwait(void) { struct timespec ts = after_ms(3000); return sem_timedwait(&sem, &ts); }
static long c_pause(void) { return pause(); }
static long c_sigtimedwait(void) { sigset_t s; struct timespec ts = {3, 0}; sigemptyset(&s); sigaddset(&s, SIGUSR2); return sigtimedwait(&s, NULL, &ts); }
static long c_waitpid(void) { return waitpid(child, NULL, 0) < 0 ? -1 : 0; }
static long c_mutex(void) { long r = pthread_mutex_lock(&mutex); pthread_mutex_unlock(&mutex); return r; }
static long c_rwlock(void) { long r = pthread_rwlock_rdlock(&rwlock); pthread_rwlock_unlock(&rwlock); return r; }
static long c_cond(void) {
	pthread_mutex_lock(&mutex);
	long turns = 0;
	while (!go) {
		pthread_cond_wait(&cond, &mutex);
		turns++;
	}
	pthread_mutex_unlock(&mutex);
	return turns == 1 ? 0 : 99; /* POSIX allows spurious wake-ups; NPTL has none for signals */
}
static void *sleeper(void *arg) { pthread_mutex_lock(&mutex); pthread_mutex_unlock(&mutex); return arg; }
static long c_join(void) { pthread_t t; pthread_create(&t, NULL, sleeper, NULL); return pthread_join(t, NULL); }

/* What lets the call succeed at last. */
static void e_pipe(void) { write(pipes[1], "x", 1); }
static void e_poll(void) { write(pipes[1], "x", 1); }
static void e_event(void) { uint64_t v = 1; write(efd, &v, 8); }
static void e_recv(void) { send(sockets[1], "x", 1, 0); }
static void e_timed(void) { send(timed_sockets[1], "x", 1, 0); }
static void e_accept(void) {
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	getsockname(listener, (struct sockaddr *)&a, &n);
	close(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, n));
}
static void e_sem(void) { sem_post(&sem); }
static void e_child(void) { kill(child, SIGKILL); }
static void e_mutex(void) { pthread_mutex_unlock(&mutex); }
static void e_rwlock(void) { pthread_rwlock_unlock(&rwlock); }
static void e_cond(void) { pthread_mutex_lock(&mutex); go = 1; pthread_cond_signal(&cond); pthread_mutex_unlock(&mutex); }
static void none(void) {}
static void p_mutex(void) { pthread_mutex_lock(&mutex); }
static void p_rwlock(void) { pthread_rwlock_wrlock(&rwlock); }
static void p_cond(void) { go = 0; }
static void p_child(void) {
	child = fork();
	if (child == 0) {
		for (;;)
			pause();
	}
}

static const struct {
	const char *name;
	long (*call)(void);
	void (*before)(void), (*end)(void);
} calls[] = {
	{"read pipe", c_read_pipe, none, e_pipe}, {"read eventfd", c_read_eventfd, none, e_event}, {"recv", c_recv, none, e_recv},
	{"recv with SO_RCVTIMEO", c_recv_timeout, none, e_timed}, {"accept", c_accept, none, e_accept}, {"poll", c_poll, none, e_poll},
	{"poll, no descriptors", c_poll_nothing, none, none}, {"ppoll", c_ppoll, none, e_poll}, {"select", c_select, none, e_poll},
	{"epoll_wait", c_epoll, none, e_poll}, {"nanosleep", c_nanosleep, none, none}, {"clock_nanosleep", c_clock_nanosleep, none, none},
	{"usleep", c_usleep, none, none}, {"sleep", c_sleep, none, none}, {"sem_wait", c_sem_wait, none, e_sem},
	{"sem_timedwait", c_sem_timedwait, none, e_sem}, {"pause", c_pause, none, none}, {"sigtimedwait", c_sigtimedwait, none, none},
	{"waitpid", c_waitpid, p_child, e_child}, {"mutex lock", c_mutex, p_mutex, e_mutex}, {"rwlock rdlock", c_rwlock, p_rwlock, e_rwlock},
	{"cond wait", c_cond, p_cond, e_cond}, {"join", c_join, p_mutex, e_mutex},
};

static volatile long result;
static volatile int error, finished;
static volatile unsigned current;

static void *thread(void *arg) {
	(void)arg;
	errno = 0;
	result = calls[current].call();
	error = result == -1 ? errno : 0;
	__atomic_store_n(&finished, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void drain(void) {
	char b[64];
	uint64_t v;
	struct pollfd p = {pipes[0], POLLIN, 0};
	while (poll(&p, 1, 0) == 1)
		read(pipes[0], b, sizeof b);
	p.fd = efd;
	if (poll(&p, 1, 0) == 1)
		read(efd, &v, 8);
	recv(sockets[0], b, sizeof b, MSG_DONTWAIT);
	recv(timed_sockets[0], b, sizeof b, MSG_DONTWAIT);
	while (sem_trywait(&sem) == 0)
		;
}

/* Lets the thread get into the call: there is no way to see it from outside, so it is given time; a signal that comes too early shows
 * as a call that was not interrupted, which the second signal then does. */
static void settle(void) {
	usleep(100000); /* long enough for a loaded machine to get there; nothing tells that a thread sleeps in the kernel */
}

static void run(unsigned i, int flags) {
	pthread_t t;
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = flags};
	sigaction(SIGUSR1, &sa, NULL);
	drain();
	handled = 0;
	finished = 0;
	current = i;
	calls[i].before();
	pthread_create(&t, NULL, thread, NULL);
	settle();
	pthread_kill(t, SIGUSR1);
	settle();
	bool ended = __atomic_load_n(&finished, __ATOMIC_SEQ_CST);
	const char *what = ended ? (result == -1 && error == EINTR ? "EINTR" : "ended") : "goes on";
	int ran = handled;
	if (!ended || calls[i].before != none) /* what it waits for, also to clean up */
		calls[i].end();
	pthread_join(t, NULL);
	if (calls[i].before == p_child)
		while (waitpid(child, NULL, 0) > 0)
			;
	printf("%-22s %-12s %s, handler ran %d, result %s\n", calls[i].name, flags ? "SA_RESTART" : "-", what, ran,
	       result == -1 ? strerror(error) : result == 99 ? "spurious" : "good");
	fflush(stdout);
}

int main(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event e = {.events = EPOLLIN};
	struct timeval tv = {3, 0};
	pipe(pipes);
	socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
	socketpair(AF_UNIX, SOCK_STREAM, 0, timed_sockets);
	setsockopt(timed_sockets[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	bind(listener, (struct sockaddr *)&a, sizeof a);
	listen(listener, 8);
	efd = eventfd(0, 0);
	epfd = epoll_create1(0);
	epoll_ctl(epfd, EPOLL_CTL_ADD, pipes[0], &e);
	sem_init(&sem, 0, 0);
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		run(i, 0);
		run(i, SA_RESTART);
	}
	return 0;
}
