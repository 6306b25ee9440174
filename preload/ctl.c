/* The control socket: how somebody outside looks into a running program, and what he may change.
 *
 * Off unless GOSHIM=ctl=1 (or ctl=/FOLDER). Then, with the runtime, one more kernel thread starts: no goroutine, every signal masked, no P. It
 * listens on a Unix socket in a folder of its own and serves one connection after another, a line of request, a text of reply.
 *
 * Its descriptors. The thread leaves the process's descriptor table (close_range with CLOSE_RANGE_UNSHARE) before it opens anything. So the
 * program cannot see, close, inherit or run into what it opens; a fork's child has none of it; and `close everything` loops do not end it. That is
 * also why it may open files of /proc at any time: "the lowest free number" of the program does not change. Rejected: descriptors above
 * the program's, hidden by the shims as netpoll's are: each temporary one would still be seen by whoever makes system calls itself.
 *
 * Who may ask (SEC-12). The folder is $XDG_RUNTIME_DIR/goshim, or where that cannot be had /tmp/goshim-UID, made 0700, opened without following links, refused unless it is ours
 * and closed to others; the socket is 0600; and the peer's uid, as the kernel tells it, must be ours or root. A request can do what its sender could
 * do by ptrace, and less.
 *
 * The file is removed at exit. A process that is killed, or executes another program, leaves it: the next one with its pid replaces it, and the
 * client tells it from a live one because nobody listens.
 *
 * Locks: none. Everything it calls is safe while any goroutine holds anything (core/dump.c), or takes the runtime's locks in their order. */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../core/chaos.h"
#include "../core/dump.h"
#include "../core/proc.h"
#include "../core/procs.h"
#include "../core/stats.h"
#include "../shims/inspect.h"
#include "../shims/thread.h"
#include "entry.h"
#include "settings.h"

#define PEER_TIMEOUT_S 5 /* a peer that does not read or write this long is let go, and one that has not said all of its line */
#define BACKLOG 4

static struct g ctl_g;
static _Atomic uint32_t up; /* futex word: 1 listens, 2 failed */
static char up_why[300];
static char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 64];
static int32_t owner_pid; /* whose socket_path is; 0: nobody's */

/* ---- the socket ------------------------------------------------------------------------------------------------------ */

static char *put_number(char *to, uint64_t n) {
	char digits[24], *d = digits + sizeof digits;
	do
		*--d = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	memcpy(to, d, (size_t)(digits + sizeof digits - d));
	to += digits + sizeof digits - d;
	*to = '\0';
	return to;
}

