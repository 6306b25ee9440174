/* New contexts and start-up probing for aarch64. */
#include "arch.h"

void arch_start(void) __attribute__((visibility("hidden")));

/* What arch_switch pops; the order is switch.S's. */
struct frame {
	uint64_t x29, x30;
	uint64_t x19, x20, x21, x22, x23, x24, x25, x26, x27, x28;
	uint64_t d8_d15[8];
	uint64_t fpcr, fpsr;
};
_Static_assert(sizeof(struct frame) == 176, "arch/aarch64/switch.S knows this");

void arch_init(void) {
	/* User mode may always write TPIDR_EL0: nothing to choose. */
}

void arch_ctx_init(struct arch_ctx *ctx, void *stack_top, void (*entry)(void *), void *arg) {
	struct frame *f = (struct frame *)((uintptr_t)stack_top & ~(uintptr_t)15) - 1;
	uint64_t fpcr, fpsr;
	/* A new thread inherits the creator's floating-point environment, as through clone(). */
	__asm__("mrs %0, fpcr" : "=r"(fpcr));
	__asm__("mrs %0, fpsr" : "=r"(fpsr));
	*f = (struct frame){
		.x30 = (uint64_t)(uintptr_t)arch_start,
		.x19 = (uint64_t)(uintptr_t)entry,
		.x20 = (uint64_t)(uintptr_t)arg,
		.fpcr = fpcr,
		.fpsr = fpsr,
	};
	ctx->sp = f;
}
