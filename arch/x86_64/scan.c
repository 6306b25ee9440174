/* System calls in a program's code, for `goshim check`. Part of the launcher only. */
#include <string.h>

#include "arch_scan.h"

#define NUMBER_BEFORE 24 /* bytes between the load of the number and the instruction */

/* The number that is loaded before the instruction at code[at], or -1. */
static int number_before(const unsigned char *code, size_t at) {
	for (size_t back = 5; back <= NUMBER_BEFORE && back <= at; back++) {
		const unsigned char *p = code + at - back;
		if (p[0] == 0xb8 && p[3] == 0 && p[4] == 0) /* mov $n, %eax */
			return p[1] | p[2] << 8;
		if (back >= 7 && p[0] == 0x48 && p[1] == 0xc7 && p[2] == 0xc0 && p[5] == 0 && p[6] == 0) /* mov $n, %rax */
			return p[3] | p[4] << 8;
	}
	return -1;
}

bool arch_syscall_find(const unsigned char *code, size_t size, size_t *at, int *number) {
	for (size_t i = *at; i + 1 < size; i++) {
		const unsigned char *next = memchr(code + i, 0x0f, size - 1 - i);
		if (!next)
			return false;
		i = (size_t)(next - code);
		if (code[i + 1] != 0x05) /* syscall */
			continue;
		*number = number_before(code, i);
		*at = i + 2;
		return true;
	}
	return false;
}
