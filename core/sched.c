/* The scheduler: who runs what, where, and when a kernel thread sleeps.
 *
 * Direct switches. A goroutine that parks picks the next one itself and switches to it on the spot: one stack switch and one write of
 * the thread pointer (design 1). Only when its P's queue is empty does it switch to its M's g0, where find_runnable() looks further:
 * global queue, timers, other Ps, netpoll; and finally puts the M to sleep.
 *
 * Publish before switch. A parking G is visible to wakers before its registers are saved, so it may be picked by another M at once. ctx.on_cpu
 * closes the gap: it is 1 until the registers are saved (arch_switch stores 0), and whoever picks a G waits for 0. That wait happens on g0
 * only: if it happened on a parking G's stack, two Ms could wait for each other's Gs for ever.
 *
 * Running without a P. sysmon may take the P of an M whose G sits in a syscall or hogs the CPU (retake, below). The G goes on without a P:
 * the kernel shares the CPU between it and the P's new M. At its next park, or at the end of a bracketed syscall, the M looks for
 * an idle P and else gives itself up. What it makes ready meanwhile goes to the global queue.
 *
 * The runtime's section. Between rt_enter() and rt_exit() (g->in_rt > 0) the P is not taken away and handlers of the program do not
 * run (they are deferred, shims/signal.c). A switched-out G is always inside.
 *
 * Waking Ms. A wake-up of a sleeping M costs more than most goroutines run (10 us of CPU here), and the usual ready G is run by its own P a
 * moment later, when the current one parks. So WAKE_BACKLOG queued Gs wake an M; a single one does so only while that proves useful: an M that
 * was woken and found nothing (the G was run meanwhile) doubles the number of single Gs that wake nobody (wake_skip), and sysmon lowers it when it meets
 * one that waited behind another for a whole tick. A thief takes a runnext only after watching its P stay with one G for a while. sysmon is the net below.
 * While any M runs Gs, idle Ms sleep on their note and the running one polls the network when it runs out; only the last one to go
 * idle blocks in netpoll. When sysmon sees a P busy with one G for a while it lets an idle M become the poller.
 *
 * Locks: sched.lock (LOCK_SCHED) guards idle lists, the global queue, M and G lists. Nothing is called below it but LOCK_STACK.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "futex.h"
#include "netpoll.h"
#include "pages.h"
#include "runtime.h"
#include "stack.h"
#include "tcb.h"

#define WAKE_BACKLOG 2          /* queued Gs that are worth an M's wake-up */
#define WAKE_SKIP_MAX 8192u     /* single ready Gs per attempt, when attempts prove useless */
#define STEAL_WATCH 160         /* relax loops, about 8 us, that a runnext must have been passed over */
#define GLOBAL_TICK 61          /* every so many Gs the global queue goes first */
#define TIMER_TICK 16           /* ... and the own timers are looked at without an idle moment */
#define POLL_TICK 61
#define GFREE_GLOBAL_MAX 1024u  /* dead Gs kept with stack and TCB beyond the Ps' own */
#define G_SLAB_BYTES (256ul << 10)
#define TID_FIRST ((1 << 22) + 1) /* above any kernel tid (PID_MAX_LIMIT) */
#define YIELD_KERNEL 128u       /* fruitless sched_yields before the kernel gets one */
#define ALL_SIGNALS (~(3ull << 31)) /* but libc's own 32 and 33: setuid() waits until every kernel thread has answered */

_Static_assert(offsetof(struct arch_ctx, sp) == 0 && offsetof(struct arch_ctx, tp) == 8 && offsetof(struct arch_ctx, on_cpu) == 16,
               "arch/x86_64/switch.S knows these");

struct sched sched;
struct sched_config sched_config = {.gomaxprocs = 1, .m_idle_max = 4};
int (*sched_thread_create)(void *(*fn)(void *), void *arg);
__thread struct g *tls_g __attribute__((tls_model("initial-exec"), visibility("hidden")));
_Atomic uint32_t rt_pending;
void (*rt_deliver_hook)(struct g *g);
void (*sig_resync_hook)(struct g *g);
void (*sig_sysmon_hook)(void);

static struct g *shells;            /* never used Gs of the current slab; sched.lock */
static _Atomic uint32_t next_id;
static struct m *m0;
static _Atomic uint32_t wake_skip;

extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *) __attribute__((weak));

int64_t nanotime(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

bool sched_started(void) {
	/* acquire: pairs with the release at the end of sched_start() */
	return atomic_load_explicit(&sched.started, memory_order_acquire);
}

uint32_t g_count(void) {
	return atomic_load_explicit(&sched.g_live, memory_order_relaxed);
}

uint32_t g_live_drop(void) {
	return atomic_fetch_sub_explicit(&sched.g_live, 1, memory_order_acq_rel) - 1;
}

struct g *g_all(void) {
	return atomic_load_explicit(&sched.all_g, memory_order_acquire);
}

/* ---- Gs: memory ------------------------------------------------------------------------------------------------ */

/* A G without stack: a used shell or a new one. NULL: no memory. */
static struct g *shell_get(void) {
	struct g *held = rt_hold();
	lock_acquire(&sched.lock);
	struct g *g = sched.gshell, **link = &sched.gshell;
	/* acquire: pairs with arch_switch's last store; it may still be on its way out */
	while (g && atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire)) {
		link = &g->schedlink;
		g = g->schedlink;
	}
	if (g) {
		*link = g->schedlink;
		lock_release(&sched.lock);
		rt_drop(held);
		return g;
	}
	if (!shells) {
		struct g *slab = pages_map(G_SLAB_BYTES);
		for (size_t i = 0; slab && i < G_SLAB_BYTES / sizeof *slab; i++) {
			slab[i].schedlink = shells;
			shells = &slab[i];
		}
	}
	g = shells;
	if (g)
		shells = g->schedlink;
	lock_release(&sched.lock);
	rt_drop(held);
	if (!g)
		return NULL;
	g->id = atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed) + 1;
	struct g *head = atomic_load_explicit(&sched.all_g, memory_order_relaxed);
	do
		g->all_next = head;
	while (!atomic_compare_exchange_weak_explicit(&sched.all_g, &head, g, memory_order_release, memory_order_relaxed));
	return g;
}