/* The folder of that path, open, or a negative number and *why. Made if need be; ours and nobody else's, or refused. */
static long folder_try(const char *path, const char **why) {
	SYS3(SYS_mkdirat, AT_FDCWD, path, 0700);
	*why = "cannot open the folder";
	long fd = SYS4(SYS_openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	struct stat st;
	if (fd < 0)
		return fd;
	if (SYS4(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH) < 0 || st.st_uid != (uid_t)SYS0(SYS_geteuid) ||
	    (st.st_mode & 077)) {
		*why = "the folder is not this user's alone (it must be 0700)";
		SYS1(SYS_close, fd);
		return -EBADF; /* says nothing that *why does not */
	}
	return fd;
}

/* The one that the user named; else the first of two that can be had. */
static long folder_open(char *path, const char **why) {
	if (settings.ctl_folder[0])
		return folder_try(strcpy(path, settings.ctl_folder), why);
	long fd = settings.runtime_dir[0] ? folder_try(strcat(strcpy(path, settings.runtime_dir), "/" CTL_FOLDER), why) : -ENOENT;
	if (fd >= 0)
		return fd;
	strcpy(path, "/tmp/" CTL_FOLDER "-");
	put_number(path + strlen(path), (uint64_t)SYS0(SYS_geteuid));
	return folder_try(path, why);
}

/* A listening socket, or a negative number and *why. */
static long socket_open(const char **why) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	long folder = folder_open(socket_path, why);
	if (folder < 0)
		return folder;
	char name[32];
	strcpy(put_number(name, (uint64_t)SYS0(SYS_getpid)), ".sock");
	strcat(strcat(socket_path, "/"), name);
	/* By the folder that was looked at, whatever its path names now. thread-self: the table is this thread's. */
	char *end = put_number(address.sun_path + strlen(strcpy(address.sun_path, "/proc/thread-self/fd/")),
			       (uint64_t)folder);
	strcat(strcat(end, "/"), name);
	*why = "cannot make the socket";
	long fd = SYS3(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	SYS3(SYS_unlinkat, folder, name, 0); /* of a process that had this pid */
	long r = SYS3(SYS_bind, fd, &address, sizeof address);
	if (r == 0)
		r = SYS3(SYS_fchmodat, folder, name, 0600);
	if (r == 0)
		r = SYS2(SYS_listen, fd, BACKLOG);
	SYS1(SYS_close, folder);
	if (r < 0)
		return r;
	__atomic_store_n(&owner_pid, (int32_t)SYS0(SYS_getpid), __ATOMIC_RELAXED);
	return fd;
}

/* ---- requests ----------------------------------------------------------------------------------------------------------- */

/* Replies are text into t; true: it was done. */
struct command {
	const char *name;
	bool (*run)(struct text *t, const char *argument); /* argument: "" none */
};

static bool run_dump(struct text *t, const char *argument) {
	(void)argument;
	dump_all(t);
	return true;
}

static bool run_threads(struct text *t, const char *argument) {
	(void)argument;
	dump_threads(t);
	return true;
}

static bool run_deadlocks(struct text *t, const char *argument) {
	(void)argument;
	if (dump_deadlocks(t) == 0)
		text_str(t, "no deadlock\n");
	return true;
}

static bool run_stats(struct text *t, const char *argument) {
	(void)argument;
	stats_json(t);
	return true;
}

static bool run_trace(struct text *t, const char *argument) {
	(void)argument;
	stats_trace_line(t, stats_uptime());
	return true;
}

/* 0: not a number. */
static uint32_t number_of(const char *text) {
	uint32_t n = 0;
	for (; *text >= '0' && *text <= '9' && n < 100000000; text++)
		n = n * 10 + (uint32_t)(*text - '0');
	return *text ? 0 : n;
}

static bool run_gomaxprocs(struct text *t, const char *argument) {
	uint32_t n = number_of(argument);
	if (*argument && !n) {
		text_str(t, "gomaxprocs: must be a number of 1 or more\n");
		return false;
	}
	int old = n ? procs_set(n) : 0;
	if (old < 0) {
		text_str(t, "gomaxprocs: out of memory\n");
		return false;
	}
	if (n) {
		text_dec(t, old);
		text_str(t, " -> ");
	}
	text_dec(t, __atomic_load_n(&sched_config.gomaxprocs, __ATOMIC_RELAXED));
	text_str(t, "\n");
	return true;
}

static bool run_cancel(struct text *t, const char *argument) {
	uint32_t id = number_of(argument);
	unsigned n = id ? inspect_cancel(id) : 0;
	if (!n) {
		text_str(t, "cancel: there is no such goroutine\n");
		return false;
	}
	text_str(t, "cancelled ");
	text_dec(t, n);
	text_str(t, n == 1 ? " goroutine\n" : " goroutines\n");
	return true;
}

static const struct command commands[] = {
	{"cancel", run_cancel},       {"gomaxprocs", run_gomaxprocs}, {"dump", run_dump},   {"threads", run_threads},
	{"deadlocks", run_deadlocks}, {"stats", run_stats},           {"trace", run_trace},
};

static bool request_run(struct text *t, char *line) {
	char *argument = strchr(line, ' ');
	if (argument)
		*argument++ = '\0';
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(line, commands[i].name) == 0)
			return commands[i].run(t, argument ? argument : "");
	}
	text_str(t, "unknown command; this library knows:");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		text_str(t, " ");
		text_str(t, commands[i].name);
	}
	text_str(t, "\n");
	return false;
}

/* One line without its end; false: the peer is gone, slow, or talks too much. */
static bool request_read(int fd, char line[CTL_REQUEST_MAX]) {
	size_t length = 0;
	int64_t begin = nanotime();
	while (length < CTL_REQUEST_MAX && nanotime() - begin < PEER_TIMEOUT_S * 1000000000ll) {
		long n = SYS3(SYS_read, fd, line + length, CTL_REQUEST_MAX - length);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return false;
		length += (size_t)n;
		char *end = memchr(line, '\n', length);
		if (end) {
			*end = '\0';
			return true;
		}
	}
	return false;
}

static bool peer_may(int fd) {
	struct ucred peer;
	socklen_t size = sizeof peer;
	return SYS5(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == 0 || peer.uid == (uid_t)SYS0(SYS_geteuid));
}

