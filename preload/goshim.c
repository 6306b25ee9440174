/* The launcher: goshim [options] [--] PROGRAM [ARGS...] runs PROGRAM with libgoshim.so preloaded.
 *
 * It is LD_PRELOAD and two environment variables made convenient and safe to mistype: settings are checked with the library's own table
 * before anything runs, and a program that ld.so would not preload into (static, setuid, another architecture or libc) is
 * named as such and run as it is. It replaces itself with the program: same pid, same exit status. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "arch_cpu.h"
#include "ctl.h"
#include "launcher.h"
#include "settings.h"
#include "surface.h"

#ifndef GOSHIM_VERSION
#define GOSHIM_VERSION "unknown"
#endif

static char library_path[PATH_MAX + 32];

/* ---- messages --------------------------------------------------------------------------------------------------------- */

static void say(const char *format, va_list args) {
	fputs("goshim: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

int complain(const char *format, ...) {
	va_list args;
	va_start(args, format);
	say(format, args);
	va_end(args);
	return -1;
}

void fail(int status, const char *format, ...) {
	va_list args;
	va_start(args, format);
	say(format, args);
	va_end(args);
	exit(status);
}

static void usage(FILE *out) {
	fputs("usage: goshim [--procs N] [--stack SIZE] [--set KEY=VALUE]... [--] PROGRAM [ARGS...]\n"
	      "       goshim check PROGRAM\n"
	      "       goshim ctl PID COMMAND (see goshim ctl --help)\n"
	      "       goshim --list | --version | --help\n"
	      "\n"
	      "Runs PROGRAM, unmodified, with its threads as goroutines on a few kernel threads.\n"
	      "\n"
	      "  --procs N        goroutines that may run at once (GOMAXPROCS)\n"
	      "  --stack SIZE     the same as --set stack=SIZE\n"
	      "  --set KEY=VALUE  one setting of GOSHIM; may be repeated\n"
	      "  --list           print every function that goshim stands in front of, its family, and how it waits\n"
	      "  check PROGRAM    say, without running it, whether goshim can serve it: exit status 0 yes, 1 with\n"
	      "                   reservations, 2 no; 125 wrong usage, 126 not executable, 127 not found\n"
	      "  --version        print the version\n"
	      "  --help           print this text\n"
	      "\n"
	      "Settings, in the environment of PROGRAM or by the options above:\n",
	      out);
	settings_help(out);
	fputs("\n"
	      "Exit status: that of PROGRAM; 2 wrong usage or setting; 125 goshim itself failed;\n"
	      "126 PROGRAM cannot be executed; 127 PROGRAM was not found.\n",
	      out);
}

__attribute__((noreturn)) static void fail_usage(const char *what, const char *detail) {
	fail(EXIT_USAGE, "%s%s (see goshim --help)", what, detail);
}

/* ---- the library -------------------------------------------------------------------------------------------------------- */

/* Beside the launcher (a build), else in ../lib (installed). */
const char *library_find(void) {
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (length <= 0)
		fail(EXIT_OWN_FAILURE, "cannot tell where goshim is: /proc/self/exe: %s", strerror(errno));
	self[length] = '\0';
	const char *folder = dirname(self);
	static const char *const places[] = {"", "/../lib"};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char candidate[PATH_MAX + 32];
		snprintf(candidate, sizeof(candidate), "%s%s/libgoshim.so", folder, places[i]);
		if (access(candidate, R_OK) == 0 && realpath(candidate, library_path)) {
			if (strpbrk(library_path, " :"))
				fail(EXIT_OWN_FAILURE, "%s: LD_PRELOAD cannot hold a path with a space or a colon",
				     library_path);
			return library_path;
		}
	}
	fail(EXIT_OWN_FAILURE, "libgoshim.so is neither in %s nor in %s/../lib", folder, folder);
}

/* ---- --list -------------------------------------------------------------------------------------------------------------- */

static int line_compare(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void *read_all(int fd, off_t offset, size_t size) {
	char *data = malloc(size + 1);
	if (!data || size > (size_t)1 << 28 || pread(fd, data, size, offset) != (ssize_t)size)
		fail(EXIT_OWN_FAILURE, "%s: cannot read its symbol table", library_path);
	data[size] = '\0';
	return data;
}

static void list_print(const Elf64_Sym *symbols, size_t count, const char *names, size_t names_size) {
	char **lines = calloc(count + 1, sizeof(*lines));
	size_t n = 0;
	for (size_t i = 0; lines && i < count; i++) {
		if (symbols[i].st_shndx == SHN_UNDEF || symbols[i].st_name >= names_size)
			continue;
		const char *name = names + symbols[i].st_name;
		const char *how = surface_how(name);
		if (asprintf(&lines[n], "%-8s %-28s %s", surface_family(name), name, how ? how : "?") > 0)
			n++;
	}
	if (n > 0)
		qsort(lines, n, sizeof(*lines), line_compare);
	for (size_t i = 0; i < n; i++)
		puts(lines[i]);
}

/* What the library really exports, from the file itself. */
static void list_symbols(void) {
	int fd = open(library_path, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr header;
	if (fd < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header))
		fail(EXIT_OWN_FAILURE, "%s: %s", library_path, strerror(errno));
	Elf64_Shdr *sections = read_all(fd, (off_t)header.e_shoff, (size_t)header.e_shnum * sizeof(Elf64_Shdr));
	for (size_t i = 0; i < header.e_shnum; i++) {
		if (sections[i].sh_type != SHT_DYNSYM || sections[i].sh_link >= header.e_shnum)
			continue;
		const Elf64_Shdr *strings = &sections[sections[i].sh_link];
		list_print(read_all(fd, (off_t)sections[i].sh_offset, sections[i].sh_size),
			   sections[i].sh_size / sizeof(Elf64_Sym),
			   read_all(fd, (off_t)strings->sh_offset, strings->sh_size), strings->sh_size);
		return;
	}
	fail(EXIT_OWN_FAILURE, "%s: has no symbol table", library_path);
}

/* ---- the program ---------------------------------------------------------------------------------------------------------- */

/* 0, or why `path` cannot be executed, as an errno value. */
static int executable_check(const char *path) {
	struct stat st;
	if (stat(path, &st) != 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	return access(path, X_OK) == 0 ? 0 : errno;
}

/* As execvp(3): a name with a slash is a path; others are looked for in PATH, where an unusable one is kept in mind. */
void program_find(const char *name, char path[PATH_MAX]) {
	int error = ENOENT;
	if (strchr(name, '/')) {
		snprintf(path, PATH_MAX, "%s", name);
		error = strlen(name) < PATH_MAX ? executable_check(path) : ENAMETOOLONG;
	} else if (*name) {
		const char *folder = getenv("PATH");
		for (folder = folder ? folder : "/bin:/usr/bin";; folder++) {
			size_t length = strcspn(folder, ":");
			int n = snprintf(path, PATH_MAX, "%.*s%s%s", (int)length, folder, length ? "/" : "", name);
			int result = n < PATH_MAX ? executable_check(path) : ENAMETOOLONG;
			if (result == 0)
				return;
			if (result == EACCES)
				error = EACCES;
			folder += length;
			if (!*folder)
				break;
		}
	}
	if (error == ENOENT || error == ENOTDIR)
		fail(EXIT_NOT_FOUND, "%s: not found", name);
	if (error)
		fail(EXIT_NOT_EXECUTABLE, "%s: not executable: %s", name, strerror(error));
}

/* A program that gains privileges makes ld.so ignore LD_PRELOAD (AT_SECURE). Not by set-id bits if it is run by us (`here`) under no_new_privs; file capabilities give nothing
 * then either, but ld.so is told all the same. */
static bool gains_privileges(int fd, const struct stat *st, bool here) {
	struct statvfs fs;
	if (fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOSUID))
		return false;
	bool set_id = !here || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
	if (set_id && (st->st_mode & S_ISUID) && st->st_uid != geteuid())
		return true;
	if (set_id && (st->st_mode & S_ISGID) && (st->st_mode & S_IXGRP) && st->st_gid != getegid())
		return true;
	return geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

static bool segment_read(int fd, const Elf64_Ehdr *header, size_t i, Elf64_Phdr *segment) {
	return pread(fd, segment, sizeof(*segment), (off_t)(header->e_phoff + i * header->e_phentsize)) ==
	       sizeof(*segment);
}

/* Where the file holds what the program has at `address`; -1 nowhere. */
static off_t address_offset(int fd, const Elf64_Ehdr *header, uint64_t address) {
	Elf64_Phdr segment;
	for (size_t i = 0; i < header->e_phnum && segment_read(fd, header, i, &segment); i++) {
		if (segment.p_type == PT_LOAD && address - segment.p_vaddr < segment.p_filesz)
			return (off_t)(segment.p_offset + (address - segment.p_vaddr));
	}
	return -1;
}

/* Is a library whose name begins so among those that the program itself names? */
static bool needs_library(int fd, const Elf64_Ehdr *header, const Elf64_Phdr *dynamic, const char *begin) {
	Elf64_Dyn entries[256] = {0};
	size_t count = dynamic->p_filesz < sizeof(entries) ? dynamic->p_filesz / sizeof(*entries) : 256;
	off_t names = -1;
	if (pread(fd, entries, count * sizeof(*entries), (off_t)dynamic->p_offset) < (ssize_t)sizeof(*entries))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (entries[i].d_tag == DT_STRTAB)
			names = address_offset(fd, header, entries[i].d_un.d_ptr);
	}
	for (size_t i = 0; i < count && names >= 0; i++) {
		char name[32] = "";
		if (entries[i].d_tag == DT_NEEDED &&
		    pread(fd, name, sizeof(name) - 1, names + (off_t)entries[i].d_un.d_val) > 0 &&
		    strncmp(name, begin, strlen(begin)) == 0)
			return true;
	}
	return false;
}

/* Sanitizers whose runtime is a library must find it before all others: AddressSanitizer ends the program that has it behind one, and threads that
 * are made past ThreadSanitizer crash. */
static const char *library_obstacle(int fd, const Elf64_Ehdr *header) {
	static const char *const first[] = {"libasan.so", "libclang_rt.asan", "libtsan.so", "libclang_rt.tsan"};
	Elf64_Phdr segment;
	for (size_t i = 0; i < header->e_phnum && segment_read(fd, header, i, &segment); i++) {
		for (size_t j = 0; segment.p_type == PT_DYNAMIC && j < sizeof(first) / sizeof(*first); j++) {
			if (needs_library(fd, header, &segment, first[j]))
				return "is linked with a sanitizer's library, which must come first in memory,";
		}
	}
	return NULL;
}

const char no_program[] = "is a shared library, not a program,";

/* Without PT_INTERP it is either this, or a program that moves itself (-static-pie), which says so. */
static bool is_library(int fd, const Elf64_Ehdr *header) {
	Elf64_Phdr segment;
	for (size_t i = 0; header->e_type == ET_DYN && i < header->e_phnum && segment_read(fd, header, i, &segment); i++) {
		Elf64_Dyn entry;
		if (segment.p_type != PT_DYNAMIC)
			continue;
		for (off_t at = 0; at < (off_t)segment.p_filesz; at += (off_t)sizeof(entry)) {
			if (pread(fd, &entry, sizeof(entry), (off_t)segment.p_offset + at) != sizeof(entry) || entry.d_tag == DT_NULL)
				break;
			if (entry.d_tag == DT_FLAGS_1 && (entry.d_un.d_val & DF_1_PIE))
				return false;
		}
		return true;
	}
	return false;
}

/* Looks for PT_INTERP: who loads the program decides whether it can be preloaded into. */
static const char *elf_obstacle(int fd, const Elf64_Ehdr *header, const char *path) {
	if (header->e_ident[EI_CLASS] != ELFCLASS64)
		return "is a 32-bit program";
	if (header->e_machine != ARCH_ELF_MACHINE)
		return "is a program for another kind of CPU";
	for (size_t i = 0; i < header->e_phnum; i++) {
		Elf64_Phdr segment;
		char loader[PATH_MAX];
		if (!segment_read(fd, header, i, &segment))
			return NULL;
		if (segment.p_type != PT_INTERP)
			continue;
		size_t size = segment.p_filesz < sizeof(loader) ? segment.p_filesz : sizeof(loader) - 1;
		ssize_t length = pread(fd, loader, size, (off_t)segment.p_offset);
		loader[length > 0 ? length : 0] = '\0';
		return strstr(loader, "ld-musl") ? "is linked against musl, not glibc," : library_obstacle(fd, header);
	}
	/* The loader itself, called by name, has no loader and preloads all the same. */
	const char *base = strrchr(path, '/');
	if (strncmp(base ? base + 1 : path, "ld-", 3) == 0 && header->e_type == ET_DYN)
		return NULL;
	return is_library(fd, header) ? no_program : "is statically linked";
}

/* The kernel follows at most four interpreters. */
const char *preload_obstacle(const char *path, char end[PATH_MAX]) {
	char interpreter[PATH_MAX];
	for (int depth = 0; depth < 5; depth++) {
		if (end)
			snprintf(end, PATH_MAX, "%s", path);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		union {
			Elf64_Ehdr elf;
			char text[PATH_MAX];
		} head;
		if (fd < 0)
			return NULL;
		const char *why = NULL;
		struct stat st;
		memset(&head, 0, sizeof(head));
		ssize_t length = pread(fd, &head, sizeof(head) - 1, 0);
		bool script = length > 2 && memcmp(head.text, "#!", 2) == 0;
		if (length >= (ssize_t)sizeof(head.elf) && memcmp(head.text, ELFMAG, SELFMAG) == 0) {
			if (fstat(fd, &st) == 0 && gains_privileges(fd, &st, !end))
				why = "gains privileges (setuid, setgid or file capabilities)";
			else
				why = elf_obstacle(fd, &head.elf, path);
		}
		close(fd);
		if (!script)
			return why;
		head.text[strcspn(head.text, "\n")] = '\0';
		char *start = head.text + 2 + strspn(head.text + 2, " \t");
		start[strcspn(start, " \t")] = '\0';
		snprintf(interpreter, sizeof(interpreter), "%s", start);
		path = interpreter;
	}
	return NULL;
}

/* Puts the library behind what is preloaded already, unless it is there: other libraries' functions are to be called first. */
static void preload_add(void) {
	const char *others = getenv("LD_PRELOAD");
	if (!others || !*others) {
		setenv("LD_PRELOAD", library_path, 1);
		return;
	}
	size_t length = strlen(library_path);
	for (const char *entry = others; *entry;) {
		size_t n = strcspn(entry, " :");
		if (n == length && memcmp(entry, library_path, n) == 0)
			return;
		entry += n;
		entry += strspn(entry, " :");
	}
	char *list;
	if (asprintf(&list, "%s:%s", others, library_path) < 0)
		fail(EXIT_OWN_FAILURE, "out of memory");
	setenv("LD_PRELOAD", list, 1);
}

/* execve, and execvp's fallback for a script without a first line. */
__attribute__((noreturn)) static void program_exec(const char *name, const char *path, int argc, char **argv) {
	execv(path, argv);
	if (errno == ENOEXEC) {
		char **shell = calloc((size_t)argc + 2, sizeof(*shell));
		if (!shell)
			fail(EXIT_OWN_FAILURE, "out of memory");
		shell[0] = (char *)"sh";
		shell[1] = (char *)path;
		memcpy(shell + 2, argv + 1, (size_t)argc * sizeof(*shell)); /* with the closing NULL */
		execv("/bin/sh", shell);
	}
	if (errno == ENOENT)
		fail(EXIT_NOT_FOUND, "%s: the interpreter or loader that it names was not found", name);
	fail(EXIT_NOT_EXECUTABLE, "%s: %s", name, strerror(errno));
}

/* ---- options ---------------------------------------------------------------------------------------------------------------- */

/* Checks one setting and puts it into the environment; GOSHIM is a list that grows. */
static void setting_put(const char *option, const char *variable, const char *value) {
	const char *error;
	if (!*value)
		fail_usage(option, " needs a value");
	if (!settings_apply(variable, value, &error))
		fail(EXIT_USAGE, "%s: %s", option, error);
	const char *old = getenv(variable);
	char *list;
	if (strcmp(variable, "GOSHIM") != 0 || !old || !*old) {
		setenv(variable, value, 1);
		return;
	}
	if (asprintf(&list, "%s,%s", old, value) < 0)
		fail(EXIT_OWN_FAILURE, "out of memory");
	setenv(variable, list, 1);
	free(list);
}

static void option_apply(const char *option, const char *value) {
	if (strcmp(option, "--procs") == 0) {
		setting_put(option, "GOMAXPROCS", value);
	} else if (strcmp(option, "--set") == 0) {
		setting_put(option, "GOSHIM", value);
	} else {
		char *item;
		if (asprintf(&item, "stack=%s", value) < 0)
			fail(EXIT_OWN_FAILURE, "out of memory");
		setting_put(option, "GOSHIM", item);
		free(item);
	}
}

/* True: nothing is to be run. */
static bool option_informs(const char *option, const char *next) {
	static const char *const all[] = {"--help", "-h", "--version", "--list"};
	for (size_t i = 0; next && i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(option, all[i]) == 0) {
			fprintf(stderr, "goshim: %s takes no argument: %s (see goshim --help)\n", option, next);
			exit(EXIT_USAGE);
		}
	}
	if (strcmp(option, "--help") == 0 || strcmp(option, "-h") == 0) {
		usage(stdout);
	} else if (strcmp(option, "--version") == 0) {
		puts("goshim " GOSHIM_VERSION);
	} else if (strcmp(option, "--list") == 0) {
		library_find();
		list_symbols();
	} else {
		return false;
	}
	if (fflush(stdout) != 0 || ferror(stdout)) /* or an earlier write, of a full buffer */
		fail(EXIT_OWN_FAILURE, "standard output: %s", strerror(errno));
	return true;
}

static bool option_takes_value(const char *option) {
	return strcmp(option, "--procs") == 0 || strcmp(option, "--stack") == 0 || strcmp(option, "--set") == 0;
}

/* Returns the index of PROGRAM, or -1 when there is nothing to run. */
static int options_read(int argc, char **argv) {
	int i = 1;
	for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		if (strcmp(argv[i], "--") == 0)
			return i + 1;
		if (option_informs(argv[i], argv[i + 1]))
			return -1;
		char option[16];
		size_t length = strcspn(argv[i], "=");
		snprintf(option, sizeof(option), "%.*s", (int)(length < sizeof(option) ? length : sizeof(option) - 1),
			 argv[i]);
		if (!option_takes_value(option))
			fail_usage("unknown option ", argv[i]);
		if (argv[i][length] == '=')
			option_apply(option, argv[i] + length + 1);
		else if (i + 1 < argc)
			option_apply(option, argv[++i]);
		else
			fail_usage(option, " needs a value");
	}
	return i;
}

int main(int argc, char **argv) {
	const char *error;
	if (argc > 1 && strcmp(argv[1], "check") == 0)
		return check_main(argc - 2, argv + 2);
	if (argc > 1 && strcmp(argv[1], "ctl") == 0)
		return ctl_client(argc - 2, argv + 2);
	int program = options_read(argc, argv);
	if (program < 0)
		return 0;
	if (program >= argc)
		fail_usage("no program given", "");
	if (!settings_read(environ, &error))
		fail(EXIT_USAGE, "%s", error);
	char path[PATH_MAX];
	program_find(argv[program], path);
	const char *why = preload_obstacle(path, NULL);
	if (why) {
		fprintf(stderr, "goshim: %s %s and cannot be preloaded into; running on kernel threads\n",
			argv[program], why);
	} else {
		library_find();
		preload_add();
	}
	program_exec(argv[program], path, argc - program, argv + program);
}
