/* vfork for aarch64: cannot be C, because the child returns from here on the parent's stack and overwrites the frame (FRK-6).
 *
 * The kernel has no vfork: it is clone(CLONE_VM | CLONE_VFORK | SIGCHLD). The return address lives in x30 over the system call, which preserves it in
 * parent and child; nothing of ours is on the stack meanwhile. vfork_before() and vfork_after() are in shims/process.c; the child calls neither.
 */
#include "frame.h"

	.text
	.globl	vfork
	.type	vfork, %function
	.globl	__vfork
	.type	__vfork, %function
	.p2align 4
vfork:
__vfork:
	.cfi_startproc
	hint	#34			/* BTI c */
	frame_push
	bl	vfork_before
	frame_pop
	mov	x0, #0x4111		/* CLONE_VM | CLONE_VFORK | SIGCHLD */
	mov	x1, #0			/* the parent's stack */
	mov	x2, #0
	mov	x3, #0
	mov	x4, #0
	mov	x8, #220		/* SYS_clone */
	svc	#0
	cbnz	x0, 1f
	ret				/* the child */
1:	frame_push
	bl	vfork_after
	frame_pop
	ret
	.cfi_endproc
	.size	vfork, .-vfork
	.size	__vfork, .-__vfork

	.section .note.GNU-stack,"",%progbits
