/* Recognising functions of libc, and jumps into them, for x86-64.
 *
 * The jump is five bytes, `jmp rel32`. What is replaced must be known code, and of a system call's wrapper only a part of its first
 * instruction: a thread that a signal handler interrupted in the wrapper continues at some instruction of it (behind its `syscall`, or at
 * that again), and all but the first must still be there. So a wrapper is taken if it begins with glibc's test for a single-threaded process:
 *
 *     cmpb $0, __libc_single_threaded(%rip)      80 3d xx xx xx xx 00            since 2.34
 *     cmpl $0, %fs:0x18                          64 83 3c 25 18 00 00 00 00      before
 *
 * or, where it is no cancellation point, with
 *
 *     mov $number, %eax                          b8 xx xx xx xx
 *
 * Nobody is inside the two lock functions while the process has one thread, so any byte of those may go. */
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>

#include "arch.h"

#define JUMP_BYTES 5u

static bool starts_with(const unsigned char *code, size_t size, const char *bytes, size_t n) {
	return size >= n && memcmp(code, bytes, n) == 0;
}

/* Is there, within the function's first bytes, `mov $number, %eax` (or, for 0, `xor %eax, %eax`) and after it `syscall`? */
static bool makes_syscall(const unsigned char *code, size_t size, long number) {
	unsigned char load[5] = {0xb8, (unsigned char)number, (unsigned char)(number >> 8), 0, 0};
	static const unsigned char zero[2] = {0x31, 0xc0};
	const unsigned char *want = number ? load : zero;
	size_t n = number ? sizeof load : sizeof zero;
	bool loaded = false;
	for (size_t i = 0; i + 2 <= size && i < 64; i++) {
		if (!loaded && i + n <= size && memcmp(code + i, want, n) == 0)
			loaded = true;
		else if (loaded && code[i] == 0x0f && code[i + 1] == 0x05)
			return true;
	}
	return false;
}

int arch_jump_place(const unsigned char *code, size_t size, enum arch_function kind, long number) {
	/* endbr64 stays: the function may be called through a pointer where branches are tracked. */
	size_t skip = starts_with(code, size, "\xf3\x0f\x1e\xfa", 4) ? 4 : 0;
	const unsigned char *body = code + skip;
	size_t rest = size - skip;
	bool known = false;
	if (rest < 2 * JUMP_BYTES || !makes_syscall(body, rest, number))
		return -1;
	switch (kind) {
	case ARCH_WRAPPER:
		known = (starts_with(body, rest, "\x80\x3d", 2) && body[6] == 0) ||
			starts_with(body, rest, "\x64\x83\x3c\x25\x18\0\0\0\0", 9) ||
			(body[0] == 0xb8 && body[1] == (unsigned char)number);
		break;
	case ARCH_LOCK_WAIT: /* mov (%rdi), %eax; cmp $2, %eax */
		known = starts_with(body, rest, "\x8b\x07\x83\xf8\x02", 5);
		break;
	case ARCH_LOCK_WAKE: /* xor %r10d, %r10d; mov $1, %edx */
		known = starts_with(body, rest, "\x45\x31\xd2\xba\x01\0\0\0", 8);
		break;
	}
	return known ? (int)skip : -1;
}

size_t arch_jump_write(unsigned char *copy, uintptr_t at, uintptr_t target) {
	int64_t distance = (int64_t)(target - (at + JUMP_BYTES));
	int32_t rel = (int32_t)distance;
	if (rel != distance)
		return 0;
	copy[0] = 0xe9;
	memcpy(copy + 1, &rel, sizeof rel);
	return JUMP_BYTES;
}

void arch_code_written(void *code, size_t size) {
	(void)code; /* the CPU sees its own stores */
	(void)size;
}
