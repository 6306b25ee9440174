/* The scheduler's insides: M, P and the global state. Included by core/ only. */
#ifndef GOSHIM_RUNTIME_H
#define GOSHIM_RUNTIME_H

#include <errno.h>
#include <linux/membarrier.h>

#include "chaos.h"
#include "proc.h"
#include "stats.h"
#include "timer.h"

#ifndef RUNQ_SIZE /* tests/model wants a ring that is full soon */
#define RUNQ_SIZE 256
#endif
#define GOMAXPROCS_MAX 256
#define GFREE_MAX 64          /* dead Gs kept per P before half go to the global list */

#define TIMER_BATCH 32        /* timers that fire in one go when nothing else is queued; those left are not forgotten: they are due */

/* But libc's own 32 and 33: setuid() waits until every kernel thread has answered. */
#define ALL_SIGNALS (~(3ull << 31) & ~arch_signals_open)

#define SYSMON_TICK_MAX_NS 2500000 /* its period in a steady state where somebody may come to wait for a P ... */
#define SYSMON_DOZE_NS 10000000    /* ... and where nobody does: Go's */
enum sysmon_state { SYSMON_ASLEEP, SYSMON_AWAKE, SYSMON_POKED, SYSMON_DOZES };
/* Is a P in use? See procs.c. */
enum p_part { P_HERE, P_PARTED, P_GONE };
enum { P_DUE_LATE = 1, P_DUE = 2 }; /* p->globq_due */
/* Of an M's P: asked for by sysmon, and wanted whatever the G does; taken from outside, which the M has yet to notice; given, which sysmon has yet to. */
enum retake { RETAKE_NONE, RETAKE_ASKED, RETAKE_WANTED, RETAKE_TAKEN, RETAKE_TAKEN_DISK, RETAKE_GIVEN };
/* g->in_syscall; see disk.c for the last two. */
/* SYSCALL_WAITS: known to wait for long, and repeated when it is disturbed (sysmon's make_way) */
enum in_syscall { SYSCALL_NONE, SYSCALL_PLAIN, SYSCALL_WAITS, SYSCALL_DISK, SYSCALL_DISK_SLOT };

#define GFREE_SIZES 32u /* as many as stack.c has classes: of more, most are mappings of their own, of which few are kept (MEM-6) */

struct p {
	uint32_t id;
	uint32_t birth;              /* sched.birth, or it is what an ancestor of this process had */
	_Atomic uint32_t runq_head; /* consumers: owner and thieves, CAS */
	_Atomic uint32_t runq_tail; /* owner only writes */
	_Atomic(struct g *) runq[RUNQ_SIZE];
	_Atomic(struct g *) runnext; /* runs before the queue; owner writes, thieves may CAS it away */
	uint32_t runnext_streak;     /* consecutive picks of runnext: bounded so that two friends do not starve the queue */
	_Atomic uint64_t schedtick;  /* +1 per G started: sysmon sees progress */
	_Atomic uint8_t globq_due;   /* the next to run here comes from the global queue: sysmon's globq_look(), P_DUE_... */
	_Atomic(struct m *) m;       /* who owns it; NULL idle */
	struct timer_heap timers;
	struct g *gfree;             /* dead Gs with stacks; an idle P has none (RES-3: another P may need them) */
	uint32_t gfree_count, gfree_round;
	struct p *idle_next;
	bool idle;                   /* under sched.lock */
	_Atomic uint8_t part;        /* enum p_part; under sched.lock */
	uint32_t singles;            /* ready Gs that woke nobody since the last attempt */
	uint32_t idle_yields;        /* fruitless sched_yields in a row */
	uint32_t crowded;            /* goroutines that ran before their maker went on */
	/* sysmon's notes */
	uint32_t mon_tick;
	_Atomic int64_t mon_since;           /* when mon_tick was first seen; the rest is about that G */
	uint64_t mon_moved;          /* its M's `moved` then */
	int64_t mon_asked;           /* when it was asked to give way; 0 not yet */
	int64_t mon_asked_cpu;       /* ... and its CPU clock then */
	bool mon_looked;             /* it was looked at whether it spins */
	int64_t mon_cpu, mon_cpu_at; /* its M's CPU clock, and when that was read; 0 not yet */
	int64_t mon_taken;           /* when it was taken from one that seemed blocked; 0: it has been used since */
	_Atomic uint64_t stat[STAT_COUNT]; /* the holder's: see stats.h */
};

