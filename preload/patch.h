/* Entry points of libc that lead to us, also for libc's own calls. See patch.c. */
#ifndef GOSHIM_PATCH_H
#define GOSHIM_PATCH_H

#include <pthread.h>
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

/* Makes the loader, ld.so, call `to` instead of the function of libc's of that name, for its locks. *libc: libc's, known before `to` can be called. false:
 * ld.so has no pointer to that function, or several, or it must not be written; then nothing has changed. While the process has one thread. */
typedef int mutex_function(pthread_mutex_t *m);
bool patch_loader(const char *name, mutex_function *to, mutex_function **libc);
/* libc's own function of that name, whoever stands in front of it; NULL: it has none. */
mutex_function *patch_libc(const char *name);

#endif
