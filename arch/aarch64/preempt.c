/* What a signal frame says and how it is changed, for aarch64.
 *
 * The kernel's frame, from low to high: siginfo, ucontext with 4 KiB of tagged records in it ({magic, bytes, ...}, ended by a zero magic): FP/SIMD, SVE,
 * and what else the CPU has; what does not fit there lies behind, pointed to by a record of its own (EXTRA); then a frame record {x29, x30} that
 * continues the chain of frame pointers. The frame's start is the stack pointer.
 *
 * Preemption moves a copy of that frame to below the interrupted stack pointer (there is no red zone) and lets the handler return to arch_preempt(),
 * which calls preempt_here() and then has the kernel restore the copy by rt_sigreturn. User mode cannot restore it: the last instruction is a jump
 * through a register, and that register was the program's. The system call costs less than the interruption did, and it saves what this file
 * would otherwise have to know: V0 to V31, FPSR, FPCR, NZCV, and the Z, P and FFR registers of SVE at any vector length (a thread that changes its own
 * vector length is wired, pinned.c: frames of one length are not restored by a kernel thread with another).
 *
 * Not everything may be taken along. Between inject and the end other goroutines run on this kernel thread, and this one resumes on another: so it is
 * left alone (inject refuses) where state is in use that a function call does not put aside and the switch does not carry: SME's streaming mode and
 * ZA, a lazy-save buffer in TPIDR2, permission overlays other than the initial ones, and whatever record is not known here. */
#include <linux/futex.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <ucontext.h>

#include "arch.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

#define SIGINFO_BYTES 128u
#define RESERVED_BYTES 4096u

enum {
	FPSIMD = 0x46508001,
	ESR = 0x45535201,
	EXTRA = 0x45585401,
	SVE = 0x53564501,
	ZA = 0x54366345,
	TPIDR2 = 0x54504902,
	FPMR = 0x46504d52,
	POE = 0x504f4530,
};
#define SVE_STREAMING 1u
#define POE_INITIAL 7u
#define PSTATE_TCO (1ul << 25)
#define PSTATE_DIT (1ul << 24)

/* A record's head, and the largest of what is read behind it. */
struct record {
	uint32_t magic, size;
	union {
		uint64_t value; /* EXTRA: an address; TPIDR2, POE: the register */
		struct {
			uint16_t vector_bytes, flags;
		} sve;
	};
	uint32_t extra_size;
};

struct frame {
	siginfo_t info;
	ucontext_t context;
};
_Static_assert(offsetof(struct frame, context) == SIGINFO_BYTES, "the kernel's frame");
_Static_assert(offsetof(struct frame, context.uc_mcontext.regs) == 312, "what arch_unwind_signal() says");
_Static_assert(offsetof(mcontext_t, pc) - offsetof(mcontext_t, regs) == 8 * ARCH_DWARF_PC, "registers in DWARF's order");

void arch_preempt(void) __attribute__((visibility("hidden")));
void arch_sigreturn(void) __attribute__((visibility("hidden")));
void arch_preempt_run(struct frame *frame) __attribute__((visibility("hidden")));
void arch_frame_call(void *frame, int sig, siginfo_t *info, void *context, void (*handler)(int, siginfo_t *, void *), void *record)
	__attribute__((visibility("hidden"), noreturn));

static size_t preempt_bytes;

bool arch_preempt_init(void) {
	size_t least = getauxval(AT_MINSIGSTKSZ); /* the largest frame that this CPU may need; 0: a kernel before SVE */
	size_t known = sizeof(struct frame) + RESERVED_BYTES;
	preempt_bytes = (least > known ? least : known) + 64;
	return true;
}

size_t arch_preempt_bytes(void) {
	return preempt_bytes;
}

uintptr_t arch_context_pc(const void *context) {
	return ((const ucontext_t *)context)->uc_mcontext.pc;
}

uintptr_t arch_context_sp(const void *context) {
	return ((const ucontext_t *)context)->uc_mcontext.sp;
}

size_t arch_unwind_signal(const uint32_t code[2]) {
	/* mov x8, #139; svc #0 */
	return code[0] == 0xd2801168 && code[1] == 0xd4000001 ? offsetof(struct frame, context.uc_mcontext.regs) : 0;
}

void *arch_restorer(void) {
	return (void *)arch_sigreturn;
}

/* ---- the records of a frame ---------------------------------------------------------------------------------------------------------------- */

/* The record at *at, below `end`; advances. False: there is no more. */
static bool record_next(const char **at, const char *end, struct record *r, const char **where) {
	if (end - *at < 8)
		return false;
	memset(r, 0, sizeof *r);
	memcpy(r, *at, 8);
	if (r->magic == 0 || r->size < 8 || r->size > (size_t)(end - *at))
		return false;
	memcpy(r, *at, r->size < sizeof *r ? r->size : sizeof *r);
	*where = *at;
	*at += r->size;
	return true;
}

