/* Wired goroutines: one that runs on its own M only, and an M that runs nobody else (Go's LockOSThread).
 *
 * An M whose wired G leaves (parks, yields, loses its P) gives its P to another M and sleeps on a note of its own. Whoever picks the G from a queue is another M,
 * always: the G's own sleeps. That one hands its P over together with the duty to run it, and goes on without a P.
 *
 *     G parks:    M gives P to some M, sleeps         G picked on M':    M' writes M.next_p, M.wired_note = 1, wakes M; looks for another P
 *
 * Pinned: wired for life, because the program set something that the kernel keeps per thread (SEC-1): credentials, namespaces, a filter, affinity.
 * Such an M never runs anybody else, nor is it what other Ms are made from (the maker is); it ends with its G. What a pinned G
 * creates is pinned from the start, to an M that is made from its creator's, as a thread that inherits from its creator.
 *
 * So each park and wake-up costs two hand-overs between kernel threads. Waits for descriptors, the most frequent ones, are therefore made in the
 * kernel, as on a kernel thread (shims/io.h). The G may be picked before its M has even left it: the
 * note is a word that only wired_wait() clears, so nothing is lost; and M waits for ctx.on_cpu as for any G.
 *
 * Wishes: to set a thread's affinity is mostly its creator's business. What others want of G's kernel thread is written down, and G does it, on its own stack, before
 * anything else when it next runs: it pins itself and sets what was written. Until it runs nobody can tell the difference.
 *
 *     setter:  written down ; wish = true ; listed for sysmon        G, each time it comes to run:  state = RUNNING ; looks at wish
 *
 * Who runs already is sysmon's: it takes the listed ones off, issues a membarrier, and looks at each one's state. Not RUNNING: it will be after the
 * barrier, and see the wish. RUNNING: its P is taken if it is in a system call, so that the end of that leads through the scheduler, else it is preempted, which does
 * as well; until it did, it is listed again. Alternative rejected: the setter makes a kernel thread for G, sets its attributes and gives it to G. Then the
 * kernel's answer is known at once; but G may end, pin itself or be wired meanwhile, the thread must be taken back in each case, and every switch looked at twice.
 *
 * Not every M can be G's: the first is main's, and the last that is not pinned must stay so (m_open), or nobody could be picked from a queue any more. From those G goes to
 * another, which is made if need be. Where the kernel refuses one, or the maker waits for a lock of the program's that may be G's, it stays a wish, and is looked at each time G comes to run.
 */
#include <errno.h>
#include <linux/futex.h>

#include "futex.h"
#include "kernel_call.h"
#include "runtime.h"

#define REFUSALS 4
#define ALONE_LOOK_NS 50000000
#define WISH_LOOK_NS 300000	  /* the first look; the others come later and later: on a busy machine each takes the CPU away from g, again and again before a tick */
#define WISH_LOOK_LATE_NS 5000000
#define WISH_WAIT_NS 100000000	  /* CPU time: an answer to a preemption takes until one of the kernel's ticks finds the thread running */
#define WISH_STILL_NS 20000000	  /* it uses no CPU */
#define WISH_LATEST_NS 2000000000 /* whatever it does */

void (*wish_hook)(struct g *g);
struct m m_elsewhere;

/* The P goes to another M, which looks for work, or becomes the poller. Without one (sysmon took it) others have all that are in use; but whoever gave the last of them
 * saw nothing to poll for, and m's G may have left a timer since, or be queued itself. (An M that is not bound to its G sees both on its way to sleep.) The poller is read after
 * the fence of poller_told(), or the lock of the queue; a P that is not idle yet keeps sysmon awake, which looks for both. */
static void p_give(struct m *m) {
	if (m->p)
		startm(p_detach(m));
	else if (globq_waiting() || !atomic_load_explicit(&sched.poller, memory_order_relaxed))
		wakep();
}

