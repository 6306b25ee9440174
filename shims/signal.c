/* Signals: handlers, masks, alternate stacks and pending signals per goroutine, on kernel threads that know nothing
 * of goroutines.
 *
 * Who gets what
 *   The kernel has sig_entry() for every signal the program handles; SIG_DFL and SIG_IGN are the kernel's own. The
 *   program's handler, flags and mask are an interned record in handlers[sig]; sigaction() shows it that, never
 *   ours. On a thread that is no goroutine (no runtime, libc's helpers) sig_entry just calls the handler.
 *   1. The goroutine that runs here may take the signal and is outside the runtime: its handler runs at once, on the
 *      kernel's own frame. It may park and migrate in there; the frame lies on its stack, and sigreturn on another M
 *      puts back mask and alternate stack of the goroutine.
 *   2. Otherwise the signal goes to the ring: a fixed pool of entries, taken without locks, since what was
 *      interrupted may hold any lock of the runtime. rt_pending counts it; whoever leaves the runtime or sleeps on
 *      a g0 calls deliver_hook(), which routes entries to goroutines: into the sigstate's queue, then sig_nudge().
 *   Signals to the process go to main unless it blocks them, as the kernel prefers the first thread; then to the
 *   caller, then to anybody. Faults (SIGSEGV & co. with a kernel si_code) are handled where they happen, always: to
 *   defer one is to repeat it for ever.
 *
 * Running a queued handler
 *   A goroutine looks at its queue when it leaves the runtime (deliver_hook), when a wait ended with -EINTR
 *   (shim_interrupted), when its mask changes, and when a *kick* arrives: the same signal number, sent to its M with
 *   KICK_CODE, whose only meaning is "look". The same number, because then the kernel decides by the program's own
 *   SA_RESTART whether a system call is restarted. After a wait ended with WAKE_INTR, until shim_interrupted() was
 *   called, handlers wait for it: it must know that one ran (SIG-1).
 *
 * Masks
 *   g->sigmask is the goroutine's; the switch calls sig_resync() when the M's differs. The kernel keeps process-wide
 *   pending signals: so a signal that every goroutine blocks must be blocked on every kernel thread (else it would
 *   be taken, or kill us by its default action), and one that a single parked goroutine accepts must be open on some
 *   kernel thread. `and_mask` is the AND of all goroutines' masks, counted (not walked): dev[] counts goroutines that differ from the mask at start, so goroutines that never touch their
 *   mask cost nothing. sysmon has and_mask as its mask and is the receiver of last resort. When and_mask gains a
 *   bit, Ms on their g0, which keep the mask of whoever ran there last, are told by SIGSETXID (33) with KICK_CODE,
 *   and the gainer waits for their answers. While a handler runs, its sa_mask is not accounted; a signal nobody
 *   takes for that reason is *held* until a handler returns.
 *
 * Locks: and_lock; route_lock -> sigstate.lock. Taken inside the runtime (in_rt > 0), so never under a handler on
 * the same thread. All rank below LOCK_NETPOLL. sigstate.lock and and_lock: nothing is called below them but raw
 * system calls.
 */
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "../core/runtime.h"
#include "io.h"
#include "process.h"
#include "shim.h"
#include "sigstate.h"

#define NSIGNALS 64
#define KICK_CODE (-0x6753)     /* si_code of our own signals: "look at your queue" */
#define ENTRIES 2048u
#define RECORDS 4096u           /* distinct (handler, flags, mask) a program ever sets; power of two */
#define RECORD_PROBES 64u
#define ACK_WAIT_NS 100000000   /* an M that does not answer this long is stopped or gone */
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif
#define SA_RESTORER_FLAG 0x04000000ul

/* The kernel's struct sigaction. */
struct ksigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

/* What the program asked for. Never changes once published, never freed: read from handlers without locks. */
struct record {
	_Atomic uint32_t state; /* 0 free, 1 being written, 2 ready */
	int flags;
	void (*handler)(int, siginfo_t *, void *);
	uint64_t mask;
};

enum entry_state { ENTRY_FREE, ENTRY_WRITING, ENTRY_RING, ENTRY_HELD, ENTRY_QUEUED };

struct entry {
	_Atomic uint32_t state;
	uint32_t next;      /* queue link: index + 1 */
	uint32_t seq;       /* order of arrival in the ring */
	int sig;
	struct g *to;       /* thread-directed: for whom; NULL the process */
	siginfo_t info;
};

static struct record records[RECORDS];
static _Atomic(struct record *) handlers[NSIGNALS + 1];
static struct entry entries[ENTRIES];
static _Atomic uint32_t entry_hint, ring_seq, ring_count;
static _Atomic uint64_t held;       /* signals with ENTRY_HELD entries */
static struct lock route_lock, and_lock;

static struct g *main_g;
static uint64_t base_mask;          /* main's mask when the runtime started */
static _Atomic int32_t dev[NSIGNALS]; /* goroutines whose mask differs from base_mask in this signal */
static _Atomic int32_t dev_total;   /* goroutines that differ anywhere */
static _Atomic int32_t live;
static _Atomic uint64_t and_mask;
static _Atomic uint64_t kicked_ever; /* signals that were ever used for a kick: one may still be on its way */
static _Atomic int32_t sysmon_tid;
static _Atomic uint32_t acks;       /* futex word */
static _Atomic uint64_t interrupting; /* signals that siginterrupt() made interrupt (BSD signal()) */

static void *restorer;              /* libc's, for our raw rt_sigaction */
static void (*setxid_libc)(int, siginfo_t *, void *);
static _Atomic int reserved;

static void sig_entry(int sig, siginfo_t *info, void *context);

/* The goroutine whose state the kernel thread stands for. A vfork child has its parent's memory, but mask, handlers
 * and pending signals of its own, which are the kernel's (FRK-5). */
static inline struct g *self_g(void) {
	struct g *g = g_goroutine();
	return g && likely(!g->in_vfork) ? g : NULL;
}

/* ---- small things
 * ------------------------------------------------------------------------------------------------------- */

static inline struct record *handler_of(int sig) {
	/* acquire: pairs with the release of the writer; the record's fields were written before */
	return atomic_load_explicit(&handlers[sig], memory_order_acquire);
}

static inline int32_t self_pid(void) {
	return (int32_t)SYS0(SYS_getpid);
}

static inline int32_t self_ktid(void) {
	return (int32_t)SYS0(SYS_gettid);
}

static inline uint64_t mask_of(struct g *g) {
	return __atomic_load_n(&g->sigmask, __ATOMIC_RELAXED);
}

/* seq_cst: Dekker with senders, which queue first and read the mask then */
static inline void mask_store(struct g *g, uint64_t mask) {
	__atomic_store_n(&g->sigmask, mask, __ATOMIC_SEQ_CST);
}

/* Leaves the runtime without delivering: for sections inside the delivery itself. */
static inline void rt_leave(struct g *g) {
	atomic_signal_fence(memory_order_seq_cst);
	g->in_rt--;
}

static long kernel_queue_self(int sig, siginfo_t *info) {
	return SYS4(SYS_rt_tgsigqueueinfo, self_pid(), self_ktid(), sig, info);
}

static void kick(int32_t ktid, int sig) {
	siginfo_t info;
	atomic_fetch_or_explicit(&kicked_ever, SIGBIT(sig), memory_order_relaxed);
	memset(&info, 0, sizeof info);
	info.si_signo = sig;
	info.si_code = KICK_CODE;
	SYS4(SYS_rt_tgsigqueueinfo, self_pid(), ktid, sig, &info);
}

static bool is_fault(int sig, const siginfo_t *info) {
	return info->si_code > 0 && (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGTRAP || sig == SIGSYS);
}

static bool is_alive(struct g *g) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_relaxed);
	return g->kind <= G_MAIN && state != GS_DEAD && state != GS_IDLE && !sig_of(g)->dead;
}

/* ---- entries: the ring and the queues
 * ------------------------------------------------------------------------------------- */

/* Async-signal-safe. NULL: all in use. */
static struct entry *entry_alloc(void) {
	uint32_t start = atomic_load_explicit(&entry_hint, memory_order_relaxed);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		struct entry *e = &entries[(start + i) % ENTRIES];
		uint32_t free_state = ENTRY_FREE;
		/* acquire: pairs with the release in entry_free() */
		if (atomic_load_explicit(&e->state, memory_order_relaxed) == ENTRY_FREE &&
		    atomic_compare_exchange_strong_explicit(&e->state, &free_state, ENTRY_WRITING, memory_order_acquire,
		                                            memory_order_relaxed)) {
			atomic_store_explicit(&entry_hint, start + i + 1, memory_order_relaxed);
			return e;
		}
	}
	return NULL;
}

static void entry_free(struct entry *e) {
	uint32_t index = (uint32_t)(e - entries);
	atomic_store_explicit(&e->state, ENTRY_FREE, memory_order_release);
	atomic_store_explicit(&entry_hint, index, memory_order_relaxed); /* few entries in use: stay in few pages */
}

