/* Ms and Ps: idle lists, kernel threads made and retired, start, fork.
 *
 * Who has what. A P is idle (sched.idle_p) or belongs to one M (p->m). An M runs Gs with its P, or sleeps on its note in sched.idle_m until
 * it is handed one (next_p), or is a struct without a thread in sched.free_m. More than m_idle_max + procs sleeping Ms retire; not those that
 * made a process: a child may have asked the kernel for a signal at the end of its parent, which to the kernel is the thread that made it (FRK-13).
 * So there are as many of them as goroutines ever forked at once. None retires once the process has an io_uring: the kernel cancels what a thread
 * submitted when that thread ends, whoever waits for it. m_keep_all().
 *
 * Start. sched_start() turns the calling kernel thread into M0: its thread becomes the main G, keeping stack and TCB, and the scheduler's loop gets
 * a g0 of its own. Everything that can fail comes before the first thing others can see; what was started before a failure is stopped.
 *
 * Lock: sched.lock for every list. Nothing is called below it but LOCK_STACK.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>

#include "asan.h"
#include "batch.h"
#include "chaos.h"
#include "cpuclock.h"
#include "debug.h"
#include "futex.h"
#include "kernel_call.h"
#include "netpoll.h"
#include "pages.h"
#include "procs.h"
#include "race.h"
#include "runtime.h"
#include "slab.h"
#include "stack.h"
#include "tcb.h"

struct sched sched __attribute__((aligned(4096))); /* a page: the fewer a fork's child writes, the fewer are copied */
struct sched_config sched_config = {.gomaxprocs = 1, .fewer = true, .batch = 1, .m_idle_max = 4, .preempt = true, .trim_ns = 10000000000};
int (*sched_thread_create)(void *(*fn)(void *), void *arg);
void (*sched_tp_trap_hook)(void);

#define M_BYTES ((sizeof(struct m) + 4095) & ~4095ul) /* its signal stack lies behind it */
#define SPARE_NS 2000000
#define MAKER_STUCK_NS 20000000 /* a busy machine's pthread_create() takes less, and who is wrong about it loses a wake-up's time */
#define MAKER_WAITS_NS 100000000 /* in the kernel, or the next doing whatever: no M comes before somebody else has gone on */
#define MAKER_LATEST_NS 2000000000

bool sched_started(void) {
	/* acquire: pairs with the release at the end of sched_start() */
	return atomic_load_explicit(&sched.started, memory_order_acquire);
}

bool sched_others_run(void) {
	/* relaxed: a hint. Spinning Ms have a P and no work. */
	uint32_t without = atomic_load_explicit(&sched.idle_p_count, memory_order_relaxed) +
	                   atomic_load_explicit(&sched.spinning, memory_order_relaxed);
	return atomic_load_explicit(&sched.procs, memory_order_relaxed) > without + 1;
}

/* ---- Ps and Ms: idle lists ----------------------------------------------------------------------------------------- */

struct p *p_idle_pop(void) {
	struct p *p = sched.idle_p;
	if (p) {
		sched.idle_p = p->idle_next;
		p->idle = false;
		atomic_store_explicit(&sched.idle_p_count, sched.idle_p_count - 1, memory_order_seq_cst);
	}
	return p;
}

void p_idle_push(struct p *p) {
	debug_p_idles(p);
	gfree_surrender(p);
	atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
	if (__builtin_expect(p_leaving(p), 0)) {
		/* release: hands it to procs_settle() */
		atomic_store_explicit(&p->part, P_PARTED, memory_order_release);
		return;
	}
	p->idle = true;
	p->idle_next = sched.idle_p;
	sched.idle_p = p;
	atomic_store_explicit(&sched.idle_p_count, sched.idle_p_count + 1, memory_order_seq_cst);
}

void p_attach(struct m *m, struct p *p) {
	debug_p_given(p);
	m->p = p;
	atomic_store_explicit(&m->pinned_since, 0, memory_order_relaxed);
	atomic_store_explicit(&p->mon_since, 0, memory_order_relaxed);
	atomic_store_explicit(&p->m, m, memory_order_release);
	/* seq_cst (on x86 a plain load): Dekker with sleep_deeply(). The other half is p_idle_pop()'s store of the count. */
	if (__builtin_expect(atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP, 0))
		sysmon_wake();
}

/* sched.lock held, here and in m_idle_pop(). */
static void m_idle_push(struct m *m) {
	m->idle_next = sched.idle_m;
	sched.idle_m = m;
	sched.idle_m_count++;
	sched.idle_m_parents += m->parent;
}

/* The first that sleeps; `surplus`: that may end. */
static struct m *m_idle_pop(bool surplus) {
	struct m **link = &sched.idle_m, *m;
	while ((m = *link) && surplus && m->parent)
		link = &m->idle_next;
	if (m) {
		*link = m->idle_next;
		sched.idle_m_count--;
		sched.idle_m_parents -= m->parent;
	}
	return m;
}

