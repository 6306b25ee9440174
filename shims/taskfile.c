/* Files that the kernel has for each of its threads: /proc/self/task/TID/..., the same with a process's number for "self", /proc/TID/... and
 * /proc/thread-self/... A goroutine's number is none of the kernel's, so it says ENOENT of the first three, and by the last means the kernel thread
 * that happens to run the goroutine. Main's number is the process's, and the kernel has files of both; but the kernel thread runs others when main waits, and its
 * state and masks are theirs then.
 *
 * comm, stat, status and schedstat say what is true of the goroutine: name, numbers, state, CPU time, scheduling, signal masks; the rest of their text is of a
 * kernel thread of the process's: the goroutine's own if it is pinned, else sysmon's. Each is a memfd, made when the file is opened and written anew
 * whenever it is read from its start, as the kernel does; the memfd's name says whose it is, so duplicates work. What is written to comm is the name.
 * A thread that has ended: ESRCH, as the kernel's. All other files and folders are that kernel thread's; they say the same for every thread, or
 * (syscall, stack, children, io, sched) nothing about a goroutine. Who writes to files in its own attr/ (SELinux's labels) is pinned before.
 *
 * The kernel is asked first, always: what it finds costs one comparison, and a path that cannot be read is its to refuse.
 *
 * What cannot be given: the list of /proc/self/task, num_threads and "Threads:" are of kernel threads, as everything that others see of the process;
 * paths relative to such a folder are the kernel thread's; so is what libc opens by itself (other than fopen()), a raw system call in a program's own
 * code, and pread(), fstat() and mmap() of one of the four see what was there when it was last opened or read. Other processes see kernel threads.
 * No lock: as pthread_getname_np(), a name that is being changed by another thread may be read half. */
#include "taskfile.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../core/cpuclock.h"
#include "../core/kernel_call.h"
#include "ceiling.h"
#include "io.h"
#include "pinned.h"
#include "thread.h"

enum { PATH_ROOM = 256, TEXT_ROOM = 4096, LINK_ROOM = 64 };
#define MEMFD_PREFIX "goshim-task:"
#define CALLER "/proc/thread-self"

/* What a path names: a file of a thread's, or, `whole`, the same file of the process under a thread's number. */
struct task_path {
	struct g *g;
	bool whole, caller;
	const char *rest; /* "" or "/..." */
};

/* ---- paths --------------------------------------------------------------------------------------------------------- */

bool taskfile_may_be(const char *path) {
	if (strncmp(path, "/proc/", strlen("/proc/")) != 0)
		return false;
	const char *file = strrchr(path, '/');
	return strncmp(path, CALLER, strlen(CALLER)) == 0 || strcmp(file, "/status") == 0 || strcmp(file, "/stat") == 0;
}

static bool skip(const char **s, const char *prefix) {
	size_t n = strlen(prefix);
	if (strncmp(*s, prefix, n) != 0)
		return false;
	*s += n;
	return true;
}

/* 0: there is none. */
static pid_t skip_number(const char **s) {
	long n = 0;
	while (**s >= '0' && **s <= '9' && n < INT32_MAX / 10)
		n = n * 10 + *(*s)++ - '0';
	return (pid_t)n;
}

static bool path_parse(const char *path, struct task_path *t) {
	struct g *self = io_g();
	pid_t id = 0;
	*t = (struct task_path){.g = self};
	if (!self)
		return false;
	if (skip(&path, CALLER)) {
		t->caller = true;
	} else {
		if (!skip(&path, "/proc/"))
			return false;
		pid_t pid = (pid_t)SYS0(SYS_getpid);
		if (!skip(&path, "self"))
			id = skip_number(&path);
		if (id < TID_FIRST) {
			if (id != 0 && id != pid)
				return false;
			t->whole = !skip(&path, "/task/");
			id = t->whole ? pid : skip_number(&path);
		} else {
			t->whole = true;
		}
		t->g = id >= TID_FIRST || id == pid ? thread_meant(id) : NULL;
	}
	t->rest = path;
	return t->g && !thread_ended(t->g) && (*path == '/' || *path == '\0');
}

/* The kernel thread that stands for g. */
static pid_t ktid_of(struct g *g) {
	if (g->kind == G_MAIN)
		return (pid_t)SYS0(SYS_getpid);
	int32_t own = g_own_ktid(g);
	return own ? own : thread_of_process();
}

