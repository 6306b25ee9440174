/* The one table of settings, its strict parser, and the default of GOMAXPROCS.
 *
 * Compiled into the library and into the launcher, so that `goshim --set` refuses what the library would refuse and `--help` cannot
 * differ from either. Runs in the library's constructor: no allocation, no locale, no stdio on that path, no getenv()
 * (envp is walked); nothing is read from files until settings_procs(). */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROCS_MAX 256
#define IDLE_MS_DEFAULT 4
#define IDLE_MS_MAX 1024
#define CHAOS_PERCENT_DEFAULT 10
#define SCHEDTRACE_MAX_MS 3600000
#define IO_DEADLINE_MAX_S 86400
#define TRIM_DEFAULT_S 10
#define TRIM_MAX_S 86400
#define PANIC_LIMIT_DEFAULT 10
#define PANIC_LIMIT_MAX 1000000
#define STACK_MIN ((size_t)16 << 10)
#define STACK_MAX ((size_t)1 << 30)

struct settings settings = {.patch = true, .fewer = true, .batch = 1, .preempt = true, .idle_ms = IDLE_MS_DEFAULT, .chaos_percent = CHAOS_PERCENT_DEFAULT,
			    .trim_s = TRIM_DEFAULT_S, .panic_limit = PANIC_LIMIT_DEFAULT};

/* ---- text without stdio ------------------------------------------------------------------------------------------- */

static char error_line[320];

/* Appends at most 80 bytes of `s`; what is not printable ASCII becomes '?': the value came from outside. */
static void error_add(const char *s) {
	size_t length = strlen(error_line);
	for (size_t n = 0; *s && n < 80 && length + 1 < sizeof(error_line); s++, n++)
		error_line[length++] = *s >= ' ' && *s <= '~' ? *s : '?';
	error_line[length] = '\0';
}

static bool error_set(const char *setting, const char *value, const char *accepts, const char **error) {
	error_line[0] = '\0';
	error_add(setting);
	error_add("=");
	error_add(value);
	error_add(": ");
	error_add(accepts);
	*error = error_line;
	return false;
}

/* ---- parsers: the whole text must be a value; they leave *settings alone when it is not ---------------------------- */

/* A decimal integer with optional sign; saturates. */
static bool parse_integer(const char *text, long long *out) {
	bool negative = *text == '-';
	if (*text == '-' || *text == '+')
		text++;
	if (!*text)
		return false;
	long long value = 0;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		if (value < LLONG_MAX / 16)
			value = value * 10 + (*text - '0');
	}
	*out = negative ? -value : value;
	return true;
}

static bool parse_procs(const char *text) {
	long long n;
	if (!parse_integer(text, &n))
		return false;
	settings.gomaxprocs = n < 1 ? 1 : n > PROCS_MAX ? PROCS_MAX : (uint32_t)n;
	return true;
}

static bool parse_bool(const char *text, bool *out) {
	if ((text[0] != '0' && text[0] != '1') || text[1])
		return false;
	*out = text[0] == '1';
	return true;
}

static bool parse_off(const char *text) {
	return parse_bool(text, &settings.off);
}

static bool parse_fewer(const char *text) {
	return parse_bool(text, &settings.fewer);
}

static bool parse_batch(const char *text) {
	long long n;
	if (!parse_integer(text, &n) || n < 0 || n > 2)
		return false;
	settings.batch = (uint8_t)n;
	return true;
}

static bool parse_preempt(const char *text) {
	return parse_bool(text, &settings.preempt);
}

static bool parse_fsbase(const char *text) {
	settings.fsbase_trap = strcmp(text, "trap") == 0;
	return settings.fsbase_trap || strcmp(text, "call") == 0;
}

static bool parse_verbose(const char *text) {
	return parse_bool(text, &settings.verbose);
}

static bool parse_patch(const char *text) {
	return parse_bool(text, &settings.patch);
}

