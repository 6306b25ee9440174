/* sysmon: a kernel thread without a P that looks after what no M sees.
 *
 * Each tick it (1) polls the network and fires timers if no M has done so for a while, (2) takes the P of an M whose G sits in a syscall or
 * hogs the CPU while others wait (retake), (3) wakes an M for goroutines that are queued while a P is idle (SCH-1).
 * The tick is TICK_MIN while there was something to do lately, TICK_MAX in a steady state; when every P is idle for IDLE_TICKS it
 * sleeps until one is taken again, so an idle process has no wake-ups.
 *
 * retake() and the M agree by an asymmetric Dekker: the M stores in_rt and loads m->retake with no fence (rt_enter); sysmon stores m->retake,
 * issues membarrier(PRIVATE_EXPEDITED), which is a full fence on every running thread of the process, and loads in_rt. If that is 0, every later
 * rt_enter sees the request, and the two settle it by a CAS on m->retake.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <string.h>
#include <time.h>

#include "chaos.h"
#include "netpoll.h"
#include "procs.h"
#include "runtime.h"
#include "tcb.h"

#define TICK_MIN_NS 1000000      /* 1 ms: a wake-up costs about 8 us of CPU, so this is 1 % of a core, and only while it pays */
#define TICK_MAX_NS 2500000
#define CALM_TICKS 32u           /* ticks without work until the tick doubles */
#define IDLE_TICKS 20u           /* ticks with every P idle until deep sleep */
#define SYSCALL_NS 1000000       /* a bracketed syscall may hold its P this long when somebody waits */
#define HOG_NS 10000000          /* a running goroutine (or a block nobody bracketed) this long: Go's time slice */
#define POLL_NS 10000000

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

/* Nothing to watch: every P is idle, nothing is queued (it may be, when the kernel refused an M), and an M blocks in netpoll if there is
 * anything to wait for. */
static bool all_idle(void) {
	if (atomic_load(&sched.idle_p_count) != sched.procs || procs_leaving() ||
	    atomic_load_explicit(&sched.runq_size, memory_order_relaxed))
		return false;
	/* A signal that waits for its goroutine: a kick may reach an M just before the system call it was to end, so keep looking. */
	if (atomic_load_explicit(&rt_pending, memory_order_relaxed))
		return false;
	for (uint32_t i = 0; i < sched.procs; i++) {
		if (!runq_empty(sched.all_p[i]))
			return false;
	}
	return !poller_missing();
}

/* Would a free P do any good? */
static bool work_waits(struct p *p) {
	return !runq_empty(p) || atomic_load_explicit(&sched.runq_size, memory_order_relaxed) != 0;
}

static bool events_wait(struct p *p) {
	return !atomic_load_explicit(&sched.poller, memory_order_relaxed) && atomic_load(&sched.idle_p_count) == 0 &&
	       (netpoll_has_waiters() || atomic_load_explicit(&p->timers.first, memory_order_relaxed) != INT64_MAX);
}

/* Takes p from m if m is outside the runtime. */
/* Async-signal-safe: makes sysmon look now, also if it is just about to sleep. */
void sysmon_poke(void) {
	/* release: what the caller published is seen by sysmon, whose wait compares the word (or reads it) after */
	atomic_store_explicit(&sched.sysmon_note, SYSMON_POKED, memory_order_release);
	SYS3(SYS_futex, &sched.sysmon_note, FUTEX_WAKE_PRIVATE, 1);
}

