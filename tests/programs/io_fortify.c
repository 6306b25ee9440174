/* The calls as programs built with -D_FORTIFY_SOURCE make them (CAN-9): they park and return as the plain ones, end with EINTR and by cancellation, and
 * a buffer that is too small for the count ends the program, with libc's words. The program's own list of imports says that it made these calls. */
#include <elf.h>
#include <grp.h>
#include <limits.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/select.h>
#include <wchar.h>

#include "io_test.h"

static int fds[2], pipes[2];

/* ---- what the program imports ---------------------------------------------------------------------------------------- */

static int find(struct dl_phdr_info *info, size_t size, void *name) {
	const ElfW(Sym) *symbols = NULL;
	const char *strings = NULL;
	const uint32_t *hash = NULL;
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			for (const ElfW(Dyn) *d = (void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr); d->d_tag != DT_NULL; d++) {
				if (d->d_tag == DT_SYMTAB)
					symbols = (void *)d->d_un.d_ptr;
				else if (d->d_tag == DT_STRTAB)
					strings = (void *)d->d_un.d_ptr;
				else if (d->d_tag == DT_GNU_HASH)
					hash = (void *)d->d_un.d_ptr;
			}
	/* What is imported comes before what the hash table lists, and the program before its libraries. */
	for (uint32_t i = 0; i < hash[1]; i++)
		if (strcmp(strings + symbols[i].st_name, name) == 0)
			return 1;
	return -1;
}

