/* Netpoll (see netpoll.h for the readiness protocol).
 *
 * Arm versus ready (POL-1): a waiter links itself, then looks at pd->ready; the poller sets pd->ready, then looks for waiters. Both are
 * lock-prefixed operations on different words (Dekker), so at least one sees the other.
 * Stale events (FD-3): an event carries the pd's address and the low bits of its generation; a pd that was let go has another one.
 * Numbers that are given away under a call: pd_try_begin() and tries_await().
 * Several waiters (POL-2): poll()ers are `shared` and all woken; readers, writers and acceptors are woken one per event, and who
 * finds more than it takes passes the readiness on (pd_pass). So much for one process. Of several that have the description each one's epoll is told of
 * each event. EPOLLEXCLUSIVE is no cure: the one process that is told may have nobody left who waits, and the others sleep on. Where it matters, at
 * listeners, who waits does so in the kernel (shims/connect.c), which wakes one of those who wait.
 *
 * Ghosts and fork: a kernel thread's blocked read() keeps its description from no peer's sight in a fork's child, so a ghost must not live on there.
 * The child closes those that the memory it got names (pd->ghost_fd). A fork copies the descriptors before the memory; the name therefore is
 * written before the description has the number (ghost_make()), and taken back only while nobody forks: until then a dropped ghost is due.
 *     pd_drop:  closers++ ; look at forks      netpoll_fork_prepare:  forks++ ; wait until closers is 0
 *
 * Lock: pd->lock, rank LOCK_NETPOLL; ready() below it takes LOCK_SCHED. pd_slab_lock is LOCK_STACK.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

#include "chaos.h"
#include "kernel_call.h"
#include "netpoll.h"
#include "netpoll_backend.h"
#include "pages.h"
#include "runtime.h"

#define PD_SLAB_BYTES (64ul << 10)
#define GHOST_FD_BASE 1000
#define ENTER_WAITING_NS 200000 /* a thread that began a call so long ago may sleep in it ... */
#define ENTER_NS 20000000       /* ... also if that is one that waits for nothing but memory */
#define GEN_SHIFT 48
#define DATA_MASK ((1ull << GEN_SHIFT) - 1)

static struct lock pd_slab_lock;
static struct pd *pd_free_list;
/* On a line of its own: each wait for a descriptor writes it twice, on every CPU. */
static struct {
	_Alignas(64) _Atomic uint32_t n;
} waiter_count;
static _Atomic(struct pd *) pd_slabs;      /* all, linked by their first pd, which is never handed out */
static _Atomic uint32_t ghost_count;       /* pds with a ghost_fd */
static _Atomic uint32_t forks, closers;
static _Atomic(struct pd *) ghosts_due;    /* to be closed after the fork, or when no lock depends on it; by free_next */
static _Atomic bool stays;                 /* netpoll_stay() */

static uint64_t pd_tag(struct pd *pd) {
	return (uint64_t)(uintptr_t)pd | (uint64_t)pd->gen << GEN_SHIFT;
}

int netpoll_init(void) {
	return backend_init();
}

bool netpoll_has_waiters(void) {
	return atomic_load_explicit(&waiter_count.n, memory_order_relaxed) != 0;
}

static bool pd_slab(void) {
	struct pd *pd = pages_map_spare(PD_SLAB_BYTES);
	if (!pd)
		return false;
	pd->free_next = atomic_load_explicit(&pd_slabs, memory_order_relaxed);
	/* release: a fork's child may find it at any moment */
	atomic_store_explicit(&pd_slabs, pd, memory_order_release);
	for (size_t i = 1; i < PD_SLAB_BYTES / sizeof *pd; i++) {
		pd[i].free_next = pd_free_list;
		pd_free_list = &pd[i];
	}
	return true;
}