/* Signal context. A full ring loses the signal, as RLIMIT_SIGPENDING does. */
static void ring_push(int sig, const siginfo_t *info, struct g *to) {
	struct entry *e = entry_alloc();
	if (!e)
		return;
	e->sig = sig;
	e->info = *info;
	e->to = to;
	e->seq = atomic_fetch_add_explicit(&ring_seq, 1, memory_order_relaxed);
	/* Counted before it is visible: a consumer never counts below zero. */
	atomic_fetch_add_explicit(&ring_count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&rt_pending, 1, memory_order_relaxed);
	/* release: publishes the entry to ring_drain() */
	atomic_store_explicit(&e->state, ENTRY_RING, memory_order_release);
}

/* sigstate.lock held. */
static void queue_append(struct sigstate *s, struct entry *e) {
	uint32_t index = (uint32_t)(e - entries) + 1;
	e->next = 0;
	if (s->tail)
		entries[s->tail - 1].next = index;
	else
		s->head = index;
	s->tail = index;
	atomic_store_explicit(&e->state, ENTRY_QUEUED, memory_order_relaxed);
}

/* sigstate.lock held. The oldest entry of `sig`, taken out; pending is brought up to date. */
static struct entry *queue_remove(struct sigstate *s, int sig) {
	struct entry *found = NULL;
	uint32_t *link = &s->head, previous = 0;
	bool more = false;
	while (*link) {
		struct entry *e = &entries[*link - 1];
		if (e->sig == sig && !found) {
			found = e;
			if (s->tail == *link)
				s->tail = previous;
			*link = e->next;
			continue;
		}
		more |= e->sig == sig;
		previous = *link;
		link = &e->next;
	}
	if (!more)
		atomic_fetch_and_explicit(&s->pending, ~(SIGBIT(sig) & ~s->bare), memory_order_relaxed);
	return found;
}

/* Inside the runtime. 0, or -EAGAIN: no entry left (real-time signals only; a standard one needs none). */
static int queue_put(struct sigstate *s, int sig, const siginfo_t *info) {
	int r = 0;
	lock_acquire(&s->lock);
	/* Signals below the real-time ones are pending or not, no more (as in the kernel). */
	if (!s->dead && !(sig < 32 && (s->pending & SIGBIT(sig)))) {
		struct entry *e = entry_alloc();
		if (e) {
			e->sig = sig;
			e->info = *info;
			queue_append(s, e);
		} else if (sig < 32) {
			s->bare |= SIGBIT(sig);
		} else {
			r = -EAGAIN;
		}
		if (r == 0)
			atomic_fetch_or(&s->pending, SIGBIT(sig)); /* seq_cst: Dekker with mask_store() and sigwait */
	}
	lock_release(&s->lock);
	return r;
}

/* Takes the lowest pending signal of `allowed` into *info; its number, or 0. Owner only. */
static int queue_take(struct g *g, uint64_t allowed, siginfo_t *info) {
	struct sigstate *s = sig_of(g);
	if (!(atomic_load(&s->pending) & allowed)) /* seq_cst: Dekker with queue_put() */
		return 0;
	int sig = 0;
	rt_enter(g); /* no handler on top of the lock */
	lock_acquire(&s->lock);
	uint64_t ready_bits = s->pending & allowed;
	if (ready_bits) {
		sig = __builtin_ctzll(ready_bits) + 1;
		struct entry *e = queue_remove(s, sig);
		if (e) {
			*info = e->info;
			entry_free(e);
		} else {
			memset(info, 0, sizeof *info);
			info->si_signo = sig;
			info->si_code = SI_USER;
			s->bare &= ~SIGBIT(sig);
			atomic_fetch_and_explicit(&s->pending, ~SIGBIT(sig), memory_order_relaxed);
		}
	}
	lock_release(&s->lock);
	rt_leave(g);
	return sig;
}

static void attention_set(struct sigstate *s) {
	if (!atomic_exchange(&s->attention, true))
		atomic_fetch_add(&rt_pending, 1);
}

static void attention_clear(struct sigstate *s) {
	if (atomic_load_explicit(&s->attention, memory_order_relaxed) && atomic_exchange(&s->attention, false))
		atomic_fetch_sub(&rt_pending, 1);
}

/* sigstate.lock held or nobody else there. */
static void queue_drop(struct sigstate *s) {
	while (s->head) {
		struct entry *e = &entries[s->head - 1];
		s->head = e->next;
		entry_free(e);
	}
	s->tail = 0;
	s->bare = 0;
	atomic_store_explicit(&s->pending, 0, memory_order_relaxed);
}

/* ---- the AND of all masks
 * ----------------------------------------------------------------------------------------------- */

static uint64_t and_compute(void) {
	uint64_t bits = 0;
	int32_t all = atomic_load(&live);
	for (int i = 0; i < NSIGNALS; i++) {
		int32_t d = atomic_load(&dev[i]);
		if ((base_mask >> i & 1) ? d <= 0 : d >= all)
			bits |= 1ull << i;
	}
	return bits & ~SIG_NEVER_BLOCKED;
}

/* The Ms that sit on their g0 with a mask that lets a signal through which nobody accepts any more. They answer from
 * reserved_entry(). sysmon always: it opens what was lost, too. and_lock held. */
static void and_broadcast(uint64_t gained) {
	uint32_t asked = 0;
	int32_t pid = self_pid(), me = self_ktid();
	siginfo_t info;
	memset(&info, 0, sizeof info);
	info.si_signo = SIGSETXID_NR;
	info.si_code = KICK_CODE;
	atomic_store(&acks, 0);
	int32_t sysmon = atomic_load(&sysmon_tid);
	if (sysmon && sysmon != me && SYS4(SYS_rt_tgsigqueueinfo, pid, sysmon, SIGSETXID_NR, &info) == 0)
		asked++;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); gained && m; m = m->all_next) {
		if (m->ktid == me || m->ktid == 0 || atomic_load(&m->curg) || !(gained & ~__atomic_load_n(&m->kmask, __ATOMIC_RELAXED)))
			continue;
		if (SYS4(SYS_rt_tgsigqueueinfo, pid, m->ktid, SIGSETXID_NR, &info) == 0)
			asked++;
	}
	int64_t limit = nanotime() + ACK_WAIT_NS;
	for (;;) {
		uint32_t have = atomic_load(&acks);
		if (have >= asked || nanotime() > limit)
			return;
		struct timespec ts = {0, ACK_WAIT_NS / 10};
		SYS4(SYS_futex, &acks, FUTEX_WAIT_PRIVATE, have, &ts);
	}
}

/* Inside the runtime. */
static void and_refresh(void) {
	lock_acquire(&and_lock);
	uint64_t now = and_compute(), before = atomic_load(&and_mask);
	if (now != before) {
		atomic_store(&and_mask, now);
		if (atomic_load_explicit(&reserved, memory_order_acquire) == 2)
			and_broadcast(now & ~before);
	}
	lock_release(&and_lock);
}

/* The goroutine's mask is `mask` from now on, as far as the process is concerned. Inside the runtime. */
static void account(struct sigstate *s, uint64_t mask) {
	uint64_t changed = s->counted ^ mask;
	if (!changed)
		return;
	uint64_t deviates = mask ^ base_mask;
	bool did = s->counted != base_mask, does = mask != base_mask, refresh = false;
	int32_t all = atomic_load_explicit(&live, memory_order_relaxed);
	s->counted = mask;
	if (did != does)
		atomic_fetch_add(&dev_total, does ? 1 : -1);
	for (uint64_t bits = changed; bits; bits &= bits - 1) {
		int i = __builtin_ctzll(bits);
		int32_t step = (deviates >> i & 1) ? 1 : -1;
		int32_t now = atomic_fetch_add(&dev[i], step) + step;
		/* Near enough to "all" or "none" that and_mask may change; and_refresh() finds out. */
		refresh |= (base_mask >> i & 1) ? now <= 1 : now >= all - 1;
	}
	if (refresh)
		and_refresh();
}

/* ---- routing
 * -------------------------------------------------------------------------------------------------------------- */

int32_t sig_running_on(struct g *g) {
	struct m *m = __atomic_load_n(&g->m, __ATOMIC_RELAXED);
	return m && atomic_load_explicit(&m->curg, memory_order_relaxed) == g ? m->ktid : 0;
}

void sig_nudge(struct g *g, int sig) {
	attention_set(sig_of(g));
	if (g == tls_g)
		return; /* looks by itself when it leaves the runtime */
	g_interrupt(g);
	int32_t ktid = sig_running_on(g);
	if (!ktid)
		return;
	sig_reserve(); /* before the first SIGCANCEL: libc has no handler for it yet */
	if (sig != SIGCANCEL_NR || atomic_load_explicit(&reserved, memory_order_acquire) == 2)
		kick(ktid, sig);
}

