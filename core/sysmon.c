/* sysmon: a kernel thread without a P that looks after what no M sees.
 *
 * Each tick it (1) polls the network and fires timers if no M has done so for a while, (2) looks at the Ps that have run one G since the last
 * tick while others wait: is the G in a bracketed syscall (SYSCALL_NS) or blocked where nobody sees it (its CPU clock stands still), its P is
 * taken; does it compute, it is preempted after SLICE_NS (preempt.c), or makes room for one that was woken after WOKEN_NS, or loses its P where it spins, (3) wakes an M for
 * goroutines that are queued while a P is idle (SCH-1).
 * The tick is TICK_MIN while there was something to do lately, SYSMON_TICK_MAX in a steady state. Where nobody waits for a P it dozes for as long as Go's does, and who comes
 * to wait stirs it: each of its wake-ups takes the CPU from a goroutine, which on a busy machine gets it back when others have had theirs. When every P is idle for IDLE_TICKS, and
 * nobody computes without one, it dozes, and soon sleeps until one is taken again, so an idle process has no wake-ups, but for a few in the first seconds, which give memory
 * back (scavenge.c).
 * While every P computes, sysmon is who waits for the network and for timers (doze).
 *
 * sysmon_retake() and the M agree by an asymmetric Dekker: the M stores in_rt and loads m->retake with no fence (rt_enter); sysmon stores m->retake,
 * issues membarrier(PRIVATE_EXPEDITED), which is a full fence on every running thread of the process, and loads in_rt. If that is 0, every later
 * rt_enter sees the request, and the two settle it by a CAS on m->retake. Who comes in while it is asked refuses, because its system call is over; but a G that computes
 * (RETAKE_WANTED) gives its P there and then: one that comes in every microsecond would refuse each time, and keep the others waiting for seconds.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "asan.h"
#include "batch.h"
#include "chaos.h"
#include "debug.h"
#include "netpoll.h"
#include "procs.h"
#include "race.h"
#include "runtime.h"
#include "tcb.h"
#include "unwind.h"

#define TICK_MIN_NS 1000000      /* 1 ms: a wake-up costs 8 us of CPU, on a virtual machine 30, so this is 1 to 3 % of a core, and only while it pays */
#define CALM_TICKS 32u           /* ticks without work until the tick doubles */
#define IDLE_TICKS 4u            /* with every P idle it ticks so often, then dozes */
#define IDLE_DOZES 2u            /* ... and then sleeps deeply, from where every P that is taken into use has to wake it */
#define TICK_SOON_NS 100000      /* once more, where two looks decide */
#define DOZE_MIN_NS 250000       /* the least sleep before a timer: Ms that switch run their own */
#define SYSCALL_NS 1000000       /* a bracketed syscall may hold its P this long when somebody waits */
#define STILL_NS 80000           /* a CPU clock that stands still for this long is its thread's that blocks; if only preempted ones wait: SYSCALL_NS */
#define WOKEN_NS 500000          /* who has been seen running for this long makes room for one that was woken */
#define SLICE_NS 10000000        /* a running goroutine's share among those that only compute: Go's time slice */
#define GRACE_NS 10000000        /* from the question until its P is taken */
#define GRACE_CPU_NS 500000      /* ... if it used so much CPU time meanwhile */
#define STRAY_NS 4000000         /* what one that runs beside those with a P may keep a CPU for: a slice of the kernel's */
#define STRAY_IDLE 16            /* ... but one that used less than this part of the time is blocked for most of it */
#define RECOUNT_NS 2000000       /* how soon that is looked at again where it matters */
#define ASTRAY_NS 100000000      /* ... and when they are taken to be blocked, if none had any CPU time: the kernel gives a thread its turn by then, on all but the busiest machines */
#define BLOCKED_NS 1000000000    /* ... and how often it looks whether they still are */
#define TRUST 4u                 /* Ps that must be used at once */
#define PROMPT_NS 500000         /* at once */
#define TRUST_LOOKS 2u           /* at TICK_SOON_NS, after one that seemed blocked */
#define WITHOUT_P_MAX 256u       /* ... and so few kernel threads are there for it */
#define POLL_NS (10000000 - SYSMON_TICK_MAX_NS) /* looked at once a tick: every 10 ms at the latest */
#define WISH_BATCH 64
#define WISH_TRIES 1000u
#define SLICE_MIN_NS 100000      /* the shortest that the kernel grants */

enum { SYSMON_STARTING, SYSMON_UP, SYSMON_FAILED, SYSMON_STOPPING, SYSMON_STOPPED };
static _Atomic uint32_t start_word; /* a futex word: one of these */
static const char *start_why;
static struct g sysmon_g;
static struct lock retake_lock; /* one retaker at a time; rank just above LOCK_SCHED */

static int64_t coarse_now_set(void) {
	int64_t now = nanotime();
	/* relaxed: a hint for people */
	atomic_store_explicit(&sched.coarse_now, now, memory_order_relaxed);
	return now;
}

void sysmon_wake(void) {
	coarse_now_set(); /* it stood still while sysmon slept */
	/* seq_cst: pairs with the store and re-check before the deep sleep */
	if (atomic_exchange(&sched.sysmon_note, SYSMON_AWAKE) == SYSMON_ASLEEP)
		SYS3(SYS_futex, &sched.sysmon_note, FUTEX_WAKE_PRIVATE, 1);
}

/* Somebody ought to block in netpoll, for a descriptor or a timer, and nobody does. Not for long as a rule: an M is on its way. But the last
 * M to go idle may have left it to one that the kernel then refused. */
static bool poller_missing(void) {
	if (atomic_load_explicit(&sched.poller, memory_order_relaxed))
		return false;
	for (uint32_t i = 0; i < sched.procs; i++) {
		if (atomic_load_explicit(&sched.all_p[i]->timers.first, memory_order_relaxed) != INT64_MAX)
			return true;
	}
	return netpoll_has_waiters();
}

