/* Every call that libc offers to programs built with -D_FORTIFY_SOURCE (CAN-9): in a thread, with room enough it does what its plain twin does, and
 * with too little, or a format in writable memory that stores, it ends the process with libc's words. A line each; those that wait are in cancel_waiting, too.
 *
 * A row is the call's arguments, as machine words, the one that tells the room, and a value for it that is too little. */
#include <dlfcn.h>
#include <fcntl.h>
#include <obstack.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>
#include <wchar.h>

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

static char buf[512], source[] = "source", stores[] = "%n";
static wchar_t wide[128], wide_source[] = L"source", wide_stores[] = L"%n";
static char *text;
static const char *narrow;
static const wchar_t *wide_from;
static mbstate_t state;
static FILE *sink, *wide_sink, *from, *wide_in;
static int fds[2], sockets[2], zero;
static struct obstack stack;
static struct pollfd polled[4];
static gid_t groups[512];
static struct timespec none_left;

enum { NONE = -1, ARGS = 8 };
struct row {
	const char *name;
	long a[ARGS];
	int room;
	long little;
};

static long call(const struct row *r, const long *a) {
	void *f = dlsym(RTLD_DEFAULT, r->name);
	if (!f)
		return -1000;
	if (strcmp(r->name, "__longjmp_chk") == 0) {
		jmp_buf env;
		volatile int turns = 0;
		if (setjmp(env) == 0 && turns++ == 0)
			((void (*)(jmp_buf, int))f)(env, 1);
		return turns;
	}
	return ((long (*)(long, long, long, long, long, long, long, long))f)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
}

static char words[128]; /* libc's last ones */

