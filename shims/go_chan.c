/* Channels and select of goshim.h: the core's (core/chan.c), with memory, interruptions and contexts. */
#include "../core/slab.h"
#include "golib.h"

#define CHAN_BYTES_MAX (1ul << 40)

_Static_assert(sizeof(go_case) == sizeof(struct chan_case) && offsetof(go_case, elem) == offsetof(struct chan_case, elem) &&
		       offsetof(go_case, send) == offsetof(struct chan_case, send) &&
		       offsetof(go_case, closed) == offsetof(struct chan_case, closed),
	       "go_case is a chan_case");

static size_t chan_bytes(size_t elem_bytes, size_t capacity) {
	return sizeof(struct chan) + elem_bytes * capacity;
}

SHIM go_chan *go_chan_make(size_t elem_bytes, size_t capacity) {
	if (elem_bytes > UINT32_MAX || capacity > UINT32_MAX || (capacity && elem_bytes > CHAN_BYTES_MAX / capacity))
		return NULL;
	struct chan *c = slab_alloc(chan_bytes(elem_bytes, capacity));
	if (c)
		chan_init(c, (uint32_t)elem_bytes, (uint32_t)capacity, c + 1);
	return (go_chan *)c;
}

SHIM void go_chan_free(go_chan *chan) {
	struct chan *c = chan_of(chan);
	if (c)
		slab_free(c, chan_bytes(c->elem_bytes, c->capacity));
}

/* No channel, or nothing to send: what a receiver got would be what its memory held before. */
static inline bool op_is_void(go_chan *c, const void *elem, bool send) {
	return unlikely(!c) || (send && unlikely(!elem) && chan_of(c)->elem_bytes);
}

static inline int op(go_chan *chan, void *elem, bool send) {
	if (op_is_void(chan, elem, send))
		return -EINVAL;
	for (;;) {
		int r = chan_op(chan_of(chan), elem, send, true, -1);
		if (likely(r != -EINTR))
			return r;
		golib_interrupted();
	}
}

SHIM int go_send(go_chan *c, const void *elem) {
	return op(c, (void *)(uintptr_t)elem, true);
}

SHIM int go_recv(go_chan *c, void *elem) {
	return op(c, elem, false);
}

static int try_op(go_chan *chan, void *elem, bool send) {
	return op_is_void(chan, elem, send) ? -EINVAL : chan_op(chan_of(chan), elem, send, false, -1);
}

SHIM int go_try_send(go_chan *c, const void *elem) {
	return try_op(c, (void *)(uintptr_t)elem, true);
}

SHIM int go_try_recv(go_chan *c, void *elem) {
	return try_op(c, elem, false);
}

SHIM int go_close(go_chan *c) {
	if (!c)
		return -EINVAL;
	return chan_close(chan_of(c)) ? 0 : -EPIPE;
}

SHIM size_t go_chan_len(go_chan *c) {
	return c ? __atomic_load_n(&chan_of(c)->count, __ATOMIC_RELAXED) : 0; /* outdated at once anyway */
}

SHIM size_t go_chan_cap(go_chan *c) {
	return c ? chan_of(c)->capacity : 0;
}

/* ctx: NULL, or not cancelled yet when it was looked at. */
static int select_until(struct ctx *ctx, go_case *cases, size_t n, int64_t timeout_ns) {
	struct chan_case done = {.chan = ctx ? ctx_done(ctx) : NULL};
	if (n > INT32_MAX || (n && !cases))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (cases[i].chan && op_is_void(cases[i].chan, cases[i].elem, cases[i].send))
			return -EINVAL;
	}
	int64_t deadline = timeout_ns == 0 ? -1 : golib_deadline(timeout_ns);
	for (;;) {
		int why;
		struct chan_case *k = chan_select((struct chan_case *)cases, (uint32_t)n, &done, timeout_ns != 0, deadline, &why);
		if (k == &done)
			return ctx_err(ctx);
		if (k)
			return (int)(k - (struct chan_case *)cases);
		if (why != -EINTR)
			return why;
		golib_interrupted();
	}
}

SHIM int go_select(go_case *cases, size_t n, int64_t timeout_ns) {
	return select_until(NULL, cases, n, timeout_ns);
}

SHIM int go_select_ctx(go_ctx *ctx, go_case *cases, size_t n, int64_t timeout_ns) {
	int err = golib_ctx_refuses(ctx);
	return err ? err : select_until(ctx_of(ctx), cases, n, timeout_ns);
}

static int op_ctx(go_ctx *ctx, go_chan *c, void *elem, bool send) {
	go_case k = {c, elem, send, false, {0}};
	if (!c)
		return -EINVAL;
	int r = go_select_ctx(ctx, &k, 1, GO_FOREVER);
	return r < 0 ? r : k.closed ? -EPIPE : 0;
}

SHIM int go_send_ctx(go_ctx *ctx, go_chan *c, const void *elem) {
	return op_ctx(ctx, c, (void *)(uintptr_t)elem, true);
}

SHIM int go_recv_ctx(go_ctx *ctx, go_chan *c, void *elem) {
	return op_ctx(ctx, c, elem, false);
}
