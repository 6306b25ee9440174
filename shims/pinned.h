/* Calls that pin a goroutine to its kernel thread (pinned.c). */
#ifndef GOSHIM_PINNED_H
#define GOSHIM_PINNED_H

#include <stdbool.h>

bool pinned_prctl(int option);
bool pinned_syscall(long n, const long a[6]);
/* uring.c: does this io_uring_setup or io_uring_register tie a ring to the calling kernel thread? */
bool uring_ties(long n, const long a[6]);
/* r is what an io_uring_setup returned. Returns it; before the program has it. */
long uring_made(long r);
/* The calling goroutine, if it is one. */
void pin_self(void);
/* It is about to fork. */
void pin_forker(void);

#endif
