/* The number of Ps while the program runs: they come and go, by a new GOMAXPROCS or because sysmon finds that fewer serve more (climb.c).
 *
 * Growing is making Ps and putting them into the idle list. Shrinking cannot take a P from who holds it, so it is a request: Ps with ids from
 * sched.procs upwards are *leaving*.
 *
 *     HERE --leaving, and idle or given up--> PARTED --emptied (procs_settle)--> GONE --procs_set(more)--> HERE
 *
 *   1. procs_set() lowers sched.procs and takes leaving Ps out of the idle list: PARTED.
 *   2. Who holds one gives it up: its M when it next comes to its g0, at the latest after GLOBAL_TICK switches (find_runnable); sysmon takes
 *      it from an M that does not switch, whether somebody waits for it or not (watch_p). Every way to put a P back ends in p_idle_push(), which
 *      knows a leaving one: PARTED.
 *   3. Nobody runs on a PARTED P and nobody puts anything there; procs_settle() moves what is left: queued Gs to the global queue, timers
 *      to P 0's heap (TIM-1), dead Gs are shared by p_idle_push(). Then it is GONE, and keeps its struct and its counters.
 *
 * sched.procs_all is 1 + the highest id that is not GONE, at least sched.procs. Whoever looks for timers or for Gs to steal goes that far: what a
 * leaving P holds is found by others all the time. Whoever takes a P into use goes to sched.procs only.
 *
 * Not chosen: stopping the world, as Go does. It is simpler, but nothing here can stop a goroutine that is in the kernel.
 *
 * Lock: procs_lock, one change or clean-up at a time; outermost of those here: timer locks (of the leaving P, then of P 0, which never
 * leaves) and sched.lock are taken below it. sched.procs and `part` change under sched.lock, too. */
#include <errno.h>
#include <time.h>

#include "procs.h"
#include "runtime.h"

static struct lock procs_lock;

/* Nobody holds p. */
static void p_empty_out(struct p *p, bool *moved) {
	struct g *g;
	/* This thread stands in for the owner: there is none (PARTED), and procs_lock keeps others from doing the same. Thieves may help. */
	while ((g = runq_get(p))) {
		globq_put(g);
		*moved = true;
	}
	timers_move(&p->timers, &sched.all_p[0]->timers);
}

static bool settle_locked(void) {
	uint32_t procs = sched.procs, all = procs;
	bool moved = false;
	for (uint32_t i = procs; i < sched.procs_all; i++) {
		struct p *p = sched.all_p[i];
		/* acquire: pairs with the release in p_idle_push(): what its last holder did to it is seen */
		if (atomic_load_explicit(&p->part, memory_order_acquire) == P_PARTED) {
			p_empty_out(p, &moved);
			atomic_store_explicit(&p->part, P_GONE, memory_order_relaxed);
		}
		if (atomic_load_explicit(&p->part, memory_order_relaxed) != P_GONE)
			all = i + 1;
	}
	/* seq_cst: the timers are in P 0's heap before the others are not looked at any more */
	atomic_store(&sched.procs_all, all);
	return moved;
}

void procs_settle(void) {
	if (!procs_leaving())
		return;
	lock_acquire(&procs_lock, LOCK_PROCS);
	bool moved = settle_locked();
	lock_release(&procs_lock);
	if (moved)
		wakep();
}

void procs_part(struct p *p) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	p_idle_push(p);
	lock_release(&sched.lock);
	procs_settle();
}

/* sched.lock held. Leaving Ps out of the idle list. */
static void idle_prune(uint32_t procs) {
	struct p **link = &sched.idle_p, *p;
	while ((p = *link)) {
		if (p->id < procs) {
			link = &p->idle_next;
			continue;
		}
		*link = p->idle_next;
		p->idle = false;
		atomic_store(&sched.idle_p_count, sched.idle_p_count - 1);
		atomic_store_explicit(&p->part, P_PARTED, memory_order_release);
	}
}

