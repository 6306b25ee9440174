/* Contexts of goshim.h: the core's (core/ctx.c). NULL, what making one returns without memory, may be passed on: to make a child, which is NULL, too, to be
 * released, to a call that waits, which fails. */
#include "golib.h"

SHIM go_ctx *go_ctx_background(void) {
	return (go_ctx *)ctx_background();
}

SHIM go_ctx *go_ctx_with_cancel(go_ctx *parent) {
	return parent ? (go_ctx *)ctx_child(ctx_of(parent), -1) : NULL;
}

SHIM go_ctx *go_ctx_with_deadline(go_ctx *parent, int64_t when) {
	golib_start(); /* or nobody looks after its timer */
	return parent ? (go_ctx *)ctx_child(ctx_of(parent), when < 0 && when != GO_FOREVER ? 0 : when) : NULL;
}

SHIM go_ctx *go_ctx_with_timeout(go_ctx *parent, int64_t ns) {
	return go_ctx_with_deadline(parent, ns == 0 ? nanotime() : golib_deadline(ns));
}

SHIM go_ctx *go_ctx_with_value(go_ctx *parent, const void *key, void *value) {
	return parent ? (go_ctx *)ctx_with_value(ctx_of(parent), key, value) : NULL;
}

SHIM void go_ctx_cancel(go_ctx *ctx) {
	if (ctx)
		ctx_cancel(ctx_of(ctx), -ECANCELED);
}

SHIM void go_ctx_retain(go_ctx *ctx) {
	if (ctx)
		ctx_retain(ctx_of(ctx));
}

SHIM void go_ctx_release(go_ctx *ctx) {
	if (ctx)
		ctx_release(ctx_of(ctx));
}

SHIM go_chan *go_ctx_done(go_ctx *ctx) {
	return ctx ? (go_chan *)ctx_done(ctx_of(ctx)) : NULL;
}

SHIM int go_ctx_err(go_ctx *ctx) {
	return golib_ctx_refuses(ctx);
}

SHIM int64_t go_ctx_deadline(go_ctx *ctx) {
	return ctx ? ctx_deadline(ctx_of(ctx)) : GO_FOREVER;
}

SHIM void *go_ctx_value(go_ctx *ctx, const void *key) {
	return ctx ? ctx_value(ctx_of(ctx), key) : NULL;
}