/* Where a goroutine computes, for a report: preempt_see(). Written by its M's signal handler between SEE_NOW and SEE_DONE, else by who asks. */
#define SEEN_FRAMES 64
enum see { SEE_NOTHING, SEE_WANTED, SEE_NOW, SEE_DONE };
struct seen {
	_Atomic uint32_t state; /* enum see */
	uint32_t count;
	struct g *g;
	uint64_t sp;
	uint64_t exact;         /* bit per frame: a signal came in at that pc, which is not behind a call */
	uint64_t pc[SEEN_FRAMES];
};

struct m {
	struct g g0;
	struct arch_thread thread;
	struct p *p;                 /* own thread only (sysmon takes it through `retake`) */
	_Atomic(struct g *) curg;    /* NULL on g0 */
	_Atomic uint32_t retake;     /* enum retake */
	_Atomic uint64_t wanted_tick; /* with RETAKE_WANTED: the P's schedtick when sysmon looked */
	struct p *given_p;           /* with RETAKE_GIVEN */
	_Atomic uint64_t moved;      /* m_moved(); the M's own, read by sysmon */
	bool spinning;
	bool blocked_in_poll;
	_Atomic uint32_t note;       /* futex word: 1 = go */
	struct p *next_p;            /* handed over with the note */
	struct m *idle_next;
	struct m *all_next;
	uint32_t id;
	_Atomic int32_t ktid;
	struct g *wired_g;           /* runs nobody else; wired.c */
	bool pinned;                 /* ... ever: it ends with it. Others look: m_wire(), m_pin(), m_owner() */
	bool ending;                 /* it has */
	_Atomic uint32_t wired_note; /* futex word: 1 = wired_p and wired_g are there to be run */
	struct p *wired_p;
	uint32_t rand;
	_Atomic uint32_t cpu_seq;    /* these two: cpuclock.c */
	_Atomic int64_t cpu_at;
	struct g *next_g;            /* chosen by a parking G whose switch must go through g0 */
	bool exiting;
	bool first;                  /* the process's first kernel thread, which others take for the process: what is sent to it is main's */
	bool parent;             /* made a process, so it never ends: m_parent_begin(); written by the M itself */
	_Atomic bool batch;      /* it is SCHED_BATCH; written under sched.lock, read relaxed: batch.c */
	bool never_batch;        /* ... nor asks for it any more; the M's own */
	/* for reports: since when pinned_g keeps this M without a P; 0 it does not */
	_Atomic int64_t pinned_since;
	struct g *pinned_g;
	struct stack g0_stack;       /* M0 only: the others' g0 is their pthread stack */
	uint64_t kmask;              /* the kernel's signal mask of this thread, but for arch_signals_open; compared with the G's on every switch (SIG-6) */
	char *sigstack;              /* the kernel's alternate stack of this thread (SIG-7); NULL: it has none of ours */
	size_t sigstack_bytes;
	/* preempt.c */
	_Atomic(struct g *) preempt_g; /* who is to give way */
	_Atomic uint32_t preempt_tick;  /* schedtick of its P when that was asked */
	_Atomic uint32_t preempt_tries; /* kernel ticks left to find it at a good place */
	_Atomic uint8_t preempt_how;    /* enum preempt_how */
	struct g *looked_g;             /* whom a question found here last, and its registers then. Its own thread's */
	uint64_t looked_reg[ARCH_DWARF_REGS], looked_vectors;
	struct p *helps_p;            /* its P when it last was woken or stole, and what that P had done by then, and when; NULL: that is over */
	uint64_t helps_tick;
	int64_t helps_since;
	struct g *stray_g;            /* the stray that sysmon saw here last, and `moved` and its CPU clock then. sysmon's */
	uint64_t stray_moved;
	int64_t stray_cpu;
	struct g *clock_g;            /* ... when its CPU clock was last read, and what that showed */
	int64_t clock_cpu, clock_at;
	struct g *unseen_g;           /* lost its P here because it seemed blocked where nobody sees it, and its CPU clock then. sysmon's */
	int64_t unseen_cpu;
	int64_t asked_way;            /* nanotime() when its G was last told to make way. sysmon's */
	struct seen seen;
	int32_t timer_id, timer_ktid; /* the timer on the CPU clock of kernel thread timer_ktid; 0: none yet. sysmon's */
};

