/* What the other folders must know about x86-64 at compile time. See arch.h. Also for the launcher: no function of arch/ is named here. */
#ifndef GOSHIM_ARCH_CPU_H
#define GOSHIM_ARCH_CPU_H

#include <stddef.h>
#include <stdint.h>

#define ARCH_ELF_MACHINE EM_X86_64
#define ARCH_LOADER "/lib64/ld-linux-x86-64.so.2"

/* PTHREAD_STACK_MIN as glibc's headers have it: less it refuses. */
#define ARCH_STACK_MIN 16384ul

/* The oldest version of glibc's symbols: GLIBC_2.MINOR. */
#define ARCH_GLIBC_FIRST "GLIBC_2.2.5"
#define ARCH_GLIBC_MINOR 2

/* Thread-local storage, variant II: struct pthread at the thread pointer, static TLS below it. */
#define ARCH_TLS_BELOW 1

/* glibc's spin locks: it decrements them. */
#define ARCH_SPIN_FREE 1

#define ARCH_DWARF_REGS 17
#define ARCH_DWARF_SP 7
#define ARCH_DWARF_PC 16
#define ARCH_FRAME_BYTES 64 /* what arch_switch leaves at ctx->sp */
#define ARCH_CALL_PUSHES 1  /* at the first instruction of a function its return address is at the stack pointer */

/* The word at thread pointer + offset, in one instruction; volatile: another goroutine, another value. */
static inline int32_t arch_tp_load32(size_t offset) {
	int32_t value;
	__asm__ volatile("movl %%fs:(%1), %0" : "=r"(value) : "r"(offset));
	return value;
}

/* A return address as it is called. */
static inline uint64_t arch_return_address(uint64_t saved) {
	return saved;
}

/* Right after an atomic read-modify-write (of any order) by this thread: makes it a full fence. It is one already here: the compiler must only leave it where it is. */
static inline void arch_rmw_fence(void) {
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Tells the CPU that this is a spin loop. */
static inline void arch_relax(void) {
	__builtin_ia32_pause();
}

#endif