static bool parse_bypass(const char *text) {
	return parse_bool(text, &settings.bypass);
}

static bool parse_stack(const char *text) {
	size_t value = 0;
	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (value <= STACK_MAX)
			value = value * 10 + (size_t)(*text - '0');
	}
	unsigned shift = 0;
	switch (*text) {
	case 'k':
		shift = 10;
		break;
	case 'm':
		shift = 20;
		break;
	case 'g':
		shift = 30;
		break;
	}
	if (text[shift ? 1 : 0] || value > STACK_MAX >> shift || (value << shift) < STACK_MIN)
		return false;
	settings.stack = value << shift;
	return true;
}

static bool parse_guard(const char *text) {
	if (strcmp(text, "markers") != 0 && strcmp(text, "mprotect") != 0)
		return false;
	settings.guard_mprotect = text[1] == 'p';
	return true;
}

/* 0 to 10^15: room for any seed that a person or a clock makes up. */
static bool parse_count(const char *text, uint64_t *out) {
	long long n;
	if (!parse_integer(text, &n) || n < 0 || n > 1000000000000000)
		return false;
	*out = (uint64_t)n;
	return true;
}

static bool parse_chaos(const char *text) {
	return parse_count(text, &settings.chaos);
}

static bool parse_chaos_errors(const char *text) {
	return parse_bool(text, &settings.chaos_errors);
}

static bool parse_fail(const char *text) {
	return parse_count(text, &settings.fail);
}

static bool parse_percent(const char *text) {
	uint64_t n;
	if (!parse_count(text, &n) || n < 1 || n > 100)
		return false;
	settings.chaos_percent = (uint32_t)n;
	return true;
}

static bool parse_ctl(const char *text) {
	if (text[0] == '/' && strlen(text) < sizeof(settings.ctl_folder)) {
		strcpy(settings.ctl_folder, text);
		settings.ctl = true;
		return true;
	}
	settings.ctl_folder[0] = '\0';
	return parse_bool(text, &settings.ctl);
}

static bool parse_io_deadline(const char *text) {
	long long n;
	if (!parse_integer(text, &n) || n < 0 || n > IO_DEADLINE_MAX_S)
		return false;
	settings.io_deadline_s = (uint32_t)n;
	return true;
}

static bool parse_trim(const char *text) {
	long long n;
	if (!parse_integer(text, &n) || n < 0 || n > TRIM_MAX_S)
		return false;
	settings.trim_s = (uint32_t)n;
	return true;
}

static bool parse_schedtrace(const char *text) {
	long long n;
	if (!parse_integer(text, &n) || n < 1 || n > SCHEDTRACE_MAX_MS)
		return false;
	settings.schedtrace_ms = (uint32_t)n;
	return true;
}

static bool parse_idle_ms(const char *text) {
	long long n;
	if (!parse_integer(text, &n) || n < 0 || n > IDLE_MS_MAX)
		return false;
	settings.idle_ms = (uint32_t)n;
	return true;
}

static bool parse_panic(const char *text) {
	bool isolate = strcmp(text, "isolate") == 0;
	bool release = strcmp(text, "isolate+release") == 0 || strcmp(text, "isolate,release") == 0;
	if (!isolate && !release && strcmp(text, "crash") != 0)
		return false;
	settings.panic_isolate = isolate || release;
	settings.panic_release = release;
	return true;
}

static bool parse_panic_limit(const char *text) {
	long long n;
	if (!parse_integer(text, &n) || n < 1 || n > PANIC_LIMIT_MAX)
		return false;
	settings.panic_limit = (uint32_t)n;
	return true;
}

/* ---- the table ------------------------------------------------------------------------------------------------------ */

struct setting {
	const char *name;
	bool (*parse)(const char *text);
	const char *accepts; /* ends the sentence "NAME=VALUE: " in errors */
	const char *value;   /* for --help */
	const char *help;
};