void wired_wait(struct m *m) {
	p_give(m);
	/* acquire: pairs with the release in wired_hand(), which publishes next_p */
	while (atomic_load_explicit(&m->wired_note, memory_order_acquire) == 0) {
		SYS4(SYS_futex, &m->wired_note, FUTEX_WAIT_PRIVATE, 0, 0);
		arch_tp_mend();
		deliver_pending();
	}
	/* relaxed: nobody sets it again before the G has run */
	atomic_store_explicit(&m->wired_note, 0, memory_order_relaxed);
	p_attach(m, m->wired_p);
	m->next_g = m->wired_g;
}

static void hand_to(struct m *owner, struct p *p) {
	owner->wired_p = p;
	atomic_store_explicit(&owner->wired_note, 1, memory_order_release);
	SYS3(SYS_futex, &owner->wired_note, FUTEX_WAKE_PRIVATE, 1);
}

void wired_hand(struct m *m, struct g *g) {
	hand_to(g->wired_m, p_detach(m));
}

bool wired_hand_queued(void) {
	struct p *p;
	struct g *g = globq_get_bound(&p);
	if (g)
		hand_to(g->wired_m, p);
	return g != NULL;
}

/* Relaxed: sysmon looks, and asks no more of it. */
static void wired_m_set(struct g *g, struct m *m) {
	__atomic_store_n(&g->wired_m, m, __ATOMIC_RELAXED);
}

bool g_wire(struct g *g, bool on) {
	if (g->kind > G_MAIN)
		return true; /* a kernel thread by itself */
	rt_enter(g);
	bool was = g->wired_m != NULL;
	if (!g->m->pinned) {
		m_wire(g->m, on ? g : NULL);
		wired_m_set(g, on ? g->m : NULL);
	}
	rt_exit(g);
	return was;
}

enum tp_hold g_tp_hold(struct g *g) {
	if (!g || g->kind > G_MAIN || g->tp_held)
		return TP_HOLD_NONE;
	g->tp_held = true;
	bool was = g_wire(g, true);
	m_batch_leave(g->m);
	rt_enter(g);
	arch_tp_keep(&g->m->thread, true);
	rt_exit(g);
	return was ? TP_HOLD_WIRED : TP_HOLD_FREE;
}

void g_tp_release(struct g *g, enum tp_hold was) {
	if (was == TP_HOLD_NONE || g->kind > G_MAIN)
		return;
	rt_enter(g);
	arch_tp_keep(&g->m->thread, false);
	rt_exit(g);
	g->tp_held = false;
	g_wire(g, was == TP_HOLD_WIRED);
}

static void pin_to_its_m(struct g *g) {
	m_batch_leave(g->m);
	m_wire(g->m, g);
	wired_m_set(g, g->m);
	m_pin(g->m, true);
}

/* The process's first kernel thread is what others take for the process: its nice value, its filter. It is main's. And what others have submitted
 * from this M must not end with g. */
static bool needs_another(const struct g *g) {
	return g->m->first ? g->kind != G_MAIN : m_keeps();
}

static bool pin_to_new(struct g *g) {
	if (g_pin_new(g) < 0)
		return false;
	g_move(g);
	return true;
}

void g_pin(struct g *g) {
	if (g->kind > G_MAIN || (needs_another(g) && pin_to_new(g)))
		return; /* else there is no other to be had */
	rt_enter(g);
	atomic_fetch_sub(&sched.m_open, 1);
	pin_to_its_m(g);
	rt_exit(g);
}

bool g_pin_if_spare(struct g *g) {
	if (g->kind > G_MAIN || g_pinned(g))
		return true;
	if (needs_another(g))
		return pin_to_new(g);
	rt_enter(g);
	bool taken = m_open_take();
	if (taken)
		pin_to_its_m(g);
	rt_exit(g);
	if (!taken && m_new_pinned(NULL)) {
		g_pin(g);
		return true;
	}
	return taken;
}