static void shell_put(struct g *g) {
	g->ctx.tp = 0;
	g->stack = (struct stack){0};
	struct g *held = rt_hold();
	lock_acquire(&sched.lock);
	g->schedlink = sched.gshell;
	sched.gshell = g;
	lock_release(&sched.lock);
	rt_drop(held);
}

static void foreign_gone(void *arg) {
	struct g *g = arg;
	if (g->kind != G_FOREIGN)
		return;
	tls_g = NULL;
	g->state = GS_DEAD;
	shell_put(g);
}

/* A kernel thread that is none of our Ms: it gets a G to wait with. */
struct g *g_self_slow(void) {
	static struct g spare; /* out of memory: shared; such a process is about to die anyway, but not by our hand */
	uint64_t all = ALL_SIGNALS, old;
	/* Nothing tells a handler yet that this thread is inside the runtime: none may run while shell_get() holds its lock. */
	SYS4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, 8);
	struct g *g = shell_get();
	if (!g)
		g = &spare;
	g->kind = G_FOREIGN;
	g->state = GS_RUNNING;
	g->tid = (int32_t)SYS0(SYS_gettid);
	g->ctx.tp = arch_tp();
	g->in_rt = 0;
	g->m = NULL;
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
	atomic_store_explicit(&g->interrupt, false, memory_order_relaxed);
	tls_g = g;
	SYS4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &old, 0, 8);
	if (g != &spare && g->tid != (int32_t)SYS0(SYS_getpid) && __cxa_thread_atexit_impl)
		__cxa_thread_atexit_impl(foreign_gone, g, &sched); /* any address of ours: it keeps the library loaded */
	return g;
}

static void g_reset(struct g *g) {
	g->kind = G_GOROUTINE;
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
	atomic_store_explicit(&g->in_syscall, 0, memory_order_relaxed);
	atomic_store_explicit(&g->interrupt, false, memory_order_relaxed);
	g->in_rt = 1; /* entered "switched out": g_start leaves the runtime */
	g->wired = g->self_claimed = g->in_vfork = false;
	g->altstack_sp = NULL;
	g->altstack_flags = 0;
	g->m = NULL;
	g->timer.index = 0;
	g->timer.heap = NULL;
	g->wait_what = NULL;
}

static int32_t tid_new(void) {
	static _Atomic uint32_t counter;
	/* 30 bits are what glibc's lock words keep of a tid; they repeat only after a billion threads */
	uint32_t n = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
	return TID_FIRST + (int32_t)(n % ((1u << 30) - TID_FIRST - 1));
}

static void g_start(void *arg) {
	struct g *g = arg;
	rt_exit(g);
	g->entry(g);
	g_exit(g);
}

static bool gfree_fits(struct g *g, const struct g_stack_req *req) {
	return g->stack.size == req->size && g->stack.guard == req->guard &&
	       atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire) == 0;
}

/* A dead G whose stack fits: the P's list, then the global one. Looks at a few only. */
static struct g *gfree_get(struct g *self, const struct g_stack_req *req) {
	struct p *p = self->m ? self->m->p : NULL;
	struct g *g = NULL;
	if (p) {
		struct g **link = &p->gfree, *prev = NULL;
		for (int i = 0; i < 4 && *link; i++, prev = *link, link = &prev->schedlink) {
			if (gfree_fits(*link, req)) {
				g = *link;
				*link = g->schedlink;
				if (p->gfree_tail == g)
					p->gfree_tail = prev;
				p->gfree_count--;
				return g;
			}
		}
	}
	if (!__atomic_load_n(&sched.gfree, __ATOMIC_RELAXED)) /* a hint */
		return NULL;
	lock_acquire(&sched.lock);
	struct g **link = &sched.gfree;
	for (int i = 0; i < 8 && *link; i++, link = &(*link)->schedlink) {
		if (gfree_fits(*link, req)) {
			g = *link;
			*link = g->schedlink;
			sched.gfree_count--;
			break;
		}
	}
	lock_release(&sched.lock);
	return g;
}

struct g *g_new(const struct g_stack_req *req, void (*entry)(struct g *), int *err) {
	struct g *self = g_self();
	void *stack_top;
	struct g *g = NULL;
	if (!req->user_lo) {
		rt_enter(self);
		g = gfree_get(self, req);
		rt_exit(self);
	}
	if (g) {
		g->tid = tid_new();
		tcb_reuse(g->ctx.tp, g);
		stack_top = g->stack_top;
	} else {
		g = shell_get();
		*err = -EAGAIN;
		if (!g)
			return NULL;
		g->tid = tid_new();
		if (req->user_lo)
			g->stack = (struct stack){.lo = req->user_lo, .hi = (char *)req->user_lo + req->size, .size = req->size};
		else if (stack_alloc(req->size, req->guard, &g->stack) < 0) {
			shell_put(g);
			return NULL;
		}
		g->stack.size = req->size;
		uintptr_t tcb = tcb_make(g->stack.hi, g, &stack_top);
		if (!tcb) {
			stack_release(&g->stack);
			shell_put(g);
			return NULL;
		}
		g->ctx.tp = tcb;
		g->stack_top = stack_top;
	}
	g_reset(g);
	g->entry = entry;
	if (self->kind == G_FOREIGN)
		SYS4(SYS_rt_sigprocmask, 0, 0, &self->sigmask, 8);
	g->sigmask = self->sigmask;
	arch_ctx_init(&g->ctx, stack_top, g_start, g);
	atomic_fetch_add_explicit(&sched.g_live, 1, memory_order_relaxed);
	return g;
}

void g_wait_off_cpu(struct g *g) {
	for (int i = 0; atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire); i++) {
		if (i < 1000)
			arch_relax();
		else
			SYS0(SYS_sched_yield); /* its M lost the CPU in the few instructions before the store */
	}
}

/* Gives back the stack and TCB of a long dead G. */
static void g_strip(struct g *g) {
	tcb_free(g->ctx.tp);
	stack_release(&g->stack);
	shell_put(g);
}

