/* A signal that a process sends to itself, or to its own group, with the default action: where the caller is who takes it, that is done
 * before the call returns. It does not go on after SIGQUIT; it is stopped by SIGTSTP each time, whatever it does about the signal right
 * after. Each case is a process of its own, with idle threads. */
#include "signal_test.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { KILL, KILL_GROUP, SIGQUEUE, PIDFD, WAYS, TRIES = 6, STOPS = 20 };
static const char *const names[WAYS] = {"kill", "kill of the group", "sigqueue", "pidfd"};
static sem_t begun, over;
static int *stopped; /* how often the child went on from there */
static volatile sig_atomic_t handled;

static void counts(int sig) {
	(void)sig;
	handled++;
}

static void send(int way, int sig) {
	if (way == KILL)
		kill(getpid(), sig);
	else if (way == KILL_GROUP)
		kill(0, sig);
	else if (way == SIGQUEUE)
		sigqueue(getpid(), sig, (union sigval){0});
	else {
		int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
		if (fd < 0 || syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) != 0)
			kill(getpid(), sig); /* a machine that has none */
	}
}

static void *quits(void *way) {
	mask(SIG_UNBLOCK, SIGQUIT);
	send((int)(long)way, SIGQUIT);
	_exit(3);
}

/* A group of its own, whose parent is in another of the same session. */
static pid_t child_new(void) {
	pid_t pid = fork();
	if (pid == 0)
		setpgid(0, 0);
	return pid;
}

static void *idles(void *arg) {
	sem_post(&begun);
	return computes_and_waits(arg);
}

/* A thread that only begins looks for what is pending, and would take it. */
static void idle_threads(void) {
	for (int i = 0; i < 2; i++)
		start(idles, &over);
	for (int i = 0; i < 2; i++)
		sem_take(&begun);
}

static void quit(int way, bool by_main) {
	for (int i = 0; i < TRIES; i++) {
		int status = 0;
		pid_t pid = child_new();
		if (pid == 0) {
			if (!by_main)
				mask(SIG_BLOCK, SIGQUIT);
			idle_threads();
			if (by_main)
				quits((void *)(long)way);
			join(start(quits, (void *)(long)way));
			_exit(4);
		}
		EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
	}
}

static void stops_itself(int way) {
	signal(SIGTSTP, counts);
	idle_threads();
	for (int i = 0; i < STOPS; i++) {
		usleep(300);
		signal(SIGTSTP, SIG_DFL);
		send(way, SIGTSTP);
		signal(SIGTSTP, counts);
		__atomic_fetch_add(stopped, 1, __ATOMIC_SEQ_CST);
	}
	_exit(handled != 0);
}

static void stop(int way) {
	int stops = 0, status = 0;
	*stopped = 0;
	pid_t pid = child_new();
	if (pid == 0)
		stops_itself(way);
	while (waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status)) {
		EQ(WSTOPSIG(status), SIGTSTP);
		EQ(__atomic_load_n(stopped, __ATOMIC_SEQ_CST), stops);
		stops++;
		EQ(kill(pid, SIGCONT), 0);
	}
	EQ(stops, STOPS);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
	struct rlimit none = {0, 0};
	test_begin();
	setrlimit(RLIMIT_CORE, &none);
	sem_init(&begun, 0, 0);
	sem_init(&over, 0, 0);
	stopped = mmap(NULL, sizeof *stopped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int way = 0; way < WAYS; way++) {
		quit(way, true);
		quit(way, false);
		stop(way);
		step(names[way]);
	}
	return test_end();
}
