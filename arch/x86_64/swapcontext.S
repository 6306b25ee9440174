/* swapcontext for x86-64, where the signal mask changes with it: cannot be C, because the context that is saved is the caller's, which may be
 * resumed more than once, and our frame would be gone by then. shims/sigjump.c has the rest and says what it is for.
 *
 * Equal masks: libc's, by a jump. Else what libc's does, in two parts: getcontext(), with our caller's stack pointer and return address put in place
 * of our own; then context_enter(), which comes back only if it failed.
 */
#define UC_RSP 160 /* uc_mcontext.gregs[REG_RSP], [REG_RIP]: context.c checks them */
#define UC_RIP 168

	.text
	.globl	swapcontext
	.type	swapcontext, @function
	.p2align 4
swapcontext:
	.cfi_startproc
	endbr64
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	subq	$8, %rsp		/* the ABI's alignment at a call */
	.cfi_adjust_cfa_offset 8
	call	context_plain
	movq	8(%rsp), %rsi
	movq	16(%rsp), %rdi
	testq	%rax, %rax
	je	1f
	.cfi_remember_state
	addq	$24, %rsp
	.cfi_adjust_cfa_offset -24
	jmp	*%rax
	.cfi_restore_state
1:	call	getcontext@PLT		/* registers that a call preserves are still the caller's */
	movq	8(%rsp), %rsi
	movq	16(%rsp), %rdi
	movq	24(%rsp), %rax
	movq	%rax, UC_RIP(%rdi)
	leaq	32(%rsp), %rax
	movq	%rax, UC_RSP(%rdi)
	movq	%rsi, %rdi
	call	context_enter
	addq	$24, %rsp
	.cfi_adjust_cfa_offset -24
	ret
	.cfi_endproc
	.size	swapcontext, .-swapcontext

	.section .note.GNU-stack,"",@progbits