/* Goroutines without a P, when last counted and since; and those of them that are taken to compute. */
static _Atomic uint32_t without_p; /* relaxed: a limit, and a hint. Who begins without one counts itself */
static uint32_t strays;
static int64_t strays_ran; /* when one was last seen to have computed, or lost its P */
static bool strays_still;  /* that is long ago: they are blocked */

/* Nothing to watch but queues: every P is idle, and an M blocks in netpoll if there is anything to wait for. */
static bool nobody_works(void) {
	if (atomic_load(&sched.idle_p_count) != sched.procs || procs_leaving() || disk_waited())
		return false;
	/* Who computes without a P is to have one that is idle (strays_look), and nobody else may run who would wake us for it. */
	if (without_p && !strays_still)
		return false;
	/* A signal that waits for its goroutine: a kick may reach an M just before the system call it was to end, so keep looking. */
	if (atomic_load_explicit(&rt_pending, memory_order_relaxed) || wishes_listed())
		return false;
	return !poller_missing();
}

/* Somebody may be while every P is idle, when the kernel refused an M. */
static bool nobody_queued(void) {
	if (globq_waiting())
		return false;
	for (uint32_t i = 0; i < sched.procs; i++) {
		if (!runq_empty(sched.all_p[i]))
			return false;
	}
	return true;
}

static bool all_idle(void) {
	return nobody_works() && nobody_queued();
}

/* A clock that stands still says little on a machine that lacks CPUs. But where the Ps that are taken for it are used at once there are CPUs; and a program
 * one of whose threads waits where nobody sees it (libgomp makes futex calls by its own instructions) has more of them. So such a G is no stray while so many Ps in a
 * row were used at once, and WITHOUT_P_MAX keeps a program that computes with thousands of threads from running them all as kernel threads. */
static uint32_t trust = TRUST;
static uint32_t trust_looks; /* to come at once after who seemed blocked, or the next one, lost its P */

/* Nothing to do until somebody stirs us, however long those run that do. Relaxed: hints, and it is not for long. */
static bool nobody_waits(void) {
	if (!nobody_queued() || strays || procs_leaving() || disk_waited() || wishes_listed() || chaos_modes)
		return false;
	if (atomic_load_explicit(&rt_pending, memory_order_relaxed) || atomic_load_explicit(&sched.m_lacking, memory_order_relaxed) || m_coming())
		return false;
	return atomic_load_explicit(&sched.poller, memory_order_relaxed) || !netpoll_has_waiters();
}

int32_t sysmon_ktid(void) {
	return sysmon_g.tid;
}

/* Async-signal-safe: makes sysmon look now, also if it is just about to sleep. */
void sysmon_poke(void) {
	/* release: what the caller published is seen by sysmon, whose wait compares the word (or reads it) after */
	atomic_store_explicit(&sched.sysmon_note, SYSMON_POKED, memory_order_release);
	SYS3(SYS_futex, &sched.sysmon_note, FUTEX_WAKE_PRIVATE, 1);
}

/* Does g leave its P alone until it has looked at m->retake? In the middle of a call that does not wait (pd_try_begin()) it does, too: a page of
 * the program's that such a call touches may take its time, and may come from another goroutine. Not on the way into a call outside. */
static bool is_outside(struct g *g) {
	/* acquire, each: in this order */
	uint32_t in_rt = __atomic_load_n(&g->in_rt, __ATOMIC_ACQUIRE);
	return in_rt == 0 || (in_rt == 1 && atomic_load_explicit(&g->trying, memory_order_acquire) &&
	                      !atomic_load_explicit(&g->call_outside, memory_order_acquire));
}

static struct p *retake_locked(struct p *p, struct m *m, struct g *g, bool wanted) {
	uint32_t none = RETAKE_NONE, is = wanted ? RETAKE_WANTED : RETAKE_ASKED;
	uint64_t tick = atomic_load_explicit(&p->schedtick, memory_order_relaxed);
	if (wanted)
		atomic_store_explicit(&m->wanted_tick, tick, memory_order_relaxed);
	/* release: for that */
	if (!atomic_compare_exchange_strong_explicit(&m->retake, &none, is, memory_order_release, memory_order_relaxed))
		return NULL; /* it has lost its P already and does not know yet */
	/* It needs memory on large machines: without the barrier, no answer is to be trusted. */
	bool ordered = threads_fence() == 0;
	/* acquire: in order. No switch on p from before the first look at curg until after the last (the tick is raised before curg is stored):
	 * so in_rt was that of the G on this M, and g did not leave, run elsewhere and come back meanwhile. */
	bool outside = ordered && atomic_load_explicit(&m->curg, memory_order_acquire) == g && is_outside(g) &&
	               atomic_load_explicit(&m->curg, memory_order_acquire) == g &&
	               atomic_load_explicit(&p->m, memory_order_acquire) == m && /* it may have given p away since we looked */
	               atomic_load_explicit(&p->schedtick, memory_order_relaxed) == tick;
	bool disk = atomic_load_explicit(&g->in_syscall, memory_order_relaxed) == SYSCALL_DISK;
	uint32_t answer = !outside ? RETAKE_NONE : disk ? RETAKE_TAKEN_DISK : RETAKE_TAKEN;
	/* acq_rel; acquire: settles it with rt_enter_slow() */
	bool first = atomic_compare_exchange_strong_explicit(&m->retake, &is, answer, memory_order_acq_rel, memory_order_acquire);
	if (first && !outside)
		return NULL;
	if (!first) {
		if (is != RETAKE_GIVEN)
			return NULL;
		p = m->given_p;
		atomic_store_explicit(&m->retake, RETAKE_NONE, memory_order_relaxed); /* m has nothing to learn any more */
	} else if (disk) {
		atomic_fetch_add_explicit(&sched.disk_held, 1, memory_order_relaxed);
	}
	atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
	m_pinned(m, g, atomic_load_explicit(&p->mon_since, memory_order_relaxed));
	return p;
}

struct p *sysmon_retake(struct p *p, struct m *m, struct g *g, bool wanted) {
	lock_acquire(&retake_lock, LOCK_RETAKE);
	struct p *taken = retake_locked(p, m, g, wanted);
	lock_release(&retake_lock);
	return taken;
}

