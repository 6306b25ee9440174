/* A kernel thread of the process stands still for a while, as when the host takes a CPU away in the middle of anything; each in turn, whatever it does (SCH-13). What
 * needs it waits so long, everything goes on afterwards, nothing is lost and nobody makes up for it by spinning. A child stops them, as a debugger does. */
#include "sync_test.h"

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include "process_test.h"

enum { PAIRS = 4, STALL_MS = 300, THREADS_MAX = 64, REFUSED = 254 };
static _Atomic bool stop;
static _Atomic long rounds[PAIRS], slept;

/* In the child. How many it stopped; REFUSED: nobody may trace here. */
static int stall_all(pid_t of) {
	int n = 0;
	char path[40];
	snprintf(path, sizeof path, "/proc/%d/task", (int)of);
	DIR *d = opendir(path);
	for (struct dirent *e; d && n < THREADS_MAX && (e = readdir(d));) {
		int status;
		pid_t tid = atoi(e->d_name);
		if (tid == 0)
			continue;
		if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0) {
			if (errno != ESRCH)
				return REFUSED;
			continue; /* it has ended */
		}
		if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) == 0 && waitpid(tid, &status, __WALL) == tid) {
			usleep(STALL_MS * 1000);
			ptrace(PTRACE_DETACH, tid, 0, 0);
			n++;
		}
	}
	if (d)
		closedir(d);
	return n;
}

struct pair {
	int there[2], back[2];
};
static struct pair pair[PAIRS];

static void *asks(void *arg) {
	struct pair *p = arg;
	char c = 'x';
	while (!stop) {
		if (write(p->there[1], &c, 1) != 1 || read(p->back[0], &c, 1) != 1)
			return (void *)1;
		rounds[p - pair]++;
		usleep(1000);
	}
	close(p->there[1]);
	return NULL;
}

static void *answers(void *arg) {
	struct pair *p = arg;
	char c;
	while (read(p->there[0], &c, 1) == 1)
		if (write(p->back[1], &c, 1) != 1)
			return (void *)1;
	return NULL;
}

static void *sleeps(void *arg) {
	while (!stop) {
		usleep(5000);
		slept++;
	}
	return arg;
}

/* All get on. */
static void await_progress(void) {
	for (int i = 0; i < PAIRS; i++)
		for (long from = rounds[i]; rounds[i] < from + 10;)
			usleep(1000);
	for (long from = slept; slept < from + 10;)
		usleep(1000);
}

int main(void) {
	pthread_t t[2 * PAIRS + 1];
	int n = 0, go[2];
	test_begin();
	alarm(100);
	EQ(pipe(go), 0);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		char c;
		close(go[1]);
		_exit(read(go[0], &c, 1) == 1 ? stall_all(parent) : 255);
	}
	prctl(PR_SET_PTRACER, child, 0, 0, 0);
	for (int i = 0; i < PAIRS; i++) {
		EQ(pipe(pair[i].there), 0);
		EQ(pipe(pair[i].back), 0);
		t[n++] = start(asks, &pair[i]);
		t[n++] = start(answers, &pair[i]);
	}
	t[n++] = start(sleeps, NULL);
	await_progress();
	step("begun");
	EQ(write(go[1], "x", 1), 1);
	int stalled = reap(child);
	fprintf(stderr, "%d kernel threads stood still\n", stalled);
	CHECK(stalled >= 2 && stalled <= REFUSED);
	await_progress();
	step("goes on");
	stop = true;
	for (int i = 0; i < n; i++)
		EQ(join(t[i]), 0);
	/* Nobody is left who looks for what was missed. */
	usleep(500000);
	long long used = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	usleep(1000000);
	used = now_ns(CLOCK_PROCESS_CPUTIME_ID) - used;
	CHECK(used < 15000000);
	step("at rest");
	return test_end();
}