void g_free(struct g *g) {
	struct g *self = g_self();
	if (g->ctx.tp == 0 || !g->stack.slab) { /* a stack of the program's: its TCB is freed by thread exit */
		shell_put(g);
		return;
	}
	rt_enter(self);
	struct p *p = self->m ? self->m->p : NULL;
	struct g *strip = NULL;
	if (p && p->gfree_count < GFREE_MAX) {
		g->schedlink = p->gfree;
		if (!p->gfree)
			p->gfree_tail = g;
		p->gfree = g;
		p->gfree_count++;
	} else {
		lock_acquire(&sched.lock);
		g->schedlink = sched.gfree;
		sched.gfree = g;
		if (++sched.gfree_count > GFREE_GLOBAL_MAX) {
			/* The one behind the head has been dead for longer, its M has surely left it. */
			strip = g->schedlink;
			if (strip && atomic_load_explicit(&strip->ctx.on_cpu, memory_order_acquire) == 0) {
				g->schedlink = strip->schedlink;
				sched.gfree_count--;
			} else {
				strip = NULL;
			}
		}
		lock_release(&sched.lock);
	}
	rt_exit(self);
	if (strip)
		g_strip(strip);
}

/* ---- Ps and Ms: idle lists ----------------------------------------------------------------------------------------- */

static struct p *p_idle_pop(void) {
	struct p *p = sched.idle_p;
	if (p) {
		sched.idle_p = p->idle_next;
		p->idle = false;
		atomic_store_explicit(&sched.idle_p_count, sched.idle_p_count - 1, memory_order_seq_cst);
	}
	return p;
}

static void p_idle_push(struct p *p) {
	if (p->gfree) {
		p->gfree_tail->schedlink = sched.gfree;
		sched.gfree = p->gfree;
		sched.gfree_count += p->gfree_count;
		p->gfree = p->gfree_tail = NULL;
		p->gfree_count = 0;
	}
	atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
	p->idle = true;
	p->idle_next = sched.idle_p;
	sched.idle_p = p;
	atomic_store_explicit(&sched.idle_p_count, sched.idle_p_count + 1, memory_order_seq_cst);
}

static void p_attach(struct m *m, struct p *p) {
	m->p = p;
	p->mon_since = 0;
	atomic_store_explicit(&p->m, m, memory_order_release);
	if (__builtin_expect(atomic_load_explicit(&sched.sysmon_note, memory_order_relaxed) == SYSMON_ASLEEP, 0))
		sysmon_wake();
}

static void note_wake(struct m *m) {
	/* release: publishes next_p to the acquire in note_sleep() */
	atomic_store_explicit(&m->note, 1, memory_order_release);
	SYS3(SYS_futex, &m->note, FUTEX_WAKE_PRIVATE, 1);
}

static void schedule(struct m *m);

static void *m_main(void *arg) {
	struct m *m = arg;
	m->g0.ctx.tp = arch_tp();
	m->g0.tid = m->ktid = (int32_t)SYS0(SYS_gettid);
	tls_g = &m->g0;
	schedule(m);
	return NULL;
}

static struct m *m_alloc(void) {
	lock_acquire(&sched.lock);
	struct m *m = sched.free_m;
	if (m) {
		sched.free_m = m->idle_next;
		sched.m_count++;
		lock_release(&sched.lock);
	} else {
		lock_release(&sched.lock);
		m = pages_map((sizeof *m + 4095) & ~4095ul);
		if (!m)
			return NULL;
		lock_acquire(&sched.lock);
		m->id = sched.m_count++;
		m->all_next = sched.all_m;
		sched.all_m = m;
		lock_release(&sched.lock);
	}
	m->g0.kind = G_G0;
	m->g0.in_rt = 1;
	m->g0.m = m;
	m->g0.state = GS_RUNNING;
	m->kmask = ALL_SIGNALS;
	m->kaltstack_sp = NULL;
	m->exiting = false;
	atomic_store_explicit(&m->curg, NULL, memory_order_relaxed);
	atomic_store_explicit(&m->retake, RETAKE_NONE, memory_order_relaxed);
	m->rand = m->id * 2654435761u + 1;
	return m;
}

/* The kernel refused a thread, or memory is out. Back-pressure (SCH-5): p goes idle, what is queued waits for the Ms there are; sysmon
 * tries again each tick. */
static void m_refused(struct p *p, bool spinning) {
	if (spinning)
		atomic_fetch_sub(&sched.spinning, 1);
	p_idle_put(p);
}

/* The maker: a kernel thread that makes the others. pthread_create() calls the program's malloc, which may wait for a lock of the program's. A
 * goroutine inside the runtime must not wait for that (it may hold a lock, or be half parked), nor a g0 (the holder may be queued on its P). The maker
 * is a foreign thread without a P: it may. */
static struct m *maker_queue;           /* sched.lock */
static _Atomic uint32_t maker_note;     /* futex word: 1 = look at the queue */
static struct g maker_g;
static bool maker_up;                   /* false again in a fork's child */

static void *maker_main(void *arg) {
	(void)arg;
	maker_g.kind = G_FOREIGN;
	maker_g.state = GS_RUNNING;
	maker_g.tid = (int32_t)SYS0(SYS_gettid);
	maker_g.ctx.tp = arch_tp();
	maker_g.in_rt = 0;
	tls_g = &maker_g;
	for (;;) {
		lock_acquire(&sched.lock);
		struct m *m = maker_queue;
		if (m)
			maker_queue = m->idle_next;
		else
			/* under the lock, as the store in m_new(): it is not lost */
			atomic_store_explicit(&maker_note, 0, memory_order_relaxed);
		lock_release(&sched.lock);
		if (!m) {
			SYS4(SYS_futex, &maker_note, FUTEX_WAIT_PRIVATE, 0, 0);
			continue;
		}
		struct p *p = m->p;
		bool spinning = m->spinning;
		if (sched_thread_create(m_main, m) < 0) {
			lock_acquire(&sched.lock);
			m->p = NULL;
			m->idle_next = sched.free_m;
			sched.free_m = m;
			sched.m_count--;
			lock_release(&sched.lock);
			m_refused(p, spinning);
		}
	}
	return NULL;
}

