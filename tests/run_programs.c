/* Runs every program of tests/programs natively and under goshim with GOMAXPROCS 1, 2 and 8, and compares (SCH-12).
 *
 * The programs are unmodified pthread programs that know nothing of goshim and print only what does not depend on timing. Expected
 * is what the native run did: same exit status (or signal), same standard output. Where tests/programs/NAME.out exists, that is expected
 * instead, with exit status 0, and there is no native run: for programs whose outcome on kernel threads depends on what else the
 * machine does (limits of the whole system, timing). Such a file is what a quiet machine printed natively. Runs under goshim have GOSHIM=verbose=1 and must say on stderr that the runtime started: a run
 * on kernel threads would prove nothing.
 *
 * Every run has a watchdog. When it strikes, the failure shows what the program had printed and, where gdb is installed, the stacks
 * of its kernel threads; then the run's whole process group is killed.
 *
 * tests/programs/NAME.args, one a line, all optional:
 *     timeout=SECONDS      default 30
 *     arg=TEXT             an argument of the program
 *     env=NAME=VALUE       for all runs
 *     goshim=KEY=VALUE     added to GOSHIM
 *     procs=N,N            instead of 1,2,8
 *     threads=0            creates no thread: the runtime must not start
 *     aside=1              standing aside is what the test expects
 *     program=NAME         runs that program instead of the one of its own name
 * RUN_PROGRAMS_SETTINGS in the environment is added to GOSHIM of every run, and shown with a failure; time limits are four times as long
 * then: chaos=SEED slows programs down (make chaos). RUN_PROGRAMS_SLOWER says how many times as long instead.
 *
 * RUN_PROGRAMS_AFTER is put behind the library in LD_PRELOAD: ":LIBRARY" (make asan).
 *
 * RUN_PROGRAMS_NATIVE names a folder where native runs leave what they did, for later runs under other settings (scripts/chaos).
 *
 * RUN_PROGRAMS_UNDER names a command that runs each program, an emulator of another CPU (scripts/under-qemu, make test-aarch64): it finds the library
 * in UNDER_PRELOAD. RUN_PROGRAMS_PROCS=N,N stands for 1,2,8 then. Time limits are four times as long.
 *
 * The same source makes two runners: `make programs` over tests/programs, and `make soak` over tests/stress, whose *.args run programs of
 * tests/programs for long (SUITE). What those print, NAME.out of the program says, or a native run of the same length.
 * The make variable ONLY chooses programs; each is one Criterion test, so --filter works, too. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SUITE
#define SUITE "programs"
#endif
#define OUTPUT_MAX (1 << 20)
#define SHOWN_MAX 3000
#define TIMEOUT_DEFAULT_S 30

struct config {
	int timeout_s;
	char *args[18]; /* [0] is the program; NULL-terminated */
	int arg_count;
	char *env[16];
	int env_count;
	int procs[8];
	int procs_count;
	char goshim[256];
	bool aside, threads;
};

struct run {
	char mode[96];   /* "native", "GOMAXPROCS=2" */
	int status;      /* as waitpid()'s */
	bool hung;
	char *out, *err; /* NUL-terminated */
	char *stacks;    /* of a hung or crashed run; may be NULL */
};

static const char *root_of(const char *variable, const char *fallback) {
	const char *value = getenv(variable);
	return value && *value ? value : fallback;
}

static char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text_format(const char *format, ...) {
	va_list args;
	char *text;
	va_start(args, format);
	cr_assert(vasprintf(&text, format, args) >= 0, "out of memory");
	va_end(args);
	return text;
}

static char *fd_read_all(int fd) {
	char *text = malloc(OUTPUT_MAX + 1);
	size_t length = 0;
	ssize_t n;
	cr_assert(text, "out of memory");
	while (length < OUTPUT_MAX && (n = pread(fd, text + length, OUTPUT_MAX - length, (off_t)length)) > 0)
		length += (size_t)n;
	text[length] = '\0';
	return text;
}

/* NULL if there is no such file. */
static char *file_read_all(const char *path) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	char *text = fd_read_all(fd);
	close(fd);
	return text;
}

/* NULL: programs are this machine's. */
static const char *emulator(void) {
	return root_of("RUN_PROGRAMS_UNDER", NULL);
}

static char *program_path(const char *name) {
	return text_format("%s/tests/programs/%s", root_of("GOSHIM_BUILD", "build"), name);
}

/* ---- NAME.args ---------------------------------------------------------------------------------------------------- */

static void procs_read(struct config *c, const char *list) {
	c->procs_count = 0;
	for (const char *p = list; *p && c->procs_count < 8; p += strcspn(p, ","), p += *p == ',')
		c->procs[c->procs_count++] = atoi(p);
}

