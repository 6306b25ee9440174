/* What the launcher's commands share: goshim.c runs programs, check.c looks at them. Not in the library. */
#ifndef GOSHIM_LAUNCHER_H
#define GOSHIM_LAUNCHER_H

#include <limits.h>
#include <stddef.h>

/* As env(1), nohup(1) and their like: the program's own status is everything below 125. */
enum { EXIT_USAGE = 2, EXIT_OWN_FAILURE = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* "goshim: ..." on stderr; -1. */
__attribute__((format(printf, 1, 2))) int complain(const char *format, ...);
/* "goshim: ..." on stderr, and the end. */
__attribute__((format(printf, 2, 3), noreturn)) void fail(int status, const char *format, ...);

/* The library to preload; does not return without one. */
const char *library_find(void);

/* As execvp(3) looks for it; does not return when it is not there. */
void program_find(const char *name, char path[PATH_MAX]);

/* Why ld.so will not preload into `path`; NULL: it will, or this cannot be told. A script is as its interpreter is: `end` is
 * where the chain of interpreters ends. NULL: the caller is about to run it, not somebody else some day. */
extern const char no_program[]; /* one of these: a shared library */
const char *preload_obstacle(const char *path, char end[PATH_MAX]);

/* goshim check PROGRAM: argv[0] is the program. Returns the exit status. */
int check_main(int argc, char **argv);

#endif
