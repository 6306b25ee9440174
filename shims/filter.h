/* Filters of system calls, as the runtime needs them (filter.c). */
#ifndef GOSHIM_FILTER_H
#define GOSHIM_FILTER_H

#include <linux/filter.h>

/* prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER) or seccomp(SECCOMP_SET_MODE_FILTER): system call n, whose third argument is the program's filter. Its result, or a negative error. It
 * may wait, if the filter is for all threads and one has another that has just ended. */
long filter_install(long n, long a, long b, const struct sock_fprog *given, long d, long e);

#endif
