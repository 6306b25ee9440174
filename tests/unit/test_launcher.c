/* The launcher and the settings as a user meets them: child processes only. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "child.h"

static int line_count(const char *text) {
	int n = 0;
	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* ---- information ---- */

Test(launcher, help) {
	struct child c = child_run("$B/goshim --help");
	expect_status(c, 0);
	expect_text(c, "usage: goshim ");
	expect_text(c, "GOMAXPROCS=N");
	expect_text(c, "stack=SIZE");
}

Test(launcher, version) {
	struct child c = child_run("$B/goshim --version");
	expect_status(c, 0);
	cr_expect(strncmp(c.output, "goshim ", 7) == 0 && line_count(c.output) == 1, "%s", c.output);
}

Test(launcher, list) {
	struct child c = child_run("$B/goshim --list >/dev/null && $B/goshim --list | grep -E ' (pthread_create|sem_wait|__read_chk) '");
	expect_status(c, 0);
	expect_text(c, "thread   pthread_create               does not wait\n");
	expect_text(c, "sync     sem_wait                     parks; process-shared: hands off\n");
	expect_text(c, "io       __read_chk                   parks on sockets and pipes; files hand off\n");
	c = child_run("$B/goshim --list | grep '?$'"); /* nothing is exported of which preload/surface.c does not know how it waits */
	cr_expect(c.status == 1, "%s", c.output);
}

Test(launcher, list_to_full_disk) {
	struct child c = child_run("$B/goshim --list >/dev/full");
	expect_status(c, 125);
}

/* ---- wrong usage: status 2, one line, which names the culprit ---- */

static void expect_usage_error(const char *command, const char *culprit) {
	struct child c = child_run("%s", command);
	expect_status(c, 2);
	expect_text(c, culprit);
	cr_expect(line_count(c.output) == 1, "%s: not one line:\n%s", command, c.output);
	cr_expect(strncmp(c.output, "goshim: ", 8) == 0, "%s", c.output);
}

Test(launcher, wrong_usage) {
	expect_usage_error("$B/goshim", "no program");
	expect_usage_error("$B/goshim --", "no program");
	expect_usage_error("$B/goshim --bogus ls", "--bogus");
	expect_usage_error("$B/goshim --procs", "--procs");
	expect_usage_error("$B/goshim --procs= ls", "--procs");
	expect_usage_error("$B/goshim --procs two ls", "GOMAXPROCS=two");
	expect_usage_error("$B/goshim --procs 2x ls", "GOMAXPROCS=2x");
	expect_usage_error("$B/goshim --procs ' 2' ls", "GOMAXPROCS");
	expect_usage_error("$B/goshim --stack 1 ls", "16k to 1g");
	expect_usage_error("$B/goshim --stack 2g ls", "16k to 1g");
	expect_usage_error("$B/goshim --stack 99999999999999999999 ls", "16k to 1g");
	expect_usage_error("$B/goshim --stack 64kb ls", "16k to 1g");
	expect_usage_error("$B/goshim --set off=yes ls", "0 or 1");
	expect_usage_error("$B/goshim --set guard=none ls", "markers or mprotect");
	expect_usage_error("$B/goshim --set idle_ms=-1 ls", "0 to 1024");
	expect_usage_error("$B/goshim --set idle ls", "KEY=VALUE");
	expect_usage_error("$B/goshim --set unknown=1 ls", "unknown=1");
	expect_usage_error("$B/goshim --version extra", "--version takes no argument: extra");
	expect_usage_error("$B/goshim --list --help", "--list takes no argument: --help");
	expect_usage_error("GOSHIM=nonsense $B/goshim ls", "GOSHIM=nonsense");
	expect_usage_error("GOMAXPROCS=all $B/goshim ls", "GOMAXPROCS=all");
}

/* Control characters of a value must not reach the terminal. */
Test(launcher, value_is_printed_safely) {
	struct child c = child_run("$B/goshim --set \"$(printf 'a\\033[31m=1')\" ls");
	expect_status(c, 2);
	cr_expect(!strchr(c.output, '\033'));
}

/* ---- what reaches the program ---- */

