/* goshim ctl PID COMMAND: talks to the control socket of a process (ctl.c has the other end), and makes its answers readable: code addresses
 * get the names that the files on disk have for them, system calls theirs.
 *
 * The socket is found without a word from the process: the folder is one of few (its own environment tells which; else the usual ones),
 * seen through /proc/PID/root, the name is its pid in its own pid namespace. Who answers must be that very process, as the kernel tells. The usual
 * ones are those of the user that it was when it made its first thread: the one it is now, or root, from whom a daemon's privileges come. */
#include "ctl.h"
#include "launcher.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "elfsym.h"

enum { STATUS_FAILED = 1, STATUS_USAGE = 2 };

#define TRACE_MS_DEFAULT 1000
#define FOLDER_MAX 256
#define FOLDERS_MAX 9

static const char usage_text[] =
	"usage: goshim ctl PID COMMAND\n"
	"\n"
	"Talks to a program that was started with GOSHIM=ctl=1. Commands:\n"
	"\n"
	"  dump              every goroutine: what it waits on, since when, its backtrace; kernel threads; deadlocks\n"
	"  threads           the kernel threads and what each runs\n"
	"  deadlocks         threads that wait for each other\n"
	"  stats             counters and gauges, as JSON\n"
	"  trace [MS]        one line about the scheduler every MS milliseconds, until interrupted\n"
	"  gomaxprocs [N]    print, or change, how many goroutines may run at once\n"
	"  cancel GID        cancel a goroutine and all that it created, as pthread_cancel() does\n"
	"\n"
	"Exit status: 0 done; 1 not done; 2 wrong usage.\n";

struct target {
	int pid;
	int inner_pid; /* in its own pid namespace */
	uid_t uid;
	uid_t owner; /* of its files in /proc: root when it has changed its user */
};

struct folders {
	size_t count;
	char path[FOLDERS_MAX][FOLDER_MAX];
};

/* ---- finding the socket ---------------------------------------------------------------------------------------------- */

/* A small file of /proc/PID; NULL if it cannot be read. Ends with two NULs. */
static char *proc_read(int pid, const char *name) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	FILE *file = fopen(path, "re");
	if (!file)
		return NULL;
	size_t length = 0, room = 1 << 16, n;
	char *text = malloc(room + 2);
	while (text && (n = fread(text + length, 1, room - length, file)) > 0) {
		length += n;
		if (length == room) {
			char *more = realloc(text, (room *= 2) + 2);
			if (!more)
				break;
			text = more;
		}
	}
	fclose(file);
	if (text)
		text[length] = text[length + 1] = '\0';
	return text;
}

/* The value of a variable in a block as of /proc/PID/environ; "" if it is not there. */
static const char *environ_get(const char *block, const char *name) {
	size_t length = strlen(name);
	for (; block && *block; block += strlen(block) + 1) {
		if (strncmp(block, name, length) == 0 && block[length] == '=')
			return block + length + 1;
	}
	return "";
}

/* ctl=/FOLDER in a list of settings. */
static void folder_of_settings(const char *list, char *out, size_t size) {
	for (const char *item = list; *item;) {
		size_t n = strcspn(item, ",");
		if (strncmp(item, "ctl=/", 5) == 0)
			snprintf(out, size, "%.*s", (int)(n - 4), item + 4);
		item += n + (item[n] == ',');
	}
}

/* A connection to the socket in `folder` as the target sees it; -1, errno. */
static int connect_in(const struct target *t, const char *folder) {
	char path[PATH_MAX + 64];
	if (!*folder) {
		errno = ENOENT;
		return -1;
	}
	snprintf(path, sizeof path, "/proc/%d/root%s", t->pid, folder);
	int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%d.sock", dir, t->inner_pid);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		int error = errno;
		close(fd);
		errno = error;
		fd = -1;
	}
	int error = errno;
	close(dir);
	errno = error;
	return fd;
}

/* Who listens must be the target: the folder of another user may hold anything. */
static bool peer_is(int fd, const struct target *t) {
	struct ucred peer;
	socklen_t size = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == t->pid;
}

