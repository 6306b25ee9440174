/* The injected call of preemption, and the ways onto and off a signal frame, for aarch64. See arch.h and preempt.c for the contracts. */
	.text

/* Entered by arch_preempt_inject() in place of an instruction of the program, with the stack pointer at a copy of the signal's frame. That frame holds
 * every register, and the kernel loads them all at the end: user mode could not, there is no register to jump by.
 *
 * No unwind information, on purpose: without it every unwinder (libgcc's, LLVM's, gdb's, core/unwind.c) looks at the code at the return
 * address, knows these two instructions as the return from a signal, and finds the registers in the frame at the stack pointer.
 *
 * The same two instructions are where handlers return to that we call on a frame ourselves or install with a restorer. */
	.globl	arch_preempt
	.hidden	arch_preempt
	.type	arch_preempt, %function
	.p2align 4
arch_preempt:
	mov	x0, sp
	bl	arch_preempt_run
	.globl	arch_sigreturn
	.hidden	arch_sigreturn
	.type	arch_sigreturn, %function
arch_sigreturn:
	mov	x8, #139		/* SYS_rt_sigreturn */
	svc	#0
	.size	arch_sigreturn, .-arch_sigreturn
	.size	arch_preempt, .-arch_preempt

/* arch_frame_call(frame, sig, info, context, handler, record): as the kernel calls a handler. x29: the frame record behind the frame, by which
 * debuggers that follow frame pointers find what was interrupted. */
	.globl	arch_frame_call
	.hidden	arch_frame_call
	.type	arch_frame_call, %function
	.p2align 4
arch_frame_call:
	hint	#34			/* BTI c */
	mov	sp, x0
	mov	x29, x5
	mov	x16, x4
	mov	w0, w1
	mov	x1, x2
	mov	x2, x3
	adr	x30, arch_sigreturn
	br	x16
	.size	arch_frame_call, .-arch_frame_call

	.section .note.GNU-stack,"",%progbits