/* Queues for g and makes it look, if it would take it. */
static int signal_send(struct g *g, int sig, const siginfo_t *info) {
	struct sigstate *s = sig_of(g);
	int r = queue_put(s, sig, info);
	/* seq_cst by the RMW in queue_put() and these loads: either we see the open mask or the owner sees the entry */
	uint64_t mask = __atomic_load_n(&g->sigmask, __ATOMIC_SEQ_CST);
	if (r == 0 && (!(mask & SIGBIT(sig)) || (atomic_load(&s->waiting) & SIGBIT(sig))))
		sig_nudge(g, sig);
	return r;
}

/* Who takes a signal sent to the process: main first, as the kernel does; then the caller, then anybody. */
static struct g *taker_of(int sig) {
	struct g *self = tls_g;
	if (main_g && is_alive(main_g) && !(mask_of(main_g) & SIGBIT(sig)))
		return main_g;
	if (self && self->kind <= G_MAIN && is_alive(self) && !(mask_of(self) & SIGBIT(sig)))
		return self;
	for (struct g *g = g_all(); g; g = g->all_next) {
		if (is_alive(g) && !(mask_of(g) & SIGBIT(sig)))
			return g;
	}
	return NULL;
}

/* Back to the kernel, which keeps what everybody blocks. Only the first thread may forge a kernel's or kill()'s
 * siginfo. */
static void signal_return(int sig, siginfo_t *info) {
	int32_t pid = self_pid();
	if (SYS3(SYS_rt_sigqueueinfo, pid, sig, info) < 0)
		SYS2(SYS_kill, pid, sig);
}

/* route_lock held. */
static void route(struct entry *e) {
	struct g *to = e->to ? e->to : taker_of(e->sig);
	int sig = e->sig;
	siginfo_t info = e->info;
	if (!to && !(atomic_load(&and_mask) & SIGBIT(sig))) {
		/* Somebody accepts it, once the handler he is in returns. */
		atomic_store_explicit(&e->state, ENTRY_HELD, memory_order_relaxed);
		atomic_fetch_or(&held, SIGBIT(sig));
		return;
	}
	entry_free(e);
	if (to)
		signal_send(to, sig, &info);
	else
		signal_return(sig, &info);
}

/* Inside the runtime (or on a g0, or sysmon). Routes everything in the ring, oldest first; and what is held, if
 * asked. */
static void ring_drain(bool held_too) {
	if (!atomic_load_explicit(&ring_count, memory_order_relaxed) && !(held_too && atomic_load(&held)))
		return;
	lock_acquire(&route_lock);
	if (held_too && atomic_exchange(&held, 0)) {
		for (uint32_t i = 0; i < ENTRIES; i++) {
			if (atomic_load_explicit(&entries[i].state, memory_order_relaxed) == ENTRY_HELD)
				route(&entries[i]);
		}
	}
	while (atomic_load_explicit(&ring_count, memory_order_relaxed)) {
		struct entry *first = NULL;
		for (uint32_t i = 0; i < ENTRIES; i++) {
			struct entry *e = &entries[i];
			/* acquire: pairs with ring_push() */
			if (atomic_load_explicit(&e->state, memory_order_acquire) == ENTRY_RING &&
			    (!first || (int32_t)(e->seq - first->seq) < 0))
				first = e;
		}
		if (!first)
			break; /* counted, not visible yet: its producer's thread looks itself */
		atomic_fetch_sub_explicit(&ring_count, 1, memory_order_relaxed);
		atomic_fetch_sub_explicit(&rt_pending, 1, memory_order_relaxed);
		route(first);
	}
	lock_release(&route_lock);
}

/* ---- running handlers
 * ------------------------------------------------------------------------------------------------------ */

/* The mask of g and of the M under it. Not accounted. */
static void mask_force(struct g *g, uint64_t mask) {
	rt_enter(g);
	mask &= ~SIG_NEVER_BLOCKED;
	mask_store(g, mask);
	g->m->kmask = mask;
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
	rt_leave(g);
}

static uint64_t handler_mask(const struct record *h, int sig) {
	return (h->mask | (h->flags & SA_NODEFER ? 0 : SIGBIT(sig))) & ~SIG_NEVER_BLOCKED;
}

/* The kernel reset a SA_RESETHAND handler for a kick that turned out to mean nothing: as if it had not been. */
static void handler_rearm(int sig, struct record *h) {
	struct sigaction set = {.sa_sigaction = sig_entry, .sa_flags = h->flags | SA_SIGINFO};
	sigset_store(&set.sa_mask, h->mask);
	real.sigaction(sig, &set, NULL);
}

static void handler_reset(int sig, struct record *h) {
	if (h->flags & (int)SA_RESETHAND)
		atomic_compare_exchange_strong(&handlers[sig], &h, NULL);
}

/* After a handler returned and the mask is back: what it blocked may wait in the queue (no sender set `attention`
 * for it), or be held. */
static void handler_done(struct g *g, struct sigstate *s) {
	s->handlers++;
	if (atomic_load(&s->pending) & ~mask_of(g)) /* seq_cst: Dekker with signal_send() */
		attention_set(s);
	if (__builtin_expect(s->counted != mask_of(g), 0)) {
		rt_enter(g);
		account(s, mask_of(g));
		rt_leave(g);
	}
	if (__builtin_expect(atomic_load(&held) != 0, 0)) {
		rt_enter(g);
		ring_drain(true);
		rt_leave(g);
	}
}

/* A queued signal on its goroutine. Called and left inside the runtime, so that between taking the signal from the
 * queue and masking it no kick lets a later one overtake it. 1: a handler ran; 3: one without SA_RESTART did; 0: neither (check self_g(): it may have forked). */
static unsigned handler_run(struct g *g, int sig, siginfo_t *info) {
	struct record *h = handler_of(sig);
	struct sigstate *s = sig_of(g);
	if (!h) {
		/* Default or ignored by now: the kernel knows what that means. */
		kernel_queue_self(sig, info);
		return 0;
	}
	if (h->flags & (int)SA_RESETHAND) {
		struct sigaction reset = {.sa_handler = SIG_DFL};
		real.sigaction(sig, &reset, NULL);
		handler_reset(sig, h);
	}
	uint64_t before = mask_of(g);
	ucontext_t context;
	memset(&context, 0, sizeof context);
	getcontext(&context);
	sigset_store(&context.uc_sigmask, before);
	context.uc_stack = (stack_t){.ss_sp = s->alt_sp, .ss_size = s->alt_size, .ss_flags = s->alt_sp ? s->alt_flags : SS_DISABLE};
	mask_force(g, before | handler_mask(h, sig));
	int saved_errno = errno;
	rt_leave(g);
	h->handler(sig, info, &context);
	/* A handler that clobbers errno is the program's affair when the program was interrupted; here we are inside
	 * a call. */
	errno = saved_errno;
	uint64_t after = sigset_bits(&context.uc_sigmask);
	if (!self_g()) { /* it forked, and this is the child */
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &after, 0, 8);
		return 0;
	}
	rt_enter(g);
	mask_force(g, after);
	handler_done(g, s);
	return h->flags & SA_RESTART ? 1 : 3;
}

/* Everything of `allowed` that is deliverable in g's queue. Outside the runtime. */
static unsigned queue_run_some(struct g *g, uint64_t allowed) {
	unsigned ran = 0;
	siginfo_t info;
	int sig;
	rt_enter(g);
	while ((sig = queue_take(g, allowed & ~mask_of(g), &info))) {
		ran |= handler_run(g, sig, &info);
		if (!self_g())
			return 0;
	}
	rt_leave(g);
	return ran;
}

/* The interrupt that came with a signal is spent: the next wait must not end for it. A cancellation's stays. */
static void interrupt_spend(struct g *g) {
	if (g_interrupt_clear(g) && shim_cancel_pending(g))
		g_interrupt(g);
}

/* Everything deliverable in g's queue. Outside the runtime. */
static unsigned queue_run(struct g *g) {
	attention_clear(sig_of(g)); /* before the look: who queues after it sets it again */
	return queue_run_some(g, ~0ull);
}

/* A wait was ended for a signal and its shim has not asked yet, or a mask is in force for one call only. */
static bool must_defer(struct g *g) {
	return g->in_rt || g->in_vfork || sig_of(g)->defer || atomic_load_explicit(&g->wake, memory_order_relaxed) == WAKE_INTR;
}

/* A kernel thread of a process without goroutines leaves the runtime: what came in meanwhile is sent to it again, and now finds
 * it outside. */
static void foreign_deliver(struct g *g) {
	for (uint32_t i = 0; i < ENTRIES; i++) {
		struct entry *e = &entries[i];
		uint32_t in_ring = ENTRY_RING;
		if (atomic_load_explicit(&e->state, memory_order_acquire) != in_ring)
			continue;
		g->in_rt++;
		int sig = e->sig;
		siginfo_t info = e->info;
		atomic_fetch_sub_explicit(&ring_count, 1, memory_order_relaxed);
		atomic_fetch_sub_explicit(&rt_pending, 1, memory_order_relaxed);
		entry_free(e);
		rt_leave(g);
		if (kernel_queue_self(sig, &info) < 0)
			SYS3(SYS_tgkill, self_pid(), self_ktid(), sig);
	}
}

