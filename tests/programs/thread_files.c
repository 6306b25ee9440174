/* A thread's files in /proc, under its number, the process's and the kernel's names for the caller: name, CPU time, state, masks; read and written, by
 * descriptors, streams and paths; while the thread lives and afterwards. */
#include "sleeping.h"
#include "sync_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static _Atomic pid_t tid;
static pthread_t thread;
static pthread_barrier_t turn;

static const char *at(const char *file) {
	static __thread char path[64];
	snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)tid, file);
	return path;
}

static void show(const char *what, const char *path) {
	char text[64] = "";
	int fd = open(path, O_RDONLY);
	int n = fd < 0 ? -errno : (int)read(fd, text, sizeof text - 1);
	text[strcspn(text, "\n")] = '\0';
	printf("%s: %d '%s'\n", what, n, text);
	if (fd >= 0)
		close(fd);
}

static void put(const char *what, const char *path, const char *value) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int n = fd < 0 ? -errno : (int)write(fd, value, strlen(value));
	printf("put %s: %d\n", what, n < 0 && fd >= 0 ? -errno : n);
	if (fd >= 0)
		close(fd);
}

/* The line that begins with `key`. */
static void line_show(const char *path, const char *key) {
	char line[512];
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, key, strlen(key)) == 0)
			printf("%s", line);
	printf(f ? "" : "no stream: %s\n", strerror(errno));
	if (f)
		fclose(f);
}

/* The link that is the caller's own. */
static void link_check(void) {
	char is[64] = "", want[64];
	int n = snprintf(want, sizeof want, "%d/task/%d", (int)getpid(), (int)gettid());
	EQ(readlink("/proc/thread-self", is, sizeof is), n);
	CHECK(strcmp(is, want) == 0);
	memset(is, 0, sizeof is);
	EQ(readlinkat(AT_FDCWD, "/proc/thread-self", is, 3), 3);
	CHECK(strlen(is) == 3 && strncmp(is, want, 3) == 0);
	EQ(readlink("/proc/thread-self", is, 0), -1);
	EQ(errno, EINVAL);
}

static void names_show(const char *when) {
	char path[64], name[16];
	printf("-- %s\n", when);
	link_check();
	prctl(PR_GET_NAME, name);
	printf("prctl '%s'\n", name);
	show("by self", at("comm"));
	snprintf(path, sizeof path, "/proc/%d/task/%d/comm", (int)getpid(), (int)tid);
	show("by number", path);
	snprintf(path, sizeof path, "/proc/%d/comm", (int)tid);
	show("as a process", path);
	show("caller", "/proc/thread-self/comm");
	show("process", "/proc/self/comm");
	line_show(at("status"), "Name:");
	line_show("/proc/thread-self/status", "Name:");
}

