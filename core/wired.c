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
 */
#include <errno.h>
#include <linux/futex.h>

#include "runtime.h"

/* The P goes to another M, which looks for work, or becomes the poller. */
static void p_give(struct m *m) {
	if (m->p)
		startm(p_detach(m));
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

void wired_hand(struct m *m, struct g *g) {
	struct m *owner = g->wired_m;
	owner->wired_p = p_detach(m);
	atomic_store_explicit(&owner->wired_note, 1, memory_order_release);
	SYS3(SYS_futex, &owner->wired_note, FUTEX_WAKE_PRIVATE, 1);
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
		g->m->wired_g = on ? g : NULL;
		wired_m_set(g, on ? g->m : NULL);
	}
	rt_exit(g);
	return was;
}

enum tp_hold g_tp_hold(struct g *g) {
	if (!arch_signals_open || !g || g->kind > G_MAIN || g->tp_held)
		return TP_HOLD_NONE;
	g->tp_held = true;
	bool was = g_wire(g, true);
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

void g_pin(struct g *g) {
	if (g->kind > G_MAIN)
		return;
	/* The process's first kernel thread is what others take for the process: its nice value, its filter. It is main's. And what others have submitted
	 * from this M must not end with g. */
	if (m_is_first(g->m) ? g->kind != G_MAIN : m_keeps()) {
		if (g_pin_new(g) == 0) {
			g_move(g);
			return;
		} /* else there is no other to be had */
	}
	rt_enter(g);
	g->m->wired_g = g;
	wired_m_set(g, g->m);
	g->m->pinned = true;
	rt_exit(g);
}

bool g_pinned(struct g *g) {
	return g->kind <= G_MAIN && g->wired_m && g->wired_m->pinned;
}

int g_pin_new(struct g *g) {
	struct m *m = m_new_pinned(g);
	if (!m)
		return -EAGAIN;
	wired_m_set(g, m); /* before it is queued; the M waits until then */
	return 0;
}

void wired_end(struct m *m) {
	p_give(m);
	/* The process's first kernel thread cannot end before the process, nor may it run anybody. */
	while (m_is_first(m)) {
		SYS4(SYS_futex, &m->wired_note, FUTEX_WAIT_PRIVATE, 0, 0);
		deliver_pending();
	}
}