struct pd *pd_new(int fd) {
	struct g *held = rt_hold();
	lock_acquire(&pd_slab_lock, LOCK_STACK);
	struct pd *pd = pd_free_list || pd_slab() ? pd_free_list : NULL;
	if (pd)
		pd_free_list = pd->free_next;
	lock_release(&pd_slab_lock);
	rt_drop(held);
	if (!pd)
		return NULL;
	/* gen and refs go on from its last life: a stale event or a late hold must not be taken for a new one. */
	pd->fd = fd;
	atomic_store_explicit(&pd->ready, PD_READ | PD_WRITE, memory_order_relaxed);
	__atomic_store_n(&pd->armed, 0, __ATOMIC_RELAXED); /* pd_armed(), of somebody late */
	__atomic_store_n(&pd->spare, 0, __ATOMIC_RELAXED); /* as `kind`: a fork that met it in its last life may still look */
	atomic_store_explicit(&pd->kind, 0, memory_order_relaxed);
	pd->unpollable = false;
	pd->shared_desc = 0;
	pd->fl_epoch = pd->fl = 0;
	atomic_store_explicit(&pd->rcv_timeout, -1, memory_order_relaxed);
	atomic_store_explicit(&pd->snd_timeout, -1, memory_order_relaxed);
	pd->user = 0;
	if (!pd->waiters.next) /* else it is empty, and one with a late event may just see that */
		pd->waiters.next = pd->waiters.prev = &pd->waiters;
	return pd;
}

/* Nobody waits and no table names it any more. */
static void pd_let_go(struct pd *pd) {
	atomic_store_explicit(&pd->gen, (pd->gen + 1) & 0xffff, memory_order_relaxed);
	pd->fd = -1;
	struct g *held = rt_hold();
	lock_acquire(&pd_slab_lock, LOCK_STACK);
	pd->free_next = pd_free_list;
	pd_free_list = pd;
	lock_release(&pd_slab_lock);
	rt_drop(held);
}

/* pd->lock held. Everybody tries again, and finds out for himself. */
static void wake_all(struct pd *pd) {
	atomic_fetch_or_explicit(&pd->ready, PD_READ | PD_WRITE, memory_order_acq_rel);
	for (struct pdwait *w = pd->waiters.next; w != &pd->waiters; w = w->next) {
		if (wait_claim(w->g, WAKE_READY))
			ready(w->g);
	}
}

/* pd->lock held. */
static void wake_until_closed(struct pd *pd) {
	for (struct pdwait *w = pd->waiters.next; w != &pd->waiters; w = w->next) {
		if (!w->until_closed)
			continue;
		__atomic_store_n(&w->closed, true, __ATOMIC_RELAXED); /* its owner may be looking whether it need wait at all */
		if (wait_claim(w->g, WAKE_READY))
			ready(w->g);
	}
}

/* A descriptor above those that programs get, if the limit has any there; negative error. */
static long ghost_number(void) {
	long fd = backend_spare(GHOST_FD_BASE);
	struct rlimit limit;
	if (fd >= 0 || SYS4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) < 0)
		return fd;
	if (limit.rlim_cur > 16 && limit.rlim_cur <= GHOST_FD_BASE)
		fd = backend_spare((int)limit.rlim_cur - 8);
	return fd >= 0 ? fd : backend_spare(3);
}

/* A number for the ghost of pd; negative error. */
static long ghost_make(struct pd *pd) {
	long fd = MAY_FAIL(-EMFILE, ghost_number()); /* the number alone, to be named */
	if (fd < 0)
		return fd;
	atomic_fetch_add(&ghost_count, 1);
	atomic_store(&pd->ghost_fd, (int)fd);
	long r = MAY_FAIL(-EMFILE, SYS3(SYS_dup3, pd->fd, fd, O_CLOEXEC));
	if (r < 0) {
		SYS1(SYS_close, fd);
		atomic_store(&pd->ghost_fd, 0);
		atomic_fetch_sub(&ghost_count, 1);
	}
	return r;
}

/* To close any descriptor of a file frees the locks of fcntl() that this process has of it (POSIX), by whichever descriptor they were taken. The program's own close() came
 * before; what it locked since must stay. Told is the first lock that stands in the way of this description's own: who locks between this look and the close, or shares what
 * another process has locked, is missed. */