/* Who asked m for its P and was given it may be yet to look: in a struct that another thread has by then it would find no answer, and the P would be nobody's. */
void sysmon_answer_await(struct m *m) {
	if (__builtin_expect(atomic_load_explicit(&m->retake, memory_order_relaxed) == RETAKE_GIVEN, 0)) { /* its own store */
		lock_acquire(&retake_lock, LOCK_RETAKE);
		lock_release(&retake_lock);
	}
}

struct p *sysmon_take_from_syscall(void) {
	for (uint32_t i = 0; i < sched.procs; i++) {
		struct p *p = sched.all_p[i];
		struct m *m = atomic_load_explicit(&p->m, memory_order_acquire);
		struct g *g = m ? atomic_load_explicit(&m->curg, memory_order_acquire) : NULL;
		if (g && atomic_load_explicit(&g->in_syscall, memory_order_relaxed) && sysmon_retake(p, m, g, false)) {
			stat_count(NULL, STAT_RETAKEN_SYSCALL, 1);
			return p;
		}
	}
	return NULL;
}

/* ---- goroutines that keep their P ---------------------------------------------------------------------------------- */

/* What one look at all Ps found. */
struct look {
	int64_t now;
	bool did;              /* something was taken, started or asked for */
	bool woke;             /* somebody was woken by sysmon itself, for a timer or by the network, and waits for a P since then */
	int64_t until;         /* ns until the first P whose G was switched to lately may be taken for one that was woken; 0: none */
	bool stuck;            /* some P has run one G for a while */
	int64_t between;       /* ns since those without a P were last looked at and asked */
	bool computes;         /* ... for SLICE_NS, with no system call (as far as climb.c counts them) */
	bool again;            /* look again very soon: a G may be blocked, or somebody is still waiting for a P */
	uint32_t hogs;         /* Ps that have run one G for WOKEN_NS */
	struct p *longest;     /* ... the one that has for longest, if it may be taken */
	int64_t longest_ran;
};

static void cpu_clock_note(struct p *p, int64_t used, int64_t now) {
	p->mon_cpu = used;
	p->mon_cpu_at = now;
}

/* since it was noted */
static bool stands_still(const struct p *p, int64_t used) {
	return p->mon_cpu_at && used == p->mon_cpu;
}

/* Blocked in a system call that nobody bracketed? Its CPU clock stands still between two looks. (So does that of a thread that only lacks a CPU:
 * then its P is better used elsewhere as well, unless it is the strays who have the CPU, for they would become more. /proc would tell, but to open a file
 * there takes the lowest free descriptor from under the program's nose.) Where it may have blocked between the first two looks, the third comes soon; not
 * where it had the CPU most of the time: each look costs a computing program some 30 us, and was two of three that sysmon took. */
static bool blocks_unseen(struct p *p, struct m *m, struct look *look, int64_t least) {
	int64_t used = preempt_cpu_time(m), between = look->now - p->mon_cpu_at;
	least += strays * STRAY_NS;
	if (stands_still(p, used)) {
		look->again |= between < least && least - between <= TICK_SOON_NS; /* farther from it, the next tick tells */
		return between >= least;
	}
	/* Not read since the run was first seen, or only then. relaxed: an M that has just taken the P may set it to 0, which costs one look less. */
	if (p->mon_cpu_at <= atomic_load_explicit(&p->mon_since, memory_order_relaxed))
		look->again |= p->mon_cpu_at == 0 || used - p->mon_cpu < between / 2;
	cpu_clock_note(p, used, look->now);
	return false;
}

/* The same where nobody needs p: as one in a system call does, it would keep sysmon from its sleep for as long as it is blocked. */
static bool blocks_for_long(struct p *p, struct m *m, const struct look *look) {
	if (p->mon_cpu_at && look->now - p->mon_cpu_at < ASTRAY_NS)
		return false; /* a read costs a system call */
	int64_t used = preempt_cpu_time(m);
	bool blocked = p->mon_cpu_at && used - p->mon_cpu < (look->now - p->mon_cpu_at) / STRAY_IDLE;
	if (!blocked)
		cpu_clock_note(p, used, look->now);
	return blocked;
}

static bool trusted(void) {
	return trust == TRUST && without_p < WITHOUT_P_MAX;
}

/* p was taken from one that seemed blocked. `used`: it has run somebody since. */
static void trust_look(struct p *p, const struct m *m, bool used, int64_t now) {
	if (!p->mon_taken)
		return;
	bool late = now - p->mon_taken > PROMPT_NS;
	lock_acquire(&sched.lock, LOCK_SCHED);
	bool idle = p->idle;
	lock_release(&sched.lock);
	/* relaxed: at worst it says nothing, or voids the trust for once. Who went idle with p, or has it from elsewhere, has not been late for it. */
	bool elsewhere = idle || p_leaving(p) || (m && atomic_load_explicit(&m->curg, memory_order_relaxed));
	if (!used && !elsewhere && (!late || m_coming()))
		return;
	p->mon_taken = 0;
	if (used && !late)
		trust += trust < TRUST;
	else if (!used && !elsewhere)
		trust = 0;
}

static void clock_note(struct m *m, struct g *g, int64_t used, int64_t now) {
	m->clock_g = g;
	m->clock_cpu = used;
	m->clock_at = now;
}

/* Where it waited it went to sleep. */
static void spins_no_more(struct g *g) {
	atomic_store_explicit(&g->spins, 0, memory_order_relaxed);
}

static void strays_run(int64_t now) {
	strays_ran = now;
	strays_still = false;
}