/* The core calls this when the current goroutine (or foreign thread) leaves the runtime, or from a g0 (NULL), while
 * rt_pending != 0. */
static void deliver_hook(struct g *g) {
	if (!g) {
		ring_drain(false);
		return;
	}
	if (unlikely(g->kind == G_FOREIGN) && !sched_started()) {
		foreign_deliver(g);
		return;
	}
	rt_enter(g);
	ring_drain(false);
	rt_leave(g);
	if (g->kind > G_MAIN || must_defer(g))
		return;
	cancel_now(g);
	if (atomic_load_explicit(&sig_of(g)->attention, memory_order_relaxed)) {
		interrupt_spend(g); /* before the queue: who queues later interrupts again */
		queue_run(g);
	}
}

bool shim_interrupted(struct g *g, bool restartable) {
	if (g->kind > G_MAIN)
		return true; /* a foreign thread: the kernel ran the handler */
	struct sigstate *s = sig_of(g);
	/* In this order: who interrupts after the clear has queued before, or sets it again. */
	g_interrupt_clear(g);
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
	bool defer = s->defer;
	rt_enter(g);
	ring_drain(false);
	rt_leave(g);
	s->defer = false;
	unsigned ran = queue_run(g);
	s->defer = defer;
	return ran && (!restartable || (ran & 2));
}

/* ---- the kernel's entry
 * ------------------------------------------------------------------------------------------------------ */

/* Case 1: the handler on the kernel's frame. Keeps the goroutine's view of mask and alternate stack as the kernel
 * keeps a thread's. */
static void handler_enter(struct g *g, struct record *h, int sig, siginfo_t *info, ucontext_t *context) {
	struct sigstate *s = sig_of(g);
	uint64_t virtual_before = mask_of(g), kernel_before = sigset_bits(&context->uc_sigmask);
	g->in_rt++; /* no nested signal between these stores; no retake check: nothing of the P is touched */
	uint64_t added = handler_mask(h, sig);
	mask_store(g, (virtual_before | added) & ~SIG_NEVER_BLOCKED);
	g->m->kmask = kernel_before | added;
	/* The kernel has disarmed the alternate stack it put us on (SS_AUTODISARM): so that a park in here leaves
	 * nothing armed on this M. */
	stack_t kernel_stack = context->uc_stack;
	uintptr_t here = (uintptr_t)context;
	bool entered_alt = s->alt_sp && !s->on_alt && here - (uintptr_t)s->alt_sp < s->alt_size;
	if (entered_alt) {
		s->on_alt = true;
		g->altstack_sp = g->m->kaltstack_sp = NULL;
		g->altstack_size = g->m->kaltstack_size = 0;
	}
	context->uc_stack.ss_flags &= ~(int)SS_AUTODISARM;
	rt_leave(g);

	bool in_syscall = atomic_load_explicit(&g->in_syscall, memory_order_relaxed);
	if (in_syscall)
		syscall_exit(g); /* handlers are user code; it may park here for want of a P */

	h->handler(sig, info, context);

	if (!self_g()) /* it forked, and this is the child */
		return;
	context->uc_stack = kernel_stack;
	uint64_t asked = sigset_bits(&context->uc_sigmask);
	if (asked == kernel_before) {
		mask_store(g, virtual_before);
	} else { /* it changed the mask it returns to */
		asked &= ~SIG_NEVER_BLOCKED;
		mask_store(g, asked);
	}
	handler_done(g, s);
	if (atomic_load_explicit(&s->attention, memory_order_relaxed) && !must_defer(g))
		queue_run(g);
	if (in_syscall && self_g())
		syscall_enter(g);
	if (!self_g())
		return;
	/* What sigreturn will put into this M, whichever it is by now. From here to the sigreturn no park: nested
	 * signals only. */
	g->in_rt++;
	g->m->kmask = asked;
	if (entered_alt)
		s->on_alt = false;
	if (kernel_stack.ss_flags & SS_DISABLE) {
		g->altstack_sp = g->m->kaltstack_sp = NULL;
		g->altstack_size = g->m->kaltstack_size = 0;
	} else {
		g->altstack_sp = g->m->kaltstack_sp = kernel_stack.ss_sp;
		g->altstack_size = g->m->kaltstack_size = kernel_stack.ss_size;
	}
	rt_leave(g);
}

/* Outside the runtime on g: route what is in the ring, run what is ours. */
static void look_now(struct g *g) {
	bool in_syscall = atomic_load_explicit(&g->in_syscall, memory_order_relaxed);
	if (in_syscall)
		syscall_exit(g);
	deliver_hook(g);
	if (in_syscall && self_g())
		syscall_enter(g);
}

/* The program has set the signal back to SIG_DFL while a kick of ours may have been on its way, so the kernel still has sig_entry()
 * (sigaction()): a true signal gets its default action now. It is blocked in here and acts on return. */
static void default_action(int sig, siginfo_t *info) {
	struct ksigaction dfl = {.handler = (void *)SIG_DFL};
	SYS4(SYS_rt_sigaction, sig, &dfl, 0, 8);
	if (kernel_queue_self(sig, info) < 0)
		SYS3(SYS_tgkill, self_pid(), self_ktid(), sig);
}

static void sig_entry(int sig, siginfo_t *info, void *context) {
	struct g *g = tls_g;
	struct record *h = handler_of(sig);
	if (unlikely(!h) && info->si_code != KICK_CODE) {
		default_action(sig, info);
		return;
	}
	if (likely(!g) || (g->kind == G_FOREIGN && g->in_rt == 0) || process_in_vfork()) {
		if (h) {
			handler_reset(sig, h);
			h->handler(sig, info, context);
		}
		return;
	}
	bool kicked = info->si_code == KICK_CODE;
	if (is_fault(sig, info)) {
		if (!h)
			return; /* set to SIG_DFL a moment ago: the instruction faults again and the kernel acts */
		handler_reset(sig, h);
		if (g->kind <= G_MAIN)
			handler_enter(g, h, sig, info, context);
		else
			h->handler(sig, info, context);
		return;
	}
	if (!kicked && h)
		handler_reset(sig, h);
	if (g->kind > G_MAIN || must_defer(g)) {
		if (kicked) { /* it is in a queue; g looks when it leaves the runtime */
			if (h && (h->flags & (int)SA_RESETHAND))
				handler_rearm(sig, h);
			return;
		}
		bool to_thread = info->si_code == SI_TKILL && info->si_pid == self_pid() && g->kind <= G_MAIN;
		if (g->kind == G_FOREIGN)
			rt_deliver_hook = deliver_hook; /* the runtime may not have started */
		ring_push(sig, info, to_thread ? g : NULL);
		if (g->kind == G_G0)
			sysmon_poke(); /* this M may be past its last look before it sleeps */
		if (g->kind <= G_MAIN && g->in_rt == 0)
			look_now(g); /* routes; g's own handlers wait for shim_interrupted() */
		return;
	}
	if (kicked) {
		/* A true frame for a true handler; the rest of the queue follows it. */
		interrupt_spend(g);
		if ((mask_of(g) & SIGBIT(sig)) || !h || !queue_take(g, SIGBIT(sig), info)) {
			if (h && (h->flags & (int)SA_RESETHAND))
				handler_rearm(sig, h);
			look_now(g);
			return;
		}
		if (h->flags & (int)SA_RESETHAND)
			handler_reset(sig, h); /* the kernel has reset its own */
	} else if (info->si_code != SI_TKILL || info->si_pid != self_pid()) {
		/* To the process. main goes first, as in the kernel's choice of a thread. */
		bool ours = !(mask_of(g) & SIGBIT(sig)) && is_alive(g) &&
		            (g == main_g || !main_g || !is_alive(main_g) || (mask_of(main_g) & SIGBIT(sig)));
		if (!ours) {
			ring_push(sig, info, NULL);
			look_now(g);
			return;
		}
	}
	if (h)
		handler_enter(g, h, sig, info, context);
}

/* Makes the kernel's mask and alternate stack of this M those of g. In the switch, inside the runtime. The mask is
 * stored before the system call and compared after: reserved_entry() may add to both in between. */
static void sig_resync(struct g *g) {
	struct m *m = g->m;
	uint64_t want = mask_of(g);
	if (m->kmask != want) {
		do {
			__atomic_store_n(&m->kmask, want, __ATOMIC_RELAXED);
			SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &want, 0, 8);
		} while (__atomic_load_n(&m->kmask, __ATOMIC_RELAXED) != want);
	}
	if (m->kaltstack_sp != g->altstack_sp || m->kaltstack_size != g->altstack_size) {
		stack_t ss = {.ss_sp = g->altstack_sp, .ss_size = g->altstack_size, .ss_flags = (int)SS_AUTODISARM};
		if (!g->altstack_sp)
			ss = (stack_t){.ss_flags = SS_DISABLE};
		SYS2(SYS_sigaltstack, &ss, 0);
		m->kaltstack_sp = g->altstack_sp;
		m->kaltstack_size = g->altstack_size;
	}
}

