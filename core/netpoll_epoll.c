/* Netpoll over epoll. Owns two descriptors: the epoll and an eventfd that ends a blocking wait. Both are CLOEXEC and sit well above
 * the numbers programs get, because "lowest free descriptor" is observable. */
#include <limits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>

#include "arch.h"
#include "chaos.h"
#include "netpoll.h"
#include "netpoll_backend.h"
#include "race.h"

#define OWN_FD_BASE 1000u
/* of a thread that set none of its own; the share of a longest wait */
#define SLACK_MIN_NS 50000
#define SLACK_MAX_NS 100000000
#define BREAK_DATA 0ull /* no pd has this tag */

/* Relaxed: they are numbers, and what they name is the kernel's. backend_evade() changes them while others use them; who finds that the old one is closed reads again. */
static _Atomic int epfd = -1, evfd = -1;
#define EPOLL_RACE ((char *)&epfd + 1) /* race.h's key: that of no atomic */
static _Atomic bool breaking;
static bool no_pwait2;

/* Moves a new descriptor to a number outside the program's sight and outside [first, last]. */
static int fd_hide(int fd, unsigned first, unsigned last) {
	struct rlimit rl;
	unsigned limit = 1024;
	if (SYS4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &rl) == 0 && rl.rlim_cur < 1u << 20)
		limit = rl.rlim_cur;
	else
		limit = 1u << 20;
	unsigned base = limit > OWN_FD_BASE + 8 ? OWN_FD_BASE : limit > 16 ? limit - 8 : 3;
	if (base >= first && base <= last)
		base = last < limit - 8 ? last + 1 : 3;
	long r = MAY_FAIL(-EMFILE, SYS3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, base));
	if (r < 0)
		return fd; /* no room up there: keep the number we have */
	SYS1(SYS_close, fd);
	return (int)r;
}

static int number(_Atomic int *of) {
	return atomic_load_explicit(of, memory_order_relaxed);
}

static void number_set(_Atomic int *of, int fd) {
	atomic_store_explicit(of, fd, memory_order_relaxed);
}