static bool take(struct p *p, struct m *m, struct g *g, struct look *look) {
	bool in_syscall = atomic_load_explicit(&g->in_syscall, memory_order_relaxed);
	int64_t used = in_syscall ? 0 : preempt_cpu_time(m);
	bool blocked = !in_syscall && used >= 0 && stands_still(p, used) && look->now - p->mon_cpu_at >= STILL_NS;
	if (!(p = sysmon_retake(p, m, g, !in_syscall)))
		return false;
	stat_count(NULL, in_syscall ? STAT_RETAKEN_SYSCALL : STAT_RETAKEN_HOG, 1);
	without_p += !in_syscall;
	if (!in_syscall)
		strays_run(look->now);
	strays += !in_syscall && !(blocked && trusted());
	clock_note(m, g, used, look->now);
	m->unseen_g = blocked ? g : NULL;
	m->unseen_cpu = used;
	if (p_leaving(p)) {
		procs_part(p);
	} else if ((!in_syscall && !nobody_queued()) || !runq_empty(p) || !p_put_unneeded(p)) { /* who waits behind one that computes is to be stolen at once */
		startm(p);
		p->mon_taken = blocked ? nanotime() : 0;
	}
	if (blocked) { /* after the P has gone on: the first time it may open a file */
		spins_no_more(g);
		unseen_note(m, g, look->now);
	}
	look->did = true;
	return true;
}

/* One that spins waits for somebody else to run, and keeps a P from him: it goes on without one, as a kernel thread, until it comes by where it parks. */
static bool spins(const struct g *g) {
	return g_spins(g) && without_p < WITHOUT_P_MAX;
}

bool sysmon_lets_go(const struct g *g) {
	return !g->wired_m && atomic_fetch_add_explicit(&without_p, 1, memory_order_relaxed) < WITHOUT_P_MAX;
}

static enum preempt_how unless_spins(void) {
	return without_p < WITHOUT_P_MAX ? PREEMPT_UNLESS_SPINS : PREEMPT_GIVE_WAY;
}

/* A goroutine that computes: asked to give way at first; if it does not, in libc or on a stack of its own making, the kernel shares the CPU. */
static void slice_is_over(struct p *p, struct m *m, struct g *g, struct look *look) {
	if (!p->mon_asked) {
		p->mon_asked = look->now;
		p->mon_asked_cpu = preempt_cpu_time(m);
		if (preempt_ask(m, g, p->mon_tick, unless_spins()))
			return; /* which is no reason to look more often: the answer comes with the kernel's tick, and the next question a slice later */
	} else if (look->now - p->mon_asked < GRACE_NS || preempt_cpu_time(m) - p->mon_asked_cpu < GRACE_CPU_NS) {
		return; /* or it had no CPU to hear the question on */
	}
	take(p, m, g, look);
}

/* Its P runs one G since `ran` ns as far as was seen, which is too short a while to take it. */
static void soon(struct look *look, int64_t ran) {
	if (!look->until || WOKEN_NS - ran < look->until)
		look->until = WOKEN_NS - ran;
}

static void watch_p(struct p *p, struct look *look) {
	struct m *m = atomic_load_explicit(&p->m, memory_order_acquire);
	uint32_t tick = atomic_load_explicit(&p->schedtick, memory_order_relaxed);
	trust_look(p, m, tick != p->mon_tick, look->now);
	if (!m)
		return;
	int64_t since = atomic_load_explicit(&p->mon_since, memory_order_relaxed);
	bool woken = !runq_empty(p) || atomic_load_explicit(&sched.runq.size, memory_order_relaxed);
	if (tick != p->mon_tick || !since) {
		p->mon_tick = tick;
		atomic_store_explicit(&p->mon_since, look->now, memory_order_relaxed);
		p->mon_cpu_at = p->mon_asked = 0;
		p->mon_looked = false;
		p->mon_moved = atomic_load_explicit(&m->moved, memory_order_relaxed);
		if (woken) {
			cpu_clock_note(p, preempt_cpu_time(m), look->now);
			look->again |= trust_looks && trusted();
		}
		soon(look, 0);
		return;
	}
	struct g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
	if (!g)
		return;
	int64_t ran = look->now - since;
	look->stuck |= ran >= SYSCALL_NS;
	look->hogs += ran >= WOKEN_NS;
	bool leaving = p_leaving(p);
	bool wanted = woken || leaving || atomic_load_explicit(&sched.late.size, memory_order_relaxed);
	if (atomic_load_explicit(&g->in_syscall, memory_order_relaxed)) {
		/* Also if nobody needs the P: while it is not idle sysmon must not sleep deeply, for as long as the call waits. As in Go. */
		if (ran >= (wanted ? SYSCALL_NS : SLICE_NS))
			take(p, m, g, look);
		return;
	}
	look->computes |= ran >= SLICE_NS && atomic_load_explicit(&m->moved, memory_order_relaxed) == p->mon_moved;
	if (!wanted) {
		if (ran >= ASTRAY_NS && blocks_for_long(p, m, look))
			take(p, m, g, look);
		return;
	}
	if (blocks_unseen(p, m, look, woken ? STILL_NS : SYSCALL_NS) || chaos(CHAOS_HANDOFF)) {
		if (take(p, m, g, look)) {
			look->again = true; /* rarely alone */
			trust_looks = TRUST_LOOKS;
		}
	} else if ((ran >= SLICE_NS && leaving) || (ran >= WOKEN_NS && !woken && spins(g))) {
		take(p, m, g, look);
	} else if (ran >= SLICE_NS && !woken) {
		slice_is_over(p, m, g, look);
	} else if (ran >= SLICE_NS / 2 && !woken && !p->mon_looked) {
		p->mon_looked = true;
		preempt_ask(m, g, p->mon_tick, PREEMPT_LOOK);
	} else if (woken && ran < WOKEN_NS) {
		soon(look, ran);
	} else if (woken) {
		if (!runq_empty(p)) /* who waits here goes first */
			ran += SLICE_NS;
		if (ran > look->longest_ran) {
			look->longest = p;
			look->longest_ran = ran;
		}
	}
}

/* Somebody was woken and no P is idle: whoever has run longest makes room (design: NPTL's wake-ups preempt, too). Not by preemption alone, which takes
 * until the kernel's next tick: its P goes to another M at once, and it is stopped when that tick comes. Nor is it stopped if nobody else waits: where all that the one
 * who was woken does is to look and wait again, it goes on beside it on its own M, and has a P again soon (strays_look). Stopped, it would go on on the M of that
 * one, whose kernel thread would then have used up what makes the kernel prefer it the next time: 1 of 20 wake-ups was 2 ms late. */
