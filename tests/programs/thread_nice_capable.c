/* Who may lower a nice value, a thread's own and another's: the kernel goes by the capability and RLIMIT_NICE, not by the user. */
#include "sync_test.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { NOBODY = 65534, NICER = 5, FORKERS = 3 };

static sem_t named, done;
static volatile pid_t number;
static int error; /* what the kernel says to main, before there is a thread */

static void capabilities(unsigned bits) {
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{.effective = bits, .permitted = bits}};
	EQ(syscall(SYS_capset, &head, data), 0);
}

static void *named_thread(void *arg) {
	number = gettid();
	sem_post(&named);
	sem_wait(&done);
	return arg;
}

static void sets(pid_t tid, int nice) {
	int was = getpriority(PRIO_PROCESS, tid);
	errno = 0;
	EQ(setpriority(PRIO_PROCESS, tid, nice), error ? -1 : 0);
	EQ(errno, error);
	EQ(getpriority(PRIO_PROCESS, tid), error ? was : nice);
}

static void *lowers(void *arg) {
	sets(0, -2);
	errno = 0;
	nice(-1);
	EQ(errno, error ? EPERM : 0);
	return arg;
}

/* From a value above the process's, to one that is not below that. */
static void *comes_back(void *arg) {
	EQ(setpriority(PRIO_PROCESS, 0, NICER), 0);
	sets(0, NICER - 1);
	sets(0, 0);
	return arg;
}

static int threads(void) {
	error = setpriority(PRIO_PROCESS, 0, -1) == 0 ? 0 : errno;
	if (!error)
		setpriority(PRIO_PROCESS, 0, 0);
	pthread_t t = start(named_thread, NULL);
	sem_wait(&named);
	sets(number, -3);
	sem_post(&done);
	join(t);
	join(start(lowers, NULL));
	join(start(comes_back, NULL));
	join(start(lowers, NULL)); /* the process's own is what it was */
	return failures != 0;
}

static void *forks(void *arg) {
	(void)arg;
	sem_post(&named);
	while (sem_wait(&done) != 0)
		continue;
	for (int i = 0; i < 3; i++) {
		int status = -1;
		pid_t pid = i == 0 ? fork() : i == 1 ? _Fork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (pid == 0)
			_exit(getpriority(PRIO_PROCESS, 0) == 0 ? 0 : 1);
		EQ(waitpid(pid, &status, 0), pid);
		EQ(status, 0);
	}
	return NULL;
}

/* Who was there before main became nicer has children that are not, though they could not go back to that themselves. */
static int main_nicer(void) {
	pthread_t t[FORKERS];
	capabilities(0);
	for (int i = 0; i < FORKERS; i++) {
		t[i] = start(forks, NULL);
		sem_wait(&named);
	}
	EQ(setpriority(PRIO_PROCESS, 0, NICER), 0);
	for (int i = 0; i < FORKERS; i++)
		sem_post(&done);
	for (int i = 0; i < FORKERS; i++)
		join(t[i]);
	return failures != 0;
}

static int user_with_it(void) {
	if (prctl(PR_SET_KEEPCAPS, 1) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
		return 0; /* not started by root */
	capabilities(1u << CAP_SYS_NICE);
	return threads();
}

static int without_it(void) {
	capabilities(0);
	return threads();
}

/* Up to a value that the limit allows. */
static int limited(void) {
	struct rlimit limit = {20 - (NICER - 1), 20 - (NICER - 1)};
	if (setrlimit(RLIMIT_NICE, &limit) != 0)
		return 0;
	capabilities(0);
	error = 0;
	pthread_t t = start(named_thread, NULL);
	sem_wait(&named);
	EQ(setpriority(PRIO_PROCESS, number, NICER), 0);
	sets(number, NICER - 1);
	error = EACCES;
	sets(number, NICER - 2);
	sem_post(&done);
	join(t);
	return failures != 0;
}

static int in_child(int (*f)(void)) {
	int status = -1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(f());
	waitpid(pid, &status, 0);
	return status;
}

int main(void) {
	sem_init(&named, 0, 0);
	sem_init(&done, 0, 0);
	setrlimit(RLIMIT_NICE, &(struct rlimit){0, RLIM_INFINITY});
	EQ(in_child(user_with_it), 0);
	EQ(in_child(without_it), 0);
	EQ(in_child(limited), 0);
	EQ(in_child(main_nicer), 0);
	return failures != 0;
}
