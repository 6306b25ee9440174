/* Event loops: threads that wait in epoll_wait() of their own, while others compute, wait and talk; and all ways out of that wait. */
#include "sync_test.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

enum { LOOPS = 40, ROUNDS = 100, JUMPS = 50, SIGNALS = 30 };

struct loop {
	pthread_t thread;
	int epoll, in[2], out[2];
};

static struct loop loop[LOOPS];
static sigjmp_buf back;
static int handled;

static void watch(struct loop *l) {
	struct epoll_event e = {.events = EPOLLIN};
	EQ(pipe(l->in), 0);
	EQ(pipe(l->out), 0);
	l->epoll = epoll_create1(0);
	EQ(epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->in[0], &e), 0);
}

/* Answers each byte, until it is 'e'. */
static void *answers(void *arg) {
	struct loop *l = arg;
	struct epoll_event e;
	char c = 0;
	while (c != 'e') {
		EQ(epoll_wait(l->epoll, &e, 1, -1), 1);
		EQ(read(l->in[0], &c, 1), 1);
		EQ(write(l->out[1], &c, 1), 1);
	}
	return NULL;
}

static void ask(struct loop *l, char c) {
	char answer = 0;
	EQ(write(l->in[1], &c, 1), 1);
	EQ(read(l->out[0], &answer, 1), 1);
	EQ(answer, c);
}

static void *asks_all(void *arg) {
	for (int i = 0; i < ROUNDS; i++)
		ask(arg, 'a');
	return NULL;
}

/* More loops than there are CPUs; each is asked by another thread. */
static void together(void) {
	pthread_t asker[LOOPS];
	for (int i = 0; i < LOOPS; i++)
		loop[i].thread = start(answers, &loop[i]);
	for (int i = 0; i < LOOPS; i++)
		asker[i] = start(asks_all, &loop[i]);
	for (int i = 0; i < LOOPS; i++)
		EQ(join(asker[i]), 0);
	for (int i = 0; i < LOOPS; i++)
		ask(&loop[i], 'e');
	for (int i = 0; i < LOOPS; i++)
		EQ(join(loop[i].thread), 0);
	step("together");
}

static void *waits(void *arg) {
	struct epoll_event e;
	epoll_wait(((struct loop *)arg)->epoll, &e, 1, -1);
	return NULL;
}

/* Each time as many as there are; then the next ones. */
static void cancelled(void) {
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < LOOPS; i++)
			loop[i].thread = start(waits, &loop[i]);
		sched_yield();
		for (int i = 0; i < LOOPS; i++) {
			void *result;
			EQ(pthread_cancel(loop[i].thread), 0);
			EQ(pthread_join(loop[i].thread, &result), 0);
			CHECK(result == PTHREAD_CANCELED);
		}
	}
	step("cancelled");
}

static void jumps(int sig) {
	(void)sig;
	siglongjmp(back, 1);
}

static void counts(int sig) {
	(void)sig;
	handled++;
}

static _Atomic bool enough;

/* Until one has come while it was waited for. */
static void *kicks(void *arg) {
	struct timespec pause = {0, 1000000};
	while (!enough) {
		nanosleep(&pause, NULL);
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
	}
	return NULL;
}

static void is_enough(pthread_t kicker, const sigset_t *usr1) {
	struct timespec now = {0, 0};
	enough = true;
	EQ(join(kicker), 0);
	while (sigtimedwait(usr1, NULL, &now) > 0)
		continue;
	enough = false;
}

