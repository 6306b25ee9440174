/* libc's own functions, resolved once with explicit symbol versions and without allocating (INT-2, INT-3).
 * The table is preload/real.def: REAL(return type, name, parameter list, version or NULL for the default).
 * symbols_init() runs from the `-z initfirst` constructor, before any other code of the process but IFUNC resolvers (INT-6: those may
 * call a shim before; such a shim finds its pointer NULL and calls symbols_init() itself through REAL_READY()). */
#ifndef GOSHIM_SYMBOLS_H
#define GOSHIM_SYMBOLS_H

#include <stdbool.h>

#include "real_types.h"

struct real {
#define REAL(ret, name, params, version) ret(*name) params;
#include "real.def"
#undef REAL
	bool ready;
};
extern struct real real __attribute__((visibility("hidden")));

/* Resolves everything; returns NULL or the name of a required symbol that this libc lacks. */
const char *symbols_init(void);

/* Is there a runtime in this process that must see each kernel thread made, and could not live with ours? */
bool symbols_foreign_runtime(void);

/* One of libc's private symbols (GLIBC_PRIVATE), or NULL. */
void *symbols_private(const char *name);

/* Does a library that comes after ours define something that we serve without calling what comes behind? Then *name is one such function, *library
 * its file, and `real` leads to what it and others there have. Before anybody has called a shim. */
bool symbols_bypassed(const char **name, const char **library);

/* First line of every shim: it may run before our constructor (INT-6). One predictable branch. */
#define REAL_READY() \
	do { \
		if (__builtin_expect(!real.ready, 0)) \
			symbols_init(); \
	} while (0)

#endif
