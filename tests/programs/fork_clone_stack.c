/* libc's clone() to a stack that the caller gives (FRK-15). Without CLONE_VM it is a fork: the child waits, reads, forks and has threads,
 * none of its parent's threads is in it, and it ends as its function returns. With CLONE_VM and CLONE_VFORK it is a vfork: what it does about
 * descriptors and signals changes nothing in the parent. */
#include "sync_test.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "process_test.h"

enum { SIBLINGS = 4, ROUNDS = 5, STACK = 256 << 10 };
struct shared {
	int strays, rounds;
};

static struct shared *shared; /* with the children */
static pid_t parent;
static volatile int stop, handled;
static int there[2], back[2], closed;

static pid_t clone_to_stack(int (*run)(void *), int flags, void *arg, char **stack) {
	*stack = malloc(STACK);
	pid_t pid = clone(run, *stack + STACK, flags, arg);
	CHECK(pid > 0);
	return pid;
}

/* ---- a fork ------------------------------------------------------------------------------------------------------------- */

static void *sibling(void *arg) {
	while (!stop) {
		usleep(300);
		__atomic_fetch_add(getpid() == parent ? &shared->rounds : &shared->strays, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

static void *adds(void *arg) {
	usleep(100);
	return (void *)((long)arg + 1);
}

static int rounds(void) {
	return __atomic_load_n(&shared->rounds, __ATOMIC_RELAXED);
}

static int child(void *arg) {
	char c = 0;
	alarm(10); /* one that does not end is not left over */
	if (getppid() != parent || getpid() == parent)
		return 1;
	for (int begin = rounds(); rounds() < begin + 2 * SIBLINGS;)
		usleep(300); /* where one of them would have been, too */
	if (read(there[0], &c, 1) != 1 || c != 'q')
		return 2;
	pid_t pid = fork();
	if (pid == 0)
		_exit(39);
	if (reap(pid) != 39)
		return 3;
	if (join(start(adds, arg)) != (long)arg + 1)
		return 4;
	close(closed);
	return write(back[1], "x", 1) == 1 ? 42 : 5;
}

static void *forks(void *arg) {
	int flags = (int)(long)arg;
	char c = 0, *stack;
	closed = dup(0);
	pid_t pid = clone_to_stack(child, flags, arg, &stack);
	EQ(write(there[1], "q", 1), 1);
	EQ(read(back[0], &c, 1), 1);
	EQ(reap(pid), 42);
	EQ(fcntl(closed, F_GETFD), flags & CLONE_FILES ? -1 : 0);
	if (!(flags & CLONE_FILES))
		close(closed);
	EQ(shared->strays, 0);
	free(stack);
	return NULL;
}

static void forked(const char *name, int flags) {
	pthread_t t[SIBLINGS];
	stop = 0;
	for (int i = 0; i < SIBLINGS; i++)
		t[i] = start(sibling, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		forks((void *)(long)flags);
		join(start(forks, (void *)(long)flags));
	}
	stop = 1;
	for (int i = 0; i < SIBLINGS; i++)
		join(t[i]);
	step(name);
}

/* ---- a vfork ------------------------------------------------------------------------------------------------------------ */

static int ends[2];

static void counts(int sig) {
	(void)sig;
	handled++;
}

static int closes(void *executes) {
	signal(SIGUSR1, SIG_DFL);
	close(ends[0]);
	close(ends[1]);
	if (executes)
		execl("/bin/sh", "sh", "-c", "exit 43", (char *)NULL);
	_exit(43);
}

static void *reads(void *ready) {
	char text[4] = "";
	for (int i = 0; i < 2; i++) {
		sem_post(ready);
		EQ(read(ends[0], text, 1), 1);
		EQ(text[0], 'a' + i);
	}
	return NULL;
}

static void *vforks(void *executes) {
	char *stack;
	EQ(reap(clone_to_stack(closes, CLONE_VM | CLONE_VFORK | SIGCHLD, executes, &stack)), 43);
	EQ(raise(SIGUSR1), 0);
	free(stack);
	return NULL;
}

static void vforked(const char *name, void *executes) {
	sem_t ready;
	sem_init(&ready, 0, 0);
	signal(SIGUSR1, counts);
	for (int i = 0; i < ROUNDS; i++) {
		handled = 0;
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		pthread_t t = start(reads, &ready);
		for (int j = 0; j < 2; j++) {
			sem_take(&ready);
			usleep(1000); /* it waits there, most likely */
			if (j)
				vforks(executes);
			else
				join(start(vforks, executes));
			EQ(write(ends[1], j ? "b" : "a", 1), 1);
		}
		join(t);
		EQ(handled, 2);
		close(ends[0]);
		close(ends[1]);
	}
	step(name);
}

int main(void) {
	test_begin();
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	parent = getpid();
	CHECK(pipe(there) == 0 && pipe(back) == 0);
	forked("fork", SIGCHLD);
	forked("fork with its parent's descriptors", CLONE_FILES | SIGCHLD);
	vforked("vfork", NULL);
	vforked("vfork and exec", &ends);
	return test_end();
}
