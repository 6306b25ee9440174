/* Threads block where no library could notice: system calls made by the program's own instruction, locks and reads inside libc. The others
 * get on meanwhile, on one CPU, too (SYN-19, FD-11, FD-13). */
#include "sync_test.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/file.h>
#include <sys/syscall.h>

static long bare(long n, long a, long b, long c, long d) {
	long r;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = 0;
	register long r9 __asm__("r9") = 0;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
}

static _Atomic int blocked;
static int word;
static volatile bool stop;

static void *in_futex(void *arg) {
	blocked++;
	while (!stop)
		bare(SYS_futex, (long)&word, FUTEX_WAIT, 0, 0);
	return arg;
}

static void *in_sleep(void *arg) {
	struct timespec ts = {0, 50000000};
	blocked++;
	bare(SYS_nanosleep, (long)&ts, 0, 0, 0);
	return arg;
}

static void *in_read(void *fd) {
	char c = 0;
	blocked++;
	return (void *)bare(SYS_read, *(int *)fd, (long)&c, 1, 0);
}

static void *in_poll(void *arg) {
	blocked++;
	(void)arg;
	return (void *)bare(SYS_poll, 0, 0, 50, 0);
}

static void *in_fgets(void *file) {
	char line[100];
	blocked++;
	return fgets(line, sizeof line, file) && strcmp(line, "a line\n") == 0 ? NULL : (void *)1;
}

static void *in_flock(void *path) {
	int fd = open(path, O_RDONLY);
	blocked++;
	int r = flock(fd, LOCK_EX);
	flock(fd, LOCK_UN);
	close(fd);
	return (void *)(long)r;
}

/* As libgomp has them: threads that are made for one piece of work, and meet before and after it. */
enum { MEET = 16 };
static _Atomic int come, meeting, at_work;

static void meet(void) {
	int this = meeting;
	if (++come == MEET) {
		come = 0;
		meeting++;
		bare(SYS_futex, (long)&meeting, FUTEX_WAKE, MEET, 0);
	} else {
		while (meeting == this)
			bare(SYS_futex, (long)&meeting, FUTEX_WAIT, this, 0);
	}
}

static void *meets(void *arg) {
	meet();
	at_work++;
	meet();
	return at_work == MEET ? NULL : arg;
}

static _Atomic long worked;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;

static void *works(void *arg) {
	int mine = (int)(long)arg;
	for (int i = 0; i < 100; i++) {
		pthread_mutex_lock(&mutex);
		while (turn != mine)
			pthread_cond_wait(&cond, &mutex);
		turn = !turn;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&mutex);
		worked++;
	}
	return NULL;
}

static void others_progress(void) {
	pthread_t a, b;
	worked = 0;
	turn = 0;
	a = start(works, (void *)0);
	b = start(works, (void *)1);
	join(a);
	join(b);
	EQ(worked, 200);
	usleep(1000);
}

int main(void) {
	enum { N = 12 };
	pthread_t t[100];
	int fds[2];
	test_begin();

	for (int i = 0; i < N; i++)
		t[i] = start(in_futex, NULL);
	while (blocked < N)
		sched_yield();
	others_progress();
	stop = true;
	word = 1;
	for (int i = 0; i < N; i++)
		while (pthread_tryjoin_np(t[i], NULL) == EBUSY) {
			bare(SYS_futex, (long)&word, FUTEX_WAKE, N, 0);
			sched_yield();
		}
	step("futex");

	for (int round = 0; round < 30; round++) {
		at_work = 0;
		for (int i = 0; i < MEET; i++)
			t[i] = start(meets, &come);
		others_progress();
		for (int i = 0; i < MEET; i++)
			EQ(join(t[i]), 0);
	}
	step("barrier");

	blocked = 0;
	for (int i = 0; i < N; i++)
		t[i] = start(i % 2 ? in_sleep : in_poll, NULL);
	others_progress();
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	step("sleep and poll");

	if (pipe(fds) != 0)
		return 1;
	blocked = 0;
	for (int i = 0; i < N; i++)
		t[i] = start(in_read, &fds[0]);
	others_progress();
	EQ(write(fds[1], "123456789012", N), N);
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 1);
	step("read");

	FILE *in = fdopen(fds[0], "r"), *out = fdopen(fds[1], "w");
	blocked = 0;
	for (int i = 0; i < N; i++)
		t[i] = start(in_fgets, in); /* one reads, the others wait for the stream's lock */
	others_progress();
	for (int i = 0; i < N; i++) {
		fputs("a line\n", out);
		fflush(out);
	}
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	fclose(out);
	fclose(in);
	step("fgets");

	char path[] = "/tmp/sch_unseen.XXXXXX";
	int fd = mkstemp(path);
	flock(fd, LOCK_EX);
	blocked = 0;
	for (int i = 0; i < N; i++)
		t[i] = start(in_flock, path);
	others_progress();
	flock(fd, LOCK_UN);
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	close(fd);
	unlink(path);
	step("flock");
	return test_end();
}