static void make_room(struct look *look) {
	struct p *p = look->longest;
	if (atomic_load(&sched.idle_p_count) || !atomic_load_explicit(&sched.runq.size, memory_order_relaxed))
		look->woke = false;
	if (!p || atomic_load(&sched.idle_p_count))
		return;
	struct m *m = atomic_load_explicit(&p->m, memory_order_acquire);
	struct g *g = m ? atomic_load_explicit(&m->curg, memory_order_acquire) : NULL;
	bool more = atomic_load_explicit(&sched.runq.size, memory_order_relaxed) > 1 || !runq_empty(p) ||
		    atomic_load_explicit(&sched.late.size, memory_order_relaxed);
	if (g && take(p, m, g, look)) {
		if (more && m->unseen_g != g && !spins(g))
			preempt_ask(m, g, p->mon_tick, PREEMPT_GIVE_WAY);
		look->woke = atomic_load_explicit(&sched.runq.size, memory_order_relaxed) > 1;
		look->again |= look->woke;
	}
}

static struct p *p_of(struct m *m) {
	for (uint32_t i = 0, n = sched.procs_all; i < n; i++) {
		if (atomic_load_explicit(&sched.all_p[i]->m, memory_order_acquire) == m)
			return sched.all_p[i];
	}
	return NULL;
}

/* A goroutine without a P, on m. */
static void stray_look(struct m *m, struct g *g, struct look *look, bool asks) {
	int64_t used = preempt_cpu_time(m), ns = look->now - m->clock_at;
	if (m->unseen_g != g && unseen_known(g)) { /* it gave its P away itself */
		m->unseen_g = g;
		m->unseen_cpu = used;
	}
	bool unseen = m->unseen_g == g, blocked = m->clock_g == g && used >= 0 && used - m->clock_cpu < ns / STRAY_IDLE;
	if (blocked)
		spins_no_more(g);
	if (ns >= RECOUNT_NS || m->clock_g != g)
		clock_note(m, g, used, look->now);
	without_p++;
	strays += !(blocked && trusted());
	if (!asks)
		return;
	uint64_t moved = atomic_load_explicit(&m->moved, memory_order_relaxed);
	bool ran = g != m->stray_g || used - m->stray_cpu >= look->between / STRAY_IDLE;
	if (ran)
		strays_run(look->now);
	look->computes |= ran && g == m->stray_g && moved == m->stray_moved;
	m->stray_g = g;
	m->stray_moved = moved;
	m->stray_cpu = used;
	/* Who waits where nobody sees it, again and again, would only take another P to wait with. */
	if (!unseen || used - m->unseen_cpu >= SLICE_NS)
		preempt_ask(m, g, 0, unless_spins());
}

/* Goroutines that lost their P while they computed (the kernel let them stand still, or others were to go first) go on beside those that have one: as many of them
 * as there are CPUs missing. So that they do not become more and more, each is asked to give way as one with a P is; if a P is idle it gets that, and goes on where it
 * is. An M without a P is not to be seen from its own fields, which it changes late. */
static void strays_look(struct look *look) {
	static int64_t next, recount;
	bool asks = look->now >= next;
	if (!asks && !(strays && trusted() && look->now >= recount))
		return;
	if (asks) {
		look->between = look->now - (next - SLICE_NS);
		next = look->now + SLICE_NS;
	}
	recount = look->now + RECOUNT_NS;
	strays_still = look->now - strays_ran >= ASTRAY_NS; /* unless one is found that ran */
	atomic_store_explicit(&without_p, 0, memory_order_relaxed);
	strays = 0;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		struct g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
		if (g && __atomic_load_n(&g->kind, __ATOMIC_RELAXED) <= G_MAIN && !atomic_load_explicit(&g->in_syscall, memory_order_relaxed) &&
		    !__atomic_load_n(&g->wired_m, __ATOMIC_RELAXED) && !p_of(m)) {
			stray_look(m, g, look, asks);
		} else {
			m->stray_g = m->clock_g = m->unseen_g = NULL;
		}
	}
}

/* ---- one tick ---------------------------------------------------------------------------------------------------------- */

/* An idle M may block in netpoll while a P is stuck with one G. */
static void poller_wanted(struct look *look) {
	bool need = look->stuck && atomic_load(&sched.idle_p_count) > 0 && (netpoll_has_waiters() || globq_waiting());
	/* Also where no M is idle now: the next one that is would sleep, and its goroutine's descriptor be looked at a tick later. */
	atomic_store_explicit(&sched.need_poller, look->stuck, memory_order_relaxed);
	if (need && !atomic_load_explicit(&sched.poller, memory_order_relaxed)) {
		wakep();
		look->did = true;
	}
	if (atomic_load(&sched.idle_p_count) == sched.procs && poller_missing()) {
		wakep(); /* it finds nothing and goes to sleep in netpoll */
		look->did = true;
	}
}

/* Events and timers, when no M blocks for them. `poll`: the network has something. */
static void events(struct look *look, bool poll) {
	if (atomic_load_explicit(&sched.poller, memory_order_relaxed))
		return;
	bool fired = false;
	for (uint32_t i = 0, n = sched.procs_all; i < n; i++)
		fired |= timer_run(&sched.all_p[i]->timers, look->now, TIMER_BATCH) > 0;
	look->did |= fired;
	look->woke |= fired;
	if (!netpoll_has_waiters())
		return;
	if (!poll && look->now - atomic_load_explicit(&sched.last_poll, memory_order_relaxed) < POLL_NS)
		return;
	atomic_store_explicit(&sched.last_poll, look->now, memory_order_relaxed);
	struct g *list = netpoll_poll(0);
	if (list) {
		ready_list(list);
		look->did = look->woke = true;
	}
}

