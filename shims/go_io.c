/* Waiting for a descriptor: goshim.h's door to the netpoller. As in poll.c the kernel decides: it is asked before the wait, again when we are linked (what became
 * ready in between has no event left), and after each event. Who closes the descriptor ends the waits for it: unlike a read(), which has the description, they are for
 * the number. What epoll cannot watch (files), and every thread of a process without a runtime, waits in poll(), in slices if something else must be looked at
 * meanwhile. */
#include <poll.h>

#include "golib.h"
#include "io.h"

#define SLICE_NS 20000000

static int revents_ask(int fd, int events) {
	short revents = fd_poll_now(fd, (short)((events & GO_READ ? POLLIN : 0) | (events & GO_WRITE ? POLLOUT : 0)));
	if (revents & POLLNVAL)
		return -EBADF;
	if (revents & (POLLERR | POLLHUP))
		return events;
	return (revents & POLLIN ? GO_READ : 0) | (revents & POLLOUT ? GO_WRITE : 0);
}

/* In the kernel. 0: nothing yet, look at the context, and at the descriptor. */
static int wait_kernel(struct g *g, int fd, int events, int64_t deadline, bool slices) {
	struct pollfd p = {.fd = fd, .events = (short)((events & GO_READ ? POLLIN : 0) | (events & GO_WRITE ? POLLOUT : 0))};
	int64_t now = nanotime(), until = slices ? now + SLICE_NS : deadline;
	if (deadline >= 0 && deadline < until)
		until = deadline;
	struct timespec ts = {0, 0};
	if (until > now)
		ts = (struct timespec){(until - now) / 1000000000, (until - now) % 1000000000};
	BRACKET_BLOCKING(g, false, SYS5(SYS_ppoll, &p, 1, until < 0 ? NULL : &ts, NULL, 8));
	int r = revents_ask(fd, events);
	return r ? r : deadline >= 0 && nanotime() >= deadline ? -ETIMEDOUT : 0;
}

/* Parked. 0: an event, ask again; else an error of chan_sleep(), or FDCALL_BLOCK. *found: what asking after linking found. */
static int wait_park_fd(struct g *g, struct pd *pd, int events, int64_t deadline, struct chan *done, int *found) {
	uint8_t mode = (uint8_t)((events & GO_READ ? PD_READ : 0) | (events & GO_WRITE ? PD_WRITE : 0));
	struct pdwait link = {.pd = pd, .mode = mode, .until_closed = true};
	struct chan_waiter watch;
	bool watching = false;
	wait_begin(g, g->kind <= G_MAIN, "go_wait_fd", (uintptr_t)__atomic_load_n(&pd->fd, __ATOMIC_RELAXED));
	int linked = netpoll_link(pd, &link, g, mode);
	if (linked < 0 || __atomic_load_n(&link.closed, __ATOMIC_RELAXED) || (*found = revents_ask(__atomic_load_n(&pd->fd, __ATOMIC_RELAXED), events)) != 0 ||
	    (done && !(watching = chan_watch(done, &watch, g))))
		wait_claim_self(g, WAKE_READY);
	int r = wait_park(g, deadline);
	if (linked == 0)
		netpoll_unlink(&link);
	if (watching && chan_unwatch(done, &watch))
		r = -ECANCELED;
	if (linked < 0 || *found != 0)
		wait_unneeded(g);
	if (link.closed) /* whether it is closed by now or not, and what else there was */
		*found = -EBADF;
	return linked < 0 ? FDCALL_BLOCK : r;
}

static int wait_fd(struct ctx *ctx, int fd, int events, int64_t timeout_ns) {
	struct g *g = g_self();
	struct chan *done = ctx ? ctx_done(ctx) : NULL;
	int64_t deadline = golib_deadline(timeout_ns);
	if (!(events & (GO_READ | GO_WRITE)) || events & ~(GO_READ | GO_WRITE))
		return -EINVAL;
	if (fd < 0 || netpoll_owns_fd(fd)) /* poll() passes a negative number over */
		return -EBADF;
	for (;;) {
		int found = revents_ask(fd, events), r = FDCALL_BLOCK;
		if (found == 0 && done && chan_is_closed(done))
			found = ctx_err(ctx);
		if (found == 0) {
			rt_enter(g); /* no handler of the program, which may jump away, while it is held */
			struct pd *pd = sched_started() ? io_hold(g, fd) : NULL;
			if (unlikely(fd_users_noted) && pd && g->kind <= G_MAIN)
				fd_user_note(pd, g->id);
			if (pd) {
				r = wait_park_fd(g, pd, events, deadline, done, &found);
				pd_drop(pd);
			}
			if (!pd && sched_started() && fd_is_closing(fd))
				found = -EBADF;
			rt_exit(g);
		}
		if (found == 0 && r == FDCALL_BLOCK)
			/* A goroutine is here when epoll refused it, and nobody tells it of a close(). */
			found = wait_kernel(g, fd, events, deadline, done != NULL || g->kind <= G_MAIN);
		else if (r == -ETIMEDOUT && found == 0)
			found = revents_ask(fd, events) ? 0 : -ETIMEDOUT;
		if (found != 0)
			return found;
		if (r == -EINTR)
			golib_interrupted();
	}
}

SHIM int go_wait_fd(int fd, int events, int64_t timeout_ns) {
	return wait_fd(NULL, fd, events, timeout_ns);
}

SHIM int go_wait_fd_ctx(go_ctx *ctx, int fd, int events, int64_t timeout_ns) {
	int err = golib_ctx_refuses(ctx);
	return err ? err : wait_fd(ctx_of(ctx), fd, events, timeout_ns);
}