static uint32_t m_idle_max(void) {
	/* relaxed: a bound. Not those in use: they may all be again soon. */
	return sched_config.m_idle_max + __atomic_load_n(&sched_config.gomaxprocs, __ATOMIC_RELAXED);
}

enum tp_hold m_parent_begin(struct g *g) {
	if (!g || !g->m || g->in_vfork)
		return TP_HOLD_NONE;
	enum tp_hold hold = g_tp_hold(g);
	g->m->parent = true;
	return hold;
}

void m_keep_all(void) {
	/* relaxed, as its readers: who submits to a ring has its descriptor from him who made it, and he was here before he gave it on; so whoever submits sees
	 * this at the latest after it, and that is soon enough for the M it is on. Not cleared when the ring is closed: nobody knows whether there is another. */
	atomic_store_explicit(&sched.m_keep, true, memory_order_relaxed);
}

bool m_keeps(void) {
	return __builtin_expect(atomic_load_explicit(&sched.m_keep, memory_order_relaxed), 0);
}

static void note_wake(struct m *m) {
	stat_count(NULL, STAT_M_WOKEN, 1); /* beside the system call below an atomic is nothing */
	/* release: publishes next_p to the acquire in note_sleep() */
	atomic_store_explicit(&m->note, 1, memory_order_release);
	SYS3(SYS_futex, &m->note, FUTEX_WAKE_PRIVATE, 1);
}

/* Chaos: Ms that have been given a P and are not told yet, as if the kernel were slow to run them. Not one but may be late by sched.c's rules: each counts as what
 * it will be, spinning or with a P, until it wakes and looks. Who comes by next wakes them, an M that looks for work or sysmon; and while a P is in nobody's hands sysmon
 * does not sleep deeply, or is woken here. */
static struct m *_Atomic late_ms; /* by idle_next */

static bool wake_put_off(struct m *m) {
	if (!chaos(CHAOS_WAKE))
		return false;
	m->idle_next = atomic_load_explicit(&late_ms, memory_order_relaxed);
	/* seq_cst, then the load of sysmon_note: Dekker with sleep_deeply(), as in p_attach(). It does not doze under chaos. */
	while (!atomic_compare_exchange_weak(&late_ms, &m->idle_next, m))
		continue;
	if (atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP)
		sysmon_wake();
	return true;
}

unsigned m_wake_late(void) {
	unsigned n = 0;
	struct m *next;
	/* acquire: pairs with the push. All at once: no ABA */
	for (struct m *m = atomic_exchange_explicit(&late_ms, NULL, memory_order_acquire); m; m = next, n++) {
		next = m->idle_next;
		note_wake(m);
	}
	return n;
}

/* Ms that the maker (below) has yet to make, and the one it is at. Each has its P already, and until it runs it may lose it again (maker_give). */
static struct m *maker_queue, *maker_making; /* sched.lock */

static void *m_main(void *arg) {
	struct m *m = arg;
	ASAN_STACK_BEGINS();
	RACE_AFTER(m);
	lock_acquire(&sched.lock, LOCK_SCHED);
	if (maker_making == m)
		maker_making = NULL; /* from here on its P, if it still has one, is its own */
	lock_release(&sched.lock);
	m->g0.ctx.tp = arch_tp();
	arch_thread_init(&m->thread, m->thread.tp_slot);
	m->ktid = m->g0.tid = (int32_t)SYS0(SYS_gettid);
	tls_g = &m->g0;
	tcb_rseq_off();
	if (!m->pinned)
		atomic_fetch_add(&sched.m_open, 1);
	m_sigstack_arm(m);
	schedule(m);
	return NULL;
}

/* Three frames and what our handlers need: they never run code of the program there. */
static size_t sigstack_size(void) {
	return (getauxval(AT_MINSIGSTKSZ) * 3 + (24ul << 10) + 4095) & ~4095ul;
}

static void sigstack_set(void *arg) {
	SYS2(SYS_sigaltstack, arg, 0);
}

void m_sigstack_arm(struct m *m) {
	char *stack = (char *)m + M_BYTES;
	stack_t ss = {.ss_sp = stack, .ss_size = sigstack_size()};
	/* The kernel refuses who runs on an alternate stack: the runtime started in a handler there. It goes by the stack pointer, so the call is made from
	 * elsewhere, where no signal may come meanwhile. */
	if (MAY_FAIL_UNSEEN(-EPERM, SYS2(SYS_sigaltstack, &ss, 0)) < 0) {
		uint64_t all = ALL_SIGNALS, old;
		SYS4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, 8);
		arch_call_on(stack + ss.ss_size, sigstack_set, &ss);
		SYS4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &old, 0, 8);
	}
	__atomic_store_n(&m->sigstack, stack, __ATOMIC_RELAXED); /* sysmon only asks whether there is one */
	m->sigstack_bytes = ss.ss_size;
}

