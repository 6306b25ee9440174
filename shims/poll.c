/* poll, ppoll, select, pselect, for goroutines.
 *
 * The kernel decides what is ready: each round is the real call with no timeout, on the program's own array. When it finds nothing, the
 * goroutine links itself to every descriptor, looks whether something became ready before a link was in place, parks until one of them has an
 * event or the time is over, unlinks, and asks again. So the results, POLLNVAL and POLLHUP included (POL-4), are the kernel's by construction.
 *
 * That look is a second question to the kernel in general. A small set in the caller's own frame, the usual one of a client that waits for its
 * answer, may be read before the kernel has found the memory to be there. It follows the consumer's protocol of netpoll.h and saves it: forget
 * what was known, ask, link, look at the bits. Who asks takes nothing away, though: when the kernel does find something, the bits are set again,
 * and other waiters told, because they may have looked while the bits were down. And an answer "nothing" must be one for the whole bit: who asks
 * for urgent data only learns nothing about the rest, and has to ask twice.
 *
 * A signal mask is the goroutine's for the time of the wait (sig_mask_push(), SIG-16): its signals end the wait, whenever they came. When a
 * descriptor cannot be waited for by epoll, or when there is no memory, the call is the kernel's, blocking and bracketed; or, where that would not do
 * (io_must_nap()), the question is asked every few milliseconds.
 *
 * malloc: only above POLL_INLINE descriptors, never inside the runtime, and freed before a handler of the program runs. */
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

#include "../core/pages.h"
#include "../core/runtime.h"
#include "../core/unwind.h"
#include "inspect.h"
#include "io.h"

#define POLL_INLINE 12
#define SET_WORDS(n) (((size_t)(n) + 63) / 64)
#define SET_INLINE SET_WORDS(FD_SETSIZE)

/* Who is waited for in one round. */
struct pollset {
	unsigned count, room;
	bool complete;   /* false: something in it cannot be waited for */
	bool covered;    /* the question covers all that its bits in pd->ready tell */
	uint32_t forgot; /* bit i: those of wait[i] were set, and were cleared */
	struct pdwait *wait;
	struct pdwait inline_wait[POLL_INLINE];
};

static void pollset_init(struct pollset *s, size_t room) {
	s->count = 0;
	s->room = POLL_INLINE;
	s->complete = s->covered = true;
	s->forgot = 0;
	s->wait = s->inline_wait;
	if (room <= POLL_INLINE)
		return;
	struct pdwait *heap = pages_map_spare(room * sizeof *heap); /* poll() is async-signal-safe: no malloc */
	if (heap) {
		s->wait = heap;
		s->room = (unsigned)room;
	}
}

/* Apart: what it needs is not to be made ready for those whose kind is known. */
static __attribute__((noinline)) enum fd_kind kind_asked(struct pd *pd) {
	struct fdcall c = {.g = g_self(), .pd = pd};
	return fdcall_kind(&c);
}

static void pollset_add(struct pollset *s, int fd, uint8_t mode) {
	struct pd *pd = s->count < s->room ? io_hold(g_self(), fd) : NULL;
	if (!pd) {
		s->complete = false;
		return;
	}
	/* Files that have news (/proc/mounts, attributes of sysfs, pressure) say so once, to who asks first: that must be the program. */
	enum fd_kind kind = pd_kind(pd);
	if (unlikely(kind == KIND_UNKNOWN))
		kind = kind_asked(pd);
	if (unlikely(kind == KIND_FILE || kind == KIND_TASK)) {
		s->complete = false;
		pd_drop(pd);
		return;
	}
	if (unlikely(fd_users_noted))
		fd_user_note(pd, g_self()->id);
	s->wait[s->count++] = (struct pdwait){.pd = pd, .mode = mode};
}

/* Before a question after whose "nothing" the bits are looked at. */
static void pollset_forget(struct pollset *s) {
	for (unsigned i = 0; i < s->count; i++) {
		struct pd *pd = s->wait[i].pd;
		if (atomic_load_explicit(&pd->ready, memory_order_relaxed) & s->wait[i].mode) {
			pd_clear(pd, s->wait[i].mode);
			s->forgot |= 1u << i;
		}
	}
}

