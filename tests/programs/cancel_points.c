/* pthread_cancel() of threads parked in every kind of wait: cleanup handlers run, in order, with the mutex of a condition variable held again
 * (CAN-5), and join says PTHREAD_CANCELED. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int pipes[2], listener, sockets[2], epfd;
static sem_t sem;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_t forever;
static pid_t child;

static void w_read(void) { char b; read(pipes[0], &b, 1); }
static void w_recv(void) { char b; recv(sockets[0], &b, 1, 0); }
static void w_accept(void) { accept(listener, NULL, NULL); }
static void w_poll(void) { struct pollfd p = {pipes[0], POLLIN, 0}; poll(&p, 1, -1); }
static void w_select(void) { fd_set s; FD_ZERO(&s); FD_SET(pipes[0], &s); select(pipes[0] + 1, &s, NULL, NULL, NULL); }
static void w_epoll(void) { struct epoll_event e; epoll_wait(epfd, &e, 1, -1); }
static void w_sem(void) { sem_wait(&sem); }
static void w_sleep(void) { sleep(100); }
static void w_nanosleep(void) { struct timespec ts = {100, 0}; nanosleep(&ts, NULL); }
static void w_pause(void) { pause(); }
static void w_sigwait(void) { sigset_t s; int sig; sigemptyset(&s); sigaddset(&s, SIGUSR2); sigwait(&s, &sig); }
static void w_sigsuspend(void) { sigset_t s; sigemptyset(&s); sigsuspend(&s); }
static void w_join(void) { pthread_join(forever, NULL); }
static void w_waitpid(void) { waitpid(child, NULL, 0); }
static void w_testcancel(void) { for (;;) { pthread_testcancel(); sched_yield(); } }
static void w_system(void) { system("exec sleep 100"); }

static void unlock(void *arg) {
	pthread_mutex_t *m = arg;
	/* owned by us: an error-checking mutex says so */
	printf("  mutex held again: %d\n", pthread_mutex_unlock(m) == 0);
}
static pthread_mutex_t checked;
static void w_cond(void) {
	pthread_mutex_lock(&checked);
	pthread_cleanup_push(unlock, &checked);
	for (;;)
		pthread_cond_wait(&cond, &checked);
	pthread_cleanup_pop(0);
}
static void w_cond_timed(void) {
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 100;
	pthread_mutex_lock(&checked);
	pthread_cleanup_push(unlock, &checked);
	for (;;)
		pthread_cond_timedwait(&cond, &checked, &ts);
	pthread_cleanup_pop(0);
}

static const struct {
	const char *name;
	void (*wait)(void);
} waits[] = {
	{"read", w_read}, {"recv", w_recv}, {"accept", w_accept}, {"poll", w_poll}, {"select", w_select}, {"epoll_wait", w_epoll},
	{"sem_wait", w_sem}, {"sleep", w_sleep}, {"nanosleep", w_nanosleep}, {"pause", w_pause}, {"sigwait", w_sigwait},
	{"sigsuspend", w_sigsuspend}, {"join", w_join}, {"waitpid", w_waitpid}, {"cond_wait", w_cond}, {"cond_timedwait", w_cond_timed},
	{"testcancel", w_testcancel}, {"system", w_system},
};

static volatile int trace;
static void first(void *arg) { (void)arg; trace = trace * 10 + 1; }
static void second(void *arg) { (void)arg; trace = trace * 10 + 2; }
static void at_end(void *arg) { (void)arg; trace = trace * 10 + 3; }
static pthread_key_t key;
static sem_t started;

static void *thread(void *arg) {
	pthread_setspecific(key, arg);
	pthread_cleanup_push(first, NULL);
	pthread_cleanup_push(second, NULL);
	sem_post(&started);
	waits[(long)arg - 1].wait();
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
	return (void *)77;
}

static void *parked(void *arg) {
	for (;;)
		sem_wait(arg);
	return NULL;
}

/* Cancelled before it gets to the wait, and with the request pending while disabled. */
static void *disabled(void *arg) {
	int old;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	sem_post(&started);
	struct timespec ts = {0, 50000000};
	int r = nanosleep(&ts, NULL);
	printf("disabled: sleep %d\n", r);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pthread_testcancel();
	return arg;
}

static void *spins(void *arg) {
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	pthread_cleanup_push(first, NULL);
	sem_post(&started);
	for (;;)
		__asm__ volatile("" ::: "memory");
	pthread_cleanup_pop(0);
	return arg;
}

static void *self(void *arg) {
	pthread_cancel(pthread_self());
	trace = 5;
	pthread_testcancel();
	return arg;
}

static void *nothing(void *arg) {
	return arg;
}

int main(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event e = {.events = EPOLLIN};
	pthread_mutexattr_t attr;
	sem_t never;
	pthread_t t;
	void *r;
	pipe(pipes);
	socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	bind(listener, (struct sockaddr *)&a, sizeof a);
	listen(listener, 8);
	epfd = epoll_create1(0);
	epoll_ctl(epfd, EPOLL_CTL_ADD, pipes[0], &e);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&checked, &attr);
	pthread_key_create(&key, at_end);
	sem_init(&sem, 0, 0);
	sem_init(&started, 0, 0);
	sem_init(&never, 0, 0);
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	pthread_create(&forever, NULL, parked, &never);
	for (unsigned i = 0; i < sizeof waits / sizeof *waits; i++) {
		for (int early = 0; early < 2; early++) {
			trace = 0;
			pthread_create(&t, NULL, thread, (void *)(long)(i + 1));
			sem_wait(&started);
			if (!early)
				usleep(20000); /* time to park; it makes no difference to what must happen */
			int c = pthread_cancel(t);
			pthread_join(t, &r);
			printf("%s: cancel %d, %s, trace %d\n", waits[i].name, c, r == PTHREAD_CANCELED ? "cancelled" : "not", trace);
			fflush(stdout);
		}
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	pthread_create(&t, NULL, disabled, NULL);
	sem_wait(&started);
	pthread_cancel(t);
	pthread_join(t, &r);
	printf("disabled: %s\n", r == PTHREAD_CANCELED ? "cancelled later" : "not");
	trace = 0;
	pthread_create(&t, NULL, spins, NULL);
	sem_wait(&started);
	pthread_cancel(t);
	pthread_join(t, &r);
	printf("asynchronous: %s, trace %d\n", r == PTHREAD_CANCELED ? "cancelled" : "not", trace);
	trace = 0;
	pthread_create(&t, NULL, self, NULL);
	pthread_join(t, &r);
	printf("itself: %s, trace %d\n", r == PTHREAD_CANCELED ? "cancelled" : "not", trace);
	pthread_create(&t, NULL, nothing, NULL);
	usleep(20000);
	printf("exited: %d\n", pthread_cancel(t));
	pthread_join(t, &r);
	printf("exited: %s\n", r == PTHREAD_CANCELED ? "cancelled" : "result kept");
	pthread_cancel(forever);
	pthread_join(forever, &r);
	printf("forever: %s\n", r == PTHREAD_CANCELED ? "cancelled" : "not");
	return 0;
}