Test(launcher, environment_of_the_program) {
	struct child c = child_run("GOSHIM=verbose=0 $B/goshim --procs 3 --stack=128k --set idle_ms=2 -- env");
	expect_status(c, 0);
	expect_text(c, "GOMAXPROCS=3\n");
	expect_text(c, "GOSHIM=verbose=0,stack=128k,idle_ms=2\n");
	expect_text(c, "/libgoshim.so\n");
}

Test(launcher, preloads_are_kept) {
	struct child c = child_run("LD_PRELOAD=libm.so.6 $B/goshim env | grep ^LD_PRELOAD=");
	expect_status(c, 0);
	expect_text(c, "LD_PRELOAD=libm.so.6:/");
	expect_text(c, "/libgoshim.so\n");
}

Test(launcher, preload_is_added_once) {
	struct child c = child_run("$B/goshim $B/goshim env | grep ^LD_PRELOAD= | tr : '\\n' | wc -l");
	cr_expect(strcmp(c.output, "1\n") == 0, "%s", c.output);
}

Test(launcher, arguments_and_status) {
	struct child c = child_run("$B/goshim sh -c 'echo \"$0|$1|$2\"; exit 9' --procs '' 'a b'");
	expect_status(c, 9);
	expect_text(c, "--procs||a b\n");
}

Test(launcher, signal_status) {
	struct child c = child_run("$B/goshim sh -c 'kill -TERM $$'; echo $?");
	expect_text(c, "143\n");
}

Test(launcher, same_pid) {
	struct child c = child_run("$B/goshim sh -c 'echo $$' & pid=$!; wait; echo $pid");
	char first[32] = "", second[32] = "";
	cr_assert(sscanf(c.output, "%31s %31s", first, second) == 2, "%s", c.output);
	cr_expect(strcmp(first, second) == 0, "%s", c.output);
}

/* ---- programs that cannot run, or not this way ---- */

Test(launcher, not_found) {
	struct child c = child_run("$B/goshim no-such-program");
	expect_status(c, 127);
	expect_text(c, "no-such-program: not found");
	c = child_run("$B/goshim /no/such/program");
	expect_status(c, 127);
	c = child_run("$B/goshim ''");
	expect_status(c, 127);
}

Test(launcher, not_executable) {
	struct child c = child_run("$B/goshim /etc/passwd");
	expect_status(c, 126);
	expect_text(c, "/etc/passwd: not executable");
	c = child_run("$B/goshim /");
	expect_status(c, 126);
}

Test(launcher, missing_interpreter) {
	struct child c = child_run("f=$(mktemp); printf '#!/no/such/shell\\n' >$f; chmod +x $f; $B/goshim $f; s=$?; rm $f; exit $s");
	expect_status(c, 127);
	expect_text(c, "interpreter");
}

Test(launcher, script_without_first_line) {
	struct child c = child_run("f=$(mktemp); echo 'echo \"$1\"; exit 4' >$f; chmod +x $f; $B/goshim $f word; s=$?; rm $f; exit $s");
	expect_status(c, 4);
	expect_text(c, "word\n");
}

Test(launcher, static_program_runs_plain) {
	struct child c = child_run("$B/goshim $B/tests/helpers/static_program");
	expect_status(c, 7);
	expect_text(c, "is statically linked and cannot be preloaded into; running on kernel threads\n");
	expect_text(c, "static, LD_PRELOAD=\n");
}

Test(launcher, static_program_that_moves) {
	struct child c = child_run("f=$(mktemp); gcc -static-pie -o $f $S/tests/helpers/static_program.c || exit 77; $B/goshim $f; s=$?; rm $f; exit $s");
	if (c.status == 77)
		cr_skip_test("no -static-pie");
	expect_status(c, 7);
	expect_text(c, "is statically linked");
}

Test(launcher, script_of_static_program_runs_plain) {
	struct child c = child_run("f=$(mktemp); echo \"#!$B/tests/helpers/static_program\" >$f; chmod +x $f; $B/goshim $f; s=$?; rm $f; exit $s");
	expect_status(c, 7);
	expect_text(c, "is statically linked");
}

