/* For tests that run commands: `sh -c` with the build's folder in $B and the source's in $S, output and status; and a program of
 * tests/helpers that runs while it is looked at. */
#ifndef GOSHIM_TESTS_CHILD_H
#define GOSHIM_TESTS_CHILD_H

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct child {
	int status;         /* exit status; 128 + signal as the shell counts */
	char output[16384]; /* standard output and error */
};

__attribute__((format(printf, 1, 2))) static inline struct child child_run(const char *format, ...) {
	struct child c = {.status = -1};
	char command[2048];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	const char *build = getenv("GOSHIM_BUILD");
	setenv("B", build ? build : "build", 1);
	const char *source = getenv("GOSHIM_SOURCE");
	setenv("S", source ? source : ".", 1);
	char *line = NULL;
	if (asprintf(&line, "exec 2>&1; unset GOSHIM GOMAXPROCS LD_PRELOAD; %s", command) < 0)
		return c;
	FILE *pipe = popen(line, "r");
	free(line);
	if (!pipe)
		return c;
	size_t length = fread(c.output, 1, sizeof(c.output) - 1, pipe);
	c.output[length] = '\0';
	int status = pclose(pipe);
	c.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return c;
}

#define expect_status(c, n) cr_expect((c).status == (n), "status %d, expected %d:\n%s", (c).status, (n), (c).output)
#define expect_text(c, text) cr_expect(strstr((c).output, text), "\"%s\" is missing in:\n%s", text, (c).output)
#define expect_no_text(c, text) cr_expect(!strstr((c).output, text), "\"%s\" should not be in:\n%s", text, (c).output)

/* Shell functions. start SETTINGS ARGS: runs the program, waits until it is ready, sets $pid. finish: ends it. until_text TEXT COMMAND: repeats COMMAND
 * until its output has TEXT, prints that output. Folders are given with ctl=/FOLDER, so that tests do not meet.
 * $d is a folder of the test's own, with the program's output in $d/out and $d/err. */
#define SESSION                                                                                                       \
	"d=$(mktemp -d); unset XDG_RUNTIME_DIR; mkfifo $d/in; touch $d/out; "                                         \
	"start() { s=$1; shift; GOSHIM=$s LD_PRELOAD=$B/libgoshim.so $B/tests/helpers/${program:-inspected} \"$@\" "  \
	"<$d/in "                                                                                                     \
	">$d/out 2>$d/err & "                                                                                         \
	"  pid=$!; exec 7>$d/in; i=0; while ! grep -q ready $d/out; do i=$((i+1)); [ $i -lt 400 ] || break; sleep "   \
	"0.05; done; }; "                                                                                             \
	"finish() { exec 7>&-; wait $pid; }; "                                                                        \
	"until_text() { w=$1; shift; i=0; while o=$(\"$@\" 2>&1); ! printf %%s \"$o\" | grep -qe \"$w\" && [ $i -lt " \
	"200 ]; do i=$((i+1)); "                                                                                      \
	"sleep 0.05; done; printf '%%s\\n' \"$o\"; }; "                                                               \
	"trap 'rm -r $d' EXIT; "

#define session(text, ...) child_run(SESSION text __VA_OPT__(, ) __VA_ARGS__)

#endif