static bool ghost_guards_locks(const struct pd *pd) {
	struct flock lock = {.l_type = F_WRLCK};
	return pd->fd >= 0 && SYS3(SYS_fcntl, pd->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid == (pid_t)SYS0(SYS_getpid);
}

static void ghost_close(struct pd *pd) {
	if (pd->fd >= 0) {
		if (pd->armed)
			backend_disarm(pd->fd); /* as in pd_close() */
		SYS1(SYS_close, pd->fd);
		atomic_store(&pd->ghost_fd, 0);
		atomic_fetch_sub(&ghost_count, 1);
	}
	pd_let_go(pd);
}

/* Has the thread of m, which began a call a while ago, got into the kernel? There it has the description, whatever its number comes to mean. */
static bool is_in_call(struct m *m) {
	struct kernel_call c = kernel_call_of(m->ktid);
	return !c.known || (!c.running && c.number >= 0);
}

/* The number of pd has just been replaced. Until nobody may be using the old one: who is not found trying here reads the new one. */
static void tries_await(struct pd *pd, struct g *self) {
	/* pairs with pd_try_begin(): our store of pd->fd, this, our loads of `trying`. It needs memory on large machines. */
	while (threads_fence() == -ENOMEM)
		SYS0(SYS_sched_yield);
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		struct g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
		int64_t began = nanotime();
		/* acquire: its call is over. curg: who is switched out is not in one. */
		for (unsigned n = 0; g && g != self && atomic_load_explicit(&g->trying, memory_order_acquire) == pd &&
		                     atomic_load_explicit(&m->curg, memory_order_relaxed) == g; n++) {
			int64_t waited = nanotime() - began;
			bool waits = atomic_load_explicit(&g->in_syscall, memory_order_relaxed);
			if (waited > (waits ? ENTER_WAITING_NS : ENTER_NS) && is_in_call(m))
				break;
			kernel_yield(n);
		}
	}
}

static void ghost_drop(struct pd *pd);
static void ghosts_close_due(void) {
	if (g_self()->own_files)
		return; /* its numbers are others: the next one does it */
	struct pd *pd = atomic_exchange(&ghosts_due, NULL), *next;
	for (; pd; pd = next) {
		next = pd->free_next;
		ghost_drop(pd);
	}
}

/* Its last holder is gone. */
static void ghost_drop(struct pd *pd) {
	struct g *held = rt_hold(); /* no handler, which may jump away, while a fork waits for us */
	bool guards = ghost_guards_locks(pd);
	atomic_fetch_add(&closers, 1); /* seq_cst, both: see the top */
	bool due = atomic_load(&forks) != 0;
	if (due || guards) {
		pd->free_next = atomic_load(&ghosts_due);
		while (!atomic_compare_exchange_weak(&ghosts_due, &pd->free_next, pd))
			continue;
	} else {
		ghost_close(pd);
	}
	atomic_fetch_sub(&closers, 1);
	if (due && atomic_load(&forks) == 0) /* the fork that we saw may not have seen it */
		ghosts_close_due();
	rt_drop(held);
}

void pd_close(struct pd *pd) {
	struct g *g = g_self();
	rt_enter(g);
	lock_acquire(&pd->lock, LOCK_NETPOLL);
	bool keep = atomic_load(&pd->refs) != 0, named = pd->fd >= 0;
	/* Before the number is closed. An M that sleeps in epoll_wait takes a reference of the file while it looks at an event, and when that leads
	 * to nothing it goes on sleeping; a reference that turns out to be the last is dropped on the way back to user mode only. Closed in that
	 * moment the peer would not see the end until somebody wakes that M. Taken out of the set first, nobody looks at it any more. */
	if (pd->armed)
		backend_disarm(pd->fd);
	if (keep) {
		/* Kernel threads blocked in read or accept hold the description: data and connections that come later still reach them
		 * (FD-1). Do the same with a duplicate that only they know. */
		long ghost = ghost_make(pd);
		if (ghost >= 0) {
			/* relaxed, and the one below: see tries_await() */
			__atomic_store_n(&pd->fd, (int)ghost, __ATOMIC_RELAXED);
			if (pd->armed && backend_arm(pd->fd, pd->armed, pd_tag(pd), 1) < 0) {
				/* No events would come: the waiters arm it again, or wait in the kernel when that is refused, too. */
				__atomic_store_n(&pd->armed, 0, __ATOMIC_RELAXED);
				wake_all(pd);
			}
		} else {
			__atomic_store_n(&pd->fd, -1, __ATOMIC_RELAXED); /* out of descriptors: the waiters get EBADF, the one answer left */
			wake_all(pd);
		}
		/* With a hold of our own: the others may all have dropped it before they could see that it is a ghost. */
		atomic_fetch_add(&pd->refs, PD_GHOST + 1);
		wake_until_closed(pd);
	}
	lock_release(&pd->lock);
	if (keep && named)
		tries_await(pd, g);
	rt_exit(g);
	if (keep)
		pd_drop(pd);
	else
		pd_let_go(pd);
}

