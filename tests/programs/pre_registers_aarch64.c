/* pre_registers for aarch64. `pre_registers_aarch64 SECONDS` runs for longer. */
#include <pthread.h>

#if defined(__aarch64__)
#include "registers_test.h"

struct state {
	uint64_t x[32]; /* not 0, which points here, nor 29, which counts, nor 31 */
	uint64_t v[32][2];
	uint64_t nzcv, fpcr;
	uint64_t fill[30];
};

void hold(struct state *in_out, long count);

__asm__(".text\n"
        "hold:\n"
        "	stp x29, x30, [sp, #-160]!\n"
        "	stp x19, x20, [sp, #16]\n	stp x21, x22, [sp, #32]\n	stp x23, x24, [sp, #48]\n"
        "	stp x25, x26, [sp, #64]\n	stp x27, x28, [sp, #80]\n"
        "	stp d8, d9, [sp, #96]\n	stp d10, d11, [sp, #112]\n	stp d12, d13, [sp, #128]\n	stp d14, d15, [sp, #144]\n"
        "	mov x29, x1\n"
        "	ldr x1, [x0, #768]\n	msr nzcv, x1\n	ldr x1, [x0, #776]\n	msr fpcr, x1\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "	ldr q\\i, [x0, #256 + 16 * \\i]\n"
        ".endr\n"
        ".irp i,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,30\n"
        "	ldr x\\i, [x0, #8 * \\i]\n"
        ".endr\n"
        "1:	sub x29, x29, #1\n	cbnz x29, 1b\n" /* leave the flags alone */
        ".irp i,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,30\n"
        "	str x\\i, [x0, #1024 + 8 * \\i]\n"
        ".endr\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "	str q\\i, [x0, #1280 + 16 * \\i]\n"
        ".endr\n"
        "	mrs x1, nzcv\n	str x1, [x0, #1792]\n	mrs x1, fpcr\n	str x1, [x0, #1800]\n	msr fpcr, xzr\n"
        "	ldp d8, d9, [sp, #96]\n	ldp d10, d11, [sp, #112]\n	ldp d12, d13, [sp, #128]\n	ldp d14, d15, [sp, #144]\n"
        "	ldp x19, x20, [sp, #16]\n	ldp x21, x22, [sp, #32]\n	ldp x23, x24, [sp, #48]\n"
        "	ldp x25, x26, [sp, #64]\n	ldp x27, x28, [sp, #80]\n"
        "	ldp x29, x30, [sp], #160\n"
        "	ret\n");
_Static_assert(sizeof(struct state) == 1024 && offsetof(struct state, v) == 256 && offsetof(struct state, nzcv) == 768, "the assembly");

static void fill(struct state *s, uint64_t seed) {
	fill_words(s, sizeof *s, seed);
	s->nzcv = seed % 16 << 28;
	s->fpcr = seed % 4 << 22; /* rounding */
}

static void *holder(void *arg) {
	struct state s[2];
	int64_t until = now_ms() + seconds_ms;
	for (uint64_t seed = (uint64_t)(intptr_t)arg * 1000; now_ms() < until; seed++) {
		fill(&s[0], seed);
		memset(&s[1], 0, sizeof s[1]);
		hold(s, 3000000);
		s[1].x[0] = s[0].x[0], s[1].x[29] = s[0].x[29], s[1].x[31] = s[0].x[31];
		broken += memcmp(&s[0], &s[1], offsetof(struct state, fill)) != 0;
	}
	return NULL;
}

int main(int argc, char **argv) {
	holders_run(argc, argv, holder);
	printf("broken %d\n", broken);
	return broken != 0;
}
#else
static void *nothing(void *arg) {
	return arg;
}

int main(void) {
	pthread_t t; /* a thread, as those who run this expect */
	pthread_create(&t, NULL, nothing, NULL);
	pthread_join(t, NULL);
	return 0;
}
#endif