static struct m *m_alloc(void) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	struct m *m = sched.free_m;
	if (m) {
		sched.free_m = m->idle_next;
		sched.m_count++;
		lock_release(&sched.lock);
	} else {
		uint32_t slot = sched.m_made++;
		lock_release(&sched.lock);
		m = pages_map(M_BYTES + sigstack_size());
		if (!m)
			return NULL;
		m->thread.tp_slot = slot;
		lock_acquire(&sched.lock, LOCK_SCHED);
		m->id = sched.m_count++;
		m->all_next = sched.all_m;
		/* release: reports walk the list without the lock */
		__atomic_store_n(&sched.all_m, m, __ATOMIC_RELEASE);
		lock_release(&sched.lock);
	}
	m->g0.kind = G_G0;
	m->g0.in_rt = 1;
	m->g0.m = m;
	g_state_set(&m->g0, GS_RUNNING);
	__atomic_store_n(&m->kmask, ALL_SIGNALS, __ATOMIC_RELAXED); /* who walks the list may still ask for the thread that had the struct before */
	atomic_store_explicit(&m->preempt_g, NULL, memory_order_relaxed);
	m->exiting = m->parent = m->first = m->never_batch = false;
	atomic_store_explicit(&m->batch, false, memory_order_relaxed);
	m_pin(m, false);
	m_wire(m, NULL);
	m->ending = false;
	atomic_store_explicit(&m->wired_note, 0, memory_order_relaxed);
	atomic_store_explicit(&m->curg, NULL, memory_order_relaxed);
	atomic_store_explicit(&m->retake, RETAKE_NONE, memory_order_relaxed);
	m->rand = m->id * 2654435761u + 1;
	return m;
}

/* There is no M for p, and will not be soon. What it has goes to the global queue, and is taken from there one by one: those who come by for a moment (make_way)
 * take the Ps in any order, and must come to everybody. */
static void m_lacks(struct p *p, bool spinning) {
	struct g *g;
	debug_m_refused();
	while ((g = runq_get(p)))
		globq_put(g);
	atomic_store_explicit(&sched.m_lacking, true, memory_order_relaxed); /* sysmon's hint */
	if (spinning)
		atomic_fetch_sub(&sched.spinning, 1);
	p_idle_put(p);
	/* Nobody else tries again, and it may sleep: no P was taken into use that it would have been told of. seq_cst: as in p_attach(). */
	if (atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP)
		sysmon_wake();
	sysmon_stir(0);
}

static void m_refusal_count(void) {
	atomic_fetch_add_explicit(&sched.m_refusals, 1, memory_order_relaxed);
	atomic_store_explicit(&sched.m_lacking, true, memory_order_relaxed); /* sysmon's hint */
}

/* The kernel refused a thread, or memory is out. Back-pressure (SCH-5): p goes idle, what is queued waits for the Ms there are; sysmon
 * tries again each tick. */
static void m_refused(struct p *p, bool spinning) {
	m_refusal_count();
	m_lacks(p, spinning);
}

/* The maker: a kernel thread that makes the others. pthread_create() calls the program's malloc, which may wait for a lock of the program's. A
 * goroutine inside the runtime must not wait for that (it may hold a lock, or be half parked), nor a g0 (the holder may be queued on its P). The maker
 * is a foreign thread without a P: it may. */
static _Atomic uint32_t maker_note;     /* futex word: 1 = look at the queue */
static _Atomic uint32_t maker_turn;     /* how often it has; written with sched.lock held */
static _Atomic bool maker_stuck;        /* in this turn (maker_watch); written with sched.lock held */
static _Atomic bool maker_hopeless;     /* ... for so long that it may be the caller whom it waits for; the same */
static struct g maker_g;
static bool maker_up;                   /* false again in a fork's child */
static _Atomic bool maker_has_chore;    /* memory to give back: that calls the program's free(), so it is nothing for sysmon */

/* exec and the maker (FRK-9). The kernel executes a setuid program without its owner's rights if at that moment somebody shares the directory that
 * the process is in who is not yet, or no more, listed as one of its threads; one that is just being made is such a one. So while a thread execs, no M is
 * made. Dekker: held++ ; look at busy, and busy = true ; look at held. Neither side waits for long: exec's lookup may wait for a goroutine that needs an M,
 * and making one for a lock of malloc's that the caller of exec holds (in a handler). Then it is a race, as it is with kernel threads.
 * Forks that libc does not know of (clone(), _Fork()) wait the same way: what the maker has locked in libc would stay so in the child. */
