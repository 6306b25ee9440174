/* Netpoll, with kernel threads as waiters and the test itself as the poller. */
#include "core_test.h"
#include <fcntl.h>
#include <sys/socket.h>

#include "netpoll.h"
#include "netpoll_backend.h"

static int pipe_r, pipe_w;

static void pipe_new(void) {
	int fds[2];
	must(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
	pipe_r = fds[0];
	pipe_w = fds[1];
}

static void init(void) {
	cr_assert(netpoll_init() == 0);
	pipe_new();
}

TestSuite(netpoll, .init = init);

static void send_byte(void) {
	must(write(pipe_w, "x", 1) == 1);
}

static void drain(int fd) {
	char buffer[4096];
	while (read(fd, buffer, sizeof buffer) > 0)
		;
}

/* Polls once, readies whom it found; returns how many. */
static int poll_once(int64_t timeout) {
	struct g *list = netpoll_poll(timeout);
	int n = 0;
	for (struct g *g = list; g; g = g->schedlink)
		n++;
	if (list)
		ready_list(list);
	return n;
}

/* ---- waiters on kernel threads ---- */

struct waiter {
	pthread_t thread;
	struct pd *pd;
	uint8_t mode;
	int64_t deadline;
	bool interruptible;
	struct g *_Atomic g;
	_Atomic int result; /* 1 while it waits */
};

static void *wait_once(void *arg) {
	struct waiter *w = arg;
	atomic_store(&w->g, g_self());
	pd_hold(w->pd);
	int r = netpoll_wait(w->pd, w->mode, w->deadline, w->interruptible);
	pd_drop(w->pd);
	atomic_store(&w->result, r);
	return NULL;
}

static void waiter_start(struct waiter *w, struct pd *pd, uint8_t mode) {
	uint32_t before = pd->waiting;
	w->pd = pd;
	w->mode = mode;
	if (!w->deadline)
		w->deadline = -1;
	atomic_store(&w->result, 1);
	w->thread = thread_start(wait_once, w);
	until(pd->waiting == before + 1);
}

static int waiter_result(struct waiter *w) {
	until(atomic_load(&w->result) != 1);
	thread_join(w->thread);
	return w->result;
}

/* ---- readiness ---- */

Test(netpoll, new_is_ready) {
	struct pd *pd = pd_new(pipe_r);
	cr_assert(pd && pd->fd == pipe_r && pd->ready == (PD_READ | PD_WRITE) && !pd->armed);
	cr_expect(netpoll_wait(pd, PD_READ, -1, false) == 0, "try first");
	cr_expect(!pd->armed, "ready: nothing was registered");
	pd_clear(pd, PD_READ);
	cr_expect(pd->ready == PD_WRITE);
	cr_expect(netpoll_wait(pd, PD_READ, nanotime() + MS, false) == -ETIMEDOUT);
	cr_expect(pd->armed == PD_READ && pd->waiting == 0 && !netpoll_has_waiters());
	pd_set(pd, PD_READ);
	cr_expect(netpoll_wait(pd, PD_READ, -1, false) == 0);
}

Test(netpoll, event_wakes) {
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	struct waiter w = {0};
	waiter_start(&w, pd, PD_READ);
	cr_expect(netpoll_has_waiters());
	cr_expect(poll_once(0) == 0 && w.result == 1);
	send_byte();
	cr_expect(poll_once(LONG_NS) == 1);
	cr_expect(waiter_result(&w) == 0);
	cr_expect(pd->ready & PD_READ && !netpoll_has_waiters());
}

/* An edge that comes before the wait: either the registration reports it or the bit is there. */
Test(netpoll, event_before_the_wait) {
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	send_byte();
	struct waiter w = {0};
	waiter_start(&w, pd, PD_READ); /* registers now: edge-triggered epoll reports what is there */
	cr_expect(poll_once(LONG_NS) == 1);
	cr_expect(waiter_result(&w) == 0);
	drain(pipe_r);
	pd_clear(pd, PD_READ);
	send_byte();
	cr_expect(poll_once(LONG_NS) == 0, "nobody waits");
	cr_expect(pd->ready & PD_READ, "but it is remembered");
	cr_expect(netpoll_wait(pd, PD_READ, -1, false) == 0);
}

Test(netpoll, directions_are_separate) {
	int s[2];
	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
	struct pd *pd = pd_new(s[0]);
	char block[4096] = {0};
	while (write(s[0], block, sizeof block) > 0)
		;
	pd_clear(pd, PD_READ | PD_WRITE);
	struct waiter r = {0}, w = {0};
	waiter_start(&r, pd, PD_READ);
	waiter_start(&w, pd, PD_WRITE);
	cr_expect(pd->armed == (PD_READ | PD_WRITE));
	cr_expect(poll_once(0) == 0);
	drain(s[1]);
	until(poll_once(0) == 1);
	cr_expect(waiter_result(&w) == 0 && r.result == 1);
	cr_assert(write(s[1], "x", 1) == 1);
	until(poll_once(0) == 1);
	cr_expect(waiter_result(&r) == 0);
}

Test(netpoll, hang_up_is_sticky_and_wakes_both) {
	int s[2];
	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
	struct pd *pd = pd_new(s[0]);
	pd_clear(pd, PD_READ | PD_WRITE);
	struct waiter r = {0}, w = {0};
	waiter_start(&r, pd, PD_READ);
	waiter_start(&w, pd, PD_WRITE);
	until(poll_once(0) == 1); /* writable from the start */
	cr_expect(waiter_result(&w) == 0 && r.result == 1);
	pd_clear(pd, PD_WRITE);
	waiter_start(&w, pd, PD_WRITE);
	close(s[1]);
	until(r.result != 1 && w.result != 1 ? true : (poll_once(0), false));
	cr_expect(waiter_result(&r) == 0 && waiter_result(&w) == 0);
	cr_expect(pd->ready == (PD_READ | PD_WRITE | PD_HUP));
	pd_clear(pd, PD_READ);
	cr_expect(pd->ready & PD_HUP);
	cr_expect(poll_once(0) == 0, "POL-5: no event storm");
}

Test(netpoll, timeouts_and_interrupts) {
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	cr_expect(netpoll_wait(pd, PD_READ, 0, false) == -ETIMEDOUT);
	cr_expect(netpoll_wait(pd, PD_READ, nanotime() + 5 * MS, true) == -ETIMEDOUT);
	g_interrupt(g_self());
	cr_expect(netpoll_wait(pd, PD_READ, nanotime() + MS, false) == -ETIMEDOUT);
	cr_expect(netpoll_wait(pd, PD_READ, -1, true) == -EINTR);
	g_interrupt_clear(g_self());
	struct waiter w = {.interruptible = true};
	waiter_start(&w, pd, PD_READ);
	g_interrupt(w.g);
	cr_expect(waiter_result(&w) == -EINTR);
	cr_expect(pd->waiting == 0 && !netpoll_has_waiters() && pd->waiters.next == &pd->waiters);
}

Test(netpoll, not_pollable) {
	char name[] = "/tmp/goshim-test-XXXXXX";
	int fd = mkstemp(name);
	unlink(name);
	struct pd *pd = pd_new(fd);
	pd_clear(pd, PD_READ);
	cr_expect(netpoll_wait(pd, PD_READ, -1, false) == -EPERM && pd->unpollable);
	cr_expect(netpoll_wait(pd, PD_READ, -1, false) == -EPERM && pd->waiting == 0);
	struct pd *closed = pd_new(777);
	pd_clear(closed, PD_READ);
	cr_expect(netpoll_wait(closed, PD_READ, -1, false) == -EBADF && !closed->unpollable);
	cr_expect(g_self()->in_rt == 0);
}

/* ---- several waiters (POL-2) ---- */

Test(netpoll, one_per_event_and_pass) {
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	struct waiter w[4] = {0};
	for (int i = 0; i < 4; i++)
		waiter_start(&w[i], pd, PD_READ);
	send_byte();
	cr_expect(poll_once(LONG_NS) == 1);
	cr_expect(waiter_result(&w[0]) == 0, "the oldest");
	cr_expect(pd->waiting == 3);
	pd_pass(pd, PD_READ); /* it found more than it took */
	cr_expect(waiter_result(&w[1]) == 0);
	cr_expect(pd->waiting == 2 && pd->ready & PD_READ);
	pd_clear(pd, PD_READ);
	pd_pass(pd, PD_WRITE);
	cr_expect(pd->waiting == 2, "not theirs");
	drain(pipe_r);
	send_byte();
	cr_expect(poll_once(LONG_NS) == 1);
	cr_expect(waiter_result(&w[2]) == 0);
	close(pipe_w);
	cr_expect(poll_once(LONG_NS) == 1);
	cr_expect(waiter_result(&w[3]) == 0);
	pd_pass(pd, PD_READ); /* nobody: remembered */
	cr_expect(netpoll_wait(pd, PD_READ, -1, false) == 0);
}

struct poller {
	pthread_t thread;
	struct pd *pd[3];
	int pds;
	_Atomic bool linked;
	_Atomic int result;
};

/* As poll(): waits for several at once. */
static void *poll_many(void *arg) {
	struct poller *p = arg;
	struct g *g = g_self();
	struct pdwait w[3];
	wait_begin(g, true, "poll", 0);
	for (int i = 0; i < p->pds; i++)
		must(netpoll_link(p->pd[i], &w[i], g, PD_READ) == 0);
	for (int i = 0; i < p->pds; i++) {
		if (p->pd[i]->ready & PD_READ)
			wait_claim_self(g, WAKE_READY);
	}
	atomic_store(&p->linked, true);
	int r = wait_park(g, -1);
	for (int i = 0; i < p->pds; i++) {
		netpoll_unlink(&w[i]);
		must(!w[i].linked);
	}
	must(g->in_rt == 0);
	atomic_store(&p->result, r);
	return NULL;
}

static void poller_start(struct poller *p) {
	p->result = 1;
	p->thread = thread_start(poll_many, p);
	until(p->linked);
}

static int poller_result(struct poller *p) {
	until(p->result != 1);
	thread_join(p->thread);
	return p->result;
}

Test(netpoll, shared_waiters_are_all_woken) {
	struct pd *a = pd_new(pipe_r);
	int first_w = pipe_w;
	pipe_new();
	struct pd *b = pd_new(pipe_r);
	pd_clear(a, PD_READ);
	pd_clear(b, PD_READ);
	struct poller p[3] = {{.pd = {a}, .pds = 1}, {.pd = {a, b}, .pds = 2}, {.pd = {b, a, b}, .pds = 3}};
	struct waiter w[2] = {0};
	waiter_start(&w[0], a, PD_READ);
	for (int i = 0; i < 3; i++)
		poller_start(&p[i]);
	waiter_start(&w[1], a, PD_READ);
	cr_expect(a->waiting == 5 && b->waiting == 3);
	cr_assert(write(first_w, "x", 1) == 1);
	cr_expect(poll_once(LONG_NS) == 4); /* three pollers and one reader */
	for (int i = 0; i < 3; i++)
		cr_expect(poller_result(&p[i]) == 0);
	cr_expect(waiter_result(&w[0]) == 0 && w[1].result == 1);
	cr_expect(a->waiting == 1 && b->waiting == 0, "who was woken left everywhere");
	pd_pass(a, PD_READ);
	cr_expect(waiter_result(&w[1]) == 0);
	cr_expect(!netpoll_has_waiters());
}

/* Two of its descriptors become ready in one poll: it is claimed once. */
Test(netpoll, poller_is_woken_once) {
	struct pd *a = pd_new(pipe_r);
	int first_w = pipe_w;
	pipe_new();
	struct pd *b = pd_new(pipe_r);
	pd_clear(a, PD_READ);
	pd_clear(b, PD_READ);
	struct poller p = {.pd = {a, b}, .pds = 2};
	poller_start(&p);
	cr_assert(write(first_w, "x", 1) == 1);
	send_byte();
	cr_expect(poll_once(LONG_NS) == 1);
	cr_expect(poller_result(&p) == 0);
	cr_expect(a->ready & b->ready & PD_READ);
}

Test(netpoll, link_fails_cleanly) {
	struct pd *pd = pd_new(777);
	struct pdwait w;
	struct g *g = g_self();
	wait_begin(g, false, "poll", 0);
	cr_expect(netpoll_link(pd, &w, g, PD_READ) == -EBADF && !w.linked);
	wait_claim_self(g, WAKE_READY);
	cr_expect(wait_park(g, -1) == 0);
}

/* As many waiters as a big server has threads in accept(): the count must not wrap. */
Test(netpoll, waiters_beyond_16_bits) {
	enum { MANY = 65536 };
	static struct pdwait w[MANY];
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	struct g *g = g_self();
	wait_begin(g, false, "poll", 0);
	for (int i = 0; i < MANY; i++)
		cr_assert(netpoll_link(pd, &w[i], g, PD_READ) == 0);
	send_byte();
	struct g *list = netpoll_poll(LONG_NS);
	cr_expect(list == g, "the event found nobody");
	if (!list)
		wait_claim_self(g, WAKE_READY);
	else
		ready(list);
	cr_expect(wait_park(g, -1) == 0);
	for (int i = 0; i < MANY; i++)
		netpoll_unlink(&w[i]);
	cr_expect(pd->waiting == 0 && !netpoll_has_waiters());
}

/* ---- close, reuse, ghosts (FD-1, FD-3, FD-4) ---- */

Test(netpoll, stale_event_after_close) {
	struct pd *pd = pd_new(pipe_r);
	uint32_t gen = pd->gen;
	pd_clear(pd, PD_READ);
	cr_expect(netpoll_wait(pd, PD_READ, 0, false) == -ETIMEDOUT); /* registered */
	int other = dup(pipe_r); /* the description lives on, and with it the registration: nobody told us */
	send_byte();
	close(pipe_r);
	pd_close(pd); /* too late to take the registration back: its event is still to come */
	struct pd *next = pd_new(other);
	cr_assert(next == pd && next->gen != gen, "memory is used again, with another generation");
	pd_clear(next, PD_READ | PD_WRITE);
	cr_expect(poll_once(0) == 0);
	cr_expect(next->ready == 0, "a stale event reached a new descriptor");
	struct waiter w = {0};
	waiter_start(&w, next, PD_READ);
	cr_expect(poll_once(LONG_NS) == 1);
	cr_expect(waiter_result(&w) == 0);
}

Test(netpoll, close_with_shared_description_unregisters) {
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	pd->shared_desc = 1;
	cr_expect(netpoll_wait(pd, PD_READ, 0, false) == -ETIMEDOUT);
	dup(pipe_r);
	pd_close(pd);
	send_byte();
	struct backend_event events[BACKEND_EVENTS];
	cr_expect(backend_wait(events, 0) == 0, "FD-4");
}

/* A kernel thread blocked in read() keeps the description: so does a waiter. */
Test(netpoll, ghost_keeps_the_description) {
	int keep = pipe_w;
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	struct waiter w = {0};
	waiter_start(&w, pd, PD_READ);
	pd_hold(pd); /* the operation that the waiter is part of */
	pd_close(pd);
	close(pipe_r);
	cr_assert(pd_is_ghost(pd) && pd->fd != pipe_r && pd->fd >= 0);
	cr_expect(w.result == 1, "close() does not wake");
	cr_assert(write(keep, "x", 1) == 1, "no SIGPIPE: there is a reader");
	cr_expect(poll_once(LONG_NS) == 1);
	cr_expect(waiter_result(&w) == 0);
	char c;
	int ghost = pd->fd;
	cr_expect(read(ghost, &c, 1) == 1);
	pd_drop(pd);
	cr_expect(fcntl(ghost, F_GETFD) == -1 && errno == EBADF, "the last one closes it");
	cr_expect(pd->refs == 0);
	cr_expect(pd_new(keep) == pd, "and gives the memory back");
}

Test(netpoll, ghost_of_a_holder_that_does_not_wait) {
	struct pd *pd = pd_new(pipe_r);
	uint32_t gen = pd->gen;
	pd_hold(pd);
	pd_close(pd);
	cr_expect(pd_is_ghost(pd) && pd->gen == gen);
	pd_drop(pd);
	cr_expect(!pd_is_ghost(pd) && pd->gen != gen && pd->fd == -1);
}

static void ghost_without_descriptors(void) {
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	struct waiter w[2] = {0};
	waiter_start(&w[0], pd, PD_READ);
	waiter_start(&w[1], pd, PD_READ);
	struct rlimit rl = {3, 3};
	must(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	pd_close(pd);
	must(waiter_result(&w[0]) == 0 && waiter_result(&w[1]) == 0);
	must(pd->fd == -1 && pd->refs == 0 && !netpoll_has_waiters());
}

Test(netpoll, ghost_without_descriptors) {
	expect_child_ok(ghost_without_descriptors);
}

/* ---- the runtime's own descriptors ---- */

static int own_fds(int *fds, int max) {
	int n = 0;
	for (int fd = 0; fd < 4096; fd++) {
		if (netpoll_owns_fd(fd) && n++ < max)
			fds[n - 1] = fd;
	}
	return n;
}

static void expect_works(void) {
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	struct waiter w = {0};
	waiter_start(&w, pd, PD_READ);
	send_byte();
	cr_expect(poll_once(LONG_NS) == 1);
	cr_expect(waiter_result(&w) == 0);
	drain(pipe_r);
	netpoll_break();
	cr_expect(poll_once(LONG_NS) == 0);
	pd->shared_desc = 1;
	pd_close(pd);
}

Test(netpoll, own_descriptors_are_out_of_sight) {
	int fds[2];
	cr_assert(own_fds(fds, 2) == 2);
	cr_expect(fds[0] >= 1000 && fds[1] >= 1000);
	for (int i = 0; i < 2; i++)
		cr_expect(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
	cr_expect(!netpoll_owns_fd(-1) && !netpoll_owns_fd(0) && !netpoll_owns_fd(pipe_r));
}

Test(netpoll, evade) {
	int before[2], after[2];
	own_fds(before, 2);
	cr_expect(netpoll_evade(3, 900) == 0);
	cr_expect(own_fds(after, 2) == 2 && after[0] == before[0] && after[1] == before[1], "nothing in that range");
	for (int i = 0; i < 2; i++) { /* dup2() onto one of them */
		cr_expect(netpoll_evade((unsigned)before[i], (unsigned)before[i]) == 0);
		cr_expect(!netpoll_owns_fd(before[i]));
		close(before[i]);
		expect_works();
	}
	own_fds(before, 2);
	cr_expect(netpoll_evade(900, 3000) == 0);
	cr_expect(own_fds(after, 2) == 2);
	for (int i = 0; i < 2; i++) {
		cr_expect((after[i] < 900 || after[i] > 3000) && fcntl(after[i], F_GETFD) == FD_CLOEXEC);
		close(before[i]);
	}
	expect_works();
}

/* closefrom(): there is no number above. Then it says so; it must not claim to have left the range and stay in it. */
Test(netpoll, evade_from_everything) {
	int fds[2];
	int r = netpoll_evade(3, ~0u);
	cr_assert(own_fds(fds, 2) == 2);
	if (r == 0)
		cr_expect(fds[0] < 3 && fds[1] < 3, "evaded to %d and %d", fds[0], fds[1]);
	expect_works();
}

static void few_descriptors(void) {
	struct rlimit rl = {20, 20};
	must(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	must(netpoll_init() == 0);
	pipe_new();
	expect_works();
	rl.rlim_cur = rl.rlim_max = (rlim_t)pipe_w + 1; /* FD-12: none left at all */
	must(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	while (dup(0) >= 0)
		;
	must(netpoll_init() == -EMFILE);
	close(0);
	must(netpoll_init() == -EMFILE); /* one is not enough, and is given back */
	must(dup(1) == 0);
}

Test(netpoll, few_descriptors, .init = NULL) {
	expect_child_ok(few_descriptors);
}

/* ---- break ---- */

static _Atomic int blocked_polls, back;

static void *poll_for_ever(void *arg) {
	(void)arg;
	atomic_fetch_add(&blocked_polls, 1);
	must(netpoll_poll(-1) == NULL);
	atomic_fetch_add(&back, 1);
	return NULL;
}

Test(netpoll, break_ends_a_blocked_poll) {
	pthread_t t = thread_start(poll_for_ever, NULL);
	until(blocked_polls);
	netpoll_break();
	thread_join(t);
	netpoll_break();
	netpoll_break();
	cr_expect(poll_once(-1) == 0, "remembered until the next poll");
	int64_t start = nanotime();
	cr_expect(poll_once(20 * MS) == 0 && nanotime() - start >= 20 * MS, "two breaks are one");
}

/* Other Ms look at the network without blocking all the time: a break is not for them. Lost, it leaves timers and queued work to nobody. */
Test(netpoll, break_is_not_taken_by_others) {
	for (int round = 1; round <= 3000; round++) {
		pthread_t t = thread_start(poll_for_ever, NULL);
		until(blocked_polls == round);
		if (round % 2)
			sched_yield();
		netpoll_break();
		int64_t end = nanotime() + 2 * SECOND;
		while (back != round && nanotime() < end)
			poll_once(0);
		if (back != round) {
			netpoll_break();
			thread_join(t);
			cr_assert_fail("round %d: the blocked poll never came back", round);
		}
		thread_join(t);
	}
}

/* ---- kernels and filters that lack things (POL-8) ---- */

static void expect_timed_poll(void) {
	int64_t start = nanotime();
	must(poll_once(5 * MS + 1) == 0);
	must(nanotime() - start >= 5 * MS + 1);
	must(poll_once(0) == 0);
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	struct waiter w = {0};
	waiter_start(&w, pd, PD_READ);
	send_byte();
	must(poll_once(LONG_NS) == 1 && waiter_result(&w) == 0);
}

static void no_pwait2(void) {
	syscall_refuse(SYS_epoll_pwait2, -1, 0, ENOSYS);
	expect_timed_poll();
}

static void pwait2_forbidden(void) {
	syscall_refuse(SYS_epoll_pwait2, -1, 0, EPERM);
	expect_timed_poll();
}

static void no_eventfd(void) {
	syscall_refuse(SYS_eventfd2, -1, 0, EPERM);
	int fd = dup(0);
	close(fd);
	must(netpoll_init() == -EPERM);
	must(dup(0) == fd); /* the epoll descriptor was given back */
}

static void no_epoll(void) {
	syscall_refuse(SYS_epoll_create1, -1, 0, ENOSYS);
	must(netpoll_init() == -ENOSYS);
}

Test(netpoll, refused_system_calls) {
	expect_child_ok(no_pwait2);
	expect_child_ok(pwait2_forbidden);
	expect_child_ok(no_eventfd);
	expect_child_ok(no_epoll);
}

static void no_memory(void) {
	memory_refuse();
	int n = 0;
	while (pd_new(0) && n < 100000)
		n++;
	must(n < 100000 && !pd_new(0));
}

Test(netpoll, no_memory) {
	expect_child_ok(no_memory);
}

static void no_registration(void) {
	syscall_refuse(SYS_epoll_ctl, -1, 0, ENOSPC);
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	must(netpoll_wait(pd, PD_READ, -1, false) == -ENOSPC);
	must(!pd->armed && !pd->unpollable && g_self()->in_rt == 0 && !netpoll_has_waiters());
}

Test(netpoll, no_registration) {
	expect_child_ok(no_registration);
}

/* ---- fork ---- */

static void fork_child(void) {
	int fds[2];
	netpoll_fork_child();
	must(own_fds(fds, 2) == 0 && !netpoll_has_waiters());
	must(netpoll_init() == 0);
	pipe_new();
	expect_timed_poll();
}

Test(netpoll, fork) {
	struct pd *pd = pd_new(pipe_r);
	pd_clear(pd, PD_READ);
	struct waiter w = {0};
	waiter_start(&w, pd, PD_READ);
	expect_child_ok(fork_child);
	send_byte();
	cr_expect(poll_once(LONG_NS) == 1 && waiter_result(&w) == 0, "the parent's registrations are untouched");
}

/* ---- stress: the protocol as the shims use it ---- */

#define PIPES 4
#define READERS 2
#define BYTES 40000

static struct pd *stress_pd[PIPES];
static _Atomic int received[PIPES];
static _Atomic bool stress_done;

static void *poll_loop(void *arg) {
	while (!atomic_load(&stress_done))
		poll_once(arg ? MS : 0);
	return NULL;
}

/* read(): clear, try, wait; pass on what is left. */
static int pd_read(struct pd *pd, char *buffer, size_t size, uint32_t *seed) {
	for (;;) {
		pd_clear(pd, PD_READ);
		ssize_t r = read(pd->fd, buffer, size);
		if (r == (ssize_t)size)
			pd_pass(pd, PD_READ);
		if (r >= 0)
			return (int)r;
		must(errno == EAGAIN);
		int64_t deadline = noise(seed) % 2 ? -1 : nanotime() + noise(seed) % 100000;
		int e = netpoll_wait(pd, PD_READ, deadline, false);
		must(e == 0 || e == -ETIMEDOUT);
	}
}

static void *stress_reader(void *arg) {
	int i = (int)(uintptr_t)arg % PIPES;
	uint32_t seed = (uint32_t)(uintptr_t)arg + 1;
	char buffer[64];
	for (;;) {
		int n = pd_read(stress_pd[i], buffer, 1 + noise(&seed) % sizeof buffer, &seed);
		if (n == 0) {
			pd_pass(stress_pd[i], PD_READ); /* the end is for all readers */
			return NULL;
		}
		atomic_fetch_add(&received[i], n);
	}
}

static int stress_w[PIPES];

static void *stress_writer(void *arg) {
	int i = (int)(uintptr_t)arg;
	uint32_t seed = (uint32_t)i + 77;
	char buffer[100] = {0};
	for (int left = BYTES; left;) {
		int n = 1 + (int)(noise(&seed) % sizeof buffer);
		if (n > left)
			n = left;
		ssize_t r = write(stress_w[i], buffer, (size_t)n);
		if (r > 0)
			left -= (int)r;
		if (r < 0 || noise(&seed) % 4 == 0)
			sched_yield();
	}
	close(stress_w[i]);
	return NULL;
}

Test(netpoll, readers_and_writers) {
	pthread_t t[PIPES * (READERS + 1)], pollers[2];
	int n = 0;
	for (int i = 0; i < PIPES; i++) {
		pipe_new();
		stress_pd[i] = pd_new(pipe_r);
		stress_w[i] = pipe_w;
	}
	for (int i = 0; i < 2; i++)
		pollers[i] = thread_start(poll_loop, (void *)(uintptr_t)i);
	for (int i = 0; i < PIPES; i++) {
		for (int k = 0; k < READERS; k++)
			t[n++] = thread_start(stress_reader, (void *)(uintptr_t)(i + PIPES * k));
		t[n++] = thread_start(stress_writer, (void *)(uintptr_t)i);
	}
	for (int i = 0; i < n; i++)
		thread_join(t[i]);
	atomic_store(&stress_done, true);
	for (int i = 0; i < 2; i++)
		thread_join(pollers[i]);
	for (int i = 0; i < PIPES; i++)
		cr_expect(received[i] == BYTES && stress_pd[i]->waiting == 0, "pipe %d: %d", i, received[i]);
	cr_expect(!netpoll_has_waiters());
}

/* POL-1, arm versus ready: readiness comes at any moment between the check and the sleep. No timeout, no second event to save it. */
static struct pd *arm_pd;
static _Atomic int posted, seen;

static void *arm_waiter(void *arg) {
	for (int i = 1; i <= 60000; i++) {
		for (;;) {
			pd_clear(arm_pd, PD_READ);
			if (posted >= i)
				break;
			must(netpoll_wait(arm_pd, PD_READ, -1, false) == 0);
		}
		atomic_store(&seen, i);
	}
	return arg;
}

Test(netpoll, arm_versus_ready) {
	uint32_t seed = 6;
	arm_pd = pd_new(pipe_r);
	pthread_t t = thread_start(arm_waiter, NULL);
	for (int i = 1; i <= 60000; i++) {
		for (uint32_t n = noise(&seed) % 200; n; n--)
			arch_relax();
		atomic_store(&posted, i);
		pd_pass(arm_pd, PD_READ);
		until(seen == i);
	}
	thread_join(t);
}

/* FD-3: descriptors closed and made again while others wait for them; numbers and pds are reused at once. The waiter must get exactly
 * the byte that was sent over its own pipe. */
static struct pd *_Atomic churn_pd;
static _Atomic int churn_round, churn_done;
static _Atomic bool churn_early; /* closed while the reader waits; it must not look at pd->fd just then */

static void *churn_reader(void *arg) {
	uint32_t seed = 3;
	for (int i = 1; i <= 6000; i++) {
		until(churn_round == i);
		struct pd *pd = churn_pd;
		pd_hold(pd);
		char c = 0;
		for (;;) {
			pd_clear(pd, PD_READ);
			if (read(pd->fd, &c, 1) == 1)
				break;
			must(errno == EAGAIN);
			netpoll_wait(pd, PD_READ, churn_early || noise(&seed) % 2 ? -1 : nanotime() + noise(&seed) % 50000, false);
		}
		must(c == (char)i);
		pd_drop(pd);
		atomic_store(&churn_done, i);
	}
	return arg;
}

Test(netpoll, close_and_reuse_stress) {
	pthread_t t = thread_start(churn_reader, NULL), poller = thread_start(poll_loop, NULL);
	uint32_t seed = 4;
	for (int i = 1; i <= 6000; i++) {
		pipe_new();
		struct pd *pd = pd_new(pipe_r);
		bool early = noise(&seed) % 2;
		churn_pd = pd;
		churn_early = early;
		churn_round = i;
		char c = (char)i;
		if (early)
			until(pd->waiting == 1);
		else
			cr_assert(write(pipe_w, &c, 1) == 1);
		if (!early)
			until(churn_done == i);
		pd_close(pd); /* early: under a reader, which then waits on the ghost */
		close(pipe_r);
		if (early)
			cr_assert(write(pipe_w, &c, 1) == 1);
		until(churn_done == i);
		close(pipe_w);
	}
	thread_join(t);
	atomic_store(&stress_done, true);
	thread_join(poller);
	cr_expect(!netpoll_has_waiters());
	cr_expect(dup(0) < 20, "descriptors leaked");
}
