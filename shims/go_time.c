/* Sleeps, timers and tickers of goshim.h.
 *
 * A timer is a timer of the core that offers the time to a channel with room for one. The core holds the heap's lock while it fires, so after
 * go_timer_stop() nothing touches it any more. */
#include "../core/runtime.h"
#include "golib.h"

static int sleep_ctx(struct ctx *ctx, int64_t ns) {
	int64_t deadline = golib_deadline(ns);
	struct chan *done = ctx ? ctx_done(ctx) : NULL;
	for (;;) {
		int r = chan_sleep(deadline, done);
		if (r == -ETIMEDOUT)
			return 0;
		if (r == -ECANCELED)
			return ctx_err(ctx);
		golib_interrupted();
	}
}

SHIM int go_sleep(int64_t ns) {
	if (ns == 0) {
		g_yield(g_self());
		return 0;
	}
	return sleep_ctx(NULL, ns);
}

SHIM int go_sleep_ctx(go_ctx *ctx, int64_t ns) {
	int err = golib_ctx_refuses(ctx);
	return err ? err : sleep_ctx(ctx_of(ctx), ns);
}

struct alarm {
	struct timer timer;
	struct chan chan;
	int64_t time; /* the channel's buffer */
};
_Static_assert(sizeof(struct alarm) <= sizeof(go_timer), "go_timer has room for an alarm");

static void alarm_fire(struct timer *t) {
	int64_t now = nanotime();
	chan_offer(&((struct alarm *)t->arg)->chan, &now);
}

SHIM int go_timer_start(go_timer *t, int64_t first_ns, int64_t period_ns) {
	struct alarm *a = (struct alarm *)t;
	if (first_ns < 0 || period_ns < 0)
		return -EINVAL;
	golib_start(); /* or a kernel thread looks after it */
	/* What is there may be anything: the first time, and after its memory was used for other things. If it is running somebody may wait for its channel. */
	if (timer_disarm(&a->timer))
		chan_op(&a->chan, NULL, false, false, -1);
	else
		chan_init(&a->chan, sizeof a->time, 1, &a->time);
	a->timer = (struct timer){.when = deadline_in(first_ns), .fire = alarm_fire, .arg = a, .period = period_ns};
	return timer_arm(&a->timer);
}

SHIM go_chan *go_timer_chan(go_timer *t) {
	return (go_chan *)&((struct alarm *)t)->chan;
}

SHIM int go_timer_stop(go_timer *t) {
	return timer_disarm(&((struct alarm *)t)->timer); /* it may have been started by the parent of this process */
}
