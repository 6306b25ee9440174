/* Processes and kernel threads that the program makes with its own hands, beside its threads (FRK-15): a fork by the clone system call, by clone3,
 * by libc's clone() with memory shared, a bare kernel thread, a child that enters a new user namespace or begins in one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, ROUNDS = 2, WAYS = 7, STACK = 64 << 10 };
static const char *names[WAYS] = {"clone", "clone3", "clone with shared memory", "vfork's clone and exec", "kernel thread", "namespace of a child", "namespace"};
static int good[WAYS];

static void count(int way, int is_good) {
	__atomic_add_fetch(&good[way], is_good != 0, __ATOMIC_RELAXED);
}

static int reap(pid_t pid) {
	int status;
	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* What a child may do that only the kernel knows of: calls that wait. It has no threads, and no lock of libc is known to be free. */
static int child(void) {
	int there[2], back[2];
	char c = 'q';
	if (pipe(there) != 0 || pipe(back) != 0)
		return 1;
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		if (read(there[0], &c, 1) == 1)
			write(back[1], &c, 1);
		syscall(SYS_exit_group, 39);
	}
	c = 0;
	usleep(100);
	if (write(there[1], "q", 1) != 1 || read(back[0], &c, 1) != 1 || c != 'q')
		return 3;
	return reap(pid) == 39 ? 40 : 4;
}

struct shared {
	int value, fd;
	char *stack;
};

/* Shares its maker's thread-local storage: nothing but raw calls. */
static int writes_memory(void *arg) {
	struct shared *s = arg;
	s->value = 41;
	return 41;
}

static int executes(void *arg) {
	char *argv[] = {"sh", "-c", "exit 42", NULL};
	(void)arg;
	execv("/bin/sh", argv);
	return 1;
}

static void by_stack(int way, int (*run)(void *), int flags, int want) {
	struct shared s = {.stack = malloc(STACK)};
	pid_t pid = clone(run, s.stack + STACK, flags, &s);
	int status = pid > 0 ? reap(pid) : -1;
	count(way, status == want && (run != writes_memory || s.value == want));
	free(s.stack);
}

/* A kernel thread of this process, with its maker's thread-local storage: it calls nothing, and the kernel clears the word when it ends. */
static int adds(void *arg) {
	struct shared *s = arg;
	__atomic_store_n(&s->value, 7, __ATOMIC_RELEASE);
	return 0;
}

static void kernel_thread(void) {
	struct shared s = {.stack = malloc(STACK)};
	pid_t word = 1;
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
	pid_t tid = clone(adds, s.stack + STACK, flags, &s, NULL, NULL, &word);
	while (tid > 0 && __atomic_load_n(&word, __ATOMIC_ACQUIRE) != 0)
		usleep(200);
	count(4, tid > 0 && s.value == 7);
	free(s.stack);
}

static void *thread(void *arg) {
	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (pid == 0)
			_exit(child());
		count(0, reap(pid) == 40);
		struct clone_args args = {.exit_signal = SIGCHLD};
		pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
		if (pid == 0)
			_exit(child());
		count(1, reap(pid) == 40);
		by_stack(2, writes_memory, CLONE_VM | SIGCHLD, 41);
		by_stack(3, executes, CLONE_VM | CLONE_VFORK | SIGCHLD, 42);
		kernel_thread();
		pid = fork();
		if (pid == 0) /* refused on some machines: then natively, too */
			_exit(unshare(CLONE_NEWUSER) == 0 || errno == EPERM || errno == ENOSPC ? child() : errno);
		count(5, reap(pid) == 40);
		pid = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, 0, 0, 0, 0);
		if (pid == 0)
			_exit(child());
		count(6, pid < 0 || reap(pid) == 40);
	}
	return arg;
}

int main(void) {
	pthread_t t[THREADS];
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, thread, NULL);
	thread(NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < WAYS; i++)
		printf("%s: %s\n", names[i], good[i] == (THREADS + 1) * ROUNDS ? "good" : "wrong");
	return 0;
}