#define EXEC_WAIT_NS 20000000
static _Atomic uint32_t maker_held; /* execs and such forks under way; futex word */
static _Atomic bool maker_busy;     /* in the middle of making one */
static int32_t maker_pid;

bool maker_hold(void) {
	/* A child by clone(CLONE_VM) uses its parent's memory, and would never let go. */
	if (!sched_started() || SYS0(SYS_getpid) != maker_pid)
		return false;
	int64_t until = nanotime() + EXEC_WAIT_NS;
	atomic_fetch_add(&maker_held, 1);
	while (atomic_load(&maker_busy) && nanotime() < until)
		SYS0(SYS_sched_yield);
	return true;
}

void maker_let_go(void) {
	if (atomic_fetch_sub(&maker_held, 1) == 1)
		SYS3(SYS_futex, &maker_held, FUTEX_WAKE_PRIVATE, 1);
}

static void maker_begin(void) {
	int64_t until = 0, now;
	atomic_store(&maker_busy, true);
	for (uint32_t held; (held = atomic_load(&maker_held)) != 0 && ((now = nanotime()) < until || !until); atomic_store(&maker_busy, true)) {
		until = until ? until : now + 2 * EXEC_WAIT_NS;
		struct timespec left = {.tv_nsec = until - now};
		atomic_store(&maker_busy, false);
		SYS4(SYS_futex, &maker_held, FUTEX_WAIT_PRIVATE, held, &left);
	}
}

#ifdef GOSHIM_DEBUG
uint32_t maker_nudge(void) {
	SYS3(SYS_futex, &maker_note, FUTEX_WAKE_PRIVATE, 1); /* no note: it is not said to be late if it lacks a CPU */
	return atomic_load_explicit(&maker_turn, memory_order_relaxed);
}
#endif

static void maker_poke(void) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	atomic_store_explicit(&maker_note, 1, memory_order_relaxed);
	lock_release(&sched.lock);
	SYS3(SYS_futex, &maker_note, FUTEX_WAKE_PRIVATE, 1);
}

int32_t maker_ktid(void) {
	return __atomic_load_n(&maker_g.tid, __ATOMIC_RELAXED);
}

void maker_chore(void) {
	/* release, then the lock: the maker either finds it before it sleeps, or does not sleep */
	atomic_store_explicit(&maker_has_chore, true, memory_order_release);
	maker_poke();
}

/* sched.lock held. The P, if any, of m, whose thread is yet to be made. Not m's any more from here on, for sysmon as well: the thread may begin with another P before
 * this one has a new M, and what m's goroutine does says nothing about it. Who sees that goroutine has seen this: m_main() takes the lock before. */
static struct p *maker_p(struct m *m) {
	return m->p ? p_detach(m) : NULL;
}

static void *maker_main(void *arg) {
	(void)arg;
	ASAN_STACK_BEGINS();
	RACE_AFTER(&maker_g);
	maker_g.kind = G_FOREIGN;
	g_state_set(&maker_g, GS_RUNNING);
	__atomic_store_n(&maker_g.tid, (int32_t)SYS0(SYS_gettid), __ATOMIC_RELAXED); /* maker_ktid() */
	maker_g.ctx.tp = arch_tp();
	maker_g.in_rt = 0;
	tls_g = &maker_g;
	for (;;) {
		lock_acquire(&sched.lock, LOCK_SCHED);
		atomic_store_explicit(&maker_turn, maker_turn + 1, memory_order_relaxed);
		atomic_store_explicit(&maker_stuck, false, memory_order_relaxed);
		atomic_store_explicit(&maker_hopeless, false, memory_order_relaxed);
		struct m *m = maker_making = maker_queue;
		if (m)
			maker_queue = m->idle_next;
		else
			/* under the lock, as the store in m_new(): it is not lost */
			atomic_store_explicit(&maker_note, 0, memory_order_relaxed);
		lock_release(&sched.lock);
		if (!m) {
			if (atomic_exchange_explicit(&maker_has_chore, false, memory_order_acquire)) {
				if (gfree_give_back())
					atomic_store_explicit(&maker_has_chore, true, memory_order_relaxed); /* threads that are to be made come first */
				continue;
			}
			SYS4(SYS_futex, &maker_note, FUTEX_WAIT_PRIVATE, 0, 0);
			continue;
		}
		maker_begin();
		RACE_BEFORE(m);
		int r = MAY_FAIL_UNSEEN(-EAGAIN, sched_thread_create(m_main, m));
		/* release: the kernel knows the thread by now */
		atomic_store_explicit(&maker_busy, false, memory_order_release);
		if (r == 0) {
			if (atomic_load_explicit(&sched.m_lacking, memory_order_relaxed))
				atomic_store_explicit(&sched.m_lacking, false, memory_order_relaxed);
			atomic_store_explicit(&sched.m_refusals, 0, memory_order_relaxed);
		} else {
			lock_acquire(&sched.lock, LOCK_SCHED);
			maker_making = NULL;
			struct p *p = maker_p(m);
			bool spinning = m->spinning;
			m->idle_next = sched.free_m;
			sched.free_m = m;
			sched.m_count--;
			lock_release(&sched.lock);
			if (p)
				m_refused(p, spinning);
			else /* somebody else has taken its P over. Who cannot do without an M of his own has to know all the same (m_refused_for_good()) */
				m_refusal_count();
		}
	}
	return NULL;
}

