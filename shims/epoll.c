/* The program's own epoll instances. Nothing about them is touched but how one waits for them (POL-3).
 *
 * An event loop, one thread for many descriptors, waits in the kernel, in its own epoll_wait(). Parked, each batch of its events would take two questions more, a wake-up
 * of the poller, and for each event the kernel's way from its epoll to ours (memcached with 5,000 connections: 1/8 of its CPU time), and would save one kernel thread.
 * Who is one of the first LOOPS_MIN (or two for each P) that wait so is taken for an event loop, as long as it lives. It must block no signal: of one that is pending for
 * the goroutine alone the kernel does not know, so that a signalfd would not show it.
 *
 * The others park: an epoll descriptor is itself pollable, so epoll_wait() is a try without waiting, and a park on that descriptor until something is in
 * its ready list. Several waiters on one instance are woken one per event, as the kernel does; who gets events lets the next one look. */
#include <sys/epoll.h>

#include "io.h"
#include "thread.h"

#define LOOPS_MIN 16u
#define LOOP_BUSY_MAX 64 /* waits */
#define LOOK_NS 20000000 /* of who can neither park nor wait alone; rare, so any that costs nothing */

/* Relaxed: one more or less. */
static _Atomic uint32_t loops;

struct epoll_ask {
	int fd;
	struct epoll_event *events;
	int room;
};

static long epoll_ask(void *arg) {
	struct epoll_ask *a = arg;
	return SYS6(SYS_epoll_pwait, a->fd, a->events, a->room, 0, NULL, 8);
}

/* The kernel knows what is lent only for the kernel thread that asks. The poller, told by way of our epoll that there is something, would find nothing, and thereby take
 * the signalfd off the list of what is ready, before we look. So ours does not watch it until somebody waits again. */
static long epoll_lent(struct fdcall *c, struct epoll_ask *a) {
	netpoll_disarm(c->pd);
	return FD_TRY(c, (a->fd = c->fd, sig_fd_ask(c->g, epoll_ask, a)));
}

static long epoll_try(struct fdcall *c, struct epoll_event *events, int room) {
	struct epoll_ask a = {.events = events, .room = room};
	long r = FD_TRY(c, (a.fd = c->fd, epoll_ask(&a)));
	return r == 0 && unlikely(sig_fd_due(c->g)) ? epoll_lent(c, &a) : r;
}