/* It was answered in another way. */
static void pollset_remember(struct pollset *s) {
	for (unsigned i = 0; s->forgot; i++, s->forgot >>= 1) {
		if (s->forgot & 1)
			pd_pass(s->wait[i].pd, s->wait[i].mode);
	}
}

static bool pollset_ready(struct pollset *s) {
	for (unsigned i = 0; i < s->count; i++) {
		/* seq_cst: after the link, the other half of the Dekker pair with the poller */
		if (atomic_load(&s->wait[i].pd->ready) & s->wait[i].mode)
			return true;
	}
	return false;
}

/* A number of it was closed, and its description is waited for all the same. */
static bool pollset_has_ghost(struct pollset *s) {
	for (unsigned i = 0; i < s->count; i++) {
		if (pd_is_ghost(s->wait[i].pd))
			return true;
	}
	return false;
}

static void pollset_free(struct pollset *s) {
	for (unsigned i = 0; i < s->count; i++)
		pd_drop(s->wait[i].pd);
	if (s->wait != s->inline_wait)
		pages_unmap(s->wait, s->room * sizeof *s->wait);
}

int poll_waited(uintptr_t set, unsigned i, unsigned *count) {
	struct pollset s;
	struct pdwait w;
	int fd;
	if (!peek(&s, set, sizeof s) || i >= s.count || !peek(&w, (uintptr_t)&s.wait[i], sizeof w) || !peek(&fd, (uintptr_t)&w.pd->fd, sizeof fd))
		return -1;
	*count = s.count;
	return fd;
}

/* Parks until something in s has an event, unless ask(arg) finds something after linking: then *found. ask NULL: the bits tell. 0: ask again;
 * -ETIMEDOUT, -EINTR as wait_park(); FDCALL_BLOCK, unless `naps` or a number of it was closed. */
static int pollset_park(struct pollset *s, struct g *g, int64_t deadline, bool naps, long (*ask)(void *), void *arg,
			long *found) {
	int linked = s->complete ? 0 : -ENOMEM;
	int64_t until = deadline;
	unsigned i;
	*found = 0;
	rt_enter(g); /* until nothing of it is linked: a handler on top could wait itself, and be woken for us */
	wait_begin(g, true, "poll", (uintptr_t)s);
	for (i = 0; i < s->count && linked == 0; i++)
		linked = netpoll_link(s->wait[i].pd, &s->wait[i], g, s->wait[i].mode);
	naps = linked < 0 && (naps || pollset_has_ghost(s)); /* by a number that was closed the kernel cannot be asked to wait */
	if (naps)
		until = netpoll_nap_until(deadline); /* the kernel has just been asked */
	/* Non-blocking, and the program's signals wait until we are out of the runtime. */
	else if (linked < 0 || (ask ? (*found = ask(arg)) != 0 : pollset_ready(s)))
		wait_claim_self(g, WAKE_READY);
	int r = wait_park(g, until);
	while (i-- > 0)
		netpoll_unlink(&s->wait[i]);
	if ((linked < 0 && !naps) || *found != 0)
		wait_unneeded(g);
	rt_exit(g);
	if (!naps)
		return linked < 0 ? FDCALL_BLOCK : r;
	for (i = 0; i < s->count; i++)
		pd_set(s->wait[i].pd, s->wait[i].mode & (PD_READ | PD_WRITE)); /* nobody else would */
	return r == -ETIMEDOUT && until != deadline ? 0 : r;
}

/* What poll and select have in common. `ask`: the real call without waiting. `fill`: puts the descriptors into a set. */
struct pollcall {
	struct g *g;
	int64_t deadline;
	int64_t woken;     /* when a handler ended the wait, before it ran; 0: none did */
	uint32_t handlers; /* that had run when it began */
	bool masked;       /* a pending signal counts even when there is no time to wait */
	bool own;          /* the program's array is on the caller's stack: it can be read */
	long (*ask)(void *call);
	void (*fill)(void *call, struct pollset *s);
	size_t (*count)(void *call);
	bool (*idle)(struct pollset *s); /* may be NULL: nothing of s can be ready, without asking */
	long (*ask_held)(void *call);    /* has what is waited for, whatever its numbers mean by now, something that ends the wait? */
	struct pollset *held;            /* for ask_held */
};

