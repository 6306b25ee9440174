/* Memory by the page, straight from the kernel: for everything that must not come from the program's heap (it may be replaced, locked
 * by the code a handler interrupted, or call us). */
#ifndef GOSHIM_PAGES_H
#define GOSHIM_PAGES_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#include "arch.h"
#include "chaos.h"
#include "race.h"

/* Zeroed; NULL: refused. */
static inline void *pages_map(size_t bytes) {
	long r = MAY_FAIL_SEEN(-ENOMEM, SYS6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if ((unsigned long)r > -4096UL)
		return NULL;
	RACE_OURS((void *)r, bytes);
	return (void *)r;
}

/* The same for callers that have another way when it is refused: chaos refuses it now and then. */
static inline void *pages_map_spare(size_t bytes) {
	return chaos(CHAOS_REFUSE) ? NULL : pages_map(bytes);
}

/* From now on a fork's child finds these pages (page-aligned, private, not of a file) zeroed, at the cost of none: the kernel copies nothing, and
 * nobody must touch them to forget what is in them. False: refused, they are copied. */
static inline bool pages_wipe_on_fork(void *p, size_t bytes) {
	return MAY_FAIL_UNSEEN(-EINVAL, SYS3(SYS_madvise, p, bytes, MADV_WIPEONFORK)) == 0;
}

static inline void pages_unmap(void *p, size_t bytes) {
	if (p)
		SYS2(SYS_munmap, p, bytes);
}

#endif
