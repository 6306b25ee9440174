/* goshim check PROGRAM: what can be told about a program and its libraries without running it.
 *
 * The loader itself is asked which libraries the program gets (ld.so --list maps them and runs nothing of theirs); it
 * also names libraries and symbol versions that are missing. Each file is then read: imported and defined symbols,
 * size of its thread-local storage, and the system call instructions in its code.
 *
 * An instruction is taken for a system call when the number's load into the accumulator is seen shortly before it; that
 * misses some and invents few. Calls that can block matter: who makes them past libc holds a kernel thread for as long, and
 * sysmon has to notice. What a program opens with dlopen() is not seen.
 *
 * Verdicts: 0 it runs on goroutines; 1 it does, with the reservations named; 2 it cannot be preloaded into, or does not even
 * start. No verdict: 125 wrong usage, or what goshim needs is missing; 126 and 127 as for a program that is to be run. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch_cpu.h"
#include "arch_scan.h"
#include "launcher.h"
#include "tsan.h"

enum {
	OBJECTS_MAX = 1024,
	NUMBERS_MAX = 512,           /* of system calls */
	TLS_LARGE_BYTES = 64 * 1024, /* a thread; goroutines are made by the ten thousand */
	LINE_BYTES = 1000,
	SCRIPTS_MAX = 5,
	COLUMNS = 100,
};

/* Functions of libc that can block for long. Those that the library exports are its own; the others hold a kernel thread. */
static const char *const blocking[] = {
	"aio_suspend",
	"catgets",
	"copy_file_range",
	"fdatasync",
	"fgetpwent",
	"flock",
	"fsync",
	"ftw",
	"gai_suspend",
	"getaddrinfo",
	"getaddrinfo_a",
	"getgrgid_r",
	"getgrnam",
	"getgrnam_r",
	"getgrouplist",
	"gethostbyaddr",
	"gethostbyaddr_r",
	"gethostbyname",
	"gethostbyname2",
	"gethostbyname2_r",
	"gethostbyname_r",
	"getifaddrs",
	"getnameinfo",
	"getpwnam",
	"getpwnam_r",
	"getpwuid",
	"getpwuid_r",
	"getservbyname",
	"initgroups",
	"io_getevents",
	"lockf",
	"lockf64",
	"mq_receive",
	"mq_send",
	"mq_timedreceive",
	"mq_timedsend",
	"msgrcv",
	"msgsnd",
	"msync",
	"pclose",
	"popen",
	"res_query",
	"res_search",
	"semop",
	"semtimedop",
	"sync",
	"sync_file_range",
	"syncfs",
	"syslog",
	"system",
	"tcdrain",
	"vsyslog",
	"wait",
	"wait3",
	"wait4",
	"waitid",
	"waitpid",
};

/* Somebody else's way to switch stacks inside a thread. */
static const char *const switchers[] = {"swapcontext", "coro_transfer",    "jump_fcontext", "ontop_fcontext",
					"co_swap",     "st_thread_create", "pth_spawn",     "dill_co"};
static const char *const allocators[] = {"malloc", "je_malloc", "tc_malloc", "mi_malloc", "mallctl"};

struct raw_call {
	uint16_t number;
	const char *name;
	const char *why; /* NULL: it may block */
};

#define MAKES_THREADS "makes kernel threads that stay kernel threads"
#define MAKES_RINGS "makes an io_uring past liburing's library, its requests may be cancelled when a kernel thread ends"
#define RAW(name, why) {SYS_##name, #name, why}
static const struct raw_call raw_calls[] = {
	RAW(read, NULL),
	RAW(write, NULL),
	RAW(nanosleep, NULL),
	RAW(connect, NULL),
	RAW(accept, NULL),
	RAW(recvfrom, NULL),
	RAW(recvmsg, NULL),
	RAW(clone, MAKES_THREADS),
	RAW(wait4, NULL),
	RAW(rt_sigtimedwait, NULL),
	RAW(rt_sigsuspend, NULL),
	RAW(futex, NULL),
	RAW(io_getevents, NULL),
	RAW(clock_nanosleep, NULL),
	RAW(pselect6, NULL),
	RAW(ppoll, NULL),
	RAW(epoll_pwait, NULL),
	RAW(accept4, NULL),
	RAW(io_uring_setup, MAKES_RINGS),
	RAW(io_uring_enter, NULL),
	RAW(clone3, MAKES_THREADS),
#ifdef SYS_poll /* newer CPUs have only their successors */
	RAW(poll, NULL),
	RAW(select, NULL),
	RAW(pause, NULL),
	RAW(epoll_wait, NULL),
#endif
};

