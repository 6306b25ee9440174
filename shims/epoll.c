/* The program's own epoll instances: an epoll descriptor is itself pollable, so epoll_wait is a try without waiting, and a park on that
 * descriptor until something is in its ready list. Nothing else about the program's epoll is touched (POL-3).
 *
 * Several waiters on one instance are woken one per event, as the kernel does; who gets events lets the next one look. */
#include <sys/epoll.h>

#include "io.h"

struct epoll_ask {
	int fd;
	struct epoll_event *events;
	int room;
};

static long epoll_ask(void *arg) {
	struct epoll_ask *a = arg;
	return SYS6(SYS_epoll_pwait, a->fd, a->events, a->room, 0, NULL, 8);
}

static long epoll_try(struct fdcall *c, struct epoll_event *events, int room) {
	struct epoll_ask a = {.events = events, .room = room};
	long r = FD_TRY(c, (a.fd = c->fd, epoll_ask(&a)));
	if (r == 0 && unlikely(sig_fd_due(c->g)))
		r = FD_TRY(c, (a.fd = c->fd, sig_fd_ask(c->g, epoll_ask, &a)));
	return r;
}

/* Without a pd: there was no memory for one. As epoll_park(). */
static long epoll_unheld(struct g *g, struct epoll_ask a, int64_t deadline, bool masked) {
	if (!io_must_nap(g, masked))
		return FDCALL_BLOCK;
	for (;;) {
		int waited = netpoll_nap(NULL, 0, deadline);
		long r = sig_fd_due(g) ? io_ask_lent(g, epoll_ask, &a) : epoll_ask(&a);
		if (r != 0 || waited == -ETIMEDOUT)
			return r;
		if (waited == -EINTR && io_interrupted(g, false))
			return -EINTR;
	}
}

/* deadline 0: do not wait. FDCALL_BLOCK: it cannot be waited for, but by the kernel. */
static long epoll_park(struct g *g, int fd, struct epoll_event *events, int room, int64_t deadline, bool masked) {
	struct fdcall c;
	if (!fdcall_begin(&c, g, fd))
		return epoll_unheld(g, (struct epoll_ask){fd, events, room}, deadline, masked);
	for (;;) {
		pd_try(c.pd, PD_READ);
		long r = epoll_try(&c, events, room);
		if (r > 0)
			pd_more(c.pd, PD_READ);
		int waited = r == 0 ? netpoll_wait(c.pd, PD_READ, deadline, true) : 0;
		if (unlikely(netpoll_refused(waited)) && io_must_nap(g, masked))
			waited = netpoll_nap(c.pd, PD_READ, deadline);
		if (waited == -ETIMEDOUT)
			r = epoll_try(&c, events, room);
		if (r != 0 || waited == -ETIMEDOUT) {
			fdcall_end(&c);
			return r;
		}
		if (waited == 0)
			continue;
		fdcall_end(&c);
		if (waited != -EINTR)
			return FDCALL_BLOCK;
		if (io_interrupted(g, false))
			return -EINTR;
		if (!fdcall_begin(&c, g, fd))
			return epoll_unheld(g, (struct epoll_ask){fd, events, room}, deadline, masked);
	}
}

/* Milliseconds until deadline, rounded up; -1: none. */
static int ms_left(int64_t deadline) {
	int64_t ns = deadline - nanotime();
	return deadline < 0 ? -1 : ns <= 0 ? 0 : ns / 1000000 >= INT_MAX ? INT_MAX : (int)((ns + 999999) / 1000000);
}

static long io_epoll_wait(struct g *g, int fd, struct epoll_event *events, int room, int64_t deadline,
			  const sigset_t *mask) {
	struct epoll_ask a = {fd, events, room};
	if (address_bad_mask_given(mask))
		return -EFAULT;
	if (unlikely(netpoll_owns_fd(fd))) /* what it tells is for us */
		return -EBADF;
	long r = epoll_ask(&a);
	if (r == 0 && unlikely(sig_fd_due(g)))
		r = io_ask_lent(g, epoll_ask, &a);
	if (r != 0 || (deadline == 0 && !mask))
		return r;
	if (mask || !io_waits_itself(g)) {
		/* The mask is the goroutine's for the time of the wait: a signal that is pending, or comes, ends it (SIG-16). */
		if (mask)
			sig_mask_push(g, mask);
		r = epoll_park(g, fd, events, room, deadline, mask != NULL);
		if (mask)
			sig_mask_pop(g);
		if (r != FDCALL_BLOCK)
			return r;
	}
	sigset_t open;
	mask = sig_kernel_set(mask, &open);
	return BRACKET_BLOCKING(g, false, SYS6(SYS_epoll_pwait, fd, events, room, ms_left(deadline), mask, 8));
}

static int64_t ms_deadline(int timeout) {
	return timeout < 0 ? -1 : timeout == 0 ? 0 : deadline_in(timeout * INT64_C(1000000));
}

SHIM int epoll_wait(int fd, struct epoll_event *events, int room, int timeout) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(epoll_wait, fd, events, room, timeout);
	shim_testcancel(g);
	return (int)io_ret(g, io_epoll_wait(g, fd, events, room, ms_deadline(timeout), NULL));
}

SHIM int epoll_pwait(int fd, struct epoll_event *events, int room, int timeout, const sigset_t *mask) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(epoll_pwait, fd, events, room, timeout, mask);
	shim_testcancel(g);
	return (int)io_ret(g, io_epoll_wait(g, fd, events, room, ms_deadline(timeout), mask));
}

SHIM int epoll_pwait2(int fd, struct epoll_event *events, int room, const struct timespec *timeout,
		      const sigset_t *mask) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(epoll_pwait2, fd, events, room, timeout, mask);
	shim_testcancel(g);
	if (address_bad_given(timeout))
		return (int)sys_ret(-EFAULT);
	if (timeout && !timespec_valid(timeout))
		return (int)sys_ret(-EINVAL);
	bool now = timeout && timeout->tv_sec == 0 && timeout->tv_nsec == 0;
	return (int)sys_ret(io_epoll_wait(g, fd, events, room, !timeout ? -1 : now ? 0 : deadline_rel(timeout), mask));
}