static bool path_of_kernel(const struct task_path *t, char out[PATH_ROOM]) {
	int n = t->whole ? snprintf(out, PATH_ROOM, "/proc/self%s", t->rest)
			 : snprintf(out, PATH_ROOM, "/proc/self/task/%d%s", ktid_of(t->g), t->rest);
	return n < PATH_ROOM;
}

/* The path to ask the kernel by instead; NULL: there is none. */
static const char *path_instead(const char *path, char out[PATH_ROOM]) {
	struct task_path t;
	return path_parse(path, &t) && !t.caller && path_of_kernel(&t, out) ? out : NULL;
}

/* ---- what they say --------------------------------------------------------------------------------------------------- */

struct content {
	size_t n;
	char at[TEXT_ROOM];
};

static void put(struct content *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct content *t, const char *format, ...) {
	va_list args;
	va_start(args, format);
	int n = vsnprintf(t->at + t->n, TEXT_ROOM - t->n, format, args);
	va_end(args);
	t->n = n < 0 || t->n + (size_t)n >= TEXT_ROOM ? TEXT_ROOM - 1 : t->n + (size_t)n;
}

/* One that is in a system call is in the state of its kernel thread, which may wait there. */
static char state_of(struct g *g) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_relaxed);
	if (g == g_goroutine() || state == GS_RUNNABLE)
		return 'R';
	/* Who is about to wait still runs, and may find that it cannot, and ask the kernel, after who saw it asleep has gone on. acquire: as whoever takes it from a
	 * queue looks at it */
	if (state != GS_RUNNING)
		return state == GS_WAITING && atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire) ? 'R' : 'S';
	int32_t ktid = atomic_load_explicit(&g->in_syscall, memory_order_relaxed) ? sig_running_on(g) : 0;
	char text[128]; /* number and name come first, and are short */
	if (!ktid || task_file_read(0, ktid, "stat", text, sizeof text) <= 0 || sig_running_on(g) != ktid)
		return 'R';
	const char *at = strrchr(text, ')');
	return at && at[1] == ' ' && at[2] ? at[2] : 'R';
}

static const char *state_named(char state) {
	return state == 'R' ? "R (running)" : state == 'D' ? "D (disk sleep)" : state == 'T' ? "T (stopped)" : state == 't' ? "t (tracing stop)" : "S (sleeping)";
}

static void comm_put(struct content *out, struct g *g) {
	char name[THREAD_NAME_BYTES];
	thread_name_get(g, name);
	put(out, "%s\n", name);
}

/* In clock ticks, divided as the process's. */
static void cpu_ticks(struct g *g, long *user, long *system) {
	struct rusage all;
	long hz = sysconf(_SC_CLK_TCK), ticks = (long)(cpu_time(g) / (1000000000 / hz));
	SYS2(SYS_getrusage, RUSAGE_SELF, &all);
	double u = (double)all.ru_utime.tv_sec * 1e6 + (double)all.ru_utime.tv_usec,
	       s = (double)all.ru_stime.tv_sec * 1e6 + (double)all.ru_stime.tv_usec;
	*user = u + s > 0 ? (long)((double)ticks * u / (u + s)) : ticks;
	*system = ticks - *user;
}

enum {
	STAT_STATE = 3,
	STAT_USER = 14,
	STAT_SYSTEM = 15,
	STAT_PRIORITY = 18,
	STAT_NICE = 19,
	STAT_REALTIME = 40,
	STAT_POLICY = 41
};

/* "TID (NAME) STATE" and many numbers. */
static void stat_put(struct content *out, struct g *g, bool whole, char *kernel) {
	struct thread *t = thread_of(g);
	bool realtime = t->policy == SCHED_FIFO || t->policy == SCHED_RR;
	int raised = ceiling_raises(g, t->param.sched_priority);
	long user, system;
	char name[THREAD_NAME_BYTES], *left = strrchr(kernel, ')');
	thread_name_get(g, name);
	cpu_ticks(g, &user, &system);
	put(out, "%d (%s)", g->tid, name);
	for (int i = STAT_STATE; left && (left = strchr(left, ' ')); i++) {
		const char *field = ++left;
		if (i == STAT_STATE)
			put(out, " %c", state_of(g));
		else if (i == STAT_USER && !whole)
			put(out, " %ld", user);
		else if (i == STAT_SYSTEM && !whole)
			put(out, " %ld", system);
		else if (i == STAT_PRIORITY)
			put(out, " %d", realtime ? -1 - raised : 20 + t->nice);
		else if (i == STAT_NICE)
			put(out, " %d", t->nice);
		else if (i == STAT_REALTIME)
			put(out, " %d", realtime ? raised : 0);
		else if (i == STAT_POLICY)
			put(out, " %d", t->policy);
		else
			put(out, " %.*s", (int)strcspn(field, " \n"), field);
	}
	put(out, "\n");
}

