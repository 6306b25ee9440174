/* System calls in a program's code, for `goshim check`; arch/CPU/scan.c. */
#ifndef GOSHIM_ARCH_SCAN_H
#define GOSHIM_ARCH_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* The next system call instruction in code[*at, size): true, *at is behind it, and *number is what is loaded for it shortly before, or -1. */
bool arch_syscall_find(const unsigned char *code, size_t size, size_t *at, int *number);

#endif
