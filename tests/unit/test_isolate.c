/* GOSHIM=panic=isolate as a user meets it: tests/helpers/isolated and programs of tests/programs crash under it. What ends alone in which way,
 * the programs iso_*.c show; here are reports, limits, and what cannot be isolated. */
#include "child.h"

/* isolated SETTINGS ARGS: output, and the status. */
#define isolated(settings, args)                                                                              \
	child_run("GOSHIM=" settings " LD_PRELOAD=$B/libgoshim.so timeout 60 $B/tests/helpers/isolated " args \
		  " </dev/null")

static int count_of(const char *text, const char *what) {
	int n = 0;
	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

Test(isolate, report) {
	struct child c = isolated("panic=isolate", "held");
	expect_status(c, 0);
	expect_text(c, "goshim: goroutine 2 \"victim\" [thread ");
	expect_text(c, "]: SIGSEGV at address 0x8, pc 0x");
	expect_text(c, "; it ends alone, 1 of 10 this minute\n    #0  0x");
	expect_text(c, "/libgoshim.so+0x");
	expect_text(c, "goshim: goroutine 2 \"victim\": mutexes it held, which stay locked: 0x");
	expect_text(c, "ended alone\n");
	cr_expect(count_of(strstr(c.output, "stay locked:"), " 0x") == 2, "%s", c.output);
}

Test(isolate, lost_mutex_in_deadlock_report) {
	struct child c = session("program=isolated; start panic=isolate,ctl=$d/s held; until_text 'stuck:' $B/goshim "
				 "ctl $pid deadlocks; finish");
	expect_text(c, "stuck: goroutine 3 \"heir\" waits: mutex 0x");
	expect_text(c, ", which SIGSEGV ended (goroutine 2 \"victim\"), for ");
}

Test(isolate, release) {
	struct child c = isolated("panic=isolate,release", "release");
	expect_status(c, 0);
	expect_text(c, ": mutexes it held, now unlocked: 0x");
	expect_text(c, "taken: 0 0\n");
	c = isolated("verbose=0,panic=isolate+release,verbose=0", "release");
	expect_text(c, "taken: 0 0\n");
	c = isolated("panic=isolate", "release");
	expect_text(c, "taken: 16 16\n");
}

/* One crash more than the limit is the crash that it would have been. */
Test(isolate, limit) {
	struct child c = isolated("panic=isolate,panic_limit=3", "many 3");
	expect_status(c, 0);
	cr_expect(count_of(c.output, "ended alone\n") == 3, "%s", c.output);
	c = isolated("panic=isolate,panic_limit=3", "many 5");
	expect_status(c, 128 + 11);
	cr_expect(count_of(c.output, "ended alone\n") == 3, "%s", c.output);
	expect_text(c, "; not isolated: too many in a minute (panic_limit)\n    #0  0x");
	expect_no_text(c, "ready");
}

static void expect_crash(const struct child *c, int sig, const char *why) {
	expect_status(*c, 128 + sig);
	expect_text(*c, why);
	expect_no_text(*c, "ended alone");
}

Test(isolate, not_where_others_wait_for_it) {
	struct child c = isolated("panic=isolate", "malloc");
	expect_crash(&c, 11, "; not isolated: inside malloc\n");
	c = isolated("panic=isolate", "stdio");
	expect_crash(&c, 11, "; not isolated: inside libc\n");
	c = isolated("panic=isolate", "exit");
	expect_crash(&c, 11, "; not isolated: inside libc\n");
	c = isolated("panic=isolate", "last");
	expect_crash(&c, 11, "; not isolated: it is the last thread\n");
}

/* What is no crash of the thread's own is the kernel's affair, without a word. */
Test(isolate, not_what_others_send) {
	struct child c = isolated("panic=isolate", "kill");
	expect_status(c, 128 + 6);
	expect_no_text(c, "goshim: goroutine");
	c = child_run("GOSHIM=panic=isolate LD_PRELOAD=$B/libgoshim.so $B/tests/programs/iso_main");
	expect_status(c, 128 + 11);
	expect_no_text(c, "goshim: goroutine");
}

Test(isolate, crash_in_a_handler) {
	struct child c = isolated("panic=isolate", "handler");
	expect_status(c, 0);
	expect_text(c, "ended alone\n");
}

/* Natively a fault that is blocked ends the process. */
Test(isolate, blocked_signal) {
	struct child c = isolated("panic=isolate", "blocked 2");
	expect_status(c, 0);
	cr_expect(count_of(c.output, "ended alone\n") == 2, "%s", c.output);
	c = isolated("panic=crash", "blocked");
	expect_status(c, 128 + 11);
}

/* The report goes nowhere: SIGPIPE is not for the program. */
Test(isolate, nobody_reads_the_report) {
	struct child c = child_run("python3 -c 'import os, subprocess, sys; r, w = os.pipe(); os.close(r); "
				   "sys.exit(subprocess.call([\"timeout\", \"60\", sys.argv[1], \"many\", \"3\"], stderr=w, "
				   "stdin=subprocess.DEVNULL, env={\"LD_PRELOAD\": sys.argv[2], \"GOSHIM\": \"panic=isolate\"}))' "
				   "$B/tests/helpers/isolated $B/libgoshim.so");
	expect_status(c, 0);
	cr_expect(strcmp(c.output, "ended alone\nended alone\nended alone\nready\n") == 0, "%s", c.output);
}

/* The handler for once handles once; the second crash has none. */
Test(isolate, handler_for_once) {
	struct child c = isolated("panic=isolate", "reset 2");
	expect_status(c, 0);
	expect_text(c, "handled 11\n");
	cr_expect(count_of(c.output, "ended alone\n") == 1, "%s", c.output);
}

Test(isolate, shared_socket_stays_open) {
	struct child c = isolated("panic=isolate", "shared");
	expect_status(c, 0);
	expect_text(c, "ended alone\nopen\n");
	expect_no_text(c, "sockets only it used");
}

/* Off, every kind ends the process as it does without us. */
Test(isolate, off_is_native) {
	static const char *const kinds[] = {"segv",  "wild",   "bus",   "fpe",  "ill",
					    "abort", "assert", "stack", "libc", "callback"};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct child plain = child_run("$B/tests/programs/iso_crash %s 2>/dev/null", kinds[i]);
		struct child ours =
			child_run("LD_PRELOAD=$B/libgoshim.so $B/tests/programs/iso_crash %s 2>/dev/null", kinds[i]);
		cr_expect(plain.status > 128 && ours.status == plain.status && strcmp(ours.output, plain.output) == 0,
			  "%s: %d, natively %d:\n%s", kinds[i], ours.status, plain.status, ours.output);
	}
	struct child c = child_run("LD_PRELOAD=$B/libgoshim.so $B/tests/programs/iso_uncaught >/dev/null 2>&1");
	expect_status(c, 128 + 6);
	c = child_run("LD_PRELOAD=$B/libgoshim.so $B/tests/programs/iso_server 2000 50 16 >/dev/null 2>&1");
	expect_status(c, 128 + 11);
}