static void name_line_put(struct content *out, struct g *g) {
	char name[THREAD_NAME_BYTES];
	thread_name_get(g, name);
	put(out, "Name:\t");
	for (const char *c = name; *c; c++) {
		if (*c == '\n')
			put(out, "\\n");
		else if (*c == '\\')
			put(out, "\\\\");
		else
			put(out, "%c", *c);
	}
	put(out, "\n");
}

static void status_put(struct content *out, struct g *g, const char *kernel) {
	for (const char *line = kernel; *line;) {
		int n = (int)strcspn(line, "\n");
		if (strncmp(line, "Name:", 5) == 0)
			name_line_put(out, g);
		else if (strncmp(line, "State:", 6) == 0)
			put(out, "State:\t%s\n", state_named(state_of(g)));
		else if (strncmp(line, "Pid:", 4) == 0)
			put(out, "Pid:\t%d\n", g->tid);
		else if (strncmp(line, "SigPnd:", 7) == 0)
			put(out, "SigPnd:\t%016lx\n",
			    (unsigned long)atomic_load_explicit(&sig_of(g)->pending, memory_order_relaxed));
		else if (strncmp(line, "SigBlk:", 7) == 0)
			put(out, "SigBlk:\t%016lx\n", (unsigned long)__atomic_load_n(&g->sigmask, __ATOMIC_RELAXED));
		else
			put(out, "%.*s\n", n, line);
		line += line[n] ? n + 1 : n;
	}
}

/* CPU time, time in run queues, turns. */
static void schedstat_put(struct content *out, struct g *g, const char *kernel) {
	put(out, "%ld%s", (long)cpu_time(g), kernel + strcspn(kernel, " "));
}

static const char *const names[] = {"comm", "stat", "status", "schedstat"};
enum { COMM, STAT, STATUS, SCHEDSTAT, NAMES };

/* Which of them a path within a thread's folder names; NAMES: none. */
static int which(const char *rest) {
	int i = 0;
	while (i < NAMES && (*rest != '/' || strcmp(rest + 1, names[i]) != 0))
		i++;
	return i;
}

static long render(struct g *g, int what, bool whole, struct content *out) {
	char kernel[TEXT_ROOM];
	out->n = 0;
	if (what == COMM) {
		comm_put(out, g);
		return 0;
	}
	long r = task_file_read(0, whole ? (pid_t)SYS0(SYS_getpid) : ktid_of(g), names[what], kernel, sizeof kernel);
	if (r < 0)
		return r;
	if (what == STAT)
		stat_put(out, g, whole, kernel);
	else if (what == STATUS)
		status_put(out, g, kernel);
	else
		schedstat_put(out, g, kernel);
	return 0;
}

/* ---- the memfds --------------------------------------------------------------------------------------------------------- */

static _Atomic bool made; /* relaxed: who has such a descriptor has seen it made */

static long reopen(int fd, int flags) {
	char path[LINK_ROOM];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return SYS4(SYS_openat, AT_FDCWD, path, flags, 0);
}

static long fill(int fd, struct g *g, int what, bool whole) {
	struct content text;
	long r = render(g, what, whole, &text);
	if (r == 0)
		r = SYS4(SYS_pwrite64, fd, text.at, text.n, 0);
	return r < 0 ? r : SYS2(SYS_ftruncate, fd, text.n);
}