/* All signals blocked, as for the Ms that inherit it: the first G that an M runs brings its own mask. */
static void maker_start(void) {
	uint64_t all = ALL_SIGNALS, old;
	if (maker_up)
		return;
	SYS4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, 8);
	int r = sched_thread_create(maker_main, NULL);
	SYS4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &old, 0, 8);
	maker_up = r == 0;
}

/* A new kernel thread with P p, soon. */
static void m_new(struct p *p, bool spinning) {
	struct m *m = maker_up ? m_alloc() : NULL;
	if (!m) {
		m_refused(p, spinning);
		return;
	}
	m->spinning = spinning;
	m->p = NULL;
	m->next_p = NULL;
	p_attach(m, p);
	lock_acquire(&sched.lock);
	m->idle_next = maker_queue;
	maker_queue = m;
	atomic_store_explicit(&maker_note, 1, memory_order_relaxed);
	lock_release(&sched.lock);
	SYS3(SYS_futex, &maker_note, FUTEX_WAKE_PRIVATE, 1);
}

/* Runs P p on some M: an idle one, else a new one. */
static void m_start(struct p *p, bool spinning) {
	lock_acquire(&sched.lock);
	struct m *m = sched.idle_m;
	if (m) {
		sched.idle_m = m->idle_next;
		sched.idle_m_count--;
	}
	lock_release(&sched.lock);
	if (m) {
		m->spinning = spinning;
		m->next_p = p;
		note_wake(m);
		return;
	}
	m_new(p, spinning);
}

void startm(struct p *p) {
	m_start(p, false);
}

struct p *p_idle_get(void) {
	lock_acquire(&sched.lock);
	struct p *p = p_idle_pop();
	lock_release(&sched.lock);
	return p;
}

void p_idle_put(struct p *p) {
	lock_acquire(&sched.lock);
	p_idle_push(p);
	lock_release(&sched.lock);
}

/* Something became runnable that the Ms at work may not get to soon: wake one more M, one at a time. */
void wakep(void) {
	uint32_t none = 0;
	if (atomic_load(&sched.idle_p_count) == 0 || !atomic_compare_exchange_strong(&sched.spinning, &none, 1))
		return;
	lock_acquire(&sched.lock);
	bool poller = sched.idle_m == NULL && atomic_load_explicit(&sched.poller, memory_order_relaxed);
	struct p *p = poller ? NULL : p_idle_pop();
	lock_release(&sched.lock);
	if (p) {
		m_start(p, true);
		return;
	}
	atomic_fetch_sub(&sched.spinning, 1);
	if (poller)
		netpoll_break(); /* it comes back, takes the P and looks for work */
}

/* ---- the loop on g0 -------------------------------------------------------------------------------------------- */

static void deliver_pending(void) {
	if (__builtin_expect(atomic_load_explicit(&rt_pending, memory_order_relaxed) != 0, 0) && rt_deliver_hook)
		rt_deliver_hook(NULL);
}

/* sched.lock held; released. Sleeps until m is given a P, or retires (m->exiting). */
static void m_stop(struct m *m) {
	if (m != m0 && sched.idle_m_count >= sched_config.m_idle_max + sched.procs) {
		m->exiting = true; /* SCH-6 */
		lock_release(&sched.lock);
		return;
	}
	atomic_store_explicit(&m->note, 0, memory_order_relaxed);
	m->next_p = NULL;
	m->idle_next = sched.idle_m;
	sched.idle_m = m;
	sched.idle_m_count++;
	lock_release(&sched.lock);
	while (atomic_load_explicit(&m->note, memory_order_acquire) == 0) {
		SYS4(SYS_futex, &m->note, FUTEX_WAIT_PRIVATE, 0, 0);
		deliver_pending();
	}
	if (m->next_p)
		p_attach(m, m->next_p);
	m->next_p = NULL;
}

static void spinning_end(struct m *m) {
	if (m->spinning) {
		m->spinning = false;
		atomic_fetch_sub(&sched.spinning, 1);
	}
}

static void timers_run_all(void) {
	int64_t now = 0;
	for (uint32_t i = 0; i < sched.procs; i++) {
		struct timer_heap *h = &sched.all_p[i]->timers;
		int64_t first = atomic_load_explicit(&h->first, memory_order_relaxed);
		if (first == INT64_MAX)
			continue;
		if (!now)
			now = nanotime();
		if (first <= now)
			timer_run(h, now);
	}
}

static int64_t timers_first(void) {
	int64_t first = INT64_MAX;
	for (uint32_t i = 0; i < sched.procs; i++) {
		int64_t when = atomic_load(&sched.all_p[i]->timers.first);
		if (when < first)
			first = when;
	}
	return first;
}

/* The list's first to run now, the others queued behind. */
static struct g *list_take(struct p *p, struct g *list) {
	struct g *first = list, *next;
	uint32_t n = 0;
	for (struct g *g = list->schedlink; g; g = next, n++) {
		next = g->schedlink;
		g->state = GS_RUNNABLE;
		runq_put(p, g, false);
	}
	if (n >= WAKE_BACKLOG)
		wakep();
	return first;
}

/* What P p should run next, from what is at hand. On a parking G's stack it does nothing that needs much stack (idle goroutines are
 * to keep few pages): every GLOBAL_TICK it returns NULL there, and g0 does the rest. */
static struct g *pick_local(struct p *p, bool on_g0) {
	uint32_t tick = atomic_load_explicit(&p->schedtick, memory_order_relaxed);
	struct g *g;
	if (tick % TIMER_TICK == 0 && atomic_load_explicit(&p->timers.first, memory_order_relaxed) != INT64_MAX)
		timer_run(&p->timers, nanotime());
	if (__builtin_expect(tick % GLOBAL_TICK == 0, 0)) {
		if (!on_g0)
			return NULL;
		if (tick % (GLOBAL_TICK * 4) == 0)
			timers_run_all();
		g = globq_get(p, 1);
		if (g)
			return g;
		if (netpoll_has_waiters()) {
			struct g *list = netpoll_poll(0);
			if (list)
				return list_take(p, list);
		}
	}
	g = runq_get(p);
	return g ? g : globq_get(p, RUNQ_SIZE);
}

