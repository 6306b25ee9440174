/* System calls that name a thread by number; tidcall.c. */
#ifndef GOSHIM_TIDCALL_H
#define GOSHIM_TIDCALL_H

#include <stdbool.h>

/* A raw call of a goroutine's. True: it is done, *r is the kernel's result. False: it is to be made, with the arguments as they now are. */
bool tid_syscall(long n, long a[6], long *r);

#endif