/* A question without waiting fails with EINTR when any signal is on its way to this kernel thread. It is ours only if a handler ran on this
 * goroutine; with a mask pushed that comes out of the wait. */
static long pollcall_ask(void *arg) {
	struct pollcall *call = arg;
	long found;
	do
		found = call->ask(call);
	while (found == -EINTR && sig_handlers_run(call->g) == call->handlers);
	return found == 0 && unlikely(sig_fd_due(call->g)) ? io_ask_lent(call->g, call->ask, call) : found;
}

static bool pollcall_held_has(struct pollcall *call, unsigned i, short events) {
	struct fdcall c = {.g = call->g, .pd = call->held->wait[i].pd};
	return fdcall_poll_now(&c, events) != 0 || c.fd < 0;
}

/* Enters the runtime, as fdcall_begin() does: no handler that may jump away while something is held. */
static void pollcall_hold(struct pollcall *call, struct pollset *s) {
	rt_enter(call->g);
	pollset_init(s, call->count(call));
	call->fill(call, s);
}

static void pollcall_drop(struct pollcall *call, struct pollset *s) {
	pollset_free(s);
	rt_exit(call->g);
}

/* A wait of s, after the kernel found nothing. Leaves the runtime. Non-zero: the call's result, or FDCALL_BLOCK. */
static long pollcall_wait(struct pollcall *call, struct pollset *s, bool ask) {
	long found = 0;
	bool naps = io_must_nap(call->g, call->masked);
	long (*look)(void *) = ask ? pollcall_ask : NULL;
	int r;
	call->held = s;
	for (;;) {
		r = pollset_park(s, call->g, call->deadline, naps, look, call, &found);
		bool stray = r == -EINTR && found == 0 && !naps && shim_stray(call->g); /* a kernel thread would not have noticed */
		if (found != 0 || naps || (r != 0 && !stray))
			break;
		/* Asked again while all is still held: what is closed after the wait has begun is waited for, as long as it lasts. To the kernel a number that was
		 * closed is a reason to end the wait only when something else ends it. */
		look = pollset_has_ghost(s) ? call->ask_held : pollcall_ask;
		if ((found = look(call)) != 0)
			break;
	}
	if (look == call->ask_held)
		found = 0;
	pollcall_drop(call, s);
	if (found != 0 || r == FDCALL_BLOCK)
		return found ? found : FDCALL_BLOCK;
	if (r != -EINTR)
		return r == -ETIMEDOUT ? r : 0;
	int64_t woken = nanotime();
	if (!io_interrupted(call->g, false))
		return 0;
	call->woken = woken;
	return -EINTR;
}

/* Is the call over, with what was found? */
static bool pollcall_over(struct pollcall *call, long *found) {
	if (*found != 0 || (!call->masked && call->deadline >= 0 && nanotime() >= call->deadline))
		return true;
	if (sig_handlers_run(call->g) == call->handlers)
		return false;
	*found = -EINTR; /* it ran between two of our steps: for the program it was in the middle of the wait */
	return true;
}

/* The result as the kernel's, or FDCALL_BLOCK. */
static long pollcall_run(struct pollcall *call) {
	call->handlers = sig_handlers_run(call->g);
	chaos_yield(); /* a handler that runs meanwhile ends the wait, below */
	bool small = call->own && call->count(call) <= POLL_INLINE;
	for (;;) {
		struct pollset s;
		bool idle = false;
		long found = 0;
		if (small) {
			pollcall_hold(call, &s);
			s.covered = s.covered && s.complete;
			idle = s.covered && call->idle && call->idle(&s);
			if (s.covered && !idle)
				pollset_forget(&s);
		}
		if (!idle)
			found = pollcall_ask(call);
		if (pollcall_over(call, &found)) {
			if (small) {
				pollset_remember(&s);
				pollcall_drop(call, &s);
			}
			return found;
		}
		if (!small)
			pollcall_hold(call, &s);
		long r = pollcall_wait(call, &s, !(small && s.covered));
		if (r == -ETIMEDOUT)
			return pollcall_ask(call);
		if (r != 0)
			return r;
	}
}