/* runnext usually runs on its own P within the microsecond; moving it here then costs both CPUs. Only if that P stays with another G. */
static bool runnext_waits(struct p *victim) {
	uint32_t tick = atomic_load_explicit(&victim->schedtick, memory_order_relaxed);
	for (int i = 0; i < STEAL_WATCH; i++) {
		if (!atomic_load_explicit(&victim->runnext, memory_order_relaxed) ||
		    atomic_load_explicit(&victim->schedtick, memory_order_relaxed) != tick)
			return false;
		arch_relax();
	}
	return true;
}

void sched_single_waited(void) {
	atomic_store_explicit(&wake_skip, atomic_load_explicit(&wake_skip, memory_order_relaxed) / 4, memory_order_relaxed);
}

static struct g *steal_work(struct m *m, struct p *p) {
	uint32_t n = sched.procs;
	if (n == 1)
		return NULL;
	m->rand = m->rand * 1664525u + 1013904223u;
	uint32_t start = (m->rand >> 8) % n;
	for (uint32_t i = 0; i < n; i++) {
		struct p *victim = sched.all_p[(start + i) % n];
		if (victim == p || runq_empty(victim))
			continue;
		struct g *g = runq_steal(p, victim, false);
		if (!g && (atomic_load_explicit(&victim->m, memory_order_relaxed) == NULL || (m->spinning && runnext_waits(victim))))
			g = runq_steal(p, victim, true);
		if (g) {
			/* That proves little: on a busy machine the watched P may have been off its CPU. sysmon decides (sched_single_waited). */
			return g;
		}
	}
	if (m->spinning) {
		/* Woken for nothing. Relaxed: a heuristic. */
		uint32_t skip = atomic_load_explicit(&wake_skip, memory_order_relaxed);
		if (skip < WAKE_SKIP_MAX)
			atomic_store_explicit(&wake_skip, skip * 2 + 1, memory_order_relaxed);
	}
	return NULL;
}

static bool backlog_anywhere(void) {
	for (uint32_t i = 0; i < sched.procs; i++) {
		if (runq_length(sched.all_p[i]) >= WAKE_BACKLOG)
			return true;
	}
	return false;
}

/* This M blocks in netpoll for everybody. Gives up P before; returns a G to run (with a P), or NULL: look again. */
static struct g *poll_as_poller(struct m *m) {
	/* seq_cst store and loads: Dekker with timer_wake_poller(): it queues a timer, then looks at poll_until. */
	atomic_store(&sched.poll_until, INT64_MAX);
	int64_t first = timers_first(), timeout = -1;
	if (first != INT64_MAX) {
		int64_t now = nanotime();
		timeout = first > now ? first - now : 0;
	}
	atomic_store(&sched.poll_until, first);
	struct g *list = netpoll_poll(timeout);
	atomic_store_explicit(&sched.poll_until, 0, memory_order_relaxed);
	lock_acquire(&sched.lock);
	atomic_store_explicit(&sched.poller, 0, memory_order_relaxed);
	struct p *p = p_idle_pop();
	lock_release(&sched.lock);
	if (p)
		p_attach(m, p);
	if (!list) {
		/* A timer, or somebody broke the sleep because there is work to take over: look for it as a woken M does. */
		uint32_t none = 0;
		m->spinning = p && atomic_compare_exchange_strong(&sched.spinning, &none, 1);
		return NULL;
	}
	if (p)
		return list_take(p, list);
	struct g *tail = list;
	uint32_t n = 1;
	for (; tail->schedlink; tail = tail->schedlink, n++)
		tail->state = GS_RUNNABLE;
	tail->state = GS_RUNNABLE;
	globq_put_list(list, tail, n);
	return NULL;
}

/* Finds a G for m, sleeping if need be. NULL: the M retires. */
static struct g *find_runnable(struct m *m) {
	for (;;) {
		struct g *g = m->next_g;
		deliver_pending();
		if (g) {
			m->next_g = NULL;
			return g;
		}
		if (m->exiting)
			return NULL;
		if (!m->p) {
			lock_acquire(&sched.lock);
			struct p *p = p_idle_pop();
			if (!p) {
				m_stop(m);
				continue;
			}
			lock_release(&sched.lock);
			p_attach(m, p);
		}
		struct p *p = m->p;
		timers_run_all();
		if ((g = pick_local(p, true)) || (g = steal_work(m, p)))
			return g;

		/* Nothing at hand: this P goes idle. */
		bool others = atomic_load(&sched.idle_p_count) + 1 < sched.procs;
		if (others && netpoll_has_waiters()) {
			struct g *list = netpoll_poll(0);
			if (list)
				return list_take(p, list);
		}
		lock_acquire(&sched.lock);
		if (sched.runq_size) {
			lock_release(&sched.lock);
			continue;
		}
		p_idle_push(p);
		m->p = NULL;
		bool all_idle = sched.idle_p_count == sched.procs;
		bool poller = !sched.poller && (all_idle || atomic_load_explicit(&sched.need_poller, memory_order_relaxed));
		if (poller)
			atomic_store_explicit(&sched.poller, 1, memory_order_relaxed);
		if (m->spinning) {
			lock_release(&sched.lock);
			spinning_end(m);
			/* Who found an M spinning did not wake another: look again after the count went down (seq_cst). */
			if (backlog_anywhere() || sched.runq_size) {
				if (poller) {
					lock_acquire(&sched.lock);
					atomic_store_explicit(&sched.poller, 0, memory_order_relaxed);
					lock_release(&sched.lock);
				}
				continue;
			}
			lock_acquire(&sched.lock);
		}
		if (poller) {
			lock_release(&sched.lock);
			if ((g = poll_as_poller(m)))
				return g;
			continue;
		}
		/* Between the push and here nothing can have needed this M without taking the P off the idle list and an M off
		 * its own, or finding no M and making one. */
		m_stop(m);
	}
}

static void resync_signals(struct m *m, struct g *g) {
	if (__builtin_expect(g->sigmask != m->kmask || g->altstack_sp != m->kaltstack_sp || g->altstack_size != m->kaltstack_size, 0) &&
	    sig_resync_hook)
		sig_resync_hook(g);
}