static struct m *own_m(const struct g *g) {
	struct m *m = __atomic_load_n(&g->wired_m, __ATOMIC_RELAXED); /* others ask, too */
	return g->kind <= G_MAIN && m && m_is_pinned(m) ? m : NULL;
}

bool g_pinned(struct g *g) {
	return own_m(g) != NULL;
}

int32_t g_own_ktid(struct g *g) {
	struct m *m = own_m(g);
	return m ? atomic_load_explicit(&m->ktid, memory_order_relaxed) : 0;
}

/* ---- wishes -------------------------------------------------------------------------------------------------------------- */

static _Atomic(struct g *) wish_head;

void wish_list(struct g *g) {
	struct g *head = atomic_load_explicit(&wish_head, memory_order_relaxed);
	/* seq_cst: who found it listed already need not, and sysmon takes it off before it looks at its wish */
	if (atomic_exchange(&g->wish_listed, true))
		return;
	do {
		g->wish_next = head;
		/* release: publishes wish_next to wishes_take() */
	} while (!atomic_compare_exchange_weak_explicit(&wish_head, &head, g, memory_order_release, memory_order_relaxed));
}

struct g *wishes_take(void) {
	return atomic_exchange_explicit(&wish_head, NULL, memory_order_acquire);
}

bool wishes_listed(void) {
	return atomic_load(&wish_head) != NULL;
}

/* It executes what the program wrote, with a wish that it may not know of. In a system call it does not know either until sysmon has been there. Not RUNNING, it
 * looks when it will be: if it was so after a barrier (`ordered`), ours or sysmon's. */
static bool wish_unknown(struct g *g, uint32_t looks, bool ordered) {
	bool looked = (int32_t)(atomic_load(&sched.wish_looked) - looks) > 0;
	if (!atomic_load(&g->wish))
		return false;
	if (atomic_load_explicit(&g->state, memory_order_relaxed) != GS_RUNNING)
		return !ordered && !looked;
	return !atomic_load_explicit(&g->in_syscall, memory_order_relaxed) || atomic_load(&g->wish_listed) || !looked;
}

void g_wish(struct g *g) {
	/* seq_cst. If there was one, it is taken after what the caller wrote: wish_come_true(). */
	if (g->kind > G_MAIN || atomic_exchange(&g->wish, true))
		return;
	wish_list(g);
	uint32_t looks = atomic_load(&sched.wish_looks); /* one with a higher number begins after this */
	sysmon_poke();
	struct m *on = __atomic_load_n(&g->m, __ATOMIC_RELAXED);
	if (g == tls_g || !on)
		return;
	bool ordered = threads_fence() == 0;
	int64_t now = nanotime(), latest = now + WISH_LATEST_NS, moved = now, before = preempt_cpu_time(on), used = before;
	/* By its kernel thread's time, since a busy machine may let it wait for a CPU for longer than any answer takes: until it has had so much of it without one
	 * (it cannot be preempted, then), or neither runs nor is ready to. */
	for (int64_t nap = WISH_LOOK_NS; wish_unknown(g, looks, ordered) && now < latest && used - before < WISH_WAIT_NS;) {
		futex_nap(nap, "another thread to do as is wished");
		if (nap < WISH_LOOK_LATE_NS)
			nap += nap / 2;
		int64_t had = used;
		used = preempt_cpu_time(on);
		now = nanotime();
		if (used != had)
			moved = now;
		if (now - moved < WISH_STILL_NS)
			continue;
		struct kernel_call call = kernel_call_of(atomic_load_explicit(&on->ktid, memory_order_relaxed));
		if (!call.known || !call.running)
			return; /* it waits in the kernel where nobody sees it */
		moved = now;
	}
}

void g_wish_look(struct g *g) {
	/* relaxed: who set it and then let g know in whatever way has ordered that before */
	if (!g || __builtin_expect(!atomic_load_explicit(&g->wish, memory_order_relaxed), 1))
		return;
	rt_enter(g);
	wish_check(g);
	rt_exit(g);
}

