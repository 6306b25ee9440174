/* A process without threads makes the calls that it would make without the library: a filter that allows nothing else lets it live. Each call in a process of its own, whose
 * filter allows that one, write() and the end. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static pid_t parent;
static int listening;
static sem_t sem;

static int confine(unsigned nr) {
	struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), ALLOW(SYS_write), ALLOW(nr), ALLOW(SYS_exit_group),
				     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int kills(void) { return kill(parent, 0); }
static int queues(void) { return sigqueue(parent, 0, (union sigval){0}); }
static int accepts(void) { return accept(listening, NULL, NULL); }
static int accepts_too(void) { return accept4(listening, NULL, NULL, SOCK_CLOEXEC); }
static int opens(void) { return open("/nonexistent/file", O_RDONLY); }
static int reads(void) { return (int)read(-1, NULL, 0); }
static int acts(void) { return signal(SIGUSR1, SIG_IGN) == SIG_ERR; }
static int waits(void) { return sem_timedwait(&sem, &(struct timespec){1, 0}); }
static int sleeps(void) { return nanosleep(&(struct timespec){0, 1000}, NULL); }

static const struct {
	const char *name;
	unsigned nr;
	int (*call)(void);
} calls[] = {
	{"kill", SYS_kill, kills}, {"sigqueue", SYS_rt_sigqueueinfo, queues}, {"accept", SYS_accept, accepts}, {"accept4", SYS_accept4, accepts_too},
	{"open", SYS_openat, opens}, {"read", SYS_read, reads}, {"signal", SYS_rt_sigaction, acts}, {"sem_timedwait", SYS_futex, waits},
	{"nanosleep", SYS_clock_nanosleep, sleeps},
};

int main(void) {
	parent = getpid();
	listening = socket(AF_UNIX, SOCK_STREAM, 0);
	sem_init(&sem, 0, 0);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		int status = -1;
		pid_t pid = fork();
		if (pid == 0) {
			if (confine(calls[i].nr))
				_exit(9);
			calls[i].call();
			_exit(0);
		}
		waitpid(pid, &status, 0);
		printf("%s: %s %d\n", calls[i].name, WIFSIGNALED(status) ? "killed by" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
	return 0;
}