static bool retake_locked(struct p *p, struct m *m, struct g *g) {
	uint32_t none = RETAKE_NONE;
	if (!atomic_compare_exchange_strong_explicit(&m->retake, &none, RETAKE_ASKED, memory_order_relaxed, memory_order_relaxed))
		return false; /* it has lost its P already and does not know yet */
	uint64_t tick = atomic_load_explicit(&p->schedtick, memory_order_relaxed);
	/* It needs memory on large machines: without the barrier, no answer is to be trusted. */
	bool ordered = MAY_FAIL_UNSEEN(-ENOMEM, SYS3(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)) == 0;
	/* acquire: in order. No switch on p from before the first look at curg until after the last (the tick is raised before curg is stored):
	 * so in_rt was that of the G on this M, and g did not leave, run elsewhere and come back meanwhile. */
	bool outside = ordered && atomic_load_explicit(&m->curg, memory_order_acquire) == g &&
	               __atomic_load_n(&g->in_rt, __ATOMIC_ACQUIRE) == 0 && atomic_load_explicit(&m->curg, memory_order_acquire) == g &&
	               atomic_load_explicit(&p->m, memory_order_acquire) == m && /* it may have given p away since we looked */
	               atomic_load_explicit(&p->schedtick, memory_order_relaxed) == tick;
	uint32_t asked = RETAKE_ASKED;
	/* acq_rel: settles it with rt_enter_slow() */
	if (!atomic_compare_exchange_strong_explicit(&m->retake, &asked, outside ? RETAKE_TAKEN : RETAKE_NONE, memory_order_acq_rel,
	                                             memory_order_relaxed) || !outside)
		return false;
	atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
	m_pinned(m, g, p->mon_since);
	return true;
}

static bool retake(struct p *p, struct m *m, struct g *g) {
	lock_acquire(&retake_lock);
	bool taken = retake_locked(p, m, g);
	lock_release(&retake_lock);
	return taken;
}

struct p *sysmon_take_from_syscall(void) {
	for (uint32_t i = 0; i < sched.procs; i++) {
		struct p *p = sched.all_p[i];
		struct m *m = atomic_load_explicit(&p->m, memory_order_acquire);
		struct g *g = m ? atomic_load_explicit(&m->curg, memory_order_acquire) : NULL;
		if (g && atomic_load_explicit(&g->in_syscall, memory_order_relaxed) && retake(p, m, g)) {
			stat_count(NULL, STAT_RETAKEN_SYSCALL, 1);
			return p;
		}
	}
	return NULL;
}

/* One P: false if nothing was to be done. */
static bool watch_p(struct p *p, int64_t now, bool *busy) {
	struct m *m = atomic_load_explicit(&p->m, memory_order_acquire);
	if (!m)
		return false;
	uint32_t tick = atomic_load_explicit(&p->schedtick, memory_order_relaxed);
	if (tick != p->mon_tick || !p->mon_since) {
		p->mon_tick = tick;
		p->mon_since = now;
		return false;
	}
	struct g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
	if (!g)
		return false;
	bool in_syscall = atomic_load_explicit(&g->in_syscall, memory_order_relaxed);
	int64_t ran = now - p->mon_since;
	if (ran >= SYSCALL_NS)
		*busy = true;
	bool leaving = p_leaving(p);
	if ((ran < (in_syscall ? SYSCALL_NS : HOG_NS) && !chaos(CHAOS_HANDOFF)) || !(leaving || work_waits(p) || events_wait(p)))
		return false;
	if (!retake(p, m, g))
		return false;
	stat_count(NULL, in_syscall ? STAT_RETAKEN_SYSCALL : STAT_RETAKEN_HOG, 1);
	if (leaving)
		procs_part(p);
	else
		startm(p);
	return true;
}