/* Linked by schedlink. */
struct g_list {
	struct g *head, *tail;
	_Atomic uint32_t size;       /* read without the lock as a hint */
};

struct sched {
	struct lock lock;            /* LOCK_SCHED: everything below without another note */
	struct g_list runq;          /* woken and new Gs */
	struct g_list late;          /* preempted Gs: behind those that were woken */
	struct p *idle_p;
	_Atomic uint32_t idle_p_count;
	struct m *idle_m;
	uint32_t idle_m_count;
	uint32_t idle_m_parents; /* of them */
	_Atomic uint32_t spinning;
	struct gfree {
		struct g *head, *tail;
		size_t size, guard;  /* of the stacks in it, and of those that were */
	} gfree[GFREE_SIZES + 1];    /* dead Gs with stacks, by the size of those, the last one mixed: those that scavenge.c has not trimmed yet come first */
	uint32_t gfree_sizes;        /* so many of the lists have had a size; only grows */
	uint32_t gfree_count;        /* in all of them */
	uint32_t gfree_low;          /* the least there were since scavenge.c looked: so many nobody needs */
	size_t gfree_single;         /* bytes of those of their stacks that are mappings of their own: so much address space the program lacks */
	uint32_t gfree_strip;        /* so many the maker shall give back */
	_Atomic uint32_t gfree_round; /* +1: Ps that have dead Gs of an earlier round put them into the list above */
	struct g *gshell;            /* dead Gs without */
	struct m *all_m;
	struct m *free_m;            /* exited Ms, for reuse */
	uint32_t m_count;
	_Atomic uint32_t m_open;     /* Ms that run whoever is queued: not pinned. With none left nobody can be scheduled */
	_Atomic uint32_t wish_looks, wish_looked; /* sysmon's looks for wishes: number of the last begun, and done */
	_Atomic bool m_lacking;      /* the kernel refused the last one that was asked for */
	_Atomic uint32_t m_refusals; /* ... how many in a row */
	_Atomic bool m_keep;         /* no M ends for being idle: m_keep_all() */
	uint32_t m_made;             /* structs, ever, a fork's parent's included: each has a slot (arch_thread) of its own */
	_Atomic bool batch;          /* Ms that wait shall have SCHED_BATCH: batch.c */
	_Atomic uint32_t procs;      /* all_p[0..procs) are in use: GOMAXPROCS, or fewer (climb.c). Changes under sched.lock */
	_Atomic uint32_t procs_all;  /* those above procs may still hold something: scans go so far (procs.c) */
	struct p *all_p[GOMAXPROCS_MAX]; /* in a fork's child, also its parent's: their `birth` differs, and p_new() takes them into use */
	uint32_t birth;              /* how often this process's ancestors have forked with a runtime */
	_Atomic uint32_t g_live;
	_Atomic(struct g *) all_g;
	_Atomic uint32_t poller;     /* 1: some M blocks in netpoll */
	_Atomic int64_t poll_until;  /* deadline of the M that blocks in netpoll; INT64_MAX none */
	_Atomic int64_t last_poll;
	_Atomic int32_t disk_held;   /* slots of disk.c that are held */
	_Atomic int64_t coarse_now;  /* nanotime(), 10 ms old at most: by sysmon; for "since when" in reports */
	_Atomic int64_t doze_until;  /* while sysmon dozes */
	_Atomic bool need_poller;    /* sysmon: a P has run one G for a while: let an idle M block in netpoll */
	_Atomic bool started;
	int64_t started_at;          /* nanotime() */
	_Atomic uint32_t sysmon_note; /* futex word: enum sysmon_state */
};
extern struct sched sched;

/* runq.c */
void runq_put(struct p *p, struct g *g, bool next);
struct g *runq_get(struct p *p);
struct g *runq_steal(struct p *p, struct p *victim, bool take_next);
bool runq_empty(struct p *p);
struct g *runq_peek(struct p *p);
uint32_t runq_length(struct p *p);
void globq_put(struct g *g);           /* takes sched.lock */
void globq_put_list(struct g *head, struct g *tail, uint32_t n);
struct g *globq_get(struct p *p, uint32_t max); /* takes sched.lock; extra ones go to p's queue; a preempted one if there is no other */
struct g *globq_get_late(void);        /* takes sched.lock; the oldest of the preempted ones */
struct g *globq_get_bound(struct p **p); /* takes sched.lock; one that is bound to an M, and an idle P for it; or NULL */
void globq_put_late(struct g *g);      /* takes sched.lock */
static inline bool globq_waiting(void) {
	return atomic_load_explicit(&sched.runq.size, memory_order_relaxed) || atomic_load_explicit(&sched.late.size, memory_order_relaxed);
}