static int pd_arm_locked(struct pd *pd, uint8_t mode) {
	if ((pd->armed & mode) == mode)
		return 0;
	int r = backend_arm(pd->fd, pd->armed | mode, pd_tag(pd), pd->armed == 0);
	if (r == 0)
		__atomic_store_n(&pd->armed, pd->armed | mode, __ATOMIC_RELAXED); /* pd_armed() */
	else if (r == -EPERM)
		__atomic_store_n(&pd->unpollable, true, __ATOMIC_RELAXED);
	return r;
}

static int pd_arm(struct pd *pd, uint8_t mode) {
	if (__atomic_load_n(&pd->unpollable, __ATOMIC_RELAXED)) /* it stays so */
		return -EPERM;
	if ((__atomic_load_n(&pd->armed, __ATOMIC_RELAXED) & mode) == mode) /* as a rule; wait_link() looks again, under the lock */
		return 0;
	lock_acquire(&pd->lock, LOCK_NETPOLL);
	int r = pd_arm_locked(pd, mode);
	lock_release(&pd->lock);
	return r;
}

void netpoll_disarm(struct pd *pd) {
	if (!pd_armed(pd, PD_READ | PD_WRITE))
		return;
	struct g *g = g_self();
	rt_enter(g);
	lock_acquire(&pd->lock, LOCK_NETPOLL);
	/* relaxed: who links himself has the lock. One who has armed it and is not linked yet finds it so in wait_link(). */
	if (pd->armed && atomic_load_explicit(&pd->waiting, memory_order_relaxed) == 0) {
		backend_disarm(pd->fd);
		__atomic_store_n(&pd->armed, 0, __ATOMIC_RELAXED);
	}
	lock_release(&pd->lock);
	rt_exit(g);
}

static void wait_count(struct pd *pd, const struct pdwait *w, uint32_t step) {
	pd->sharers += w->shared ? step : 0;
	pd->readers += !w->shared && (w->mode & PD_READ) ? step : 0;
	pd->writers += !w->shared && (w->mode & PD_WRITE) ? step : 0;
}

static void wait_unlink_locked(struct pdwait *w) {
	w->prev->next = w->next;
	w->next->prev = w->prev;
	w->linked = false;
	wait_count(w->pd, w, -1u);
	atomic_fetch_sub_explicit(&w->pd->waiting, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&waiter_count.n, 1, memory_order_relaxed);
}

/* Caller armed the pd and is between wait_begin and wait_park. */
static void wait_link(struct pd *pd, struct pdwait *w) {
	w->pd = pd;
	lock_acquire(&pd->lock, LOCK_NETPOLL);
	w->prev = pd->waiters.prev;
	w->next = &pd->waiters;
	w->prev->next = w;
	pd->waiters.prev = w;
	w->linked = true;
	wait_count(pd, w, 1);
	w->closed = w->until_closed && pd_is_ghost(pd); /* pd_close() was first */
	/* seq_cst RMWs: the store half of the Dekker pair described at the top */
	atomic_fetch_add(&pd->waiting, 1);
	atomic_fetch_add_explicit(&waiter_count.n, 1, memory_order_relaxed);
	/* Disarmed since the caller armed it. Refused, it tries again, and is told so. */
	if (__builtin_expect((pd->armed & w->mode) != w->mode, 0) && pd_arm_locked(pd, w->mode) < 0)
		pd_set(pd, w->mode);
	lock_release(&pd->lock);
}

void netpoll_unlink(struct pdwait *w) {
	struct pd *pd = w->pd;
	struct g *g = g_self();
	rt_enter(g);
	lock_acquire(&pd->lock, LOCK_NETPOLL);
	if (w->linked)
		wait_unlink_locked(w);
	lock_release(&pd->lock);
	rt_exit(g);
}

