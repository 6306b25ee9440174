/* System calls that name a thread by number; tidcall.c. */
#ifndef GOSHIM_TIDCALL_H
#define GOSHIM_TIDCALL_H

#include <stdbool.h>
#include <sys/types.h>

/* A raw call of a goroutine's. True: it is done, *r is the kernel's result. False: it is to be made, with the arguments as they now are. */
bool tid_syscall(long n, long a[6], long *r);

/* The number that the kernel knows a thread by, for calls that watch it: the caller gets a kernel thread of its own by that. And the other way round. */
pid_t tid_own(pid_t id);
pid_t tid_of_own(pid_t ktid);

#endif
