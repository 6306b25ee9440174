/* The injected call of preemption, and the way onto a moved signal frame, for x86-64. See arch.h for the contracts. */
	.text

/* arch_preempt() stood in for nothing: some instruction of the program was about to run. It is "called" with its address on the stack, below the
 * red zone, by arch_preempt_inject(). The caller expects every register, so all are saved here: the general ones by push, x87, SSE, AVX and what else
 * the CPU has by XSAVE (arch_xsave_bytes, arch_xsave_mask). The unwind information says that the frame is a signal's (the address is no
 * return address) and skips the red zone. */
	.globl	arch_preempt
	.hidden	arch_preempt
	.type	arch_preempt, @function
	.p2align 4
arch_preempt:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa rsp, 136			/* 8 for the address, 128 of red zone */
	.cfi_offset rip, -136
	endbr64
	pushfq					/* first: what follows changes flags */
	.cfi_adjust_cfa_offset 8
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa_register rbp
	pushq	%rax
	.cfi_offset rax, -160
	pushq	%rbx
	.cfi_offset rbx, -168
	pushq	%rcx
	.cfi_offset rcx, -176
	pushq	%rdx
	.cfi_offset rdx, -184
	pushq	%rsi
	.cfi_offset rsi, -192
	pushq	%rdi
	.cfi_offset rdi, -200
	pushq	%r8
	.cfi_offset r8, -208
	pushq	%r9
	.cfi_offset r9, -216
	pushq	%r10
	.cfi_offset r10, -224
	pushq	%r11
	.cfi_offset r11, -232
	pushq	%r12
	.cfi_offset r12, -240
	pushq	%r13
	.cfi_offset r13, -248
	pushq	%r14
	.cfi_offset r14, -256
	pushq	%r15
	.cfi_offset r15, -264
	cld					/* C expects it clear */
	subq	arch_xsave_bytes(%rip), %rsp
	andq	$-64, %rsp			/* XSAVE's alignment; also the ABI's */
	xorl	%eax, %eax
	movq	%rax, 512(%rsp)			/* the header: XSAVE writes XSTATE_BV only, XRSTOR wants the rest to be 0 */
	movq	%rax, 520(%rsp)
	movq	%rax, 528(%rsp)
	movq	%rax, 536(%rsp)
	movq	%rax, 544(%rsp)
	movq	%rax, 552(%rsp)
	movq	%rax, 560(%rsp)
	movq	%rax, 568(%rsp)
	movl	arch_xsave_mask(%rip), %eax
	xorl	%edx, %edx
	xsave64	(%rsp)
	fninit					/* whoever runs next expects the x87 stack empty */
	testl	$4, arch_xsave_mask(%rip)	/* AVX: leave no dirty upper halves behind */
	je	1f
	vzeroupper
1:	call	preempt_here
	movl	arch_xsave_mask(%rip), %eax
	xorl	%edx, %edx
	xrstor64 (%rsp)
	leaq	-112(%rbp), %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rbx
	popq	%rax
	popq	%rbp				/* every .cfi_offset above stays true: what lies below rsp is not touched before the ret */
	.cfi_def_cfa rsp, 144
	popfq
	.cfi_def_cfa_offset 136
	ret	$128				/* back, over the red zone; flags are not touched */
	.cfi_endproc
	.size	arch_preempt, .-arch_preempt

/* arch_sigframe_enter(frame, sig, info, context, handler): the handler's return address is the frame's first word, as the kernel left it. */
	.globl	arch_sigframe_enter
	.hidden	arch_sigframe_enter
	.type	arch_sigframe_enter, @function
	.p2align 4
arch_sigframe_enter:
	.cfi_startproc
	endbr64
	movq	%rdi, %rsp
	movl	%esi, %edi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	xorl	%eax, %eax
	jmp	*%r8
	.cfi_endproc
	.size	arch_sigframe_enter, .-arch_sigframe_enter

	.section .note.GNU-stack,"",@progbits
