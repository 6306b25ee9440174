/* New contexts and start-up probing for aarch64. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include "arch.h"

/* What arch_switch pops; the order is switch.S's. */
struct frame {
	uint64_t x29, x30;
	uint64_t x19, x20, x21, x22, x23, x24, x25, x26, x27, x28;
	uint64_t d8_d15[8];
	uint64_t fpcr, fpsr;
};
_Static_assert(offsetof(ucontext_t, uc_mcontext.regs[30]) == 424 && offsetof(ucontext_t, uc_mcontext.sp) == 432 &&
		       offsetof(ucontext_t, uc_mcontext.pc) == 440,
	       "arch/aarch64/swapcontext.S knows this");
_Static_assert(sizeof(struct frame) == 176, "arch/aarch64/switch.S knows this");

void arch_init(void) {
	/* User mode may always write TPIDR_EL0: nothing to choose. */
}

void arch_thread_init(struct arch_thread *self, uint32_t slot) {
	*self = (struct arch_thread){.tp_slot = slot};
}

bool arch_tp_trap_init(void) {
	return false;
}

void (*arch_tp_trap_next)(int, siginfo_t *, void *);

void arch_tp_trap(int sig, siginfo_t *info, void *context) {
	arch_tp_trap_next(sig, info, context);
}

void arch_tp_trap_use(bool use) {
	(void)use;
}

void arch_tp_keep(struct arch_thread *self, bool hold) {
	(void)self;
	(void)hold;
}

void arch_tp_set(struct arch_thread *self, uintptr_t tp) {
	(void)self;
	__asm__ volatile("msr tpidr_el0, %0" : : "r"(tp) : "memory");
}

/* A guarded control stack (FEAT_GCS): RET checks against it, and user mode cannot switch it unless that was asked for, too. */
bool arch_shadow_stack(const char **how) {
	enum { GET_SHADOW_STACK_STATUS = 74, ENABLED = 1 };
	uint64_t status = 0;
	if (SYS5(SYS_prctl, GET_SHADOW_STACK_STATUS, &status, 0, 0, 0) < 0 || !(status & ENABLED))
		return false;
	*how = "a guarded control stack is active (see GLIBC_TUNABLES=glibc.cpu.aarch64_gcs)";
	return true;
}

bool arch_calls(uintptr_t returns_to, uintptr_t function, bool (*get)(void *to, uintptr_t from, size_t n)) {
	uint32_t code;
	if (!get(&code, returns_to - sizeof code, sizeof code))
		return false;
	if (code >> 26 == 0x25) { /* bl: 26 bits of distance in words */
		uintptr_t target = returns_to - 4 + (uintptr_t)((int64_t)((uint64_t)code << 38) >> 36);
		return target == function;
	}
	return (code & 0xfffffc1f) == 0xd63f0000; /* blr */
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

void arch_ctx_regs(uintptr_t sp, const void *frame, uint64_t reg[ARCH_DWARF_REGS], uint64_t *known) {
	const struct frame *f = frame;
	const uint64_t *saved = &f->x19;
	for (int r = 19; r <= 28; r++)
		reg[r] = saved[r - 19];
	reg[29] = f->x29;
	reg[30] = reg[ARCH_DWARF_PC] = f->x30;
	reg[ARCH_DWARF_SP] = sp + ARCH_FRAME_BYTES;
	*known = 0x1fffull << 19 | 1ull << ARCH_DWARF_PC; /* x19 to x30, and sp, which is 31 */
}

void arch_signal_regs(const void *ucontext, uint64_t reg[ARCH_DWARF_REGS], uint64_t *known) {
	const ucontext_t *uc = ucontext;
	for (int r = 0; r < 31; r++)
		reg[r] = uc->uc_mcontext.regs[r];
	reg[ARCH_DWARF_SP] = uc->uc_mcontext.sp;
	reg[ARCH_DWARF_PC] = uc->uc_mcontext.pc;
	*known = (1ull << ARCH_DWARF_REGS) - 1;
}

uint64_t arch_signal_vectors(const void *ucontext) {
	const ucontext_t *uc = ucontext;
	const struct fpsimd_context *fp = (const void *)uc->uc_mcontext.__reserved; /* the kernel puts it first */
	uint64_t sum = 0, word;
	for (size_t at = 0; fp->head.magic == FPSIMD_MAGIC && at < sizeof fp->vregs; at += sizeof word) {
		memcpy(&word, (const char *)fp->vregs + at, sizeof word);
		sum = (sum << 1 | sum >> 63) ^ word;
	}
	return sum;
}

void arch_fp_begin(struct arch_fp *kept) {
	uint64_t fpcr, fpsr;
	__asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
	__asm__ volatile("mrs %0, fpsr" : "=r"(fpsr));
	kept->word[0] = (uint32_t)fpcr;
	kept->word[1] = (uint32_t)fpsr;
	__asm__ volatile("msr fpcr, xzr\n\tmsr fpsr, xzr" : : : "memory");
}

void arch_fp_end(struct arch_fp *kept, const void *ucontext) {
	uint64_t fpcr = kept->word[0], fpsr = kept->word[1];
	(void)ucontext; /* the kernel's is one record among others, which getcontext() does not make so */
	__asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(fpcr), "r"(fpsr) : "memory");
}

void arch_context_skip_syscall(void *context) {
	mcontext_t *regs = &((ucontext_t *)context)->uc_mcontext;
	if (*(const uint32_t *)regs->pc == 0xd4000001) { /* svc #0 */
		regs->pc += 4;
		regs->regs[0] = (unsigned long long)-EINTR;
	}
}

void arch_context_redirect(void *context, void *stack_top, void (*fn)(void *), void *arg) {
	ucontext_t *uc = context;
	uc->uc_mcontext.sp = (uintptr_t)stack_top & ~(uintptr_t)15;
	uc->uc_mcontext.pc = (uintptr_t)fn;
	uc->uc_mcontext.regs[0] = (uintptr_t)arg;
	uc->uc_mcontext.regs[29] = uc->uc_mcontext.regs[30] = 0; /* for unwinders: the end */
}

bool arch_tp_call(struct arch_tp_call *call) {
	(void)call;
	return false;
}

bool arch_tp_may_write(void) {
	return true;
}