/* ---- libc's two signals
 * ---------------------------------------------------------------------------------------------------------- */

static struct m *m_of_ktid(int32_t ktid) {
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		if (m->ktid == ktid)
			return m;
	}
	return NULL;
}

uintptr_t process_tcb_of(int32_t ktid) {
	struct m *m = m_of_ktid(ktid);
	if (!m)
		return 0;
	/* libc knows the first kernel thread by main's TCB, the others by the one that is their g0's. */
	return ktid == self_pid() ? main_g->ctx.tp : m->g0.ctx.tp;
}

/* Not arch_tp(): the compiler takes that for a constant and reads it again where it likes. */
__attribute__((noinline)) uintptr_t process_tp(void) {
	uintptr_t tp = arch_tp();
	__asm__ volatile("" : "+r"(tp) : : "memory");
	return tp;
}

__attribute__((noinline)) void process_tp_set(uintptr_t tp) {
#if defined(__x86_64__)
	SYS2(SYS_arch_prctl, 0x1002 /* ARCH_SET_FS */, tp);
#elif defined(__aarch64__)
	__asm__ volatile("msr tpidr_el0, %0" : : "r"(tp) : "memory");
#endif
}

/* SIGSETXID. With KICK_CODE it is and_broadcast()'s; else libc asks this kernel thread to change its identity, and
 * its handler must find the kernel thread's TCB, not a goroutine's. Everything is blocked in here. */
static void reserved_entry(int sig, siginfo_t *info, void *context) {
	int32_t ktid = self_ktid();
	if (info->si_code == KICK_CODE) {
		ucontext_t *uc = context;
		uint64_t and_now = atomic_load(&and_mask);
		if (ktid == atomic_load(&sysmon_tid)) {
			sigset_store(&uc->uc_sigmask, and_now);
		} else {
			struct g *g = tls_g;
			struct m *m = m_of_ktid(ktid);
			if (m && (!g || g->kind > G_MAIN || g->in_rt)) {
				sigset_store(&uc->uc_sigmask, sigset_bits(&uc->uc_sigmask) | and_now);
				__atomic_store_n(&m->kmask, m->kmask | and_now, __ATOMIC_RELAXED);
			}
		}
		atomic_fetch_add(&acks, 1);
		SYS3(SYS_futex, &acks, FUTEX_WAKE_PRIVATE, 1);
		return;
	}
	if (!setxid_libc)
		return;
	uintptr_t tcb = process_tcb_of(ktid), mine = process_tp();
	if (tcb && tcb != mine)
		process_tp_set(tcb);
	setxid_libc(sig, info, context);
	if (tcb && tcb != mine)
		process_tp_set(mine);
}

/* SIGCANCEL: pthread_cancel() sends it to an M. It may be another goroutine by now that runs there; then it means
 * nothing. */
static void cancel_entry(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)info;
	(void)context;
	struct g *g = self_g();
	if (g && !must_defer(g))
		cancel_now(g);
}

void sig_reserve(void) {
	int none = 0;
	if (atomic_load_explicit(&reserved, memory_order_acquire) == 2 || !atomic_compare_exchange_strong(&reserved, &none, 1))
		return;
	struct ksigaction old, set;
	if (SYS4(SYS_rt_sigaction, SIGSETXID_NR, 0, &old, 8) < 0 || !old.restorer) {
		atomic_store(&reserved, 0); /* libc has not created a thread yet: later */
		return;
	}
	restorer = old.restorer;
	if ((void (*)(int, siginfo_t *, void *))old.handler != reserved_entry)
		setxid_libc = (void (*)(int, siginfo_t *, void *))old.handler;
	set = (struct ksigaction){.handler = (void *)reserved_entry, .flags = SA_SIGINFO | SA_RESTART | SA_RESTORER_FLAG,
	                          .restorer = restorer, .mask = ~0ull};
	SYS4(SYS_rt_sigaction, SIGSETXID_NR, &set, 0, 8);
	/* SA_NODEFER: a goroutine that is cancelled in there never returns, and the M must not keep the signal
	 * blocked. */
	set = (struct ksigaction){.handler = (void *)cancel_entry, .flags = SA_SIGINFO | SA_NODEFER | SA_RESTORER_FLAG,
	                          .restorer = restorer, .mask = 0};
	SYS4(SYS_rt_sigaction, SIGCANCEL_NR, &set, 0, 8);
	atomic_store_explicit(&reserved, 2, memory_order_release);
}

/* sysmon, each time it wakes. It receives what no running goroutine accepts; a goroutine whose kick missed it is
 * kicked again. */
static void sysmon_hook(void) {
	if (unlikely(!atomic_load_explicit(&sysmon_tid, memory_order_relaxed))) {
		sig_reserve();
		lock_acquire(&and_lock);
		uint64_t mask = atomic_load(&and_mask);
		atomic_store(&sysmon_tid, self_ktid());
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
		lock_release(&and_lock);
	}
	if (likely(atomic_load_explicit(&rt_pending, memory_order_relaxed) == 0))
		return;
	ring_drain(false);
	for (struct g *g = g_all(); g; g = g->all_next) {
		if (g->kind > G_MAIN || !atomic_load_explicit(&sig_of(g)->attention, memory_order_relaxed) || !is_alive(g))
			continue;
		uint64_t pending = atomic_load(&sig_of(g)->pending) & (~mask_of(g) | atomic_load(&sig_of(g)->waiting));
		int32_t ktid = sig_running_on(g);
		if (pending && ktid)
			kick(ktid, __builtin_ctzll(pending) + 1);
	}
}

/* ---- life of a goroutine
 * --------------------------------------------------------------------------------------------------------- */

static void sigstate_reset(struct sigstate *s, uint64_t mask) {
	memset(s, 0, sizeof *s);
	s->counted = mask;
}

void sig_runtime_start(struct g *g) {
	struct sigstate *s = sig_of(g);
	uint64_t mask = 0;
	stack_t ss = {0};
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, 0, &mask, 8);
	mask &= ~SIG_NEVER_BLOCKED;
	sigstate_reset(s, mask);
	for (int i = 0; i < NSIGNALS; i++)
		atomic_store(&dev[i], 0);
	atomic_store(&dev_total, 0);
	atomic_store(&live, 1);
	base_mask = mask;
	atomic_store(&and_mask, mask);
	atomic_store(&sysmon_tid, 0);
	main_g = g;
	mask_store(g, mask);
	g->m->kmask = mask;
	g->altstack_sp = NULL;
	g->altstack_size = 0;
	if (SYS2(SYS_sigaltstack, 0, &ss) == 0 && !(ss.ss_flags & SS_DISABLE)) {
		s->alt_sp = g->altstack_sp = ss.ss_sp;
		s->alt_size = g->altstack_size = ss.ss_size;
		s->alt_flags = ss.ss_flags & (int)SS_AUTODISARM;
		s->on_alt = ss.ss_flags & SS_ONSTACK;
		ss.ss_flags = (int)SS_AUTODISARM;
		SYS2(SYS_sigaltstack, &ss, 0); /* refused while in use: then it stays as it is */
	}
	g->m->kaltstack_sp = g->altstack_sp;
	g->m->kaltstack_size = g->altstack_size;
	sig_resync_hook = sig_resync;
	rt_deliver_hook = deliver_hook;
	sig_sysmon_hook = sysmon_hook;
}

void sig_thread_init(struct g *g, const sigset_t *set) {
	struct g *creator = self_g();
	struct g *self = g_self();
	struct sigstate *s = sig_of(g);
	uint64_t mask = 0;
	if (set)
		mask = sigset_bits(set);
	else if (creator)
		mask = mask_of(creator);
	else
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, 0, &mask, 8);
	mask &= ~SIG_NEVER_BLOCKED;
	mask_store(g, mask);
	g->altstack_sp = NULL;
	g->altstack_size = 0;
	sigstate_reset(s, base_mask);
	atomic_fetch_add(&live, 1);
	if (likely(mask == base_mask) && likely(!(atomic_load_explicit(&and_mask, memory_order_relaxed) & ~mask)))
		return;
	rt_enter(self);
	account(s, mask);
	and_refresh();
	rt_exit(self);
}

void sig_thread_exit(struct g *g) {
	struct sigstate *s = sig_of(g);
	rt_enter(g);
	lock_acquire(&s->lock);
	s->dead = true;
	queue_drop(s);
	lock_release(&s->lock);
	attention_clear(s);
	bool deviates = atomic_load_explicit(&dev_total, memory_order_relaxed) != 0;
	account(s, base_mask);
	atomic_fetch_sub(&live, 1);
	if (unlikely(deviates))
		and_refresh();
	ring_drain(false);
	g->altstack_sp = NULL;
	g->altstack_size = 0;
	rt_leave(g);
}

