/* The checks of a debug build (make DEBUG=1, and the unit tests): what must hold and what nothing else would notice.
 *
 *  - Locks are taken in the order of enum lock_rank, let go of by who holds them, and none is held over a switch. The record of what is
 *    held is the G's and not the M's: nobody switches with a lock held, so it does not matter that a G may change its M. A thread without
 *    a G (none is made just for this) is not watched.
 *  - A G's state changes along the arrows in proc.h. One exchange reads the old state: who makes a G ready has claimed it before, so two never change
 *    it at once.
 *  - A P has one M: whoever is given it finds that nobody has it, and it goes idle once.
 *  - No goroutine is runnable while a P is idle for STARVED_NS (SCH-1). sysmon looks at each tick, and as often while it sleeps because there is nothing to
 *    watch: there it is not the net below a lost wake-up that it is else, so who is forgotten then waits for ever. What counts is that the same one
 *    heads the same queue and that nobody is on the way to it: an M that spins, or has a P and no G, or has been handed a P and does not know yet, or is
 *    the poller whose sleep was broken. The count starts again when a look comes late, because sysmon itself lacked a CPU and with it its chance to wake
 *    somebody, and after a kernel thread was refused. (The one below does not: where looks were late again and again it never came to its end.)
 *  - Who is on the way arrives. On a busy machine an M that was woken lacks a CPU, which is nobody's mistake, and how long that lasts says little. So it
 *    is compared with one that was woken later: each look, but not sooner than the longest of sysmon's ticks after another, wakes the maker, and when that has had
 *    OVERTAKEN turns, the other does not wait for the kernel. (At looks 20 us apart all turns were over in 10 ms; where 50 processes compute, that is one turn of theirs.)
 *    ON_ITS_WAY_NS is for a maker that waits itself. (What the kernel says of the M would be better than this, but /proc is read through a descriptor,
 *    and the program sees that.)
 *
 * Who fails one writes why, and a dump of every goroutine, to stderr, and traps: a core file then shows the rest. Signal handlers of the program see
 * a SIGILL, which they do not survive. Rejected: abort(); it takes libc's locks.
 */
#include <string.h>

#include "runtime.h"

#ifdef GOSHIM_DEBUG
#include "debug.h"
#include "dump.h"

#define STARVED_NS 10000000
#define STARVED_LOOKS 10u
#define OVERTAKEN 200u
#define ON_ITS_WAY_NS 10000000000 /* no thread lacks a CPU for so long */
#define ON_TIME_NS 6000000        /* two ticks of sysmon's */

void debug_die(const char *why) {
	static _Atomic bool dying; /* a dump that fails a check itself */
	SYS3(SYS_write, 2, "goshim: ", 8);
	SYS3(SYS_write, 2, why, __builtin_strlen(why));
	SYS3(SYS_write, 2, "\n", 1);
	if (!atomic_exchange(&dying, true) && sched_started())
		dump_to(2);
	__builtin_trap();
}

/* ---- locks ------------------------------------------------------------------------------------------------------------------ */

static bool may_follow(enum lock_rank held, const struct lock *before, enum lock_rank rank, const struct lock *l) {
	if (held == rank)
		return (rank == LOCK_FUTEX || rank == LOCK_CHAN) && before < l;
	return held < rank;
}

void lock_note_acquire(struct lock *l, enum lock_rank rank) {
	struct g *g = tls_g;
	if (!g)
		return;
	g->locks_lost |= g->locks_held >= G_LOCKS_MAX; /* a large select: from here to its end they are only counted */
	for (uint32_t i = 0; i < g->locks_held && !g->locks_lost; i++) {
		if (g->locks[i] == l)
			debug_die("takes a lock that it holds already");
		if (!may_follow(g->ranks[i], g->locks[i], rank, l))
			debug_die("takes a lock out of order");
	}
	uint32_t n = g->locks_held;
	/* Twice: a handler that takes locks itself uses the same place until it counts, and looks at it afterwards. */
	for (int i = 0; i < 2; i++) {
		if (!g->locks_lost) {
			g->locks[n] = l;
			g->ranks[n] = (uint8_t)rank;
		}
		atomic_signal_fence(memory_order_seq_cst);
		g->locks_held = n + 1;
		atomic_signal_fence(memory_order_seq_cst);
	}
}