void pd_drop(struct pd *pd) {
	/* seq_cst, both: the holder's half of what pd_hold() says */
	if (atomic_fetch_sub(&pd->refs, 1) != (PD_GHOST | 1))
		return;
	chaos_delay();
	/* Who has read the table long ago may hold it just now, or have held it: then he is the last, or was. */
	uint32_t unheld = PD_GHOST;
	if (!atomic_compare_exchange_strong(&pd->refs, &unheld, 0))
		return;
	if (atomic_load_explicit(&ghosts_due, memory_order_relaxed))
		ghosts_close_due(); /* those that guarded locks may not any more */
	ghost_drop(pd);
}

int netpoll_link(struct pd *pd, struct pdwait *w, struct g *g, uint8_t mode) {
	w->g = g;
	w->mode = mode;
	w->shared = true;
	w->linked = false;
	int r = pd_arm(pd, mode);
	if (r < 0)
		return r;
	wait_link(pd, w);
	return 0;
}

int netpoll_wait(struct pd *pd, uint8_t mode, int64_t deadline, bool interruptible) {
	struct g *g = g_self();
	/* acquire: pairs with the poller's RMW */
	if (atomic_load_explicit(&pd->ready, memory_order_acquire) & mode)
		return 0;
	rt_enter(g);
	int r = pd_arm(pd, mode);
	if (r < 0) {
		rt_exit(g);
		return r;
	}
	struct pdwait w = {.g = g, .mode = mode};
	stat_count(g->m && g->m->p ? g->m->p->stat : NULL, STAT_NET_WAITS, 1);
	wait_begin(g, interruptible, mode == PD_READ ? "fd read" : "fd write",
	           (uintptr_t)__atomic_load_n(&pd->fd, __ATOMIC_RELAXED)); /* for people; pd_close() may just replace it */
	wait_link(pd, &w);
	chaos_delay();
	if (atomic_load(&pd->ready) & mode)
		wait_claim_self(g, WAKE_READY);
	r = wait_park(g, deadline);
	/* Only who claimed the wait unlinks it, before the wake-up: then it is over for w, and there is nothing to lock for. */
	if (r != 0 || w.linked)
		netpoll_unlink(&w);
	rt_exit(g);
	return r;
}

int64_t netpoll_nap_until(int64_t deadline) {
	int64_t until = deadline_in(NETPOLL_NAP_NS);
	return deadline >= 0 && deadline < until ? deadline : until;
}

int netpoll_nap(struct pd *pd, uint8_t mode, int64_t deadline) {
	struct g *g = g_self();
	int64_t until = netpoll_nap_until(deadline);
	rt_enter(g);
	wait_begin(g, true, "fd that epoll refused", pd ? (uintptr_t)__atomic_load_n(&pd->fd, __ATOMIC_RELAXED) : 0);
	int r = wait_park(g, until);
	rt_exit(g);
	if (pd)
		pd_set(pd, mode); /* nobody else would */
	return r == -ETIMEDOUT && until != deadline ? 0 : r;
}

/* Claims who is to be woken for `modes`: all shared waiters, one exclusive per mode. Appends to *end. An event says more than that for which somebody waits (what is
 * readable is writable, as a rule), and thousands may: it ends when there is nobody more to be found. */
static struct g **pd_collect(struct pd *pd, uint8_t modes, struct g **end) {
	struct pdwait *w, *next;
	lock_acquire(&pd->lock, LOCK_NETPOLL);
	uint8_t exclusive = modes & ((pd->readers ? PD_READ : 0) | (pd->writers ? PD_WRITE : 0));
	uint32_t sharers = pd->sharers;
	for (w = pd->waiters.next; (exclusive || sharers) && w != &pd->waiters; w = next) {
		next = w->next;
		sharers -= w->shared;
		if (!(w->mode & modes) || (!w->shared && !(w->mode & exclusive)))
			continue;
		if (!wait_claim(w->g, WAKE_READY))
			continue;
		if (!w->shared)
			exclusive &= ~w->mode;
		*end = w->g;
		end = &w->g->schedlink;
		wait_unlink_locked(w);
	}
	lock_release(&pd->lock);
	return end;
}

