/* What a running handler masks waits for its end, also where the default action is due, and is pending meanwhile: sigpending() tells of it, sigwait(), signalfd and
 * exec have it. Main's is the only thread that does not block everything. Each case is a process of its own, whose status says what became of it. */
#include "signal_test.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static jmp_buf back;
static volatile int runs;
static volatile pthread_t ran;

static void *blocks_all(void *arg) {
	sem_post(arg);
	while (pause() < 0)
		continue;
	return arg;
}

static void thread_new(void *(*fn)(void *), void *arg) {
	sigset_t all, before;
	pthread_t t;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	EQ(pthread_create(&t, NULL, fn, arg), 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void set_handler(int sig, void (*fn)(int), int flags, bool masks_all) {
	struct sigaction act = {.sa_handler = fn, .sa_flags = flags};
	if (masks_all)
		sigfillset(&act.sa_mask);
	EQ(sigaction(sig, &act, NULL), 0);
}

/* By another process. Comes back when it is pending. */
static void kill_me(int sig) {
	pid_t child = fork();
	if (child == 0) {
		kill(getppid(), sig);
		_exit(0);
	}
	EQ(waitpid(child, NULL, 0), child);
	while (!pending(sig))
		usleep(1000);
}

static void counts(int sig) {
	(void)sig;
	runs++;
	ran = pthread_self();
}

/* ---- the cases ------------------------------------------------------------------------------------------------------ */

static void ended_by_other(int sig) {
	(void)sig;
	kill_me(SIGTERM);
	printf("cleaned up\n");
	fflush(stdout);
}

static void ended_by_itself(int sig) {
	(void)sig;
	EQ(kill(getpid(), SIGTERM), 0);
	EQ(pending(SIGTERM), 1);
	printf("cleaned up\n");
	fflush(stdout);
}

static void comes_twice(int sig) {
	kill_me(sig);
	printf("ends after the first\n");
	fflush(stdout);
}

static void stopped_by_other(int sig) {
	(void)sig;
	kill_me(SIGTSTP);
	printf("not stopped in the handler\n");
	fflush(stdout);
}

static void jumps(int sig) {
	(void)sig;
	_longjmp(back, 1);
}

static void case_jumped(void) {
	set_handler(SIGUSR1, jumps, 0, false);
	if (!_setjmp(back))
		raise(SIGUSR1);
	EQ(kill(getpid(), SIGUSR1), 0);
	EQ(pending(SIGUSR1), 1);
	int fd;
	struct signalfd_siginfo info;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	EQ((fd = signalfd(-1, &set, SFD_NONBLOCK)) >= 0, 1);
	EQ(read(fd, &info, sizeof info), sizeof info);
	EQ(pending(SIGUSR1), 0);
	signal(SIGUSR1, SIG_DFL);
	kill_me(SIGUSR1);
}

static void asks(int sig) {
	(void)sig;
	struct timespec none = {0};
	struct signalfd_siginfo record;
	siginfo_t info;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	kill_me(SIGUSR2);
	EQ(sigtimedwait(&set, &info, &none), SIGUSR2);
	EQ(pending(SIGUSR2), 0);
	EQ(sigtimedwait(&set, &info, &none), -1);
	kill_me(SIGUSR2);
	int fd = signalfd(-1, &set, SFD_NONBLOCK);
	EQ(read(fd, &record, sizeof record), sizeof record);
	EQ(record.ssi_signo, SIGUSR2);
	EQ(read(fd, &record, sizeof record), -1);
	EQ(runs, 0);
	kill_me(SIGUSR2);
}

static void executes(int sig) {
	(void)sig;
	kill_me(SIGUSR2);
	execl("/proc/self/exe", "sig_default_waits", "executed", (char *)NULL);
}

static sem_t waits, took;

static void *sigwaits(void *arg) {
	int sig;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sem_post(&waits);
	EQ(sigwait(&set, &sig), 0);
	EQ(sig, SIGUSR2);
	sem_post(&took);
	return arg;
}

static void waits_for_taker(int sig) {
	(void)sig;
	EQ(kill(getpid(), SIGUSR2), 0);
	sem_take(&took);
	EQ(runs, 0);
}

static void handled(void (*fn)(int), int flags) {
	set_handler(SIGINT, fn, flags, !(flags & (int)SA_RESETHAND));
	raise(SIGINT);
}

static void run(int which) {
	sem_t ready;
	sem_init(&ready, 0, 0);
	thread_new(blocks_all, &ready);
	sem_take(&ready);
	switch (which) {
	case 0:
		handled(ended_by_other, 0);
		break;
	case 1:
		handled(ended_by_itself, 0);
		break;
	case 2:
		handled(comes_twice, (int)SA_RESETHAND);
		break;
	case 3:
		handled(stopped_by_other, 0);
		raise(SIGINT);
		break;
	case 4:
		case_jumped();
		break;
	case 5:
		set_handler(SIGUSR2, counts, 0, false);
		handled(asks, 0);
		EQ(runs, 1);
		break;
	case 6:
		set_handler(SIGUSR2, counts, 0, false);
		handled(executes, 0);
		break;
	default:
		sem_init(&waits, 0, 0);
		sem_init(&took, 0, 0);
		set_handler(SIGUSR2, counts, 0, false);
		thread_new(sigwaits, NULL);
		sem_take(&waits);
		handled(waits_for_taker, 0);
	}
	printf("goes on\n");
}

static void show(int which) {
	int status;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		setpgid(0, 0); /* in an orphaned process group nobody is stopped */
		run(which);
		fflush(stdout);
		_exit(test_end());
	}
	while (waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status)) {
		printf("%d: stopped by %d\n", which, WSTOPSIG(status));
		fflush(stdout);
		kill(child, SIGCONT);
	}
	printf("%d: %s %d\n", which, WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void *nothing(void *arg) {
	return arg;
}

int main(int argc, char **argv) {
	test_begin();
	if (argc > 1) {
		EQ(strcmp(argv[1], "executed"), 0);
		EQ(pending(SIGUSR2), 1);
		return test_end();
	}
	for (int which = 0; which < 8; which++)
		show(which);
	pthread_t t;
	EQ(pthread_create(&t, NULL, nothing, NULL), 0);
	EQ(pthread_join(t, NULL), 0);
	return test_end();
}