static long pollcall_masked(struct pollcall *call, const sigset_t *mask) {
	if (!mask)
		return io_waits_itself(call->g) ? FDCALL_BLOCK : pollcall_run(call);
	/* As the kernel, which looks at the descriptors first, and puts the mask back before a signal has come by it. To open what all others block takes two round trips to
	 * sysmon. */
	call->handlers = sig_handlers_run(call->g);
	long r = pollcall_ask(call);
	if (r != 0)
		return r;
	sig_mask_push(call->g, mask);
	r = pollcall_run(call);
	sig_mask_pop(call->g);
	return r;
}

static void pollcall_left(struct pollcall *call, struct timespec *left) {
	time_left_at(left, call->deadline, call->woken ? call->woken : nanotime());
}

/* ---- poll ------------------------------------------------------------------------------------------------------------- */

struct poll_call {
	struct pollcall call; /* first */
	struct pollfd *fds;
	nfds_t n;
};

/* Without waiting. The runtime's own descriptors are none of the program's (FD-11). */
static long poll_asked(struct pollfd *fds, nfds_t n) {
	long r = arch_poll(fds, n, 0);
	int own = netpoll_own_from(0);
	for (nfds_t i = 0; r >= 0 && i < n; i++) {
		if (likely(fds[i].fd < own) || !netpoll_owns_fd(fds[i].fd))
			continue;
		r += fds[i].revents == 0;
		fds[i].revents = POLLNVAL;
	}
	return r;
}

static long poll_ask(void *arg) {
	struct poll_call *p = arg;
	return poll_asked(p->fds, p->n);
}

static size_t poll_count(void *arg) {
	return ((struct poll_call *)arg)->n;
}

static void poll_fill(void *arg, struct pollset *s) {
	struct poll_call *p = arg;
	for (nfds_t i = 0; i < p->n; i++) {
		short events = p->fds[i].events;
		/* Errors and hang-ups come to readers, asked for or not. */
		uint8_t mode = events & (POLLOUT | POLLWRNORM | POLLWRBAND) ? PD_WRITE : PD_READ;
		if (events & (POLLIN | POLLPRI | POLLRDNORM | POLLRDBAND | POLLRDHUP))
			mode |= PD_READ;
		if (p->fds[i].fd < 0)
			continue;
		pollset_add(s, p->fds[i].fd, mode);
		if ((mode & PD_READ && !(events & (POLLIN | POLLRDNORM))) ||
		    (mode & PD_WRITE && !(events & (POLLOUT | POLLWRNORM))))
			s->covered = false;
	}
}

static long poll_ask_held(void *arg) {
	struct poll_call *p = arg;
	struct pollset *s = p->call.held;
	unsigned held = 0;
	for (nfds_t i = 0; i < p->n && held < s->count; i++) {
		if (p->fds[i].fd < 0)
			continue;
		if (pollcall_held_has(&p->call, held++, p->fds[i].events))
			return 1;
	}
	return 0;
}

/* One descriptor, whose last read found its end. */
static bool poll_idle(struct pollset *s) {
	return s->count == 1 && s->wait[0].mode == PD_READ && pd_empty(s->wait[0].pd);
}

/* left, which may be NULL: what is left of the time, if there is a deadline. */
static long io_ppoll(struct g *g, struct pollfd *fds, nfds_t n, int64_t deadline, const sigset_t *mask, struct timespec *left) {
	struct poll_call p = {
		.call = {.g = g,
			 .deadline = deadline,
			 .masked = mask != NULL,
			 .own = n <= POLL_INLINE && on_own_stack(g, fds, n * sizeof *fds),
			 .ask = poll_ask,
			 .fill = poll_fill,
			 .ask_held = poll_ask_held,
			 .count = poll_count,
			 .idle = mask ? NULL : poll_idle},
		.fds = fds,
		.n = n,
	};
	struct timespec own;
	sigset_t open;
	long r = pollcall_masked(&p.call, mask);
	mask = sig_kernel_set(mask, &open);
	if (r == FDCALL_BLOCK)
		r = BRACKET_BLOCKING(g, false, SYS5(SYS_ppoll, fds, n, time_left(left ? left : &own, deadline), mask, 8));
	else if (left)
		pollcall_left(&p.call, left);
	return r;
}

