/* What happens where the kernel or a setting refuses what the runtime needs: the program works on kernel threads, and exactly one line
 * on stderr says why. And where it refuses only what the runtime can do without: goroutines, and no line. And the switch that
 * turns it off (SEC-13). */
#include <criterion/criterion.h>

#include "child.h"

#define expect(cond, c) cr_expect(cond, "%s: status %d\n%s", #cond, (c).status, (c).output)

static int lines_of_ours(const char *text) {
	int n = 0;
	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		n += strncmp(line, "goshim: ", 8) == 0;
	return n;
}

/* tests/helpers/works under tests/helpers/confine; with the library, without the launcher. */
static struct child confined(const char *how, const char *environment) {
	struct child c = child_run("export LD_PRELOAD=$B/libgoshim.so %s; $B/tests/helpers/confine %s -- $B/tests/helpers/works", environment, how);
	if (c.status == 77)
		cr_skip_test("%s", c.output);
	return c;
}

static void expect_aside(const char *how, const char *why) {
	struct child c = confined(how, "");
	expect(c.status == 0, c);
	expect(strstr(c.output, why), c);
	expect(strstr(c.output, "; running on kernel threads\n"), c);
	expect(lines_of_ours(c.output) == 1, c);
	expect(strstr(c.output, "works on kernel threads\n"), c);
}

static void expect_goroutines(const char *how) {
	static const char *const procs[] = {"GOMAXPROCS=1", "GOMAXPROCS=2", "GOMAXPROCS=8"};
	for (int i = 0; i < 3; i++) {
		struct child c = confined(how, procs[i]);
		expect(c.status == 0, c);
		expect(lines_of_ours(c.output) == 0, c);
		expect(strstr(c.output, "works on goroutines\n"), c);
	}
}

Test(aside, nothing_refused) {
	expect_goroutines("");
}

Test(aside, membarrier) {
	expect_aside("membarrier=1", "goshim: membarrier is refused");
	expect_aside("membarrier=38", "goshim: membarrier is refused");
}

Test(aside, epoll) {
	expect_aside("epoll_create1=1", "goshim: epoll is refused");
	expect_aside("epoll_create1=38", "goshim: epoll is refused");
	expect_aside("epoll_ctl=1", "goshim: epoll is refused");
}

Test(aside, eventfd) {
	expect_aside("eventfd2=1", "goshim: ");
	expect_aside("eventfd2=38", "goshim: ");
}

/* The runtime's own kernel thread is refused: so are the program's. What it makes of that is its own affair. */
Test(aside, no_kernel_thread) {
	static const char *const list[] = {"clone=11 clone3=11", "clone=1 clone3=38", "nproc=1 uid=54321"};
	for (int i = 0; i < 3; i++) {
		struct child c = confined(list[i], "");
		expect(c.status == 1, c);
		expect(strstr(c.output, "goshim: the kernel refuses a thread"), c);
		expect(lines_of_ours(c.output) == 1, c);
		expect(strstr(c.output, "failed: pthread_create"), c);
	}
}

/* FD-12 */
Test(aside, no_descriptors) {
	struct child c = confined("nofile=4", "");
	expect(c.status == 0, c);
	expect(strstr(c.output, "goshim: epoll is refused (EMFILE, this process may have no more descriptors: ulimit -n); running"), c);
	expect(lines_of_ours(c.output) == 1, c);
	expect(strstr(c.output, "works without descriptors\n"), c);
	for (int n = 5; n < 12; n++) {
		char how[32];
		snprintf(how, sizeof how, "nofile=%d", n);
		c = confined(how, "");
		expect(c.status == 0, c);
		expect(lines_of_ours(c.output) == (strstr(c.output, "works on goroutines") || !strstr(c.output, "kernel threads") ? 0 : 1), c);
	}
}

/* ---- what the runtime can do without ---- */

/* POL-8 */
Test(aside, old_kernel_calls) {
	expect_goroutines("epoll_pwait2=38");
	expect_goroutines("epoll_pwait2=1");
	expect_goroutines("preadv2=38 pwritev2=38");
	expect_goroutines("preadv2=95 pwritev2=95");
	expect_goroutines("rseq=1");
	expect_goroutines("clone3=38");
}

/* MEM-5: no guard markers, mprotect instead. */
Test(aside, no_guard_markers) {
	expect_goroutines("madvise=22");
	expect_goroutines("madvise=1");
	struct child c = confined("madvise=22", "GOSHIM=verbose=1");
	expect(strstr(c.output, "goshim: stacks are fenced by mprotect: this kernel has no guard markers\n"), c);
}

