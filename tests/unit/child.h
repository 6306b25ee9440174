/* For tests that run commands: `sh -c` with the build's folder in $B, output and status. */
#ifndef GOSHIM_TESTS_CHILD_H
#define GOSHIM_TESTS_CHILD_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct child {
	int status;        /* exit status; 128 + signal as the shell counts */
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

#endif