/* There is work and a P for it, but the kernel refuses a thread (RLIMIT_NPROC, a limit of the control group), or the maker waits for the program's malloc, and all Ms
 * there are wait in the kernel, perhaps for what is to be done. On kernel threads pthread_create() would have failed; here it is too late for that. So the Ms are shared: one after the other is called
 * back from its wait and runs others before it waits again. */
static void make_way(struct look *look) {
	struct m *first = NULL;
	struct g *waits = NULL;
	if (!atomic_load_explicit(&sched.m_lacking, memory_order_relaxed))
		return;
	lock_acquire(&sched.lock, LOCK_SCHED);
	bool idle = sched.idle_m != NULL;
	lock_release(&sched.lock);
	if (idle) {
		atomic_store_explicit(&sched.m_lacking, false, memory_order_relaxed);
		return;
	}
	while (wired_hand_queued()) /* their Ms are there: who is missing is the one that would call them */
		look->did = true;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		struct g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
		if (g && atomic_load_explicit(&g->in_syscall, memory_order_relaxed) == SYSCALL_WAITS && !__atomic_load_n(&g->wired_m, __ATOMIC_RELAXED) &&
		    (!first || m->asked_way < first->asked_way)) {
			first = m;
			waits = g;
		}
	}
	if (!first || !sig_disturb_hook)
		return;
	first->asked_way = look->now;
	atomic_store_explicit(&waits->make_way, true, memory_order_relaxed);
	sig_disturb_hook(waits, first);
	look->did = true;
}

/* g runs, with a wish that it may not have seen. True: it will, for all that can be done. */
static bool wish_show(struct g *g, struct look *look) {
	struct m *m = __atomic_load_n(&g->m, __ATOMIC_RELAXED);
	if (!m || atomic_load_explicit(&m->curg, memory_order_acquire) != g)
		return false; /* on its way on or off */
	struct p *p = p_of(m);
	/* Taken from it while it computed, after a call that ended just now: it need not come by anywhere. One that is in a call after take()'s barrier sees at its
	 * end that its P is gone. */
	if (atomic_load_explicit(&g->in_syscall, memory_order_relaxed))
		return !p || (take(p, m, g, look) && atomic_load_explicit(&g->in_syscall, memory_order_relaxed));
	preempt_ask(m, g, p ? (uint32_t)atomic_load_explicit(&p->schedtick, memory_order_relaxed) : 0, PREEMPT_GIVE_WAY);
	return false;
}

/* Goroutines with a wish, which may be running: wired.c. */
static void wishes_look(struct look *look) {
	struct g *batch[WISH_BATCH], *next;
	static uint32_t tries; /* of a list that does not get empty: somebody cannot be preempted. It acts when it next comes by */
	if (!wishes_listed())
		return;
	uint32_t number = atomic_fetch_add(&sched.wish_looks, 1) + 1;
	struct g *g = wishes_take();
	int n = 0;
	for (; g; g = next) {
		next = g->wish_next;
		/* seq_cst: before the look at its wish. From here on it may be listed again. */
		atomic_store(&g->wish_listed, false);
		if (n < WISH_BATCH)
			batch[n++] = g;
		else
			wish_list(g);
	}
	bool ordered = threads_fence() == 0;
	bool left = false;
	for (int i = 0; i < n; i++) {
		g = batch[i];
		if (!atomic_load(&g->wish) || (ordered && atomic_load_explicit(&g->state, memory_order_acquire) != GS_RUNNING) || wish_show(g, look))
			continue;
		left = true;
		if (tries < WISH_TRIES)
			wish_list(g);
	}
	atomic_store(&sched.wish_looked, number);
	tries = left && tries < WISH_TRIES ? tries + 1 : 0;
	look->did |= left;
	look->again |= left && tries < 2;
}

/* How long somebody waits in list, or since one was shown to the Ps, `since`. Relaxed, here and below: hints. */
static int64_t list_waits(const struct g_list *list, int64_t now, int64_t *since) {
	if (!atomic_load_explicit(&list->size, memory_order_relaxed))
		*since = 0;
	else if (!*since)
		*since = now;
	return *since ? now - *since : 0;
}

static void due(struct p *p, uint8_t what) {
	atomic_store_explicit(&p->globq_due, atomic_load_explicit(&p->globq_due, memory_order_relaxed) | what, memory_order_relaxed);
}

/* Who waits in the global queue has its turn every so many switches, and where each of those is a slice of milliseconds that is never: whom sysmon woke for a timer is there, too.
 * One that was preempted after its slice has another when each that is queued on a P may have had one: among threads that yield every millisecond it would wait for
 * that many switches. */
static void globq_look(int64_t now) {
	static int64_t woken_since, late_since;
	if (list_waits(&sched.runq, now, &woken_since) >= WOKEN_NS) {
		woken_since = now;
		for (uint32_t i = 0, n = sched.procs_all; i < n; i++)
			due(sched.all_p[i], P_DUE);
	}
	int64_t late = list_waits(&sched.late, now, &late_since);
	for (uint32_t i = 0, n = sched.procs_all; i < n && late >= SLICE_NS; i++) {
		if (late < SLICE_NS * (1 + runq_length(sched.all_p[i])))
			continue;
		late_since = now;
		due(sched.all_p[i], P_DUE_LATE);
	}
}

static void tick(struct look *look, bool poll) {
	bool queued = false;
	procs_settle();
	wall_look();
	wishes_look(look);
	strays_look(look);
	maker_watch(look->now);
	batch_take_back();
	look->did |= disk_tick(look->now);
	events(look, poll);
	for (uint32_t i = 0, n = sched.procs_all; i < n; i++) {
		struct p *p = sched.all_p[i];
		uint32_t before = p->mon_tick;
		watch_p(p, look);
		/* A P that works through its queue quickly needs no help. */
		queued |= runq_length(p) >= 2 || (!runq_empty(p) && p->mon_tick == before);
	}
	trust_looks -= trust_looks > 0;
	make_room(look);
	poller_wanted(look);
	if (!batch_trying())
		procs_climb(look->now, look->computes);
	if (!procs_climbing())
		batch_look(look->now, look->computes);
	queued |= globq_waiting();
	if (queued && atomic_load(&sched.idle_p_count) > 0) {
		static uint32_t seen; /* at the second tick: what is queued for a moment only is none of our business */
		if (++seen >= 2) {
			sched_single_waited();
			sched_brief_over();
			make_way(look); /* before the P is promised to an M that may be refused */
			wakep();
			look->did = true;
			seen = 0;
		}
	} else {
		sched_single_over();
		sched_brief_over();
	}
	globq_look(look->now);
}

