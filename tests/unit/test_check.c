/* goshim check, as a user meets it: child processes only. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "child.h"

Test(check, threaded_program) {
	struct child c = child_run("$B/goshim check $B/tests/helpers/works");
	expect_status(c, 0);
	expect_text(c, "pthread_create is imported");
	expect_text(c, " imported functions are goshim's:\n               ");
	expect_text(c, " pthread_create ");
	expect_text(c, "verdict: yes\n");
}

Test(check, does_not_run_it) {
	struct child c = child_run("cd $(mktemp -d); $B/goshim check touch >/dev/null && ls | wc -l");
	expect_status(c, 0);
	expect_text(c, "0\n");
}

Test(check, static_program) {
	struct child c = child_run("$B/goshim check $B/tests/helpers/static_program");
	expect_status(c, 2);
	expect_text(c, "is statically linked");
}

Test(check, shared_library) {
	struct child c = child_run("$B/goshim check $B/libgoshim.so");
	expect_status(c, 2);
	expect_text(c, "verdict: no, it is a shared library, not a program\n");
}

Test(check, gains_privileges) {
	if (geteuid() != 0)
		cr_skip_test("needs root");
	struct child c =
		child_run("d=$(mktemp -d) && cp $B/tests/helpers/works $d/w && chown nobody $d/w && chmod 4755 $d/w && "
			  "$B/goshim check $d/w; r=$?; rm -r $d; exit $r");
	expect_status(c, 2);
	expect_text(c, "gains privileges");
}

Test(check, other_architecture) {
	/* e_machine, at offset 18, made that of a 68000 */
	struct child c = child_run("f=$(mktemp) && cp $B/tests/helpers/works $f && printf '\\004\\000' | dd of=$f bs=1 "
				   "seek=18 conv=notrunc "
				   "2>/dev/null && chmod 755 $f && $B/goshim check $f; r=$?; rm $f; exit $r");
	expect_status(c, 2);
	expect_text(c, "another kind of CPU");
}

Test(check, missing_symbol_version) {
	struct child c =
		child_run("f=$(mktemp) && sed s/GLIBC_2.34/GLIBC_9.99/ $B/tests/helpers/works >$f && chmod 755 $f && "
			  "$B/goshim check $f; r=$?; rm $f; exit $r");
	expect_status(c, 2);
	expect_text(c, "does not start: version `GLIBC_9.99' not found");
}

Test(check, script_is_as_its_interpreter) {
	struct child c = child_run("d=$(mktemp -d) && printf '#!/bin/sh\\n' >$d/a && printf '#!/usr/bin/env sh\\n' "
				   ">$d/b && chmod 755 $d/? && "
				   "$B/goshim check $d/a && $B/goshim check $d/b; r=$?; rm -r $d; exit $r");
	expect_status(c, 0);
	expect_text(c, ", run by /bin/sh\n");
	cr_expect(!strstr(c.output, "run by /usr/bin/env"), "%s", c.output);
}

/* What runs in the end, through every script on the way. */
Test(check, scripts_are_followed) {
	struct child c = child_run("d=$(mktemp -d) && PATH=$d:$PATH && printf 'echo no first line\\n' >$d/a && : >$d/b && "
				   "printf '#!/usr/bin/env -S X=1 sh -u\\n' >$d/c && printf '#!/usr/bin/env c\\n' >$d/d && "
				   "printf '#!/usr/bin/env -S -u true -C / --unset true sh -u\\n' >$d/e && printf '#!/usr/bin/env -S-u true sh\\n' >$d/f && chmod 755 $d/? && "
				   "for f in a b c d e f; do $B/goshim check $d/$f >$d/out; echo $? $(head -n 1 $d/out); done; rm -r $d");
	char *line = strtok(c.output, "\n");
	for (int i = 0; i < 6; i++, line = strtok(NULL, "\n"))
		cr_expect(line && line[0] == '0' && strlen(line) > 3 && strcmp(line + strlen(line) - 3, "/sh") == 0, "%c: %s", 'a' + i, line);
}

/* As clang links it: into the program, which exports it. */
Test(check, thread_sanitizer_inside) {
	struct child c = child_run("d=$(mktemp -d) && echo 'void __tsan_init(void) {} int main(void) { return 0; }' >$d/p.c && "
				   "cc -rdynamic -o $d/p $d/p.c && $B/goshim check $d/p; r=$?; rm -r $d; exit $r");
	expect_status(c, 2);
	expect_text(c, "verdict: no, it runs on kernel threads: p has ThreadSanitizer inside");
}

