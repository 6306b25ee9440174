/* The program's own epoll instances: an epoll descriptor is itself pollable, so epoll_wait is a try without waiting, and a park on that
 * descriptor until something is in its ready list. Nothing else about the program's epoll is touched (POL-3).
 *
 * Several waiters on one instance are woken one per event, as the kernel does; who gets events lets the next one look. */
#include <sys/epoll.h>

#include "io.h"

static long io_epoll_wait(struct g *g, int fd, struct epoll_event *events, int room, int64_t deadline) {
	struct fdcall c;
	struct timespec left = {0};
	long r = SYS6(SYS_epoll_pwait, fd, events, room, 0, NULL, 8);
	if (r != 0 || deadline == 0)
		return r;
	if (!fdcall_begin(&c, g, fd))
		goto block;
	for (;;) {
		pd_try(c.pd, PD_READ);
		r = SYS6(SYS_epoll_pwait, c.fd, events, room, 0, NULL, 8);
		if (r > 0)
			pd_more(c.pd, PD_READ);
		if (r != 0)
			break;
		int waited = netpoll_wait(c.pd, PD_READ, deadline, true);
		if (waited == 0) {
			/* relaxed: as in fdcall_wait() */
			c.fd = __atomic_load_n(&c.pd->fd, __ATOMIC_RELAXED);
			continue;
		}
		if (waited == -ETIMEDOUT) {
			r = SYS6(SYS_epoll_pwait, c.fd, events, room, 0, NULL, 8);
			break;
		}
		fdcall_end(&c);
		if (waited != -EINTR)
			goto block;
		if (io_interrupted(g, false))
			return -EINTR;
		if (!fdcall_begin(&c, g, fd))
			goto block;
	}
	fdcall_end(&c);
	return r;
block:
	if (deadline > 0) {
		int64_t ns = deadline - nanotime();
		ns = ns > 0 ? ns : 0;
		left = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	}
	int ms = deadline < 0 ? -1 : (int)(left.tv_sec * 1000 + (left.tv_nsec + 999999) / 1000000);
	return BRACKET_BLOCKING(g, SYS6(SYS_epoll_pwait, fd, events, room, ms, NULL, 8));
}

SHIM int epoll_wait(int fd, struct epoll_event *events, int room, int timeout) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(epoll_wait, fd, events, room, timeout);
	shim_testcancel(g);
	int64_t deadline = timeout < 0 ? -1 : timeout == 0 ? 0 : nanotime() + timeout * INT64_C(1000000);
	return (int)sys_ret(io_epoll_wait(g, fd, events, room, deadline));
}

/* With a mask the kernel's own wait is the only atomic one (SIG-16). */
SHIM int epoll_pwait(int fd, struct epoll_event *events, int room, int timeout, const sigset_t *mask) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(epoll_pwait, fd, events, room, timeout, mask);
	if (!mask)
		return epoll_wait(fd, events, room, timeout);
	shim_testcancel(g);
	return (int)sys_ret(BRACKET_BLOCKING(g, SYS6(SYS_epoll_pwait, fd, events, room, timeout, mask, 8)));
}

SHIM int epoll_pwait2(int fd, struct epoll_event *events, int room, const struct timespec *timeout, const sigset_t *mask) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(epoll_pwait2, fd, events, room, timeout, mask);
	shim_testcancel(g);
	if (mask)
		return (int)sys_ret(BRACKET_BLOCKING(g, SYS6(SYS_epoll_pwait2, fd, events, room, timeout, mask, 8)));
	if (timeout && !timespec_valid(timeout))
		return (int)sys_ret(-EINVAL);
	bool now = timeout && timeout->tv_sec == 0 && timeout->tv_nsec == 0;
	return (int)sys_ret(io_epoll_wait(g, fd, events, room, !timeout ? -1 : now ? 0 : deadline_rel(timeout)));
}
