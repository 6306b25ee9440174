/* Threads in every state that a report tells apart. Prints "ready" and its pid when all are there; ends when standard input does.
 * Arguments: "more" makes some more, and prints what they wait for; "nothreads" makes none; "pinned" makes one more, which waits in a system call of its own making; "fork": forks a child that makes a thread of its own, and prints its pid, too. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t left = PTHREAD_MUTEX_INITIALIZER, right = PTHREAD_MUTEX_INITIALIZER, free_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t forgotten = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t both;
static sem_t nothing;
static int pipe_fd[2];

static void *lock_both(void *arg) {
	pthread_mutex_t *first = arg, *second = first == &left ? &right : &left;
	pthread_setname_np(pthread_self(), first == &left ? "lefty" : "righty");
	pthread_mutex_lock(first);
	pthread_barrier_wait(&both);
	pthread_mutex_lock(second);
	return NULL;
}

__attribute__((noinline)) int deep_waits_here(int depth) {
	if (depth)
		return deep_waits_here(depth - 1) + 1;
	pthread_mutex_lock(&free_mutex);
	pthread_cond_wait(&never, &free_mutex);
	return 0;
}

static void *wait_cond(void *arg) {
	(void)arg;
	pthread_setname_np(pthread_self(), "conditional");
	return (void *)(long)deep_waits_here(3);
}

static void *wait_read(void *arg) {
	char byte;
	(void)arg;
	pthread_setname_np(pthread_self(), "reader");
	if (read(pipe_fd[0], &byte, 1) != 1)
		abort();
	return NULL;
}

static void *wait_sleep(void *arg) {
	(void)arg;
	pthread_setname_np(pthread_self(), "sleeper");
	sleep(1000);
	return NULL;
}

static void *lock_and_end(void *arg) {
	(void)arg;
	pthread_mutex_lock(&forgotten);
	return NULL;
}

static void *wait_forgotten(void *arg) {
	(void)arg;
	pthread_setname_np(pthread_self(), "forlorn");
	pthread_mutex_lock(&forgotten);
	return NULL;
}

static void *wait_child(void *arg) {
	pthread_t child;
	pthread_setname_np(pthread_self(), "parent");
	pthread_create(&child, NULL, wait_sleep, arg);
	pthread_join(child, NULL);
	return NULL;
}

/* No libc function, so nothing that stands before libc sees it. Asked for the address of its frame, the compiler keeps that in a register. */
__attribute__((noinline)) long sleep_by_itself(void *volatile *frame) {
	struct timespec ts = {1000, 0};
	long result, number = SYS_nanosleep;
	*frame = __builtin_frame_address(0);
#if defined(__x86_64__)
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(&ts), "S"(0L) : "rcx", "r11", "memory");
#else
	result = syscall(number, &ts, NULL);
#endif
	return result;
}

static void *wait_unseen(void *arg) {
	void *volatile frame;
	(void)arg;
	pthread_setname_np(pthread_self(), "unseen");
	return (void *)(sleep_by_itself(&frame) + 1);
}

static void *wait_poll(void *arg) {
	struct pollfd fds[6];
	(void)arg;
	pthread_setname_np(pthread_self(), "poller");
	for (int i = 0; i < 6; i++)
		fds[i] = (struct pollfd){.fd = pipe_fd[0], .events = POLLIN};
	poll(fds, 6, -1);
	return NULL;
}

static void *wait_select(void *arg) {
	fd_set set;
	(void)arg;
	pthread_setname_np(pthread_self(), "selector");
	FD_ZERO(&set);
	FD_SET(0, &set);
	FD_SET(pipe_fd[0], &set);
	select(pipe_fd[0] + 1, &set, NULL, NULL, NULL);
	return NULL;
}

static void *wait_pause(void *arg) {
	(void)arg;
	pthread_setname_np(pthread_self(), "pauser");
	pause();
	return NULL;
}

static void *wait_write(void *arg) {
	pthread_setname_np(pthread_self(), "writer");
	pthread_rwlock_wrlock(arg);
	return NULL;
}

static void *wait_others(void *arg) {
	pthread_setname_np(pthread_self(), "early");
	pthread_barrier_wait(arg);
	return NULL;
}

/* A robust mutex makes it one that has its kernel thread for itself. */
static void *wait_wired(void *arg) {
	static pthread_mutex_t robust;
	pthread_mutexattr_t attr;
	(void)arg;
	pthread_setname_np(pthread_self(), "wired");
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &attr);
	pthread_mutex_lock(&robust);
	sem_wait(&nothing);
	return NULL;
}

static void more_make(void) {
	static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
	static pthread_barrier_t three;
	pthread_t t;
	pthread_rwlock_rdlock(&lock);
	pthread_barrier_init(&three, NULL, 3);
	pthread_create(&t, NULL, wait_poll, NULL);
	pthread_create(&t, NULL, wait_select, NULL);
	pthread_create(&t, NULL, wait_pause, NULL);
	pthread_create(&t, NULL, wait_write, &lock);
	pthread_create(&t, NULL, wait_others, &three);
	pthread_create(&t, NULL, wait_wired, NULL);
	printf("polled %d\nlock %p\nbarrier %p\ncond %p\n", pipe_fd[0], (void *)&lock, (void *)&three, (void *)&never);
}

static void *wait_sem(void *arg) {
	(void)arg;
	sem_wait(&nothing);
	return NULL;
}

int main(int argc, char **argv) {
	pthread_t t;
	char byte;
	if (argc == 1 || strcmp(argv[1], "nothreads") != 0) {
		if (pipe(pipe_fd) != 0)
			return 1;
		pthread_barrier_init(&both, NULL, 2);
		sem_init(&nothing, 0, 0);
		pthread_create(&t, NULL, lock_both, &left);
		pthread_create(&t, NULL, lock_both, &right);
		pthread_create(&t, NULL, wait_cond, NULL);
		pthread_create(&t, NULL, wait_read, NULL);
		pthread_create(&t, NULL, wait_child, NULL);
		pthread_create(&t, NULL, wait_sem, NULL);
		if (argc > 1 && strcmp(argv[1], "more") == 0)
			more_make();
		pthread_create(&t, NULL, lock_and_end, NULL);
		pthread_join(t, NULL);
		pthread_create(&t, NULL, wait_forgotten, NULL);
	}
	if (argc > 1 && strcmp(argv[1], "pinned") == 0) {
		pthread_create(&t, NULL, wait_unseen, NULL);
		sched_yield(); /* let it have the only P: whoever goes on afterwards has it back from there */
	}
	if (argc > 1 && strcmp(argv[1], "fork") == 0) {
		if (fork() == 0) {
			pthread_create(&t, NULL, wait_sleep, NULL);
			printf("child %d\n", (int)getpid());
			fflush(stdout);
			while (read(0, &byte, 1) > 0)
				continue;
			exit(0);
		}
		if (fork() == 0)
			exit(0); /* one that ends at once, and must take nothing along */
		wait(NULL);
	}
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
