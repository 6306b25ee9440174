/* A thread runs on the CPUs that it was bound to, whoever did it: another thread, by handle or by number, while it is parked, is queued, computes or waits in
 * the kernel; its attributes; the thread that made it. From the return of that call on, and no wait of its ends for it. */
#include "sync_test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { WORKERS = 6, LOOKS = 400 };
static cpu_set_t all;
static int cpu[2], missed; /* the first two there are */
static pthread_barrier_t barrier;

static cpu_set_t only(int which) {
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu[which], &set);
	return set;
}

static void bind_to(pthread_t t, int which) {
	cpu_set_t set = only(which);
	EQ(pthread_setaffinity_np(t, sizeof set, &set), 0);
}

/* On that CPU, by all that can be asked, and after waits of all kinds. */
static void looks(int which) {
	cpu_set_t set, want = only(which);
	for (int i = 0; i < LOOKS; i++) {
		unsigned on = 99;
		if (sched_getcpu() != cpu[which] || syscall(SYS_getcpu, &on, NULL, NULL) != 0 || (int)on != cpu[which])
			__atomic_fetch_add(&missed, 1, __ATOMIC_RELAXED);
		if (i % 40 == 0)
			usleep(100);
		else if (i % 40 == 20)
			sched_yield();
	}
	EQ(pthread_getaffinity_np(pthread_self(), sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &want));
	EQ(sched_getaffinity(0, sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &want));
}

static void shown(const char *what) {
	printf("%s: elsewhere %s\n", what, missed ? "too" : "never");
	missed = 0;
	fflush(stdout);
}

/* ---- just made, and parked ---------------------------------------------------------------------------------------------- */

static void *waits(void *arg) {
	pthread_barrier_wait(&barrier);
	looks((int)(long)arg);
	return NULL;
}

static void just_made(void) {
	pthread_t t[WORKERS];
	pthread_barrier_init(&barrier, NULL, WORKERS + 1);
	for (long i = 0; i < WORKERS; i++) {
		t[i] = start(waits, (void *)(i % 2));
		bind_to(t[i], (int)(i % 2));
	}
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < WORKERS; i++)
		join(t[i]);
	shown("just made");
}

static int fds[2];

static void *reads(void *arg) {
	char c;
	EQ(read(fds[0], &c, 1), 1);
	looks((int)(long)arg);
	return NULL;
}

static void *polls(void *arg) {
	struct pollfd p = {.fd = fds[0], .events = POLLIN};
	EQ(poll(&p, 1, 20000), 1);
	looks((int)(long)arg);
	return NULL;
}

static void *sleeps(void *arg) {
	long long until = now_ns(CLOCK_MONOTONIC) + 60000000;
	EQ(usleep(60000), 0);
	CHECK(now_ns(CLOCK_MONOTONIC) >= until);
	looks((int)(long)arg);
	return NULL;
}

static void *reaps(void *arg) {
	EQ(waitpid((pid_t)(long)arg, NULL, 0), (long)arg);
	looks(1);
	return NULL;
}

static void parked(void) {
	pthread_t t[4];
	pipe(fds);
	pid_t child = fork();
	if (child == 0) {
		usleep(80000);
		_exit(0);
	}
	t[0] = start(reads, (void *)1);
	t[1] = start(polls, (void *)0);
	t[2] = start(sleeps, (void *)1);
	t[3] = start(reaps, (void *)(long)child);
	usleep(20000);
	for (int i = 0; i < 4; i++)
		bind_to(t[i], i != 1);
	write(fds[1], "ab", 2);
	for (int i = 0; i < 4; i++)
		join(t[i]);
	close(fds[0]);
	close(fds[1]);
	shown("parked");
}

/* ---- computes ------------------------------------------------------------------------------------------------------------ */

static volatile int phase;
static volatile pid_t number;

static void *computes(void *arg) {
	(void)arg;
	number = gettid();
	for (int which = 1; which >= 0; which--) {
		phase = 1 + which * 10;
		while (phase == 1 + which * 10)
			;
		looks(which);
	}
	return NULL;
}

