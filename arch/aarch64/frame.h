/* For the assembly: a frame that holds x29 and x30 alone, with what unwinders need to know of it. */
	.macro	frame_push
	stp	x29, x30, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	.endm

	.macro	frame_pop
	ldp	x29, x30, [sp], #16
	.cfi_adjust_cfa_offset -16
	.cfi_restore x29
	.cfi_restore x30
	.endm
