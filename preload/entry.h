/* What the constructor decided, for shims/thread.c: whether threads become goroutines, and what happens when they cannot. */
#ifndef GOSHIM_ENTRY_H
#define GOSHIM_ENTRY_H

#include <stdbool.h>

/* May the runtime be started? Decided at the first call (the first pthread_create: a process without threads never asks, makes no system
 * call for it and prints nothing). When the answer is no for a reason the user should know, says so once on stderr. Cheap afterwards. */
bool goshim_enabled(void);

/* False: there will be no goroutines, as far as is known. Decides nothing. */
bool goshim_possible(void);

/* The runtime cannot be started after all: goshim_enabled() is false from now on. Prints "goshim: WHY; running on kernel threads",
 * once a process. Any thread; never fails; errno is kept. */
void goshim_stand_aside(const char *why);

/* Fills sched_config from the settings. Call once goshim_enabled() said yes, before sched_start(). */
void goshim_configure(void);

/* One line on stderr, "goshim: WHAT: WHY", if the user asked to be told (verbose). */
void goshim_note(const char *what, const char *why);
/* "goshim: WHAT WHY" on stderr, one line. */
void goshim_say(const char *what, const char *why);

/* What a negative error number says to who has to mend it: "EMFILE, too many open files"; "" where there is nothing to add. */
const char *goshim_error_text(long error);

/* In shims/thread.c: calls main and exits with what it returns, so that pthread_exit() works, from main and from exit handlers on its thread, and the
 * rest of the process goes on. */
void thread_run_main(int (*main)(int, char **, char **), int argc, char **argv, char **envp) __attribute__((noreturn));

#endif
