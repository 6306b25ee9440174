/* What the loader has loaded, seen from inside its locks. See modules.c. */
#ifndef GOSHIM_MODULES_H
#define GOSHIM_MODULES_H

#include <pthread.h>
#include <stdbool.h>

/* Is this a loader whose structures are known? While the process has one thread. */
bool modules_known(void);

/* Tells which modules there are to the threads that are made from now on. While the process has one thread, and whenever that has changed. */
void modules_tell(void);

/* From then on, whatever opens a module, goroutines get their part of it: the loader takes and gives back its locks by functions that call these, after and
 * before. Both keep errno, and do nothing if modules_known() has not said yes. */
void modules_locked(const pthread_mutex_t *m);
void modules_unlocking(const pthread_mutex_t *m);

/* In a fork's child: whoever was opening one is gone. */
void modules_fork_child(void);

#endif