static void imports(void) {
	static const char *const names[] = {
		"__read_chk", "__pread_chk", "__recv_chk", "__recvfrom_chk", "__poll_chk", "__ppoll_chk", "__fdelt_chk", "__longjmp_chk", "__fgets_chk",
		"__fread_chk", "__fgetws_chk", "__fprintf_chk", "__vfprintf_chk", "__dprintf_chk", "__snprintf_chk", "__open_2", "__openat_2", "__getgroups_chk",
		"__readlink_chk", "__getcwd_chk", "__realpath_chk", "__confstr_chk", "__gethostname_chk", "__memcpy_chk", "__strcpy_chk"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (dl_iterate_phdr(find, (void *)names[i]) != 1)
			printf("FAIL: %s is not imported\n", names[i]), failures++;
}

/* ---- waiting -------------------------------------------------------------------------------------------------------- */

static void *late(void *arg) {
	settle();
	write_all(*(int *)arg, "fortify", 7);
	return NULL;
}

static void *late_line(void *arg) {
	settle();
	write_all(*(int *)arg, "fortify\n", 8);
	return NULL;
}

/* A count that the compiler does not know, a buffer that it does: the checked twin is called. */
static size_t unknown(size_t n) {
	__asm__ volatile("" : "+r"(n));
	return n;
}

enum { WAYS = 7 };
static volatile int way, cleaned;
static volatile long result;
static volatile int error;
static int returned;

static long waits(void) {
	char buf[64];
	wchar_t wide[64];
	struct pollfd p[2] = {{.fd = pipes[0], .events = POLLIN}, {.fd = -1}};
	FILE *f;
	switch (way) {
	case 0: return read(pipes[0], buf, unknown(64));
	case 1: return recv(fds[0], buf, unknown(64), 0);
	case 2: return recvfrom(fds[0], buf, unknown(64), 0, NULL, NULL);
	case 3: return poll(p, unknown(2), -1);
	case 4: return ppoll(p, unknown(2), NULL, NULL);
	case 5: f = fdopen(dup(pipes[0]), "r"); return fgets(buf, (int)unknown(64), f) ? 1 : -1;
	default: f = fdopen(dup(pipes[0]), "r"); return fgetws(wide, (int)unknown(64), f) ? 1 : -1;
	}
}

static void clean(void *arg) { (void)arg; cleaned++; }

static void *waiter(void *arg) {
	pthread_cleanup_push(clean, NULL);
	errno = 0;
	result = waits();
	error = errno;
	pthread_cleanup_pop(0);
	__atomic_store_n(&returned, 1, __ATOMIC_SEQ_CST);
	return arg;
}

static void on_signal(int sig) { (void)sig; }

static void ended(void) {
	struct sigaction act = {.sa_handler = on_signal};
	sigaction(SIGUSR1, &act, NULL);
	EQ(pipe(pipes), 0);
	for (way = 0; way < WAYS; way++) {
		returned = cleaned = 0;
		pthread_t t = start(waiter, NULL);
		while (!__atomic_load_n(&returned, __ATOMIC_SEQ_CST)) { /* a signal may come before the call */
			pthread_kill(t, SIGUSR1);
			usleep(1000);
		}
		EQ(join(t) == PTHREAD_CANCELED, 0);
		EQ(result, -1);
		EQ(error, EINTR);
		for (int early = 0; early < 2; early++) {
			t = start(waiter, NULL);
			if (!early)
				settle();
			EQ(pthread_cancel(t), 0);
			EQ(join(t) == PTHREAD_CANCELED, 1);
			EQ(cleaned, 1 + early);
		}
	}
}

/* ---- too little room ------------------------------------------------------------------------------------------------ */

static void dies(int which, int signal, const char *words) {
	int said[2];
	char text[256] = "";
	EQ(pipe(said), 0);
	pid_t child = fork();
	if (child == 0) {
		char small[8];
		gid_t groups[2];
		fd_set set;
		struct pollfd p[1] = {{.fd = fds[0], .events = POLLIN}};
		dup2(said[1], 2);
		close(said[1]);
		switch (which) {
		case 0: _exit((int)read(fds[0], small, unknown(100)));
		case 1: _exit((int)recv(fds[0], small, unknown(100), 0));
		case 2: _exit(poll(p, unknown(5), 0));
		case 3: _exit((int)pread(fds[0], small, unknown(100), 0));
		case 4: _exit((int)recvfrom(fds[0], small, unknown(100), 0, NULL, NULL));
		case 5: _exit(ppoll(p, unknown(5), NULL, NULL));
		case 6: FD_SET((int)unknown(1024), &set); _exit(0);
		case 7: FD_ZERO(&set); _exit(FD_ISSET((int)unknown(5000), &set));
		case 8: _exit(getgroups((int)unknown(3), groups));
		case 9: _exit(open("/dev/null", (int)unknown(O_CREAT | O_RDWR)));
		case 10: _exit(openat(AT_FDCWD, "/dev/null", (int)unknown(O_CREAT | O_RDWR)));
		case 11: _exit(readlink("/proc/self/exe", small, unknown(100)) > 0);
		case 12: _exit(getcwd(small, unknown(100)) != NULL);
		case 13: _exit(fread(small, 1, unknown(100), stdin) > 0);
		case 14: _exit(fgets(small, (int)unknown(100), fopen("/proc/version", "r")) != NULL);
		case 15: memcpy(small, "0123456789", unknown(10)); _exit(small[0]);
		case 16: strcpy(small, (const char *)unknown((size_t)"0123456789")); _exit(small[0]);
		default: _exit(gethostname(small, unknown(100)));
		}
	}
	int status = 0;
	close(said[1]);
	waitpid(child, &status, 0);
	EQ(WIFSIGNALED(status) ? WTERMSIG(status) : 0, signal);
	ssize_t n = read(said[0], text, sizeof text - 1);
	EQ(n > 0 && strcmp(text, words) == 0, 1);
	if (n < 0 || strcmp(text, words) != 0)
		printf("%d says \"%s\"\n", which, text);
	close(said[0]);
}

/* In a thread, and on main. */
static void *overflows(void *arg) {
	for (int i = 0; i <= 17; i++)
		dies(i, SIGABRT, i == 6 || i == 7 ? "*** bit out of range 0 - FD_SETSIZE on fd_set ***: terminated\n" : i == 9    ? "*** invalid open call: O_CREAT or O_TMPFILE without mode ***: terminated\n"
		                 : i == 10 ? "*** invalid openat call: O_CREAT or O_TMPFILE without mode ***: terminated\n"
		                           : "*** buffer overflow detected ***: terminated\n");
	return arg;
}

/* ---- room enough ----------------------------------------------------------------------------------------------------- */

static long with_list(FILE *f, const char *format, ...) {
	va_list list;
	va_start(list, format);
	long r = vfprintf(f, format, list);
	va_end(list);
	return r;
}

static void *enough(void *arg) {
	char path[PATH_MAX], buf[256];
	gid_t groups[NGROUPS_MAX > 1000 ? 1000 : NGROUPS_MAX];
	jmp_buf env;
	fd_set set;
	FILE *f = fopen("/dev/null", "w");
	FD_ZERO(&set);
	FD_SET((int)unknown(5), &set);
	EQ(FD_ISSET((int)unknown(5), &set) != 0, 1);
	EQ(getgroups((int)unknown(1000), groups) >= 0, 1);
	EQ(readlink("/proc/self/exe", path, unknown(sizeof path)) > 0, 1);
	EQ(getcwd(path, unknown(sizeof path)) != NULL, 1);
	EQ(realpath((const char *)unknown((size_t)"/"), path) != NULL && strcmp(path, "/") == 0, 1);
	EQ(confstr((int)unknown(_CS_PATH), buf, unknown(sizeof buf)) > 0, 1);
	EQ(gethostname(buf, unknown(sizeof buf)), 0);
	EQ(close(open("/dev/null", (int)unknown(O_RDONLY))), 0);
	EQ(close(openat(AT_FDCWD, "/dev/null", (int)unknown(O_RDONLY))), 0);
	EQ(fprintf(f, "%d", (int)unknown(7)), 1);
	EQ(with_list(f, "%s", "list"), 4);
	EQ(dprintf(fileno(f), "%d", (int)unknown(77)), 2);
	EQ(snprintf(buf, unknown(sizeof buf), "%d", (int)unknown(777)), 3);
	EQ(fclose(f), 0);
	volatile int turns = 0;
	if (setjmp(env) == 0 || turns < 3) {
		turns++;
		longjmp(env, 1);
	}
	EQ(turns, 3);
	return arg;
}

int main(void) {
	char buf[64];
	become_threaded();
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	pthread_t t = start(late, &fds[1]);
	EQ(read(fds[0], buf, unknown(64)), 7);
	join(t);
	t = start(late, &fds[1]);
	EQ(recv(fds[0], buf, unknown(64), 0), 7);
	join(t);
	t = start(late, &fds[1]);
	EQ(recvfrom(fds[0], buf, unknown(64), 0, NULL, NULL), 7);
	join(t);
	FILE *f = fdopen(dup(fds[0]), "r");
	t = start(late_line, &fds[1]);
	EQ(fgets(buf, (int)unknown(64), f) == buf, 1);
	join(t);
	t = start(late, &fds[1]);
	EQ(fread(buf, 1, unknown(7), f), 7);
	join(t);
	fclose(f);
	struct pollfd p[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = -1}};
	EQ(poll(p, unknown(2), 10), 0);
	struct timespec ts = {0, 10000000};
	EQ(ppoll(p, unknown(2), &ts, NULL), 0);
	t = start(late, &fds[1]);
	EQ(poll(p, unknown(2), -1), 1);
	join(t);
	EQ(read(fds[0], buf, unknown(64)), 7);
	int file = open("/proc/self/exe", O_RDONLY);
	EQ(pread(file, buf, unknown(4), 0), 4);
	EQ(memcmp(buf, "\177ELF", 4), 0);
	FAILS(read(9999, buf, unknown(4)), EBADF);
	done("checked calls");
	join(start(enough, NULL));
	enough(NULL);
	done("room enough");
	ended();
	done("signals and cancellation");
	overflows(NULL);
	join(start(overflows, NULL));
	done("overflow");
	imports();
	done("imports");
	return failures != 0;
}