/* All signals blocked, as for the Ms that inherit it: the first G that an M runs brings its own mask. */
static int maker_start(void) {
	uint64_t all = ALL_SIGNALS, old;
	if (maker_up)
		return 0;
	SYS4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, 8);
	RACE_BEFORE(&maker_g);
	int r = MAY_FAIL(-EAGAIN, sched_thread_create(maker_main, NULL));
	SYS4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &old, 0, 8);
	maker_up = r == 0;
	maker_pid = (int32_t)SYS0(SYS_getpid);
	return r;
}

static void maker_enqueue(struct m *m) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	m->idle_next = maker_queue;
	maker_queue = m;
	lock_release(&sched.lock);
	maker_poke();
}

/* A new kernel thread with P p, soon. */
static void m_new(struct p *p, bool spinning) {
	/* relaxed: one that goes to its queue all the same is found there at the next tick */
	if (__builtin_expect(atomic_load_explicit(&maker_stuck, memory_order_relaxed), 0)) {
		m_lacks(p, spinning);
		return;
	}
	struct m *m = maker_up ? m_alloc() : NULL;
	if (!m) {
		m_refused(p, spinning);
		return;
	}
	stat_count(NULL, STAT_M_CREATED, 1);
	m->spinning = spinning;
	m->p = NULL;
	m->next_p = NULL;
	p_attach(m, p);
	maker_enqueue(m);
}

bool m_open_take(void) {
	uint32_t open = atomic_load(&sched.m_open);
	while (open > 1) {
		if (atomic_compare_exchange_weak(&sched.m_open, &open, open - 1))
			return true;
	}
	return false;
}

bool m_held_up(void) {
	/* relaxed: one that is made after all is found the next time */
	return atomic_load_explicit(&maker_hopeless, memory_order_relaxed);
}

bool m_coming(void) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	bool coming = maker_making || maker_queue;
	lock_release(&sched.lock);
	return coming;
}

void m_ask_spare(void) {
	static _Atomic int64_t asked_at; /* relaxed: one more or less */
	int64_t now = nanotime();
	if (now - atomic_load_explicit(&asked_at, memory_order_relaxed) < SPARE_NS || m_coming())
		return;
	atomic_store_explicit(&asked_at, now, memory_order_relaxed);
	struct m *m = maker_up ? m_alloc() : NULL;
	if (!m)
		return;
	m->spinning = false;
	m->p = m->next_p = NULL;
	maker_enqueue(m);
}

/* Not by the maker, who has nothing of what the caller has set for its kernel thread. The caller is outside the runtime: it may wait for the
 * program's malloc. g NULL: it is for whoever is queued, and the caller's own must have nothing set. */
struct m *m_new_pinned(struct g *g) {
	struct m *m = m_alloc();
	if (!m)
		return NULL;
	m->p = m->next_p = NULL;
	m->spinning = false;
	m_wire(m, g);
	m_pin(m, g != NULL);
	struct g *self = g_self();
	enum tp_hold hold = g_tp_hold(self);
	uint64_t all = ALL_SIGNALS, old;
	SYS4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, 8);
	RACE_BEFORE(m);
	int r = MAY_FAIL_SEEN(-EAGAIN, sched_thread_create(m_main, m));
	SYS4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &old, 0, 8);
	g_tp_release(self, hold);
	if (r == 0) {
		stat_count(NULL, STAT_M_CREATED, 1);
		return m;
	}
	lock_acquire(&sched.lock, LOCK_SCHED);
	m->idle_next = sched.free_m;
	sched.free_m = m;
	sched.m_count--;
	lock_release(&sched.lock);
	return NULL;
}

/* Runs P p on some M: an idle one, else a new one. */
static void m_start(struct p *p, bool spinning) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	struct m *m = m_idle_pop(false);
	lock_release(&sched.lock);
	if (m) {
		m->spinning = spinning;
		m->next_p = p;
		if (!wake_put_off(m))
			note_wake(m);
		return;
	}
	m_new(p, spinning);
}

void startm(struct p *p) {
	m_start(p, false);
}

struct p *p_idle_get(void) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	struct p *p = p_idle_pop();
	lock_release(&sched.lock);
	return p;
}