static long epoll_ask_lent(struct g *g, struct epoll_ask *a) {
	struct fdcall c;
	if (!fdcall_begin(&c, g, a->fd))
		return io_ask_lent(g, epoll_ask, a);
	long r = epoll_lent(&c, a);
	fdcall_end(&c);
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

/* c is begun, and ended in here. FDCALL_BLOCK: it cannot be waited for, but by the kernel. */
static long epoll_park(struct fdcall *c, struct epoll_event *events, int room, int64_t deadline, bool masked) {
	struct g *g = c->g;
	int fd = c->number;
	for (;;) {
		pd_try(c->pd, PD_READ);
		long r = epoll_try(c, events, room);
		if (r > 0)
			pd_more(c->pd, PD_READ);
		int waited = r == 0 ? netpoll_wait(c->pd, PD_READ, deadline, true) : 0;
		if (unlikely(netpoll_refused(waited)) && io_must_nap(g, masked))
			waited = netpoll_nap(c->pd, PD_READ, deadline);
		if (waited == -ETIMEDOUT)
			r = epoll_try(c, events, room);
		if (r != 0 || waited == -ETIMEDOUT) {
			fdcall_end(c);
			return r;
		}
		if (waited == 0)
			continue;
		fdcall_end(c);
		if (waited != -EINTR)
			return FDCALL_BLOCK;
		if (io_interrupted(g, false))
			return -EINTR;
		if (!fdcall_begin(c, g, fd))
			return epoll_unheld(g, (struct epoll_ask){fd, events, room}, deadline, masked);
	}
}

/* The mask is the goroutine's for the time of the wait: a signal that is pending, or comes, ends it (SIG-16). */
static long epoll_parked(struct g *g, const struct epoll_ask *a, int64_t deadline, const sigset_t *mask) {
	struct fdcall c;
	if (mask)
		sig_mask_push(g, mask);
	long r = fdcall_begin(&c, g, a->fd) ? epoll_park(&c, a->events, a->room, deadline, mask != NULL) : epoll_unheld(g, *a, deadline, mask != NULL);
	if (mask)
		sig_mask_pop(g);
	return r;
}

/* Milliseconds until deadline, rounded up; -1: none. */
static int ms_left(int64_t deadline) {
	int64_t ns = deadline - nanotime();
	return deadline < 0 ? -1 : ns <= 0 ? 0 : ns / 1000000 >= INT_MAX ? INT_MAX : (int)((ns + 999999) / 1000000);
}

/* ---- in the kernel ------------------------------------------------------------------------------------------------ */

struct epoll_kernel {
	struct epoll_ask ask;
	int64_t deadline;
	bool fine;   /* it was given in units that milliseconds do not express */
	bool needed; /* parked it cannot wait */
};

static bool is_loop(struct g *g) {
	struct thread *t = thread_of(g);
	if (t->loop || g->wired_m)
		return true;
	uint32_t n = atomic_load_explicit(&loops, memory_order_relaxed);
	if (n >= LOOPS_MIN && n >= 2 * sched_config.gomaxprocs)
		return false;
	atomic_fetch_add_explicit(&loops, 1, memory_order_relaxed);
	__atomic_store_n(&t->loop, true, __ATOMIC_RELAXED); /* hands_on() of others */
	return true;
}

/* One that hands what comes to others (a listener and its pool) finds them queued when it waits. In the kernel it would have to give its P to another M each time, and get one
 * back for each event or two; parked, it comes back when those have run, and to more events (slapd with 64 and 1,000 connections: 6 and 8 % less CPU time). Other loops that are
 * queued are no such work. */
static bool hands_on(struct g *g) {
	struct thread *t = thread_of(g);
	struct g *next = g->m->p ? runq_peek(g->m->p) : NULL;
	bool queued = next && !__atomic_load_n(&thread_of(next)->loop, __ATOMIC_RELAXED);
	if (queued ? t->loop_busy < LOOP_BUSY_MAX : t->loop_busy > 0)
		t->loop_busy += queued ? 1 : -1;
	if (t->loop_busy == (t->loop_hands_on ? LOOP_BUSY_MAX / 4 : LOOP_BUSY_MAX * 3 / 4))
		t->loop_hands_on = !t->loop_hands_on;
	return t->loop_hands_on;
}

/* Not where the kernel has refused a thread: there the Ms are for those who cannot do without. */
static bool may_wait_alone(struct g *g) {
	return unlikely(g->wired_m != NULL) ? !sig_fd_blocked(g) : !g->sigmask && !atomic_load_explicit(&sched.m_lacking, memory_order_relaxed);
}

static bool waits_alone(struct g *g) {
	return may_wait_alone(g) && !chaos(CHAOS_HANDOFF) && is_loop(g) && (g->wired_m || !hands_on(g));
}

/* Outside the runtime. FDCALL_BLOCK: it is to park instead, or to look again whether it must nap: who blocks a signal may be shown it by a signalfd that is made meanwhile. */
static long ask_kernel(struct g *g, int fd, const struct epoll_kernel *k) {
	struct timespec left;
	long r = -ENOSYS;
	if (!k->needed && unlikely(!may_wait_alone(g)))
		return FDCALL_BLOCK;
	int64_t look = k->needed && g->sigmask && !g->wired_m ? deadline_in(LOOK_NS) : -1;
	int64_t until = look < 0 || (k->deadline >= 0 && k->deadline < look) ? k->deadline : look;
	if (unlikely(k->fine))
		r = SYS_MAKES5(g, SYS_epoll_pwait2, fd, k->ask.events, k->ask.room, time_left(&left, until), NULL);
	if (r == -ENOSYS)
		r = SYS_MAKES5(g, SYS_epoll_pwait, fd, k->ask.events, k->ask.room, ms_left(until), NULL);
	return r == 0 && until != k->deadline ? FDCALL_BLOCK : r;
}

/* Held meanwhile: called back by a signal that is not for it, it asks the same one again (FD-1). What it takes (EPOLLONESHOT, EPOLLET) nobody else would see: a cancellation
 * that comes with it waits. */
static long epoll_in_kernel(struct g *g, const struct epoll_kernel *k) {
	struct fdcall c;
	if (!fdcall_begin(&c, g, k->ask.fd)) {
		long r = BRACKET_AS(syscall_enter_idling, g, CANCEL_MAKES, false, ask_kernel(g, c.fd, k));
		return r != FDCALL_BLOCK ? r : epoll_unheld(g, k->ask, k->deadline, false);
	}
	netpoll_disarm(c.pd); /* it has parked before: what comes is not to wake the poller, too */
	long r = FDCALL_HELD(syscall_enter_idling, &c, CANCEL_MAKES, false, ask_kernel(g, c.fd, k));
	if (r == FDCALL_BLOCK && c.pd)
		return epoll_park(&c, k->ask.events, k->ask.room, k->deadline, false);
	fdcall_end(&c);
	return r;
}

void epoll_thread_gone(struct g *g) {
	if (thread_of(g)->loop)
		atomic_fetch_sub_explicit(&loops, 1, memory_order_relaxed);
}

/* Who forked may be one, and ends some day. */
void epoll_fork_child(void) {
	struct g *g = g_self();
	atomic_store_explicit(&loops, g->kind <= G_MAIN && thread_of(g)->loop, memory_order_relaxed);
}

/* ---- the calls ------------------------------------------------------------------------------------------------------ */

static long io_epoll_wait(struct g *g, int fd, struct epoll_event *events, int room, int64_t deadline,
			  const sigset_t *mask, bool fine) {
	struct epoll_ask a = {fd, events, room};
	if (address_bad_mask_given(mask))
		return -EFAULT;
	if (unlikely(netpoll_owns_fd(fd))) /* what it tells is for us */
		return -EBADF;
	long r = epoll_ask(&a);
	if (r == 0 && unlikely(sig_fd_due(g)))
		r = epoll_ask_lent(g, &a);
	if (r != 0 || deadline == 0) /* then the kernel puts the mask back without a look at what it let in */
		return r;
	struct epoll_kernel k = {a, deadline, fine, false};
	for (bool in_kernel = !mask && waits_alone(g);; in_kernel = !in_kernel) {
		r = in_kernel ? epoll_in_kernel(g, &k) : epoll_parked(g, &a, deadline, mask);
		if (r != FDCALL_BLOCK)
			return r;
		k.needed = true; /* our epoll refuses it, and it need not nap: so there is no mask */
	}
}

static void set_leaves(struct g *g, int fd) {
	struct fdcall c;
	if (!fdcall_begin(&c, g, fd))
		return;
	netpoll_disarm(c.pd);
	fdcall_end(&c);
}

static void all_sets_leave(struct g *g) {
	for (int fd = -1; (fd = fd_next_of_kinds(1u << KIND_ANON, fd)) >= 0;)
		set_leaves(g, fd);
}

/* A set that somebody parked on is in ours from then on. For the kernel that is one level more, and it allows 500 such sets to have one descriptor in common, any number of
 * the others. So one that is refused leaves ours, if nobody waits; where that is not enough, for what it is to watch is a set, all do. Who waits next is told whether it may
 * be there again. */
SHIM int epoll_ctl(int fd, int op, int of, struct epoll_event *event) {
	struct g *g = io_g();
	int before = errno;
	if (unlikely(g && (netpoll_owns_fd(fd) || netpoll_owns_fd(of))))
		return (int)sys_ret(-EBADF);
	int r = CALL_REAL(epoll_ctl, fd, op, of, event);
	for (int tries = 0; unlikely(r < 0) && g && op == EPOLL_CTL_ADD && (errno == EINVAL || errno == ELOOP) && fd != of && tries < 2; tries++) {
		int refused = errno;
		if (tries == 0)
			set_leaves(g, fd);
		else
			all_sets_leave(g);
		errno = refused;
		if ((r = CALL_REAL(epoll_ctl, fd, op, of, event)) == 0)
			errno = before;
	}
	return r;
}

static int64_t ms_deadline(int timeout) {
	return timeout < 0 ? -1 : timeout == 0 ? 0 : deadline_in(timeout * INT64_C(1000000));
}

SHIM int epoll_wait(int fd, struct epoll_event *events, int room, int timeout) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(epoll_wait, fd, events, room, timeout);
	shim_testcancel(g);
	return (int)io_ret(g, io_epoll_wait(g, fd, events, room, ms_deadline(timeout), NULL, false));
}

SHIM int epoll_pwait(int fd, struct epoll_event *events, int room, int timeout, const sigset_t *mask) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(epoll_pwait, fd, events, room, timeout, mask);
	shim_testcancel(g);
	return (int)io_ret(g, io_epoll_wait(g, fd, events, room, ms_deadline(timeout), mask, false));
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
	return (int)io_ret(g, io_epoll_wait(g, fd, events, room, !timeout ? -1 : now ? 0 : deadline_rel(timeout), mask, timeout != NULL));
}
