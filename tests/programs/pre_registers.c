/* Threads that hold a pattern in every register while others want the CPU: whenever and wherever one is interrupted, every register, the red
 * zone and the floating-point modes must be what they were (SIG-12). `pre_registers SECONDS` runs for longer. */
#include <stdio.h>

#if defined(__x86_64__)
#include "registers_test.h"

struct state {
	uint64_t gpr[15];  /* rax rbx rcx rdx rsi rdi rbp r8-r15 */
	uint64_t flags;
	uint64_t red[16];
	double st[6];
	uint32_t mxcsr, cw;
	uint64_t k[8];
	unsigned char vec[32][64] __attribute__((aligned(64)));
} __attribute__((aligned(64)));

void hold_sse(const struct state *in, struct state *out, long count);
void hold_avx(const struct state *in, struct state *out, long count);
void hold_avx512(const struct state *in, struct state *out, long count);

__asm__(".text\n"
        ".macro HOLD name, load:vararg\n"
        "\\name:\n"
        "	pushq %rbx\n	pushq %rbp\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
        "	subq $56, %rsp\n"
        "	movq %rdx, (%rsp)\n	movq %rsi, 8(%rsp)\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "	movq 128+\\i*8(%rdi), %rax\n	movq %rax, -8-\\i*8(%rsp)\n"
        ".endr\n"
        "	VECTORS_\\name load, %rdi\n"
        ".irp i,0,1,2,3,4,5\n	fldl 256+\\i*8(%rdi)\n.endr\n"
        "	ldmxcsr 304(%rdi)\n	fldcw 308(%rdi)\n"
        "	movq 0(%rdi), %rax\n	movq 8(%rdi), %rbx\n	movq 16(%rdi), %rcx\n	movq 24(%rdi), %rdx\n"
        "	movq 32(%rdi), %rsi\n	movq 48(%rdi), %rbp\n"
        ".irp i,8,9,10,11,12,13,14,15\n	movq 56+(\\i-8)*8(%rdi), %r\\i\n.endr\n"
        "	movq 40(%rdi), %rdi\n"
        "	stc\n	std\n"
        "1:	decq (%rsp)\n"          /* leaves the carry alone */
        "	jnc 2f\n"
        "	jnz 1b\n"
        "2:	movq %rax, 16(%rsp)\n	movq %rbx, 24(%rsp)\n"
        "	movq 8(%rsp), %rbx\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "	movq -8-\\i*8(%rsp), %rax\n	movq %rax, 128+\\i*8(%rbx)\n"
        ".endr\n"
        "	pushfq\n	popq 120(%rbx)\n	cld\n"
        "	movq 16(%rsp), %rax\n	movq %rax, 0(%rbx)\n	movq 24(%rsp), %rax\n	movq %rax, 8(%rbx)\n"
        "	movq %rcx, 16(%rbx)\n	movq %rdx, 24(%rbx)\n	movq %rsi, 32(%rbx)\n	movq %rdi, 40(%rbx)\n	movq %rbp, 48(%rbx)\n"
        ".irp i,8,9,10,11,12,13,14,15\n	movq %r\\i, 56+(\\i-8)*8(%rbx)\n.endr\n"
        "	stmxcsr 304(%rbx)\n	fnstcw 308(%rbx)\n"
        ".irp i,5,4,3,2,1,0\n	fstpl 256+\\i*8(%rbx)\n.endr\n"
        "	VECTORS_\\name store, %rbx\n"
        "	movl $0x1f80, 16(%rsp)\n	ldmxcsr 16(%rsp)\n	fninit\n"
        "	addq $56, %rsp\n"
        "	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbp\n	popq %rbx\n"
        "	ret\n"
        ".endm\n"
        ".macro VECTORS_hold_sse way, at\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        ".ifc \\way,load\n	movdqu 384+\\i*64(\\at), %xmm\\i\n.else\n	movdqu %xmm\\i, 384+\\i*64(\\at)\n.endif\n"
        ".endr\n.endm\n"
        ".macro VECTORS_hold_avx way, at\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        ".ifc \\way,load\n	vmovdqu 384+\\i*64(\\at), %ymm\\i\n.else\n	vmovdqu %ymm\\i, 384+\\i*64(\\at)\n.endif\n"
        ".endr\n"
        ".ifc \\way,store\n	vzeroupper\n.endif\n"
        ".endm\n"
        ".macro VECTORS_hold_avx512 way, at\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        ".ifc \\way,load\n	vmovdqu64 384+\\i*64(\\at), %zmm\\i\n.else\n	vmovdqu64 %zmm\\i, 384+\\i*64(\\at)\n.endif\n"
        ".endr\n"
        ".irp i,0,1,2,3,4,5,6,7\n"
        ".ifc \\way,load\n	kmovq 312+\\i*8(\\at), %k\\i\n.else\n	kmovq %k\\i, 312+\\i*8(\\at)\n.endif\n"
        ".endr\n"
        ".ifc \\way,store\n	vzeroupper\n.endif\n"
        ".endm\n"
        "HOLD hold_sse\nHOLD hold_avx\nHOLD hold_avx512\n");
_Static_assert(offsetof(struct state, red) == 128 && offsetof(struct state, st) == 256 && offsetof(struct state, mxcsr) == 304 &&
               offsetof(struct state, cw) == 308 && offsetof(struct state, k) == 312 && offsetof(struct state, vec) == 384, "the assembly");

static _Atomic int rounds;

static void fill(struct state *s, uint64_t seed) {
	fill_words(s, sizeof *s, seed);
	for (int i = 0; i < 6; i++)
		s->st[i] = (double)(seed * 7 + i) / 3;
	s->mxcsr = 0x1f80 | (seed % 4) << 13; /* rounding */
	s->cw = 0x037f | (seed % 4) << 10;
}

static void *holder(void *arg) {
	static void (*const variants[])(const struct state *, struct state *, long) = {hold_sse, hold_avx, hold_avx512};
	int variant = (int)(intptr_t)arg % 3;
	if (variant == 2 && !(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")))
		variant = 1;
	if (variant == 1 && !__builtin_cpu_supports("avx"))
		variant = 0;
	size_t vectors = variant == 2 ? 32 : 16, bytes = variant == 0 ? 16 : variant == 1 ? 32 : 64;
	struct state in, out;
	int64_t until = now_ms() + seconds_ms;
	for (uint64_t seed = (uint64_t)(intptr_t)arg * 1000; now_ms() < until; seed++) {
		fill(&in, seed);
		memset(&out, 0, sizeof out);
		variants[variant](&in, &out, 3000000);
		int bad = memcmp(in.gpr, out.gpr, sizeof in.gpr) || memcmp(in.red, out.red, sizeof in.red) ||
		          memcmp(in.st, out.st, sizeof in.st) || in.mxcsr != (out.mxcsr & ~0x3fu) || in.cw != (out.cw & 0xffff) ||
		          (out.flags & 0x401) != 0x401 || (variant == 2 && memcmp(in.k, out.k, sizeof in.k));
		for (size_t i = 0; i < vectors; i++)
			bad |= memcmp(in.vec[i], out.vec[i], bytes) != 0;
		broken += bad;
		rounds++;
	}
	return NULL;
}

int main(int argc, char **argv) {
	holders_run(argc, argv, holder);
	printf("%s, %d broken\n", rounds >= HOLDERS ? "held" : "too few", broken);
	return broken != 0;
}
#else
int main(void) {
	puts("held, 0 broken");
	return 0;
}
#endif