void sig_fork_child(void) {
	struct g *g = self_g();
	for (uint32_t i = 0; i < ENTRIES; i++) {
		if (atomic_load_explicit(&entries[i].state, memory_order_relaxed) != ENTRY_FREE)
			atomic_store_explicit(&entries[i].state, ENTRY_FREE, memory_order_relaxed);
	}
	atomic_store(&ring_count, 0);
	atomic_store(&held, 0);
	atomic_store(&rt_pending, 0);
	atomic_store(&sysmon_tid, 0);
	route_lock = and_lock = (struct lock){0};
	if (!g)
		return;
	struct sigstate *s = sig_of(g);
	s->lock = (struct lock){0};
	s->head = s->tail = 0;
	s->bare = 0;
	s->pending = 0;
	s->attention = false;
	if (g->altstack_sp) { /* a plain thread again: without our flag */
		stack_t ss = {.ss_sp = s->alt_sp, .ss_size = s->alt_size, .ss_flags = s->alt_flags};
		SYS2(SYS_sigaltstack, &ss, 0);
	}
	main_g = NULL;
}

/* ---- masks
 * --------------------------------------------------------------------------------------------------------------------------- */

/* The mask changes for good (or until the program changes it). Negative error. *old: the kernel's idea of it before,
 * which is also right after a libc-internal change (swapcontext). */
static int mask_change(struct g *g, int how, uint64_t bits, uint64_t *old) {
	struct sigstate *s = sig_of(g);
	if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
		return -EINVAL;
	bits &= ~SIG_NEVER_BLOCKED;
	rt_enter(g);
	SYS4(SYS_rt_sigprocmask, how, &bits, old, 8);
	uint64_t mask = how == SIG_BLOCK ? *old | bits : how == SIG_UNBLOCK ? *old & ~bits : bits;
	mask &= ~SIG_NEVER_BLOCKED;
	g->m->kmask = mask;
	mask_store(g, mask);
	account(s, mask);
	if (atomic_load(&s->pending) & ~mask) /* seq_cst: Dekker with signal_send() */
		attention_set(s);
	if (unlikely(atomic_load(&held) & ~mask))
		ring_drain(true);
	rt_exit(g); /* POSIX: at least one of those is delivered before we return */
	return 0;
}

uint64_t sig_mask_push(struct g *g, const sigset_t *set) {
	uint64_t old = 0;
	struct sigstate *s = sig_of(g);
	s->defer = true; /* first: what the new mask lets in must end the wait that follows */
	mask_change(g, SIG_SETMASK, sigset_bits(set), &old);
	if (atomic_load(&s->pending) & ~mask_of(g))
		g_interrupt(g);
	return old;
}

void sig_mask_pop(struct g *g, uint64_t saved) {
	uint64_t old;
	struct sigstate *s = sig_of(g);
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
	s->defer = false;
	mask_change(g, SIG_SETMASK, saved, &old);
}

SHIM int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
	REAL_READY();
	struct g *g = self_g();
	uint64_t before;
	if (!g || !set)
		return real.pthread_sigmask(how, set, old);
	int r = mask_change(g, how, sigset_bits(set), &before);
	if (r == 0 && old)
		sigset_store(old, before);
	return -r;
}

SHIM int sigprocmask(int how, const sigset_t *set, sigset_t *old) {
	REAL_READY();
	if (!self_g() || !set)
		return real.sigprocmask(how, set, old);
	int r = pthread_sigmask(how, set, old);
	if (r) {
		errno = r;
		return -1;
	}
	return 0;
}

static int mask_one(int how, int sig) {
	sigset_t set;
	sigemptyset(&set);
	return sigaddset(&set, sig) < 0 ? -1 : sigprocmask(how, &set, NULL);
}

SHIM int sighold(int sig) {
	return mask_one(SIG_BLOCK, sig);
}

SHIM int sigrelse(int sig) {
	return mask_one(SIG_UNBLOCK, sig);
}

/* BSD's: 32 signals in an int. */
static int mask_bsd(int how, int mask) {
	sigset_t set, old;
	sigemptyset(&set);
	sigemptyset(&old);
	sigset_store(&set, (uint32_t)mask);
	return sigprocmask(how, &set, &old) < 0 ? -1 : (int)(uint32_t)sigset_bits(&old);
}

SHIM int sigblock(int mask) {
	return mask_bsd(SIG_BLOCK, mask);
}

SHIM int sigsetmask(int mask) {
	return mask_bsd(SIG_SETMASK, mask);
}

SHIM int siggetmask(void) {
	return mask_bsd(SIG_BLOCK, 0);
}

SHIM int sigpending(sigset_t *set) {
	REAL_READY();
	int r = real.sigpending(set);
	struct g *g = self_g();
	if (r == 0 && g)
		sigset_store(set, sigset_bits(set) | (atomic_load(&sig_of(g)->pending) & mask_of(g)));
	return r;
}

/* siglongjmp() puts the mask back with a call inside libc, behind our back: note it here first. The jump itself is
 * libc's. */
static void jump_note(struct __jmp_buf_tag *env) {
	struct g *g = self_g();
	if (!g)
		return;
	struct sigstate *s = sig_of(g);
	s->defer = false;
	if (s->on_alt) { /* leaves the alternate stack for good: it is armed again */
		rt_enter(g);
		s->on_alt = false;
		stack_t ss = {.ss_sp = s->alt_sp, .ss_size = s->alt_size, .ss_flags = (int)SS_AUTODISARM};
		SYS2(SYS_sigaltstack, &ss, 0);
		g->altstack_sp = g->m->kaltstack_sp = s->alt_sp;
		g->altstack_size = g->m->kaltstack_size = s->alt_size;
		rt_leave(g);
	}
	if (env->__mask_was_saved) {
		uint64_t old;
		mask_change(g, SIG_SETMASK, sigset_bits((const sigset_t *)&env->__saved_mask), &old);
	}
}

#define JUMP(name, target) \
	SHIM void name(struct __jmp_buf_tag env[1], int value) { \
		REAL_READY(); \
		jump_note(env); \
		real.target(env, value); \
		__builtin_unreachable(); \
	}
JUMP(siglongjmp, siglongjmp)
JUMP(longjmp, siglongjmp)
JUMP(_longjmp, siglongjmp)

SHIM void __longjmp_chk(struct __jmp_buf_tag *env, int value);
SHIM void __longjmp_chk(struct __jmp_buf_tag *env, int value) {
	REAL_READY();
	struct g *g = self_g();
	/* Its check asks the kernel whether we are on the alternate stack, and the kernel has that disarmed. */
	bool on_alt = g && sig_of(g)->on_alt;
	jump_note(env);
	if (on_alt)
		real.siglongjmp(env, value);
	real.__longjmp_chk(env, value);
	__builtin_unreachable();
}

/* ---- dispositions
 * ---------------------------------------------------------------------------------------------------------------------- */

static struct record *record_find(const struct sigaction *act) {
	void (*handler)(int, siginfo_t *, void *) = act->sa_sigaction;
	uint64_t mask = sigset_bits(&act->sa_mask);
	uint64_t hash = ((uint64_t)(uintptr_t)handler ^ mask * 31 ^ (uint64_t)(uint32_t)act->sa_flags << 7) * 0x9E3779B97F4A7C15ull;
	uint32_t start = (uint32_t)(hash >> 52);
	for (uint32_t i = 0; i < RECORD_PROBES; i++) {
		struct record *r = &records[(start + i) % RECORDS];
		/* acquire: pairs with the release below */
		uint32_t state = atomic_load_explicit(&r->state, memory_order_acquire);
		if (state == 2 && r->handler == handler && r->flags == act->sa_flags && r->mask == mask)
			return r;
		if (state == 0 && atomic_compare_exchange_strong_explicit(&r->state, &state, 1, memory_order_acquire, memory_order_relaxed)) {
			r->handler = handler;
			r->flags = act->sa_flags;
			r->mask = mask;
			atomic_store_explicit(&r->state, 2, memory_order_release);
			return r;
		}
	}
	return NULL;
}

static bool default_ignores(int sig) {
	return sig == SIGCHLD || sig == SIGURG || sig == SIGWINCH || sig == SIGCONT;
}