struct object {
	const char *path, *name; /* name: without directories */
	const unsigned char *data;
	size_t size;
	bool is_libc, is_liburing;
	unsigned tsan_fronts; /* how many of TSAN_FRONTS it has */
};

struct names {
	const char **list;
	size_t count, room;
};

static struct report {
	struct object objects[OBJECTS_MAX];
	size_t count;
	struct names imports, exports; /* exports: the library's */
	size_t tls_bytes, interposed;
	char unhooked[LINE_BYTES], raw[LINE_BYTES], allocator[LINE_BYTES], coroutines[LINE_BYTES], missing[LINE_BYTES],
		aside[LINE_BYTES], doubts[LINE_BYTES * 4];
	bool makes_threads, opens_libraries, is_go;
} report;

/* ---- lists --------------------------------------------------------------------------------------------------------------- */

/* Appends to a line of text, with a comma in between; what does not fit is left out. */
__attribute__((format(printf, 3, 4))) static void line_add(char *line, size_t room, const char *format, ...) {
	size_t length = strlen(line);
	va_list args;
	if (room - length < 100)
		return;
	if (length)
		length += (size_t)snprintf(line + length, room - length, ", ");
	va_start(args, format);
	vsnprintf(line + length, room - length, format, args);
	va_end(args);
}
#define LINE_ADD(line, ...) line_add(line, sizeof(line), __VA_ARGS__)

static void names_add(struct names *names, const char *name) {
	if (names->count == names->room) {
		names->room = names->room ? names->room * 2 : 1024;
		names->list = realloc(names->list, names->room * sizeof(*names->list));
		if (!names->list)
			fail(EXIT_OWN_FAILURE, "out of memory");
	}
	names->list[names->count++] = name;
}

