/* While a thread is in system() the process ignores SIGINT and SIGQUIT, whoever sends them, to the process or to a thread: no handler runs, nor does the process end. Before
 * and after the program's action is in force; other signals are not concerned. */
#include "sync_test.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static int says[2], waits[2];
static _Atomic int handled;

static void on_signal(int sig) {
	(void)sig;
	handled++;
}

static void *in_system(void *arg) {
	char command[100];
	snprintf(command, sizeof command, "echo >&%d; read x <&%d; exit 5", says[1], waits[0]);
	EQ(system(command), 5 << 8);
	return arg;
}

static void send_all(pthread_t other, int sig) {
	union sigval value = {.sival_int = 1};
	EQ(kill(getpid(), sig), 0);
	EQ(raise(sig), 0);
	EQ(pthread_kill(pthread_self(), sig), 0);
	EQ(pthread_kill(other, sig), 0);
	EQ(sigqueue(getpid(), sig, value), 0);
	EQ(pthread_sigqueue(pthread_self(), sig, value), 0);
	EQ(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig), 0);
}

static const char *action(int sig) {
	struct sigaction now;
	sigaction(sig, NULL, &now);
	return now.sa_handler == SIG_IGN ? "ignored" : now.sa_handler == SIG_DFL ? "default" : "handled";
}

static void report(const char *when) {
	printf("%s: SIGINT %s, SIGQUIT %s, SIGTERM %s, %d handlers\n", when, action(SIGINT), action(SIGQUIT), action(SIGTERM), handled);
	fflush(stdout);
	handled = 0;
}

static void during(const char *what) {
	char c;
	pthread_t t = start(in_system, NULL);
	EQ(read(says[0], &c, 1), 1);
	send_all(t, SIGINT);
	send_all(t, SIGQUIT);
	report(what);
	EQ(raise(SIGTERM), 0);
	report("another signal");
	EQ(write(waits[1], "\n", 1), 1);
	join(t);
	report("after");
}

static void mask(int how) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	pthread_sigmask(how, &set, NULL);
}

int main(void) {
	test_begin();
	EQ(pipe(says), 0);
	EQ(pipe(waits), 0);
	signal(SIGTERM, on_signal);
	during("default");
	signal(SIGINT, on_signal);
	signal(SIGQUIT, on_signal);
	during("handlers");
	raise(SIGINT);
	kill(getpid(), SIGQUIT);
	report("sent after");

	/* Where it is blocked it waits, and is handled when that is over. */
	char c;
	pthread_t t = start(in_system, NULL);
	EQ(read(says[0], &c, 1), 1);
	mask(SIG_BLOCK);
	raise(SIGINT);
	EQ(write(waits[1], "\n", 1), 1);
	join(t);
	report("blocked");
	mask(SIG_UNBLOCK);
	report("unblocked");
	return test_end();
}