#define ACCEPTS_BOOL "must be 0 or 1"

static const struct setting procs_setting = {
	"GOMAXPROCS", parse_procs, "must be a whole number (it is clamped to 1..256)", "N",
	"goroutines that may run at once; default: the CPUs this process may use, by affinity and cgroup quota",
};

static const struct setting table[] = {
	{"off", parse_off, ACCEPTS_BOOL, "0|1", "1: stand aside, run on kernel threads as if goshim were not there; default 0"},
	{"verbose", parse_verbose, ACCEPTS_BOOL, "0|1", "1: say on stderr what was decided when the runtime starts; default 0"},
	{"stack", parse_stack, "must be a size of 16k to 1g: digits, then nothing, k, m or g", "SIZE",
	 "stack of a thread that asks for none; default: the limit of `ulimit -s`, as without goshim"},
	{"fsbase", parse_fsbase, "must be call or trap", "call|trap",
	 "how a switch writes the thread pointer where the kernel does not let programs; trap: behind its back, if that works here; default call"},
	{"guard", parse_guard, "must be markers or mprotect", "markers|mprotect",
	 "how stacks are fenced; markers (default) cost no memory mapping each, older kernels get mprotect anyway"},
	{"trim", parse_trim, "must be a number of seconds, 0 to 86400", "SECONDS",
	 "a thread that has waited so long gives back what its stack used deep down; 0: never; default 10"},
	{"patch", parse_patch, ACCEPTS_BOOL, "0|1",
	 "0: leave libc's code in memory alone; what waits inside libc (stdio, resolver, malloc) then holds a kernel thread; default 1"},
	{"bypass", parse_bypass, ACCEPTS_BOOL, "0|1",
	 "1: run on goroutines although a library that LD_PRELOAD names behind goshim's has functions that it will not be called for; default 0, stand aside"},
	{"idle_ms", parse_idle_ms, "must be a number of 0 to 1024", "N",
	 "idle kernel threads kept above GOMAXPROCS for the next blocking call; default 4"},
	{"fewer", parse_fewer, ACCEPTS_BOOL, "0|1",
	 "0: GOMAXPROCS goroutines may always run at once, though a server whose CPUs hinder each other serves more with fewer; default 1"},
	{"batch", parse_batch, "must be 0, 1 or 2", "0|1|2",
	 "0: kernel threads that waited are woken as the program's would be, 2: as SCHED_BATCH, which interrupts nobody; default 1, as serves more"},
	{"preempt", parse_preempt, ACCEPTS_BOOL, "0|1",
	 "0: never interrupt a thread that computes, let the kernel share the CPU between it and who waits; default 1"},
	{"chaos", parse_chaos, "must be a whole number of 0 to 10^15", "SEED",
	 "for tests: force yields, migrations, steals, handoffs, delays, parts, refusals and fewer CPUs at random; default 0, none"},
	{"p", parse_percent, "must be a number of 1 to 100", "PERCENT", "how often chaos strikes; default 10"},
	{"chaos_errors", parse_chaos_errors, ACCEPTS_BOOL, "0|1",
	 "1: chaos also refuses memory and threads where the program sees it, as EAGAIN from pthread_create; default 0"},
	{"fail", parse_fail, "must be a whole number of 0 to 10^15", "N",
	 "for tests: the runtime's N-th allocation or system call that may fail does, once; default 0, none"},
	{"ctl", parse_ctl, "must be 0, 1 or the full path of a folder of at most 47 characters", "0|1|/FOLDER",
	 "1: open a control socket for `goshim ctl PID ...`, for this user and root only; FOLDER must be the user's own and 0700; default 0"},
	{"io_deadline", parse_io_deadline, "must be a number of seconds, 0 to 86400", "SECONDS",
	 "a socket call that waits longer for its peer fails with EAGAIN, as under SO_RCVTIMEO; default 0, never"},
	{"panic", parse_panic, "must be crash, isolate or isolate,release", "crash|isolate|isolate,release",
	 "isolate: a crash (SIGSEGV, SIGBUS, SIGFPE, SIGILL, abort) ends its thread only, see the README for what that cannot promise; release: and "
	 "unlocks the mutexes it held; default crash"},
	{"panic_limit", parse_panic_limit, "must be a number of 1 to 1000000", "N",
	 "so many crashes a minute are isolated, the next one ends the process; default 10"},
	{"schedtrace", parse_schedtrace, "must be a number of milliseconds, 1 to 3600000", "MS",
	 "print a line about the scheduler on stderr so often; default never"},
};