/* ---- the loop ------------------------------------------------------------------------------------------------------------ */

/* Sleeps for a period, less if a timer is due that no M will run, and if that is SYSMON_DOZE_NS until it is stirred. With every P in the hands of a goroutine that
 * computes, the network ends the sleep as well: true if it did. */
static bool doze(int64_t period, bool idle, bool hogs) {
	static bool vain; /* the descriptor was ready for nobody (a break meant for an M): not twice in a row */
	bool stirs = period == SYSMON_DOZE_NS;
	uint32_t awake = SYSMON_AWAKE;
	/* Also where all is idle and an M polls: whom it wakes for a timer may compute, and then nobody polls. */
	if (idle || !atomic_load_explicit(&sched.poller, memory_order_relaxed)) {
		int64_t left = timers_first() - nanotime(), least = hogs ? DOZE_MIN_NS / 8 : DOZE_MIN_NS;
		if (idle && left < period)
			left += TICK_MIN_NS; /* as a rule the M has run him by then, and all is idle again */
		if (left < period)
			period = left > least ? left : least;
		if (hogs && !vain && netpoll_has_waiters()) {
			bool events = netpoll_await(period);
			vain = events;
			return events;
		}
	}
	vain = false;
	struct timespec ts = {0, period};
	if (stirs) {
		atomic_store_explicit(&sched.doze_until, nanotime() + period, memory_order_relaxed);
		/* seq_cst: before the second look. Who is queued after it may still be missed (sysmon_stir) */
		if (!atomic_compare_exchange_strong(&sched.sysmon_note, &awake, SYSMON_DOZES))
			return false;
		if (!nobody_waits()) {
			atomic_store_explicit(&sched.sysmon_note, SYSMON_AWAKE, memory_order_relaxed); /* as if stirred; over a poke, too: we look now */
			return false;
		}
		awake = SYSMON_DOZES;
	}
	SYS4(SYS_futex, &sched.sysmon_note, FUTEX_WAIT_PRIVATE, awake, &ts);
	return false;
}

/* acquire: they may come up while sysmon runs already */
static void shims_look(void) {
	preempt_see_ask();
	void (*hook)(void) = __atomic_load_n(&sig_sysmon_hook, __ATOMIC_ACQUIRE);
	if (hook)
		hook();
}

/* Until somebody wakes it, or it is `next`. */
static void asleep_until(int64_t next) {
	int64_t until;
	long r;
	do {
		until = debug_asleep(next);
		struct timespec ts = {until / 1000000000, until % 1000000000};
		r = SYS6(SYS_futex, &sched.sysmon_note, FUTEX_WAIT_BITSET_PRIVATE, SYSMON_ASLEEP, until == INT64_MAX ? NULL : &ts, 0, FUTEX_BITSET_MATCH_ANY);
	} while (until < next && r == -ETIMEDOUT);
}

/* Who seemed blocked, and has no P, may compute by now, and nobody tells. */
static void blocked_look(int64_t now) {
	struct look look = {.now = now};
	if (without_p)
		strays_look(&look);
}

/* When it is to wake by itself. */
static int64_t wakes_at(int64_t now) {
	int64_t next = scavenge(now, true);
	return without_p && next > now + BLOCKED_NS ? now + BLOCKED_NS : next;
}

/* Nothing is to be watched. seq_cst exchange, then look again: Dekker with p_attach(), which leaves the idle list first. */
static void sleep_deeply(void) {
	procs_climb_over();
	batch_over();
	atomic_exchange(&sched.sysmon_note, SYSMON_ASLEEP);
	shims_look();
	for (bool idle = all_idle(); idle && atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP;) {
		asleep_until(wakes_at(nanotime())); /* after the look: who has begun without a P by then is counted */
		shims_look();
		blocked_look(coarse_now_set());
		idle = nobody_works() && (DEBUG_LEAVES_QUEUED || nobody_queued());
	}
	atomic_store(&sched.sysmon_note, SYSMON_AWAKE);
}

static void sysmon_loop(void) {
	struct look look = {0};
	uint32_t calm = 0, idle = 0, restless = 0; /* ticks, the last one until it may doze */
	int64_t scavenge_at = 0;
	for (;;) {
		if (idle >= IDLE_TICKS + IDLE_DOZES) {
			sleep_deeply();
			idle = IDLE_TICKS - 1; /* who takes a P for a moment is to cost a tick and a doze or two, and who comes to wait later stirs us */
			calm = 0;
			scavenge_at = 0;
			look = (struct look){0};
		}
		bool hogs = look.hogs == sched.procs;
		int64_t period = look.again ? TICK_SOON_NS : calm < CALM_TICKS ? TICK_MIN_NS : SYSMON_TICK_MAX_NS;
		/* Only for those whom sysmon woke, who on a busy machine are few: on queues that are never empty it would double the ticks. */
		if (look.woke && look.until && period > look.until)
			period = look.until;
		if (hogs && netpoll_has_waiters() && period > TICK_MIN_NS)
			period = TICK_MIN_NS;
		bool idles = idle >= IDLE_TICKS && nobody_waits();
		if (idles)
			period = SYSMON_DOZE_NS;
		else if (restless)
			restless--;
		else if (period == SYSMON_TICK_MAX_NS && nobody_waits())
			period = SYSMON_DOZE_NS;
		bool poll = doze(period, idles, hogs);
		/* acquire: pairs with sysmon_poke() */
		uint32_t was = atomic_exchange_explicit(&sched.sysmon_note, SYSMON_AWAKE, memory_order_acquire);
		if (period == SYSMON_DOZE_NS && was != SYSMON_DOZES)
			restless = CALM_TICKS;
		if (atomic_load_explicit(&start_word, memory_order_relaxed) == SYSMON_STOPPING)
			return;
		int64_t now = coarse_now_set();
		shims_look();
		if (__builtin_expect(chaos_modes != 0, 0))
			m_wake_late();
		debug_look(now);
		if (all_idle()) {
			idle++;
			blocked_look(now);
			look = (struct look){0};
			continue;
		}
		idle = 0;
		look = (struct look){.now = now, .woke = look.woke};
		tick(&look, poll);
		if (now >= scavenge_at)
			scavenge_at = scavenge(now, false);
		calm = look.did ? 0 : calm + 1;
	}
}

