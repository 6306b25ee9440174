/* New contexts and signal frames for x86-64. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include "arch.h"

_Static_assert(offsetof(siginfo_t, si_code) == 8, "arch/x86_64/trap.S knows this");
_Static_assert(offsetof(ucontext_t, uc_mcontext.gregs[REG_RSP]) == 160 &&
		       offsetof(ucontext_t, uc_mcontext.gregs[REG_RIP]) == 168,
	       "arch/x86_64/swapcontext.S knows this");

/* A user shadow stack: `ret` after a switch of stacks faults. By the instruction that reads its pointer, which does nothing where there is none: the system call that tells, a
 * filter may punish. */
bool arch_shadow_stack(const char **how) {
	uint64_t pointer = 0;
	__asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8" : "+a"(pointer)); /* rdsspq %rax */
	if (pointer)
		*how = "a shadow stack is active (see GLIBC_TUNABLES=glibc.cpu.x86_shstk)";
	return pointer != 0;
}

size_t arch_unwind_signal(const uint32_t code[2]) {
	(void)code; /* glibc's restorer and the vdso have unwind information */
	return 0;
}

void *arch_restorer(void) {
	return NULL; /* the kernel insists on one, so libc has it */
}

/* jmp *ADDRESS(%rip), perhaps behind endbr64 and a bnd prefix: the linker's. */
static bool is_stub(const unsigned char code[8]) {
	size_t at = code[0] == 0xf3 && code[1] == 0x0f && code[2] == 0x1e && code[3] == 0xfa ? 4 : 0;
	at += code[at] == 0xf2;
	return code[at] == 0xff && code[at + 1] == 0x25;
}

bool arch_calls(uintptr_t returns_to, uintptr_t function, bool (*get)(void *to, uintptr_t from, size_t n)) {
	unsigned char code[7], target_code[8];
	int32_t distance;
	if (!get(code, returns_to - sizeof code, sizeof code))
		return false;
	if (code[2] == 0xe8) {
		memcpy(&distance, code + 3, sizeof distance);
		uintptr_t target = returns_to + (uintptr_t)(intptr_t)distance;
		return target == function || (get(target_code, target, sizeof target_code) && is_stub(target_code));
	}
	/* call of what a register or memory says: FF /2, of 2 to 7 bytes */
	for (size_t at = 0; at < sizeof code - 1; at++) {
		if (code[at] == 0xff && (code[at + 1] >> 3 & 7) == 2)
			return true;
	}
	return false;
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
	*--sp = 0;                          /* rbp */
	*--sp = 0;                          /* rbx */
	*--sp = (uint64_t)(uintptr_t)entry; /* r12 */
	*--sp = (uint64_t)(uintptr_t)arg;   /* r13 */
	*--sp = 0;                          /* r14 */
	*--sp = 0;                          /* r15 */
	*--sp = (uint64_t)mxcsr | (uint64_t)fpucw << 32;
	ctx->sp = sp;
}

/* DWARF's numbers: rax rdx rcx rbx rsi rdi rbp rsp, r8 to r15, return address. */
void arch_ctx_regs(uintptr_t sp, const void *frame, uint64_t reg[ARCH_DWARF_REGS], uint64_t *known) {
	const uint64_t *word = frame; /* control words, r15, r14, r13, r12, rbx, rbp, return address */
	for (int r = 0; r < 4; r++)
		reg[15 - r] = word[1 + r];
	reg[3] = word[5];
	reg[6] = word[6];
	reg[ARCH_DWARF_PC] = word[7];
	reg[ARCH_DWARF_SP] = sp + ARCH_FRAME_BYTES;
	*known = 1u << 3 | 1u << 6 | 1u << ARCH_DWARF_SP | 0xfu << 12 | 1u << ARCH_DWARF_PC;
}

void arch_signal_regs(const void *ucontext, uint64_t reg[ARCH_DWARF_REGS], uint64_t *known) {
	static const uint8_t greg[ARCH_DWARF_REGS] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
						      REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
						      REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
	const ucontext_t *uc = ucontext;
	for (int r = 0; r < ARCH_DWARF_REGS; r++)
		reg[r] = (uint64_t)uc->uc_mcontext.gregs[greg[r]];
	*known = (1ull << ARCH_DWARF_REGS) - 1;
}

uint64_t arch_signal_vectors(const void *ucontext) {
	const struct _libc_fpstate *fp = ((const ucontext_t *)ucontext)->uc_mcontext.fpregs;
	uint64_t sum = 0, word;
	for (size_t i = 0; fp && i < (sizeof fp->_st + sizeof fp->_xmm) / sizeof word; i++) {
		memcpy(&word, (const char *)fp->_st + i * sizeof word, sizeof word);
		sum = (sum << 1 | sum >> 63) ^ word;
	}
	return sum;
}

/* word[0] to [6]: as fnstenv has it, the control word first; [7]: MXCSR. */
void arch_fp_begin(struct arch_fp *kept) {
	static const uint32_t mxcsr = 0x1f80;
	__asm__ volatile("fnstenv %0\n\tfninit\n\tstmxcsr %1\n\tldmxcsr %2" : "=m"(*(uint32_t(*)[7])kept->word), "=m"(kept->word[7]) : "m"(mxcsr) : "memory");
}

/* getcontext() has put both where the kernel has them, at these two places only. */
void arch_fp_end(struct arch_fp *kept, const void *ucontext) {
	const struct _libc_fpstate *fp = ((const ucontext_t *)ucontext)->uc_mcontext.fpregs;
	if (fp) {
		kept->word[0] = (kept->word[0] & ~0xffffu) | fp->cwd;
		kept->word[7] = fp->mxcsr & 0xffff;
	}
	__asm__ volatile("fldenv %0\n\tldmxcsr %1" : : "m"(*(uint32_t(*)[7])kept->word), "m"(kept->word[7]) : "memory");
}

void arch_context_skip_syscall(void *context) {
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	const unsigned char *code = (const unsigned char *)regs[REG_RIP];
	if (code[0] == 0x0f && code[1] == 0x05) {
		regs[REG_RIP] += 2;
		regs[REG_RAX] = -EINTR;
	}
}

void arch_context_redirect(void *context, void *stack_top, void (*fn)(void *), void *arg) {
	enum { FLAG_TRAP = 1 << 8, FLAG_DIRECTION = 1 << 10, FLAG_ALIGNMENT = 1 << 18 };
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;
	uint64_t *sp = (uint64_t *)((uintptr_t)stack_top & ~(uintptr_t)15) - 1;
	*sp = 0; /* a return address, for unwinders: the end */
	regs[REG_RSP] = (greg_t)sp;
	regs[REG_RIP] = (greg_t)fn;
	regs[REG_RDI] = (greg_t)arg;
	regs[REG_RBP] = 0;
	regs[REG_EFL] &= ~(greg_t)(FLAG_TRAP | FLAG_DIRECTION | FLAG_ALIGNMENT);
	/* A pending x87 exception would strike whoever runs here next, and registers in use would be in its way: no switch saves those. */
	struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
	if (fp) {
		fp->cwd = 0x37f;
		fp->swd = 0;
		fp->ftw = 0; /* this format's "all empty" */
		fp->mxcsr = 0x1f80;
	}
}
