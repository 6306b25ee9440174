/* Memory that other processes may have as well: mapping.c. */
#ifndef GOSHIM_SHIMS_MAPPING_H
#define GOSHIM_SHIMS_MAPPING_H

#include <stdbool.h>

/* May another process, or the kernel itself, wake who waits at this word? False: nobody but this process's threads. */
bool mapping_shared(const void *word);

/* The kernel wakes words of the program's choice from now on, wherever they are. */
void mapping_distrust(void);

/* By who is about to park at a word's second queue (core/futex.h), before he asks, with that locked, whether it is shared. */
void mapping_parks(void);

/* Around system call n with these arguments, made by syscall(); it gave r (kernel's style). */
void mapping_before(long n, const long a[6]);
void mapping_after(long n, const long a[6], long r);

#endif