/* sched.c */
void timer_wake_poller(int64_t when); /* a timer was queued: ends the poller's sleep if that was to be longer */
void schedule(struct m *m);            /* the loop of an M's g0; returns when the M shall retire */
bool wall_waited(void);                /* somebody waits for a time of the wall clock */
void waits_left(void);
void wall_begin(void);
void wall_look(void);                  /* has it been set? */
int64_t timers_first(void);            /* the earliest deadline of all Ps; INT64_MAX none */
void sched_single_waited(void); /* sysmon met a queued G that waited for a tick while a P was idle: wake Ms for such ones sooner, and let all look for it */
void sched_single_over(void);   /* ... and at its next look none */

/* A P with this id shall be given up. */
static inline bool p_leaving(struct p *p) {
	return p->id >= atomic_load_explicit(&sched.procs, memory_order_relaxed);
}
static inline bool procs_leaving(void) {
	return atomic_load_explicit(&sched.procs_all, memory_order_relaxed) != atomic_load_explicit(&sched.procs, memory_order_relaxed);
}

/* A system call of the current goroutine's on a descriptor moved something, or found some ready: climb.c counts them. */
static inline void m_moved(struct m *m) {
	/* relaxed: one writer; a count */
	atomic_store_explicit(&m->moved, atomic_load_explicit(&m->moved, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* m.c */
struct p *p_new(uint32_t id);          /* the struct, made or as it is; NULL: no memory */
void m_keep_all(void);                 /* from now on the kernel ties more to an M than the G it runs; any thread, in the runtime or not */
bool m_keeps(void);
void m_surplus_wake(void);             /* there are fewer Ps: idle Ms above the limit look at it again */
unsigned m_wake_late(void);            /* those whose wake chaos has put off; how many */
void wakep(void);
void startm(struct p *p);
struct p *p_idle_get(void);
void p_idle_put(struct p *p);
struct p *p_idle_pop(void);            /* these two with sched.lock held */
void p_idle_push(struct p *p);
bool p_put_unneeded(struct p *p);      /* idle, if nobody needs it; takes sched.lock */
void p_attach(struct m *m, struct p *p);
/* m's P, which is nobody's then: for whom the caller hands it to. */
static inline struct p *p_detach(struct m *m) {
	struct p *p = m->p;
	m->p = NULL;
	/* release: sysmon, which reads it after in_rt, must not take for ours what is no longer */
	atomic_store_explicit(&p->m, NULL, memory_order_release);
	return p;
}
void m_helps(struct m *m, struct p *p); /* begins to, with p */
void sched_brief_over(void);           /* sysmon */
void m_stop(struct m *m);              /* sched.lock held; released. Sleeps until m is given a P, or retires (m->exiting) */
/* g is about to make a process, or to become another program, which inherits from its M: g_tp_hold(), until g_tp_release(). NULL, a foreign G, a child of vfork: nothing. Handlers
 * of the program may run in both. Who is cancelled in between need not come to the end. */
enum tp_hold m_parent_begin(struct g *g);
void m_batch_leave(struct m *m);       /* m's kernel thread has the policy that it began with, until it next waits without a goroutine: another is about to inherit it. Its own thread */
bool maker_hold(void);                 /* around exec and forks that libc does not know of: no M is made meanwhile; false: there is no need to, and nothing to let go */
void maker_let_go(void);               /* it failed */
void m_retire(struct m *m);            /* the struct is free for another thread from here on */

void m_sigstack_arm(struct m *m);      /* on its own thread: the kernel's alternate stack is m's from here on */

/* unseen.c */
/* sysmon only: g's CPU clock on m stood still, `now`, in nanotime(), and it is in no call that it told of. */
void unseen_note(const struct m *m, const struct g *g, int64_t now);
/* Do threads of g's function wait so? */
bool unseen_known(const struct g *g);

/* preempt.c */
#define PREEMPT_SIGNAL 33              /* libc's SIGSETXID, with si_code SI_TIMER */
void preempt_init(void);
bool preempt_is_on(void);
/* The stack of the process's first thread, as far down as its limit was when the runtime started. */
void preempt_main_stack(uintptr_t *lo, uintptr_t *hi);
/* By g's thread, or g NULL: one that is none. The program will run on that memory. Where it is within g's own stack (NULL: main's) nobody is preempted: live frames are
 * below it. */
void preempt_inner_stack(struct g *g, const void *at, size_t size);
/* As was found when it was looked at. */
static inline bool g_spins(const struct g *g) {
	return atomic_load_explicit(&g->spins, memory_order_relaxed) > 0;
}
/* Is it libc's, ld.so's or our code? */
bool preempt_leaves_alone(uintptr_t pc);
enum preempt_how { PREEMPT_GIVE_WAY, PREEMPT_UNLESS_SPINS, PREEMPT_LOOK };
/* sysmon only: g, which runs on m (as the schedtick says), shall give way soon; or not where it spins; or only be looked at, whether it does. false: it cannot be
 * asked. */
bool preempt_ask(struct m *m, struct g *g, uint32_t tick, enum preempt_how how);
/* For a report; one thread at a time, which is no M and not sysmon. preempt_see: g's backtrace is wanted, which computes on m. false: it is not interrupted. sysmon asks
 * until preempt_see_end(): it must be poked. preempt_seen: it is there, until preempt_see() or _end(), or NULL. preempt_see_waits: not yet, but it may come. */
bool preempt_see(struct m *m, struct g *g);
struct seen *preempt_seen(struct g *g);
bool preempt_see_waits(void);
void preempt_see_end(void);
void preempt_see_ask(void);            /* sysmon only */
/* How many timers it has made in the kernel, each of which counts as a pending signal of the user. */
unsigned preempt_timers(void);
/* The CPU time m's kernel thread has used, ns. */
int64_t preempt_cpu_time(struct m *m);
/* In the handler of PREEMPT_SIGNAL, on any thread. */
void preempt_signal(void *context);
void g_preempt(struct g *g);           /* sched.c: queues the current goroutine behind all others */

/* wired.c */
void wired_wait(struct m *m);              /* on g0 of an M whose wired G has left: returns with a P, next_g set */
void wish_come_true(struct g *g);          /* by g, inside the runtime, with no lock held */
bool wish_comes_true_here(struct g *g);    /* the same; false: it would have to go to another M for that, or cannot be pinned now */
bool wired_elsewhere(struct m *m, struct g *g); /* on g0 of m, which has picked g that is not to run on just any: false: another M shall, and has the P */
void g_leave(struct g *g, struct g *next); /* sched.c; returns when g runs again, without a look at its wish */
extern struct m m_elsewhere;               /* wired_m of a G that shall not run on the first M */
struct g *wishes_take(void);               /* sysmon: those that were listed, by wish_next */
void wish_list(struct g *g);
bool wishes_listed(void);
void wired_fork_child(void);
bool wired_end(struct m *m);               /* on g0 of a pinned M whose G is dead: true: the M shall retire; false: it is nobody's again */
struct m *m_new_pinned(struct g *g);       /* m.c: a kernel thread made from the calling one, for g, or, if NULL, for whoever is queued; NULL: refused */
bool m_open_take(void);                    /* m.c: one M less that runs whoever is queued; false: it would be the last */
bool m_coming(void);                       /* one is being made */
bool m_held_up(void);                      /* ... and has been for long: the maker may wait for a lock of the caller's */
void maker_watch(int64_t now);             /* sysmon */
void m_ask_spare(void);                    /* one without a P, to see whether the kernel goes on refusing them; not too often */
void wired_hand(struct m *m, struct g *g); /* on g0, with a P that is gone afterwards: g's own M will run it */
bool wired_hand_queued(void);              /* sysmon: one that is queued goes to its own M, with an idle P. False: there is no such, or no P */

/* g.c */
void g_fork_child(struct g *self, struct g *all);
void g_shells_fork_child(void);
void g_adopt_orphans(void);            /* at start: the parent's Gs give their stacks to new ones */
void gfree_surrender(struct p *p);     /* sched.lock held: p's dead Gs to the global list */
void gfree_spare(bool all);            /* sysmon: half of the dead Gs that nobody needed lately, or all, shall be given back by the maker */
bool gfree_give_back(void);            /* the maker: a few of those, or the deep pages of a few others; false: nothing left to do */

/* scavenge.c. sysmon only: gives back memory that nobody uses. idle: no P works. When to call next; INT64_MAX: not before `idle` changes. */
int64_t scavenge(int64_t now, bool idle);

/* disk.c */
#define DISK_SLOTS 64
void disk_slot_wait(struct g *g);      /* parks until g has a slot, and is SYSCALL_DISK_SLOT */
void disk_slot_free(void);             /* inside the runtime */
bool disk_waited(void);                /* somebody waits for a slot */
bool disk_tick(int64_t now);           /* sysmon: true if it let somebody pass */
void disk_fork_child(void);

/* m.c: the maker shall call gfree_give_back() until it has nothing left to do. */
void maker_chore(void);
int32_t maker_ktid(void);               /* its kernel thread, which has what the process was started with; 0: not yet */

/* Relaxed: others ask for reports, or after m_pin(). g NULL: whoever is queued. */
static inline void m_wire(struct m *m, struct g *g) {
	__atomic_store_n(&m->wired_g, g, __ATOMIC_RELAXED);
}

void batch_change(struct m *m);         /* batch.c; on its own thread */
/* m is about to wait. */
static inline void batch_follow(struct m *m) {
	/* relaxed: see use() in batch.c */
	if (__builtin_expect(atomic_load_explicit(&m->batch, memory_order_relaxed) != atomic_load_explicit(&sched.batch, memory_order_relaxed), 0))
		batch_change(m);
}

/* release, after m_wire(): pairs with the acquire in m_is_pinned() */
static inline void m_pin(struct m *m, bool pinned) {
	__atomic_store_n(&m->pinned, pinned, __ATOMIC_RELEASE);
}

static inline bool m_is_pinned(const struct m *m) {
	return __atomic_load_n(&m->pinned, __ATOMIC_ACQUIRE);
}

/* Whose it is until it ends; NULL: nobody's. From any thread. */
static inline struct g *m_owner(const struct m *m) {
	return m_is_pinned(m) ? __atomic_load_n(&m->wired_g, __ATOMIC_RELAXED) : NULL;
}

/* From now on g keeps m without a P (since 0: from now). For reports only. */
static inline void m_pinned(struct m *m, struct g *g, int64_t since) {
	__atomic_store_n(&m->pinned_g, g, __ATOMIC_RELAXED);
	atomic_store_explicit(&m->pinned_since, since ? since : atomic_load_explicit(&sched.coarse_now, memory_order_relaxed),
	                      memory_order_relaxed);
}

/* g.c: at start, also in a fork's child: new threads' numbers begin at random. */
void g_tid_seed(void);
/* How many were made: a test sets it near TID_COUNT. */
extern _Atomic uint32_t g_numbers;

/* sysmon.c */
void sysmon_stop(void);             /* only before the Ps run: the start failed after all */
int sysmon_start(const char **why); /* starts before the Ps run; also takes the TCB template */
void sysmon_wake(void);
void sysmon_poke(void);
/* Somebody is queued behind another one, or waits for a descriptor or a timer (`when`; 0: at once) that no M looks at. Where sysmon has found that nobody does, it sleeps
 * for longer, until the first one does. Relaxed: who is missed, because it was just about to, is seen when it wakes. */
static inline void sysmon_stir(int64_t when) {
	if (__builtin_expect(atomic_load_explicit(&sched.sysmon_note, memory_order_relaxed) == SYSMON_DOZES, 0) &&
	    when < atomic_load_explicit(&sched.doze_until, memory_order_relaxed))
		sysmon_poke();
}
int32_t sysmon_ktid(void);          /* once the runtime has started */
/* A P whose M sits in a bracketed syscall, taken from it; NULL: there is none. For an M that came back from its own and has work. */
struct p *sysmon_take_from_syscall(void);
/* p, which g on m was seen to have, taken from it if it is outside the runtime; `wanted`: or the P it has, if it comes in meanwhile. NULL: neither. */
struct p *sysmon_retake(struct p *p, struct m *m, struct g *g, bool wanted);
/* May g go on without a P from the beginning? */
bool sysmon_lets_go(const struct g *g);
void sysmon_answer_await(struct m *m); /* m's thread is about to end: until who asked for its P has it */

/* Signals deferred because they arrived inside the runtime (process-wide count), and who delivers them (shims/sigrun.c). */
extern _Atomic uint32_t rt_pending;
extern void (*rt_deliver_hook)(struct g *g);
/* Makes the kernel's mask and alternate stack of this M those of g (shims/sigentry.c); called in the switch only when they differ. */
extern void (*sig_resync_hook)(struct g *g);
/* On a g0: routes what was deferred. */
static inline void deliver_pending(void) {
	if (__builtin_expect(atomic_load_explicit(&rt_pending, memory_order_relaxed) != 0, 0) && rt_deliver_hook)
		rt_deliver_hook(NULL);
}
/* m, which the caller runs on, on its g0, is about to sleep or has slept, and runs nobody until then. Only for the process's first kernel thread. */
extern void (*sig_idle_hook)(struct m *m, bool idle);
static inline void m_idle(struct m *m, bool idle) {
	if (__builtin_expect(m->first, 0) && sig_idle_hook)
		sig_idle_hook(m, idle);
}
/* sysmon, each time it wakes: set its own signal mask, route what it received. */
extern void (*sig_sysmon_hook)(void);
/* sysmon: ends the system call that g waits in, on m. What else it may meet there it only disturbs. */
extern void (*sig_disturb_hook)(struct g *g, struct m *m);

/* The runtime's section on the current G (see the essay in sched.c). */
void rt_enter_slow(struct g *g);
static inline void rt_enter(struct g *g) {
	in_rt_up(g);
	/* Asymmetric Dekker with sysmon's retake(): our store above and the load below may be reordered by the CPU; sysmon
	 * pays for the order with membarrier(PRIVATE_EXPEDITED) between its store of `retake` and its load of in_rt. */
	atomic_signal_fence(memory_order_seq_cst);
	struct m *m = g->m;
	if (m && __builtin_expect(atomic_load_explicit(&m->retake, memory_order_relaxed) != RETAKE_NONE, 0))
		rt_enter_slow(g);
}
/* The n-th look in vain at what another kernel thread is about to do. If ours is a real-time one, the kernel does not run a lesser one for its yields: so after some it sleeps. */
#define YIELDS 50u
#define YIELD_NAP_NS 50000
static inline void kernel_yield(unsigned n) {
	struct timespec nap = {0, YIELD_NAP_NS};
	if (n < YIELDS)
		SYS0(SYS_sched_yield);
	else
		SYS2(SYS_nanosleep, &nap, 0);
}

/* A full fence on every running thread of the process, paid by who needs it so that the others' plain accesses need none. 0 or a negative error; -ENOMEM: not now,
 * it needs memory on large machines. */
static inline long threads_fence(void) {
	return MAY_FAIL_UNSEEN(-ENOMEM, SYS3(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
}

/* By g, when its state has become RUNNING: all that is behind it comes after sysmon's look at that, or sees the wish (wired.c). */
static inline void wish_check(struct g *g) {
	atomic_signal_fence(memory_order_seq_cst); /* sysmon pays for the order: membarrier */
	if (__builtin_expect(atomic_load_explicit(&g->wish, memory_order_relaxed), 0))
		wish_come_true(g);
}

void rt_deliver(struct g *g);
static inline void rt_exit(struct g *g) {
	atomic_signal_fence(memory_order_seq_cst);
	if (in_rt_drop(g) == 0 && __builtin_expect(atomic_load_explicit(&rt_pending, memory_order_relaxed) != 0, 0))
		rt_deliver(g);
}

/* Around a lock that is also taken outside the runtime: no handler of the program runs on top of it (it could need it, or jump out). */
static inline struct g *rt_hold(void) {
	struct g *g = tls_g;
	if (g)
		in_rt_up(g); /* the P is not touched: no look at retake */
	atomic_signal_fence(memory_order_seq_cst);
	return g;
}
static inline void rt_drop(struct g *g) {
	if (g)
		rt_exit(g);
}

/* The caller's wait was not needed after all, and it will not ask why it ended: what interrupted it interrupts the next one, and nobody waits for that
 * question before a handler runs. Inside the runtime, after wait_park(). */
static inline void wait_unneeded(struct g *g) {
	/* relaxed: nobody but the waiter writes it while it is not armed */
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
}

/* After a wait, when the caller is published nowhere any more: what rt_exit() would have done. */
static inline void rt_check(struct g *g) {
	if (__builtin_expect(atomic_load_explicit(&rt_pending, memory_order_relaxed) != 0, 0) && g->in_rt == 0)
		rt_deliver(g);
}

#endif