SHIM int sigaction(int sig, const struct sigaction *act, struct sigaction *old) {
	REAL_READY();
	if (sig < 1 || sig > NSIGNALS || sig == SIGCANCEL_NR || sig == SIGSETXID_NR)
		return real.sigaction(sig, act, old);
	struct record *before = handler_of(sig), *record = NULL;
	struct sigaction set, was;
	bool ours = !process_in_vfork(); /* the table is the parent's */
	if (act) {
		set = *act;
		if (ours && act->sa_handler != SIG_DFL && act->sa_handler != SIG_IGN)
			record = record_find(act);
	}
	if (act && ours && act->sa_handler == SIG_DFL && !default_ignores(sig) &&
	    (atomic_load_explicit(&kicked_ever, memory_order_relaxed) & SIGBIT(sig))) {
		/* A kick that arrives late must not act as the signal itself. */
		set.sa_sigaction = sig_entry;
		set.sa_flags = SA_SIGINFO | SA_RESTART;
	}
	if (record) {
		/* Ours first, then the kernel's: when it calls sig_entry() the record is there. */
		atomic_store_explicit(&handlers[sig], record, memory_order_release);
		set.sa_sigaction = sig_entry;
		set.sa_flags |= SA_SIGINFO;
	}
	if (real.sigaction(sig, act ? &set : NULL, &was) < 0) {
		if (record)
			atomic_compare_exchange_strong(&handlers[sig], &record, before);
		return -1;
	}
	/* A handler of ours on top may have called sigaction() in between: the last system call wins, so does the
	 * last store. */
	if (act && ours)
		atomic_store_explicit(&handlers[sig], record, memory_order_release);
	if (old) {
		*old = was;
		if (was.sa_sigaction == sig_entry && before) {
			old->sa_sigaction = before->handler;
			old->sa_flags = (was.sa_flags & ~SA_SIGINFO) | (before->flags & SA_SIGINFO);
		} else if (was.sa_sigaction == sig_entry) {
			old->sa_handler = SIG_DFL;
			old->sa_flags = 0;
		}
	}
	return 0;
}

SHIM int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
SHIM int __sigaction(int sig, const struct sigaction *act, struct sigaction *old) {
	return sigaction(sig, act, old);
}

