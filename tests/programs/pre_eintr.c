/* A program without a signal handler never sees EINTR, also where it issues system calls itself, while threads compete for the CPU. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_int interrupted, failed, stop;

#if defined(__x86_64__)
static long raw(long n, long a, long b, long c, long d) {
	long r;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return r;
}
#else
static long raw(long n, long a, long b, long c, long d) {
	long r = syscall(n, a, b, c, d);
	return r < 0 ? -errno : r;
}
#endif

static void check(long r) {
	if (r == -EINTR)
		interrupted++;
	else if (r < 0)
		failed++;
}

static void work(void) {
	for (volatile int i = 0; i < 200000; i++)
		;
}

/* Blocks where nobody is told of it, for as long as several time slices. */
static void *blocker(void *arg) {
	struct timespec sleep = {0, 3000000};
	int fds[2];
	char c = 'x';
	if (pipe(fds))
		return NULL;
	for (int i = 0; i < 12; i++) {
		check(raw(SYS_nanosleep, (long)&sleep, 0, 0, 0));
		work();
		check(raw(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&sleep, 0));
		struct pollfd p = {.fd = fds[0], .events = POLLIN};
		check(raw(SYS_ppoll, (long)&p, 1, (long)&sleep, 0));
		work();
		check(raw(SYS_write, fds[1], (long)&c, 1, 0));
		check(raw(SYS_read, fds[0], (long)&c, 1, 0));
		check(poll(&p, 1, 3) < 0 ? -errno : 0);
		check(nanosleep(&sleep, NULL) < 0 ? -errno : 0);
		work();
		check(raw(SYS_getpid, 0, 0, 0, 0));
	}
	(void)arg;
	return NULL;
}

static void *hog(void *arg) {
	(void)arg;
	while (!stop)
		raw(SYS_getppid, 0, 0, 0, 0);
	return NULL;
}

int main(void) {
	pthread_t b[6], h[3];
	for (int i = 0; i < 3; i++)
		pthread_create(&h[i], NULL, hog, NULL);
	for (int i = 0; i < 6; i++)
		pthread_create(&b[i], NULL, blocker, NULL);
	for (int i = 0; i < 6; i++)
		pthread_join(b[i], NULL);
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(h[i], NULL);
	printf("%d interrupted, %d failed\n", interrupted, failed);
	return 0;
}
