/* Jumps out of handlers. The jump is libc's; the mask that it leaves behind is noted here first. */
#include "siginternal.h"

/* siglongjmp() puts the mask back with a call inside libc, behind our back: note it here first. The jump itself is
 * libc's. */
static void jump_note(struct __jmp_buf_tag *env) {
	struct g *g = self_g();
	if (!g)
		return;
	struct sigstate *s = sig_of(g);
	s->defer = false;
	shim_cancel_release(g, s->cancel_held);
	if (env->__mask_was_saved) {
		uint64_t old;
		sig_mask_change(g, SIG_SETMASK, sigset_bits((const sigset_t *)&env->__saved_mask), &old);
	}
}

#define JUMP(name, target) \
	SHIM void name(struct __jmp_buf_tag env[1], int value) { \
		REAL_READY(); \
		jump_note(env); \
		real.target(env, value); \
		__builtin_unreachable(); \
	}
JUMP(siglongjmp, siglongjmp)
JUMP(longjmp, siglongjmp)
JUMP(_longjmp, siglongjmp)

SHIM void __longjmp_chk(struct __jmp_buf_tag *env, int value);
SHIM void __longjmp_chk(struct __jmp_buf_tag *env, int value) {
	REAL_READY();
	struct g *g = self_g();
	/* Its check asks the kernel whether we are on the alternate stack, and the kernel knows the M's only. */
	bool on_alt = g && sig_on_altstack(sig_of(g), (uintptr_t)__builtin_frame_address(0));
	jump_note(env);
	if (on_alt)
		real.siglongjmp(env, value);
	real.__longjmp_chk(env, value);
	__builtin_unreachable();
}
