/* vfork for x86-64: cannot be C, because the child returns from here on the parent's stack and overwrites the frame (FRK-6).
 *
 * The return address lives in rdi over the system call, which preserves it in parent and child; the parent puts it back on the
 * stack where the child has been. vfork_before() and vfork_after() are in shims/process.c; the child calls neither.
 */
	.text
	.globl	vfork
	.type	vfork, @function
	.globl	__vfork
	.type	__vfork, @function
	.p2align 4
vfork:
__vfork:
	.cfi_startproc
	endbr64
	subq	$8, %rsp		/* the ABI's alignment at a call */
	.cfi_adjust_cfa_offset 8
	call	vfork_before
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%rdi			/* return address */
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rdi
	movl	$58, %eax		/* SYS_vfork */
	syscall
	pushq	%rdi			/* in the parent the slot may hold anything by now */
	.cfi_adjust_cfa_offset 8
	.cfi_offset rip, -8
	testq	%rax, %rax
	jne	1f
	ret				/* the child */
1:	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	movq	%rax, %rdi
	call	vfork_after
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size	vfork, .-vfork
	.size	__vfork, .-__vfork

	.section .note.GNU-stack,"",@progbits
