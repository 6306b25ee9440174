/* Context switch for aarch64. See arch.h for the contract.
 *
 * Saved on the outgoing stack, from low to high: x29, x30, x19-x28, d8-d15, then FPCR and FPSR: 176 bytes, `struct frame` in context.c.
 * Everything else is caller-saved in AAPCS64 (of v8-v15 the lower halves only are not; SVE and SME state is all caller-saved at a
 * call), so the compiler has dealt with it at the call. FPSR's sticky exception flags are a thread's own in C, too. x18 is left alone: Linux has no use for it.
 * struct arch_ctx: sp at 0, tp at 8, on_cpu at 16 (asserted in core/sched.c).
 */
#include "frame.h"

	.text
	.globl	arch_switch
	.hidden	arch_switch
	.type	arch_switch, %function
	.p2align 4
arch_switch:
	.cfi_startproc
	hint	#34			/* BTI c: a landing pad where the CPU checks, else nothing */
	stp	x29, x30, [sp, #-176]!
	.cfi_adjust_cfa_offset 176
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	stp	x19, x20, [sp, #16]
	.cfi_rel_offset x19, 16
	.cfi_rel_offset x20, 24
	stp	x21, x22, [sp, #32]
	.cfi_rel_offset x21, 32
	.cfi_rel_offset x22, 40
	stp	x23, x24, [sp, #48]
	.cfi_rel_offset x23, 48
	.cfi_rel_offset x24, 56
	stp	x25, x26, [sp, #64]
	.cfi_rel_offset x25, 64
	.cfi_rel_offset x26, 72
	stp	x27, x28, [sp, #80]
	.cfi_rel_offset x27, 80
	.cfi_rel_offset x28, 88
	stp	d8, d9, [sp, #96]
	.cfi_rel_offset b8, 96
	.cfi_rel_offset b9, 104
	stp	d10, d11, [sp, #112]
	.cfi_rel_offset b10, 112
	.cfi_rel_offset b11, 120
	stp	d12, d13, [sp, #128]
	.cfi_rel_offset b12, 128
	.cfi_rel_offset b13, 136
	stp	d14, d15, [sp, #144]
	.cfi_rel_offset b14, 144
	.cfi_rel_offset b15, 152
	mrs	x9, fpcr		/* rounding and trap control are callee-saved state */
	mrs	x10, fpsr
	stp	x9, x10, [sp, #160]
	mov	x11, sp
	str	x11, [x0]		/* from->sp */
	ldp	x11, x12, [x1]		/* to->sp, to->tp */
	mov	sp, x11			/* on to's stack from here; the frame layout is the same, so is the CFI */
	msr	tpidr_el0, x12
	add	x0, x0, #16
	stlr	wzr, [x0]		/* from->on_cpu = 0, after the thread pointer: a signal now finds `to`. Release: all of the above is saved */
	ldp	x10, x11, [sp, #160]
	cmp	x9, x10			/* x9: FPCR in force. Writing it costs a pipeline flush, and it hardly ever differs */
	b.eq	1f
	msr	fpcr, x10
1:	msr	fpsr, x11
	ldp	d14, d15, [sp, #144]
	.cfi_restore b14
	.cfi_restore b15
	ldp	d12, d13, [sp, #128]
	.cfi_restore b12
	.cfi_restore b13
	ldp	d10, d11, [sp, #112]
	.cfi_restore b10
	.cfi_restore b11
	ldp	d8, d9, [sp, #96]
	.cfi_restore b8
	.cfi_restore b9
	ldp	x27, x28, [sp, #80]
	.cfi_restore x27
	.cfi_restore x28
	ldp	x25, x26, [sp, #64]
	.cfi_restore x25
	.cfi_restore x26
	ldp	x23, x24, [sp, #48]
	.cfi_restore x23
	.cfi_restore x24
	ldp	x21, x22, [sp, #32]
	.cfi_restore x21
	.cfi_restore x22
	ldp	x19, x20, [sp, #16]
	.cfi_restore x19
	.cfi_restore x20
	ldp	x29, x30, [sp], #176
	.cfi_adjust_cfa_offset -176
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size	arch_switch, .-arch_switch

/* First code of a new context: arch_ctx_init left entry in x19 and its argument in x20. The undefined return address tells unwinders
 * that the stack ends here. Entered by RET, which needs no landing pad. */
	.globl	arch_start
	.hidden	arch_start
	.type	arch_start, %function
	.p2align 4
arch_start:
	.cfi_startproc
	.cfi_undefined x30
	mov	x29, #0			/* end of the frame-pointer chain */
	mov	x30, #0
	mov	x0, x20
	blr	x19
	brk	#0x3e8			/* entry must not return */
	.cfi_endproc
	.size	arch_start, .-arch_start

/* The frame pointer holds what leads back: callee-saved, so it survives fn, and unwinders find the caller's frame by it. */
	.globl	arch_call_on
	.hidden	arch_call_on
	.type	arch_call_on, %function
	.p2align 4
arch_call_on:
	.cfi_startproc
	hint	#34			/* BTI c */
	frame_push
	mov	x29, sp
	.cfi_def_cfa_register x29
	and	x9, x0, #-16
	mov	sp, x9
	mov	x0, x2
	blr	x1
	mov	sp, x29
	.cfi_def_cfa_register sp
	frame_pop
	ret
	.cfi_endproc
	.size	arch_call_on, .-arch_call_on

	.section .note.GNU-stack,"",%progbits