static bool tick(int64_t now) {
	bool did = false, busy = false, queued = false;
	procs_settle();
	for (uint32_t i = 0, n = sched.procs_all; i < n; i++) {
		struct p *p = sched.all_p[i];
		uint32_t before = p->mon_tick;
		did |= watch_p(p, now, &busy);
		/* A P that works through its queue quickly needs no help. */
		queued |= runq_length(p) >= 2 || (!runq_empty(p) && p->mon_tick == before);
	}
	/* While a P is stuck with one G, an idle M may block in netpoll; if all Ps are busy, sysmon polls itself. */
	bool need = busy && atomic_load(&sched.idle_p_count) > 0 &&
	            (netpoll_has_waiters() || atomic_load_explicit(&sched.runq_size, memory_order_relaxed));
	atomic_store_explicit(&sched.need_poller, need, memory_order_relaxed);
	if (need && !atomic_load_explicit(&sched.poller, memory_order_relaxed)) {
		wakep();
		did = true;
	}
	if (!atomic_load_explicit(&sched.poller, memory_order_relaxed)) {
		for (uint32_t i = 0, n = sched.procs_all; i < n; i++)
			did |= timer_run(&sched.all_p[i]->timers, now, TIMER_BATCH) > 0;
		if (netpoll_has_waiters() && now - atomic_load_explicit(&sched.last_poll, memory_order_relaxed) >= POLL_NS) {
			atomic_store_explicit(&sched.last_poll, now, memory_order_relaxed);
			struct g *list = netpoll_poll(0);
			if (list) {
				ready_list(list);
				did = true;
			}
		}
	}
	if (atomic_load(&sched.idle_p_count) == sched.procs && poller_missing()) {
		wakep(); /* it finds nothing and goes to sleep in netpoll */
		did = true;
	}
	queued |= atomic_load_explicit(&sched.runq_size, memory_order_relaxed) != 0;
	if (queued && atomic_load(&sched.idle_p_count) > 0) {
		static uint32_t seen; /* two ticks in a row: what is queued for a moment only is none of our business */
		if (++seen >= 2) {
			sched_single_waited();
			wakep();
			did = true;
			seen = 0;
		}
	}
	return did || busy;
}

static void sysmon_loop(void) {
	int64_t period = TICK_MIN_NS;
	uint32_t calm = 0, idle = 0;
	for (;;) {
		if (idle >= IDLE_TICKS) {
			/* Deep sleep. seq_cst exchange, then look again: Dekker with p_attach(), which leaves the idle list first. */
			atomic_exchange(&sched.sysmon_note, SYSMON_ASLEEP);
			if (sig_sysmon_hook)
				sig_sysmon_hook();
			while (all_idle() && atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP) {
				SYS4(SYS_futex, &sched.sysmon_note, FUTEX_WAIT_PRIVATE, SYSMON_ASLEEP, 0);
				if (sig_sysmon_hook)
					sig_sysmon_hook();
			}
			atomic_store(&sched.sysmon_note, SYSMON_AWAKE);
			idle = calm = 0;
			period = TICK_MIN_NS;
		}
		struct timespec ts = {0, period};
		SYS4(SYS_futex, &sched.sysmon_note, FUTEX_WAIT_PRIVATE, SYSMON_AWAKE, &ts);
		/* acquire: pairs with sysmon_poke() */
		atomic_exchange_explicit(&sched.sysmon_note, SYSMON_AWAKE, memory_order_acquire);
		if (atomic_load_explicit(&start_word, memory_order_relaxed) == SYSMON_STOPPING)
			return;
		int64_t now = coarse_now_set();
		if (sig_sysmon_hook)
			sig_sysmon_hook();
		if (all_idle()) {
			idle++;
			continue;
		}
		idle = 0;
		if (tick(now)) {
			calm = 0;
			period = TICK_MIN_NS;
		} else if (++calm >= CALM_TICKS && period < TICK_MAX_NS) {
			period = TICK_MAX_NS;
		}
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

static void *sysmon_main(void *arg) {
	(void)arg;
	bool ok = tcb_take_template(&start_why) == 0;
	sysmon_g.kind = G_G0;
	sysmon_g.in_rt = 1;
	sysmon_g.state = GS_RUNNING;
	sysmon_g.tid = (int32_t)SYS0(SYS_gettid);
	sysmon_g.ctx.tp = arch_tp();
	sysmon_g.m = NULL;
	tls_g = &sysmon_g;
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
	atomic_store_explicit(&sched.sysmon_note, SYSMON_AWAKE, memory_order_relaxed);
	/* All signals blocked: nothing of the program's may land there (SIG-4). */
	SYS4(SYS_rt_sigprocmask, 0, &all, &old, 8);
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