/* SIGUSR1 is blocked but for the wait. */
static void *is_kicked(void *arg) {
	struct sigaction jump = {.sa_handler = jumps}, count = {.sa_handler = counts, .sa_flags = SA_RESTART};
	struct epoll_event e;
	pthread_t self = pthread_self(), kicker;
	sigset_t usr1;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	sigaction(SIGUSR1, &jump, NULL);
	for (volatile int i = 0; i < JUMPS; i++) {
		kicker = start(kicks, &self);
		if (!sigsetjmp(back, 1)) {
			pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
			epoll_wait(((struct loop *)arg)->epoll, &e, 1, -1);
			CHECK(!"it came back");
		}
		is_enough(kicker, &usr1);
	}
	sigaction(SIGUSR1, &count, NULL);
	kicker = start(kicks, &self);
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	EQ(epoll_wait(((struct loop *)arg)->epoll, &e, 1, -1), -1);
	EQ(errno, EINTR); /* it is never made again */
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	CHECK(handled > 0);
	is_enough(kicker, &usr1);
	long long since = now_ns(CLOCK_MONOTONIC);
	EQ(epoll_wait(((struct loop *)arg)->epoll, &e, 1, 20), 0);
	CHECK(now_ns(CLOCK_MONOTONIC) - since >= 19000000);
	return NULL;
}

struct shown {
	struct loop *loop;
	int sig, signals;
	_Atomic bool begun;
};

/* The signals are for this thread alone, which blocks them. */
static void *is_shown(void *arg) {
	struct shown *s = arg;
	struct epoll_event e;
	struct signalfd_siginfo info;
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, s->sig);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	s->begun = true;
	EQ(epoll_wait(s->loop->epoll, &e, 1, -1), 1);
	EQ(e.data.fd, s->signals);
	EQ(read(s->signals, &info, sizeof info), sizeof info);
	EQ(info.ssi_signo, s->sig);
	return NULL;
}

/* The signalfd that shows them comes when it waits already, of a signal that there was none for. */
static void shown_meanwhile(void) {
	struct timespec pause = {0, 300000};
	struct shown s = {.loop = &loop[0]};
	for (int i = 0; i < SIGNALS; i++) {
		struct epoll_event e = {.events = EPOLLIN};
		sigset_t set;
		s.sig = SIGRTMIN + i % (SIGRTMAX - SIGRTMIN + 1);
		s.begun = false;
		pthread_t waits_for_it = start(is_shown, &s);
		while (!s.begun)
			sched_yield();
		if (i % 2)
			nanosleep(&pause, NULL);
		sigemptyset(&set);
		sigaddset(&set, s.sig);
		e.data.fd = s.signals = signalfd(-1, &set, SFD_CLOEXEC);
		EQ(epoll_ctl(s.loop->epoll, EPOLL_CTL_ADD, s.signals, &e), 0);
		EQ(pthread_kill(waits_for_it, s.sig), 0);
		EQ(join(waits_for_it), 0);
		EQ(close(s.signals), 0);
	}
	step("shown");
}

static void *naps(void *arg) {
	struct epoll_event e;
	struct timespec nap = {0, 300000};
	long long since = now_ns(CLOCK_MONOTONIC);
	EQ(epoll_pwait2(((struct loop *)arg)->epoll, &e, 1, &nap, NULL), 0);
	CHECK(now_ns(CLOCK_MONOTONIC) - since >= 300000);
	return NULL;
}

int main(void) {
	int status;
	test_begin();
	for (int i = 0; i < LOOPS; i++)
		watch(&loop[i]);
	together();
	cancelled();
	EQ(join(start(is_kicked, &loop[0])), 0);
	step("kicked");
	EQ(join(start(naps, &loop[0])), 0);
	together();
	/* Of those that waited in the parent there is none here. */
	for (int i = 1; i < LOOPS; i++)
		loop[i].thread = start(waits, &loop[i]);
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		for (int i = 0; i < LOOPS; i++)
			watch(&loop[i]);
		together();
		exit(failures != 0);
	}
	EQ(waitpid(child, &status, 0), child);
	EQ(status, 0);
	for (int i = 1; i < LOOPS; i++) {
		EQ(write(loop[i].in[1], "x", 1), 1);
		EQ(join(loop[i].thread), 0);
	}
	shown_meanwhile();
	return test_end();
}
