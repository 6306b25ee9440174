/* Where the library enters the process: its constructor, the decision to stand aside, and the way to main().
 *
 * The constructor runs before all others (-z initfirst): a dependency's constructor may create threads (INT-1). It finds libc's
 * functions and parses two environment variables: no system call, no file, no allocation, no output. Everything that costs waits for the first
 * pthread_create, so that a process which never creates a thread behaves and costs as without us, bad settings included.
 *
 * When in doubt, plain kernel threads: a bad setting, an unknown libc, shadow stacks (a switch of stacks would fault), ThreadSanitizer, AT_SECURE
 * (whoever starts a privileged program does not get to steer it). Then goshim_enabled() is false for ever, the shims find
 * no goroutine and call libc, and one line on stderr says why. */
#include "entry.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "../core/chaos.h"
#include "../core/proc.h"
#include "../core/tcb.h"
#include "../shims/io.h"
#include "../shims/isolate.h"
#include "../shims/shim.h"
#include "../shims/sync.h"
#include "../shims/thread.h"
#include "settings.h"
#include "symbols.h"

enum decision { UNDECIDED, ENABLED, ASIDE };

/* Relaxed throughout: what was decided depends on nothing but itself and data that was written before the process had a second thread.
 * Two threads that decide at once come to the same answer. */
static _Atomic int decision;
static _Atomic bool said;

/* Why the constructor found that there will be no goroutines; NULL: nothing wrong so far. */
static const char *aside_why;

/* ---- one line on stderr -------------------------------------------------------------------------------------------- */

/* One write, so that lines of several processes do not mix. */
static void line_write(const char *const *parts) {
	char line[512];
	size_t length = 0;
	for (; *parts; parts++) {
		for (const char *s = *parts; *s && length < sizeof(line) - 1; s++)
			line[length++] = *s;
	}
	line[length++] = '\n';
	SYS3(SYS_write, 2, line, length);
}

void goshim_say(const char *what, const char *why) {
	line_write((const char *const[]){"goshim: ", what, why, NULL});
}

void goshim_stand_aside(const char *why) {
	atomic_store_explicit(&decision, ASIDE, memory_order_relaxed);
	if (!why || atomic_exchange_explicit(&said, true, memory_order_relaxed))
		return;
	line_write((const char *const[]){"goshim: ", why, "; running on kernel threads", NULL});
}

/* By no function of libc's: strerror() reads a locale's files. */
const char *goshim_error_text(long error) {
	static const struct {
		int number;
		const char *text;
	} texts[] = {
		{EMFILE, "EMFILE, this process may have no more descriptors: ulimit -n"},
		{ENFILE, "ENFILE, the system has too many open files"},
		{ENOENT, "ENOENT, no such file or folder"},
		{EACCES, "EACCES, permission denied"},
		{EPERM, "EPERM, not permitted"},
		{ENOTDIR, "ENOTDIR, not a folder, or a link to one"},
		{ELOOP, "ELOOP, a symbolic link"},
		{EROFS, "EROFS, read-only"},
		{ENOSPC, "ENOSPC, no space left"},
		{ENOSYS, "ENOSYS"},
		{EAGAIN, "EAGAIN, too many threads or processes: ulimit -u"},
		{EINVAL, "EINVAL"},
		{EADDRINUSE, "EADDRINUSE"},
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (error == -texts[i].number)
			return texts[i].text;
	}
	return "";
}

static const char *number_text(char buffer[24], uint64_t n) {
	char *p = buffer + 23;
	*p = '\0';
	do
		*--p = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	return p;
}

/* ---- the decision --------------------------------------------------------------------------------------------------- */

static bool decide(void) {
	if (settings.off) {
		goshim_stand_aside(settings.verbose ? "GOSHIM=off=1" : NULL);
		return false;
	}
	const char *why = aside_why;
	if (!why)
		(void)arch_shadow_stack(&why);
	if (!why && getauxval(AT_PAGESZ) != 4096) /* aarch64 kernels may be built for 16 and 64 KiB */
		why = "memory pages are not 4 KiB here";
	if (why) {
		goshim_stand_aside(why);
		return false;
	}
	atomic_store_explicit(&decision, ENABLED, memory_order_relaxed);
	return true;
}

bool goshim_enabled(void) {
	int decided = atomic_load_explicit(&decision, memory_order_relaxed);
	if (likely(decided != UNDECIDED))
		return decided == ENABLED;
	return decide();
}

bool goshim_possible(void) {
	return !settings.off && !aside_why && atomic_load_explicit(&decision, memory_order_relaxed) != ASIDE;
}

/* GOSHIM=stack, which stands for another `ulimit -s`: NPTL, too, makes more of one that is less than its least. */
static size_t stack_setting(void) {
	return settings.stack > ARCH_STACK_MIN ? settings.stack : ARCH_STACK_MIN;
}