/* utime + stime in ns, by a stat file. */
static long long stat_cpu(const char *path) {
	char text[1024] = "";
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
	close(fd);
	char *s = strrchr(text, ')');
	unsigned long user = 0, system = 0;
	CHECK(s && sscanf(s + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2);
	return (long long)(user + system) * (1000000000 / sysconf(_SC_CLK_TCK));
}

static void cpu_check(const char *path) {
	long long tick = 1000000000 / sysconf(_SC_CLK_TCK), before = now_ns(CLOCK_THREAD_CPUTIME_ID), said = stat_cpu(path);
	CHECK(said >= before - 2 * tick);
	CHECK(said <= now_ns(CLOCK_THREAD_CPUTIME_ID) + tick);
}

static void statistics(void) {
	char text[1024] = "", name[64] = "", state = 0;
	int id = 0, parent = 0;
	while (now_ns(CLOCK_THREAD_CPUTIME_ID) < 150000000)
		;
	cpu_check(at("stat"));
	cpu_check("/proc/thread-self/stat");
	FILE *f = fopen(at("stat"), "re");
	CHECK(f && fgets(text, sizeof text, f));
	CHECK(sscanf(text, "%d (%63[^)]) %c %d", &id, name, &state, &parent) == 4);
	printf("stat: own %d '%s' %c parent %d\n", id == tid, name, state, parent == getppid());
	if (f)
		fclose(f);
	f = fopen(at("schedstat"), "r");
	unsigned long long ran = 0;
	CHECK(f && fscanf(f, "%llu", &ran) == 1);
	CHECK(ran >= 140000000 && ran <= (unsigned long long)now_ns(CLOCK_THREAD_CPUTIME_ID) + 10000000);
	if (f)
		fclose(f);
}

static void masks(void) {
	sigset_t set, before;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 3);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	pthread_kill(pthread_self(), SIGUSR1);
	line_show(at("status"), "State:");
	line_show(at("status"), "SigBlk:");
	line_show(at("status"), "SigPnd:");
	line_show("/proc/thread-self/status", "SigBlk:");
	struct timespec none = {0, 0};
	EQ(sigtimedwait(&set, NULL, &none), SIGUSR1);
	line_show(at("status"), "SigPnd:");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* One descriptor for long, and its duplicate: each reading from the start is anew. */
static void kept(void) {
	char text[32] = "";
	int fd = open(at("comm"), O_RDWR | O_CLOEXEC), other = dup(fd);
	CHECK(fd >= 0 && other >= 0);
	EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	prctl(PR_SET_NAME, "kept");
	EQ(read(fd, text, sizeof text), 5);
	printf("kept: %s", text);
	EQ(read(fd, text, sizeof text), 0);
	prctl(PR_SET_NAME, "again");
	EQ(lseek(other, 0, SEEK_SET), 0);
	EQ(read(other, text, sizeof text), 6);
	printf("kept: %s", text);
	EQ(write(other, "by a duplicate of it", 20), 20);
	names_show("written to a duplicate");
	EQ(write(fd, (char *)8, 3), -1);
	EQ(errno, EFAULT);
	close(fd);
	close(other);
	/* the lowest free number, as for every other file */
	int low = open("/dev/null", O_RDONLY), comm;
	close(low);
	comm = open("/proc/thread-self/comm", O_RDONLY);
	EQ(comm, low);
	close(comm);
	comm = open(at("comm"), O_RDONLY);
	EQ(comm, low);
	EQ(write(comm, "no", 2), -1);
	EQ(errno, EBADF);
	close(comm);
}

static void streams(void) {
	char text[32] = "";
	FILE *f = fopen(at("comm"), "r+");
	CHECK(f && fgets(text, sizeof text, f));
	printf("stream: %s", text);
	if (f)
		fclose(f);
	f = fopen(at("comm"), "w");
	CHECK(f && fputs("by a stream", f) >= 0);
	if (f)
		EQ(fclose(f), 0);
	names_show("written by a stream");
	f = fopen("/proc/thread-self/comm", "w");
	CHECK(f && fputs("by another", f) >= 0);
	if (f)
		EQ(fclose(f), 0);
	names_show("written by the caller's stream");
}

static void paths(void) {
	struct stat st;
	struct statx sx;
	char text[256], other[256];
	char folder[64];
	EQ(access(at("stat"), R_OK), 0);
	EQ(access(at("nothing"), R_OK), -1);
	EQ(errno, ENOENT);
	snprintf(folder, sizeof folder, "/proc/self/task/%d", (int)tid);
	EQ(stat(folder, &st), 0);
	CHECK(S_ISDIR(st.st_mode));
	EQ(lstat(at("exe"), &st), 0);
	CHECK(S_ISLNK(st.st_mode));
	EQ(fstatat(AT_FDCWD, at("comm"), &st, 0), 0);
	EQ(st.st_mode, S_IFREG | 0644);
	EQ(statx(AT_FDCWD, at("comm"), 0, STATX_BASIC_STATS, &sx), 0);
	EQ(faccessat(AT_FDCWD, at("comm"), W_OK, 0), 0);
	ssize_t n = readlink(at("exe"), text, sizeof text);
	CHECK(n > 0 && readlink("/proc/self/exe", other, sizeof other) == n && memcmp(text, other, (size_t)n) == 0);
	EQ(readlinkat(AT_FDCWD, at("cwd"), text, sizeof text) > 0, true);
	DIR *d = opendir(at("fd"));
	int count = 0;
	while (d && readdir(d))
		count++;
	CHECK(count > 4);
	if (d)
		closedir(d);
	EQ(open(at("nothing"), O_RDONLY), -1);
	EQ(errno, ENOENT);
	EQ(open(at("comm/"), O_RDONLY), -1);
	EQ(errno, ENOTDIR);
	EQ(open("/proc/self/task/2000000000/comm", O_RDONLY), -1);
	EQ(errno, ENOENT);
	EQ(open((char *)16, O_RDONLY), -1);
	EQ(errno, EFAULT);
}

static void *body(void *arg) {
	tid = (pid_t)syscall(SYS_gettid);
	names_show("inherited");
	pthread_setname_np(pthread_self(), "123456789012345");
	names_show("set");
	put("own", at("comm"), "written");
	names_show("written");
	put("caller's", "/proc/thread-self/comm", "much too long for a name\n");
	names_show("written by the caller");
	put("process's", "/proc/self/comm", "process");
	put("with newline", at("comm"), "x\n\\y");
	names_show("newline");
	put("empty", at("comm"), "");
	prctl(PR_SET_NAME, "measured");
	statistics();
	masks();
	kept();
	streams();
	paths();
	for (int i = 0; i < 4; i++)
		pthread_barrier_wait(&turn);
	names_show("by main");
	return arg;
}

static void *locks(void *arg) {
	int fd = open(arg, O_RDWR);
	tid = (pid_t)syscall(SYS_gettid);
	EQ(flock(fd, LOCK_EX), 0);
	close(fd);
	return NULL;
}

/* It waits in the kernel, where a scheduler of its own would not see it. */
static void sleeps_in_kernel(void) {
	char name[] = "/tmp/thread_files.XXXXXX";
	int fd = mkstemp(name);
	EQ(flock(fd, LOCK_EX), 0);
	tid = 0;
	pthread_t t = start(locks, name);
	await_sleeping(&tid);
	puts("sleeps in the kernel");
	EQ(flock(fd, LOCK_UN), 0);
	join(t);
	close(fd);
	unlink(name);
}

int main(void) {
	test_begin();
	setvbuf(stdout, NULL, _IONBF, 0);
	pthread_setname_np(pthread_self(), "first");
	pthread_barrier_init(&turn, NULL, 2);
	thread = start(body, NULL);
	pthread_barrier_wait(&turn);
	char name[16] = "";
	show("main reads", at("comm"));
	put("main", at("comm"), "by main");
	EQ(pthread_getname_np(thread, name, sizeof name), 0);
	printf("main got %s\n", name);
	EQ(stat_cpu(at("stat")) >= 140000000, true);
	int fd = open(at("comm"), O_RDWR);
	for (int i = 0; i < 3; i++)
		pthread_barrier_wait(&turn);
	join(thread);
	while (syscall(SYS_tgkill, getpid(), tid, 0) == 0) /* the kernel lets the joiner go a moment before the number is nobody's */
		sched_yield();
	show("after its end", at("comm"));
	EQ(access(at("stat"), F_OK), -1);
	EQ(read(fd, name, 4), -1);
	EQ(errno, ESRCH);
	EQ(write(fd, name, 4), -1);
	EQ(errno, ESRCH);
	close(fd);
	sleeps_in_kernel();
	tid = getpid();
	names_show("main");
	put("main", "/proc/thread-self/comm", "second");
	names_show("main again");
	return test_end();
}