static sighandler_t handler_set(int sig, sighandler_t handler, int flags, bool mask_self) {
	struct sigaction act, old;
	if (handler == SIG_ERR || sig < 1 || sig > NSIGNALS) {
		errno = EINVAL;
		return SIG_ERR;
	}
	memset(&act, 0, sizeof act);
	act.sa_handler = handler;
	act.sa_flags = flags;
	if (mask_self)
		sigaddset(&act.sa_mask, sig);
	return sigaction(sig, &act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

SHIM sighandler_t signal(int sig, sighandler_t handler) {
	bool interrupts = sig >= 1 && sig <= NSIGNALS && (atomic_load(&interrupting) & SIGBIT(sig));
	return handler_set(sig, handler, interrupts ? 0 : SA_RESTART, true);
}

SHIM sighandler_t bsd_signal(int sig, sighandler_t handler) {
	return signal(sig, handler);
}

SHIM sighandler_t ssignal(int sig, sighandler_t handler) {
	return signal(sig, handler);
}

SHIM sighandler_t __sysv_signal(int sig, sighandler_t handler) {
	return handler_set(sig, handler, (int)(SA_RESETHAND | SA_NODEFER | 0x20000000u /* SA_INTERRUPT */), false);
}

SHIM sighandler_t sysv_signal(int sig, sighandler_t handler) {
	return __sysv_signal(sig, handler);
}

SHIM int sigignore(int sig) {
	struct sigaction act;
	memset(&act, 0, sizeof act);
	act.sa_handler = SIG_IGN;
	return sigaction(sig, &act, NULL);
}

SHIM int siginterrupt(int sig, int interrupt) {
	struct sigaction act;
	if (sigaction(sig, NULL, &act) < 0)
		return -1;
	if (interrupt) {
		atomic_fetch_or(&interrupting, SIGBIT(sig));
		act.sa_flags &= ~SA_RESTART;
	} else {
		atomic_fetch_and(&interrupting, ~SIGBIT(sig));
		act.sa_flags |= SA_RESTART;
	}
	return sigaction(sig, &act, NULL) < 0 ? -1 : 0;
}

/* System V's: SIG_HOLD blocks, anything else sets the handler and unblocks. */
SHIM sighandler_t sigset(int sig, sighandler_t handler) {
	struct sigaction act, old;
	sigset_t set, was;
	if (handler == SIG_ERR || sig < 1 || sig > NSIGNALS) {
		errno = EINVAL;
		return SIG_ERR;
	}
	sigemptyset(&set);
	sigemptyset(&was);
	if (sigaddset(&set, sig) < 0)
		return SIG_ERR;
	if (handler == SIG_HOLD) {
		if (sigprocmask(SIG_BLOCK, &set, &was) < 0)
			return SIG_ERR;
		if (sigismember(&was, sig))
			return SIG_HOLD;
		return sigaction(sig, NULL, &old) < 0 ? SIG_ERR : old.sa_handler;
	}
	memset(&act, 0, sizeof act);
	act.sa_handler = handler;
	if (sigaction(sig, &act, &old) < 0 || sigprocmask(SIG_UNBLOCK, &set, &was) < 0)
		return SIG_ERR;
	return sigismember(&was, sig) ? SIG_HOLD : old.sa_handler;
}

/* ---- the alternate stack
 * ----------------------------------------------------------------------------------------------------------------- */

SHIM int sigaltstack(const stack_t *ss, stack_t *old) {
	REAL_READY();
	struct g *g = self_g();
	if (!g)
		return real.sigaltstack(ss, old);
	struct sigstate *s = sig_of(g);
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	bool on = s->alt_sp && !(s->alt_flags & (int)SS_AUTODISARM) && here - (uintptr_t)s->alt_sp < s->alt_size;
	stack_t was = {.ss_sp = s->alt_sp, .ss_size = s->alt_size,
	               .ss_flags = s->alt_sp ? s->alt_flags | (on ? SS_ONSTACK : 0) : SS_DISABLE};
	if (ss) {
		stack_t set = *ss;
		if (on) {
			errno = EPERM;
			return -1;
		}
		if (!(set.ss_flags & SS_DISABLE))
			set.ss_flags |= (int)SS_AUTODISARM;
		rt_enter(g);
		long r = SYS2(SYS_sigaltstack, &set, 0); /* the kernel checks size and flags */
		if (r == 0) {
			bool none = set.ss_flags & SS_DISABLE;
			s->alt_sp = none ? NULL : set.ss_sp;
			s->alt_size = none ? 0 : set.ss_size;
			s->alt_flags = none ? 0 : ss->ss_flags & (int)SS_AUTODISARM;
			g->altstack_sp = g->m->kaltstack_sp = s->alt_sp;
			g->altstack_size = g->m->kaltstack_size = s->alt_size;
		}
		rt_exit(g);
		if (r < 0) {
			errno = (int)-r;
			return -1;
		}
	}
	if (old)
		*old = was;
	return 0;
}

/* ---- waiting for signals
 * ------------------------------------------------------------------------------------------------------------------ */

/* The first signal of `want` into *info. deadline: CLOCK_MONOTONIC ns, -1 none, 0 do not wait. The number or a
 * negative error. In the kernel, on an M of its own while it lasts: process-wide signals that everybody blocks are pending there. What was sent to
 * this goroutine is in its queue, and a kick with the signal's number ends the kernel's wait. */
static int signal_await(struct g *g, uint64_t want, siginfo_t *info, int64_t deadline) {
	struct sigstate *s = sig_of(g);
	int r;
	want &= ~SIG_NEVER_BLOCKED;
	shim_testcancel(g);
	for (;;) {
		atomic_store(&s->waiting, want); /* seq_cst: senders queue first, then look at it */
		attention_clear(s);
		if ((r = queue_take(g, want, info)))
			break;
		if (unlikely(atomic_load(&held) & want)) {
			rt_enter(g);
			ring_drain(true);
			rt_leave(g);
		}
		struct timespec ts = {0, 0};
		if (deadline > 0) {
			int64_t left = deadline - nanotime();
			if (left > 0)
				ts = (struct timespec){left / 1000000000, left % 1000000000};
		}
		uint32_t ran = s->handlers;
		if (deadline)
			r = (int)BRACKET_BLOCKING(g, SYS4(SYS_rt_sigtimedwait, &want, info, deadline < 0 ? NULL : &ts, 8));
		else
			r = (int)SYS4(SYS_rt_sigtimedwait, &want, info, &ts, 8);
		if (r > 0 && info->si_code == KICK_CODE)
			continue; /* it is in the queue, or was a stray one */
		if (r == -EINTR) {
			shim_testcancel(g);
			if (s->handlers == ran)
				continue; /* for somebody else, who has it by now */
		}
		break;
	}
	atomic_store(&s->waiting, 0);
	rt_enter(g);
	rt_exit(g);
	return r;
}

SHIM int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout) {
	REAL_READY();
	struct g *g = self_g();
	siginfo_t unused;
	if (!g)
		return real.sigtimedwait(set, info, timeout);
	if (timeout && !timespec_valid(timeout)) {
		errno = EINVAL;
		return -1;
	}
	int64_t deadline = !timeout ? -1 : timeout->tv_sec == 0 && timeout->tv_nsec == 0 ? 0 : deadline_rel(timeout);
	int r = signal_await(g, sigset_bits(set), info ? info : &unused, deadline);
	if (r > 0 && info && info->si_code == SI_TKILL)
		info->si_code = SI_USER; /* as libc does */
	return (int)sys_ret(r);
}

SHIM int sigwaitinfo(const sigset_t *set, siginfo_t *info) {
	REAL_READY();
	return self_g() ? sigtimedwait(set, info, NULL) : real.sigwaitinfo(set, info);
}

SHIM int sigwait(const sigset_t *set, int *sig) {
	REAL_READY();
	struct g *g = self_g();
	siginfo_t info;
	int r;
	if (!g)
		return real.sigwait(set, sig);
	do
		r = signal_await(g, sigset_bits(set), &info, -1);
	while (r == -EINTR);
	if (r < 0)
		return -r;
	*sig = r;
	return 0;
}

SHIM int sigsuspend(const sigset_t *set) {
	REAL_READY();
	struct g *g = self_g();
	if (!g)
		return real.sigsuspend(set);
	shim_testcancel(g);
	uint64_t saved = sig_mask_push(g, set);
	for (;;) {
		wait_begin(g, true, "sigsuspend", 0);
		wait_park(g, -1);
		if (shim_interrupted(g, false))
			break;
		shim_testcancel(g);
	}
	sig_mask_pop(g, saved);
	errno = EINTR;
	return -1;
}

SHIM int __sigsuspend(const sigset_t *set);
SHIM int __sigsuspend(const sigset_t *set) {
	return sigsuspend(set);
}

static int pause_without(int sig) {
	sigset_t set;
	if (sigprocmask(SIG_BLOCK, NULL, &set) < 0 || sigdelset(&set, sig) < 0)
		return -1;
	return sigsuspend(&set);
}

SHIM int __xpg_sigpause(int sig);
SHIM int __xpg_sigpause(int sig) {
	return pause_without(sig);
}

static int pause_with(int mask) {
	sigset_t set;
	sigemptyset(&set);
	sigset_store(&set, (uint32_t)mask);
	return sigsuspend(&set);
}

/* <signal.h> renames sigpause to __xpg_sigpause: this is the symbol of that name, BSD's. */
SHIM int sigpause_bsd(int mask) __asm__("sigpause");
SHIM int sigpause_bsd(int mask) {
	return pause_with(mask);
}

SHIM int __sigpause(int value, int is_signal);
SHIM int __sigpause(int value, int is_signal) {
	return is_signal ? pause_without(value) : pause_with(value);
}

/* ---- sending
 * ------------------------------------------------------------------------------------------------------------------------------- */

static siginfo_t info_make(int sig, int code) {
	siginfo_t info;
	memset(&info, 0, sizeof info);
	info.si_signo = sig;
	info.si_code = code;
	info.si_pid = self_pid();
	info.si_uid = (uid_t)SYS0(SYS_getuid);
	return info;
}

static bool signal_valid(int sig) {
	return sig >= 0 && sig <= NSIGNALS;
}

/* Ignored here and now? Then it vanishes, unless it is blocked. */
static bool ignored_by_kernel(int sig) {
	struct ksigaction now;
	if (SYS4(SYS_rt_sigaction, sig, 0, &now, 8) < 0)
		return false;
	if ((sighandler_t)now.handler == SIG_IGN)
		return true;
	return (sighandler_t)now.handler == SIG_DFL && default_ignores(sig);
}

/* To the calling goroutine: when it does not block it, the handler has run when this returns. */
static int signal_self(struct g *g, int sig, siginfo_t *info) {
	bool blocked = mask_of(g) & SIGBIT(sig);
	if (!blocked && !handler_of(sig))
		return (int)kernel_queue_self(sig, info); /* default action, or ignored */
	rt_enter(g);
	int r = queue_put(sig_of(g), sig, info);
	rt_leave(g);
	if (r == 0 && !blocked && !must_defer(g)) {
		/* From the kernel, if it can be: a true ucontext, the right stack. If a handler in between moved us
		 * to another M, the kick finds nothing there. */
		kick(self_ktid(), sig);
		if (self_g())
			queue_run_some(g, SIGBIT(sig));
	}
	return r;
}

/* To a goroutine. 0 or a negative error. */
static int signal_thread(struct g *g, int sig, siginfo_t *info) {
	struct g *self = g_self();
	if (sig_of(g)->dead || sig == 0)
		return 0;
	if (sig == SIGKILL || sig == SIGSTOP)
		return (int)SYS2(SYS_kill, self_pid(), sig);
	if (g == self)
		return signal_self(g, sig, info);
	bool blocked = mask_of(g) & SIGBIT(sig);
	if (!blocked && !handler_of(sig)) {
		if (ignored_by_kernel(sig))
			return 0;
		return (int)SYS2(SYS_kill, self_pid(), sig); /* a default action is the process's */
	}
	rt_enter(self);
	int r = signal_send(g, sig, info);
	rt_exit(self);
	return r;
}

SHIM int pthread_kill(pthread_t thread, int sig) {
	REAL_READY();
	struct g *g = sched_started() ? g_of_tcb((uintptr_t)thread) : NULL;
	if (!g || g->kind > G_MAIN)
		return real.pthread_kill(thread, sig);
	if (!signal_valid(sig) || sig == SIGCANCEL_NR || sig == SIGSETXID_NR)
		return EINVAL;
	siginfo_t info = info_make(sig, SI_TKILL);
	return -signal_thread(g, sig, &info);
}

SHIM int pthread_sigqueue(pthread_t thread, int sig, const union sigval value) {
	REAL_READY();
	struct g *g = sched_started() ? g_of_tcb((uintptr_t)thread) : NULL;
	if (!g || g->kind > G_MAIN)
		return real.pthread_sigqueue(thread, sig, value);
	if (!signal_valid(sig) || sig == SIGCANCEL_NR || sig == SIGSETXID_NR)
		return EINVAL;
	if (sig_of(g)->dead)
		return ESRCH;
	siginfo_t info = info_make(sig, SI_QUEUE);
	info.si_value = value;
	return -signal_thread(g, sig, &info);
}

static struct g *g_of_tid(pid_t tid) {
	for (struct g *g = g_all(); g; g = g->all_next) {
		if (g->tid == tid && is_alive(g))
			return g;
	}
	return NULL;
}

long shim_tgkill(pid_t tgid, pid_t tid, int sig) {
	struct g *g = sched_started() && (tgid == -1 || tgid == self_pid()) ? g_of_tid(tid) : NULL;
	if (!g)
		return sys_ret(tgid == -1 ? SYS2(SYS_tkill, tid, sig) : SYS3(SYS_tgkill, tgid, tid, sig));
	if (!signal_valid(sig)) {
		errno = EINVAL;
		return -1;
	}
	siginfo_t info = info_make(sig, SI_TKILL);
	return sys_ret(signal_thread(g, sig, &info));
}

SHIM int tgkill(pid_t tgid, pid_t tid, int sig) {
	REAL_READY();
	return sched_started() ? (int)shim_tgkill(tgid, tid, sig) : real.tgkill(tgid, tid, sig);
}

SHIM int raise(int sig) {
	REAL_READY();
	struct g *g = self_g();
	if (!g)
		return real.raise(sig);
	int r = pthread_kill((pthread_t)g->ctx.tp, sig);
	if (r) {
		errno = r;
		return -1;
	}
	return 0;
}

SHIM int gsignal(int sig) {
	return raise(sig);
}

/* kill() of one's own process. The kernel would give it to one of its threads, and that to a goroutine, some time;
 * here the goroutine that takes it has it at once: if it is the caller, before kill() returns (POSIX), and if it is main that is about to end its wait, before it does. NULL:
 * the kernel's business (nobody takes it: pending; default action; another process). */
static struct g *taker_here(struct g *g, pid_t pid, int sig) {
	return g && pid == self_pid() && sig > 0 && sig <= NSIGNALS && handler_of(sig) ? taker_of(sig) : NULL;
}

static int signal_process(struct g *self, struct g *taker, int sig, siginfo_t *info) {
	if (taker == self)
		return signal_self(self, sig, info);
	rt_enter(self);
	int r = signal_send(taker, sig, info);
	rt_exit(self);
	return r;
}

SHIM int kill(pid_t pid, int sig) {
	REAL_READY();
	struct g *g = self_g(), *taker = taker_here(g, pid, sig);
	if (!taker)
		return real.kill(pid, sig);
	siginfo_t info = info_make(sig, SI_USER);
	return (int)sys_ret(signal_process(g, taker, sig, &info));
}

SHIM int sigqueue(pid_t pid, int sig, const union sigval value) {
	REAL_READY();
	struct g *g = self_g(), *taker = taker_here(g, pid, sig);
	if (!taker)
		return real.sigqueue(pid, sig, value);
	siginfo_t info = info_make(sig, SI_QUEUE);
	info.si_value = value;
	return (int)sys_ret(signal_process(g, taker, sig, &info));
}
