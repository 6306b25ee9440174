/* Panics of goshim.h.
 *
 * Outside of every go_protect(), go_panic() is pthread_exit() with a payload: libc's forced unwinding runs what it runs there (pthread cleanup handlers, destructors
 * of C++ objects, __attribute__((cleanup))), and arrives at the buffer that was registered last with __pthread_register_cancel: that of the thread's outermost
 * frame (thread_main, thread_run_main).
 *
 * Inside of one the unwinding is ours, by the same unwinder and to the same buffers. For what it runs may call go_protect() again, for something that panics, and
 * after that the unwinding outside goes on: libc has one exception object per thread, and remembers the buffer in it, so a second unwinding would take its
 * way from the first. Ours is in the frame of the go_protect(), as is the state of the panic outside (struct panic_level). A panic in a deferred function inside of the
 * same one takes the place of the panic that was, as does pthread_exit(), which goes on to the end of the thread.
 *
 * A thread that is unwound is marked in libc's cancelhandling word, so that no cancellation acts on top of that. Where a panic ends, the mark is what it was when
 * go_protect() began.
 *
 * The state is in struct thread, for kernel threads in the part of their G that nobody else uses. */
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include "../core/asan.h"
#include "../core/tcb.h"
#include "golib.h"
#include "thread.h"

/* libgcc_s's unwind.h, whose name is that of one of ours. */
struct _Unwind_Exception {
	uint64_t class;
	void (*cleanup)(int reason, struct _Unwind_Exception *);
	uintptr_t private_[2];
} __attribute__((aligned));
struct _Unwind_Context;
enum { UNWIND_NO_REASON = 0, UNWIND_END_OF_STACK = 16 };
typedef int (*unwind_stop)(int version, int actions, uint64_t class, struct _Unwind_Exception *, struct _Unwind_Context *, void *arg);
int _Unwind_ForcedUnwind(struct _Unwind_Exception *, unwind_stop, void *arg);
uintptr_t _Unwind_GetCFA(struct _Unwind_Context *);

enum panic_state { NO_PANIC, PANICKING, RECOVERED };

#define CANCEL_EXITING 16 /* glibc's bit in the cancelhandling word */

static _Atomic(go_panic_handler) handler;

SHIM go_panic_handler go_set_panic_handler(go_panic_handler h) {
	return atomic_exchange(&handler, h);
}

/* Kernel threads that go_spawn() did not make have no frame of ours below them. libc calls this after their unwinding. */
static void kernel_thread_ends(void *g) {
	golib_unwound(g);
}

/* One run(). */
struct panic_level {
	__pthread_unwind_buf_t buf;
	struct panic_level *outer;
	void *outer_panic;
	uint8_t outer_state;
	bool exiting;                   /* the mark when it began */
	bool left;
	uintptr_t inner;                /* frames at lower addresses are inside of it */
	__pthread_unwind_buf_t *target; /* of its unwinding, which goes on below `above` */
	uintptr_t above, top;
	struct _Unwind_Exception exception;
};

static _Atomic int *exit_mark(void) {
	const char *why;
	return tcb_offsets(&why) == 0 ? tcb_cancelhandling(arch_tp()) : NULL; /* known already, unless there is no runtime */
}

/* As libc says it. */
static void not_rethrown(int reason, struct _Unwind_Exception *e) {
	static const char line[] = "FATAL: exception not rethrown\n";
	(void)reason;
	(void)e;
	SYS3(SYS_write, 2, line, sizeof line - 1);
	abort();
}

static int level_stop(int version, int actions, uint64_t class, struct _Unwind_Exception *e, struct _Unwind_Context *context, void *arg) {
	struct panic_level *l = arg;
	(void)version;
	(void)class;
	(void)e;
	/* From the stack's top on: a handler's frames on an alternate stack are inside, wherever that is. */
	if ((actions & UNWIND_END_OF_STACK) || _Unwind_GetCFA(context) - l->top > l->above - l->top) {
		ASAN_JUMPS();
		real.siglongjmp((struct __jmp_buf_tag *)l->target->__cancel_jmp_buf, 1);
	}
	return UNWIND_NO_REASON;
}