static void start_word_set(uint32_t value) {
	atomic_store_explicit(&start_word, value, memory_order_release);
	SYS3(SYS_futex, &start_word, FUTEX_WAKE_PRIVATE, 1);
}

static void start_word_await(uint32_t from) {
	/* acquire: pairs with the release above */
	while (atomic_load_explicit(&start_word, memory_order_acquire) == from)
		SYS4(SYS_futex, &start_word, FUTEX_WAIT_PRIVATE, from, 0);
}

/* struct sched_attr of Linux 3.14 */
struct sched_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

static long attributes_of_self(struct sched_attributes *attr) {
	attr->size = sizeof *attr;
	return SYS4(SYS_sched_getattr, 0, attr, sizeof *attr, 0);
}

/* A process of its own, for the calls that we may want to make, and NPTL never makes. */
__attribute__((noreturn)) static void calls_tried(void) {
	struct sched_attributes attr = {0};
	int priority = 0;
	peek(&priority, (uintptr_t)&attr.nice, sizeof priority);
	SYS2(SYS_prctl, PR_SET_TIMERSLACK, 1);
	if (attributes_of_self(&attr) == 0)
		SYS3(SYS_sched_setattr, 0, &attr, 0);
	if (SYS2(SYS_sched_getscheduler, 0, 0) == SCHED_OTHER)
		SYS3(SYS_sched_setscheduler, 0, SCHED_BATCH, &priority);
	for (;;)
		SYS1(SYS_exit_group, 0);
}

/* A filter of system calls that was there before the program (a service manager's) may forbid calls about scheduling, and reading a process's memory, on pain of death, and the
 * program need never make them; as a rule (a container's) it allows them. It cannot be read, so somebody else tries. Not in our memory, though that would be cheaper: before Linux 5.16 who leaves a
 * core takes along all that share his. */
static bool calls_kill(void) {
	if (SYS2(SYS_prctl, PR_GET_SECCOMP, 0) == 0)
		return false;
	int status = -1;
	long child = SYS5(SYS_clone, 0, 0, 0, 0, 0), r;
	if (child == 0)
		calls_tried();
	if (child < 0)
		return true;
	while ((r = SYS4(SYS_wait4, child, &status, __WALL, 0)) == -EINTR)
		;
	return r != child || status != 0;
}

/* sysmon is to wake when it asked to, also while the program's threads compute on every CPU: who asks for a short slice (Linux 6.12) need not wait until the
 * one that runs has had its own, and the kernel's 50 us of slack are for those who can wait. Both are sysmon's alone, who makes no process and no thread
 * that would inherit them. A kernel that knows them not, or a policy under which they mean nothing, is as good as no answer. */
static void be_punctual(void) {
	struct sched_attributes attr = {0};
	if (calls_kill()) {
		peek_forbid();
		return;
	}
	SYS2(SYS_prctl, PR_SET_TIMERSLACK, 1);
	if (attributes_of_self(&attr) < 0)
		return;
	if (attr.policy == SCHED_OTHER && attr.flags == 0)
		batch_allow();
	if (attr.policy == SCHED_OTHER || attr.policy == SCHED_BATCH) {
		attr.runtime_ns = SLICE_MIN_NS;
		SYS3(SYS_sched_setattr, 0, &attr, 0);
	}
}

static void *sysmon_main(void *arg) {
	(void)arg;
	ASAN_STACK_BEGINS();
	RACE_AFTER(&sysmon_g);
	bool ok = tcb_take_template(&start_why) == 0;
	sysmon_g.kind = G_G0;
	sysmon_g.in_rt = 1;
	g_state_set(&sysmon_g, GS_RUNNING);
	sysmon_g.tid = (int32_t)SYS0(SYS_gettid);
	sysmon_g.ctx.tp = arch_tp();
	sysmon_g.m = NULL;
	tls_g = &sysmon_g;
	be_punctual();
	/* release: publishes the template to sysmon_start() */
	start_word_set(ok ? SYSMON_UP : SYSMON_FAILED);
	if (ok) {
		sysmon_loop();
		start_word_set(SYSMON_STOPPED);
	}
	return NULL;
}

int sysmon_start(const char **why) {
	uint64_t all = ALL_SIGNALS, old;
	atomic_store_explicit(&start_word, SYSMON_STARTING, memory_order_relaxed);
	retake_lock.word = 0;
	memset(&sysmon_g, 0, sizeof sysmon_g); /* a fork's child: its namesake in the parent may have held a lock */
	atomic_store_explicit(&sched.sysmon_note, SYSMON_AWAKE, memory_order_relaxed);
	/* All signals blocked: nothing of the program's may land there (SIG-4). */
	SYS4(SYS_rt_sigprocmask, 0, &all, &old, 8);
	RACE_BEFORE(&sysmon_g);
	int r = MAY_FAIL(-EAGAIN, sched_thread_create(sysmon_main, NULL));
	SYS4(SYS_rt_sigprocmask, 2, &old, 0, 8);
	if (r < 0)
		return r;
	start_word_await(SYSMON_STARTING);
	if (start_word == SYSMON_FAILED) {
		*why = start_why;
		return -ENOSYS;
	}
	return 0;
}

void sysmon_stop(void) {
	atomic_store_explicit(&start_word, SYSMON_STOPPING, memory_order_relaxed);
	sysmon_poke(); /* release */
	start_word_await(SYSMON_STOPPING);
}