/* Bookkeeping of a switch to g on m; g's registers are saved (on_cpu was 0). */
static inline void g_switch_prepare(struct m *m, struct p *p, struct g *g) {
	atomic_store_explicit(&g->ctx.on_cpu, 1, memory_order_relaxed);
	g->m = m;
	g->state = GS_RUNNING;
	atomic_store_explicit(&p->schedtick, p->schedtick + 1, memory_order_relaxed);
	/* release: sysmon's acquire sees g->m and the tick */
	atomic_store_explicit(&m->curg, g, memory_order_release);
	resync_signals(m, g);
}

static void schedule(struct m *m) {
	struct g *g;
	while ((g = find_runnable(m))) {
		if (m->spinning) {
			spinning_end(m);
			if (backlog_anywhere())
				wakep();
		}
		g_wait_off_cpu(g);
		g_switch_prepare(m, m->p, g);
		arch_switch(&m->g0.ctx, &g->ctx);
	}
	tls_g = NULL; /* from here on a plain kernel thread that ends */
	lock_acquire(&sched.lock);
	m->idle_next = sched.free_m;
	sched.free_m = m;
	sched.m_count--;
	lock_release(&sched.lock);
}

static void g0_start(void *arg) {
	schedule(arg);
	__builtin_unreachable(); /* m0 never retires */
}

/* Leaves the current goroutine (already published where its wakers look, or dead) for whatever is next. */
static void g_switch_out(struct g *g, struct g *next) {
	struct m *m = g->m;
	struct p *p = m->p;
	if (p && !next)
		next = pick_local(p, false);
	if (next == g) { /* made ready again meanwhile, and it is our turn */
		g->state = GS_RUNNING;
		return;
	}
	/* acquire: pairs with arch_switch's store. Still 1: another M is leaving it; wait on g0, never here (see the top). */
	if (next && atomic_load_explicit(&next->ctx.on_cpu, memory_order_acquire) == 0) {
		g_switch_prepare(m, p, next);
		arch_switch(&g->ctx, &next->ctx);
		return;
	}
	m->next_g = next;
	/* Before the switch, while in_rt of g is certainly > 0: once g's registers are saved it may run elsewhere, and sysmon must not take its
	 * in_rt for this M's. */
	atomic_store_explicit(&m->curg, NULL, memory_order_release);
	arch_switch(&g->ctx, &m->g0.ctx);
}

/* ---- the runtime's section: retaken Ps ----------------------------------------------------------------------------- */

void rt_enter_slow(struct g *g) {
	struct m *m = g->m;
	uint32_t asked = RETAKE_ASKED;
	/* acq_rel: either sysmon sees our refusal, or we see that it took the P */
	if (atomic_compare_exchange_strong_explicit(&m->retake, &asked, RETAKE_NONE, memory_order_acq_rel, memory_order_acquire))
		return;
	if (asked == RETAKE_TAKEN) {
		m->p = NULL;
		atomic_store_explicit(&m->retake, RETAKE_NONE, memory_order_relaxed);
	}
}

void rt_deliver(struct g *g) {
	if (g->kind != G_G0 && rt_deliver_hook)
		rt_deliver_hook(g);
}

/* ---- waiting ---------------------------------------------------------------------------------------------------------- */

void wait_begin(struct g *g, bool interruptible, const char *what, uintptr_t on) {
	rt_enter(g);
	g->wait_what = what;
	g->wait_on = on;
	g->self_claimed = false;
	g->state = GS_WAITING;
	/* seq_cst store, then the load of `interrupt`: Dekker with g_interrupt() */
	if (interruptible) {
		atomic_store(&g->wake, WAKE_ARMED_INTR);
		if (atomic_load(&g->interrupt))
			wait_claim_self(g, WAKE_INTR);
	} else {
		atomic_store_explicit(&g->wake, WAKE_ARMED, memory_order_release);
	}
}

bool wait_claim(struct g *g, enum wake reason) {
	uint32_t w = atomic_load_explicit(&g->wake, memory_order_relaxed);
	/* acq_rel: what the waker wrote before is seen by the waiter, which reads g->wake after it runs again */
	while (w == WAKE_ARMED || w == WAKE_ARMED_INTR) {
		if (atomic_compare_exchange_weak_explicit(&g->wake, &w, reason, memory_order_acq_rel, memory_order_relaxed))
			return true;
	}
	return false;
}

bool wait_claim_self(struct g *g, enum wake reason) {
	if (!wait_claim(g, reason))
		return false;
	g->self_claimed = true;
	return true;
}

static void timer_fire(struct timer *t) {
	struct g *g = t->arg;
	if (wait_claim(g, WAKE_TIMEOUT))
		ready(g);
}

/* A timer earlier than the blocked poller's deadline ends its sleep. */
static void timer_wake_poller(int64_t when) {
	atomic_thread_fence(memory_order_seq_cst); /* Dekker with poll_as_poller(); on this path only for timed waits */
	int64_t until = atomic_load(&sched.poll_until);
	if (until && until > when)
		netpoll_break();
}

/* A kernel thread sleeps outside the runtime, so that handlers run on it at once, as without us. (One that waits in the parking lot itself would
 * end this wait early; what waits there is not async-signal-safe.) */
static void foreign_sleep(struct g *g, int64_t deadline) {
	uint32_t depth = g->in_rt;
	for (;;) {
		/* acquire: pairs with the release in ready() */
		if (atomic_load_explicit(&g->note, memory_order_acquire))
			break;
		struct timespec ts = {deadline / 1000000000, deadline % 1000000000};
		g->in_rt = 0;
		rt_check(g);
		long r = SYS6(SYS_futex, &g->note, FUTEX_WAIT_BITSET_PRIVATE, 0, deadline >= 0 ? &ts : NULL, 0, FUTEX_BITSET_MATCH_ANY);
		atomic_signal_fence(memory_order_seq_cst);
		g->in_rt = depth;
		if (r == -ETIMEDOUT && wait_claim(g, WAKE_TIMEOUT))
			return;
		if (r == -EINTR && atomic_load_explicit(&g->wake, memory_order_relaxed) == WAKE_ARMED_INTR && wait_claim(g, WAKE_INTR))
			return;
	}
	atomic_store_explicit(&g->note, 0, memory_order_relaxed);
}

