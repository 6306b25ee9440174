/* New contexts and start-up probing for x86-64. */
#include <stdbool.h>
#include <sys/auxv.h>

#include "arch.h"

#define HWCAP2_FSGSBASE (1ul << 1)

void arch_start(void) __attribute__((visibility("hidden")));

/* Read by switch.S. */
bool arch_fsgsbase __attribute__((visibility("hidden")));

void arch_init(void) {
	/* The kernel sets this bit only when it lets user mode write FS and preserves it over its own switches. */
	arch_fsgsbase = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;
}

void arch_ctx_init(struct arch_ctx *ctx, void *stack_top, void (*entry)(void *), void *arg) {
	uint64_t *sp = (uint64_t *)((uintptr_t)stack_top & ~(uintptr_t)15);
	uint32_t mxcsr;
	uint16_t fpucw;
	/* A new thread inherits the creator's floating-point environment, as through clone(). */
	__asm__("stmxcsr %0" : "=m"(mxcsr));
	__asm__("fnstcw %0" : "=m"(fpucw));
	*--sp = 0; /* alignment: arch_start is entered by `ret` with rsp = 16-byte aligned */
	*--sp = 0;
	*--sp = (uint64_t)(uintptr_t)arch_start;
	*--sp = 0;                            /* rbp */
	*--sp = 0;                            /* rbx */
	*--sp = (uint64_t)(uintptr_t)entry;   /* r12 */
	*--sp = (uint64_t)(uintptr_t)arg;     /* r13 */
	*--sp = 0;                            /* r14 */
	*--sp = 0;                            /* r15 */
	*--sp = (uint64_t)mxcsr | (uint64_t)fpucw << 32;
	ctx->sp = sp;
}
