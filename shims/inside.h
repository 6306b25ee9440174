/* libc's own calls and locks. See inside.c. */
#ifndef GOSHIM_INSIDE_H
#define GOSHIM_INSIDE_H

#include <stdbool.h>

/* Leads libc's own blocking calls to the shims. Called while the runtime starts, before it has made a kernel thread; again in a fork's child.
 * NULL: done; else why libc's code was left alone: what waits inside libc then blocks its kernel thread until sysmon sees it. */
const char *inside_start(void);

/* Do goroutines get their part of what is loaded (modules.h), whoever loads it? */
bool inside_sees_modules(void);

/* In a fork's child: nobody else waits any more. */
void inside_fork_child(void);

#endif
