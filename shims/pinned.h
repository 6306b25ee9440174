/* Calls that pin a goroutine to its kernel thread (pinned.c). */
#ifndef GOSHIM_PINNED_H
#define GOSHIM_PINNED_H

#include <stdbool.h>

bool pinned_prctl(int option);
bool pinned_syscall(long n, const long a[6]);
/* The calling goroutine, if it is one. */
void pin_self(void);
/* It is about to fork. */
void pin_forker(void);

#endif