void g_wish_new(struct g *g) {
	atomic_store_explicit(&g->wish, true, memory_order_relaxed);
}

/* The kernel has no other M for us. One refusal does not say so: another process may have had the last for a moment. */
static bool m_refused_for_good(void) {
	return atomic_load_explicit(&sched.m_lacking, memory_order_relaxed) && atomic_load_explicit(&sched.m_refusals, memory_order_relaxed) >= REFUSALS;
}

/* Nor does one come that the maker is to make, if it waits for the program's malloc: its lock may be the caller's, in a handler that executes a program. */
static bool no_other_m(void) {
	return m_refused_for_good() || m_held_up();
}

/* Inside the runtime. The first M is main's (g_pin), and one must be left for those that are not pinned. */
static bool pin_here(struct g *g) {
	if (g->kind != G_MAIN && (m_keeps() || g->m->first))
		return false;
	if (!m_open_take())
		return false;
	pin_to_its_m(g);
	return true;
}

bool wired_elsewhere(struct m *m, struct g *g) {
	if (!no_other_m() && ((g->kind != G_MAIN && m->first) || atomic_load(&sched.m_open) <= 1)) {
		globq_put(g);
		/* One at a time. m, which may have got back what it gave to one that is yet to be made, runs others meanwhile. */
		if (m_coming())
			SYS0(SYS_sched_yield);
		else
			startm(p_detach(m));
		return false;
	}
	wired_m_set(g, NULL);
	return true;
}

bool wish_comes_true_here(struct g *g) {
	if (g->wired_m && g->wired_m != g->m)
		return false; /* on its way there: g_pin() */
	return g_pinned(g) || pin_here(g);
}

/* Inside the runtime. g runs on, and that is on another M than the first. */
static void go_elsewhere(struct g *g) {
	wired_m_set(g, &m_elsewhere);
	g_state_set(g, GS_RUNNABLE);
	globq_put(g);
	wakep();
	g_leave(g, NULL);
}

bool g_wire_not_first(struct g *g) {
	rt_enter(g);
	while (g->m->first && !g->wired_m && !no_other_m())
		go_elsewhere(g);
	bool done = !g->m->first && !g->wired_m;
	if (done) {
		m_wire(g->m, g);
		wired_m_set(g, g->m);
	}
	rt_exit(g);
	return done;
}

void wish_come_true(struct g *g) {
	if (g->in_vfork || g->kind > G_MAIN)
		return;
	while (!wish_comes_true_here(g)) {
		/* Then it stays a wish, until g comes by here again. */
		bool lacking = no_other_m();
		if (lacking)
			m_ask_spare();
		if (lacking || g->wired_m || (g->kind != G_MAIN && m_keeps()))
			return;
		go_elsewhere(g);
	}
	/* seq_cst: what was written down before a wish that found this one is read after */
	if (atomic_exchange(&g->wish, false) && wish_hook)
		wish_hook(g);
}

void wired_fork_child(void) {
	atomic_store_explicit(&wish_head, NULL, memory_order_relaxed);
}

int g_pin_new(struct g *g) {
	struct m *m = m_new_pinned(g);
	if (!m)
		return -EAGAIN;
	wired_m_set(g, m); /* before it is queued; the M waits until then */
	return 0;
}

/* The process's first kernel thread cannot end before the process, nor may it run anybody: unless there is no other that may, and the kernel has refused one. */
bool wired_end(struct m *m) {
	p_give(m);
	while (m->first) {
		if (m_refused_for_good() && atomic_load(&sched.m_open) == 0) {
			m->ending = false;
			m_pin(m, false);
			m_wire(m, NULL);
			atomic_fetch_add(&sched.m_open, 1);
			return false;
		}
		struct timespec later = {.tv_nsec = ALONE_LOOK_NS};
		SYS4(SYS_futex, &m->wired_note, FUTEX_WAIT_PRIVATE, 0, &later);
		deliver_pending();
	}
	return true;
}
