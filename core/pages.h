/* Memory by the page, straight from the kernel: for everything that must not come from the program's heap (it may be replaced, locked
 * by the code a handler interrupted, or call us). */
#ifndef GOSHIM_PAGES_H
#define GOSHIM_PAGES_H

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "arch.h"
#include "chaos.h"
#include "race.h"

/* Zeroed; NULL: refused. */
static inline void *pages_map(size_t bytes) {
	long r = MAY_FAIL(-ENOMEM, SYS6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if ((unsigned long)r > -4096UL)
		return NULL;
	RACE_OURS((void *)r, bytes);
	return (void *)r;
}

/* The same for callers that have another way when it is refused: chaos refuses it now and then. */
static inline void *pages_map_spare(size_t bytes) {
	return chaos(CHAOS_REFUSE) ? NULL : pages_map(bytes);
}

static inline void pages_unmap(void *p, size_t bytes) {
	if (p)
		SYS2(SYS_munmap, p, bytes);
}

#endif
