/* Signals that a call of this thread makes the kernel send to the process: where it is the only one that takes them, the handler has run when the call returns. By kill() of
 * the group in its three forms, by a pidfd, by a message queue, by the size of a terminal; and SIGCONT, when a call of main's returns that stopped the process. (Of another
 * thread's, that is no promise.) Main, then another thread; the others block everything, and keep the kernel threads busy, so that main is now on this one and now on that. */
#include "sync_test.h"

#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 150, STOPS = 40, BESIDE = 2 };

static volatile sig_atomic_t handled;
static int pidfd, terminal;
static mqd_t queue;

static void on_signal(int sig) {
	(void)sig;
	handled++;
}

static void *beside(void *arg) {
	for (;;) {
		for (volatile int i = 0; i < 2000; i++)
			continue;
		usleep(300);
	}
	return arg;
}

static long by_zero(void) { return kill(0, SIGUSR1); }
static long by_group(void) { return kill(-getpgrp(), SIGUSR1); }
static long by_killpg(void) { return killpg(getpgrp(), SIGUSR1); }
static long by_pidfd(void) { return syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0); }
static long by_pid(void) { return kill(getpid(), SIGUSR1); }

static long by_queue(void) {
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	char message[16];
	EQ(mq_notify(queue, &event), 0);
	long r = mq_send(queue, "a", 1, 0);
	int before = handled;
	EQ(mq_receive(queue, message, sizeof message, NULL), 1);
	handled = before; /* not those that came with this */
	return r;
}

static long by_size(void) {
	static struct winsize size = {1, 1, 0, 0};
	size.ws_row = size.ws_row % 50 + 1;
	return ioctl(terminal, TIOCSWINSZ, &size);
}

static void calls(const char *what, long (*call)(void)) {
	int late = 0;
	for (int i = 0; i < ROUNDS; i++) {
		handled = 0;
		EQ(call(), 0);
		late += handled != 1;
		if (i % 8 == 0)
			usleep(200);
	}
	printf("%s: %d late\n", what, late);
}

static void *all(void *arg) {
	calls("kill(0)", by_zero);
	calls("kill(-group)", by_group);
	calls("killpg", by_killpg);
	calls("pidfd", by_pidfd);
	calls("mq_send", by_queue);
	calls("TIOCSWINSZ", by_size);
	calls("kill(pid)", by_pid);
	return arg;
}

static void *stops(void *arg) {
	int late = 0;
	for (int i = 0; i < STOPS; i++) {
		handled = 0;
		if (i % 4 == 0)
			raise(SIGSTOP);
		else if (i % 4 == 1)
			raise(SIGTSTP);
		else
			kill(getpid(), i % 4 == 2 ? SIGTSTP : SIGSTOP);
		late += handled != 1;
		usleep(200);
	}
	printf("stop: %d late\n", late);
	fflush(stdout);
	return arg;
}

static void unblock(void) {
	sigset_t none;
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}

static void *unblocked(void *f) {
	unblock();
	((void *(*)(void *))f)(NULL);
	return NULL;
}

static void block(void) {
	sigset_t set;
	sigfillset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void on_main(void *(*f)(void *)) {
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGWINCH, &sa, NULL);
	sigaction(SIGCONT, &sa, NULL);
	block();
	for (int i = 0; i < BESIDE; i++)
		start(beside, NULL);
	unblock();
	printf("main\n");
	f(NULL);
	fflush(stdout);
}

static void on_another(void *(*f)(void *)) {
	block();
	printf("another\n");
	join(start(unblocked, f));
	fflush(stdout);
}

/* A session of its own, whose terminal is ours. */
static void in_session(void) {
	struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 16};
	char name[64];
	setsid();
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	snprintf(name, sizeof name, "/sent_by_call.%d", getpid());
	queue = mq_open(name, O_CREAT | O_RDWR, 0600, &attr);
	mq_unlink(name);
	terminal = posix_openpt(O_RDWR | O_NOCTTY);
	CHECK(pidfd >= 0 && queue >= 0 && terminal >= 0);
	EQ(grantpt(terminal) | unlockpt(terminal), 0);
	int slave = open(ptsname(terminal), O_RDWR);
	CHECK(slave >= 0);
	EQ(ioctl(slave, TIOCSCTTY, 0), 0);
	on_main(all);
	on_another(all);
	_exit(failures != 0);
}

static void in_group(void) {
	setpgid(0, 0);
	on_main(stops);
	_exit(failures != 0);
}

static void in_child(void (*f)(void)) {
	int status = -1;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		f();
	do {
		EQ(waitpid(child, &status, WUNTRACED), child);
		if (WIFSTOPPED(status))
			kill(child, SIGCONT);
	} while (WIFSTOPPED(status));
	EQ(status, 0);
}

int main(void) {
	test_begin();
	in_child(in_session);
	in_child(in_group);
	return test_end();
}