int backend_init(void) {
	long r = MAY_FAIL(-EMFILE, SYS1(SYS_epoll_create1, EPOLL_CLOEXEC));
	if (r < 0)
		return (int)r;
	int ep = fd_hide((int)r, 1, 0);
	r = MAY_FAIL(-EMFILE, SYS2(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (r < 0) {
		SYS1(SYS_close, ep);
		return (int)r;
	}
	int ev = fd_hide((int)r, 1, 0);
	/* Level-triggered: a poll that does not wait sees it, too, and must leave it to the one it was meant for. */
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = BREAK_DATA};
	r = MAY_FAIL(-ENOMEM, SYS4(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, ev, &e));
	if (r < 0) {
		SYS1(SYS_close, ep);
		SYS1(SYS_close, ev);
		return (int)r;
	}
	number_set(&epfd, ep);
	number_set(&evfd, ev);
	return 0;
}

int backend_arm(int fd, uint8_t modes, uint64_t data, int add) {
	struct epoll_event e = {.events = EPOLLET | EPOLLRDHUP, .data.u64 = data};
	if (modes & PD_READ)
		e.events |= EPOLLIN | EPOLLPRI;
	if (modes & PD_WRITE)
		e.events |= EPOLLOUT;
	RACE_BEFORE(EPOLL_RACE);
	int ep;
	long r;
	do {
		ep = number(&epfd);
		r = MAY_FAIL_UNSEEN(-ENOSPC, SYS4(SYS_epoll_ctl, ep, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e));
		if (add && r == -EEXIST) /* a registration the kernel kept: ours again */
			r = SYS4(SYS_epoll_ctl, ep, EPOLL_CTL_MOD, fd, &e);
		else if (!add && r == -ENOENT)
			r = SYS4(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, fd, &e);
	} while (r == -EBADF && ep != number(&epfd));
	return (int)r;
}

void backend_disarm(int fd) {
	struct epoll_event e;
	int ep;
	do
		ep = number(&epfd);
	while (SYS4(SYS_epoll_ctl, ep, EPOLL_CTL_DEL, fd, &e) == -EBADF && ep != number(&epfd));
}

static long epoll_sleep_exactly(struct epoll_event *ev, int64_t timeout_ns) {
	struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	return MAY_FAIL_UNSEEN(-EINTR, SYS6(SYS_epoll_pwait2, number(&epfd), ev, BACKEND_EVENTS, &ts, 0, 8));
}

/* How late the kernel may end a wait of this many ns, so that ends which are near each other take one interrupt. It nearly always is as late as that. */
static int64_t slack(int64_t timeout_ns) {
	int64_t share = timeout_ns / 1000;
	return share < SLACK_MIN_NS ? SLACK_MIN_NS : share < SLACK_MAX_NS ? share : SLACK_MAX_NS;
}

static long epoll_sleep(struct epoll_event *ev, int64_t timeout_ns) {
	if (timeout_ns > 0 && !no_pwait2) {
		/* Asked for earlier by as much as the kernel is late: nanosleep() has 50 us of slack natively, and to wake this thread and to find the
		 * goroutine come on top here. The thread's own slack stays as it is (PR_SET_TIMERSLACK): children would inherit it. */
		int64_t until = nanotime() + timeout_ns, early = slack(timeout_ns);
		long r = epoll_sleep_exactly(ev, timeout_ns > early ? timeout_ns - early : timeout_ns);
		int64_t left = r == 0 && timeout_ns > early ? until - nanotime() : 0;
		if (left > 0)
			r = epoll_sleep_exactly(ev, left);
		if (r != -ENOSYS && r != -EPERM)
			return r;
		no_pwait2 = true; /* old kernel or a seccomp filter (POL-8) */
	}
	int64_t ms = timeout_ns <= 0 ? timeout_ns : (timeout_ns + 999999) / 1000000;
	if (ms > 1 << 30)
		ms = 1 << 30;
	return MAY_FAIL_UNSEEN(-EINTR, SYS6(SYS_epoll_pwait, number(&epfd), ev, BACKEND_EVENTS, (int)ms, 0, 8));
}

int backend_wait(struct backend_event *events, int64_t timeout_ns) {
	struct epoll_event ev[BACKEND_EVENTS];
	long n = epoll_sleep(ev, timeout_ns);
	arch_tp_mend();
	RACE_AFTER(EPOLL_RACE);
	int out = 0;
	for (long i = 0; i < n; i++) {
		uint32_t e = ev[i].events;
		if (ev[i].data.u64 == BREAK_DATA) {
			uint64_t count;
			if (timeout_ns == 0)
				continue; /* not ours */
			/* seq_cst: the flag must be down before the scheduler looks for what the breaker published */
			SYS3(SYS_read, number(&evfd), &count, sizeof count);
			atomic_store(&breaking, false);
			continue;
		}
		uint8_t ready = 0;
		if (e & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR))
			ready |= PD_READ;
		if (e & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			ready |= PD_WRITE;
		if (e & (EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR))
			ready |= PD_HUP;
		events[out].data = ev[i].data.u64;
		events[out++].ready = ready;
	}
	return out;
}

bool backend_await(int64_t timeout_ns) {
	struct pollfd self = {.fd = number(&epfd), .events = POLLIN};
	struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	long n = SYS5(SYS_ppoll, &self, 1, &ts, 0, 8);
	arch_tp_mend();
	return n > 0;
}

void backend_break(void) {
	/* One write per wake-up is enough. */
	if (atomic_exchange(&breaking, true))
		return;
	uint64_t one = 1;
	int ev;
	do
		ev = number(&evfd);
	while (SYS3(SYS_write, ev, &one, sizeof one) == -EBADF && ev != number(&evfd));
}

int backend_spare(int first) {
	return (int)SYS3(SYS_fcntl, number(&evfd), F_DUPFD_CLOEXEC, first);
}

int backend_owns(int fd) {
	return fd >= 0 && (fd == number(&epfd) || fd == number(&evfd));
}

int backend_own_from(int from) {
	int ep = number(&epfd), ev = number(&evfd), found = INT_MAX;
	if (ep >= from)
		found = ep;
	return ev >= from && ev < found ? ev : found;
}

/* A dup of an epoll keeps its registrations; a dup of the eventfd needs none (the registration is tied to the open description,
 * which lives on), but its key is the old number, so register the new one, too. */
int backend_evade(unsigned first, unsigned last) {
	_Atomic int *own[] = {&epfd, &evfd};
	for (int i = 0; i < 2; i++) {
		int fd = number(own[i]);
		if (fd < 0 || (unsigned)fd < first || (unsigned)fd > last)
			continue;
		long r = MAY_FAIL(-EMFILE, SYS3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, last < 1u << 20 ? last + 1 : 0));
		if (r < 0)
			return (int)r;
		if ((unsigned)r >= first && (unsigned)r <= last) {
			SYS1(SYS_close, r);
			return -EMFILE;
		}
		if (own[i] == &evfd) {
			struct epoll_event e = {.events = EPOLLIN, .data.u64 = BREAK_DATA};
			SYS4(SYS_epoll_ctl, number(&epfd), EPOLL_CTL_ADD, r, &e);
		}
		number_set(own[i], (int)r);
	}
	return 0;
}

void backend_forget(void) {
	number_set(&epfd, -1);
	number_set(&evfd, -1);
}

void backend_fork_child(void) {
	if (number(&epfd) >= 0) {
		SYS1(SYS_close, number(&epfd));
		SYS1(SYS_close, number(&evfd));
	}
	backend_forget();
	atomic_store_explicit(&breaking, false, memory_order_relaxed);
}
