/* System calls in a program's code, for `goshim check`. Part of the launcher only. */
#include <stdint.h>
#include <string.h>

#include "arch_scan.h"

#define NUMBER_BEFORE 8 /* instructions between the load of the number and SVC */
#define SVC_0 0xd4000001u

static uint32_t instruction(const unsigned char *code, size_t at) {
	uint32_t word;
	memcpy(&word, code + at, sizeof word);
	return word;
}

/* MOVZ of x8 or w8, without a shift: the immediate is in bits 5 to 20. */
static int number_before(const unsigned char *code, size_t at) {
	for (size_t back = 4; back <= 4 * NUMBER_BEFORE && back <= at; back += 4) {
		uint32_t word = instruction(code, at - back);
		if ((word & 0x7fe0001fu) == 0x52800008u)
			return (int)(word >> 5 & 0xffff);
	}
	return -1;
}

bool arch_syscall_find(const unsigned char *code, size_t size, size_t *at, int *number) {
	for (size_t i = (*at + 3) & ~(size_t)3; i + 4 <= size; i += 4) {
		if (instruction(code, i) != SVC_0)
			continue;
		*number = number_before(code, i);
		*at = i + 4;
		return true;
	}
	return false;
}