/* Whose and which a memfd is, by its name. */
static bool fd_parse(int fd, pid_t *tid, int *what, bool *whole) {
	char path[LINK_ROOM], text[2 * LINK_ROOM];
	const char *at = text;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	long n = SYS4(SYS_readlinkat, AT_FDCWD, path, text, sizeof text - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	if (!skip(&at, "/memfd:" MEMFD_PREFIX))
		return false;
	*tid = skip_number(&at);
	*whole = skip(&at, "w");
	return skip(&at, ":") && (*what = (int)skip_number(&at)) < NAMES;
}

bool taskfile_is(int fd) {
	pid_t tid;
	int what;
	bool whole;
	return atomic_load_explicit(&made, memory_order_relaxed) && fd_parse(fd, &tid, &what, &whole);
}

static struct g *fd_owner(int fd, int *what, bool *whole) {
	pid_t tid;
	if (!fd_parse(fd, &tid, what, whole))
		return NULL;
	struct g *g = thread_meant(tid);
	return g && !thread_ended(g) ? g : NULL;
}

static long refill(int fd) {
	int what;
	bool whole;
	struct g *g = fd_owner(fd, &what, &whole);
	if (!g)
		return -ESRCH;
	long to = reopen(fd, O_WRONLY | O_CLOEXEC);
	if (to < 0)
		return to;
	long r = fill((int)to, g, what, whole);
	SYS1(SYS_close, to);
	return r;
}

long taskfile_read(int fd, void *buf, size_t n) {
	long r = SYS3(SYS_lseek, fd, 0, SEEK_CUR) == 0 ? refill(fd) : 0;
	return r < 0 ? r : SYS3(SYS_read, fd, buf, n);
}

/* The kernel takes what fits, and says that it took all. */
long taskfile_write(int fd, const void *buf, size_t n) {
	char name[THREAD_NAME_BYTES] = "";
	int what;
	bool whole;
	size_t most = n < THREAD_NAME_BYTES - 1 ? n : THREAD_NAME_BYTES - 1;
	long r = SYS4(SYS_pwrite64, fd, buf, most, 0);
	if (r < 0)
		return r;
	struct g *g = fd_owner(fd, &what, &whole);
	if (!g)
		return -ESRCH;
	long from = reopen(fd, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return from;
	r = SYS4(SYS_pread64, from, name, most, 0);
	SYS1(SYS_close, from);
	if (r < 0)
		return r;
	r = thread_name_set(g, name, strlen(name));
	if (r == 0)
		r = refill(fd);
	return r < 0 ? r : (long)n;
}

long taskfile_writev(int fd, const struct iovec *iov, int count) {
	long done = 0;
	for (int i = 0; i < count; i++) {
		long r = taskfile_write(fd, iov[i].iov_base, iov[i].iov_len);
		if (r < 0)
			return done ? done : r;
		done += r;
	}
	return done;
}

/* ---- open --------------------------------------------------------------------------------------------------------------- */

static long memfd_open(struct g *g, int what, bool whole, int flags) {
	char name[LINK_ROOM];
	snprintf(name, sizeof name, MEMFD_PREFIX "%d%s:%d", g->tid, whole ? "w" : "", what);
	long fd = SYS2(SYS_memfd_create, name, 1 /* MFD_CLOEXEC */);
	if (fd < 0)
		return fd;
	atomic_store_explicit(&made, true, memory_order_relaxed);
	long r = fill((int)fd, g, what, whole);
	if (r >= 0)
		r = reopen((int)fd, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW));
	if (r >= 0) { /* the lowest free number */
		long last = SYS3(SYS_dup3, r, fd, flags & O_CLOEXEC);
		SYS1(SYS_close, r);
		r = last;
	}
	if (r < 0)
		SYS1(SYS_close, fd);
	return r;
}

static bool writes(int flags) {
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* A descriptor of what t names; -ENOENT: what the kernel has said is right. */
static long task_open(const struct task_path *t, int flags) {
	char path[PATH_ROOM];
	int what = which(t->rest);
	bool attribute = strncmp(t->rest, "/attr/", 6) == 0 && writes(flags) && t->g == g_goroutine();
	if (attribute)
		pin_self();
	if (what == COMM ? t->g->kind != G_MAIN : what < NAMES && !writes(flags))
		return memfd_open(t->g, what, t->whole, flags);
	if ((t->caller && what != COMM && !attribute) || !path_of_kernel(t, path))
		return -ENOENT;
	return SYS4(SYS_openat, AT_FDCWD, path, flags, 0);
}

/* Main's, other than what it calls the caller's: the kernel's are right where they say nothing about who runs on that kernel thread. The process's stat says what
 * all its threads used. */
static bool kernel_knows(const struct task_path *t) {
	int what = which(t->rest);
	return t->g->kind == G_MAIN && !t->caller && what != STATUS && (what != STAT || t->whole);
}

long taskfile_opened_slow(const char *path, int flags, long r) {
	struct task_path t;
	if (!path_parse(path, &t) || kernel_knows(&t))
		return r;
	long fd = task_open(&t, flags);
	if (r < 0 || fd < 0)
		return r < 0 ? fd : r;
	SYS3(SYS_dup3, fd, r, flags & O_CLOEXEC);
	SYS1(SYS_close, fd);
	return r;
}

/* ---- libc's functions ------------------------------------------------------------------------------------------------ */

static int mode_flags(const char *mode) {
	int flags = *mode == 'r' ? O_RDONLY : O_WRONLY;
	if (*mode == 'a')
		flags |= O_APPEND;
	if (strchr(mode, '+'))
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	return strchr(mode, 'e') ? flags | O_CLOEXEC : flags;
}

/* Inside, libc opens by a function of its own, and waits there for a FIFO's other end. */
SHIM FILE *fopen64(const char *path, const char *mode) {
	struct g *g = io_g();
	struct io_handlers before = io_handlers(g);
	struct task_path t;
	FILE *file;
	do
		file = CALL_REAL(fopen64, path, mode);
	while (unlikely(!file) && errno == EINTR && io_disturbed(g, before, true));
	if (likely(file ? !taskfile_may_be(path) : errno != ENOENT) || !path_parse(path, &t))
		return file;
	int flags = mode_flags(mode);
	int fd = (int)taskfile_opened_slow(path, flags, file ? fileno(file) : -ENOENT);
	if (file || fd < 0)
		return file; /* the stream has its descriptor replaced, and has read nothing yet */
	fd_made(fd, KIND_UNKNOWN, 0, NULL);
	return real.fdopen(fd, mode);
}

SHIM_ALIAS(fopen64, fopen);

/* Calls that ask by a path only. */
#define BY_PATH(ret, failed, name, params, ...)                                                      \
	SHIM ret name params {                                                                       \
		char other[PATH_ROOM];                                                               \
		ret r = CALL_REAL(name, __VA_ARGS__);                                                \
		if (likely(r != (failed)) || errno != ENOENT || !(path = path_instead(path, other))) \
			return r;                                                                    \
		return real.name(__VA_ARGS__);                                                       \
	}

BY_PATH(int, -1, access, (const char *path, int mode), path, mode)
BY_PATH(int, -1, faccessat, (int dir, const char *path, int mode, int flags), dir, path, mode, flags)
BY_PATH(int, -1, stat, (const char *restrict path, struct stat *restrict st), path, st)
BY_PATH(int, -1, stat64, (const char *restrict path, struct stat64 *restrict st), path, st)
BY_PATH(int, -1, lstat, (const char *restrict path, struct stat *restrict st), path, st)
BY_PATH(int, -1, lstat64, (const char *restrict path, struct stat64 *restrict st), path, st)
BY_PATH(int, -1, fstatat, (int dir, const char *restrict path, struct stat *restrict st, int flags), dir, path, st,
	flags)
BY_PATH(int, -1, fstatat64, (int dir, const char *restrict path, struct stat64 *restrict st, int flags), dir, path, st,
	flags)
BY_PATH(int, -1, statx, (int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict st), dir,
	path, flags, mask, st)
BY_PATH(DIR *, NULL, opendir, (const char *path), path)

/* The link that is the caller's own: into *r what the call returns. The kernel's text is not the caller's, and may be longer, so it does not go to `to`. */
static bool link_own(const char *path, char *to, size_t n, ssize_t *r) {
	struct g *g = io_g();
	char text[LINK_ROOM], kernel[LINK_ROOM];
	if (!g || n == 0 || n > INT_MAX || address_bad(path) || likely(strcmp(path, CALLER) != 0))
		return false;
	long said = SYS4(SYS_readlinkat, AT_FDCWD, path, kernel, sizeof kernel);
	size_t length = (size_t)snprintf(text, sizeof text, "%d/task/%d", (int)SYS0(SYS_getpid), (int)g->tid);
	length = length < n ? length : n;
	if (said > 0 && address_refused(to, length, true))
		said = -EFAULT;
	*r = sys_ret(said < 0 ? said : (long)length);
	if (said > 0)
		memcpy(to, text, length);
	return true;
}

/* The same, of links. */
#define LINK_BY_PATH(name, params, ...)                                                                                          \
	SHIM ssize_t name params {                                                                                               \
		char other[PATH_ROOM];                                                                                           \
		ssize_t r;                                                                                                       \
		if (unlikely(link_own(path, to, n, &r)))                                                                         \
			return r;                                                                                                \
		r = CALL_REAL(name, __VA_ARGS__);                                                                                \
		if (likely(r != -1) || errno != ENOENT || !path_instead(path, other))                                            \
			return r;                                                                                                \
		path = other;                                                                                                    \
		return real.name(__VA_ARGS__);                                                                                   \
	}

LINK_BY_PATH(readlink, (const char *restrict path, char *restrict to, size_t n), path, to, n)
LINK_BY_PATH(readlinkat, (int dir, const char *restrict path, char *restrict to, size_t n), dir, path, to, n)
