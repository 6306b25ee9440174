/* Context switch for x86-64. See arch.h for the contract.
 *
 * Saved on the outgoing stack, from high to low: return address, rbp, rbx, r12-r15, then MXCSR and the x87 control word in one
 * 8-byte slot. Everything else is caller-saved in the SysV ABI, so the compiler has dealt with it at the call.
 * struct arch_ctx: sp at 0, tp at 8, on_cpu at 16 (asserted in core/sched.c); struct arch_thread: tp at 0, tp_kept at 8 (thread_pointer.c, which also says
 * what the three ways of writing FS base are).
 */
#include "arch_thread.h"

	.text
	.globl	arch_switch
	.hidden	arch_switch
	.type	arch_switch, @function
	.p2align 4
arch_switch:
	.cfi_startproc
	endbr64
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r15, 0
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr	(%rsp)			/* rounding and exception masks are callee-saved control state */
	fnstcw	4(%rsp)
	movq	%rsp, (%rdi)		/* from->sp */
	movq	(%rsi), %rsp		/* on to's stack from here; the frame layout is the same, so is the CFI */
	movq	%rdi, %rbx		/* saved already and about to be popped */
	movq	%rsi, %r12
	movq	%rdx, %r13
	/* Between the two labels, here and below, a signal handler begins by arch_tp_settle(), which has this executed again from the first one on: what it
	 * sets or finds out may have changed meanwhile. Only rbx, r12 and r13 are kept for that. */
	.globl	arch_switch_tp, arch_switch_tp_end
	.hidden	arch_switch_tp, arch_switch_tp_end
arch_switch_tp:
	movq	8(%r12), %rax		/* to->tp */
	cmpb	$ARCH_TP_CALL, arch_tp_mode(%rip)
	je	1f
	cmpl	$ARCH_TP_LENT, 8(%r13)	/* never anything else where the kernel saves what it finds in FS */
	jne	3f
	movq	%rax, (%r13)		/* self->tp */
	wrfsbase %rax
arch_switch_tp_end:
2:	movl	$0, 16(%rbx)		/* from->on_cpu = 0, after the thread pointer: a signal now finds `to` (release: x86 stores are ordered) */
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	ret
	.cfi_adjust_cfa_offset 56
	.globl	arch_switch_slow, arch_switch_slow_end
	.hidden	arch_switch_slow, arch_switch_slow_end
arch_switch_slow:
3:	cmpl	$ARCH_TP_HELD, 8(%r13)
	je	1f
	/* What the kernel has is a true thread pointer, which it would put back at any time: first a trap, then ours. */
	movl	12(%r13), %esi		/* self->tp_slot */
	addl	$ARCH_TP_TRAPS, %esi
	movl	$0x1002, %edi		/* arch_prctl(ARCH_SET_FS) */
	movl	$158, %eax
	syscall
	movl	$ARCH_TP_LENT, 8(%r13)
	jmp	arch_switch_tp
1:	movq	%rax, (%r13)
	movq	%rax, %rsi
	movl	$0x1002, %edi
	movl	$158, %eax
	syscall
	cmpl	$ARCH_TP_LENT, 8(%r13)	/* not held: the mode may change back */
	jne	2b
	movl	$ARCH_TP_KEPT, 8(%r13)
	jmp	2b
arch_switch_slow_end:
	.cfi_endproc
	.size	arch_switch, .-arch_switch

/* First code of a new context: arch_ctx_init left entry in r12 and its argument in r13. The undefined return address tells unwinders
 * that the stack ends here. */
	.globl	arch_start
	.hidden	arch_start
	.type	arch_start, @function
	.p2align 4
arch_start:
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	xorl	%ebp, %ebp		/* end of the frame-pointer chain */
	movq	%r13, %rdi
	call	*%r12
	ud2				/* entry must not return */
	.cfi_endproc
	.size	arch_start, .-arch_start

/* The frame pointer holds what leads back: callee-saved, so it survives fn, and unwinders find the caller's frame by it. */
	.globl	arch_call_on
	.hidden	arch_call_on
	.type	arch_call_on, @function
	.p2align 4
arch_call_on:
	.cfi_startproc
	endbr64
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa_register rbp
	movq	%rdi, %rsp
	andq	$-16, %rsp
	movq	%rdx, %rdi
	call	*%rsi
	movq	%rbp, %rsp
	.cfi_def_cfa_register rsp
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	ret
	.cfi_endproc
	.size	arch_call_on, .-arch_call_on

	.section .note.GNU-stack,"",@progbits
