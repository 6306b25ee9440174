/* What the other folders must know about aarch64 at compile time. See arch.h. Also for the launcher: no function of arch/ is named here. */
#ifndef GOSHIM_ARCH_CPU_H
#define GOSHIM_ARCH_CPU_H

#include <stddef.h>
#include <stdint.h>

#define ARCH_ELF_MACHINE EM_AARCH64
#define ARCH_LOADER "/lib/ld-linux-aarch64.so.1"

/* PTHREAD_STACK_MIN as glibc's headers have it: less it refuses. */
#define ARCH_STACK_MIN 131072ul

/* The oldest version of glibc's symbols: GLIBC_2.MINOR. */
#define ARCH_GLIBC_FIRST "GLIBC_2.17"
#define ARCH_GLIBC_MINOR 17

/* Thread-local storage, variant I: a head of two words at the thread pointer, static TLS above it, struct pthread below. */
#define ARCH_TLS_BELOW 0

/* glibc's spin locks: it swaps a 1 in. */
#define ARCH_SPIN_FREE 0

#define ARCH_DWARF_REGS 33
#define ARCH_DWARF_SP 31
#define ARCH_DWARF_PC 32
#define ARCH_FRAME_BYTES 176 /* what arch_switch leaves at ctx->sp */
#define ARCH_CALL_PUSHES 0   /* at the first instruction of a function its return address is in register 30 */

/* The word at thread pointer + offset; volatile, and one statement: the compiler must not read the thread pointer before a park and the word behind it. */
static inline int32_t arch_tp_load32(size_t offset) {
	uintptr_t tp;
	int32_t value;
	__asm__ volatile("mrs %0, tpidr_el0\n\tldr %w1, [%0, %2]" : "=&r"(tp), "=r"(value) : "r"(offset));
	return value;
}

/* A return address as it is called: where the compiler signs them (-mbranch-protection=pac-ret), without the signature. XPACLRI works on x30 only, and
 * is a no-op on CPUs that sign nothing. */
static inline uint64_t arch_return_address(uint64_t saved) {
	register uint64_t x30 __asm__("x30") = saved;
	__asm__("hint #7" : "+r"(x30));
	return x30;
}

/* Right after an atomic read-modify-write (of any order) by this thread: makes it a full fence. It orders what the read half read here, and what came before; later accesses may still pass its store. */
static inline void arch_rmw_fence(void) {
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Tells the CPU that this is a spin loop. YIELD is a no-op on nearly every core; ISB holds the pipeline for some ten cycles, as x86's PAUSE does. */
static inline void arch_relax(void) {
	__asm__ volatile("isb" ::: "memory");
}

#endif
