/* A thread is itself at every instruction, whatever the kernel does with what it runs on: threads that compute, more than there are CPUs, with all signals blocked and look at
 * themselves, while others make processes and threads in every way that libc has, which block all signals again, and others fault on purpose. (TLS-1, SIG-9, FRK-5) */
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wordexp.h>

#define SPINNERS 12
#define ROUNDS 12
#define FAULTS 400

extern char **environ;
static atomic_int stop, strangers, timers;
static __thread long mine;
static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t faults;

static void all_blocked(sigset_t *old) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, old);
}

static void *spinner(void *arg) {
	long me = (long)arg;
	pthread_t self = pthread_self();
	sigset_t now;
	all_blocked(&now);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	if (!sigismember(&now, SIGSEGV) || !sigismember(&now, SIGTERM))
		strangers++;
	mine = me;
	while (!stop) {
		for (int i = 0; i < 1000; i++) {
			errno = (int)me;
			if (mine != me || errno != (int)me || pthread_self() != self)
				strangers++;
		}
	}
	return NULL;
}

static void on_fault(int sig, siginfo_t *info, void *context) {
	(void)context;
	if (sig == SIGSEGV && info->si_code > 0 && info->si_addr == (void *)8)
		faults++;
	siglongjmp(back, 1);
}

static int fault(void) {
	__asm__ volatile("" ::: "memory");
	return *(volatile int *)8;
}

static void *faulter(void *arg) {
	for (volatile int i = 0; i < FAULTS; i++)
		if (sigsetjmp(back, 1) == 0)
			fault();
	*(long *)arg = faults;
	return NULL;
}

static int status_of(pid_t pid) {
	int status = -1;
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int by_spawn(void) {
	pid_t pid;
	char *argv[] = {"sh", "-c", "exit 5", NULL};
	return posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0 ? status_of(pid) : -1;
}

static int by_fork(void) {
	pid_t pid = fork();
	if (pid == 0)
		_exit(mine == 77 && errno == 99 ? 5 : 6);
	return status_of(pid);
}

static int by_vfork(void) {
	pid_t pid = vfork();
	if (pid == 0)
		_exit(mine == 77 && errno == 99 ? 5 : 6);
	return status_of(pid);
}

static int by_system(void) {
	int status = system("exit 5");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int by_popen(void) {
	char line[16] = "";
	FILE *f = popen("echo 5", "r");
	if (!f || !fgets(line, sizeof line, f) || pclose(f) != 0)
		return -1;
	return atoi(line);
}

static int by_wordexp(void) {
	wordexp_t words;
	if (wordexp("$(echo 5)", &words, 0) != 0)
		return -1;
	int n = words.we_wordc == 1 ? atoi(words.we_wordv[0]) : -1;
	wordfree(&words);
	return n;
}

static int by_aio(void) {
	static const char text[] = "5";
	char got[2] = "";
	int fds[2];
	if (pipe(fds) < 0 || write(fds[1], text, 1) != 1)
		return -1;
	struct aiocb request = {.aio_fildes = fds[0], .aio_buf = got, .aio_nbytes = 1};
	const struct aiocb *list[] = {&request};
	int n = aio_read(&request);
	while (n == 0 && aio_error(&request) == EINPROGRESS)
		aio_suspend(list, 1, NULL);
	close(fds[0]);
	close(fds[1]);
	return aio_return(&request) == 1 ? atoi(got) : -1;
}

static void on_timer(union sigval value) {
	timers += value.sival_int;
}

static int by_timer(void) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer, .sigev_value.sival_int = 1};
	struct itimerspec at = {.it_value.tv_nsec = 1};
	timer_t id;
	int before = timers;
	if (timer_create(CLOCK_MONOTONIC, &event, &id) < 0 || timer_settime(id, 0, &at, NULL) < 0)
		return -1;
	while (timers == before)
		usleep(1000);
	timer_delete(id);
	return 5;
}

static const struct way {
	const char *name;
	int (*make)(void);
} ways[] = {{"posix_spawn", by_spawn}, {"fork", by_fork},       {"vfork", by_vfork}, {"system", by_system},
            {"popen", by_popen},       {"wordexp", by_wordexp}, {"aio", by_aio},     {"timer", by_timer}};
#define WAYS (sizeof ways / sizeof ways[0])

static void *maker(void *arg) {
	const struct way *way = arg;
	sigset_t old;
	long good = 0;
	all_blocked(&old);
	mine = 77;
	for (int i = 0; i < ROUNDS; i++) {
		errno = 99;
		good += way->make() == 5;
	}
	return (void *)(good + 1000 * (mine != 77));
}

/* A blocked fault ends the process, handler or not. */
static void *blocked_fault(void *arg) {
	sigset_t old;
	all_blocked(&old);
	fault();
	return arg;
}

int main(void) {
	pthread_t spinners[SPINNERS], makers[WAYS], faulters[2], t;
	long faulted[2];
	struct sigaction set, was;
	memset(&set, 0, sizeof set);
	set.sa_sigaction = on_fault;
	set.sa_flags = SA_SIGINFO;
	sigaddset(&set.sa_mask, SIGUSR1);
	sigaddset(&set.sa_mask, SIGSEGV);
	for (long i = 0; i < SPINNERS; i++)
		pthread_create(&spinners[i], NULL, spinner, (void *)(i + 1));
	sigaction(SIGSEGV, &set, NULL);
	sigaction(SIGSEGV, NULL, &was);
	printf("handler %d flags %d mask %d %d %d\n", was.sa_sigaction == on_fault, (was.sa_flags & (SA_SIGINFO | SA_ONSTACK | (int)SA_NODEFER)) == SA_SIGINFO,
	       sigismember(&was.sa_mask, SIGUSR1), sigismember(&was.sa_mask, SIGSEGV), sigismember(&was.sa_mask, SIGUSR2));
	for (size_t i = 0; i < WAYS; i++)
		pthread_create(&makers[i], NULL, maker, (void *)&ways[i]);
	for (int i = 0; i < 2; i++)
		pthread_create(&faulters[i], NULL, faulter, &faulted[i]);
	for (size_t i = 0; i < WAYS; i++) {
		void *good;
		pthread_join(makers[i], &good);
		printf("%s: %ld of %d\n", ways[i].name, (long)good, ROUNDS);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(faulters[i], NULL);
		printf("faults: %ld of %d\n", faulted[i], FAULTS);
	}
	stop = 1;
	for (int i = 0; i < SPINNERS; i++)
		pthread_join(spinners[i], NULL);
	printf("strangers: %d\n", strangers);
	fflush(stdout);
	if (fork() == 0) {
		pthread_create(&t, NULL, blocked_fault, NULL);
		pthread_join(t, NULL);
		_exit(0);
	}
	int status;
	wait(&status);
	printf("a blocked fault: %s\n", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "survived");
	return 0;
}
