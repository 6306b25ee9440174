/* Between process.c, loader.c and arch/'s vfork. */
#ifndef GOSHIM_PROCESS_H
#define GOSHIM_PROCESS_H

#include <sys/types.h>

/* In a fork's child, on the surviving thread: forgets the parent's runtime. Nothing if none was started. */
void process_child_fixup(void);

/* loader.c's part of it. */
void loader_fork_child(void);

/* Around vfork's system call. After: called in the parent only, with the kernel's result; returns libc's (errno set). */
void vfork_before(void);
pid_t vfork_after(long result);

#endif