static void config_line(struct config *c, const char *line, const char *path) {
	const char *value = strchr(line, '=');
	size_t key = value ? (size_t)(value - line) : 0;
	value = value ? value + 1 : "";
#define IS(name) (key == strlen(name) && strncmp(line, name, key) == 0)
	if (IS("timeout")) {
		c->timeout_s = atoi(value);
	} else if (IS("arg") && c->arg_count < 17) {
		c->args[c->arg_count++] = strdup(value);
	} else if (IS("env") && c->env_count < 16) {
		c->env[c->env_count++] = strdup(value);
	} else if (IS("goshim")) {
		snprintf(c->goshim, sizeof(c->goshim), "verbose=1,%s", value);
	} else if (IS("program")) {
		c->args[0] = program_path(value);
	} else if (IS("aside")) {
		c->aside = atoi(value) != 0;
	} else if (IS("threads")) {
		c->threads = atoi(value) != 0;
	} else if (IS("procs")) {
		procs_read(c, value);
	} else {
		cr_assert_fail("%s: cannot use the line \"%s\"", path, line);
	}
#undef IS
}

static void config_read(struct config *c, const char *name) {
	*c = (struct config){.timeout_s = TIMEOUT_DEFAULT_S, .procs = {1, 2, 8}, .procs_count = 3, .goshim = "verbose=1",
	                     .threads = true};
	c->args[c->arg_count++] = program_path(name);
	if (getenv("RUN_PROGRAMS_PROCS"))
		procs_read(c, getenv("RUN_PROGRAMS_PROCS"));
	char *path = text_format("%s/tests/" SUITE "/%s.args", root_of("GOSHIM_SOURCE", "."), name);
	char *text = file_read_all(path);
	for (char *line = text; line && *line;) {
		size_t length = strcspn(line, "\n");
		bool last = line[length] == '\0';
		line[length] = '\0';
		if (*line && *line != '#')
			config_line(c, line, path);
		line += last ? length : length + 1;
	}
	free(text);
	free(path);
	const char *more = root_of("RUN_PROGRAMS_SETTINGS", NULL);
	if (more) {
		size_t length = strlen(c->goshim);
		snprintf(c->goshim + length, sizeof(c->goshim) - length, ",%s", more);
	}
	const char *slower = root_of("RUN_PROGRAMS_SLOWER", NULL);
	if (slower)
		c->timeout_s *= atoi(slower);
	else if (more || emulator())
		c->timeout_s *= 4;
}

/* ---- one run -------------------------------------------------------------------------------------------------------- */

static char *library(void) {
	return text_format("%s/libgoshim.so%s", root_of("GOSHIM_BUILD", "build"), root_of("RUN_PROGRAMS_AFTER", ""));
}

/* The child: a process group of its own, so that the watchdog reaches its children; no core files. What a shell ignores for those in its background (SIGINT and
 * SIGQUIT), and nohup and Python for theirs, would be inherited, and what a native run printed is kept for later runs, which may have been started otherwise. */
__attribute__((noreturn)) static void child_run(const struct config *c, int procs, int out, int err) {
	char number[16];
	setpgid(0, 0);
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	int null = open("/dev/null", O_RDONLY);
	dup2(null, 0);
	dup2(out, 1);
	dup2(err, 2);
	closefrom(3);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	unsetenv("GOSHIM");
	unsetenv("GOMAXPROCS");
	unsetenv("LD_PRELOAD");
	for (int i = 0; i < c->env_count; i++)
		putenv(c->env[i]);
	if (procs > 0) {
		snprintf(number, sizeof(number), "%d", procs);
		setenv(emulator() ? "UNDER_PRELOAD" : "LD_PRELOAD", library(), 1);
		setenv("GOMAXPROCS", number, 1);
		setenv("GOSHIM", c->goshim, 1);
	}
	if (emulator()) {
		char *args[20] = {(char *)emulator()};
		memcpy(args + 1, c->args, sizeof c->args);
		execv(args[0], args);
	}
	execv(c->args[0], c->args);
	dprintf(2, "%s: %s\n", c->args[0], strerror(errno));
	_exit(127);
}

static char *command_output(const char *command) {
	FILE *pipe = popen(command, "r");
	if (!pipe)
		return NULL;
	char *text = malloc(SHOWN_MAX * 4 + 1);
	size_t length = text ? fread(text, 1, SHOWN_MAX * 4, pipe) : 0;
	if (text)
		text[length] = '\0';
	while (fgetc(pipe) != EOF)
		continue;
	pclose(pipe);
	return text;
}