/* A set-id program is refused, unless its bits give nothing. */
Test(launcher, no_new_privileges) {
	static const char *const with[] = {"", "setpriv --no-new-privs"}, *const works[] = {"works on kernel threads\n", "works on goroutines\n"};
	for (int i = 0; i < 2; i++) {
		struct child c = child_run("[ $(id -u) = 0 ] && setpriv --no-new-privs true || exit 77; d=$(mktemp -d) && cp $B/tests/helpers/works $d/w && "
					   "chown nobody $d/w && chmod 755 $d && chmod 4755 $d/w && %s $B/goshim $d/w; r=$?; rm -r $d; exit $r",
					   with[i]);
		if (c.status == 77)
			cr_skip_test("needs root and setpriv");
		expect_status(c, 0);
		expect_text(c, works[i]);
		cr_expect(!strstr(c.output, "gains privileges") == (i == 1), "%s", c.output);
	}
}

Test(launcher, library_is_missing) {
	struct child c = child_run("d=$(mktemp -d); cp $B/goshim $d; $d/goshim true; s=$?; rm -r $d; exit $s");
	expect_status(c, 125);
	expect_text(c, "libgoshim.so is neither in ");
}

Test(launcher, installed_launcher_finds_library) {
	struct child c = child_run("d=$(mktemp -d); mkdir $d/bin $d/lib; cp $B/goshim $d/bin; cp $B/libgoshim.so $d/lib; "
	                           "$d/bin/goshim env | grep LD_PRELOAD; rm -r $d");
	expect_text(c, "/lib/libgoshim.so\n");
	expect_no_text(c, "..");
}

/* ---- standing aside ---- */

Test(settings, threads_are_goroutines) {
	struct child c = child_run("$B/goshim $B/tests/helpers/one_thread 3");
	expect_status(c, 3);
	cr_expect(strcmp(c.output, "goroutines\n") == 0, "%s", c.output);
}

Test(settings, off) {
	struct child c = child_run("$B/goshim --set off=1 $B/tests/helpers/one_thread");
	expect_status(c, 0);
	cr_expect(strcmp(c.output, "kernel threads\n") == 0, "%s", c.output);
}

/* Without the launcher in between: one line, and kernel threads. */
Test(settings, bad_setting_in_the_library) {
	struct child c = child_run("GOSHIM=stack=tiny LD_PRELOAD=$B/libgoshim.so $B/tests/helpers/one_thread 5");
	expect_status(c, 5);
	expect_text(c, "goshim: GOSHIM=stack=tiny: must be a size of 16k to 1g");
	expect_text(c, "; running on kernel threads\n");
	expect_text(c, "kernel threads\n");
	cr_expect(line_count(c.output) == 2, "not one line of ours and one of the program:\n%s", c.output);
}

Test(settings, bad_setting_without_threads_is_silent) {
	struct child c = child_run("GOMAXPROCS=many LD_PRELOAD=$B/libgoshim.so /bin/echo hello");
	expect_status(c, 0);
	cr_expect(strcmp(c.output, "hello\n") == 0, "%s", c.output);
}

Test(settings, empty_is_unset) {
	struct child c = child_run("GOMAXPROCS= GOSHIM= $B/goshim $B/tests/helpers/one_thread");
	cr_expect(strcmp(c.output, "goroutines\n") == 0, "%s", c.output);
}

Test(settings, verbose) {
	struct child c = child_run("$B/goshim --procs 300 --stack 256k --set verbose=1 $B/tests/helpers/one_thread");
	expect_status(c, 0);
	expect_text(c, "goshim: GOMAXPROCS 256, stacks of 256 KiB");
	expect_text(c, "goroutines\n");
}

Test(settings, affinity_limits_procs) {
	struct child c = child_run("taskset -c 0 $B/goshim --set verbose=1 $B/tests/helpers/one_thread");
	expect_status(c, 0);
	expect_text(c, "goshim: GOMAXPROCS 1,");
}