void lock_note_release(struct lock *l) {
	struct g *g = tls_g;
	if (!g)
		return;
	uint32_t i = g->locks_held;
	while (!g->locks_lost && i-- > 0 && g->locks[i] != l)
		;
	if (g->locks_held == 0 || i == UINT32_MAX) {
		if (g->kind != G_FOREIGN) /* one of those may have taken it before it had a G */
			debug_die("lets go of a lock that it does not hold");
		return;
	}
	uint32_t last = g->locks_held - 1;
	if (!g->locks_lost) {
		g->locks[i] = g->locks[last];
		g->ranks[i] = g->ranks[last];
	}
	atomic_signal_fence(memory_order_seq_cst); /* before a handler uses that place */
	g->locks_held = last;
	g->locks_lost &= last != 0;
}

void lock_none_held(void) {
	struct g *g = tls_g;
	if (g && g->locks_held)
		debug_die("switches with a lock held");
}

/* ---- states ------------------------------------------------------------------------------------------------------------------ */

#define TO(state) (1u << (state))
static const uint8_t state_next[] = {
	[GS_IDLE] = TO(GS_RUNNABLE) | TO(GS_RUNNING),
	[GS_RUNNABLE] = TO(GS_RUNNING) |
			TO(GS_RUNNABLE), /* once by who made it ready, once by who queues the list it came in */
	[GS_RUNNING] = TO(GS_RUNNABLE) | TO(GS_WAITING) | TO(GS_DEAD) |
		       TO(GS_RUNNING), /* the switch back, then the end of the wait */
	[GS_WAITING] = TO(GS_RUNNABLE) | TO(GS_RUNNING),
	[GS_DEAD] = TO(GS_RUNNABLE) | TO(GS_RUNNING),
};

void g_state_set(struct g *g, enum g_state to) {
	uint8_t from = atomic_exchange_explicit(&g->state, (uint8_t)to, memory_order_acq_rel);
	if (!(state_next[from] & TO(to)))
		debug_die("a goroutine takes a state that it cannot get to from where it is");
}

/* ---- Ps ---------------------------------------------------------------------------------------------------------------------- */

void debug_p_given(struct p *p) {
	/* relaxed: who is giving it up has done so before, by a lock or a note. Also one that has no P any more: sysmon would go by what its goroutine does. (From whom it
	 * was taken may not know yet; p->m does not name that one.) */
	if (p->idle || atomic_load_explicit(&p->m, memory_order_relaxed))
		debug_die("a P is given to somebody while it is another's");
}

void debug_p_idles(struct p *p) {
	if (p->idle)
		debug_die("a P goes idle that is idle");
}

/* ---- runnable goroutines and idle Ps ------------------------------------------------------------------------------------------- */

/* The head of one queue. */
struct watched {
	const struct g *g;
	uint32_t tick;  /* of its P: somebody may be first twice */
	uint32_t looks; /* for so many in a row */
	uint32_t turns; /* of the maker, while somebody was on the way */
	int64_t since, nobody_since;
};

static struct watched watched[GOMAXPROCS_MAX + 2];
static int64_t last_look;
static _Atomic bool forgiven, poller_broken;

void debug_m_refused(void) {
	atomic_store_explicit(&forgiven, true, memory_order_relaxed);
}

void debug_poller_broken(void) {
	atomic_store_explicit(&poller_broken, true, memory_order_relaxed);
}

void debug_fork_child(void) {
	memset(watched, 0, sizeof watched);
	last_look = 0;
}

/* A P that is not idle has an M that runs somebody, or one that will: as soon as it has a CPU. Seen one after the other: what changes meanwhile is seen
 * otherwise at the next look. */