/* A call that does not wait: as pollcall_ask(). */
static long poll_now(struct g *g, struct pollfd *fds, nfds_t n) {
	uint32_t handlers = sig_handlers_run(g);
	long r;
	do
		r = poll_asked(fds, n);
	while (unlikely(r == -EINTR) && sig_handlers_run(g) == handlers);
	return r;
}

SHIM int poll(struct pollfd *fds, nfds_t n, int timeout) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(poll, fds, n, timeout);
	shim_testcancel(g);
	if (timeout == 0 && likely(!sig_fd_due(g)))
		return (int)io_ret(g, poll_now(g, fds, n));
	return (int)io_ret(g, io_ppoll(g, fds, n, timeout < 0 ? -1 : deadline_in(timeout * INT64_C(1000000)), NULL, NULL));
}

SHIM_ALIAS(poll, __poll);

SHIM int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(ppoll, fds, n, timeout, mask);
	shim_testcancel(g);
	if (timeout && !timespec_valid(timeout))
		return (int)sys_ret(-EINVAL);
	if (address_bad_mask_given(mask))
		return (int)io_ret(g, -EFAULT);
	return (int)io_ret(g, io_ppoll(g, fds, n, timeout ? deadline_rel(timeout) : -1, mask, NULL));
}

long raw_ppoll(struct g *g, struct pollfd *fds, nfds_t n, struct timespec *time, const sigset_t *mask, size_t bytes) {
	if (time && !timespec_valid(time))
		return SYS5(SYS_ppoll, fds, n, time, mask, bytes);
	if (address_bad_mask_given(mask))
		return -EFAULT;
	struct timespec left = {0};
	long r = io_ppoll(g, fds, n, time ? deadline_rel(time) : -1, mask, &left);
	if (time && !address_unwritable(time))
		*time = left;
	return r;
}

/* ---- select ----------------------------------------------------------------------------------------------------------- */

struct select_call {
	struct pollcall call; /* first */
	int n;
	fd_set *user[3]; /* read, write, except; each may be NULL */
	uint64_t *work;  /* three sets of SET_WORDS(n) words: what the kernel writes to */
	bool asked;      /* all of them were open */
};

static uint64_t select_word(struct select_call *s, int which, size_t word) {
	uint64_t bits = 0;
	if (s->user[which])
		memcpy(&bits, (char *)s->user[which] + word * sizeof bits, sizeof bits);
	if (word == (size_t)s->n / 64)
		bits &= (UINT64_C(1) << (s->n % 64)) - 1;
	return bits;
}

/* All descriptors of a word, in any of the sets. */
static uint64_t select_any(struct select_call *s, size_t word) {
	return select_word(s, 0, word) | select_word(s, 1, word) | select_word(s, 2, word);
}

static uint64_t *select_work(struct select_call *s, int which) {
	return s->user[which] ? s->work + (size_t)which * SET_WORDS(s->n) : NULL;
}

enum { READS = POLLIN | POLLRDNORM | POLLRDBAND, WRITES = POLLOUT | POLLWRNORM | POLLWRBAND };

static long select_ask_held(void *arg) {
	struct select_call *s = arg;
	struct pollset *held = s->call.held;
	for (unsigned i = 0; i < held->count; i++) {
		uint8_t mode = held->wait[i].mode;
		if (pollcall_held_has(&s->call, i, (mode & PD_READ ? READS | POLLPRI : 0) | (mode & PD_WRITE ? WRITES : 0)))
			return 1;
	}
	return 0;
}

/* To select(), what was closed while it waited is ready in whatever way it was asked: an error is only what is closed when it begins. */
static long select_closed(struct select_call *s) {
	static const short tells[3] = {READS | POLLHUP | POLLERR | POLLNVAL, WRITES | POLLERR | POLLNVAL, POLLPRI | POLLNVAL};
	long found = 0;
	for (size_t word = 0; word < SET_WORDS(s->n); word++) {
		uint64_t ready[3] = {0};
		for (uint64_t left = select_any(s, word); left; left &= left - 1) {
			int bit = __builtin_ctzll(left);
			short told = fd_poll_now((int)(word * 64) + bit, READS | WRITES | POLLPRI);
			for (int i = 0; i < 3; i++)
				ready[i] |= (uint64_t)((told & tells[i]) != 0) << bit;
		}
		for (int i = 0; i < 3; i++) {
			ready[i] &= select_word(s, i, word);
			found += __builtin_popcountll(ready[i]);
			if (s->user[i])
				select_work(s, i)[word] = ready[i];
		}
	}
	return found;
}

