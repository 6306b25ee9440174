/* What reports (core/dump.c) ask of the shims. See inspect.c. */
#ifndef GOSHIM_INSPECT_H
#define GOSHIM_INSPECT_H

#include <stdint.h>

/* Sets the core's hooks. Once, before the runtime starts. */
void inspect_init(void);

/* Some objects of libc's are waited for at a word inside: which, by the name of the wait. scripts/goshim-gdb.py reads it as well. Ends with NULL. */
struct wait_word {
	const char *what;
	uint32_t offset;
};
extern const struct wait_word wait_words[];
#define COND_WORD 16
#define BARRIER_WORD 4

/* poll.c: dump_polled_hook */
int poll_waited(uintptr_t set, unsigned i, unsigned *count);

/* Cancels the goroutine with this id, and all it created, and they, as pthread_cancel() does. Returns how many; 0: there is no such. From a thread
 * that is none of the program's. */
unsigned inspect_cancel(uint32_t id);

#endif