int wait_park(struct g *g, int64_t deadline) {
	if (!g->self_claimed) {
		if (__builtin_expect(g->kind > G_MAIN, 0)) {
			foreign_sleep(g, deadline);
		} else {
			bool timed = deadline >= 0;
			if (timed) {
				struct m *m = g->m;
				struct timer_heap *h = &(m->p ? m->p : sched.all_p[0])->timers;
				g->timer.when = deadline;
				g->timer.fire = timer_fire;
				g->timer.arg = g;
				if (timer_add(h, &g->timer) == 0)
					timer_wake_poller(deadline);
				else if (wait_claim_self(g, WAKE_TIMEOUT)) /* no memory for the heap: better early than never */
					timed = false;
			}
			if (!g->self_claimed)
				g_switch_out(g, NULL);
			if (timed && atomic_load_explicit(&g->wake, memory_order_relaxed) != WAKE_TIMEOUT)
				timer_del(&g->timer);
		}
	}
	g->state = GS_RUNNING;
	g->wait_what = NULL;
	uint32_t why = atomic_load_explicit(&g->wake, memory_order_acquire);
	/* Not rt_exit(): a handler must not run while the caller may still be published somewhere, it could wait itself. */
	atomic_signal_fence(memory_order_seq_cst);
	g->in_rt--;
	return why == WAKE_TIMEOUT ? -ETIMEDOUT : why == WAKE_INTR ? -EINTR : 0;
}

static void foreign_ready(struct g *g) {
	atomic_store_explicit(&g->note, 1, memory_order_release);
	SYS3(SYS_futex, &g->note, FUTEX_WAKE_PRIVATE, 1);
}

/* Inside the runtime, on self. */
static void ready_local(struct g *self, struct g *g, bool next) {
	struct m *m = self->m;
	struct p *p = m ? m->p : NULL;
	g->state = GS_RUNNABLE;
	if (p) {
		runq_put(p, g, next);
		if (atomic_load_explicit(&sched.idle_p_count, memory_order_relaxed) &&
		    (runq_length(p) >= WAKE_BACKLOG || p->singles++ >= atomic_load_explicit(&wake_skip, memory_order_relaxed))) {
			p->singles = 0;
			wakep();
		}
	} else {
		globq_put(g);
		wakep();
	}
}

void ready(struct g *g) {
	struct g *self = g_self();
	if (__builtin_expect(g->kind == G_FOREIGN, 0)) {
		foreign_ready(g);
		return;
	}
	rt_enter(self);
	ready_local(self, g, true);
	rt_exit(self);
}

void ready_new(struct g *g) {
	ready(g);
}

void ready_list(struct g *head) {
	struct g *self = g_self(), *next;
	rt_enter(self);
	for (struct g *g = head; g; g = next) {
		next = g->schedlink;
		if (g->kind == G_FOREIGN)
			foreign_ready(g);
		else
			ready_local(self, g, false);
	}
	rt_exit(self);
}

void g_interrupt(struct g *g) {
	/* seq_cst: see wait_begin() */
	atomic_store(&g->interrupt, true);
	uint32_t armed = WAKE_ARMED_INTR;
	if (atomic_compare_exchange_strong(&g->wake, &armed, WAKE_INTR))
		ready(g);
}

bool g_interrupt_clear(struct g *g) {
	return atomic_exchange(&g->interrupt, false);
}

void g_yield(struct g *g) {
	if (g->kind > G_MAIN) {
		SYS0(SYS_sched_yield);
		return;
	}
	rt_enter(g);
	struct p *p = g->m->p;
	struct g *next = NULL;
	if (p) {
		next = pick_local(p, false);
		if (!next && (!runq_empty(p) || atomic_load_explicit(&sched.runq_size, memory_order_relaxed))) { /* a GLOBAL_TICK: through g0 */
			g->state = GS_RUNNABLE;
			runq_put(p, g, false);
			g_switch_out(g, NULL);
			rt_exit(g);
			return;
		}
		if (!next) {
			/* Nobody waits for this P. Who spins on sched_yield() waits for something, though: look at the network and let other
			 * kernel threads have the CPU now and then. */
			uint32_t n = ++p->idle_yields;
			if (n % YIELD_KERNEL == 0) {
				timers_run_all();
				if (netpoll_has_waiters()) {
					struct g *list = netpoll_poll(0);
					if (list)
						next = list_take(p, list);
				}
				if (!next)
					next = steal_work(g->m, p);
			}
			if (!next) {
				rt_exit(g);
				if (n % YIELD_KERNEL == 0 || atomic_load_explicit(&sched.idle_p_count, memory_order_relaxed) == 0)
					SYS0(SYS_sched_yield);
				return;
			}
		}
		if (next == g) {
			rt_exit(g);
			return;
		}
		g->state = GS_RUNNABLE;
		runq_put(p, g, false);
	} else {
		g->state = GS_RUNNABLE;
		globq_put(g);
		wakep();
	}
	g_switch_out(g, next);
	rt_exit(g);
}

void g_exit(struct g *g) {
	rt_enter(g);
	g->state = GS_DEAD;
	g_switch_out(g, NULL);
	__builtin_unreachable();
}

/* ---- syscalls ------------------------------------------------------------------------------------------------------------ */

void syscall_enter(struct g *g) {
	if (g && g->kind <= G_MAIN)
		atomic_store_explicit(&g->in_syscall, 1, memory_order_relaxed);
}

/* Back from a syscall without a P: get one, or queue up for one. */
static void syscall_exit_slow(struct g *g) {
	rt_enter(g); /* notices a retake */
	struct m *m = g->m;
	if (!m->p) {
		struct p *p = p_idle_get();
		if (!p)
			p = sysmon_take_from_syscall();
		if (p) {
			p_attach(m, p);
		} else {
			g->state = GS_RUNNABLE;
			globq_put(g);
			g_switch_out(g, NULL);
		}
	}
	rt_exit(g);
}

