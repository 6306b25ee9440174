/* The kernel's handler of SIGSEGV where FS base may be a trap (thread_pointer.c): first, whatever it is for, the thread pointer. It must not touch FS before. */
#include "arch_thread.h"

#define INFO_CODE 8 /* siginfo_t.si_code: context.c checks it */
#define UC_RIP 168 /* uc_mcontext.gregs[REG_RIP]: context.c checks it */

	.text
	.globl	arch_tp_trap
	.hidden	arch_tp_trap
	.type	arch_tp_trap, @function
	.p2align 4
arch_tp_trap:
	.cfi_startproc
	endbr64
	rdfsbase %rax
	subq	$ARCH_TP_TRAPS, %rax
	cmpq	$ARCH_TP_SLOTS, %rax
	jae	1f
	leaq	arch_tp_threads(%rip), %rcx
	movq	(%rcx,%rax,8), %r8
	movq	(%r8), %rax		/* ->tp */
	wrfsbase %rax
	cmpl	$0, INFO_CODE(%rsi)
	jle	1f			/* it was sent, and met a trap that nothing had run into yet */
	movq	UC_RIP(%rdx), %rcx
	cmpq	%rcx, 16(%r8)		/* ->tp_trapped_at */
	je	2f
	movq	%rcx, 16(%r8)
	ret				/* the instruction again. If it was not the trap that it met, it meets the same as before */
	/* The same instruction twice: perhaps the CPU was taken away right after our return, perhaps a tracer stops there each time. So that it gets on: */
2:	movq	%rax, %rsi
	movl	$0x1002, %edi		/* arch_prctl(ARCH_SET_FS) */
	movl	$158, %eax
	syscall
	cmpl	$ARCH_TP_LENT, 8(%r8)
	jne	3f
	movl	$ARCH_TP_KEPT, 8(%r8)
3:	ret
1:	jmp	*arch_tp_trap_next(%rip)
	.cfi_endproc
	.size	arch_tp_trap, .-arch_tp_trap

/* Where handlers return to that are installed without libc. */
	.globl	arch_tp_return
	.hidden	arch_tp_return
	.type	arch_tp_return, @function
	.p2align 4
arch_tp_return:
	movl	$15, %eax		/* rt_sigreturn */
	syscall
	.size	arch_tp_return, .-arch_tp_return

	.section .note.GNU-stack,"",@progbits