static bool record_moves(const struct record *r) {
	switch (r->magic) {
	case FPSIMD:
	case ESR:
	case FPMR:
	case EXTRA:
		return true;
	case SVE:
		return !(r->sve.flags & SVE_STREAMING);
	case ZA:
		return r->size <= 16; /* a head without contents */
	case TPIDR2:
		return r->value == 0;
	case POE:
		return r->value == POE_INITIAL;
	default:
		return false;
	}
}

struct extent {
	size_t bytes;      /* of the frame, without the frame record behind it */
	size_t extra_at;   /* where in the frame the address of the extra records is; 0: there are none */
	bool movable;      /* see the top */
};

static struct extent frame_extent(const struct frame *frame) {
	struct extent e = {.bytes = sizeof(struct frame), .movable = true};
	const char *at = (const char *)frame->context.uc_mcontext.__reserved, *end = at + RESERVED_BYTES, *where;
	struct record r;
	while (record_next(&at, end, &r, &where)) {
		e.movable &= record_moves(&r);
		if (r.magic == EXTRA) {
			e.extra_at = (size_t)(where + offsetof(struct record, value) - (const char *)frame);
			e.bytes = (size_t)(r.value + r.extra_size - (uintptr_t)frame);
			/* What follows this record is a terminator; the others continue there. */
			at = (const char *)r.value;
			end = at + r.extra_size;
		}
	}
	return e;
}

/* A copy of the frame and its frame record, as the kernel would have laid it below `top`. NULL: it would reach below `lowest`. */
static struct frame *frame_copy(const struct frame *from, const struct extent *e, uintptr_t top, uintptr_t lowest) {
	size_t record = (e->bytes + 15) & ~15ul, all = record + 16;
	struct frame *to = (struct frame *)((top - all) & ~15ul);
	if ((uintptr_t)to < lowest)
		return NULL;
	memcpy(to, from, e->bytes);
	memcpy((char *)to + record, &from->context.uc_mcontext.regs[29], 16); /* x29 and x30 as they were interrupted */
	if (e->extra_at) { /* the kernel wants it right behind the others */
		uint64_t address;
		memcpy(&address, (char *)from + e->extra_at, sizeof address);
		address += (uintptr_t)to - (uintptr_t)from;
		memcpy((char *)to + e->extra_at, &address, sizeof address);
	}
	return to;
}

static struct frame *frame_of(void *context) {
	return (struct frame *)((char *)context - offsetof(struct frame, context));
}

/* ---- preemption ------------------------------------------------------------------------------------------------------------------------------ */

bool arch_preempt_inject(void *context) {
	ucontext_t *uc = context;
	struct frame *frame = frame_of(context);
	struct extent e = frame_extent(frame);
	/* Two bits of PSTATE that a program sets for a few instructions, and that code which is called must not run with. */
	if (!e.movable || (uc->uc_mcontext.pstate & (PSTATE_TCO | PSTATE_DIT)))
		return false;
	struct frame *copy = frame_copy(frame, &e, uc->uc_mcontext.sp, 0);
	/* On which kernel thread it will be restored nobody knows: flags that do not exist make the kernel leave that one's alternate stack alone. */
	copy->context.uc_stack = (stack_t){.ss_flags = 0x40};
	uc->uc_mcontext.sp = (uintptr_t)copy;
	uc->uc_mcontext.pc = (uintptr_t)arch_preempt;
	return true;
}

/* What is restored is the registers, not the signal mask of back then: that of the kernel thread which it is now. No signal may come between the
 * question and the answer, for its handler might change the mask. */
void arch_preempt_run(struct frame *frame) {
	uint64_t all = ~0ull;
	preempt_here();
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &frame->context.uc_sigmask, 8);
}

/* ---- moved frames ---------------------------------------------------------------------------------------------------------------------------- */

void *arch_sigframe_move(void **context, siginfo_t **info, uintptr_t top, uintptr_t lowest, bool red_zone) {
	struct frame *frame = frame_of(*context);
	struct extent e = frame_extent(frame);
	(void)red_zone; /* there is none */
	struct frame *to = frame_copy(frame, &e, top, lowest);
	if (!to)
		return NULL;
	*info = &to->info;
	*context = &to->context;
	return to;
}

void arch_sigframe_enter(void *frame, int sig, siginfo_t *info, void *context, void (*handler)(int, siginfo_t *, void *)) {
	struct extent e = frame_extent(frame);
	arch_frame_call(frame, sig, info, context, handler, (char *)frame + ((e.bytes + 15) & ~15ul));
}