/* As gcc does: what it exports is libc's names. */
Test(check, thread_sanitizer_of_gcc_inside) {
	struct child c = child_run("d=$(mktemp -d) && echo 'int main(void) { return 0; }' >$d/p.c && "
				   "gcc -fsanitize=thread -static-libtsan -o $d/p $d/p.c || exit 77; $B/goshim check $d/p; r=$?; rm -r $d; exit $r");
	if (c.status == 77)
		cr_skip_test("no static libtsan");
	expect_status(c, 2);
	expect_text(c, "verdict: no, it runs on kernel threads: p has ThreadSanitizer inside");
}

/* $ORIGIN is where the file is, not where a link to it is. */
Test(check, links_are_followed) {
	struct child c = child_run("d=$(mktemp -d) && mkdir $d/bin && echo 'int one(void) { return 1; }' >$d/l.c && cc -shared -fPIC -o $d/bin/libone.so $d/l.c && "
				   "echo 'int one(void); int main(void) { return one() - 1; }' >$d/p.c && cc -o $d/bin/p $d/p.c -L$d/bin -Wl,-rpath,'$ORIGIN' -lone && "
				   "ln -s bin/p $d/second && ln -s second $d/first && cd $d && ./first && $B/goshim check ./first; r=$?; rm -r $d; exit $r");
	expect_status(c, 0);
	expect_text(c, "./first\n");
	cr_expect(!strstr(c.output, "libone.so:"), "%s", c.output);
}

Test(check, go_programs) {
	struct child c = child_run("$B/goshim check $B/tests/helpers/go_built");
	expect_status(c, 1);
	expect_text(c, "it is a Go program");
}

Test(check, raw_system_calls) {
	struct child c = child_run("$B/goshim check $B/tests/helpers/raw_clone");
	expect_status(c, 1);
	expect_text(c, "raw_clone: futex (1)");
	expect_text(c, "raw_clone: clone3 (1)");
	expect_text(c, "makes kernel threads that stay kernel threads");
}

Test(check, rings_of_its_own) {
	struct child c = child_run("$B/goshim check $B/tests/helpers/raw_ring");
	expect_status(c, 1);
	expect_text(c, "raw_ring: io_uring_setup (1)");
	expect_text(c, "raw_ring makes an io_uring past liburing's library");
}

/* Those of a library that is liburing are not: goshim stands in front of its functions. */
Test(check, rings_of_liburing) {
	struct child c = child_run("d=$(mktemp -d) && sed 's/int main/int io_uring_queue_init/' $S/tests/helpers/raw_ring.c >$d/m.c && "
				   "cc -shared -fPIC -o $d/libring.so $d/m.c && "
				   "echo 'int io_uring_queue_init(int, char **); int main(void) { return io_uring_queue_init(0, 0); }' >$d/p.c && "
				   "cc -o $d/p $d/p.c -L$d -Wl,-rpath,$d -lring && $B/goshim check $d/p; r=$?; rm -r $d; exit $r");
	expect_status(c, 0);
	expect_text(c, " io_uring_queue_init");
	cr_expect(!strstr(c.output, "past liburing"), "%s", c.output);
}

Test(check, own_runtime) {
	struct child c = child_run("$B/goshim check $B/tests/helpers/own_runtime");
	expect_status(c, 1);
	expect_text(c, "allocator    own_runtime\n");
	expect_text(c, "own_runtime (swapcontext)");
	expect_text(c, "128 KiB of static TLS");
}

Test(check, damaged_files) {
	/* Cut anywhere, it says something and does not crash. */
	struct child c = child_run("d=$(mktemp -d) && for n in 20 64 100 900 4000 9000 15000; do head -c $n "
				   "$B/tests/helpers/works >$d/f; chmod 755 $d/f; "
				   "$B/goshim check $d/f >/dev/null 2>&1; echo \"status $?\"; done; rm -r $d");
	expect_status(c, 0);
	cr_expect(!strstr(c.output, "status 13"), "a signal:\n%s", c.output);
}

Test(check, wrong_usage) {
	struct child c = child_run("$B/goshim check");
	expect_status(c, 125);
	expect_text(c, "usage: goshim check PROGRAM");
	c = child_run("$B/goshim check no-such-program");
	expect_status(c, 127);
	c = child_run("$B/goshim check /");
	expect_status(c, 126);
}