/* SCH-8: cgroup v2's file, as a container shows it: in a mount namespace of our own. Quota and period; rounded up; "max" is none. */
Test(settings, cgroup_quota_limits_procs) {
	if (system("unshare -m mount -t tmpfs none /sys/fs/cgroup 2>/dev/null") != 0)
		cr_skip_test("needs root and unshare");
	static const struct {
		const char *quota, *expected;
	} cases[] = {{"50000 100000", "GOMAXPROCS 1,"}, {"100000 100000", "GOMAXPROCS 1,"}, {"100001 100000", "GOMAXPROCS 2,"}, {"max 100000", "GOMAXPROCS 2,"},
	             {"1000 100000", "GOMAXPROCS 1,"}, {"nonsense", "GOMAXPROCS 2,"}, {"50000 0", "GOMAXPROCS 2,"}};
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		cr_skip_test("needs two CPUs");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct child c = child_run("unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup; echo \"%s\" >/sys/fs/cgroup/cpu.max; "
		                           "taskset -c 0,1 $B/goshim --set verbose=1 $B/tests/helpers/one_thread'",
		                           cases[i].quota);
		cr_expect(strstr(c.output, cases[i].expected), "%s: %s", cases[i].quota, c.output);
	}
}

/* A cgroup is held to the tightest quota above it, wherever that is; what is not on its way up does not count, nor does a folder that cannot be seen. */
Test(settings, quotas_of_parents_limit_procs) {
	if (system("unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup && echo 0::/ >/sys/fs/cgroup/own && mount --bind /sys/fs/cgroup/own /proc/$$/cgroup' 2>/dev/null") != 0)
		cr_skip_test("needs root and unshare");
	static const struct {
		const char *own, *root, *a, *b, *beside, *expected;
	} cases[] = {
		{"0::/a/b", "max", "50000", "200000", "max", "GOMAXPROCS 1,"},
		{"0::/a/b", "max", "200000", "50000", "max", "GOMAXPROCS 1,"},
		{"0::/a/b", "50000", "200000", "max", "max", "GOMAXPROCS 1,"},
		{"0::/a/b", "max", "max", "max", "50000", "GOMAXPROCS 2,"},
		{"0::/a", "max", "max", "50000", "50000", "GOMAXPROCS 2,"},
		{"0::/a/b/unseen", "max", "50000", "max", "max", "GOMAXPROCS 1,"},
		{"1:cpu:/a\n0::/a/b", "max", "50000", "max", "max", "GOMAXPROCS 1,"},
		{"1:cpu:/a", "50000", "50000", "max", "max", "GOMAXPROCS 2,"},
	};
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		cr_skip_test("needs two CPUs");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct child c = child_run("unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup; (cd /sys/fs/cgroup; mkdir -p a/b a/c; "
		                           "q() { echo $1 100000 >$2/cpu.max; }; q %s .; q %s a; q %s a/b; q %s a/c; "
		                           "printf \"%s\\n\" >own; mount --bind own /proc/$$/cgroup); "
		                           "exec taskset -c 0,1 $B/goshim --set verbose=1 $B/tests/helpers/one_thread'",
		                           cases[i].root, cases[i].a, cases[i].b, cases[i].beside, cases[i].own);
		cr_expect(strstr(c.output, cases[i].expected), "%zu: %s", i, c.output);
	}
}

/* ---- a program without threads costs what it costs without us ---- */

Test(settings, no_thread_no_system_call) {
	if (system("command -v strace >/dev/null && strace -o /dev/null true") != 0)
		cr_skip_test("strace cannot be used here");
	/* From where ld.so lets go of its cache (the last thing before constructors) to the end: the names of all calls. */
	struct child c = child_run(
		"calls() { strace -qq -o \"$1\" ls / >/dev/null; sed -n '/^munmap/,$p' \"$1\" | sed 's/[(].*//' >\"$1.names\"; }; "
		"d=$(mktemp -d); calls $d/plain; export LD_PRELOAD=$B/libgoshim.so; calls $d/goshim; unset LD_PRELOAD; "
		"grep -c . $d/plain.names >/dev/null && diff $d/plain.names $d/goshim.names; s=$?; rm -r $d; exit $s");
	/* strace itself runs with the library, too; ls is what it writes down. */
	expect_status(c, 0);
}

Test(settings, shell_pipeline_is_unchanged) {
	static const char command[] = "sh -c 'ls / | sort -r | head -n 3; echo $((6*7)); false || exit 3'";
	struct child plain = child_run("%s", command);
	struct child ours = child_run("$B/goshim %s", command);
	cr_expect(plain.status == ours.status && strcmp(plain.output, ours.output) == 0, "%s\n---\n%s", plain.output, ours.output);
}