static bool p_is_coming(void) {
	uint32_t n = sched.procs, accounted = atomic_load(&sched.idle_p_count);
	for (uint32_t i = 0; i < n; i++) {
		struct m *m = atomic_load_explicit(&sched.all_p[i]->m, memory_order_relaxed);
		accounted += m && atomic_load_explicit(&m->curg, memory_order_relaxed);
	}
	return accounted < n;
}

/* Relaxed: looked at again and again. */
static bool on_its_way(void) {
	if (!atomic_load_explicit(&sched.poller, memory_order_relaxed))
		atomic_store_explicit(&poller_broken, false, memory_order_relaxed);
	return atomic_load(&sched.spinning) || atomic_load_explicit(&poller_broken, memory_order_relaxed) || p_is_coming();
}

/* Has the maker run since an earlier look woke it? */
static bool maker_ran(int64_t now) {
	static uint32_t seen;
	static int64_t nudged;
	if (now - nudged < SYSMON_TICK_MAX_NS)
		return false;
	nudged = now;
	uint32_t turn = maker_nudge();
	bool ran = turn != seen;
	seen = turn;
	return ran;
}

static const struct g *head_of(struct p *p) {
	const struct g *next = atomic_load_explicit(&p->runnext, memory_order_relaxed);
	uint32_t head = atomic_load_explicit(&p->runq_head, memory_order_relaxed);
	return head != atomic_load_explicit(&p->runq_tail, memory_order_relaxed)
		       ? atomic_load_explicit(&p->runq[head % RUNQ_SIZE], memory_order_relaxed)
		       : next;
}

/* What of one look is the same for all queues. */
struct state {
	int64_t now;
	bool idle;   /* a P is */
	bool late;   /* the look before was long ago, or a kernel thread was refused since */
	bool coming; /* somebody is on the way */
	bool turn;   /* the maker has run */
};

/* True: who heads this queue has done so before, and somebody is on the way. */
static bool watch(struct watched *w, const struct g *g, uint32_t tick, const struct state *is) {
	if (!is->idle || !g || w->g != g || w->tick != tick) {
		*w = (struct watched){.g = g, .tick = tick, .since = is->now, .nobody_since = is->now};
		return false;
	}
	if (is->late || is->coming) {
		w->looks = 0;
		w->nobody_since = is->now;
	}
	if (is->coming) {
		w->turns += is->turn;
		if (w->turns > OVERTAKEN || is->now - w->since > ON_ITS_WAY_NS)
			debug_die("a goroutine is runnable and a P idle, and who is on the way does not arrive");
	} else if (++w->looks >= STARVED_LOOKS && is->now - w->nobody_since > STARVED_NS) {
		debug_die("a goroutine is runnable and a P idle, and nobody comes");
	}
	return is->coming;
}

void debug_look(int64_t now) {
	static bool waits;
	bool late = now - last_look >= ON_TIME_NS;
	late |= atomic_exchange_explicit(&forgiven, false, memory_order_relaxed);
	last_look = now;
	struct state is = {now, atomic_load(&sched.idle_p_count) > 0, late, on_its_way(), waits && maker_ran(now)};
	uint32_t n = sched.procs;
	/* Relaxed and without the lock: only compared. */
	waits = watch(&watched[GOMAXPROCS_MAX], __atomic_load_n(&sched.runq.head, __ATOMIC_RELAXED), 0, &is);
	waits |= watch(&watched[GOMAXPROCS_MAX + 1], __atomic_load_n(&sched.late.head, __ATOMIC_RELAXED), 0, &is);
	for (uint32_t i = 0; i < n; i++) {
		struct p *p = sched.all_p[i];
		waits |= watch(&watched[i], head_of(p), (uint32_t)atomic_load_explicit(&p->schedtick, memory_order_relaxed), &is);
	}
}

bool debug_looks_asleep = true;

int64_t debug_asleep(int64_t next) {
	int64_t now = nanotime();
	if (!debug_looks_asleep)
		return next;
	debug_look(now);
	return next - now < SYSMON_TICK_MAX_NS ? next : now + SYSMON_TICK_MAX_NS;
}
#endif