void p_idle_put(struct p *p) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	p_idle_push(p);
	lock_release(&sched.lock);
}

/* Something became runnable that the Ms at work may not get to soon: wake one more M, one at a time. */
void wakep(void) {
	uint32_t none = 0;
	/* The caller put something into the global queue and released its lock, by an exchange: what is read here must not be older. Dekker with
	 * spinning_end(): either that M finds what was queued, or it does not count as spinning any more. (Who comes here for its own queue
	 * has none of this, and needs none: that P runs, and sysmon sees what waits there.) */
	arch_rmw_fence();
	if (atomic_load(&sched.idle_p_count) == 0 || !atomic_compare_exchange_strong(&sched.spinning, &none, 1)) {
		sysmon_stir(0);
		return;
	}
	lock_acquire(&sched.lock, LOCK_SCHED);
	bool poller = sched.idle_m == NULL && atomic_load_explicit(&sched.poller, memory_order_relaxed);
	struct p *p = poller ? NULL : p_idle_pop();
	/* Under the lock: who queues and finds an M counted as spinning wakes nobody, and here is none who will look. If that was before, the Ms that have the Ps
	 * see what was queued: each looks with this lock held before its P goes idle. If it comes after, nobody is counted. */
	if (!p)
		atomic_fetch_sub(&sched.spinning, 1);
	lock_release(&sched.lock);
	if (p) {
		m_start(p, true);
		return;
	}
	if (poller) {
		debug_poller_broken();
		netpoll_break(); /* it comes back, takes the P and looks for work */
		waits_left();
	}
}

/* sched.lock held. An M that is here takes the P of one that is yet to be made. Not for speed only: the maker may have to wait for the
 * program's malloc, whose owner may be a goroutine that waits for just this P. */
static struct p *maker_give(bool *spinning) {
	struct m *m = maker_making && maker_making->p ? maker_making : maker_queue;
	while (m && !m->p)
		m = m == maker_making ? maker_queue : m->idle_next;
	if (!m)
		return NULL;
	*spinning = m->spinning;
	m->spinning = false;
	return maker_p(m);
}

/* Not for want of a CPU, unless that lasts. */
static bool hopeless_after(int64_t waited) {
	if (waited < MAKER_WAITS_NS || waited >= MAKER_LATEST_NS)
		return waited >= MAKER_LATEST_NS;
	if (!netpoll_fork_hold()) /* a child would have the descriptor that it takes */
		return false;
	struct kernel_call call = kernel_call_of(maker_ktid());
	netpoll_fork_release();
	return !call.known || !call.running;
}

/* sysmon, each tick. Where no M comes by for those Ps, because all are in the kernel, they go idle once the maker has been at one thread, or one piece of memory,
 * for long, as if the kernel had refused the threads; and no more are asked for until it has gone on. Then make_way() finds somebody for them. */
void maker_watch(int64_t now) {
	static uint32_t turn;
	static int64_t since;
	static bool slept = true; /* when we last looked, which may be long ago */
	struct p *p;
	bool spinning;
	/* relaxed, both: a hint, looked at again with the lock held */
	uint32_t is = atomic_load_explicit(&maker_turn, memory_order_relaxed);
	bool sleeps = atomic_load_explicit(&maker_note, memory_order_relaxed) == 0;
	if (__builtin_expect(sleeps, 1) || slept || is != turn) {
		slept = sleeps;
		turn = is;
		since = now;
		return;
	}
	if (now - since < MAKER_STUCK_NS)
		return;
	bool hopeless = hopeless_after(now - since);
	lock_acquire(&sched.lock, LOCK_SCHED);
	if (maker_turn == turn) {
		atomic_store_explicit(&maker_stuck, true, memory_order_relaxed);
		atomic_store_explicit(&maker_hopeless, hopeless, memory_order_relaxed);
		while ((p = maker_give(&spinning))) {
			lock_release(&sched.lock);
			m_lacks(p, spinning);
			lock_acquire(&sched.lock, LOCK_SCHED);
		}
	}
	lock_release(&sched.lock);
}

void m_surplus_wake(void) {
	while (!m_keeps()) {
		lock_acquire(&sched.lock, LOCK_SCHED);
		struct m *m = sched.idle_m_count - sched.idle_m_parents > m_idle_max() ? m_idle_pop(true) : NULL;
		if (m)
			m->next_p = NULL;
		lock_release(&sched.lock);
		if (!m)
			return;
		note_wake(m);
	}
}