static void folders_of_user(struct folders *f, uid_t uid) {
	snprintf(f->path[f->count++], FOLDER_MAX, "/run/user/%u/" CTL_FOLDER, uid);
	snprintf(f->path[f->count++], FOLDER_MAX, "/tmp/" CTL_FOLDER "-%u", uid);
}

static void folders_list(const struct target *t, struct folders *f) {
	char *block = proc_read(t->pid, "environ");
	*f = (struct folders){.count = 1};
	folder_of_settings(environ_get(block, "GOSHIM"), f->path[0], FOLDER_MAX);
	const char *runtime[] = {environ_get(block, "XDG_RUNTIME_DIR"), getenv("XDG_RUNTIME_DIR")};
	for (int i = 0; i < 2; i++) {
		if (runtime[i] && runtime[i][0] == '/')
			snprintf(f->path[f->count++], FOLDER_MAX, "%.*s/" CTL_FOLDER, FOLDER_MAX - 16, runtime[i]);
	}
	free(block);
	folders_of_user(f, t->uid);
	if (t->owner != t->uid)
		folders_of_user(f, t->owner);
	if (geteuid() == 0 && t->owner != 0 && t->uid != 0)
		folders_of_user(f, 0);
}

static int complain_no_socket(const struct target *t, const struct folders *f) {
	char list[FOLDERS_MAX * (FOLDER_MAX + 2) + 1] = "";
	for (size_t i = 0; i < f->count; i++) {
		size_t same = 0;
		while (strcmp(f->path[same], f->path[i]) != 0)
			same++;
		if (f->path[i][0] && same == i)
			strcat(strcat(list, *list ? ", " : ""), f->path[i]);
	}
	return complain("process %d has no control socket in %s: it must be started with GOSHIM=ctl=1, and have made a thread; if it was, "
			"its stderr says why it could not use a folder", t->pid, list);
}

static int connect_target(struct target *t) {
	struct folders folders;
	folders_list(t, &folders);
	bool refused = false, denied = false;
	for (size_t i = 0; i < folders.count; i++) {
		int fd = connect_in(t, folders.path[i]);
		if (fd >= 0 && peer_is(fd, t))
			return fd;
		if (fd >= 0)
			close(fd);
		refused |= fd < 0 && errno == ECONNREFUSED;
		denied |= fd < 0 && (errno == EACCES || errno == EPERM);
	}
	if (denied)
		return complain("process %d belongs to another user", t->pid);
	char *maps = proc_read(t->pid, "maps");
	bool preloaded = !maps || strstr(maps, "/libgoshim.so");
	free(maps);
	if (!maps)
		return complain("process %d belongs to another user, or lets nobody look at it", t->pid);
	if (!preloaded)
		return complain("process %d does not run under goshim", t->pid);
	if (refused)
		return complain("process %d left its control socket (it executed another program, which has made no "
				"thread yet)",
				t->pid);
	return complain_no_socket(t, &folders);
}

/* 0, or an exit status and a line on stderr. */
static int target_find(const char *text, struct target *t) {
	char *end;
	long pid = strtol(text, &end, 10);
	struct stat st;
	char path[64];
	if (!isdigit((unsigned char)*text) || *end || pid < 1 || pid > INT_MAX) {
		complain("%s: not a process id (see goshim ctl --help)", text);
		return STATUS_USAGE;
	}
	t->pid = t->inner_pid = (int)pid;
	snprintf(path, sizeof path, "/proc/%d", t->pid);
	if (stat(path, &st) != 0) {
		complain("%d: no such process", t->pid);
		return STATUS_FAILED;
	}
	t->uid = t->owner = st.st_uid;
	char *status = proc_read(t->pid, "status"), *line = status ? strstr(status, "\nUid:") : NULL;
	if (line)
		sscanf(line, "\nUid: %*u %u", &t->uid); /* the effective one */
	line = status ? strstr(status, "\nNSpid:") : NULL;
	if (line) {
		line[1 + strcspn(line + 1, "\n")] = '\0';
		char *last = strrchr(line, '\t');
		if (last && atoi(last) > 0)
			t->inner_pid = atoi(last);
	}
	free(status);
	return 0;
}

/* ---- making replies readable -------------------------------------------------------------------------------------------- */