#define TABLE_COUNT (sizeof(table) / sizeof(table[0]))
#define ITEM_MAX 256

/* GOSHIM has an item that is no key=value, or one with an unknown key. */
static bool error_set_list(const char *item, const char **error) {
	error_set("GOSHIM", item, "must be KEY=VALUE,KEY=VALUE with keys of:", error);
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		error_add(" ");
		error_add(table[i].name);
	}
	return false;
}

/* One "key=value" of GOSHIM: text[0..length). Of one that is too long, which no value of ours is, the beginning is kept for the complaint. */
static bool setting_apply(const char *text, size_t length, const char **error) {
	char item[ITEM_MAX];
	bool whole = length < sizeof(item);
	size_t copied = whole ? length : sizeof(item) - 1;
	memcpy(item, text, copied);
	item[copied] = '\0';
	char *equals = strchr(item, '=');
	if (!equals)
		return error_set_list(item, error);
	*equals = '\0';
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (strcmp(item, table[i].name) != 0)
			continue;
		if (whole && table[i].parse(equals + 1))
			return true;
		char name[ITEM_MAX] = "GOSHIM=";
		strcat(name, table[i].name);
		return error_set(name, equals + 1, table[i].accepts, error);
	}
	*equals = '=';
	return error_set_list(item, error);
}

/* How long the first item of the list is. The one value that has a comma in it is told by what follows. */
static size_t item_length(const char *list) {
	static const char isolate[] = "panic=isolate", release[] = ",release";
	size_t length = strcspn(list, ","), rest = sizeof(release) - 1;
	if (length == sizeof(isolate) - 1 && strncmp(list, isolate, length) == 0 && strncmp(list + length, release, rest) == 0 &&
	    (list[length + rest] == ',' || !list[length + rest]))
		length += rest;
	return length;
}

/* An empty variable is one that is not set, as shells write it. */
bool settings_apply(const char *variable, const char *value, const char **error) {
	if (!*value)
		return true;
	if (strcmp(variable, procs_setting.name) == 0) {
		if (procs_setting.parse(value))
			return true;
		return error_set(procs_setting.name, value, procs_setting.accepts, error);
	}
	for (;;) { /* what scripts put together by "$GOSHIM,more" has empty items */
		size_t length = item_length(value);
		if (length && !setting_apply(value, length, error))
			return false;
		if (!value[length])
			return true;
		value += length + 1;
	}
}

/* The value of `name` in envp: the first one, as getenv() would say. */
static const char *env_find(char **envp, const char *name) {
	size_t length = strlen(name);
	for (; envp && *envp; envp++) {
		if (strncmp(*envp, name, length) == 0 && (*envp)[length] == '=')
			return *envp + length + 1;
	}
	return NULL;
}

bool settings_read(char **envp, const char **error) {
	static const char *const variables[] = {"GOSHIM", "GOMAXPROCS"};
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		const char *value = env_find(envp, variables[i]);
		if (value && !settings_apply(variables[i], value, error))
			return false;
	}
	const char *runtime = settings.ctl ? env_find(envp, "XDG_RUNTIME_DIR") : NULL;
	if (runtime && runtime[0] == '/' && strlen(runtime) < sizeof(settings.runtime_dir))
		strcpy(settings.runtime_dir, runtime);
	return true;
}

