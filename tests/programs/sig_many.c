/* Some thousands of real-time signals wait: sent by this process to a thread that blocks them, and by another process while the handler is busy. None is refused, none is
 * lost or comes twice; its own come in the order in which they were sent. */
#include "sync_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 5000 };

static volatile sig_atomic_t handled, late, twice;
static volatile bool came[COUNT];
static int go[2];
static volatile bool busy;

static void on_signal(int sig, siginfo_t *info, void *context) {
	char c;
	(void)sig;
	(void)context;
	if (busy && handled == 0)
		while (read(go[0], &c, 1) != 1) /* until all have been sent */
			continue;
	int value = info->si_value.sival_int;
	late += !busy && value != handled;
	twice += came[value];
	came[value] = true;
	handled++;
}

static void *sleeps(void *arg) {
	for (;;)
		pause();
	return arg;
}

static void mask(int how, int sig) {
	sigset_t set;
	sigemptyset(&set);
	if (sig)
		sigaddset(&set, sig);
	else
		sigfillset(&set);
	EQ(pthread_sigmask(how, &set, NULL), 0);
}

static void send_all(pid_t process, int sig) {
	int refused = 0;
	for (int i = 0; i < COUNT; i++) {
		union sigval value = {.sival_int = i};
		refused += (process ? sigqueue(process, sig, value) : pthread_sigqueue(pthread_self(), sig, value)) != 0;
	}
	printf("%d refused\n", refused);
	fflush(stdout);
}

static void report(const char *what) {
	printf("%s: %d handled, %d out of order, %d twice\n", what, handled, late, twice);
	fflush(stdout);
	handled = late = twice = 0;
	memset((void *)came, 0, sizeof came);
}

int main(void) {
	int sig = SIGRTMIN + 3, status = -1;
	struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct rlimit limit;
	test_begin();
	getrlimit(RLIMIT_SIGPENDING, &limit);
	if (limit.rlim_cur < 2 * COUNT) {
		printf("the limit is too low\n");
		return 0;
	}
	EQ(pipe(go), 0);
	sigaction(sig, &act, NULL);
	mask(SIG_SETMASK, 0);
	start(sleeps, NULL);
	mask(SIG_UNBLOCK, 0);

	mask(SIG_BLOCK, sig);
	send_all(0, sig);
	mask(SIG_UNBLOCK, sig);
	report("of its own");

	busy = true;
	fflush(stdout);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		send_all(parent, sig);
		EQ(write(go[1], "g", 1), 1);
		_exit(failures != 0);
	}
	while (waitpid(child, &status, 0) != child)
		continue;
	EQ(status, 0);
	while (handled < COUNT)
		usleep(1000);
	report("from another");
	return test_end();
}
