/* RLIMIT_SIGPENDING binds signals to threads as it does those to the process: at the limit a real-time signal is EAGAIN, whoever sends it and however, a
 * standard one is not; and who takes one makes room. */
#include "sync_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { LIMIT = 40 };
static pthread_barrier_t turn;
static sigset_t set;
static volatile pid_t tid;

static void handler(int sig) {
	(void)sig;
}

static void meet(void) {
	pthread_barrier_wait(&turn);
}

static int take(int most) {
	struct timespec none = {0, 0};
	int n = 0;
	while (n < most && sigtimedwait(&set, NULL, &none) > 0)
		n++;
	return n;
}

static void *waits(void *arg) {
	tid = (pid_t)syscall(SYS_gettid);
	meet();
	meet(); /* main has sent what it could */
	printf("took %d\n", take(3));
	meet();
	meet();
	printf("took %d\n", take(1000));
	meet();
	meet();
	printf("took %d\n", take(1000));
	return arg;
}

static int fill(pthread_t t, int sig) {
	union sigval value = {.sival_int = 7};
	int n = 0, r;
	while (n < 1000 && (r = pthread_sigqueue(t, sig, value)) == 0)
		n++;
	printf("%d sent, then %d\n", n, r);
	return n;
}

static int siginfo_send(pid_t to, int sig) {
	siginfo_t info = {.si_code = SI_QUEUE};
	info.si_pid = getpid();
	info.si_uid = getuid();
	return to ? (int)syscall(SYS_rt_tgsigqueueinfo, getpid(), to, sig, &info) : (int)syscall(SYS_rt_sigqueueinfo, getpid(), sig, &info);
}

static void all_ways(pthread_t t, int sig) {
	union sigval value = {.sival_int = 8};
	EQ(pthread_kill(t, sig), EAGAIN);
	EQ(tgkill(getpid(), tid, sig), -1);
	EQ(errno, EAGAIN);
	EQ(siginfo_send(tid, sig), -1);
	EQ(errno, EAGAIN);
	EQ(siginfo_send(0, sig), -1);
	EQ(errno, EAGAIN);
	EQ(sigqueue(getpid(), sig, value), -1);
	EQ(errno, EAGAIN);
	EQ(pthread_sigqueue(pthread_self(), sig, value), EAGAIN);
	EQ(raise(sig), -1);
	EQ(errno, EAGAIN);
	EQ(pthread_kill(t, SIGUSR1), 0);
	EQ(kill(getpid(), SIGUSR2), 0);
	EQ(pthread_kill(t, 0), 0);
}

int main(void) {
	test_begin();
	setvbuf(stdout, NULL, _IONBF, 0);
	uid_t own = (uid_t)(100000 + getpid()); /* others' signals do not count */
	if (getuid() == 0 && setresuid(own, own, own) != 0)
		return 1;
	signal(SIGRTMIN, handler);
	signal(SIGUSR1, handler);
	sigemptyset(&set);
	for (int i = 0; i < 4; i++)
		sigaddset(&set, SIGRTMIN + i);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_barrier_init(&turn, NULL, 2);
	pthread_t t = start(waits, NULL);
	meet();
	struct rlimit limit = {LIMIT, LIMIT};
	EQ(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
	fill(t, SIGRTMIN);
	all_ways(t, SIGRTMIN);
	all_ways(t, SIGRTMIN + 1); /* one without a handler */
	meet();
	meet();
	fill(t, SIGRTMIN + 2);
	meet();
	meet();
	/* main's own and the process's count as well */
	union sigval value = {.sival_int = 9};
	printf("main took %d\n", take(1000));
	for (int i = 0; i < 5; i++)
		EQ(pthread_sigqueue(pthread_self(), SIGRTMIN, value), 0);
	for (int i = 0; i < 5; i++)
		EQ(sigqueue(getpid(), SIGRTMIN + 1, value), 0);
	EQ(fill(t, SIGRTMIN), LIMIT - 10);
	printf("main took %d\n", take(10));
	meet();
	join(t);
	return test_end();
}