static int name_compare(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void names_sort(struct names *names) {
	size_t n = 0;
	if (!names->count)
		return;
	qsort(names->list, names->count, sizeof(*names->list), name_compare);
	for (size_t i = 0; i < names->count; i++)
		if (i == 0 || strcmp(names->list[i], names->list[n - 1]) != 0)
			names->list[n++] = names->list[i];
	names->count = n;
}

static bool names_have(const struct names *names, const char *name) {
	return names->count && bsearch(&name, names->list, names->count, sizeof(*names->list), name_compare);
}

static bool is_one_of(const char *name, const char *const *list, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}
#define IS_ONE_OF(name, list) is_one_of(name, list, sizeof(list) / sizeof(list[0]))

/* ---- files --------------------------------------------------------------------------------------------------------------- */

/* NULL when it cannot be read or is no ELF file of ours. It stays mapped. */
static struct object *object_open(const char *path) {
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	void *data = MAP_FAILED;
	if (report.count < OBJECTS_MAX && fstat(fd, &st) == 0 && st.st_size > (off_t)sizeof(Elf64_Ehdr))
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (data == MAP_FAILED)
		return NULL;
	if (memcmp(data, ELFMAG, SELFMAG) != 0 || ((unsigned char *)data)[EI_CLASS] != ELFCLASS64) {
		munmap(data, (size_t)st.st_size);
		return NULL;
	}
	struct object *o = &report.objects[report.count++];
	const char *slash = strrchr(path, '/');
	o->path = strdup(path);
	o->data = data;
	o->size = (size_t)st.st_size;
	if (!o->path)
		fail(EXIT_OWN_FAILURE, "out of memory");
	o->name = slash ? o->path + (slash + 1 - path) : o->path;
	static const char *const libc[] = {"libc.so.6",  "libm.so.6",      "libpthread.so.0", "libdl.so.2",
					   "librt.so.1", "libresolv.so.2", "libutil.so.1",    "libanl.so.1"};
	o->is_libc = IS_ONE_OF(o->name, libc) || strncmp(o->name, "ld-linux", 8) == 0;
	return o;
}

/* `count` things of `size` bytes at `offset`, or NULL when the file is too short. */
static const void *object_at(const struct object *o, uint64_t offset, uint64_t count, uint64_t size) {
	if (offset > o->size || (size && count > (o->size - offset) / size))
		return NULL;
	return o->data + offset;
}

/* Calls `each` for every dynamic symbol with a name. */
static void symbols_each(struct object *o, void (*each)(struct object *o, const char *name, bool defined)) {
	const Elf64_Ehdr *header = (const void *)o->data;
	const Elf64_Shdr *sections = object_at(o, header->e_shoff, header->e_shnum, sizeof(*sections));
	for (size_t i = 0; sections && i < header->e_shnum; i++) {
		if (sections[i].sh_type != SHT_DYNSYM || sections[i].sh_link >= header->e_shnum)
			continue;
		const Elf64_Shdr *strings = &sections[sections[i].sh_link];
		size_t count = sections[i].sh_size / sizeof(Elf64_Sym);
		const Elf64_Sym *symbols = object_at(o, sections[i].sh_offset, count, sizeof(*symbols));
		const char *names = object_at(o, strings->sh_offset, strings->sh_size, 1);
		if (!symbols || !names || !strings->sh_size || names[strings->sh_size - 1] != '\0')
			continue;
		for (size_t k = 1; k < count; k++)
			if (symbols[k].st_name && symbols[k].st_name < strings->sh_size)
				each(o, names + symbols[k].st_name, symbols[k].st_shndx != SHN_UNDEF);
	}
}

static void export_note(struct object *o, const char *name, bool defined) {
	(void)o;
	if (defined)
		names_add(&report.exports, name);
}

static void symbol_note(struct object *o, const char *name, bool defined) {
	if (!defined)
		names_add(&report.imports, name);
	if (defined && IS_ONE_OF(name, allocators) && !strstr(report.allocator, o->name))
		LINE_ADD(report.allocator, "%s", o->name);
	static const char *const fronts[] = TSAN_FRONTS;
	if (defined && o == report.objects && IS_ONE_OF(name, fronts))
		o->tsan_fronts++;
	if (defined && (strcmp(name, TSAN_INIT) == 0 || o->tsan_fronts == TSAN_FRONT_COUNT) && !*report.aside) /* symbols_foreign_runtime() */
		LINE_ADD(report.aside, "%s has ThreadSanitizer inside, which knows only threads that it saw made", o->name);
	if (defined && strcmp(name, "io_uring_queue_init") == 0)
		o->is_liburing = true; /* the library stands in front of it */
	if (IS_ONE_OF(name, switchers) && !strstr(report.coroutines, o->name))
		LINE_ADD(report.coroutines, "%s (%s)", o->name, name);
}

/* ---- system calls in code ---------------------------------------------------------------------------------------------- */

static void code_scan(const unsigned char *code, size_t size, unsigned found[NUMBERS_MAX]) {
	int number;
	for (size_t at = 0; arch_syscall_find(code, size, &at, &number);) {
		if (number >= 0 && number < NUMBERS_MAX)
			found[number]++;
	}
}

static void raw_note(const struct object *o, const unsigned found[NUMBERS_MAX]) {
	for (size_t i = 0; i < sizeof(raw_calls) / sizeof(raw_calls[0]); i++) {
		const struct raw_call *call = &raw_calls[i];
		if (!found[call->number] || (o->is_liburing && call->number == SYS_io_uring_setup))
			continue;
		LINE_ADD(report.raw, "%s: %s (%u)", o->name, call->name, found[call->number]);
		if (call->why)
			LINE_ADD(report.doubts, "%s %s", o->name, call->why);
		else if (!strstr(report.doubts, "past libc"))
			LINE_ADD(report.doubts, "%s makes blocking system calls past libc, each holds a kernel thread",
				 o->name);
	}
}

static void segments_scan(struct object *o) {
	const Elf64_Ehdr *header = (const void *)o->data;
	const Elf64_Phdr *segments = object_at(o, header->e_phoff, header->e_phnum, sizeof(*segments));
	unsigned found[NUMBERS_MAX] = {0};
	for (size_t i = 0; segments && i < header->e_phnum; i++) {
		const Elf64_Phdr *segment = &segments[i];
		if (segment->p_type == PT_TLS)
			report.tls_bytes += segment->p_memsz;
		const void *code = segment->p_type == PT_LOAD && (segment->p_flags & PF_X)
					   ? object_at(o, segment->p_offset, segment->p_filesz, 1)
					   : NULL;
		if (code && !o->is_libc)
			code_scan(code, segment->p_filesz, found);
	}
	raw_note(o, found);
	const Elf64_Shdr *sections = object_at(o, header->e_shoff, header->e_shnum, sizeof(*sections));
	if (!sections || header->e_shstrndx >= header->e_shnum)
		return;
	const Elf64_Shdr *strings = &sections[header->e_shstrndx];
	const char *names = object_at(o, strings->sh_offset, strings->sh_size, 1);
	static const char go[] = ".note.go.buildid"; /* however it was linked and stripped */
	for (size_t i = 0; names && i < header->e_shnum; i++)
		if (sections[i].sh_name + sizeof(go) <= strings->sh_size && memcmp(names + sections[i].sh_name, go, sizeof(go)) == 0)
			report.is_go = true;
}

/* ---- the loader ----------------------------------------------------------------------------------------------------------- */

/* "\tNAME => PATH (0x...)", "\tPATH (0x...)", "\tNAME => not found", or the loader's complaint. */
static void loader_line(char *line) {
	line[strcspn(line, "\n")] = '\0';
	char *arrow = strstr(line, " => "), *start = line + strspn(line, " \t");
	if (strstr(line, "not found") || strstr(line, "cannot open") || strstr(line, "error while loading")) {
		char *version = strstr(line, "version `");
		LINE_ADD(report.missing, "%s", version ? version : start);
		return;
	}
	char *path = arrow ? arrow + 4 : start, *end = strstr(path, " (0x");
	if (end)
		*end = '\0';
	if (*path == '/')
		object_open(path);
}

/* Our own loader, never one that the program names: that could be anything. It takes $ORIGIN from the path that it is told, the kernel from the file behind
 * all links. */
static void libraries_list(const char *path) {
	char program[PATH_MAX];
	int ends[2];
	if (!realpath(path, program))
		fail(EXIT_OWN_FAILURE, "%s: %s", path, strerror(errno));
	if (pipe2(ends, O_CLOEXEC) != 0)
		fail(EXIT_OWN_FAILURE, "pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid < 0)
		fail(EXIT_OWN_FAILURE, "fork: %s", strerror(errno));
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		unsetenv("LD_PRELOAD");
		execl(ARCH_LOADER, ARCH_LOADER, "--list", program, (char *)NULL);
		dprintf(STDERR_FILENO, "%s: not found\n", ARCH_LOADER);
		_exit(EXIT_OWN_FAILURE);
	}
	close(ends[1]);
	FILE *in = fdopen(ends[0], "r");
	char line[PATH_MAX * 2];
	while (in && fgets(line, sizeof(line), in))
		loader_line(line);
	if (in)
		fclose(in);
	waitpid(pid, NULL, 0);
}

/* ---- the report ----------------------------------------------------------------------------------------------------------- */

static void imports_judge(void) {
	names_sort(&report.imports);
	names_sort(&report.exports);
	for (size_t i = 0; i < report.imports.count; i++) {
		const char *name = report.imports.list[i];
		if (names_have(&report.exports, name))
			report.interposed++;
		else if (IS_ONE_OF(name, blocking))
			LINE_ADD(report.unhooked, "%s", name);
	}
	report.makes_threads =
		names_have(&report.imports, "pthread_create") || names_have(&report.imports, "thrd_create");
	report.opens_libraries = names_have(&report.imports, "dlopen");
}

static void line_print(const char *title, const char *text) {
	printf("  %-12s %s\n", title, *text ? text : "none");
}

static int verdict(const char *word, const char *reason) {
	printf("verdict: %s%s%s\n", word, *reason ? ": " : "", reason);
	int status = strncmp(word, "no", 2) == 0 ? 2 : strstr(word, "reservations") ? 1 : 0;
	if (fflush(stdout) != 0)
		fail(EXIT_OWN_FAILURE, "standard output: %s", strerror(errno));
	return status;
}

static void interposed_print(void) {
	size_t column = 0;
	printf("  %-12s %zu imported functions are goshim's%s\n", "interposed", report.interposed, report.interposed ? ":" : "");
	for (size_t i = 0; i < report.imports.count; i++) {
		const char *name = report.imports.list[i];
		if (!names_have(&report.exports, name))
			continue;
		if (column == 0 || column + strlen(name) + 1 > COLUMNS)
			column = (size_t)printf("%s%15s%s", column ? "\n" : "", "", name);
		else
			column += (size_t)printf(" %s", name);
	}
	if (column)
		puts("");
}

static int report_print(void) {
	printf("  %-12s %zu\n", "libraries", report.count - 1);
	line_print("missing", report.missing);
	line_print("threads", report.makes_threads ? "pthread_create is imported"
			      : report.opens_libraries
				      ? "pthread_create is not imported, but libraries may be opened at run time"
				      : "");
	interposed_print();
	line_print("not hooked", report.unhooked);
	printf("  %-12s %zu bytes for each thread\n", "static TLS", report.tls_bytes);
	line_print("raw calls", report.raw);
	line_print("allocator", *report.allocator ? report.allocator : "libc's");
	line_print("coroutines", report.coroutines);
	if (*report.missing)
		return verdict("no, it does not start", report.missing);
	if (*report.aside)
		return verdict("no, it runs on kernel threads", report.aside);
	if (report.is_go)
		LINE_ADD(report.doubts, "it is a Go program: its goroutines are Go's, threads of its C code are not");
	if (report.tls_bytes > TLS_LARGE_BYTES)
		LINE_ADD(report.doubts, "each thread has %zu KiB of static TLS", report.tls_bytes / 1024);
	if (*report.coroutines)
		LINE_ADD(report.doubts, "stacks are switched by %s: fine inside one thread, not across",
			 report.coroutines);
	if (*report.doubts)
		return verdict("yes, with reservations", report.doubts);
	return verdict("yes", report.makes_threads || report.opens_libraries ? "" : "though it makes no threads");
}

/* env's options whose argument is the next word. */
static const char *const env_with_argument[] = {"-u", "--unset", "-C", "--chdir", "-a", "--argv0"};

/* "#!/usr/bin/env NAME", "#!/usr/bin/env -S NAME=VALUE NAME ARGUMENTS": what env would run takes the script's place. False: it is none of these. */
static bool env_follow(char script[PATH_MAX], const char *interpreter) {
	char line[PATH_MAX] = "", *word = NULL, *rest;
	const char *slash = strrchr(interpreter, '/');
	FILE *in = strcmp(slash ? slash + 1 : interpreter, "env") == 0 ? fopen(script, "re") : NULL;
	if (!in)
		return false;
	if (fgets(line, sizeof(line), in) && strncmp(line, "#!", 2) == 0 && strtok_r(line, " \t\n", &rest)) {
		while ((word = strtok_r(NULL, " \t\n", &rest))) {
			if (strncmp(word, "-S", 2) == 0 && word[2])
				word += 2;
			if (IS_ONE_OF(word, env_with_argument))
				strtok_r(NULL, " \t\n", &rest);
			else if (*word != '-' && !strchr(word, '='))
				break;
		}
		if (word)
			program_find(word, script);
	}
	fclose(in);
	return word != NULL;
}

/* Neither a program nor a script with a first line: execvp() and shells give it to the shell. */
static void shell_follow(char end[PATH_MAX]) {
	char head[SELFMAG];
	int fd = open(end, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t n = pread(fd, head, sizeof(head), 0);
	close(fd);
	if (n >= 0 && (n < SELFMAG || memcmp(head, ELFMAG, SELFMAG) != 0))
		program_find("/bin/sh", end);
}

int check_main(int argc, char **argv) {
	char path[PATH_MAX], script[PATH_MAX], end[PATH_MAX];
	const char *why;
	if (argc == 2 && strcmp(argv[0], "--") == 0)
		argc--, argv++;
	if (argc != 1 || argv[0][0] == '-')
		fail(EXIT_OWN_FAILURE, "usage: goshim check PROGRAM"); /* 2 is a verdict */
	program_find(argv[0], path);
	strcpy(script, path);
	/* What env runs may be such a script, too. */
	for (int depth = 0; !(why = preload_obstacle(script, end)) && depth < SCRIPTS_MAX && env_follow(script, end); depth++)
		continue;
	if (!why)
		shell_follow(end);
	printf("%s%s%s\n", path, strcmp(path, end) ? ", run by " : "", strcmp(path, end) ? end : "");
	if (why) {
		char reason[PATH_MAX + 100];
		if (why == no_program)
			return verdict("no, it is a shared library, not a program", "");
		snprintf(reason, sizeof(reason), "%s %s", end, why);
		return verdict("no, it runs on kernel threads", reason);
	}
	struct object *library = object_open(library_find());
	if (!library)
		fail(EXIT_OWN_FAILURE, "cannot read the library");
	symbols_each(library, export_note);
	report.count = 0;
	if (!object_open(end))
		return verdict("no, it cannot be read", end);
	libraries_list(end);
	for (size_t i = 0; i < report.count; i++) {
		if (!report.objects[i].is_libc)
			symbols_each(&report.objects[i], symbol_note);
		segments_scan(&report.objects[i]);
	}
	imports_judge();
	return report_print();
}