/* sched.lock held; released. Sleeps until m is given a P, or retires (m->exiting). */
void m_stop(struct m *m) {
	struct p *given = maker_give(&m->spinning);
	if (given) {
		lock_release(&sched.lock);
		chaos_delay();
		p_attach(m, given);
		return;
	}
	if (!m->parent && !m_keeps() && sched.idle_m_count - sched.idle_m_parents >= m_idle_max() && m_open_take()) {
		m->exiting = true; /* SCH-6 */
		lock_release(&sched.lock);
		return;
	}
	atomic_store_explicit(&m->note, 0, memory_order_relaxed);
	m->next_p = NULL;
	m_idle_push(m);
	lock_release(&sched.lock);
	m_idle(m, true);
	batch_follow(m);
	while (atomic_load_explicit(&m->note, memory_order_acquire) == 0) {
		SYS4(SYS_futex, &m->note, FUTEX_WAIT_PRIVATE, 0, 0);
		arch_tp_mend();
		deliver_pending();
	}
	m_idle(m, false);
	if (m->next_p) {
		m_helps(m, m->next_p);
		p_attach(m, m->next_p);
	}
	m->next_p = NULL;
}

void m_retire(struct m *m) {
	RACE_BEFORE(m);
	tls_g = NULL; /* from here on a plain kernel thread that ends */
	RACE_AFTER(m);
	stat_count(NULL, STAT_M_RETIRED, 1);
	/* 33 is never blocked, and may be under way to this thread: its handler must not run on a stack that is the next thread's. */
	stack_t none = {.ss_flags = SS_DISABLE};
	SYS2(SYS_sigaltstack, &none, 0);
	sysmon_answer_await(m);
	lock_acquire(&sched.lock, LOCK_SCHED);
	atomic_store_explicit(&m->ktid, 0, memory_order_relaxed);
	atomic_store_explicit(&m->batch, false, memory_order_relaxed);
	m->idle_next = sched.free_m;
	sched.free_m = m;
	sched.m_count--;
	lock_release(&sched.lock);
}

/* ---- start and fork --------------------------------------------------------------------------------------------------------- */

struct p *p_new(uint32_t id) {
	struct p *p = sched.all_p[id];
	/* The parent's is made anew here and not before: most children run something else, or end, and never look at it. One that comes back is what it was:
	 * it may be looked at just now. */
	bool fresh = !p || p->birth != sched.birth;
	if (!p)
		p = pages_map((sizeof *p + 4095) & ~4095ul);
	else if (fresh)
		memset(p, 0, sizeof *p);
	if (p && fresh) {
		p->id = id;
		p->birth = sched.birth;
	}
	if (p) {
		atomic_store_explicit(&p->timers.first, INT64_MAX, memory_order_relaxed);
		if (sched.all_p[id] != p)
			sched.all_p[id] = p;
	}
	return p;
}

static void g0_start(void *arg) {
	RACE_SAME_THREAD();
	schedule(arg);
	__builtin_unreachable(); /* it never retires */
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
	m->first = m->ktid == (int32_t)SYS0(SYS_getpid);
	uintptr_t tcb = tcb_make(stack.hi, 0, &m->g0, &top);
	if (!tcb) {
		stack_release(&stack);
		return -ENOMEM;
	}
	/* The last that may fail. Without the maker there would be one M for ever, and a goroutine that blocks it could wait for one that is queued. */
	int r = maker_start();
	if (r < 0) {
		tcb_free(tcb);
		stack_release(&stack);
		return r;
	}
	m->g0.ctx.tp = tcb;
	arch_ctx_init(&m->g0.ctx, top, g0_start, m);
	SYS4(SYS_rt_sigprocmask, 0, 0, &m->kmask, 8);
	g->sigmask = m->kmask;
	__atomic_store_n(&g->kind, G_MAIN, __ATOMIC_RELAXED); /* a foreign thread's G, which sysmon knows */
	g->id = 1;
	g->ctx.tp = arch_tp();
	arch_thread_init(&m->thread, m->thread.tp_slot);
	g->in_rt = 0;
	g->m = m;
	atomic_store_explicit(&g->ctx.on_cpu, 1, memory_order_relaxed);
	p_attach(m, p);
	atomic_store(&sched.m_open, 1);
	atomic_store_explicit(&m->curg, g, memory_order_relaxed);
	m->parent = true; /* the first kernel thread of a process must not end before the others */
	cpu_start(g);
	tcb_rseq_off();
	return 0;
}

/* The parent's Ms, in a fork's child. */
static struct m *orphan_m;

static void orphans_adopt(void) {
	struct m *next;
	g_adopt_orphans();
	for (struct m *m = orphan_m; m; m = next) {
		struct stack stack = m->g0_stack;
		uint32_t id = m->id, slot = m->thread.tp_slot;
		next = m->all_next;
		if (stack.slab)
			stack_release(&stack);
		memset(m, 0, sizeof *m);
		m->id = id;
		m->thread.tp_slot = slot;
		m->all_next = sched.all_m;
		sched.all_m = m;
		m->idle_next = sched.free_m;
		sched.free_m = m;
	}
	orphan_m = NULL;
}

