/* Filters of system calls, as the runtime needs them (filter.c). */
#ifndef GOSHIM_FILTER_H
#define GOSHIM_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

struct filter {
	struct sock_fprog prog;
	struct sock_filter *code; /* pages; NULL: the program's own */
	size_t bytes;
};

/* What to give to the kernel instead of the program's filter, which may be a bad address. filter_end(f) after it. */
const struct sock_fprog *filter_begin(const struct sock_fprog *given, struct filter *f);
void filter_end(struct filter *f);

#endif
