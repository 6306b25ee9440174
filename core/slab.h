/* Small objects of the runtime's own: channels, contexts. Nothing comes from the program's heap. See slab.c. */
#ifndef GOSHIM_SLAB_H
#define GOSHIM_SLAB_H

#include <stddef.h>

/* At least `bytes` bytes, 16-byte aligned, not cleared; NULL: no memory. Any thread, with no lock of rank LOCK_STACK held. */
void *slab_alloc(size_t bytes);
/* Gives it back; `bytes` as it was asked for. */
void slab_free(void *p, size_t bytes);
/* In a fork's child: forget what a dead thread may have been changing. */
void slab_fork_child(void);

#endif
