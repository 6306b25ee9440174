/* Signals by the kernel's own calls, through syscall(): what is waited for, looked at and sent that way is the calling thread's, as with libc's
 * functions (SIG-5, SIG-6). */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_barrier_t turn;
static volatile int hits, last_code, last_value;

static void on_signal(int sig, siginfo_t *info, void *context) {
	(void)sig, (void)context;
	last_code = info->si_code;
	last_value = info->si_value.sival_int;
	hits++;
}

static void wait_calls(void) {
	unsigned long usr1 = 1ul << (SIGUSR1 - 1), pending = 0, none = 0;
	struct timespec ten = {10, 0};
	siginfo_t info;
	syscall(SYS_rt_sigpending, &pending, 8);
	printf("pending: %d\n", (pending & usr1) != 0);
	printf("sigtimedwait, one that is pending: %ld", syscall(SYS_rt_sigtimedwait, &usr1, &info, &ten, 8));
	printf(", code %d\n", info.si_code);
	pthread_barrier_wait(&turn);
	printf("sigtimedwait, one that comes: %ld", syscall(SYS_rt_sigtimedwait, &usr1, &info, &ten, 8));
	printf(", code %d\n", info.si_code);

	int fd = (int)syscall(SYS_signalfd4, -1, &usr1, 8, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct signalfd_siginfo got = {0};
	pthread_barrier_wait(&turn);
	printf("poll of a signalfd: %d", poll(&p, 1, 10000));
	printf(", read %zd", p.revents ? read(fd, &got, sizeof got) : 0);
	printf(", signal %u\n", got.ssi_signo);
	close(fd);

	pthread_barrier_wait(&turn);
	errno = 0;
	long r = syscall(SYS_rt_sigsuspend, &none, 8);
	sigset_t now;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	printf("sigsuspend: %ld %d, handlers %d, blocked again %d\n", r, errno, hits, sigismember(&now, SIGUSR1));
}

static void send_calls(void) {
	siginfo_t info = {.si_code = SI_QUEUE};
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = 99;
	long r = syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR2, &info);
	printf("tgsigqueueinfo to oneself: %ld, code %d, value %d\n", r, last_code, last_value);
	info.si_code = -50;
	r = syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR2, &info);
	printf("any code: %ld, code %d\n", r, last_code);
	info.si_code = SI_USER;
	r = syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR2, &info);
	printf("kill()'s, not on the first thread: %ld %d\n", r, errno);
	info.si_code = SI_QUEUE;
	errno = 0;
	r = syscall(SYS_rt_tgsigqueueinfo, getppid(), gettid(), SIGUSR2, &info);
	printf("of another process: %ld %d\n", r, errno);
	hits = 0;
	r = syscall(SYS_kill, getpid(), SIGUSR2); /* everybody else blocks it */
	printf("kill: %ld, handlers %d\n", r, hits);
	char name[16] = "", same[16] = "";
	syscall(SYS_prctl, PR_SET_NAME, "by syscall");
	pthread_getname_np(pthread_self(), name, sizeof name);
	syscall(SYS_prctl, PR_GET_NAME, same);
	printf("name: %s, %s\n", name, same);
}

static void *thread(void *arg) {
	sigset_t usr1, usr2;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	pthread_sigmask(SIG_UNBLOCK, &usr2, NULL);
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	wait_calls();
	send_calls();
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
	sigset_t usr2;
	pthread_t t;
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &usr2, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	pthread_barrier_init(&turn, NULL, 2);
	pthread_create(&t, NULL, thread, NULL);
	pthread_barrier_wait(&turn);
	pthread_kill(t, SIGUSR1);
	pthread_barrier_wait(&turn);
	for (int i = 0; i < 3; i++) {
		pthread_barrier_wait(&turn);
		pthread_kill(t, SIGUSR1);
	}
	pthread_join(t, NULL);
	return 0;
}
