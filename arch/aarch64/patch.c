/* Recognising functions of libc, and jumps into them, for aarch64.
 *
 * The jump is one instruction, `b`, in place of the first one (behind the landing pad, where libc has them). So whoever is interrupted anywhere in the
 * function, or waits in its system call, finds all the rest unchanged, and whoever is interrupted before the first instruction calls ours, with every
 * argument in place. What else the function looks like does not matter, but for three things: it must make the system call that it is known
 * for (`mov x8, #number`, then `svc #0`), it must not branch back to its first instruction, and that must not be one that signs the return
 * address: it is a landing pad, too, and a `b` is none. */
#include <string.h>

#include "arch.h"

#define INSTRUCTION_BYTES 4u
#define BTI_C 0xd503245fu
#define PACIASP 0xd503233fu
#define PACIBSP 0xd503237fu
#define SVC_0 0xd4000001u

static uint32_t instruction(const unsigned char *code, size_t at) {
	uint32_t word;
	memcpy(&word, code + at, sizeof word);
	return word;
}

/* The lowest `bits` of word >> shift, with sign: how many instructions a branch leads away. */
static int64_t field(uint32_t word, unsigned shift, unsigned bits) {
	return (int64_t)((uint64_t)(word >> shift) << (64 - bits)) >> (64 - bits);
}

/* Bytes from a branch with a fixed target to that; 0: it is none. */
static int64_t branch_distance(uint32_t word) {
	int64_t instructions = 0;
	if ((word & 0x7c000000u) == 0x14000000u) /* b, bl */
		instructions = field(word, 0, 26);
	else if ((word & 0xff000000u) == 0x54000000u || (word & 0x7e000000u) == 0x34000000u) /* b.cond; cbz, cbnz */
		instructions = field(word, 5, 19);
	else if ((word & 0x7e000000u) == 0x36000000u) /* tbz, tbnz */
		instructions = field(word, 5, 14);
	return instructions * (int64_t)INSTRUCTION_BYTES;
}

int arch_jump_place(const unsigned char *code, size_t size, enum arch_function kind, long number) {
	uint32_t load = 0xd2800008u | (uint32_t)number << 5; /* mov x8, #number */
	bool loaded = false, called = false;
	(void)kind;
	if (size < 3 * INSTRUCTION_BYTES)
		return -1;
	size_t first = instruction(code, 0) == BTI_C ? INSTRUCTION_BYTES : 0;
	if (instruction(code, first) == PACIASP || instruction(code, first) == PACIBSP)
		return -1;
	for (size_t at = first; at + INSTRUCTION_BYTES <= size; at += INSTRUCTION_BYTES) {
		uint32_t word = instruction(code, at);
		int64_t distance = branch_distance(word);
		if (distance && (int64_t)at + distance == (int64_t)first)
			return -1;
		loaded |= word == load;
		called |= loaded && word == SVC_0;
	}
	return called ? (int)first : -1;
}

size_t arch_jump_write(unsigned char *copy, uintptr_t at, uintptr_t target) {
	int64_t distance = (int64_t)(target - at) / (int64_t)INSTRUCTION_BYTES;
	if (distance < -(1 << 25) || distance >= 1 << 25) /* 128 MiB */
		return 0;
	uint32_t word = 0x14000000u | ((uint32_t)distance & 0x03ffffffu);
	memcpy(copy, &word, sizeof word);
	return sizeof word;
}

void arch_code_written(void *code, size_t size) {
	__builtin___clear_cache((char *)code, (char *)code + size);
}
