/* What another thread set for a thread (affinity, policy, nice value, I/O priority), or its attributes asked for, its children have: by fork, vfork and exec,
 * posix_spawn, system; and the threads that it makes. Nobody else's have it. The child is this program, which reports. */
#include "sync_test.h"

#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum what { NOTHING, AFFINITY, POLICY, NICE, IOPRIO, WHATS };
enum how { PARKED, COMPUTES, ATTRIBUTES, BEFORE, HOWS };
static const char *const what_name[] = {"nothing", "affinity", "policy", "nice", "ioprio"};
static const char *const how_name[] = {"parked", "computes", "attributes", "itself"};
extern char **environ;
static char self[4096];
static cpu_set_t all, one;
static int base_nice;
static pthread_barrier_t barrier;
static volatile int go;
static volatile pid_t number;

/* As an exit status: what this thread has. */
static int report(void) {
	cpu_set_t set;
	int found = NOTHING;
	long io = syscall(SYS_ioprio_get, 1, 0);
	sched_getaffinity(0, sizeof set, &set);
	if (CPU_COUNT(&set) == 1)
		found += 1;
	if (sched_getscheduler(0) == SCHED_BATCH)
		found += 10;
	if (io == (2 << 13 | 6))
		found += 20;
	return found + 30 * (getpriority(PRIO_PROCESS, 0) - base_nice);
}

static int wanted(enum what what) {
	return what == AFFINITY ? CPU_COUNT(&all) > 0 : what == POLICY ? 10 : what == NICE ? 90 : what == IOPRIO ? 20 : CPU_COUNT(&all) == 1;
}

static int ended(pid_t pid) {
	int status = -1;
	EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void *thread_reports(void *arg) {
	*(int *)arg = report();
	return NULL;
}

/* The calling thread, its children and its threads have what is wanted. */
static void look(int want) {
	char text[32], command[4200];
	char *argv[] = {self, text, NULL};
	int there = -1;
	pid_t pid;
	snprintf(text, sizeof text, "%d", base_nice);
	EQ(report(), want);
	if ((pid = vfork()) == 0) {
		execv(self, argv);
		_exit(127);
	}
	EQ(ended(pid), want);
	if ((pid = fork()) == 0)
		_exit(report());
	EQ(ended(pid), want);
	EQ(posix_spawn(&pid, self, NULL, NULL, argv, environ), 0);
	EQ(ended(pid), want);
	snprintf(command, sizeof command, "exec '%s' %s", self, text);
	EQ(WEXITSTATUS(system(command)), want);
	join(start(thread_reports, &there));
	EQ(there, want);
}

static void set(enum what what, pthread_t t, pid_t tid) {
	struct sched_param param = {0};
	if (what == AFFINITY)
		EQ(pthread_setaffinity_np(t, sizeof one, &one), 0);
	if (what == POLICY)
		EQ(pthread_setschedparam(t, SCHED_BATCH, &param), 0);
	if (what == NICE)
		EQ(setpriority(PRIO_PROCESS, tid, base_nice + 3), 0);
	if (what == IOPRIO)
		EQ(syscall(SYS_ioprio_set, 1, tid, 2 << 13 | 6), 0);
}

struct order {
	enum what what;
	enum how how;
};

static void *thread(void *arg) {
	const struct order *o = arg;
	if (o->how == BEFORE)
		set(o->what, pthread_self(), gettid());
	if (o->how == PARKED || o->how == COMPUTES) {
		number = gettid();
		pthread_barrier_wait(&barrier);
		if (o->how == PARKED)
			pthread_barrier_wait(&barrier);
		else
			while (!go)
				;
	}
	look(wanted(o->what));
	return NULL;
}

static void run(struct order o) {
	pthread_attr_t attr;
	pthread_t t;
	pthread_attr_init(&attr);
	if (o.how == ATTRIBUTES && o.what == AFFINITY)
		pthread_attr_setaffinity_np(&attr, sizeof one, &one);
	go = 0;
	EQ(pthread_create(&t, &attr, thread, &o), 0);
	if (o.how == PARKED || o.how == COMPUTES) {
		pthread_barrier_wait(&barrier);
		set(o.what, t, number);
		go = 1;
		if (o.how == PARKED)
			pthread_barrier_wait(&barrier);
	}
	join(t);
	pthread_attr_destroy(&attr);
	printf("%s, %s\n", what_name[o.what], how_name[o.how]);
	fflush(stdout);
}

static void *later(void *arg) {
	look(wanted(NICE));
	return arg;
}

static void *from_before(void *arg) {
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	look(wanted(NOTHING));
	return arg;
}

/* Main makes itself nicer: what it makes from then on is, and what was there before is not. */
static void main_nicer(void) {
	pthread_t before = start(from_before, NULL), t[3];
	pthread_barrier_wait(&barrier);
	set(NICE, pthread_self(), 0);
	look(wanted(NICE));
	for (int i = 0; i < 3; i++)
		t[i] = start(later, NULL);
	for (int i = 0; i < 3; i++)
		join(t[i]);
	pthread_barrier_wait(&barrier);
	join(before);
	look(wanted(NICE));
}

int main(int argc, char **argv) {
	if (argc > 1) {
		base_nice = atoi(argv[1]);
		return report();
	}
	test_begin();
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n < 0 ? 0 : n] = '\0';
	sched_getaffinity(0, sizeof all, &all);
	for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	base_nice = getpriority(PRIO_PROCESS, 0);
	pthread_barrier_init(&barrier, NULL, 2);
	for (enum what what = NOTHING; what < WHATS; what++)
		for (enum how how = PARKED; how < HOWS; how++)
			if (how != ATTRIBUTES || what <= AFFINITY)
				run((struct order){what, how});
	look(wanted(NOTHING)); /* main's own */
	main_nicer();
	return test_end();
}