/* System calls that a thread is found in. */
static const char *syscall_name(long number) {
	static const struct {
		long number;
		const char *name;
	} names[] = {
#define NAME(call) {SYS_##call, #call}
		NAME(read),
		NAME(write),
		NAME(openat),
		NAME(close),
		NAME(ioctl),
		NAME(pread64),
		NAME(pwrite64),
		NAME(readv),
		NAME(writev),
		NAME(preadv2),
		NAME(pwritev2),
		NAME(ppoll),
		NAME(pselect6),
		NAME(epoll_pwait),
		NAME(futex),
		NAME(nanosleep),
		NAME(clock_nanosleep),
		NAME(wait4),
		NAME(waitid),
		NAME(flock),
		NAME(fcntl),
		NAME(fsync),
		NAME(fdatasync),
		NAME(sendto),
		NAME(recvfrom),
		NAME(sendmsg),
		NAME(recvmsg),
		NAME(accept),
		NAME(accept4),
		NAME(connect),
		NAME(sendfile),
		NAME(splice),
		NAME(rt_sigtimedwait),
		NAME(rt_sigsuspend),
		NAME(semtimedop),
		NAME(semop),
		NAME(msgrcv),
		NAME(msgsnd),
		NAME(mq_timedreceive),
		NAME(mq_timedsend),
		NAME(io_getevents),
		NAME(getrandom),
		NAME(sched_yield),
		NAME(fallocate),
		NAME(ftruncate),
		NAME(mmap),
		NAME(munmap),
		NAME(madvise),
		NAME(mprotect),
		NAME(clone),
		NAME(execve),
		NAME(restart_syscall),
		NAME(msync),
#ifdef SYS_poll
		NAME(open),
		NAME(poll),
		NAME(select),
		NAME(pause),
		NAME(epoll_wait),
		NAME(stat),
		NAME(vfork),
		NAME(fork),
#endif
#ifdef SYS_epoll_pwait2
		NAME(epoll_pwait2),
#endif
#undef NAME
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (names[i].number == number)
			return names[i].name;
	}
	return NULL;
}

/* "    #3  0x7f... /lib/libc.so.6+0x9014" with a name, if there is one. False: not such a line. */
static bool frame_print(const struct target *t, const char *line) {
	int n, at = 0;
	unsigned long long pc, offset;
	uint64_t into;
	char path[PATH_MAX + 64], program[PATH_MAX];
	if (sscanf(line, "    #%d %llx %n", &n, &pc, &at) != 2 || !at)
		return false;
	const char *file = line + at, *plus = strrchr(file, '+');
	if (!plus || sscanf(plus, "+%llx", &offset) != 1)
		return false;
	int length = (int)(plus - file);
	if (strncmp(file, "/proc/self/exe", (size_t)length) == 0) {
		snprintf(path, sizeof path, "/proc/%d/exe", t->pid);
		ssize_t n_link = readlink(path, program, sizeof program);
		if (n_link > 0) {
			file = program;
			length = (int)n_link;
		}
	} else {
		snprintf(path, sizeof path, "/proc/%d/root%.*s", t->pid, length, file);
	}
	/* A return address may lie behind the function, when its last instruction is the call. */
	const char *name = elfsym_find(path, offset - (n > 0), &into);
	if (name)
		printf("    #%-3d %#llx  %s+%#llx (%.*s)\n", n, pc, name, (unsigned long long)into + (n > 0), length,
		       file);
	else
		printf("    #%-3d %#llx  +%#llx (%.*s)\n", n, pc, offset, length, file);
	return true;
}

static void line_print(const struct target *t, const char *line) {
	static const char marker[] = "in system call ";
	if (frame_print(t, line))
		return;
	const char *call = strstr(line, marker);
	const char *name = call ? syscall_name(atol(call + sizeof marker - 1)) : NULL;
	if (name) {
		const char *rest = call + sizeof marker - 1;
		rest += strspn(rest, "0123456789");
		printf("%.*s%s%s\n", (int)(call + sizeof marker - 1 - line), line, name, rest);
	} else {
		puts(line);
	}
}

/* ---- one request --------------------------------------------------------------------------------------------------------- */