/* To the buffer `target`, in the level or its own: a cleanup handler of C code without exceptions has one. */
static void level_unwind(struct panic_level *l, __pthread_unwind_buf_t *target) __attribute__((noreturn));
static void level_unwind(struct panic_level *l, __pthread_unwind_buf_t *target) {
	struct g *g = g_self();
	_Atomic int *mark = exit_mark();
	if (mark)
		atomic_fetch_or_explicit(mark, CANCEL_EXITING, memory_order_relaxed); /* only this thread and cancellers look at it, and they use RMWs */
	l->target = target;
	l->above = target == &l->buf ? l->inner : (uintptr_t)target;
	l->top = g->kind == G_GOROUTINE ? (uintptr_t)g->stack_top : 0;
	l->exception = (struct _Unwind_Exception){.cleanup = not_rethrown};
	_Unwind_ForcedUnwind(&l->exception, level_stop, l);
	abort(); /* the stack cannot be unwound */
}

/* The buffer that was registered last. */
static __pthread_unwind_buf_t *buf_innermost(void) {
	__pthread_unwind_buf_t probe;
	real.__pthread_register_cancel(&probe);
	real.__pthread_unregister_cancel(&probe);
	return probe.__pad[0];
}

SHIM void go_panic(void *payload) {
	static char here;
	struct g *g = g_self();
	struct thread *t = thread_of(g);
	REAL_READY();
	t->panic = payload;
	t->panic_state = PANICKING; /* also when a deferred function panics: the last one counts */
	if (t->panic_level)
		level_unwind(t->panic_level, buf_innermost());
	if (!g_goroutine() && !t->panic_end && real.__cxa_thread_atexit_impl)
		t->panic_end = real.__cxa_thread_atexit_impl(kernel_thread_ends, g, &here) == 0;
	thread_exit_unwind(NULL);
}

/* What a cleanup handler of C code without exceptions ends with. */
SHIM void __pthread_unwind_next(__pthread_unwind_buf_t *buf) __attribute__((noreturn));
SHIM void __pthread_unwind_next(__pthread_unwind_buf_t *buf) {
	struct g *g = tls_g;
	struct panic_level *l = g ? thread_of(g)->panic_level : NULL;
	REAL_READY();
	if (l && thread_of(g)->panic_state != NO_PANIC)
		level_unwind(l, buf->__pad[0]);
	real.__pthread_unwind_next(buf);
	__builtin_unreachable();
}

void golib_exit_called(void) {
	struct g *g = tls_g;
	if (g)
		thread_of(g)->panic_state = NO_PANIC;
}

SHIM void *go_recover(void) {
	struct thread *t = thread_of(g_self());
	if (t->panic_state != PANICKING)
		return NULL;
	t->panic_state = RECOVERED;
	return t->panic;
}

static void exit_unmark(void) {
	_Atomic int *mark = exit_mark();
	if (mark)
		atomic_fetch_and_explicit(mark, ~CANCEL_EXITING, memory_order_relaxed);
}

void golib_runtime_start(struct thread *t, const struct thread *before) {
	t->panic = before->panic;
	t->panic_state = before->panic_state;
	t->panic_level = before->panic_level;
	t->conds_away = before->conds_away;
	t->left_by_call = before->left_by_call;
}

void golib_rejoin(void *buf) {
	real.__pthread_unregister_cancel(buf);
	thread_of(g_self())->left_by_call = false;
	exit_unmark();
}

static void level_enter(struct panic_level *l) {
	struct thread *t = thread_of(g_self());
	_Atomic int *mark = exit_mark();
	l->outer = t->panic_level;
	l->outer_panic = t->panic;
	l->outer_state = t->panic_state;
	l->exiting = mark && (atomic_load_explicit(mark, memory_order_relaxed) & CANCEL_EXITING);
	l->left = false;
	real.__pthread_register_cancel(&l->buf);
	t->panic_level = l;
	t->panic_state = NO_PANIC; /* that one is not this level's to recover */
}

