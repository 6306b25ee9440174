/* tgkill() from a child to the thread that forked it: the handler runs there, and before waitpid() says that the child has ended (unless the thread had to change
 * kernel threads just then: mostly is all that is asked). To another thread of
 * that process, it runs there, some time. Numbers that do not go together are refused. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 40 };

static _Atomic int hits, strays;
static pthread_t expected;
static pid_t other_tid;
static sem_t known, end;

static void hit(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)context;
	strays += !pthread_equal(pthread_self(), expected) || info->si_code != SI_TKILL || info->si_pid == getpid();
	hits++;
}

static int child_of(pid_t tid, int sig) {
	pid_t pid = fork();
	int status, r;
	if (pid == 0) {
		int failed = tgkill(getppid(), tid, sig) != 0;
		failed += !(tgkill(getpid(), tid, sig) == -1 && errno == ESRCH);
		failed += !(tgkill(getppid(), gettid(), sig) == -1 && errno == ESRCH);
		_exit(failed);
	}
	do
		r = waitpid(pid, &status, 0);
	while (r < 0 && errno == EINTR);
	return r == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void *waits(void *arg) {
	other_tid = gettid();
	sem_post(&known);
	while (sem_wait(&end))
		continue;
	return arg;
}

static void *forks(void *arg) {
	int good = 0, in_time = 0;
	expected = pthread_self();
	for (int i = 0; i < ROUNDS; i++) {
		hits = 0;
		good += child_of(gettid(), i & 1 ? SIGUSR1 : SIGUSR2) == 0;
		in_time += hits == 1;
		while (!hits)
			sched_yield();
	}
	printf("own: %d, strays %d, %s\n", good, strays, in_time > ROUNDS / 2 ? "in time" : "late");
	/* blocked it is pending */
	sigset_t set, pending;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	hits = 0;
	printf("blocked: %d %d, ", child_of(gettid(), SIGUSR1), hits);
	do
		sigpending(&pending);
	while (!sigismember(&pending, SIGUSR1));
	printf("%d, ", sigismember(&pending, SIGUSR1));
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	printf("%d\n", hits);
	printf("ignored: %d\n", child_of(gettid(), SIGURG));
	return arg;
}

int main(void) {
	struct sigaction act = {.sa_sigaction = hit, .sa_flags = SA_SIGINFO};
	pthread_t t, other;
	sigaction(SIGUSR1, &act, NULL);
	act.sa_flags |= SA_RESTART;
	sigaction(SIGUSR2, &act, NULL);
	sem_init(&known, 0, 0);
	sem_init(&end, 0, 0);
	pthread_create(&t, NULL, forks, NULL);
	pthread_join(t, NULL);
	pthread_create(&other, NULL, waits, NULL);
	sem_wait(&known);
	expected = other;
	hits = 0;
	printf("other: %d\n", child_of(other_tid, SIGUSR2));
	while (!hits)
		sched_yield();
	expected = pthread_self();
	hits = 0;
	printf("main: %d\n", child_of(gettid(), SIGUSR2));
	while (!hits)
		sched_yield();
	sem_post(&end);
	pthread_join(other, NULL);
	printf("strays %d\n", strays);
	return 0;
}