/* SCH-5: kernel threads for the runtime itself, few or none for another M. (In its fork's child the runtime may find none left: then that says so.) */
Test(aside, no_more_kernel_threads) {
	for (int n = 4; n <= 8; n++) {
		char how[48];
		snprintf(how, sizeof how, "nproc=%d uid=%d", n, 54330 + n); /* the limit counts per user: one that no test beside us is */
		struct child c = confined(how, n % 2 ? "GOMAXPROCS=8" : "GOMAXPROCS=2");
		expect(c.status == 0, c);
		expect(lines_of_ours(c.output) <= 1, c);
		expect(strstr(c.output, "works on goroutines\n"), c);
	}
}

/* MEM-6 */
Test(aside, little_address_space) {
	expect_goroutines("as=300000000");
}

/* ---- settings ---- */

Test(aside, bad_settings) {
	static const char *const list[] = {"GOMAXPROCS=0x2",     "GOMAXPROCS=two",         "GOSHIM=nokey=1", "GOSHIM=stack",
	                                   "GOSHIM=stack=1000g", "GOSHIM=verbose=1,off=x", "GOSHIM=guard="};
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		struct child c = confined("", list[i]);
		expect(c.status == 0, c);
		expect(strstr(c.output, "works on kernel threads\n"), c);
		expect(lines_of_ours(c.output) == 1, c);
	}
}

Test(aside, switched_off) {
	struct child c = confined("", "GOSHIM=off=1");
	expect(c.status == 0, c);
	cr_expect(strcmp(c.output, "works on kernel threads\n") == 0, "%s", c.output);
	c = confined("", "GOSHIM=off=1,verbose=1");
	expect(lines_of_ours(c.output) == 1, c);
}

/* ThreadSanitizer, linked into the program or its library behind ours, sees its threads made. */
Test(aside, thread_sanitizer_of_gcc) {
	static const char *const how[] = {"-static-libtsan", ""}, *const settings[] = {"GOSHIM=off=0", "GOSHIM=off=1"};
	for (int i = 0; i < 4; i++) {
		struct child c = child_run("d=$(mktemp -d) && gcc -fsanitize=thread %s -o $d/p $S/tests/helpers/one_thread.c 2>/dev/null && $d/p >/dev/null || exit 77; "
					   "%s LD_PRELOAD=$B/libgoshim.so timeout 60 $d/p 5; r=$?; rm -r $d; exit $r",
					   how[i / 2], settings[i % 2]);
		if (c.status == 77)
			cr_skip_test("no libtsan");
		expect(c.status == 5, c);
		expect(strstr(c.output, "kernel threads\n"), c);
	}
}

/* ---- more rights than the caller's (SEC-4) ---- */

/* A copy of a helper in a folder of its own, made privileged by `how` ($f is the copy), run as another user with everything in the environment that could steer us. */
static struct child privileged(const char *helper, const char *how) {
	struct child c = child_run("[ $(id -u) = 0 ] || exit 77; d=$(mktemp -d); trap 'rm -r $d' EXIT; chmod 755 $d; f=$d/copy; cp $B/tests/helpers/%s $f; "
	                           "cp $B/tests/helpers/confine $B/libgoshim.so $d; %s || exit 77; "
	                           "LD_PRELOAD=$d/libgoshim.so GOSHIM=verbose=1,ctl=$d,nonsense=1 GOMAXPROCS=many $d/confine uid=54399 -- $f; s=$?; "
	                           "[ -z \"$(ls $d | grep -v -e copy -e confine -e libgoshim)\" ] || echo 'a file was left'; exit $s",
	                           helper, how);
	if (c.status == 77)
		cr_skip_test("needs root, and a file system that knows such files");
	return c;
}

static const char *const privileges[] = {"chown 54398 $f && chmod 4755 $f", "chgrp 54398 $f && chmod 2755 $f", "setcap cap_net_raw+ep $f"};

/* The loader takes no library with a path from the environment: nothing of ours is in the process. */
Test(aside, privileged_program_is_left_alone) {
	for (int i = 0; i < 3; i++) {
		struct child c = privileged("works", privileges[i]);
		expect(c.status == 0, c);
		cr_expect(strcmp(c.output, "works on kernel threads\n") == 0, "%s: %s", privileges[i], c.output);
	}
}

/* One that is linked with us is not steered by its caller's settings, right or wrong, either. */
Test(aside, privileged_program_that_is_linked) {
	for (int i = 0; i < 3; i++) {
		struct child c = privileged("works_linked", privileges[i]);
		expect(c.status == 0, c);
		expect(strstr(c.output, "goshim: the program runs with privileges of its own (AT_SECURE); running on kernel threads\n"), c);
		expect(lines_of_ours(c.output) == 1, c);
		expect(strstr(c.output, "works on kernel threads\n"), c);
	}
}

/* The same program without them is steered. */
Test(aside, unprivileged_program_that_is_linked) {
	struct child c = privileged("works_linked", "true");
	expect(c.status == 0, c);
	expect(strstr(c.output, "nonsense"), c);
	expect(strstr(c.output, "works on kernel threads\n"), c);
}
