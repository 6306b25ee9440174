/* Cancellation and calls that make or take something whole, for aarch64; what it is for is in arch.h.
 *
 * Asynchronous cancellation is open from the RMW before the kernel to the RMW behind it, and nowhere else. x19 holds the word over the call (0: it was
 * open before: the program's type, or a call below a handler), so that a signal's frame in between says all: behind the system call with a result that is no error, it is to be closed before anybody acts on it.
 * arch_signal_entry and arch_cancel_entry do so before they go on to sig_entry() and sig_cancel_entry() in shims/sigentry.c. A frame on top of one that has not got so
 * far finds x2 as the kernel left it, the lower frame's context, and does it for that.
 *
 * The words' order: one RMW both sets the bit and reads the state. A canceller's own comes before, and is seen, or after, and sees the bit.
 */
#define CANCEL_ASYNC 2
#define CANCEL_ASYNC_BIT 1
#define CANCEL_STATE (1 | 8 | 16 | 32)	/* disabled, canceled, exiting, terminated */
#define CANCEL_CANCELED 8
#define MINUS_EINTR -4
/* of a ucontext */
#define CONTEXT_X0 184
#define CONTEXT_X2 (CONTEXT_X0 + 2 * 8)
#define CONTEXT_X19 (CONTEXT_X0 + 19 * 8)
#define CONTEXT_PC (CONTEXT_X0 + 32 * 8)

	.text
	.globl	arch_syscall_makes
	.hidden	arch_syscall_makes
	.type	arch_syscall_makes, %function
	.p2align 4
arch_syscall_makes:
	.cfi_startproc
	hint	#34			/* BTI c */
	str	x19, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	.cfi_rel_offset x19, 0
	mov	x19, x0
	mov	x8, x1
	mov	x0, x2
	mov	x1, x3
	mov	x2, x4
	mov	x3, x5
	mov	x4, x6
	mov	x5, #0
	mov	w11, #CANCEL_STATE
	ldr	w9, [x19]
	tbnz	w9, #CANCEL_ASYNC_BIT, 4f
1:	ldaxr	w9, [x19]
	orr	w10, w9, #CANCEL_ASYNC
	stlxr	w12, w10, [x19]
	cbnz	w12, 1b
	and	w9, w9, w11
	cmp	w9, #CANCEL_CANCELED
	b.eq	5f
2:	svc	#0
.Lmade:
	cbz	x19, .Lclosed
3:	ldaxr	w9, [x19]
	and	w9, w9, #~CANCEL_ASYNC
	stlxr	w12, w9, [x19]
	cbnz	w12, 3b
.Lclosed:
	ldr	x19, [sp], #16
	.cfi_remember_state
	.cfi_adjust_cfa_offset -16
	.cfi_restore x19
	ret
	.cfi_restore_state
4:	mov	x19, #0
	b	2b
5:	mov	x0, #MINUS_EINTR
	b	.Lmade
	.cfi_endproc
	.size	arch_syscall_makes, .-arch_syscall_makes

/* As the kernel calls them: w0, x1, x2 are the C handler's, and x2 stays what it is to the end. */
	.macro	entry name, to
	.globl	\name
	.hidden	\name
	.type	\name, %function
	.p2align 4
\name:
	.cfi_startproc
	hint	#34			/* BTI c */
	mov	x9, x2
	adr	x10, arch_signal_entry
	adr	x11, arch_entries_end
1:	ldr	x12, [x9, #CONTEXT_PC]
	cmp	x12, x10
	b.lo	2f
	cmp	x12, x11
	b.hs	2f
	ldr	x9, [x9, #CONTEXT_X2]
	b	1b
2:	adr	x10, .Lmade
	adr	x11, .Lclosed
	cmp	x12, x10
	b.lo	4f
	cmp	x12, x11
	b.hs	4f
	ldr	x12, [x9, #CONTEXT_X0]
	cmn	x12, #4095
	b.hs	4f			/* an error */
	ldr	x12, [x9, #CONTEXT_X19]
	cbz	x12, 4f
3:	ldaxr	w9, [x12]
	and	w9, w9, #~CANCEL_ASYNC
	stlxr	w10, w9, [x12]
	cbnz	w10, 3b
4:	b	\to
	.cfi_endproc
	.size	\name, .-\name
	.endm

	entry	arch_signal_entry, sig_entry
	entry	arch_cancel_entry, sig_cancel_entry
	.globl	arch_entries_end
	.hidden	arch_entries_end
arch_entries_end:

	.section .note.GNU-stack,"",%progbits
