/* What the implementation of goshim.h shares. The public types are the core's under other names; each cast is in one place here. */
#ifndef GOSHIM_GOLIB_H
#define GOSHIM_GOLIB_H

#include "../core/chan.h"
#include "../core/ctx.h"
#include "goshim.h"
#include "shim.h"

static inline struct chan *chan_of(go_chan *c) {
	return (struct chan *)c;
}

static inline struct ctx *ctx_of(go_ctx *c) {
	return (struct ctx *)c;
}

/* now + ns, saturating; GO_FOREVER: -1. What is negative otherwise, an end that was reached when it was computed, is over already. */
static inline int64_t golib_deadline(int64_t ns) {
	return ns == GO_FOREVER ? -1 : ns < 0 ? nanotime() & ~(int64_t)DEADLINE_WALL : deadline_in(ns);
}

/* A wait ended with -EINTR and the caller is published nowhere: runs handlers, acts on cancellation. Then the wait is begun again. */
static inline void golib_interrupted(void) {
	struct g *g = g_self();
	shim_interrupted(g, true);
	shim_testcancel(g);
}

/* Why a call that takes a context must not begin: 0, or an error. NULL is what go_ctx_with_cancel() and its like return without memory, and no excuse to wait
 * for ever. */
static inline int golib_ctx_refuses(go_ctx *ctx) {
	return likely(ctx != NULL) ? ctx_err(ctx_of(ctx)) : -EINVAL;
}

/* What a wait that ctx ended fails with. */
static inline int golib_result(struct ctx *ctx, int r) {
	return r == -ECANCELED && ctx ? ctx_err(ctx) : r;
}

/* Starts the runtime if that is possible, and lets the core make kernel threads in any case. True: threads are goroutines. */
bool golib_start(void);

/* ---- between go_spawn.c, go_panic.c and thread.c ------------------------------------------------------------------------ */

/* A goroutine of go_spawn() is past its last program code: whoever waits for it may go on. */
void golib_thread_done(struct g *g);
/* The thread becomes a goroutine in the midst of what it does, in a go_protect() perhaps. */
struct thread;
void golib_runtime_start(struct thread *t, const struct thread *before);
/* g ends where it is, in a handler perhaps: waits below it that others could still serve are given up. */
void golib_waits_abandon(struct g *g);
/* The unwinding that has just landed in `buf` (registered with __pthread_register_cancel) ends there: the thread lives on. */
void golib_rejoin(void *buf);
/* pthread_exit() was called: a panic that was unwinding the thread is over. */
void golib_exit_called(void);
/* The calling thread was unwound to its outermost frame. If that was a panic that nobody recovered, the handler is called; on the main thread, or the
 * only one of a fork's child, the process ends after it. True: it was a panic. */
bool golib_unwound(struct g *g);
/* Runs fn(arg) as the outermost function of a kernel thread. True: it ended in a panic, which is dealt with. */
bool golib_run(go_fn fn, void *arg, void **result);

#endif