/* Also when a C++ exception leaves it. */
static void level_leave(struct panic_level *l) {
	if (l->left)
		return;
	struct thread *t = thread_of(g_self());
	l->left = true;
	real.__pthread_unregister_cancel(&l->buf);
	t->panic_level = l->outer;
	t->panic = l->outer_panic;
	t->panic_state = l->outer_state;
}

static __attribute__((noinline)) void *level_call(struct panic_level *l, go_fn fn, void *arg) {
	l->inner = (uintptr_t)__builtin_frame_address(0);
	void *r = fn(arg);
	__asm__ volatile("" ::: "memory"); /* no tail call: the frame is the mark */
	return r;
}

/* Runs fn(arg) as go_protect() does; *result its value. True: a panic ended it; what go_recover() did not take is *payload. */
static bool run(go_fn fn, void *arg, void **result, bool *recovered, void **payload) {
	__attribute__((cleanup(level_leave))) struct panic_level level;
	REAL_READY();
	level.left = true;
	level.outer = NULL; /* level_enter() writes it; readers behind setjmp() look for it here */
	if (__sigsetjmp_cancel(level.buf.__cancel_jmp_buf, 0) == 0) {
		level_enter(&level);
		void *r = level_call(&level, fn, arg);
		if (result)
			*result = r;
		return false;
	}
	struct thread *t = thread_of(g_self());
	if (t->panic_state == NO_PANIC) { /* pthread_exit() or a cancellation: not our business; a panic outside is over with it */
		level.left = true;
		t->panic_level = level.outer;
		real.__pthread_unwind_next(&level.buf);
	}
	*recovered = t->panic_state == RECOVERED;
	*payload = t->panic;
	if (!level.exiting)
		exit_unmark();
	return true;
}

struct protected_call {
	void (*fn)(void *);
	void *arg;
};

static void *protected_run(void *arg) {
	struct protected_call *call = arg;
	call->fn(call->arg);
	return NULL;
}

SHIM int go_protect(void (*fn)(void *arg), void *arg, void **payload) {
	struct protected_call call = {fn, arg};
	bool recovered;
	void *p = NULL;
	int r = run(protected_run, &call, NULL, &recovered, &p);
	if (payload)
		*payload = r && !recovered ? p : NULL;
	return r;
}

/* ---- nobody recovered -------------------------------------------------------------------------------------------------------- */

static char *text_number(char *end, uint64_t n, unsigned base) {
	do
		*--end = "0123456789abcdef"[n % base];
	while ((n /= base) != 0);
	return end;
}

static char *text_put(char *at, const char *s) {
	while (*s)
		*at++ = *s++;
	return at;
}

static void say(struct g *g, void *payload) {
	char line[160], number[24];
	number[23] = '\0';
	char *at = text_put(line, "goshim: panic in goroutine ");
	at = text_put(at, text_number(number + 23, (uint64_t)g->tid, 10));
	at = text_put(at, ", payload 0x");
	at = text_put(at, text_number(number + 23, (uint64_t)(uintptr_t)payload, 16));
	*at++ = '\n';
	SYS3(SYS_write, 2, line, at - line);
}

/* The thread that main() runs on, or the one that forked, in the child. */
static bool is_initial(struct g *g) {
	return g->tid == (int32_t)SYS0(SYS_getpid);
}

static void unrecovered(struct g *g, void *payload) {
	go_panic_handler h = atomic_load(&handler);
	if (h)
		h(payload);
	else
		say(g, payload);
	if (is_initial(g))
		abort();
}

bool golib_unwound(struct g *g) {
	struct thread *t = thread_of(g);
	uint8_t state = t->panic_state;
	t->panic_state = NO_PANIC;
	if (state == PANICKING)
		unrecovered(g, t->panic);
	return state != NO_PANIC;
}

bool golib_run(go_fn fn, void *arg, void **result) {
	bool recovered;
	void *payload;
	if (!run(fn, arg, result, &recovered, &payload))
		return false;
	if (!recovered)
		unrecovered(g_self(), payload);
	return true;
}