void pd_pass(struct pd *pd, uint8_t mode) {
	/* seq_cst: see the top */
	atomic_fetch_or(&pd->ready, mode);
	if (atomic_load(&pd->waiting) == 0)
		return;
	struct g *g = g_self(), *list = NULL;
	rt_enter(g);
	struct g **end = pd_collect(pd, mode, &list);
	*end = NULL;
	if (list)
		ready_list(list);
	rt_exit(g);
}

struct g *netpoll_poll(int64_t timeout_ns) {
	struct backend_event ev[BACKEND_EVENTS];
	struct g *list = NULL, **end = &list;
	int n = backend_wait(ev, timeout_ns);
	stat_count(NULL, STAT_NET_POLLS, 1); /* callers have a P or not; beside a system call an atomic is nothing */
	if (n > 0)
		stat_count(NULL, STAT_NET_EVENTS, (uint64_t)n);
	for (int i = 0; i < n; i++) {
		struct pd *pd = (struct pd *)(uintptr_t)(ev[i].data & DATA_MASK);
		/* relaxed: one who is let go just now gets a false `ready`, as from an event that came a moment before */
		if (atomic_load_explicit(&pd->gen, memory_order_relaxed) != ev[i].data >> GEN_SHIFT)
			continue; /* the descriptor is gone (FD-3); edge-triggered, so it cannot spin (FD-4) */
		/* seq_cst RMW, then the load of waiting: the poller's half of the Dekker pair */
		atomic_fetch_or(&pd->ready, ev[i].ready);
		chaos_delay();
		if (atomic_load(&pd->waiting))
			end = pd_collect(pd, ev[i].ready, end);
	}
	*end = NULL;
	return list;
}

bool netpoll_await(int64_t timeout_ns) {
	return backend_await(timeout_ns);
}

void netpoll_break(void) {
	backend_break();
}

bool netpoll_owns_fd(int fd) {
	return backend_owns(fd);
}

int netpoll_own_from(int from) {
	return backend_own_from(from);
}

int netpoll_evade(unsigned first, unsigned last) {
	/* relaxed: who has set it has not unshared yet */
	return atomic_load_explicit(&stays, memory_order_relaxed) ? -EMFILE : backend_evade(first, last);
}

void netpoll_stay(void) {
	atomic_store_explicit(&stays, true, memory_order_relaxed);
}

bool netpoll_fork_hold(void) {
	atomic_fetch_add(&closers, 1); /* seq_cst, both: see the top */
	if (atomic_load(&forks) == 0)
		return true;
	netpoll_fork_release();
	return false;
}

void netpoll_fork_release(void) {
	atomic_fetch_sub(&closers, 1);
}

void netpoll_fork_prepare(void) {
	atomic_fetch_add(&forks, 1); /* seq_cst, both: see the top */
	for (unsigned n = 0; atomic_load(&closers) != 0; n++)
		kernel_yield(n); /* for the length of a close() or of reading a line of /proc, which need nothing that we have */
}

void netpoll_fork_parent(void) {
	if (atomic_fetch_sub(&forks, 1) == 1)
		ghosts_close_due();
}

static void ghosts_forget(void) {
	if (atomic_load(&ghost_count) != 0 && !(tls_g && tls_g->own_files)) {
		for (struct pd *slab = atomic_load(&pd_slabs); slab; slab = slab->free_next) {
			for (size_t i = 1; i < PD_SLAB_BYTES / sizeof *slab; i++) {
				if (slab[i].ghost_fd)
					SYS1(SYS_close, slab[i].ghost_fd);
			}
		}
	}
	atomic_store(&ghost_count, 0);
	atomic_store(&pd_slabs, NULL);
	atomic_store(&ghosts_due, NULL);
	atomic_store(&forks, 0);
	atomic_store(&closers, 0);
}

void netpoll_fork_shared(void) {
	atomic_store(&ghost_count, 0);
	backend_forget();
}

void netpoll_fork_child(void) {
	ghosts_forget();
	backend_fork_child();
	atomic_store_explicit(&stays, false, memory_order_relaxed);
	pd_slab_lock.word = 0;
	pd_free_list = NULL; /* parent's slabs may be half-linked; a child that starts threads makes its own */
	atomic_store_explicit(&waiter_count.n, 0, memory_order_relaxed);
}