static void *computes_once(void *arg) {
	(void)arg;
	phase = 1;
	while (phase == 1)
		;
	looks(1);
	return NULL;
}

static void computing(void) {
	pthread_t t = start(computes, NULL);
	for (int which = 1; which >= 0; which--) {
		cpu_set_t set = only(which);
		while (phase != 1 + which * 10)
			usleep(1000);
		if (which)
			bind_to(t, which);
		else
			EQ(sched_setaffinity(number, sizeof set, &set), 0);
		phase = 2;
	}
	join(t);
	shown("computes");
}

/* Its kernel thread waits for a CPU most of the time, for longer than it would take to tell it anything. */
static void computing_crowded(void) {
	pid_t burner[4];
	for (int i = 0; i < 4; i++) {
		burner[i] = fork();
		if (burner[i] == 0) {
			alarm(60);
			for (;;)
				;
		}
	}
	for (int round = 0; round < 20; round++) {
		phase = 0;
		pthread_t t = start(computes_once, NULL);
		while (phase != 1)
			usleep(1000);
		bind_to(t, 1);
		phase = 2;
		join(t);
	}
	for (int i = 0; i < 4; i++) {
		kill(burner[i], SIGKILL);
		EQ(waitpid(burner[i], NULL, 0), burner[i]);
	}
	shown("computes, on a busy machine");
}

/* ---- attributes, and who made it ------------------------------------------------------------------------------------------- */

static void *from_the_start(void *arg) {
	EQ(sched_getcpu(), cpu[(int)(long)arg]);
	looks((int)(long)arg);
	return NULL;
}

static void *makes(void *arg) {
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	join(start(from_the_start, arg));
	return NULL;
}

static void made(void) {
	pthread_t t[WORKERS];
	pthread_attr_t attr;
	cpu_set_t none;
	pthread_attr_init(&attr);
	for (long i = 0; i < WORKERS; i++) {
		cpu_set_t set = only((int)(i % 2));
		pthread_attr_setaffinity_np(&attr, sizeof set, &set);
		EQ(pthread_create(&t[i], &attr, from_the_start, (void *)(i % 2)), 0);
	}
	for (int i = 0; i < WORKERS; i++)
		join(t[i]);
	CPU_ZERO(&none);
	pthread_attr_setaffinity_np(&attr, sizeof none, &none);
	EQ(pthread_create(&t[0], &attr, from_the_start, NULL), EINVAL);
	pthread_attr_destroy(&attr);
	shown("attributes");
	pthread_barrier_init(&barrier, NULL, 2);
	t[0] = start(makes, (void *)1);
	pthread_barrier_wait(&barrier);
	EQ(pthread_setaffinity_np(t[0], sizeof none, &none), EINVAL);
	bind_to(t[0], 0);
	bind_to(t[0], 1);
	pthread_barrier_wait(&barrier);
	join(t[0]);
	shown("inherited");
}

/* All CPUs again, and those who never were bound. */
static void *anywhere(void *arg) {
	cpu_set_t set;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	EQ(sched_getaffinity(0, sizeof set, &set), 0);
	CHECK(CPU_EQUAL(&set, &all));
	return arg;
}

static void freed(void) {
	pthread_t t = start(anywhere, NULL);
	pthread_barrier_wait(&barrier);
	bind_to(t, 1);
	EQ(pthread_setaffinity_np(t, sizeof all, &all), 0);
	pthread_barrier_wait(&barrier);
	join(t);
	t = start(anywhere, NULL);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	join(t);
	step("freed");
}

int main(void) {
	int n = 0;
	test_begin();
	EQ(sched_getaffinity(0, sizeof all, &all), 0);
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &all))
			cpu[n++] = i;
	if (n < 2) {
		printf("needs two CPUs\n");
		return 0;
	}
	just_made();
	parked();
	computing();
	computing_crowded();
	made();
	freed();
	return test_end();
}