int sched_start(const char **why) {
	if (sched_started())
		return 0;
	int r;
	arch_init();
	*why = "a filter of system calls refuses the one that sets the thread pointer";
	if (!arch_tp_may_write())
		return -EPERM;
	if (sched_tp_trap_hook)
		sched_tp_trap_hook();
	*why = "membarrier is refused";
	if ((r = (int)MAY_FAIL(-ENOMEM, SYS3(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))) < 0)
		return r;
	if ((r = tcb_offsets(why)) < 0)
		return r;
	*why = "out of memory";
	if ((r = stack_init()) < 0)
		return r;
	orphans_adopt();
	futex_init();
	preempt_init();
	wall_begin();
	g_tid_seed();
	sched.procs = sched_config.gomaxprocs < 1 ? 1 : sched_config.gomaxprocs > GOMAXPROCS_MAX ? GOMAXPROCS_MAX : sched_config.gomaxprocs;
	sched_config.gomaxprocs = sched.procs;
	for (uint32_t i = 0; i < sched.procs; i++) {
		if (!p_new(i))
			return -ENOMEM;
		sched.all_p[i]->part = P_HERE;
	}
	sched.procs_all = sched.procs;
	*why = "epoll is refused";
	if ((r = netpoll_init()) < 0)
		return r;
	*why = "the kernel refuses a thread for sysmon";
	if ((r = sysmon_start(why)) < 0) {
		netpoll_fork_child(); /* closes what init opened */
		return r;
	}
	tcb_find_lists();
	*why = "memory or a second thread is refused";
	if ((r = m0_make(sched.all_p[0])) < 0) {
		sysmon_stop();
		netpoll_fork_child();
		return r;
	}
	lock_acquire(&sched.lock, LOCK_SCHED);
	for (uint32_t i = sched.procs; i-- > 1;)
		p_idle_push(sched.all_p[i]);
	lock_release(&sched.lock);
	atomic_fetch_add_explicit(&sched.g_live, 1, memory_order_relaxed);
	sched.started_at = nanotime();
	atomic_store_explicit(&sched.coarse_now, sched.started_at, memory_order_relaxed);
	atomic_store_explicit(&sched.started, true, memory_order_release);
	return 0;
}

void sched_fork_child(void) {
	struct g *g = tls_g;
	bool was = sched_started();
	slab_fork_child();
	timer_fork_child();
	if (!was) { /* no pthreads of ours, but kernel threads may have waited for goshim.h's objects, or held a lock of theirs, or begun or ended to wait */
		g_shells_fork_child();
		if (atomic_load_explicit(&stats_shared[STAT_FUTEX_WAITS], memory_order_relaxed))
			futex_fork_child();
		if (g)
			g->tid = (int32_t)SYS0(SYS_gettid);
		return;
	}
	/* Everything else died with the other kernel threads. Locks may be held by the dead: nothing is taken over but the calling G, and memory, when the
	 * child makes threads of its own (orphans_adopt()). */
	struct p *keep[GOMAXPROCS_MAX];
	uint32_t birth = sched.birth + 1, m_made = sched.m_made;
	bool keep_ms = m_keeps(); /* a ring is inherited */
	struct g *all = g_all();
	memcpy(keep, sched.all_p, sizeof keep);
	orphan_m = sched.all_m;
	memset(&sched, 0, sizeof sched);
	memcpy(sched.all_p, keep, sizeof keep);
	sched.birth = birth;
	sched.m_made = m_made;
	sched.m_keep = keep_ms;
	g_fork_child(g, all);
	stats_fork_child();
	procs_fork_child();
	batch_fork_child();
	disk_fork_child();
	cpu_fork_child();
	memset(&maker_g, 0, sizeof maker_g); /* it may have held a lock */
	debug_fork_child();
	maker_up = false;
	maker_has_chore = false;
	maker_stuck = maker_hopeless = false;
	maker_busy = false;
	maker_held = 0;
	maker_queue = maker_making = NULL;
	late_ms = NULL;
	futex_fork_child();
	wired_fork_child();
	netpoll_fork_child();
	tcb_fork_child();
	atomic_store_explicit(&rt_pending, 0, memory_order_relaxed);
	if (g) {
		g->kind = G_FOREIGN;
		g->m = NULL;
		g->in_rt = 0;
		g->wired_m = NULL;
		g->own_files = false; /* they are the process's */
		atomic_store_explicit(&g->wish, false, memory_order_relaxed);
		atomic_store_explicit(&g->wish_listed, false, memory_order_relaxed); /* in a list that is the parent's */
		g->tp_held = false;
		atomic_store_explicit(&g->in_syscall, 0, memory_order_relaxed);
		g->tid = (int32_t)SYS0(SYS_gettid);
	}
}