static void connection_serve(int fd) {
	static const struct timeval limit = {.tv_sec = PEER_TIMEOUT_S};
	char line[CTL_REQUEST_MAX], end[2] = {'\0', CTL_FAILED};
	struct text t;
	t.fd = fd;
	t.is_socket = true;
	t.failed = false;
	t.length = 0;
	SYS5(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	SYS5(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (!peer_may(fd))
		text_str(&t, "not yours\n");
	else if (!request_read(fd, line))
		return;
	else if (request_run(&t, line))
		end[1] = CTL_DONE;
	text_bytes(&t, end, sizeof end);
	text_flush(&t);
}

/* ---- the thread -------------------------------------------------------------------------------------------------------- */

static void why_write(const char *why, long error) {
	const char *text = goshim_error_text(error);
	const char *const parts[] = {socket_path, socket_path[0] ? ": " : "", why, *text ? ": " : "", text};
	up_why[0] = '\0';
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		strncat(up_why, parts[i], sizeof up_why - strlen(up_why) - 1);
}

static void *ctl_main(void *arg) {
	(void)arg;
	ctl_g = (struct g){.kind = G_FOREIGN, .state = GS_RUNNING, .tid = (int32_t)SYS0(SYS_gettid)};
	ctl_g.ctx.tp = arch_tp();
	tls_g = &ctl_g;
	SYS2(SYS_prctl, PR_SET_NAME, "goshim-ctl");
	const char *why = "the kernel does not give a thread its own descriptors (close_range, Linux 5.9)";
	long refused = MAY_FAIL(-EMFILE, 0); /* for the socket: there is no stderr to say so any more then */
	long fd = MAY_FAIL(-EINVAL, SYS3(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE));
	if (fd == 0)
		fd = refused < 0 ? refused : socket_open(&why);
	if (fd < 0)
		why_write(why, fd);
	/* release: publishes up_why and socket_path to ctl_start() */
	atomic_store_explicit(&up, fd < 0 ? 2 : 1, memory_order_release);
	SYS3(SYS_futex, &up, FUTEX_WAKE_PRIVATE, 1);
	while (fd >= 0) {
		long peer = SYS4(SYS_accept4, fd, 0, 0, SOCK_CLOEXEC);
		if (peer >= 0) {
			connection_serve((int)peer);
			SYS1(SYS_close, peer);
		} else if (peer != -EINTR && peer != -ECONNABORTED) {
			break; /* out of memory, or worse: leave the program alone */
		}
	}
	thread_kernel_ends();
	return NULL;
}

/* All signals blocked: nothing of the program's may land there (SIG-4). */
static int thread_start(void *(*fn)(void *)) {
	uint64_t all = ~(3ull << 31),
		 old; /* but libc's own two: setuid() waits for an answer from every kernel thread */
	SYS4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, 8);
	int r = MAY_FAIL(-EAGAIN, sched_thread_create(fn, NULL));
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
	return r;
}

static void server_start(void) {
	atomic_store_explicit(&up, 0, memory_order_relaxed);
	int r = thread_start(ctl_main);
	/* Once pthread_create() has returned the socket is there: whoever started the program can rely on it. */
	while (r == 0 && atomic_load_explicit(&up, memory_order_acquire) == 0)
		SYS4(SYS_futex, &up, FUTEX_WAIT_PRIVATE, 0, 0);
	if (r < 0 || atomic_load_explicit(&up, memory_order_relaxed) == 2)
		goshim_say("GOSHIM=ctl: no control socket: ", r < 0 ? "the kernel refuses a thread" : up_why);
}

/* ---- GOSHIM=schedtrace ---------------------------------------------------------------------------------------------------- */

/* A thread of its own: sysmon sleeps for good while the process is idle, and this one must see the program's stderr. */
static void *trace_main(void *arg) {
	static struct g trace_g;
	(void)arg;
	trace_g = (struct g){.kind = G_FOREIGN, .state = GS_RUNNING, .tid = (int32_t)SYS0(SYS_gettid)};
	trace_g.ctx.tp = arch_tp();
	tls_g = &trace_g;
	SYS2(SYS_prctl, PR_SET_NAME, "goshim-trace");
	struct timespec period = {settings.schedtrace_ms / 1000, settings.schedtrace_ms % 1000 * 1000000};
	for (;;) {
		struct text t;
		SYS2(SYS_nanosleep, &period, 0);
		t.fd = 2;
		t.is_socket = t.failed = false;
		t.length = 0;
		stats_trace_line(&t, stats_uptime());
		text_flush(&t);
	}
	return NULL;
}

void ctl_start(void) {
	if (settings.ctl)
		server_start();
	if (settings.schedtrace_ms && thread_start(trace_main) < 0)
		goshim_say("no schedtrace: ", "the kernel refuses a thread");
}

__attribute__((destructor)) static void ctl_remove(void) {
	if (owner_pid && owner_pid == (int32_t)SYS0(SYS_getpid))
		SYS3(SYS_unlinkat, AT_FDCWD, socket_path, 0);
}
