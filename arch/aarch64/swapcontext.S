/* swapcontext for aarch64, where the signal mask changes with it: cannot be C, because the context that is saved is the caller's, which may be
 * resumed more than once, and our frame would be gone by then. shims/sigjump.c has the rest and says what it is for.
 *
 * Equal masks: libc's, by a jump. Else what libc's does, in two parts: getcontext(), with our caller's stack pointer and return address put in place
 * of our own; then context_enter(), which comes back only if it failed.
 */
#include "frame.h"

#define UC_X30 424 /* uc_mcontext.regs[30], sp, pc: context.c checks them */
#define UC_SP 432
#define UC_PC 440

	.text
	.globl	swapcontext
	.type	swapcontext, %function
	.p2align 4
swapcontext:
	.cfi_startproc
	hint	#34			/* BTI c */
	frame_push
	stp	x0, x1, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	bl	context_plain
	mov	x16, x0
	ldp	x0, x1, [sp]
	cbz	x16, 1f
	.cfi_remember_state
	add	sp, sp, #16
	.cfi_adjust_cfa_offset -16
	frame_pop
	br	x16
	.cfi_restore_state
1:	bl	getcontext		/* registers that a call preserves are still the caller's */
	ldp	x0, x1, [sp]
	ldr	x2, [sp, #24]		/* the return address */
	str	x2, [x0, #UC_X30]
	str	x2, [x0, #UC_PC]
	add	x2, sp, #32
	str	x2, [x0, #UC_SP]
	mov	x0, x1
	bl	context_enter
	add	sp, sp, #16
	.cfi_adjust_cfa_offset -16
	frame_pop
	ret
	.cfi_endproc
	.size	swapcontext, .-swapcontext

	.section .note.GNU-stack,"",%progbits