/* What a run that hung is at: what its kernel threads wait for and which signals wait for them, before gdb disturbs that; its goroutines; everybody's frames. */
static char *gdb_stacks(pid_t pid) {
	char *command = text_format("for t in /proc/%d/task/*; do echo $(cat $t/stat | cut -d ' ' -f 1-3) in $(cut -d ' ' -f 1-4 $t/syscall), "
	                            "$(grep -E '^(SigPnd|SigBlk|vol|nonvol)' $t/status); done 2>/dev/null; "
	                            "timeout -k 2 20 gdb -nx -q -batch -p %d -x %s/scripts/goshim-gdb.py -ex 'info goroutines' -ex 'info sched' "
	                            "-ex 'thread apply all -q printf \"%%#lx rax %%#lx\\n\", $pc, $rax' -ex 'thread apply all bt 24' 2>/dev/null </dev/null",
	                            pid, pid, root_of("GOSHIM_SOURCE", "."));
	char *text = command_output(command);
	free(command);
	return text;
}

/* A run that died of `sig`, again, under gdb, which stops at that one only: the first that a handler takes would tell nothing. One that hung until its own
 * alarm() is stopped before that. */
static char *gdb_crash(const struct config *c, int procs, int sig) {
	const char *name = sigabbrev_np(sig);
	char *which = name ? text_format("SIG%s", name) : text_format("SIG%d", sig); /* gdb's names of real-time signals */
	/* Through a file: children that the program leaves behind would keep a pipe open, and us here. */
	char *command = text_format(
		"f=$(mktemp); timeout -s INT -k 5 20 gdb -nx -q -batch -ex 'set startup-with-shell off' -ex 'handle all nostop noprint pass' "
		"-ex 'handle %s stop print' -ex 'set environment LD_PRELOAD %s' -ex 'set environment GOMAXPROCS %d' -ex 'set environment GOSHIM %s' "
		"-ex run -ex 'bt 24' -ex 'info threads' --args %s %s >\"$f\" 2>&1 </dev/null; tail -n 60 \"$f\"; rm -f \"$f\"",
		which, library(), procs, c->goshim, c->args[0], c->arg_count > 1 ? c->args[1] : "");
	char *text = command_output(command);
	free(command);
	free(which);
	return text;
}

/* True when the child ended in time. Not reaped yet: its pid, which is its group's, stays reserved. */
static bool child_wait(pid_t pid, int timeout_s) {
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	cr_assert(pidfd >= 0, "pidfd_open: %s", strerror(errno));
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int n;
	do
		n = poll(&p, 1, timeout_s * 1000);
	while (n < 0 && errno == EINTR);
	close(pidfd);
	return n > 0;
}

static struct run program_run(const struct config *c, int procs) {
	struct run r = {0};
	if (procs > 0)
		snprintf(r.mode, sizeof(r.mode), "GOMAXPROCS=%d %s", procs, root_of("RUN_PROGRAMS_SETTINGS", ""));
	else
		snprintf(r.mode, sizeof(r.mode), "native");
	int out = memfd_create("stdout", MFD_CLOEXEC), err = memfd_create("stderr", MFD_CLOEXEC);
	cr_assert(out >= 0 && err >= 0, "memfd_create: %s", strerror(errno));
	pid_t pid = fork();
	cr_assert(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0)
		child_run(c, procs, out, err);
	setpgid(pid, pid); /* whoever of the two comes first */
	r.hung = !child_wait(pid, c->timeout_s);
	if (r.hung)
		r.stacks = gdb_stacks(pid);
	kill(-pid, SIGKILL);
	while (waitpid(pid, &r.status, 0) < 0 && errno == EINTR)
		continue;
	r.out = fd_read_all(out);
	r.err = fd_read_all(err);
	close(out);
	close(err);
	return r;
}

static void run_free(struct run *r) {
	free(r->out);
	free(r->err);
	free(r->stacks);
}

/* ---- judgement ------------------------------------------------------------------------------------------------------ */

static char *status_text(const struct run *r) {
	if (r->hung)
		return text_format("hung");
	if (WIFSIGNALED(r->status))
		return text_format("signal %d (%s)", WTERMSIG(r->status), strsignal(WTERMSIG(r->status)));
	return text_format("exit status %d", WEXITSTATUS(r->status));
}