void settings_help(FILE *out) {
	fprintf(out, "  %s=%s\n      %s\n", procs_setting.name, procs_setting.value, procs_setting.help);
	fprintf(out, "  GOSHIM=KEY=VALUE[,KEY=VALUE...]\n");
	for (size_t i = 0; i < TABLE_COUNT; i++)
		fprintf(out, "    %s=%s\n      %s\n", table[i].name, table[i].value, table[i].help);
}

/* ---- the default of GOMAXPROCS ------------------------------------------------------------------------------------ */

/* Raw system calls: open(), read() and close() are our own shims, and this runs while the runtime starts. */
static size_t file_read(const char *path, char *buffer, size_t size) {
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	buffer[0] = '\0';
	if (fd < 0)
		return 0;
	size_t length = 0;
	while (length < size - 1) {
		long n = syscall(SYS_read, fd, buffer + length, size - 1 - length);
		if (n <= 0)
			break;
		length += (size_t)n;
	}
	syscall(SYS_close, fd);
	buffer[length] = '\0';
	return length;
}

static uint32_t affinity_procs(void) {
	unsigned long mask[8192 / (8 * sizeof(unsigned long))];
	long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
	uint32_t count = 0;
	for (size_t i = 0; bytes > 0 && i < (size_t)bytes / sizeof(mask[0]); i++)
		count += (uint32_t)__builtin_popcountl(mask[i]);
	return count ? count : 1;
}

/* CPUs that one cpu.max allows, rounded up; 0: no limit there. Its line is "QUOTA PERIOD" or "max PERIOD". */
static uint32_t quota_procs(const char *text) {
	unsigned long long number[2] = {0, 0};
	for (size_t i = 0; i < 2; i++) {
		while (*text == ' ')
			text++;
		if (*text < '0' || *text > '9')
			return 0;
		for (; *text >= '0' && *text <= '9' && number[i] < ULLONG_MAX / 16; text++)
			number[i] = number[i] * 10 + (unsigned long long)(*text - '0');
	}
	if (number[1] == 0)
		return 0;
	unsigned long long procs = number[0] / number[1] + (number[0] % number[1] != 0);
	return procs > PROCS_MAX ? PROCS_MAX : procs < 1 ? 1 : (uint32_t)procs;
}

/* The tightest quota on the way from this process's cgroup up to the root. In a container the path in /proc/self/cgroup may name a folder
 * that is not visible here; the root's own cpu.max is the container's then. */
static uint32_t cgroup_procs(void) {
	static const char root[] = "/sys/fs/cgroup";
	char text[4096];
	char path[4096 + 64];
	if (file_read("/proc/self/cgroup", text, sizeof(text)) == 0)
		return 0;
	const char *line = text;
	while (line && strncmp(line, "0::/", 4) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return 0;
	size_t length = strcspn(line + 3, "\n");
	memcpy(path, root, sizeof(root) - 1);
	memcpy(path + sizeof(root) - 1, line + 3, length);
	length += sizeof(root) - 1;
	uint32_t least = 0;
	for (;;) {
		while (length > sizeof(root) - 1 && path[length - 1] == '/')
			length--;
		memcpy(path + length, "/cpu.max", sizeof("/cpu.max"));
		char value[64];
		file_read(path, value, sizeof(value));
		uint32_t procs = quota_procs(value);
		if (procs && (!least || procs < least))
			least = procs;
		if (length <= sizeof(root) - 1)
			return least;
		while (path[length - 1] != '/')
			length--;
	}
}

uint32_t settings_procs(void) {
	if (settings.gomaxprocs)
		return settings.gomaxprocs;
	int saved_errno = errno;
	uint32_t procs = affinity_procs();
	uint32_t quota = cgroup_procs();
	errno = saved_errno;
	if (quota && quota < procs)
		procs = quota;
	return procs > PROCS_MAX ? PROCS_MAX : procs;
}
