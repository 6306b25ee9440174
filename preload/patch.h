/* Entry points of libc that lead to us, also for libc's own calls. See patch.c. */
#ifndef GOSHIM_PATCH_H
#define GOSHIM_PATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "../arch/arch.h"

struct patch {
	const char *name; /* exported by libc */
	void *to;         /* same signature */
	enum arch_function kind;
	long number;   /* the system call that it makes */
	bool required; /* without this one there is no point in the others */
	void *from;    /* out: libc's function, which leads to `to` now; NULL: it does not */
};

/* Makes the functions of list[0..n) jump to their replacements, if the process has one thread. NULL: done, but for those whose code is
 * not known; else why nothing was changed. On the way to the runtime's start only. */
const char *patch_apply(struct patch *list, size_t n);

#endif