/* Where out and expected part: both from a few lines before that, or what there is of them. */
static void skip_common(const char **out, const char **expected) {
	enum { BEFORE = 3 };
	size_t starts[BEFORE + 1] = {0}, i = 0;
	for (; (*out)[i] && (*out)[i] == (*expected)[i]; i++) {
		if ((*out)[i] == '\n') {
			memmove(starts, starts + 1, BEFORE * sizeof *starts);
			starts[BEFORE] = i + 1;
		}
	}
	if (!(*out)[i] && !(*expected)[i])
		return; /* what is wrong is something else */
	*out += starts[0];
	*expected += starts[0];
}

static void run_report(const char *name, const struct run *r, const char *what, const char *expected) {
	char *status = status_text(r);
	const char *out = r->out;
	skip_common(&out, &expected);
	cr_expect_fail("%s, %s: %s\n  ended with: %s\n--- stdout, from where it differs ---\n%.*s\n--- stderr ---\n%.*s\n--- there in the native run, or the .out file ---\n%.*s\n%s%.*s",
	               name, r->mode, what, status, SHOWN_MAX, out, SHOWN_MAX, r->err, SHOWN_MAX, expected,
	               r->stacks ? "--- stacks ---\n" : "", SHOWN_MAX * 4, r->stacks ? r->stacks : "");
	free(status);
}

/* The line that GOSHIM=verbose=1 makes the library print. */
static bool runtime_started(const struct run *r) {
	return strstr(r->err, "goshim: GOMAXPROCS ") && !strstr(r->err, "; running on kernel threads");
}

/* NULL: as it should be. */
static const char *run_judge(const struct config *c, const struct run *r, const struct run *reference) {
	if (r->hung)
		return "did not end in time";
	if (r->status != reference->status)
		return "ended differently from the native run";
	if (strcmp(r->out, reference->out) != 0)
		return "printed something else than the native run";
	if (runtime_started(r) != (c->threads && !c->aside))
		return runtime_started(r) ? "ran on goroutines, which it should not" : "did not run on goroutines";
	return NULL;
}

/* NULL: native runs are not kept. */
static char *native_path(const char *name) {
	const char *folder = getenv("RUN_PROGRAMS_NATIVE");
	return folder ? text_format("%s/%s", folder, name) : NULL;
}

/* A kept run: its status on the first line, then what it printed. */
static bool native_read(const char *path, struct run *r) {
	char *text = path ? file_read_all(path) : NULL, *output;
	if (!text)
		return false;
	*r = (struct run){.mode = "native, earlier", .status = (int)strtol(text, &output, 10)};
	r->out = strdup(output + 1);
	free(text);
	return true;
}

static void native_write(const char *path, const struct run *r) {
	char *beside = text_format("%s.new", path);
	FILE *f = fopen(beside, "w");
	cr_assert(f && fprintf(f, "%d\n%s", r->status, r->out) > 0 && fclose(f) == 0 && rename(beside, path) == 0, "%s: %s", path,
	          strerror(errno));
	free(beside);
}

/* What every run is compared with. False: there is nothing to compare with, and it was reported. */
static bool reference_get(const char *name, const struct config *c, struct run *reference) {
	char *path = text_format("%s/tests/" SUITE "/%s.out", root_of("GOSHIM_SOURCE", "."), name);
	char *expected = file_read_all(path);
	free(path);
	if (expected) {
		*reference = (struct run){.mode = ".out file", .out = expected};
		return true;
	}
	char *kept = native_path(name);
	if (!native_read(kept, reference)) {
		*reference = program_run(c, 0);
		if (reference->hung)
			run_report(name, reference, "did not end in time", "");
		else if (kept && reference->status == 0) /* one that failed under load is not to be believed for ever */
			native_write(kept, reference);
	}
	free(kept);
	return !reference->hung;
}

static void program_test(const char *name) {
	struct config c;
	struct run reference;
	config_read(&c, name);
	bool good = reference_get(name, &c, &reference);
	for (int i = 0; good && i < c.procs_count; i++) {
		struct run r = program_run(&c, c.procs[i]);
		const char *what = run_judge(&c, &r, &reference);
		if (what && WIFSIGNALED(r.status) && !r.hung && !emulator())
			r.stacks = gdb_crash(&c, c.procs[i], WTERMSIG(r.status));
		if (what)
			run_report(name, &r, what, reference.out);
		else
			cr_expect(true);
		run_free(&r);
	}
	run_free(&reference);
}

/* The build writes one line per program. */
#define PROGRAM(name) \
	Test(programs, name) { \
		program_test(#name); \
	}
#include "program_list.inc"

/* A name that is spelled wrong must not look like a pass. */
ReportHook(POST_ALL)(struct criterion_global_stats *stats) {
	if (stats->tests_skipped == stats->nb_tests) {
		fprintf(stderr, "run_programs: no such program\n");
		exit(2);
	}
}