/* NPTL's own default, as NPTL computed it when the process started (RLIMIT_STACK and its minima, or what the program set since). */
static size_t stack_default(void) {
	pthread_attr_t attr;
	size_t size = (size_t)2 << 20;
	if (settings.stack)
		return stack_setting();
	if (real.pthread_getattr_default_np && real.pthread_getattr_default_np(&attr) == 0) {
		real.pthread_attr_getstacksize(&attr, &size);
		real.pthread_attr_destroy(&attr);
	}
	return size;
}

void goshim_configure(void) {
	sched_config.gomaxprocs = settings_procs();
	sched_config.stack_default = stack_default();
	sched_config.stack_mprotect = settings.guard_mprotect;
	sched_config.m_idle_max = settings.idle_ms;
	sched_config.trim_ns = settings.trim_s * 1000000000ll;
	io_deadline_ns = (int64_t)settings.io_deadline_s * 1000000000;
	isolate_configure(settings.panic_isolate, settings.panic_release, settings.panic_limit);
	sched_config.preempt = settings.preempt;
	sched_config.fewer = settings.fewer;
	sched_config.batch = settings.batch;
	sig_trap_wanted = settings.fsbase_trap;
	chaos_configure(settings.chaos, settings.chaos_percent, settings.fail);
	if (settings.chaos_errors)
		chaos_show_errors();
	if (settings.panic_isolate) /* a socket that lacks memory for its notes is nobody's, and stays open */
		chaos_spare(CHAOS_REFUSE);
	if (!settings.verbose)
		return;
	char procs[24], stack[24], idle[24];
	line_write((const char *const[]){
		"goshim: GOMAXPROCS ", number_text(procs, sched_config.gomaxprocs), ", stacks of ",
		number_text(stack, sched_config.stack_default >> 10), " KiB, guard ",
		settings.guard_mprotect ? "mprotect" : "markers", ", idle_ms ", number_text(idle, settings.idle_ms), NULL});
}

void goshim_note(const char *what, const char *why) {
	if (settings.verbose)
		line_write((const char *const[]){"goshim: ", what, ": ", why, NULL});
}

/* ---- start ------------------------------------------------------------------------------------------------------------ */

static void environment_read(char **envp) {
	const char *error = NULL;
	if (getauxval(AT_SECURE))
		aside_why = "the program runs with privileges of its own (AT_SECURE)";
	else if (symbols_foreign_runtime()) /* before settings: its strcmp() is not ready yet */
		aside_why = "ThreadSanitizer knows only threads that it saw made";
	else if (!settings_read(envp, &error))
		aside_why = error;
}

/* A library that comes after ours in the order of search and stands in front of the same functions would not be called: what a proxifier or a
 * sandbox is to see would pass it by (INT-4). Before ours it is called, and calls us. Whoever stands aside calls it: for ThreadSanitizer a thread is one that
 * its own pthread_create() made. */
static void bypass_refuse(void) {
	static char why[400];
	const char *name, *library;
	bool aside = aside_why || settings.off;
	if ((!aside && settings.bypass) || !symbols_bypassed(&name, &library) || aside)
		return;
	const char *const parts[] = {library, " has a ", name, "() of its own and must come before libgoshim.so in LD_PRELOAD"};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		strncat(why, parts[i], sizeof(why) - strlen(why) - 1);
	aside_why = why;
}

/* GOSHIM=stack=SIZE stands for another `ulimit -s`: libc, too, must say so to who asks an attribute for its default. */
static void default_stack_tell(void) {
	pthread_attr_t attr;
	if (!settings.stack || sync_real || !real.pthread_setattr_default_np || real.pthread_attr_init(&attr))
		return;
	if (real.pthread_attr_setstacksize(&attr, stack_setting()) == 0)
		real.pthread_setattr_default_np(&attr);
	real.pthread_attr_destroy(&attr);
}

/* ld.so passes main's arguments to constructors; `environ` is not set yet this early. */
__attribute__((constructor)) static void goshim_init(int argc, char **argv, char **envp) {
	(void)argc;
	(void)argv;
	const char *lacking = symbols_init();
	tcb_lookup = symbols_private;
	tcb_find_tid();
	thread_find_count();
	if (!lacking) {
		environment_read(envp);
		bypass_refuse();
		sync_real = settings.off || aside_why; /* no goroutine will ever wait: the objects are libc's from the first use */
		default_stack_tell();
		return;
	}
	static char why[128] = "this libc has no ";
	strncat(why, lacking, sizeof(why) - strlen(why) - 1);
	aside_why = why;
	sync_real = true;
}

/* ---- the way to main ----------------------------------------------------------------------------------------------- */

static int (*program_main)(int, char **, char **);

static int main_run(int argc, char **argv, char **envp) {
	thread_run_main(program_main, argc, argv, envp);
}

/* libc has this under two versions with one body: with init == NULL it runs the constructors itself (programs linked against 2.34 or
 * later), else it calls init. Both pass through here. */
SHIM int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                           void (*fini)(void), void (*rtld_fini)(void), void *stack_end) {
	REAL_READY();
	program_main = main;
	return real.__libc_start_main(main_run, argc, argv, init, fini, rtld_fini, stack_end);
}
