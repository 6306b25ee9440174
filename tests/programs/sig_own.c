/* Signals that a thread library uses itself stay the program's: SIGURG with out-of-band data and by pthread_kill(), every one of them, while threads
 * compete for the CPU (SIG-3); the two that libc keeps cannot be had, and do no harm when sent (SIG-13); a profiler's timer ticks in the threads
 * that compute, and not in main, which waits (SIG-14). */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum { URGENT = 500, HOGS = 4 };
static volatile int stop, urgent, ticks, ticks_elsewhere;
static __thread volatile int is_hog;

static void on_urgent(int sig) {
	(void)sig;
	__atomic_fetch_add(&urgent, 1, __ATOMIC_SEQ_CST);
}

static void on_tick(int sig) {
	(void)sig;
	__atomic_fetch_add(is_hog ? &ticks : &ticks_elsewhere, 1, __ATOMIC_SEQ_CST);
}

static void *hog(void *arg) {
	volatile unsigned n = 0;
	is_hog = 1;
	while (!stop)
		n++;
	return arg;
}

/* Its signals are handled by it alone. */
static void *target(void *arg) {
	while (!stop)
		usleep(1000);
	return arg;
}

static void *cancelled(void *arg) {
	for (;;)
		pause();
	return arg;
}

static void out_of_band(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
	bind(l, (struct sockaddr *)&a, sizeof a);
	listen(l, 1);
	getsockname(l, (struct sockaddr *)&a, &size);
	connect(c, (struct sockaddr *)&a, size);
	int s = accept(l, NULL, NULL);
	fcntl(s, F_SETOWN, getpid());
	int before = urgent;
	send(c, "!", 1, MSG_OOB);
	while (urgent == before)
		usleep(1000);
	char b = 0;
	long r = recv(s, &b, 1, MSG_OOB);
	printf("out of band: %ld %c\n", r, b);
	close(s);
	close(c);
	close(l);
}

int main(void) {
	pthread_t hogs[HOGS], t, c;
	struct sigaction sa = {.sa_handler = on_urgent, .sa_flags = SA_RESTART}, old;
	sigset_t all;
	alarm(60);
	sigaction(SIGURG, &sa, NULL);
	for (int i = 0; i < HOGS; i++)
		pthread_create(&hogs[i], NULL, hog, NULL);
	pthread_create(&t, NULL, target, NULL);
	int wrong = 0;
	for (int i = 0; i < URGENT; i++) {
		int before = urgent;
		pthread_kill(t, SIGURG);
		while (urgent == before)
			sched_yield();
		wrong += urgent != before + 1;
	}
	printf("urgent: %d wrong of %d\n", wrong, URGENT);
	out_of_band();
	usleep(50000); /* nothing else sends it */
	printf("in all: %d\n", urgent);
	sigaction(SIGURG, NULL, &old);
	printf("handler kept: %d\n", old.sa_handler == on_urgent);

	struct itimerval often = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
	sa.sa_handler = on_tick;
	sigaction(SIGPROF, &sa, NULL);
	setitimer(ITIMER_PROF, &often, NULL);
	while (ticks < 40)
		usleep(1000);
	setitimer(ITIMER_PROF, &off, NULL);
	printf("profiled, most of it in who computes: %d\n", ticks_elsewhere < 20);
	ticks = ticks_elsewhere = 0;
	sigaction(SIGVTALRM, &sa, NULL);
	setitimer(ITIMER_VIRTUAL, &often, NULL);
	while (ticks < 40)
		usleep(1000);
	setitimer(ITIMER_VIRTUAL, &off, NULL);
	printf("virtual, most of it in who computes: %d\n", ticks_elsewhere < 20);

	pthread_create(&c, NULL, cancelled, NULL); /* libc installs its handlers when they are first needed */
	pthread_cancel(c);
	pthread_join(c, NULL);
	printf("setuid %d\n", setuid(getuid()));
	for (int sig = 32; sig <= 33; sig++) {
		errno = 0;
		int r = sigaction(sig, &sa, NULL), e = errno;
		printf("%d: sigaction %d %s, pthread_kill %s, ", sig, r, strerror(e), strerror(pthread_kill(t, sig)));
		r = sigaddset(&all, sig);
		printf("sigaddset %d, SIGRTMIN - 32 is %d, ", r, SIGRTMIN - 32);
		kill(getpid(), sig);
		usleep(10000);
		printf("sent\n");
	}
	sigfillset(&all);
	printf("sigfillset has them: %d %d\n", sigismember(&all, 32), sigismember(&all, 33));
	stop = 1;
	for (int i = 0; i < HOGS; i++)
		pthread_join(hogs[i], NULL);
	pthread_join(t, NULL);
	puts("all threads ended as they should");
	return 0;
}
