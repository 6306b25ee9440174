/* Jumps out of handlers, and from context to context. The jump is libc's; the mask that it leaves behind is noted here first, because libc changes the
 * kernel's by a system call of its own. Not seen: the end of a context's function, after which libc goes to uc_link. */
#include <ucontext.h>

#include "siginternal.h"

/* siglongjmp() puts the mask back with a call inside libc, behind our back: note it here first. The jump itself is
 * libc's. */
static void jump_to(struct g *g, const sigset_t *mask) {
	struct sigstate *s = sig_of(g);
	uint64_t old;
	s->defer = false;
	shim_cancel_release(g, s->cancel_held);
	if (mask)
		sig_mask_change(g, SIG_SETMASK, sigset_bits(mask), &old);
}

static void jump_note(struct __jmp_buf_tag *env) {
	struct g *g = self_g();
	if (g)
		jump_to(g, env->__mask_was_saved ? (const sigset_t *)&env->__saved_mask : NULL);
}

#define JUMP(name, target)                                       \
	SHIM void name(struct __jmp_buf_tag env[1], int value) { \
		REAL_READY();                                    \
		jump_note(env);                                  \
		real.target(env, value);                         \
		__builtin_unreachable();                         \
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

/* ---- contexts ------------------------------------------------------------------------------------------------------ */

/* As the kernel does for libc's call: what the new mask lets in is handled before the jump. */
SHIM int setcontext(const ucontext_t *to) {
	REAL_READY();
	struct g *g = self_g();
	if (g)
		jump_to(g, &to->uc_sigmask);
	return real.setcontext(to);
}

typedef int swapcontext_fn(ucontext_t *, const ucontext_t *);

/* For arch's swapcontext.S. libc's function, if no mask changes; else NULL. */
swapcontext_fn *context_plain(const ucontext_t *from, const ucontext_t *to) __attribute__((visibility("hidden")));
swapcontext_fn *context_plain(const ucontext_t *from, const ucontext_t *to) {
	REAL_READY();
	(void)from;
	struct g *g = self_g();
	return !g || (sigset_bits(&to->uc_sigmask) & ~SIG_NEVER_BLOCKED) == mask_of(g) ? real.swapcontext : NULL;
}

int context_enter(const ucontext_t *to) __attribute__((visibility("hidden")));
int context_enter(const ucontext_t *to) {
	return setcontext(to);
}
