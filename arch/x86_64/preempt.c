/* What a signal frame says and how it is changed, for x86-64. */
#include <cpuid.h>
#include <string.h>
#include <ucontext.h>

#include "arch.h"

#define RED_ZONE 128ul
#define XFEATURE_AVX (1u << 2)
#define XFEATURE_PKRU (1u << 9)
#define XFEATURE_AMX (3u << 17)
#define XSTATE_HEADER 512u          /* offset of XSTATE_BV in the standard format */
#define SW_RESERVED 464u            /* where the kernel describes the frame's area: magic1, bytes with magic2, features, bytes */
#define PKRU_INIT 0x55555554u       /* the kernel's: every key but 0 denied */
#define SIGINFO_BYTES 128u

void arch_preempt(void) __attribute__((visibility("hidden")));

/* Read by preempt.S. */
uint64_t arch_xsave_bytes __attribute__((visibility("hidden")));
uint32_t arch_xsave_mask __attribute__((visibility("hidden")));
static uint32_t pkru_offset;

bool arch_preempt_init(void) {
	uint32_t a, b, c, d;
	arch_xsave_mask = 0;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return false;
	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	/* AMX tiles are 8 KiB that hardly anybody uses: who has them in use is not preempted (arch_preempt_inject). */
	uint32_t mask = a & ~XFEATURE_AMX;
	uint64_t bytes = 512 + 64;
	for (uint32_t i = 2; i < 32; i++) {
		if (!(mask >> i & 1))
			continue;
		__cpuid_count(0xd, i, a, b, c, d);
		if (a + b > bytes)
			bytes = a + b;
		if (1u << i == XFEATURE_PKRU)
			pkru_offset = b;
	}
	arch_xsave_bytes = (bytes + 63) & ~63ul;
	arch_xsave_mask = mask;
	return true;
}

size_t arch_preempt_bytes(void) {
	return RED_ZONE + 17 * 8 + 64 + arch_xsave_bytes;
}

uintptr_t arch_context_pc(const void *context) {
	return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}

uintptr_t arch_context_sp(const void *context) {
	return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RSP];
}

/* Bytes of the frame's floating-point area. */
static size_t fp_bytes(const char *fp) {
	uint32_t words[2];
	memcpy(words, fp + SW_RESERVED, sizeof words);
	return words[0] == FP_XSTATE_MAGIC1 ? words[1] : 512;
}

bool arch_preempt_inject(void *context) {
	ucontext_t *uc = context;
	const char *fp = (const char *)uc->uc_mcontext.fpregs;
	uint64_t in_use = 0;
	if (fp && fp_bytes(fp) > 512)
		memcpy(&in_use, fp + XSTATE_HEADER, sizeof in_use);
	if (in_use & XFEATURE_AMX)
		return false;
	if ((in_use & XFEATURE_PKRU) && pkru_offset) {
		/* The keys' register belongs to the kernel thread: with rights in it that others lack, its goroutine stays. */
		uint32_t pkru;
		memcpy(&pkru, fp + pkru_offset, sizeof pkru);
		if (pkru != PKRU_INIT)
			return false;
	}
	greg_t *regs = uc->uc_mcontext.gregs;
	uint64_t *sp = (uint64_t *)(regs[REG_RSP] - RED_ZONE - 8);
	*sp = (uint64_t)regs[REG_RIP];
	regs[REG_RSP] = (greg_t)sp;
	regs[REG_RIP] = (greg_t)arch_preempt;
	return true;
}

/* The kernel's frame, from low to high: return address, ucontext (its own, shorter than libc's), siginfo, then the floating-point area, 64-byte aligned. */
void *arch_sigframe_move(void **context, siginfo_t **info, uintptr_t top, uintptr_t lowest, bool red_zone) {
	ucontext_t *uc = *context;
	char *frame = (char *)*context - 8, *fp = (char *)uc->uc_mcontext.fpregs;
	size_t bytes = (size_t)((char *)*info + SIGINFO_BYTES - frame), area = fp ? fp_bytes(fp) : 0;
	if (red_zone)
		top -= RED_ZONE;
	char *to_fp = (char *)((top - area) & ~63ul);
	/* As at a call: 16-byte aligned before the return address was pushed. */
	char *to = (char *)((((uintptr_t)to_fp - bytes) & ~15ul) - 8);
	if ((uintptr_t)to < lowest)
		return NULL;
	memcpy(to_fp, fp, area);
	memcpy(to, frame, bytes);
	*info = (siginfo_t *)(to + ((char *)*info - frame));
	*context = to + 8;
	if (fp)
		((ucontext_t *)*context)->uc_mcontext.fpregs = (fpregset_t)to_fp;
	return to;
}
