/* Cancellation and calls that make or take something whole, for x86-64; what it is for is in arch.h.
 *
 * Asynchronous cancellation is open from the RMW before the kernel to the RMW behind it, and nowhere else. rbx holds the word over the call (0: it was
 * open before: the program's type, or a call below a handler), so that a signal's frame in between says all: behind the system call with a result that is no error, it is to be closed before anybody acts on it.
 * arch_signal_entry and arch_cancel_entry do so before they go on to sig_entry() and sig_cancel_entry() in shims/sigentry.c. A frame on top of one that has not got so
 * far finds rdx as the kernel left it, the lower frame's context, and does it for that.
 *
 * The words' order: the locked RMW, then the load. A canceller's own RMW comes before, and is seen, or after, and sees the bit.
 */
#define CANCEL_ASYNC 2
#define CANCEL_STATE (1 | 8 | 16 | 32)	/* disabled, canceled, exiting, terminated */
#define CANCEL_CANCELED 8
#define MINUS_EINTR -4
/* of a ucontext */
#define CONTEXT_RBX 128
#define CONTEXT_RDX 136
#define CONTEXT_RAX 144
#define CONTEXT_RIP 168

	.text
	.globl	arch_syscall_makes
	.hidden	arch_syscall_makes
	.type	arch_syscall_makes, @function
	.p2align 4
arch_syscall_makes:
	.cfi_startproc
	endbr64
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	movq	%rdi, %rbx
	movq	%rsi, %rax
	movq	%rdx, %rdi
	movq	%rcx, %rsi
	movq	%r8, %rdx
	movq	%r9, %r10
	movq	16(%rsp), %r8
	xorl	%r9d, %r9d
	testl	$CANCEL_ASYNC, (%rbx)
	jne	4f
	lock orl $CANCEL_ASYNC, (%rbx)
	movl	(%rbx), %ecx
	andl	$CANCEL_STATE, %ecx
	cmpl	$CANCEL_CANCELED, %ecx
	je	5f
1:	syscall
.Lmade:
	testq	%rbx, %rbx
	je	.Lclosed
	lock andl $~CANCEL_ASYNC, (%rbx)
.Lclosed:
	popq	%rbx
	.cfi_remember_state
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	.cfi_restore_state
4:	xorl	%ebx, %ebx
	jmp	1b
5:	movq	$MINUS_EINTR, %rax
	jmp	.Lmade
	.cfi_endproc
	.size	arch_syscall_makes, .-arch_syscall_makes

/* As the kernel calls them: edi, rsi, rdx are the C handler's, and rdx stays what it is to the end. */
	.macro	entry name, to
	.globl	\name
	.hidden	\name
	.type	\name, @function
	.p2align 4
\name:
	.cfi_startproc
	endbr64
	movq	%rdx, %rax
	leaq	arch_signal_entry(%rip), %r8
1:	movq	CONTEXT_RIP(%rax), %rcx
	movq	%rcx, %r9
	subq	%r8, %r9
	cmpq	$arch_entries_end - arch_signal_entry, %r9
	jae	2f
	movq	CONTEXT_RDX(%rax), %rax
	jmp	1b
2:	leaq	.Lmade(%rip), %r8
	subq	%r8, %rcx
	cmpq	$.Lclosed - .Lmade, %rcx
	jae	3f
	cmpq	$-4095, CONTEXT_RAX(%rax)
	jae	3f
	movq	CONTEXT_RBX(%rax), %rcx
	testq	%rcx, %rcx
	je	3f
	lock andl $~CANCEL_ASYNC, (%rcx)
3:	jmp	\to
	.cfi_endproc
	.size	\name, .-\name
	.endm

	entry	arch_signal_entry, sig_entry
	entry	arch_cancel_entry, sig_cancel_entry
	.globl	arch_entries_end
	.hidden	arch_entries_end
arch_entries_end:

	.section .note.GNU-stack,"",@progbits
