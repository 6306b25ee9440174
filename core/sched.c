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
 * run (they are deferred, shims/sigrun.c). A switched-out G is always inside.
 *
 * Waking Ms. A wake-up of a sleeping M costs more than most goroutines run (10 us of CPU here), and the usual ready G is run by its own P a
 * moment later, when the current one parks. So WAKE_BACKLOG queued Gs wake an M; a single one does so only while that proves useful: an M that
 * was woken and found nothing (the G was run meanwhile) doubles the number of single Gs that wake nobody (wake_skip), and sysmon lowers it when it meets
 * one that waited behind another for a whole tick. A thief takes a runnext only after watching its P stay with one G for a while, and only if it was woken or such a one
 * waits as sysmon knows: who was woken for it may have found others first, again and again. sysmon is the net below.
 * Gs that do next to nothing before they park or end are cheaper run where they were made ready, on warm caches, than on another CPU, which needs a wake-up and
 * all their memory. An M that runs out of work knows what the Gs took on average that it has run since it was woken or stole; if that was less than BRIEF_NS each, it
 * steals no more, but from a P that stays with one of them, and goes idle. Then new Gs wake nobody, and others only as BRIEF_BACKLOG, for two ticks of sysmon at
 * most: who is not brief waits so long for its M, once.
 * While any M runs Gs, idle Ms sleep on their note and the running one polls the network when it runs out; only the last one to go
 * idle blocks in netpoll. When sysmon sees a P busy with one G for a while it lets an idle M become the poller, and as long as that is so whoever goes idle does.
 *
 * Timeouts. Thousands of threads that wait for one lock with a timeout of milliseconds (CPython's) time out faster than one CPU can run
 * them, only to wait again; the one that was handed the lock must not stand in the queue behind them all. So while others are queued
 * on a P, timers have a quarter of its switches, earliest deadline first; the rest fires later, as it would with as many kernel threads runnable.
 *
 * Elsewhere: Ms and Ps, idle lists, start and fork are m.c; memory of Gs is g.c; the queues are runq.c.
 *
 * Lock: sched.lock (LOCK_SCHED), see m.c.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <time.h>

#include "chaos.h"
#include "cpuclock.h"
#include "netpoll.h"
#include "procs.h"
#include "race.h"
#include "runtime.h"

#define WAKE_BACKLOG 2          /* queued Gs that are worth an M's wake-up */
#define BRIEF_BACKLOG 16        /* ... if they are brief */
#define WAKE_SKIP_MAX 8192u     /* single ready Gs per attempt, when attempts prove useless */
#define STEAL_WATCH 160         /* relax loops, about 8 us, that a runnext must have been passed over */
#define GLOBAL_TICK 61          /* every so many Gs the global queue goes first */
#define TIMER_TICK 16           /* ... and the own timers are looked at without an idle moment */
#define TIMER_SHARE 4           /* ... and so many of them fire while others are queued, see "Timeouts" */
#define ADMIT_TURN 16           /* connections accepted before those that are there have their turn */
#define CROWD        1024       /* goroutines in the global queue: who makes more of them lets each run first; who accepts waits for all */
#define CROWD_TURN   64         /* ... but after so many in a row goes behind those of its P */
#define WALL_LOOK_NS 1000000000 /* with everybody asleep: how soon a set wall clock is noticed */
#define WALL_SET_NS 1000000     /* what is taken for a set clock */
#define WALL_READ_NS 100000     /* two clocks that were read so far apart say nothing about what lies between them */
#define BRIEF_NS 1000           /* a G that takes less is not worth another CPU's while */
#define YIELD_KERNEL 128u       /* fruitless sched_yields before the kernel gets one */

_Static_assert(offsetof(struct arch_ctx, sp) == 0 && offsetof(struct arch_ctx, tp) == 8 && offsetof(struct arch_ctx, on_cpu) == 16,
               "arch/x86_64/switch.S knows these");

__thread struct g *tls_g __attribute__((tls_model("initial-exec"), visibility("hidden")));
_Atomic uint32_t rt_pending;
void (*rt_deliver_hook)(struct g *g);
void (*sig_resync_hook)(struct g *g);
void (*sig_idle_hook)(struct m *m, bool idle);
void (*sig_sysmon_hook)(void);
void (*sig_disturb_hook)(struct g *g, struct m *m);

static _Atomic uint32_t wake_skip;
static _Atomic bool brief; /* relaxed, both: heuristics, see "Waking Ms" */
static _Atomic bool single_waits;

int64_t nanotime(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- the loop on g0 -------------------------------------------------------------------------------------------- */

static void spinning_end(struct m *m) {
	if (m->spinning) {
		m->spinning = false;
		atomic_fetch_sub(&sched.spinning, 1);
		arch_rmw_fence(); /* Dekker with wakep(): callers look at the queues again, by relaxed loads */
	}
}

/* Downwards, acquire: as timers_first(). */
bool wall_waited(void) {
	for (uint32_t i = sched.procs_all; i-- > 0;) {
		if (atomic_load_explicit(&sched.all_p[i]->timers.walls, memory_order_acquire))
			return true;
	}
	return false;
}

/* Both clocks are slewed alike: what lies between them changes when the wall clock is set. 0: it could not be said. */
static int64_t wall_between(void) {
	struct timespec wall;
	int64_t now = nanotime();
	clock_gettime(CLOCK_REALTIME, &wall);
	return nanotime() - now > WALL_READ_NS ? 0 : (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec - now;
}

static _Atomic bool wall_lately; /* somebody has waited for the wall clock since a poller that looked at it found nobody */
static _Atomic int64_t wall_was; /* relaxed: a set clock is seen by one who looks, or by two */

/* Before anybody waits: it may be set right after. */
void wall_begin(void) {
	atomic_store_explicit(&wall_was, wall_between(), memory_order_relaxed);
}

void wall_look(void) {
	if (!wall_waited())
		return;
	int64_t is = wall_between(), was = atomic_load_explicit(&wall_was, memory_order_relaxed);
	if (is == 0 || (is - was < WALL_SET_NS && was - is < WALL_SET_NS))
		return;
	atomic_store_explicit(&wall_was, is, memory_order_relaxed);
	for (uint32_t i = sched.procs_all; was && i-- > 0;) /* downwards: who moves meanwhile goes from one not visited yet, or has been */
		timers_clock_set(&sched.all_p[i]->timers);
}

static void timers_run_all(int max) {
	int64_t now = 0;
	for (uint32_t i = 0, n = sched.procs_all; i < n; i++) {
		struct timer_heap *h = &sched.all_p[i]->timers;
		int64_t first = atomic_load_explicit(&h->first, memory_order_relaxed);
		if (first == INT64_MAX)
			continue;
		if (!now)
			now = nanotime();
		if (first <= now)
			timer_run(h, now, max);
	}
}

int64_t timers_first(void) {
	int64_t first = INT64_MAX;
	/* Downwards, acquire in seq_cst: timers_move() shows them in P 0's heap before they are gone from a leaving P's, so each is seen in one of the two. */
	for (uint32_t i = sched.procs_all; i-- > 0;) {
		int64_t when = atomic_load(&sched.all_p[i]->timers.first);
		if (when < first)
			first = when;
	}
	return first;
}

/* No M polls for who waits for a descriptor or a timer: sysmon is to. */
void waits_left(void) {
	sysmon_stir(netpoll_has_waiters() ? 0 : timers_first());
}

/* The list's first to run now, the others queued behind. */
static struct g *list_take(struct p *p, struct g *list) {
	struct g *first = list, *next;
	uint32_t n = 0;
	for (struct g *g = list->schedlink; g; g = next, n++) {
		next = g->schedlink;
		g_state_set(g, GS_RUNNABLE);
		runq_put(p, g, false);
	}
	if (n >= WAKE_BACKLOG)
		wakep();
	else if (n || !runq_empty(p)) /* also whom is_next() was said of */
		sysmon_stir(0);
	return first;
}

/* The list's end of the global queue: those that have queued there go first. */
static void list_queue(struct g *list) {
	struct g *tail = list;
	uint32_t n = 1;
	for (; tail->schedlink; tail = tail->schedlink, n++)
		g_state_set(tail, GS_RUNNABLE);
	g_state_set(tail, GS_RUNNABLE);
	globq_put_list(list, tail, n);
	if (n >= WAKE_BACKLOG)
		wakep();
	else
		sysmon_stir(0);
}

/* What P p should run next, from what is at hand. On a parking G's stack it does nothing that needs much stack (idle goroutines are
 * to keep few pages): every GLOBAL_TICK it returns NULL there, and g0 does the rest. */
static struct g *pick_local(struct p *p, bool on_g0) {
	uint32_t tick = atomic_load_explicit(&p->schedtick, memory_order_relaxed);
	struct g *g;
	if (tick % TIMER_TICK == 0 && atomic_load_explicit(&p->timers.first, memory_order_relaxed) != INT64_MAX)
		timer_run(&p->timers, nanotime(), TIMER_SHARE);
	if (__builtin_expect(atomic_load_explicit(&p->globq_due, memory_order_relaxed), 0)) {
		uint8_t due = atomic_load_explicit(&p->globq_due, memory_order_relaxed);
		atomic_store_explicit(&p->globq_due, 0, memory_order_relaxed); /* over sysmon's next, perhaps: it comes again */
		if ((due & P_DUE_LATE) && (g = globq_get_late()))
			return g;
		if (atomic_load_explicit(&sched.runq.size, memory_order_relaxed) && (g = globq_get(p, 1)))
			return g;
	}
	if (__builtin_expect(tick % GLOBAL_TICK == 0, 0)) {
		if (!on_g0)
			return NULL;
		if (tick % (GLOBAL_TICK * 4) == 0)
			timers_run_all(TIMER_SHARE);
		g = tick % (GLOBAL_TICK * 2) ? NULL : globq_get_late(); /* in turns: both lists get theirs */
		if (!g)
			g = globq_get(p, 1);
		/* Also with a full queue: a thread whose peer has gone must not wait until all those are served that its server goes on accepting. */
		struct g *list = netpoll_has_waiters() ? netpoll_poll(0) : NULL;
		if (list && !g)
			return list_take(p, list);
		if (list)
			list_queue(list);
		if (g)
			return g;
	}
	g = runq_get(p);
	return g ? g : globq_get(p, RUNQ_SIZE);
}

/* The victim stays with one G while others are queued. */
static bool queue_waits(struct p *victim) {
	uint64_t tick = atomic_load_explicit(&victim->schedtick, memory_order_relaxed);
	for (int i = 0; i < STEAL_WATCH; i++) {
		if (runq_empty(victim) || atomic_load_explicit(&victim->schedtick, memory_order_relaxed) != tick)
			return false;
		arch_relax();
	}
	return true;
}

void sched_single_waited(void) {
	atomic_store_explicit(&single_waits, true, memory_order_relaxed);
	atomic_store_explicit(&wake_skip, atomic_load_explicit(&wake_skip, memory_order_relaxed) / 4, memory_order_relaxed);
}

void sched_single_over(void) {
	if (atomic_load_explicit(&single_waits, memory_order_relaxed))
		atomic_store_explicit(&single_waits, false, memory_order_relaxed);
}

void m_helps(struct m *m, struct p *p) {
	m->helps_p = p;
	m->helps_tick = atomic_load_explicit(&p->schedtick, memory_order_relaxed);
	m->helps_since = nanotime();
}

enum helped { HELPED_UNKNOWN, HELPED_BRIEF, HELPED_LONG };

/* What it has run since it was woken or last stole. Unknown where it has lost that P since, or had it for itself. */
static enum helped m_helped(struct m *m, struct p *p) {
	uint64_t ran = m->helps_p == p ? atomic_load_explicit(&p->schedtick, memory_order_relaxed) - m->helps_tick : 0;
	return !ran ? HELPED_UNKNOWN : nanotime() - m->helps_since < (int64_t)ran * BRIEF_NS ? HELPED_BRIEF : HELPED_LONG;
}

/* Its P goes idle. */
static void m_ran_out(struct m *m, enum helped helped) {
	if (helped != HELPED_UNKNOWN)
		atomic_store_explicit(&brief, helped == HELPED_BRIEF, memory_order_relaxed);
	m->helps_p = NULL;
}

void sched_brief_over(void) {
	if (atomic_load_explicit(&brief, memory_order_relaxed))
		atomic_store_explicit(&brief, false, memory_order_relaxed);
}

static struct g *steal_work(struct m *m, struct p *p, enum helped helped) {
	uint32_t n = sched.procs_all; /* what leaving Ps hold, too */
	if (n == 1)
		return NULL;
	m->rand = m->rand * 1664525u + 1013904223u;
	uint32_t start = (m->rand >> 8) % n;
	bool singles = m->spinning || atomic_load_explicit(&single_waits, memory_order_relaxed);
	for (uint32_t i = 0; i < n; i++) {
		struct p *victim = sched.all_p[(start + i) % n];
		if (victim == p || runq_empty(victim))
			continue;
		bool at_work = atomic_load_explicit(&victim->m, memory_order_relaxed) != NULL && !chaos(CHAOS_STEAL);
		/* Its own P is done with brief ones before they are here and have their memory here, too. */
		if (helped == HELPED_BRIEF && at_work && !queue_waits(victim))
			continue;
		struct g *g = runq_steal(p, victim, false);
		/* The same of a runnext, whichever it is: it usually runs on its own P within the microsecond. */
		bool passed_over = !g && at_work && singles && queue_waits(victim);
		if (!g && (!at_work || passed_over))
			g = runq_steal(p, victim, true);
		if (g) {
			stat_count(p->stat, STAT_STEALS, 1);
			if (passed_over)
				m->helps_p = NULL; /* that helps, however brief it is */
			else
				m_helps(m, p);
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
	for (uint32_t i = 0, n = sched.procs_all; i < n; i++) {
		if (runq_length(sched.all_p[i]) >= WAKE_BACKLOG)
			return true;
	}
	return false;
}

/* One sleep of the poller's. `in_vain`: it was for a look at the wall clock only, and nothing has come of that. */
static struct g *poller_sleep(struct m *m, bool *in_vain) {
	/* seq_cst store and loads: Dekker with timer_wake_poller(): it queues a timer, then looks at poll_until. */
	atomic_store(&sched.poll_until, INT64_MAX);
	int64_t first = timers_first(), timeout = -1;
	bool looks = false;
	if (first != INT64_MAX) {
		int64_t now = nanotime();
		timeout = first > now ? first - now : 0;
		looks = timeout > WALL_LOOK_NS && atomic_load(&wall_lately); /* seq_cst, as the rest: see poller_told() */
		if (looks) { /* sysmon sleeps as well */
			timeout = WALL_LOOK_NS;
			first = now + timeout;
		}
	}
	atomic_store(&sched.poll_until, first);
	m_idle(m, true);
	batch_follow(m);
	struct g *list = netpoll_poll(timeout);
	m_idle(m, false);
	wall_look();
	if (looks && !list && !wall_waited()) {
		atomic_exchange(&wall_lately, false);
		arch_rmw_fence(); /* Dekker with poller_told(): who found it set has been counted */
		if (wall_waited())
			atomic_store(&wall_lately, true);
	}
	/* With all idle nobody has broken this sleep for what he queued on his own P. Any other break that was not taken note of yet ends the next sleep at once: that one is
	 * shorter than it was to be. */
	int64_t now = looks ? nanotime() : 0;
	*in_vain = looks && !list && now >= first && timers_first() > now && !globq_waiting() && atomic_load(&sched.idle_p_count) == sched.procs;
	return list;
}

/* This M blocks in netpoll for everybody. Gives up P before; returns a G to run (with a P), or NULL: look again. */
static struct g *poll_as_poller(struct m *m) {
	struct g *list;
	bool in_vain;
	do
		list = poller_sleep(m, &in_vain);
	while (in_vain); /* a P would be taken, and sysmon woken for that, each second in a process that is idle */
	atomic_store_explicit(&sched.poll_until, 0, memory_order_relaxed);
	lock_acquire(&sched.lock, LOCK_SCHED);
	atomic_store_explicit(&sched.poller, 0, memory_order_relaxed);
	struct p *p = p_idle_pop();
	lock_release(&sched.lock);
	if (p)
		p_attach(m, p);
	else
		sysmon_poke(); /* it has slept without looking at timers, because this M did; who is due may need a P to be taken from somebody */
	if (p && list)
		waits_left();
	if (!list) {
		/* A timer, or somebody broke the sleep because there is work to take over: look for it as a woken M does. */
		uint32_t none = 0;
		m->spinning = p && atomic_compare_exchange_strong(&sched.spinning, &none, 1);
		return NULL;
	}
	if (p) {
		/* Whoever woke nobody but broke a sleep that was just over by itself relied on this M, which now has something else to run. */
		if (globq_waiting())
			wakep();
		return list_take(p, list);
	}
	list_queue(list);
	return NULL;
}

/* Finds a G for m, sleeping if need be. NULL: the M retires. */
static struct g *find_runnable(struct m *m) {
	for (;;) {
		struct g *g = m->next_g;
		if (__builtin_expect(chaos_modes != 0, 0))
			m_wake_late();
		deliver_pending();
		if (g) {
			m->next_g = NULL;
			return g;
		}
		if (m->exiting)
			return NULL;
		if (!m->p) {
			lock_acquire(&sched.lock, LOCK_SCHED);
			struct p *p = p_idle_pop();
			if (!p) {
				/* who parked here without a P may wait for a descriptor or a timer, and sysmon need not know */
				waits_left();
				m_stop(m);
				continue;
			}
			lock_release(&sched.lock);
			p_attach(m, p);
		}
		struct p *p = m->p;
		if (__builtin_expect(p_leaving(p), 0)) {
			m->p = NULL;
			spinning_end(m); /* who counts on it finds no M spinning: below it takes a P that is idle, or those who hold all others look before they idle */
			procs_part(p);
			continue;
		}
		timers_run_all(runq_empty(p) ? TIMER_BATCH : TIMER_SHARE);
		if (chaos(CHAOS_STEAL) && (g = steal_work(m, p, HELPED_UNKNOWN)))
			return g;
		if ((g = pick_local(p, true)))
			return g;
		enum helped helped = m_helped(m, p);
		if ((g = steal_work(m, p, helped)))
			return g;

		/* Nothing at hand: this P goes idle. */
		bool others = atomic_load(&sched.idle_p_count) + 1 < sched.procs;
		/* relaxed: who blocks in netpoll in a moment need not look before */
		if (others && !atomic_load_explicit(&sched.need_poller, memory_order_relaxed)) {
			struct g *list = netpoll_has_waiters() ? netpoll_poll(0) : NULL;
			if (list)
				return list_take(p, list);
			/* If they go on and on, nobody looks. */
			waits_left();
		}
		chaos_delay();
		lock_acquire(&sched.lock, LOCK_SCHED);
		if (globq_waiting()) { /* since the last look, by who found no P idle yet */
			lock_release(&sched.lock);
			continue;
		}
		m_ran_out(m, helped);
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
			if (backlog_anywhere() || globq_waiting()) {
				if (poller) {
					lock_acquire(&sched.lock, LOCK_SCHED);
					atomic_store_explicit(&sched.poller, 0, memory_order_relaxed);
					lock_release(&sched.lock);
				}
				continue;
			}
			lock_acquire(&sched.lock, LOCK_SCHED);
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

static inline void context_switch(struct m *m, struct arch_ctx *from, struct arch_ctx *to) {
	RACE_SAME_THREAD();
	arch_switch(from, to, &m->thread);
	RACE_SAME_THREAD();
}

static void resync_signals(struct m *m, struct g *g) {
	if (__builtin_expect(g->sigmask != m->kmask, 0) && sig_resync_hook)
		sig_resync_hook(g);
}

/* Bookkeeping of a switch to g on m; g's registers are saved (on_cpu was 0). */
static inline void g_switch_prepare(struct m *m, struct p *p, struct g *g) {
	atomic_store_explicit(&g->ctx.on_cpu, 1, memory_order_relaxed);
	cpu_switching(m);
	__atomic_store_n(&g->m, m, __ATOMIC_RELAXED);
	g_state_set(g, GS_RUNNING);
	atomic_store_explicit(&p->schedtick, p->schedtick + 1, memory_order_relaxed);
	/* release: sysmon's acquire sees g->m and the tick */
	atomic_store_explicit(&m->curg, g, memory_order_release);
	resync_signals(m, g);
}

void schedule(struct m *m) {
	struct g *g;
	for (;;) {
		if (__builtin_expect(m->ending, 0) && wired_end(m))
			break;
		if (__builtin_expect(m->wired_g != NULL, 0))
			wired_wait(m);
		if (!(g = find_runnable(m)))
			break;
		if (m->spinning) {
			spinning_end(m);
			/* Who found this M spinning did not wake another. What it left in the global queue may wait for as long as g runs. */
			if (backlog_anywhere() || globq_waiting())
				wakep();
		}
		if (__builtin_expect(g->wired_m && g->wired_m != m, 0)) {
			if (g->wired_m != &m_elsewhere) {
				wired_hand(m, g); /* who may be anywhere by now */
				continue;
			}
			if (!wired_elsewhere(m, g))
				continue;
		}
		g_wait_off_cpu(g);
		g_switch_prepare(m, m->p, g);
		context_switch(m, &m->g0.ctx, &g->ctx);
	}
	arch_tp_keep(&m->thread, false); /* libc ends the thread with all signals blocked, and the struct may have a new one by then */
	m_retire(m);
}

void g_leave(struct g *g, struct g *next) {
	lock_none_held();
	struct m *m = g->m;
	struct p *p = m->p;
	/* relaxed: g may be in a queue by now, and whoever found it there may take m_elsewhere away (wired_elsewhere()): with or without it the switch is right */
	if (__builtin_expect(__atomic_load_n(&g->wired_m, __ATOMIC_RELAXED) != NULL, 0)) { /* nobody else runs here */
		if (next && next != g)
			runq_put(p, next, true);
		next = NULL;
	} else if (p && !next) {
		next = pick_local(p, false);
	}
	if (next == g) { /* made ready again meanwhile, and it is our turn */
		g_state_set(g, GS_RUNNING);
		return;
	}
	/* acquire: pairs with arch_switch's store. Still 1: another M is leaving it; wait on g0, never here (see the top). */
	if (next && !next->wired_m && atomic_load_explicit(&next->ctx.on_cpu, memory_order_acquire) == 0) {
		g_switch_prepare(m, p, next);
		context_switch(m, &g->ctx, &next->ctx);
		return;
	}
	m->next_g = next;
	cpu_switching(m);
	/* Before the switch, while in_rt of g is certainly > 0: once g's registers are saved it may run elsewhere, and sysmon must not take its
	 * in_rt for this M's. */
	atomic_store_explicit(&m->curg, NULL, memory_order_release);
	context_switch(m, &g->ctx, &m->g0.ctx);
}

/* Leaves the current goroutine (already published where its wakers look, or dead) for whatever is next. */
static inline void g_switch_out(struct g *g, struct g *next) {
	g_leave(g, next);
	wish_check(g);
}

/* ---- the runtime's section: retaken Ps ----------------------------------------------------------------------------- */

/* On the way in from outside g has no use for its P yet. Is it the run of g that sysmon has seen? */
static bool may_give(const struct m *m, const struct g *g) {
	return g->in_rt == 1 && m->p && atomic_load_explicit(&m->p->schedtick, memory_order_relaxed) ==
						atomic_load_explicit(&m->wanted_tick, memory_order_relaxed);
}

/* Who is asked after a call is over, or in the middle of the runtime, refuses. Who computes and comes by again and again would always refuse: one that does is there once in the
 * time that sysmon's barrier takes. So where its P is wanted it gives it, and goes on without. */
void rt_enter_slow(struct g *g) {
	struct m *m = g->m;
	uint32_t is = RETAKE_ASKED;
	do {
		struct p *p = m->p;
		bool gives = is == RETAKE_WANTED && may_give(m, g);
		if (gives) {
			m->given_p = p;
			m->p = NULL; /* before somebody else can have it */
		}
		/* acq_rel: either sysmon sees our answer, or we see that it took the P. acquire: pairs with the release in retake_locked(), for wanted_tick; should that be of an
		 * earlier question, a run is cut short that need not have been. */
		if (atomic_compare_exchange_strong_explicit(&m->retake, &is, gives ? RETAKE_GIVEN : RETAKE_NONE, memory_order_acq_rel, memory_order_acquire))
			return;
		m->p = p;
	} while (is == RETAKE_ASKED || is == RETAKE_WANTED);
	if (is == RETAKE_TAKEN || is == RETAKE_TAKEN_DISK) {
		m->p = NULL;
		atomic_store_explicit(&m->retake, RETAKE_NONE, memory_order_relaxed);
		if (is == RETAKE_TAKEN_DISK)
			disk_slot_free(); /* that call is over, or a handler of the program runs on top of it */
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
	__atomic_store_n(&g->wait_since, atomic_load_explicit(&sched.coarse_now, memory_order_relaxed), __ATOMIC_RELAXED); /* scavenge.c reads */
	g->self_claimed = false;
	g_state_set(g, GS_WAITING);
	/* seq_cst store, then the load of `interrupt`: Dekker with g_interrupt() */
	if (interruptible) {
		atomic_store(&g->wake, WAKE_ARMED_INTR);
		if (atomic_load(&g->interrupt) || (g->kind <= G_MAIN && chaos(CHAOS_INTR)))
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

/* A timer earlier than the blocked poller's deadline ends its sleep; so does the first one that stands for a time of the wall clock: then that is to be looked at. False: nobody
 * blocks there. */
static bool poller_told(int64_t when, bool wall) {
	atomic_thread_fence(memory_order_seq_cst); /* Dekker with poll_as_poller(); on this path only for timed waits */
	if (__builtin_expect(wall && !atomic_load(&wall_lately), 0)) {
		int64_t look = nanotime() + WALL_LOOK_NS;
		atomic_store(&wall_lately, true);
		when = when < look ? when : look;
	}
	int64_t until = atomic_load(&sched.poll_until);
	if (until && until > when)
		netpoll_break();
	return until != 0;
}

void timer_wake_poller(int64_t when) {
	if (poller_told(when, false))
		return;
	/* A foreign thread's: no P was taken into use that sysmon would have been told of. seq_cst: after the fence in there; as in p_attach(). */
	if (__builtin_expect(atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP, 0))
		sysmon_wake();
	sysmon_stir(when); /* the caller's goroutine may go on and on */
}

/* A kernel thread sleeps outside the runtime, so that handlers run on it at once, as without us. (One that waits in the parking lot itself would
 * end this wait early; what waits there is not async-signal-safe.) */
static void foreign_sleep(struct g *g, int64_t deadline) {
	uint32_t depth = g->in_rt;
	/* Nobody tells it that the wall clock was set. */
	int64_t look = deadline_is_wall(deadline) ? nanotime() + WALL_LOOK_NS : INT64_MAX;
	if (deadline > look)
		deadline = look;
	for (;;) {
		/* acquire: pairs with the release in ready() */
		if (atomic_load_explicit(&g->note, memory_order_acquire))
			break;
		struct timespec ts = {deadline / 1000000000, deadline % 1000000000};
		__atomic_store_n(&g->in_rt, 0, __ATOMIC_RELEASE);
		rt_check(g);
		long r = SYS6(SYS_futex, &g->note, FUTEX_WAIT_BITSET_PRIVATE, 0, deadline >= 0 ? &ts : NULL, 0, FUTEX_BITSET_MATCH_ANY);
		atomic_signal_fence(memory_order_seq_cst);
		__atomic_store_n(&g->in_rt, depth, __ATOMIC_RELAXED);
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
				g->timer.wall = deadline_is_wall(deadline);
				g->timer.fire = timer_fire;
				g->timer.arg = g;
				timer_add(h, &g->timer);
				poller_told(deadline, g->timer.wall);
			}
			chaos_delay();
			g_switch_out(g, NULL);
			if (timed && atomic_load_explicit(&g->wake, memory_order_relaxed) != WAKE_TIMEOUT)
				timer_del(&g->timer);
		}
	}
	g_state_set(g, GS_RUNNING);
	if (g->self_claimed) /* else g_switch_out() has looked */
		wish_check(g);
	__atomic_store_n(&g->wait_what, NULL, __ATOMIC_RELAXED); /* a requeue may be at it, too */
	uint32_t why = atomic_load_explicit(&g->wake, memory_order_acquire);
	/* Not rt_exit(): a handler must not run while the caller may still be published somewhere, it could wait itself. */
	atomic_signal_fence(memory_order_seq_cst);
	in_rt_drop(g);
	return why == WAKE_TIMEOUT ? -ETIMEDOUT : why == WAKE_INTR ? -EINTR : 0;
}

static void foreign_ready(struct g *g) {
	atomic_store_explicit(&g->note, 1, memory_order_release);
	SYS3(SYS_futex, &g->note, FUTEX_WAKE_PRIVATE, 1);
}

/* Relaxed: heuristics. */
static bool worth_waking(struct p *p) {
	uint32_t queued = runq_length(p);
	if (__builtin_expect(atomic_load_explicit(&brief, memory_order_relaxed), 0))
		return queued >= BRIEF_BACKLOG;
	return queued >= WAKE_BACKLOG || p->singles++ >= atomic_load_explicit(&wake_skip, memory_order_relaxed);
}

/* Something was queued on p. `wakes`: another M, if that seems useful. */
static void queued_local(struct p *p, bool wakes) {
	if (wakes && atomic_load_explicit(&sched.idle_p_count, memory_order_relaxed) && worth_waking(p) && !chaos(CHAOS_WAKE)) {
		p->singles = 0;
		wakep();
	} else {
		sysmon_stir(0);
	}
}

/* self's M, which has p, goes on to the only one that is queued there: it has just woken for him, as a rule. If all others are idle sysmon looks for timers itself, soon: with
 * somebody at work it would rely on a poller, and there is none any more. */
static bool is_next(const struct g *self, const struct m *m, struct p *p) {
	return self->kind == G_G0 && !m->next_g && runq_length(p) == 1 &&
	       atomic_load_explicit(&sched.idle_p_count, memory_order_relaxed) + 1 == sched.procs; /* relaxed: a heuristic */
}

/* Inside the runtime, on self. */
static void ready_local(struct g *self, struct g *g, bool next, bool wakes) {
	struct m *m = self->m;
	struct p *p = m ? m->p : NULL;
	g_state_set(g, GS_RUNNABLE);
	if (p && !chaos(CHAOS_MIGRATE)) {
		runq_put(p, g, next);
		if (!is_next(self, m, p))
			queued_local(p, wakes);
	} else {
		globq_put(g);
		wakep();
	}
}

static void ready_one(struct g *g, bool wakes) {
	struct g *self = g_self();
	chaos_delay();
	if (__builtin_expect(g->kind == G_FOREIGN, 0)) {
		foreign_ready(g);
		return;
	}
	rt_enter(self);
	ready_local(self, g, true, wakes);
	rt_exit(self);
}

void ready(struct g *g) {
	ready_one(g, true);
}

static bool crowded(void) {
	return atomic_load_explicit(&sched.runq.size, memory_order_relaxed) >= CROWD; /* relaxed: a hint */
}

/* With a crowd in the queue the new one runs first, and its maker after it: threads that make threads and join them then are as many at a time as
 * the tree is deep, on stacks that are still warm, instead of as many as it is wide. */
void ready_new(struct g *g) {
	struct g *self = g_self();
	if (__builtin_expect(!crowded(), 1) || chaos(CHAOS_MIGRATE) || self->kind > G_MAIN || self->wired_m || g->wired_m) {
		ready_one(g, !atomic_load_explicit(&brief, memory_order_relaxed));
		return;
	}
	rt_enter(self);
	struct p *p = self->m->p;
	if (!p || self->in_rt > 1) {
		ready_local(self, g, true, true);
	} else {
		g_state_set(g, GS_RUNNABLE);
		g_state_set(self, GS_RUNNABLE);
		runq_put(p, self, ++p->crowded % CROWD_TURN != 0);
		g_switch_out(self, g);
	}
	rt_exit(self);
}

void ready_list(struct g *head) {
	struct g *self = g_self(), *next, *first = NULL, *last = NULL;
	uint32_t n = 0;
	rt_enter(self);
	struct p *p = self->m && !chaos(CHAOS_MIGRATE) ? self->m->p : NULL;
	for (struct g *g = head; g; g = next) {
		next = g->schedlink;
		if (g->kind == G_FOREIGN) {
			foreign_ready(g);
			continue;
		}
		g_state_set(g, GS_RUNNABLE);
		if (p) {
			runq_put(p, g, false);
		} else if (last) {
			last->schedlink = g;
			last = g;
		} else {
			first = last = g;
		}
		n++;
	}
	if (n && p) {
		queued_local(p, true);
	} else if (n) {
		globq_put_list(first, last, n);
		wakep();
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
	if (p && !chaos(CHAOS_MIGRATE)) {
		next = pick_local(p, false);
		if (!next && (!runq_empty(p) || globq_waiting())) { /* a GLOBAL_TICK: through g0 */
			g_state_set(g, GS_RUNNABLE);
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
				timers_run_all(TIMER_BATCH);
				if (netpoll_has_waiters()) {
					struct g *list = netpoll_poll(0);
					if (list)
						next = list_take(p, list);
				}
				if (!next)
					next = steal_work(g->m, p, HELPED_UNKNOWN);
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
		g_state_set(g, GS_RUNNABLE);
		runq_put(p, g, false);
	} else {
		g_state_set(g, GS_RUNNABLE);
		globq_put(g);
		wakep();
	}
	g_switch_out(g, next);
	rt_exit(g);
}

void g_admitted(struct g *g) {
	if (g->kind > G_MAIN)
		return;
	if (++g->admitted % ADMIT_TURN != 0)
		return;
	if (crowded()) {
		g_move(g);
		return;
	}
	rt_enter(g); /* the P stays ours while we look */
	struct p *p = g->m->p;
	bool others = p && !runq_empty(p);
	rt_exit(g);
	if (others)
		g_yield(g);
}

static void move(struct g *g, void (*put)(struct g *g)) {
	rt_enter(g);
	g_state_set(g, GS_RUNNABLE);
	put(g);
	wakep();
	g_switch_out(g, NULL);
	rt_exit(g);
}

void g_move(struct g *g) {
	move(g, globq_put);
}

void g_move_late(struct g *g) {
	move(g, globq_put_late);
}

/* On its own stack, from the injected call. It goes behind everybody who waits, also those who are woken later; GLOBAL_TICK bounds that. */
void g_preempt(struct g *g) {
	rt_enter(g);
	wish_check(g);
	struct m *m = g->m;
	if (!m->p) {
		struct p *p = p_idle_get();
		if (p)
			p_attach(m, p);
	}
	struct p *p = m->p;
	if (!p || !runq_empty(p) || globq_waiting()) {
		g_state_set(g, GS_RUNNABLE);
		stat_count(p ? p->stat : NULL, STAT_PREEMPTED, 1);
		globq_put_late(g);
		if (!p)
			wakep(); /* a P may have gone idle before it could see g */
		g_switch_out(g, NULL);
	}
	rt_exit(g);
}

void g_exit(struct g *g) {
	rt_enter(g);
	if (__builtin_expect(g->wired_m != NULL, 0)) {
		g->m->ending = g->m->pinned; /* then it stays wired: nobody is switched to from here */
		g_wire(g, false);
		g->tp_held = false; /* cancelled under g_tp_hold() */
		arch_tp_keep(&g->m->thread, false);
	}
	g_state_set(g, GS_DEAD);
	g_switch_out(g, NULL);
	__builtin_unreachable();
}

/* ---- syscalls ------------------------------------------------------------------------------------------------------------ */

void syscall_enter(struct g *g) {
	if (chaos(CHAOS_HANDOFF))
		syscall_enter_blocking(g);
	else if (g && g->kind <= G_MAIN)
		atomic_store_explicit(&g->in_syscall, SYSCALL_PLAIN, memory_order_relaxed);
}

/* Back from a syscall without a P: get one, or queue up for one. */
static void syscall_exit_slow(struct g *g) {
	rt_enter(g); /* notices a retake */
	wish_check(g);
	struct m *m = g->m;
	if (!m->p) {
		struct p *p = p_idle_get();
		if (!p)
			p = sysmon_take_from_syscall();
		if (p) {
			p_attach(m, p);
		} else {
			g_state_set(g, GS_RUNNABLE);
			globq_put(g);
			sysmon_stir(0); /* an event loop that comes back beside those that compute: it may have slept */
			g_switch_out(g, NULL);
		}
	}
	rt_exit(g);
}

void syscall_exit(struct g *g) {
	if (!g || g->kind > G_MAIN)
		return;
	bool slot = atomic_load_explicit(&g->in_syscall, memory_order_relaxed) == SYSCALL_DISK_SLOT;
	atomic_store_explicit(&g->in_syscall, SYSCALL_NONE, memory_order_relaxed);
	if (__builtin_expect(slot, 0)) {
		rt_enter(g);
		disk_slot_free();
		rt_exit(g);
	}
	struct m *m = g->m;
	if (__builtin_expect(atomic_load_explicit(&m->retake, memory_order_relaxed) != RETAKE_NONE || m->p == NULL, 0))
		syscall_exit_slow(g);
}

/* p, whose M is about to wait in the kernel, goes idle and wakes nobody: nothing is queued, and somebody polls or there is nothing to poll for.
 * As in find_runnable(), nothing can need it between the look and the push without taking it off the list afterwards. */
bool p_put_unneeded(struct p *p) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	bool polled = sched.poller || (!netpoll_has_waiters() && timers_first() == INT64_MAX);
	bool unneeded = polled && !globq_waiting() && !p_leaving(p);
	if (unneeded)
		p_idle_push(p);
	lock_release(&sched.lock);
	return unneeded;
}

static void p_hand_over(struct g *g, bool at_once) {
	rt_enter(g);
	struct m *m = g->m;
	struct p *p = m->p;
	bool queued = p && (!runq_empty(p) || globq_waiting());
	/* A wired one waits like this for each descriptor: what sysmon would do about it comes too late, and too often. */
	if (queued || (p && (at_once || g->wired_m))) {
		p_detach(m);
		m_pinned(m, g, 0);
		if (queued || !p_put_unneeded(p)) {
			stat_count(NULL, STAT_HANDOFFS, 1);
			startm(p);
		}
	}
	rt_exit(g);
}

void g_begins(struct g *g) {
	if (__builtin_expect(unseen_known(g), 0) && sysmon_lets_go(g))
		p_hand_over(g, true);
}

void syscall_enter_blocking(struct g *g) {
	if (!g || g->kind > G_MAIN)
		return;
	p_hand_over(g, false);
	atomic_store_explicit(&g->in_syscall, SYSCALL_PLAIN, memory_order_relaxed);
}

void syscall_enter_idling(struct g *g) {
	if (!g || g->kind > G_MAIN)
		return;
	p_hand_over(g, true);
	atomic_store_explicit(&g->in_syscall, SYSCALL_WAITS, memory_order_relaxed);
}

void syscall_repeats(struct g *g) {
	if (g && g->kind <= G_MAIN)
		atomic_store_explicit(&g->in_syscall, SYSCALL_WAITS, memory_order_relaxed);
}

void syscall_enter_disk(struct g *g) {
	if (!g || g->kind > G_MAIN)
		return;
	bool hands_over = chaos(CHAOS_HANDOFF);
	/* relaxed: one more or less. Without a P it needs a slot, as if sysmon had taken that. */
	if (__builtin_expect(atomic_load_explicit(&sched.disk_held, memory_order_relaxed) >= DISK_SLOTS, 0) || hands_over) {
		disk_slot_wait(g);
		if (hands_over) {
			in_rt_up(g); /* it is in the call already: no handler before the look below */
			p_hand_over(g, false);
			in_rt_drop(g);
		}
		if (__builtin_expect(atomic_load_explicit(&rt_pending, memory_order_relaxed) == 0, 1))
			return;
		syscall_exit(g); /* handlers run here, without the slot: they may jump out, or wait for a disk themselves */
	}
	atomic_store_explicit(&g->in_syscall, SYSCALL_DISK, memory_order_relaxed);
}