void syscall_exit(struct g *g) {
	if (!g || g->kind > G_MAIN)
		return;
	atomic_store_explicit(&g->in_syscall, 0, memory_order_relaxed);
	struct m *m = g->m;
	if (__builtin_expect(atomic_load_explicit(&m->retake, memory_order_relaxed) != RETAKE_NONE || m->p == NULL, 0))
		syscall_exit_slow(g);
}

void syscall_enter_blocking(struct g *g) {
	if (!g || g->kind > G_MAIN)
		return;
	rt_enter(g);
	struct m *m = g->m;
	struct p *p = m->p;
	if (p && (!runq_empty(p) || atomic_load_explicit(&sched.runq_size, memory_order_relaxed))) {
		m->p = NULL;
		/* release: sysmon, which reads it after in_rt, must not take for ours what is no longer */
		atomic_store_explicit(&p->m, NULL, memory_order_release);
		startm(p);
	}
	rt_exit(g);
	atomic_store_explicit(&g->in_syscall, 1, memory_order_relaxed);
}

/* ---- start and fork --------------------------------------------------------------------------------------------------------- */

static struct p *p_new(uint32_t id) {
	struct p *p = sched.all_p[id];
	if (!p)
		p = pages_map((sizeof *p + 4095) & ~4095ul);
	if (p) {
		p->id = id;
		atomic_store_explicit(&p->timers.first, INT64_MAX, memory_order_relaxed);
		sched.all_p[id] = p;
	}
	return p;
}

/* The kernel thread that called first: its thread becomes main G, and gets a g0 with a stack and a TCB of its own. */
static int m0_make(struct p *p) {
	struct g *g = g_self();
	struct m *m = m_alloc();
	struct stack stack;
	void *top;
	if (!m || stack_alloc(256 << 10, 4096, &stack) < 0)
		return -ENOMEM;
	m->g0_stack = stack;
	m->ktid = m->g0.tid = (int32_t)SYS0(SYS_gettid);
	uintptr_t tcb = tcb_make(stack.hi, &m->g0, &top);
	if (!tcb) {
		stack_release(&stack);
		return -ENOMEM;
	}
	m->g0.ctx.tp = tcb;
	arch_ctx_init(&m->g0.ctx, top, g0_start, m);
	SYS4(SYS_rt_sigprocmask, 0, 0, &m->kmask, 8);
	g->sigmask = m->kmask;
	stack_t ss;
	SYS2(SYS_sigaltstack, 0, &ss);
	if (!(ss.ss_flags & SS_DISABLE)) {
		g->altstack_sp = m->kaltstack_sp = ss.ss_sp;
		g->altstack_size = m->kaltstack_size = ss.ss_size;
		g->altstack_flags = m->kaltstack_flags = ss.ss_flags & ~SS_ONSTACK;
	}
	g->kind = G_MAIN;
	g->ctx.tp = arch_tp();
	g->in_rt = 0;
	g->m = m;
	atomic_store_explicit(&g->ctx.on_cpu, 1, memory_order_relaxed);
	p_attach(m, p);
	atomic_store_explicit(&m->curg, g, memory_order_relaxed);
	m0 = m;
	tcb_rseq_off();
	return 0;
}

int sched_start(const char **why) {
	if (sched_started())
		return 0;
	int r;
	arch_init();
	*why = "membarrier is refused";
	if ((r = (int)SYS3(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0)) < 0)
		return r;
	if ((r = tcb_offsets(why)) < 0)
		return r;
	*why = "out of memory";
	if ((r = stack_init()) < 0)
		return r;
	futex_init();
	sched.procs = sched_config.gomaxprocs < 1 ? 1 : sched_config.gomaxprocs > GOMAXPROCS_MAX ? GOMAXPROCS_MAX : sched_config.gomaxprocs;
	for (uint32_t i = 0; i < sched.procs; i++) {
		if (!p_new(i))
			return -ENOMEM;
	}
	*why = "epoll is refused";
	if ((r = netpoll_init()) < 0)
		return r;
	*why = "the kernel refuses a thread for sysmon";
	if ((r = sysmon_start(why)) < 0) {
		netpoll_fork_child(); /* closes what init opened */
		return r;
	}
	*why = "out of memory";
	if ((r = m0_make(sched.all_p[0])) < 0) {
		netpoll_fork_child();
		return r;
	}
	lock_acquire(&sched.lock);
	for (uint32_t i = sched.procs; i-- > 1;)
		p_idle_push(sched.all_p[i]);
	lock_release(&sched.lock);
	atomic_fetch_add_explicit(&sched.g_live, 1, memory_order_relaxed);
	maker_start(); /* refused (RLIMIT_NPROC): then there are no more Ms either, and this one runs everything */
	atomic_store_explicit(&sched.started, true, memory_order_release);
	return 0;
}

void sched_fork_child(void) {
	struct g *g = tls_g;
	bool was = sched_started();
	if (!was)
		return;
	/* Everything else died with the other kernel threads; their memory is the price of fork, as under NPTL. Locks may be held by the dead:
	 * nothing is taken over but the calling G. */
	struct p *keep[GOMAXPROCS_MAX];
	memcpy(keep, sched.all_p, sizeof keep);
	memset(&sched, 0, sizeof sched);
	if (g) {
		g->all_next = NULL;
		atomic_store_explicit(&sched.all_g, g, memory_order_relaxed);
	}
	for (uint32_t i = 0; i < GOMAXPROCS_MAX; i++) {
		if (keep[i])
			memset(keep[i], 0, sizeof *keep[i]);
		sched.all_p[i] = keep[i];
	}
	shells = NULL;
	m0 = NULL;
	maker_up = false;
	maker_queue = NULL;
	futex_init();
	netpoll_fork_child();
	tcb_fork_child();
	atomic_store_explicit(&rt_pending, 0, memory_order_relaxed);
	if (g) {
		g->kind = G_FOREIGN;
		g->m = NULL;
		g->in_rt = 0;
		g->wired = false;
		atomic_store_explicit(&g->in_syscall, 0, memory_order_relaxed);
		g->tid = (int32_t)SYS0(SYS_gettid);
	}
}