/* Fills the program's sets only with results: a round that finds nothing leaves the question in them. */
static long select_ask(void *arg) {
	struct select_call *s = arg;
	size_t bytes = SET_WORDS(s->n) * sizeof(uint64_t);
	struct timespec none = {0};
	uint64_t *set[3];
	for (int i = 0; i < 3; i++) {
		set[i] = select_work(s, i);
		if (set[i])
			memcpy(set[i], s->user[i], bytes);
	}
	long r = SYS6(SYS_pselect6, s->n, set[0], set[1], set[2], &none, NULL);
	if (unlikely(r == -EBADF) && s->asked)
		r = select_closed(s);
	s->asked = s->asked || r == 0;
	for (int i = 0; i < 3 && r > 0; i++) {
		if (set[i])
			memcpy(s->user[i], set[i], bytes);
	}
	return r;
}

/* Does it ask for one of the runtime's own descriptors? */
static bool select_own(struct select_call *s) {
	for (int fd = netpoll_own_from(0); fd < s->n; fd = netpoll_own_from(fd + 1)) {
		if (select_any(s, (size_t)fd / 64) >> fd % 64 & 1)
			return true;
	}
	return false;
}

static size_t select_count(void *arg) {
	struct select_call *s = arg;
	size_t count = 0;
	for (size_t word = 0; word < SET_WORDS(s->n); word++)
		count += (size_t)__builtin_popcountll(select_any(s, word));
	return count;
}

static void select_fill(void *arg, struct pollset *out) {
	struct select_call *s = arg;
	for (size_t word = 0; word < SET_WORDS(s->n); word++) {
		uint64_t reads = select_word(s, 0, word) | select_word(s, 2, word), writes = select_word(s, 1, word);
		for (uint64_t left = reads | writes; left; left &= left - 1) {
			int bit = __builtin_ctzll(left);
			pollset_add(out, (int)(word * 64) + bit,
				    (reads >> bit & 1 ? PD_READ : 0) | (writes >> bit & 1 ? PD_WRITE : 0));
			if (reads >> bit & 1 && !(select_word(s, 0, word) >> bit & 1))
				out->covered = false;
		}
	}
}

static void select_clear(struct select_call *s) {
	for (int i = 0; i < 3; i++) {
		if (s->user[i])
			memset(s->user[i], 0, SET_WORDS(s->n) * sizeof(uint64_t));
	}
}

/* As io_ppoll(). What fails at once leaves *left as it is. */
static long select_once(struct g *g, int n, fd_set *reads, fd_set *writes, fd_set *excepts, int64_t deadline,
			const sigset_t *mask, struct timespec *left) {
	uint64_t inline_work[3 * SET_INLINE], *work = inline_work;
	struct timespec own_left;
	if (n < 0)
		return -EINVAL;
	bool own = n <= FD_SETSIZE;
	fd_set *const sets[] = {reads, writes, excepts};
	for (int i = 0; i < 3; i++) {
		if (n > 0 && sets[i] && address_refused(sets[i], SET_WORDS(n) * sizeof(uint64_t), true))
			return -EFAULT;
		own = own && (!sets[i] || on_own_stack(g, sets[i], sizeof **sets));
	}
	struct select_call s = {
		.call = {.g = g,
			 .deadline = deadline,
			 .masked = mask != NULL,
			 .own = own,
			 .ask = select_ask,
			 .fill = select_fill,
			 .ask_held = select_ask_held,
			 .count = select_count},
		.n = n,
		.user = {reads, writes, excepts},
		.work = work,
	};
	if (unlikely(select_own(&s)))
		return -EBADF;
	if (n > FD_SETSIZE)
		s.work = work = pages_map_spare(3 * SET_WORDS(n) * sizeof(uint64_t));
	long r = work ? pollcall_masked(&s.call, mask) : io_must_nap(g, mask != NULL) ? -ENOMEM : FDCALL_BLOCK;
	if (work != inline_work)
		pages_unmap(work, 3 * SET_WORDS(n) * sizeof(uint64_t));
	if (r == 0)
		select_clear(&s);
	sigset_t open;
	struct {
		const sigset_t *mask;
		size_t bytes;
	} with_mask = {sig_kernel_set(mask, &open), 8};
	if (r == FDCALL_BLOCK)
		r = BRACKET_BLOCKING(
			g, false,
			SYS6(SYS_pselect6, n, reads, writes, excepts, time_left(left ? left : &own_left, deadline), &with_mask));
	else if (left)
		pollcall_left(&s.call, left);
	return r;
}