/* Makes what is missing of [0, n); returns how many there are. */
static uint32_t structs_make(uint32_t n) {
	for (uint32_t i = sched.procs; i < n; i++) {
		struct p *p = sched.all_p[i];
		if (p && i < sched.procs_all && atomic_load_explicit(&p->part, memory_order_relaxed) != P_GONE)
			continue; /* was about to leave */
		if (!(p = p_new(i)))
			return i;
		atomic_store_explicit(&p->part, P_GONE, memory_order_relaxed);
	}
	return n;
}

/* Under procs_lock. */
static void procs_change(uint32_t n) {
	uint32_t old = sched.procs;
	lock_acquire(&sched.lock, LOCK_SCHED);
	/* First: from here on the new Ps are looked into. */
	if (n > sched.procs_all)
		atomic_store(&sched.procs_all, n);
	atomic_store(&sched.procs, n);
	for (uint32_t i = old; i < n; i++) {
		struct p *p = sched.all_p[i];
		if (atomic_load_explicit(&p->part, memory_order_relaxed) == P_HERE)
			continue; /* its holder never noticed */
		atomic_store_explicit(&p->part, P_HERE, memory_order_relaxed);
		p_idle_push(p);
	}
	idle_prune(n);
	lock_release(&sched.lock);
}

int procs_set(uint32_t n) {
	if (!sched_started())
		return -EAGAIN;
	n = n < 1 ? 1 : n > GOMAXPROCS_MAX ? GOMAXPROCS_MAX : n;
	struct g *g = g_self();
	rt_enter(g);
	lock_acquire(&procs_lock, LOCK_PROCS);
	settle_locked();
	uint32_t old = sched_config.gomaxprocs, can = structs_make(n);
	bool refused = can < n && can <= old;
	if (!refused) {
		procs_change(can);
		settle_locked();
		/* relaxed: others only report it, or compare it with what they saw before */
		__atomic_store_n(&sched_config.gomaxprocs, can, __ATOMIC_RELAXED);
	}
	lock_release(&procs_lock);
	if (can < old)
		m_surplus_wake();
	wakep();       /* more Ps for what is queued, or what was queued on one that left */
	sysmon_poke(); /* looks after those that do not leave by themselves */
	rt_exit(g);
	return refused ? -ENOMEM : (int)old;
}

/* ---- as many as are worth having ------------------------------------------------------------------------------------- */

static struct climb climb; /* sysmon's */

/* sysmon uses n of the gomaxprocs; fewer if that has become less, which climb_next() hears of at its next look. They have been made before. */
static void procs_use(uint32_t n) {
	lock_acquire(&procs_lock, LOCK_PROCS);
	settle_locked();
	if (n <= sched_config.gomaxprocs && n != sched.procs && structs_make(n) == n)
		procs_change(n);
	settle_locked();
	lock_release(&procs_lock);
	wakep();
}

struct climb_look procs_look(void) {
	struct timespec cpu = {0, 0};
	struct climb_look look = {.now = nanotime()};
	SYS2(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &cpu);
	look.cpu = (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next)
		look.calls += atomic_load_explicit(&m->moved, memory_order_relaxed);
	return look;
}

void procs_climb(int64_t now, bool computes) {
	uint32_t max = __atomic_load_n(&sched_config.gomaxprocs, __ATOMIC_RELAXED);
	if (!sched_config.fewer)
		return;
	if (chaos(CHAOS_PROCS)) {
		procs_use(sched.procs == max ? (max + 1) / 2 : max);
		return;
	}
	uint32_t use = computes && climb.max == max ? climb_computes(&climb, now) : sched.procs;
	if (!computes && climb_due(&climb, max, now)) {
		struct climb_look look = procs_look();
		use = climb_next(&climb, max, &look);
	}
	if (use != sched.procs)
		procs_use(use);
}

bool procs_climbing(void) {
	return climb.trying;
}

void procs_climb_over(void) {
	uint32_t max = __atomic_load_n(&sched_config.gomaxprocs, __ATOMIC_RELAXED);
	climb_idle(&climb);
	if (sched.procs != max)
		procs_use(max);
}

void procs_fork_child(void) {
	procs_lock.word = 0;
	climb_reset(&climb, sched_config.gomaxprocs);
}