static int dies(const struct row *r) {
	int said[2];
	pipe(said);
	pid_t child = fork();
	if (child == 0) {
		struct rlimit none = {0, 0};
		long a[ARGS];
		setrlimit(RLIMIT_CORE, &none);
		memcpy(a, r->a, sizeof a);
		a[r->room] = r->little;
		dup2(said[1], 2);
		call(r, a);
		_exit(0);
	}
	int status = 0;
	close(said[1]);
	waitpid(child, &status, 0);
	words[0] = '\0';
	ssize_t n = read(said[0], words, sizeof words - 1);
	words[n > 0 ? n : 0] = '\0';
	words[strcspn(words, "\n")] = '\0';
	close(said[0]);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void tell(const struct row *r, long result) {
	printf("%-24s", r->name);
	if (result >= (long)buf && result < (long)(buf + sizeof buf))
		printf("buffer + %ld", result - (long)buf);
	else if (result >= (long)wide && result < (long)(wide + 128))
		printf("wide buffer + %ld", result - (long)wide);
	else
		printf("%d", (int)result); /* most return int: the upper half is anything */
	printf(", \"%.20s\"", result == 0 || r->a[0] == (long)buf || r->a[1] == (long)buf ? buf : "");
	if (r->room == NONE)
		printf("\n");
	else {
		int sig = dies(r);
		printf(", too little: signal %d, \"%s\"\n", sig, words);
	}
}

#define W(x) ((long)(x))
#define FORMAT W("%s %d"), W(source), 7
#define WIDE_FORMAT W(L"%ls %d"), W(wide_source), 7

static void all(void *none, ...) {
	(void)none;
	va_list lists[10];
	for (int i = 0; i < 10; i++)
		va_start(lists[i], none);
	const struct row rows[] = {
		{"__memcpy_chk", {W(buf), W(source), 7, 512}, 3, 6},
		{"__memmove_chk", {W(buf), W(source), 7, 512}, 3, 6},
		{"__mempcpy_chk", {W(buf), W(source), 7, 512}, 3, 6},
		{"__memset_chk", {W(buf), 'x', 7, 512}, 3, 6},
		{"__explicit_bzero_chk", {W(buf), 7, 512}, 2, 6},
		{"__strcpy_chk", {W(buf), W(source), 512}, 2, 6},
		{"__stpcpy_chk", {W(buf), W(source), 512}, 2, 6},
		{"__strncpy_chk", {W(buf), W(source), 7, 512}, 3, 6},
		{"__stpncpy_chk", {W(buf), W(source), 7, 512}, 3, 6},
		{"__strcat_chk", {W(buf), W(source), 512}, 2, 6},
		{"__strncat_chk", {W(buf), W(source), 7, 512}, 3, 6},
		{"__wmemcpy_chk", {W(wide), W(wide_source), 7, 128}, 3, 6},
		{"__wmemmove_chk", {W(wide), W(wide_source), 7, 128}, 3, 6},
		{"__wmempcpy_chk", {W(wide), W(wide_source), 7, 128}, 3, 6},
		{"__wmemset_chk", {W(wide), 0, 7, 128}, 3, 6},
		{"__wcscpy_chk", {W(wide), W(wide_source), 128}, 2, 6},
		{"__wcpcpy_chk", {W(wide), W(wide_source), 128}, 2, 6},
		{"__wcsncpy_chk", {W(wide), W(wide_source), 7, 128}, 3, 6},
		{"__wcpncpy_chk", {W(wide), W(wide_source), 7, 128}, 3, 6},
		{"__wcscat_chk", {W(wide), W(wide_source), 128}, 2, 6},
		{"__wcsncat_chk", {W(wide), W(wide_source), 7, 128}, 3, 6},
		{"__mbstowcs_chk", {W(wide), W(source), 7, 128}, 3, 6},
		{"__mbsrtowcs_chk", {W(wide), W(&narrow), 7, W(&state), 128}, 4, 6},
		{"__mbsnrtowcs_chk", {W(wide), W(&narrow), 7, 7, W(&state), 128}, 5, 6},
		{"__wcstombs_chk", {W(buf), W(wide_source), 7, 512}, 3, 6},
		{"__wcsrtombs_chk", {W(buf), W(&wide_from), 7, W(&state), 512}, 4, 6},
		{"__wcsnrtombs_chk", {W(buf), W(&wide_from), 7, 7, W(&state), 512}, 5, 6},
		{"__wcrtomb_chk", {W(buf), 'x', W(&state), 512}, 3, 0},
		{"__wctomb_chk", {W(buf), 'x', 512}, 2, 0},
		{"__sprintf_chk", {W(buf), 1, 512, FORMAT}, 2, 6},
		{"__snprintf_chk", {W(buf), 512, 1, 512, FORMAT}, 3, 6},
		{"__vsprintf_chk", {W(buf), 1, 512, W("%s"), W(lists[0])}, 2, 0},
		{"__vsnprintf_chk", {W(buf), 512, 1, 512, W("%s"), W(lists[1])}, 3, 6},
		{"__swprintf_chk", {W(wide), 128, 1, 128, WIDE_FORMAT}, 3, 6},
		{"__vswprintf_chk", {W(wide), 128, 1, 128, W(L"%s"), W(lists[2])}, 3, 6},
		{"__asprintf_chk", {W(&text), 1, FORMAT}, 2, W(stores)},
		{"__vasprintf_chk", {W(&text), 1, W("%s"), W(lists[3])}, 2, W(stores)},
		{"__printf_chk", {1, W("%.0s")}, 1, W(stores)},
		{"__vprintf_chk", {1, W("%.0s"), W(lists[4])}, 1, W(stores)},
		{"__fprintf_chk", {W(sink), 1, FORMAT}, 2, W(stores)},
		{"__vfprintf_chk", {W(sink), 1, W("%s"), W(lists[5])}, 2, W(stores)},
		{"__dprintf_chk", {zero, 1, FORMAT}, 2, W(stores)},
		{"__vdprintf_chk", {zero, 1, W("%s"), W(lists[6])}, 2, W(stores)},
		{"__fwprintf_chk", {W(wide_sink), 1, WIDE_FORMAT}, 2, W(wide_stores)},
		{"__vfwprintf_chk", {W(wide_sink), 1, W(L"%s"), W(lists[7])}, 2, W(wide_stores)},
		{"__obstack_printf_chk", {W(&stack), 1, FORMAT}, 2, W(stores)},
		{"__obstack_vprintf_chk", {W(&stack), 1, W("%s"), W(lists[8])}, 2, W(stores)},
		{"__syslog_chk", {LOG_DEBUG, 1, W("%.0s")}, 2, W(stores)},
		{"__vsyslog_chk", {LOG_DEBUG, 1, W("%.0s"), W(lists[9])}, 2, W(stores)},
		{"__fgets_chk", {W(buf), 512, 7, W(from)}, 1, 6},
		{"__fgets_unlocked_chk", {W(buf), 512, 7, W(from)}, 1, 6},
		{"__fread_chk", {W(buf), 512, 1, 7, W(from)}, 1, 6},
		{"__fread_unlocked_chk", {W(buf), 512, 1, 7, W(from)}, 1, 6},
		{"__fgetws_chk", {W(wide), 128, 7, W(wide_in)}, 1, 6},
		{"__fgetws_unlocked_chk", {W(wide), 128, 7, W(wide_in)}, 1, 6},
		{"__gets_chk", {W(buf), 512}, 1, 0},
		{"__read_chk", {fds[0], W(buf), 1, 512}, 3, 0},
		{"__pread_chk", {zero, W(buf), 7, 0, 512}, 4, 6},
		{"__pread64_chk", {zero, W(buf), 7, 0, 512}, 4, 6},
		{"__recv_chk", {sockets[0], W(buf), 1, 512, 0}, 3, 0},
		{"__recvfrom_chk", {sockets[0], W(buf), 1, 512, 0, 0, 0}, 3, 0},
		{"__poll_chk", {W(polled), 4, 0, sizeof polled}, 3, sizeof polled - 1},
		{"__ppoll_chk", {W(polled), 4, W(&none_left), 0, sizeof polled}, 4, sizeof polled - 1},
		{"__fdelt_chk", {70}, 0, 1024},
		{"__open_2", {W("/dev/null"), O_RDONLY}, 1, O_CREAT},
		{"__open64_2", {W("/dev/null"), O_RDONLY}, 1, O_CREAT},
		{"__openat_2", {AT_FDCWD, W("/dev/null"), O_RDONLY}, 2, O_CREAT},
		{"__openat64_2", {AT_FDCWD, W("/dev/null"), O_RDONLY | O_CLOEXEC}, 2, O_RDWR | O_TMPFILE},
		{"__mq_open_2", {W("/fortify_calls_none"), O_RDONLY}, 1, O_CREAT},
		{"__getcwd_chk", {W(buf), 512, 512}, 2, 6},
		{"__getwd_chk", {W(buf), 512}, NONE, 0},
		{"__realpath_chk", {W("/"), W(buf), 4096}, 2, 6},
		{"__readlink_chk", {W("/proc/self/root"), W(buf), 512, 512}, 3, 6},
		{"__readlinkat_chk", {AT_FDCWD, W("/proc/self/root"), W(buf), 512, 512}, 4, 6},
		{"__confstr_chk", {_CS_PATH, W(buf), 512, 512}, 3, 6},
		{"__getgroups_chk", {512, W(groups), sizeof groups}, 2, 4},
		{"__gethostname_chk", {W(buf), 512, 512}, 2, 6},
		{"__getdomainname_chk", {W(buf), 512, 512}, 2, 6},
		{"__getlogin_r_chk", {W(buf), 512, 512}, 2, 6},
		{"__ttyname_r_chk", {fds[0], W(buf), 512, 512}, 3, 6},
		{"__ptsname_r_chk", {fds[0], W(buf), 512, 512}, 3, 6},
		{"__longjmp_chk", {0}, NONE, 0},
		{"__wprintf_chk", {1, W(L"%.0s")}, NONE, 0}, /* the standard output is narrow */
		{"__vwprintf_chk", {1, W(L""), W(lists[9])}, NONE, 0},
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		memset(buf, 0, sizeof buf);
		memset(wide, 0, sizeof wide);
		narrow = source;
		wide_from = wide_source;
		tell(&rows[i], call(&rows[i], rows[i].a));
		fflush(stdout);
	}
	for (int i = 0; i < 10; i++)
		va_end(lists[i]);
}

static void *thread(void *arg) {
	all(NULL, source, source);
	return arg;
}

int main(void) {
	pthread_t t;
	alarm(60);
	freopen("/dev/null", "r", stdin);
	sink = fopen("/dev/null", "w");
	wide_sink = fopen("/dev/null", "w");
	from = fopen("/proc/version", "r");
	wide_in = fopen("/dev/null", "r");
	zero = open("/dev/zero", O_RDWR);
	pipe(fds);
	write(fds[1], "pipe", 4);
	socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
	write(sockets[1], "socket", 6);
	for (int i = 0; i < 4; i++)
		polled[i] = (struct pollfd){.fd = -1};
	obstack_init(&stack);
	pthread_create(&t, NULL, thread, NULL);
	pthread_join(t, NULL);
	return 0;
}
