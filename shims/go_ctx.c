/* Contexts of goshim.h: the core's (core/ctx.c). */
#include "golib.h"

SHIM go_ctx *go_ctx_background(void) {
	return (go_ctx *)ctx_background();
}

SHIM go_ctx *go_ctx_with_cancel(go_ctx *parent) {
	return (go_ctx *)ctx_child(ctx_of(parent), -1);
}

SHIM go_ctx *go_ctx_with_deadline(go_ctx *parent, int64_t when) {
	golib_start(); /* or nobody looks after its timer */
	return (go_ctx *)ctx_child(ctx_of(parent), when < 0 ? 0 : when);
}

SHIM go_ctx *go_ctx_with_timeout(go_ctx *parent, int64_t ns) {
	return go_ctx_with_deadline(parent, golib_deadline(ns < 0 ? 0 : ns));
}

SHIM go_ctx *go_ctx_with_value(go_ctx *parent, const void *key, void *value) {
	return (go_ctx *)ctx_with_value(ctx_of(parent), key, value);
}

SHIM void go_ctx_cancel(go_ctx *ctx) {
	ctx_cancel(ctx_of(ctx), -ECANCELED);
}

SHIM void go_ctx_retain(go_ctx *ctx) {
	ctx_retain(ctx_of(ctx));
}

SHIM void go_ctx_release(go_ctx *ctx) {
	ctx_release(ctx_of(ctx));
}

SHIM go_chan *go_ctx_done(go_ctx *ctx) {
	return (go_chan *)ctx_done(ctx_of(ctx));
}

SHIM int go_ctx_err(go_ctx *ctx) {
	return ctx_err(ctx_of(ctx));
}

SHIM int64_t go_ctx_deadline(go_ctx *ctx) {
	return ctx_deadline(ctx_of(ctx));
}

SHIM void *go_ctx_value(go_ctx *ctx, const void *key) {
	return ctx_value(ctx_of(ctx), key);
}