/* Prints the reply, "not done" on stderr: exit status. */
static int reply_print(const struct target *t, int fd) {
	FILE *in = fdopen(fd, "r");
	char status = 0, *whole = NULL;
	size_t room = 0;
	if (!in)
		return STATUS_FAILED;
	ssize_t length = getdelim(&whole, &room, '\0', in);
	if (length > 0 && whole[length - 1] == '\0')
		status = (char)fgetc(in);
	fclose(in);
	if (status != CTL_DONE && status != CTL_FAILED) {
		complain("process %d ended the conversation", t->pid);
		free(whole);
		return STATUS_FAILED;
	}
	if (status == CTL_FAILED) {
		fprintf(stderr, "goshim: process %d: %s", t->pid, whole);
		free(whole);
		return STATUS_FAILED;
	}
	for (char *at = whole; *at;) {
		size_t n = strcspn(at, "\n");
		bool last = at[n] == '\0';
		at[n] = '\0';
		line_print(t, at);
		at += last ? n : n + 1;
	}
	free(whole);
	return fflush(stdout) == 0 ? 0 : STATUS_FAILED;
}

static int request(struct target *t, const char *line) {
	int fd = connect_target(t);
	if (fd < 0)
		return STATUS_FAILED;
	char text[CTL_REQUEST_MAX];
	int n = snprintf(text, sizeof text, "%s\n", line);
	if (n >= (int)sizeof text || send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) {
		close(fd);
		complain("process %d: %s", t->pid, n >= (int)sizeof text ? "the command is too long" : strerror(errno));
		return STATUS_FAILED;
	}
	return reply_print(t, fd);
}

static bool is_number(const char *text) {
	return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
}

struct command {
	const char *name;
	int least, most; /* arguments, all of them numbers */
	const char *argument;
	bool not_zero;
};

/* False, and a line on stderr. */
static bool arguments_check(const struct command *c, int argc, char **argv) {
	if (argc < c->least)
		complain("%s needs %s (see goshim ctl --help)", c->name, c->argument);
	else if (argc > c->most)
		complain("%s: %s takes no such argument (see goshim ctl --help)", argv[c->most], c->name);
	else if (argc > 0 && !is_number(argv[0]))
		complain("%s %s: %s must be a number (see goshim ctl --help)", c->name, argv[0], c->argument);
	else if (argc > 0 && c->not_zero && atoi(argv[0]) == 0)
		complain("%s %s: must be a number of 1 or more", c->name, argv[0]);
	else
		return true;
	return false;
}

int ctl_client(int argc, char **argv) {
	static const struct command commands[] = {
		{"dump", 0, 0, NULL, false},    {"threads", 0, 0, NULL, false}, {"deadlocks", 0, 0, NULL, false},
		{"stats", 0, 0, NULL, false},   {"trace", 0, 1, "MS", true},    {"gomaxprocs", 0, 1, "N", false},
		{"cancel", 1, 1, "GID", false},
	};
	struct target t;
	if (argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "help") == 0)) {
		fputs(usage_text, stdout);
		return fflush(stdout) == 0 ? 0 : STATUS_FAILED;
	}
	if (argc < 2) {
		fputs(usage_text, stderr);
		return STATUS_USAGE;
	}
	size_t i = 0, count = sizeof commands / sizeof commands[0];
	while (i < count && strcmp(argv[1], commands[i].name) != 0)
		i++;
	if (i == count) {
		complain("%s: not a command (see goshim ctl --help)", argv[1]);
		return STATUS_USAGE;
	}
	if (!arguments_check(&commands[i], argc - 2, argv + 2))
		return STATUS_USAGE;
	int wrong = target_find(argv[0], &t);
	if (wrong)
		return wrong;
	if (strcmp(argv[1], "trace") == 0) {
		unsigned ms = argc == 3 ? (unsigned)atoi(argv[2]) : TRACE_MS_DEFAULT;
		struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l};
		int status;
		while ((status = request(&t, "trace")) == 0)
			nanosleep(&pause, NULL);
		return status;
	}
	char line[CTL_REQUEST_MAX];
	snprintf(line, sizeof line, "%s%s%s", argv[1], argc == 3 ? " " : "", argc == 3 ? argv[2] : "");
	return request(&t, line);
}
