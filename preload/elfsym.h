/* Names of functions, from the symbol tables of files, for people who read backtraces. The launcher's; not in the library. */
#ifndef GOSHIM_ELFSYM_H
#define GOSHIM_ELFSYM_H

#include <stdint.h>

/* The function that holds `address` (relative to where the file is loaded) in the file at `path`, and how far into it; NULL: not known.
 * Files are kept; the result lives as long. */
const char *elfsym_find(const char *path, uint64_t address, uint64_t *offset);

#endif
