/* Contexts: a tree of things that can be cancelled, with deadlines and values. See ctx.c. */
#ifndef GOSHIM_CTX_H
#define GOSHIM_CTX_H

#include "chan.h"

struct ctx;

/* Never cancelled; needs no release. */
struct ctx *ctx_background(void);
/* A child of parent; deadline: CLOCK_MONOTONIC ns, -1 for the parent's. One reference is the caller's. Of a cancelled parent it is born cancelled.
 * NULL: no memory (or no thread for timers). */
struct ctx *ctx_child(struct ctx *parent, int64_t deadline);
/* The parent with one more value; cancelled when it is, not by itself. */
struct ctx *ctx_with_value(struct ctx *parent, const void *key, void *value);
/* Cancels c and all below it: err -ECANCELED or -ETIMEDOUT. Only the first call for each does anything. None for one made by ctx_with_value. */
void ctx_cancel(struct ctx *c, int err);
void ctx_retain(struct ctx *c);
void ctx_release(struct ctx *c);
/* Closed when c is cancelled; NULL if that cannot be. Lives as long as c. */
struct chan *ctx_done(struct ctx *c);
/* 0, -ECANCELED or -ETIMEDOUT. */
int ctx_err(struct ctx *c);
/* -1 none. */
int64_t ctx_deadline(struct ctx *c);
void *ctx_value(struct ctx *c, const void *key);

#endif
