/* Teams of threads that are made anew for each piece of work and wait for each other by futex calls of their own instructions, as OpenMP's do; in between they
 * wait for a mutex, a condition variable and a pipe as everybody does. */
#include "sync_test.h"

#include <linux/futex.h>
#include <limits.h>
#include <sys/syscall.h>

enum { ROUNDS = 120, TEAM = 8 };

static long futex(_Atomic unsigned *word, long op, long value) {
#if defined(__x86_64__)
	long r;
	register long r10 __asm__("r10") = 0;
	__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_futex), "D"(word), "S"(op), "d"(value), "r"(r10) : "rcx", "r11", "memory");
	return r;
#else
	register long x8 __asm__("x8") = SYS_futex;
	register long x0 __asm__("x0") = (long)word;
	register long x1 __asm__("x1") = op;
	register long x2 __asm__("x2") = value;
	register long x3 __asm__("x3") = 0;
	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
#endif
}

static struct barrier {
	_Atomic unsigned came, round;
} barriers[4];

static void barrier_wait(struct barrier *b) {
	unsigned round = b->round;
	if (++b->came == TEAM) {
		b->came = 0;
		b->round++;
		futex(&b->round, FUTEX_WAKE_PRIVATE, INT_MAX);
		return;
	}
	while (b->round == round)
		futex(&b->round, FUTEX_WAIT_PRIVATE, round);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn, fds[2];
static long sum;

static void *member(void *arg) {
	int me = (int)(long)arg;
	char c = 0;
	barrier_wait(&barriers[0]);
	pthread_mutex_lock(&lock);
	sum += me;
	pthread_mutex_unlock(&lock);
	barrier_wait(&barriers[1]);
	pthread_mutex_lock(&lock);
	while (turn != me)
		pthread_cond_wait(&cond, &lock);
	turn++;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	barrier_wait(&barriers[2]);
	if (me == 0) {
		for (int i = 1; i < TEAM; i++)
			EQ(write(fds[1], "x", 1), 1);
	} else {
		EQ(read(fds[0], &c, 1), 1);
	}
	barrier_wait(&barriers[3]);
	return arg;
}

int main(void) {
	pthread_t t[TEAM];
	test_begin();
	EQ(pipe(fds), 0);
	for (int i = 0; i < ROUNDS; i++) {
		turn = 0;
		for (long n = 1; n < TEAM; n++)
			t[n] = start(member, (void *)n);
		member((void *)0); /* as OpenMP's first thread */
		for (long n = 1; n < TEAM; n++)
			EQ((long)join(t[n]), n);
	}
	EQ(sum, (long)ROUNDS * TEAM * (TEAM - 1) / 2);
	return test_end();
}