/* n as the kernel would clamp it. Most calls never come here: the kernel says EBADF first. */
static int select_clamp(int n) {
	int size = n > fdsize_seen() ? fdsize() : n;
	return n < size ? n : size;
}

static long io_select(struct g *g, int n, fd_set *reads, fd_set *writes, fd_set *excepts, int64_t deadline,
		      const sigset_t *mask, struct timespec *left) {
	if (left)
		time_left(left, deadline);
	if (unlikely(n > FD_SETSIZE)) /* what is above has no bits in memory, perhaps */
		n = select_clamp(n);
	long r = select_once(g, n, reads, writes, excepts, deadline, mask, left);
	int clamped = unlikely(r == -EBADF) ? select_clamp(n) : n;
	return clamped < n ? select_once(g, clamped, reads, writes, excepts, deadline, mask, left) : r;
}

/* A fork's child has a table for what was open, ours as well. */
#define SELECT_FOREIGN(name, n, ...)                                                  \
	(__extension__({                                                              \
		int select_errno = errno, select_r = CALL_REAL(name, n, __VA_ARGS__); \
		bool select_bad = select_r < 0 && errno == EBADF;                     \
		int select_n = unlikely(select_bad) ? select_clamp(n) : (n);          \
		if (select_n < (n)) {                                                 \
			errno = select_errno;                                         \
			select_r = real.name(select_n, __VA_ARGS__);                  \
		}                                                                     \
		select_r;                                                             \
	}))

SHIM int select(int n, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts,
		struct timeval *restrict timeout) {
	struct g *g = io_g();
	if (!g)
		return SELECT_FOREIGN(select, n, reads, writes, excepts, timeout);
	shim_testcancel(g);
	int64_t deadline = -1;
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
			return (int)sys_ret(-EINVAL);
		struct timespec ts = {.tv_nsec = timeout->tv_usec % 1000000 * 1000};
		if (__builtin_add_overflow(timeout->tv_sec, timeout->tv_usec / 1000000, &ts.tv_sec))
			ts.tv_sec = INT64_MAX;
		deadline = deadline_rel(&ts);
	}
	struct timespec left = {0};
	long r = io_select(g, n, reads, writes, excepts, deadline, NULL, timeout ? &left : NULL);
	if (timeout)
		*timeout = (struct timeval){.tv_sec = left.tv_sec, .tv_usec = left.tv_nsec / 1000};
	return (int)io_ret(g, r);
}

SHIM_ALIAS(select, __select);

SHIM int pselect(int n, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts,
		 const struct timespec *restrict timeout, const sigset_t *restrict mask) {
	struct g *g = io_g();
	if (!g)
		return SELECT_FOREIGN(pselect, n, reads, writes, excepts, timeout, mask);
	shim_testcancel(g);
	if (timeout && !timespec_valid(timeout))
		return (int)sys_ret(-EINVAL);
	if (address_bad_mask_given(mask))
		return (int)io_ret(g, -EFAULT);
	return (int)io_ret(g, io_select(g, n, reads, writes, excepts, timeout ? deadline_rel(timeout) : -1, mask, NULL));
}

long raw_pselect(struct g *g, int n, fd_set *reads, fd_set *writes, fd_set *excepts, struct timespec *time, const uintptr_t *mask) {
	if (time && !timespec_valid(time))
		return SYS6(SYS_pselect6, n, reads, writes, excepts, time, mask);
	const sigset_t *set = mask ? (const sigset_t *)mask[0] : NULL;
	if (address_bad_mask_given(set))
		return -EFAULT;
	struct timespec left = {0};
	long r = io_select(g, n, reads, writes, excepts, time ? deadline_rel(time) : -1, set, &left);
	if (time && !address_unwritable(time))
		*time = left;
	return r;
}
