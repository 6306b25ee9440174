/* Jumps out of handlers, and from context to context. The jump is libc's; the mask that it leaves behind is noted here first, because libc changes the
 * kernel's by a system call of its own. The end of a context's function, after which libc goes to uc_link, is seen because the function that
 * makecontext() puts there is ours; not in contexts that were made before there were goroutines. */
#include <stdarg.h>
#include <ucontext.h>

#include "../core/asan.h"
#include "siginternal.h"

/* siglongjmp() puts the mask back with a call inside libc, behind our back: note it here first. The jump itself is
 * libc's. */
static void jump_to(struct g *g, const sigset_t *mask) {
	struct sigstate *s = sig_of(g);
	uint64_t old;
	s->defer = false;
	shim_cancel_release(g, s->cancel_held);
	if (mask) {
		sig_mask_change(g, SIG_SETMASK, sigset_bits(mask), &old);
	} else if (unlikely(s->counted != mask_of(g))) { /* out of a handler, whose mask stays */
		rt_enter(g);
		sig_account(s, mask_of(g));
		sig_ring_drain(true);
		rt_exit(g);
	}
}

static void jump_note(struct __jmp_buf_tag *env) {
	struct g *g = self_g();
	if (!g)
		return;
	sigset_t *mask = env->__mask_was_saved ? (sigset_t *)&env->__saved_mask : NULL;
	jump_to(g, mask);
	if (mask) /* for libc's own call */
		sigset_store(mask, sigset_bits(mask) & ~arch_signals_open);
}

#define JUMP(name, target)                                       \
	SHIM void name(struct __jmp_buf_tag env[1], int value) { \
		REAL_READY();                                    \
		jump_note(env);                                  \
		ASAN_JUMPS();                                    \
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
	ASAN_JUMPS();
	if (on_alt)
		real.siglongjmp(env, value);
	real.__longjmp_chk(env, value);
	__builtin_unreachable();
}

/* ---- contexts ------------------------------------------------------------------------------------------------------ */

/* g is about to enter it: in whose stack it lies is not known before, as another thread may have made it. */
static void context_stack_note(struct g *g, const ucontext_t *to) {
	uintptr_t low = (uintptr_t)to->uc_stack.ss_sp;
	if (arch_context_sp(to) - low <= to->uc_stack.ss_size) /* else it is none that makecontext() made */
		preempt_inner_stack(g, to->uc_stack.ss_sp, to->uc_stack.ss_size);
}

/* As the kernel does for libc's call: what the new mask lets in is handled before the jump. */
SHIM int setcontext(const ucontext_t *to) {
	REAL_READY();
	struct g *g = self_g();
	ASAN_JUMPS();
	context_stack_note(g, to);
	if (!g)
		return real.setcontext(to);
	jump_to(g, &to->uc_sigmask);
	if (likely(!(sigset_bits(&to->uc_sigmask) & arch_signals_open)))
		return real.setcontext(to);
	ucontext_t open = *to; /* its registers are loaded, and it is not needed any more */
	sigset_store(&open.uc_sigmask, sigset_bits(&to->uc_sigmask) & ~arch_signals_open);
	return real.setcontext(&open);
}

typedef int swapcontext_fn(ucontext_t *, const ucontext_t *);

/* For arch's swapcontext.S. libc's function, if no mask changes; else NULL. */
swapcontext_fn *context_plain(const ucontext_t *from, const ucontext_t *to) __attribute__((visibility("hidden")));
swapcontext_fn *context_plain(const ucontext_t *from, const ucontext_t *to) {
	REAL_READY();
	(void)from;
	ASAN_JUMPS();
	struct g *g = self_g();
	uint64_t mask = sigset_bits(&to->uc_sigmask);
	context_stack_note(g, to);
	return !g || ((mask & ~SIG_NEVER_BLOCKED) == mask_of(g) && !(mask & arch_signals_open)) ? real.swapcontext : NULL;
}

int context_enter(const ucontext_t *to) __attribute__((visibility("hidden")));
int context_enter(const ucontext_t *to) {
	return setcontext(to);
}

#define CONTEXT_ARGS_MAX 64 /* nobody has more */
#define CONTEXT_STACK_MIN 2048

/* What a context is to run, at the top of its stack. */
struct context_run {
	void (*fn)(void);
	const ucontext_t *link;
	int argc;
	long arg[]; /* at least what fits into registers */
};
enum { CONTEXT_REGISTERS = 8 }; /* of any CPU that we know */

#define ARGS_8(a, i) a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7]
#define ARGS_64(a)                                                                                             \
	ARGS_8(a, 0), ARGS_8(a, 8), ARGS_8(a, 16), ARGS_8(a, 24), ARGS_8(a, 32), ARGS_8(a, 40), ARGS_8(a, 48), \
		ARGS_8(a, 56)

/* Arguments that the function does not have do no harm: the caller of a C function takes them away again. */
static void context_run(struct context_run *r) {
	if (r->argc <= CONTEXT_REGISTERS)
		((void (*)())r->fn)(ARGS_8(r->arg, 0));
	else
		((void (*)())r->fn)(ARGS_64(r->arg));
	if (r->link)
		setcontext(r->link);
	/* else libc ends the process */
}

SHIM void makecontext(ucontext_t *context, void (*fn)(void), int argc, ...) {
	REAL_READY();
	va_list list;
	long arg[CONTEXT_ARGS_MAX] = {0};
	va_start(list, argc);
	for (int i = 0; i < argc && i < CONTEXT_ARGS_MAX; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	size_t size = context->uc_stack.ss_size,
	       args = argc <= CONTEXT_REGISTERS ? CONTEXT_REGISTERS : CONTEXT_ARGS_MAX;
	uintptr_t low = (uintptr_t)context->uc_stack.ss_sp,
		  at = low + size - sizeof(struct context_run) - args * sizeof(long);
	if (!sched_started() || argc < 0 || size < CONTEXT_STACK_MIN) {
		real.makecontext(context, fn, argc, ARGS_64(arg));
		return;
	}
	struct context_run *r = (struct context_run *)(at & ~(uintptr_t)15);
	r->fn = fn;
	r->link = context->uc_link;
	r->argc = argc;
	memcpy(r->arg, arg, args * sizeof(long));
	context->uc_stack.ss_size = (uintptr_t)r - low;
	real.makecontext(context, (void (*)(void))(uintptr_t)context_run, 1, r);
	context->uc_stack.ss_size = size;
}
