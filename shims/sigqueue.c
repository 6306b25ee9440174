/* Where signals wait: the ring for what came in at a bad moment, a queue per goroutine for what is its own, and the way from one to
 * the other.
 *
 * Entries come from one fixed pool, taken without locks: the ring is filled by handlers, which may have interrupted the holder of
 * any lock.
 *     FREE --entry_alloc--> WRITING --sig_ring_push--> RING --route--> FREE, and a copy QUEUED with its goroutine
 *                              `--sig_queue_put--> QUEUED --sig_queue_take--> FREE     `--nobody takes it yet--> HELD
 * The ring is all entries in state RING, in the order of `seq`; there is no list to corrupt. ring_count says how many, so that nobody
 * scans in vain; rt_pending counts them, too, and makes whoever leaves the runtime look.
 *
 * Of one real-time signal to the process a goroutine's queue gets one at a time, as each thread takes one from the kernel's list: what comes meanwhile is HELD behind it
 * until it is out. A flood would else go from queue to queue, all of it with each handler that begins.
 *
 * Locks: route_lock -> sigstate.lock. */
#include "siginternal.h"

#define ENTRIES SIG_ENTRIES
#define ENTRIES_FIRST SIG_ENTRIES_FEW
#define SETTLE_NS 200000000
#define SETTLE_OTHER_NS 5000000
#define SETTLE_ASKED 16u
#define RING_BATCH 64u

enum entry_state { ENTRY_FREE /* zero: entry_used() */, ENTRY_WRITING, ENTRY_RING, ENTRY_HELD, ENTRY_QUEUED };

struct entry {
	uint32_t next;      /* link of a queue, or of those that are held: index + 1 */
	uint32_t seq;       /* order of arrival; one to the process keeps it on its way between ring, queues and those that are held */
	int sig;
	bool given;         /* exec: the kernel has it, too */
	struct g *to;       /* thread-directed: for whom; NULL the process, also once somebody was chosen who takes it */
	siginfo_t info;
};

/* The states are apart from what they are the states of: who looks for one reads 2 KiB, not 300, and the child of a fork touches a page. Of most entries nobody ever
 * touches a page: only those below `room` are used, which doubles when they do not suffice. */
static struct entry entries[ENTRIES];
static _Atomic uint8_t states[ENTRIES] __attribute__((aligned(ENTRIES_FIRST)));
static _Atomic uint32_t room = ENTRIES_FIRST;
static _Atomic uint32_t entry_hint, ring_seq, ring_count;
static _Atomic uint64_t ring_standard; /* standard signals to the process in the ring */
static _Atomic uint64_t queued_ever; /* relaxed: who is to find it discards later than the signal was sent */
static struct lock route_lock;
/* Those that are held, of each number, the oldest first; index + 1. Under route_lock; sigp.held says where there are any. */
static struct {
	uint32_t head, tail;
} held_list[NSIGNALS + 1];
/* Numbers of which some are held behind one that is queued with a goroutine; and of which that one is out since, so that somebody has to look at the next. */
static _Atomic uint64_t behind, due;

/* ---- entries: the ring and the queues ---------------------------------------------------------------------------- */

static _Atomic uint8_t *state_of(const struct entry *e) {
	return &states[e - entries];
}

/* The first entry from `from` on that is not free; ENTRIES: there is none. Nearly all are, so it looks at eight at a time. Acquire: pairs with
 * sig_ring_push(). Relaxed: who was told of an entry (ring_count) sees the room for it, which was there before. */
static uint32_t entry_used(uint32_t from) {
	uint32_t end = atomic_load_explicit(&room, memory_order_relaxed);
	while (from < end) {
		if (from % 8 == 0 && __atomic_load_n((const uint64_t *)(const void *)&states[from], __ATOMIC_ACQUIRE) == 0)
			from += 8;
		else if (atomic_load_explicit(&states[from], memory_order_acquire) == ENTRY_FREE)
			from++;
		else
			return from;
	}
	return ENTRIES;
}

unsigned sig_entries_used(void) {
	unsigned n = 0;
	for (uint32_t i = entry_used(0); i < ENTRIES; i = entry_used(i + 1))
		n++;
	return n;
}

bool sig_entries_are_many(void) {
	return atomic_load_explicit(&room, memory_order_relaxed) > ENTRIES_FIRST;
}

/* Of the first `end`, a power of two. NULL: all in use. */
static struct entry *entry_find(uint32_t end) {
	uint32_t start = atomic_load_explicit(&entry_hint, memory_order_relaxed);
	for (uint32_t i = 0; i < end; i++) {
		_Atomic uint8_t *state = &states[(start + i) % end];
		uint8_t free_state = ENTRY_FREE;
		/* acquire: pairs with the release in entry_free() */
		if (atomic_load_explicit(state, memory_order_relaxed) == ENTRY_FREE &&
		    atomic_compare_exchange_strong_explicit(state, &free_state, ENTRY_WRITING, memory_order_acquire, memory_order_relaxed)) {
			atomic_store_explicit(&entry_hint, start + i + 1, memory_order_relaxed);
			return &entries[(start + i) % end];
		}
	}
	return NULL;
}

/* Async-signal-safe. NULL: all in use. */
static struct entry *entry_alloc(void) {
	uint32_t end = atomic_load_explicit(&room, memory_order_relaxed);
	struct entry *e;
	while (!(e = entry_find(end)) && end < ENTRIES) {
		atomic_store_explicit(&entry_hint, end, memory_order_relaxed); /* the first of the new ones */
		/* release: before ring_count tells of one. If another was first, `end` is what he made it. */
		if (atomic_compare_exchange_strong_explicit(&room, &end, end * 2, memory_order_release, memory_order_relaxed))
			end *= 2;
	}
	return e;
}

static void entry_free(struct entry *e) {
	uint32_t index = (uint32_t)(e - entries);
	atomic_store_explicit(&states[index], ENTRY_FREE, memory_order_release);
	atomic_store_explicit(&entry_hint, index, memory_order_relaxed); /* few entries in use: stay in few pages */
}

/* As in the kernel: of a standard signal to the process one is pending at most, unless it is a timer's. A flood of one signal would fill the ring, and cost the
 * others. */
static bool is_merged(int sig, const siginfo_t *info, const struct g *to) {
	return sig < 32 && !to && info->si_code != SI_TIMER && info->si_code != TIMER_CODE && info->si_code != THREAD_CODE;
}

/* It leaves the ring, and is about to be delivered: the next one is another. */
static void ring_left(const struct entry *e) {
	if (e->sig < 32 && !e->to)
		atomic_fetch_and(&ring_standard, ~SIGBIT(e->sig));
}

/* Signal context. */
static void ring_push(int sig, const siginfo_t *info, struct g *to, uint32_t seq) {
	bool merged = is_merged(sig, info, to);
	/* seq_cst, as in ring_left(): who finds the bit is before its end, so the handler that is to come begins after this signal */
	if (merged && (atomic_fetch_or(&ring_standard, SIGBIT(sig)) & SIGBIT(sig)))
		return;
	struct entry *e = entry_alloc();
	if (!e) {
		if (merged)
			atomic_fetch_and(&ring_standard, ~SIGBIT(sig));
		sigtimer_lost(info);
		return;
	}
	e->sig = sig;
	e->info = *info;
	e->to = to;
	if (unlikely(info->si_code == THREAD_CODE)) {
		e->to = sig_told(info);
		e->info.si_code = SI_TKILL;
	}
	e->seq = seq;
	/* Counted before it is visible: a consumer never counts below zero. */
	atomic_fetch_add_explicit(&ring_count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&rt_pending, 1, memory_order_relaxed);
	/* release: publishes the entry to sig_ring_drain() */
	atomic_store_explicit(state_of(e), ENTRY_RING, memory_order_release);
}

static uint32_t seq_next(void) {
	return atomic_fetch_add_explicit(&ring_seq, 1, memory_order_relaxed);
}

/* A full ring loses the signal, as RLIMIT_SIGPENDING does. */
void sig_ring_push(int sig, const siginfo_t *info, struct g *to) {
	siginfo_t timers;
	struct g *self = rt_hold(); /* no cancellation on top: half in the ring it would stay there */
	if (likely(info->si_code != SI_TIMER)) {
		ring_push(sig, info, to, seq_next());
	} else {
		timers = *info;
		if (sigtimer_arrives(&timers))
			ring_push(sig, &timers, to, seq_next());
	}
	if (self)
		rt_leave(self); /* who has pushed looks when it may */
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
	s->of_process += !e->to;
	atomic_store_explicit(state_of(e), ENTRY_QUEUED, memory_order_relaxed);
}

/* Somebody has to look at what is held of these. */
static void look_again(uint64_t which) {
	if (!atomic_fetch_or(&due, which))
		atomic_fetch_add(&rt_pending, 1);
}

/* Of these numbers one has left a goroutine's queue, or that does not take it any more. Async-signal-safe. seq_cst, and the stores before it: Dekker with stands_behind(). */
static void queue_left(uint64_t which) {
	which &= atomic_load(&behind);
	if (likely(!which))
		return;
	atomic_fetch_and(&behind, ~which);
	look_again(which);
}

/* sigstate.lock held. The oldest entry of `sig`, if `own` of those that were sent to the thread, or, not NULL, the one to the process with *seq, taken out; pending is brought up
 * to date. */
static struct entry *queue_remove(struct sigstate *s, int sig, bool own, const uint32_t *seq) {
	struct entry *found = NULL;
	uint32_t *link = &s->head, previous = 0;
	bool more = false;
	while (*link) {
		struct entry *e = &entries[*link - 1];
		if (e->sig == sig && !found && (seq ? !e->to && e->seq == *seq : e->to || !own)) {
			found = e;
			s->of_process -= !e->to;
			if (s->tail == *link)
				s->tail = previous;
			*link = e->next;
			continue;
		}
		more |= e->sig == sig;
		if (found && more)
			break; /* of a flood of one signal the rest is more of it */
		previous = *link;
		link = &e->next;
	}
	if (!more)
		atomic_fetch_and(&s->pending, ~(SIGBIT(sig) & ~s->bare));
	queue_left(SIGBIT(sig));
	return found;
}

/* sigstate.lock held. The lowest of `which` that was sent to the thread; 0: there is none. */
static int queue_own(const struct sigstate *s, uint64_t which) {
	uint64_t own = 0, lowest = which & -which;
	if (!s->of_process) { /* as in queue_leave() */
		own = which & ~s->bare;
	} else {
		for (uint32_t link = s->head; link && !(own & lowest); link = entries[link - 1].next)
			own |= entries[link - 1].to ? which & SIGBIT(entries[link - 1].sig) : 0;
	}
	return own ? __builtin_ctzll(own) + 1 : 0;
}

/* sigstate.lock held. Is one pending, for the thread or, `to` NULL, for the process? As the kernel, which has a set for each. */
static bool queue_has(const struct sigstate *s, int sig, const struct g *to) {
	for (uint32_t link = s->head; link; link = entries[link - 1].next) {
		if (entries[link - 1].sig == sig && !entries[link - 1].to == !to)
			return true;
	}
	return s->bare & SIGBIT(sig);
}

static int queue_put(struct sigstate *s, int sig, const siginfo_t *info, struct g *to, uint32_t seq) {
	int r = 0;
	if (unlikely(!(atomic_load_explicit(&queued_ever, memory_order_relaxed) & SIGBIT(sig))))
		atomic_fetch_or_explicit(&queued_ever, SIGBIT(sig), memory_order_relaxed);
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	if (unlikely(s->dead)) {
		if (!to)
			ring_push(sig, info, NULL, seq); /* somebody else takes it */
		else
			sigtimer_lost(info);
	} else if (!(sig < 32 && (s->pending & SIGBIT(sig)) && info->si_code != TIMER_CODE && queue_has(s, sig, to))) {
		struct entry *e = entry_alloc();
		if (e) {
			e->sig = sig;
			e->given = false;
			e->to = to;
			e->seq = seq;
			e->info = *info;
			queue_append(s, e);
		} else if (sig < 32 && info->si_code != TIMER_CODE) {
			s->bare |= SIGBIT(sig);
		} else {
			r = -EAGAIN;
			sigtimer_lost(info);
		}
		if (r == 0)
			atomic_fetch_or(&s->pending, SIGBIT(sig)); /* seq_cst: Dekker with mask_store() and sigwait */
	}
	lock_release(&s->lock);
	return r;
}

/* Inside the runtime. 0, or -EAGAIN: no entry left (real-time signals only; a standard one needs none). */
int sig_queue_put(struct sigstate *s, int sig, const siginfo_t *info, struct g *to) {
	return queue_put(s, sig, info, to, seq_next());
}

/* What is pending of `which` for this kernel thread, whose own signals are `own`'s, or, NULL, the process's, and for the process. Kicks are gone then: what they
 * speak of is in a queue. */
static void pending_to_ring(uint64_t which, struct g *own) {
	siginfo_t info;
	int sig;
	/* seq_cst, both: settle_asks() looks at it after its own look at what is pending. What was gone then is in the ring when it finds nobody here. */
	atomic_fetch_add(&sigp.taking, 1);
	while ((sig = taken_from_kernel(which, &info)) > 0) {
		if (info.si_code == KICK_CODE)
			continue;
		sig_ring_push(sig, &info, info.si_code == SI_TKILL ? own : NULL);
		sig_seen_add(sig);
	}
	atomic_fetch_sub(&sigp.taking, 1);
}

/* A kick has the number of what is queued. On the first kernel thread it must not be pending longer than that is: to the kernel, a signal of this number that another
 * process directs at main would be the same one, and be lost. So kicks go there under sigstate.lock while the signal is queued, and who takes it out takes the
 * kick back before. What else is found came in time to be one of its own, or is for the process. */
static void kicks_forget(uint64_t which) {
	which &= atomic_load(&sigp.kicked_ever) & STANDARD_SIGNALS;
	if (which)
		pending_to_ring(which, sigp.main_g);
}

void sig_kicks_forget(uint64_t mask) {
	kicks_forget(mask & ~atomic_load_explicit(&sigp.main_mask, memory_order_relaxed));
}

/* A kick that was there first is all that the kernel keeps of one number. What somebody else sent to the process goes back: a call may fail so without a signal
 * (MSG_NOSIGNAL). */
void sig_raised(struct g *g, int sig) {
	siginfo_t info;
	if (!g || g->kind > G_MAIN || g->in_vfork || likely(!(mask_of(g) & SIGBIT(sig))))
		return;
	in_rt_up(g);
	int found = taken_from_kernel(SIGBIT(sig), &info);
	if (found > 0 && info.si_code == KICK_CODE)
		info = (siginfo_t){.si_signo = sig, .si_code = SI_USER, .si_pid = self_pid(), .si_uid = (uid_t)SYS0(SYS_getuid)};
	if (found > 0 && info.si_code == SI_USER && info.si_pid == self_pid())
		sig_queue_put(sig_of(g), sig, &info, g);
	else if (found > 0)
		sig_ring_push(sig, &info, NULL);
	rt_leave(g);
}

/* It is out of its queue. */
static void entry_hand_on(struct entry *e) {
	int sig = e->sig;
	uint32_t seq = e->seq;
	siginfo_t info = e->info;
	entry_free(e); /* first: there may be no other */
	ring_push(sig, &info, NULL, seq);
}

/* sigstate.lock held. Into the ring, what was sent to the process of `which`; of which numbers there are entries still. */
static uint64_t queue_leave(struct sigstate *s, uint64_t which) {
	uint32_t *link = &s->head, previous = 0;
	uint64_t left = 0;
	if (!s->of_process) /* of thousands sent to one thread */
		return s->pending;
	while (*link) {
		struct entry *e = &entries[*link - 1];
		if (e->to || !(SIGBIT(e->sig) & which)) {
			left |= SIGBIT(e->sig);
			previous = *link;
			link = &e->next;
			continue;
		}
		if (s->tail == *link)
			s->tail = previous;
		*link = e->next;
		s->of_process--;
		entry_hand_on(e);
	}
	return left;
}

/* Inside the runtime. What was sent to the process, of `which`, g blocks: somebody else takes it. */
static void queue_release(struct g *g, uint64_t which) {
	struct sigstate *s = sig_of(g);
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	uint64_t gone = which & s->pending & ~queue_leave(s, which) & ~s->bare;
	if (unlikely(g == sigp.main_g) && g == tls_g && g->m == sigp.first)
		kicks_forget(gone);
	atomic_fetch_and(&s->pending, ~gone);
	queue_left(which);
	lock_release(&s->lock);
}

void sig_queue_hand_on(struct g *g, int handled) {
	struct sigstate *s = sig_of(g);
	uint64_t which = atomic_load(&s->pending) & mask_of(g); /* seq_cst: Dekker with sig_send() */
	/* Nobody else takes it: it comes back to g. Of a flood of one real-time signal all would go and come back with each. */
	if (unlikely(which) && handled && !(atomic_load(&sigp.and_mask) & SIGBIT(handled)) && !sig_taker(handled))
		which &= ~SIGBIT(handled);
	if (likely(!which) && likely(!atomic_load(&due)))
		return;
	in_rt_up(g);
	if (which)
		queue_release(g, which);
	sig_ring_drain(false);
	rt_leave(g);
}

static void kick_main(struct g *g, int32_t ktid, int sig) {
	struct sigstate *s = sig_of(g);
	struct g *self = rt_hold(); /* no handler on top of the lock */
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	if (atomic_load_explicit(&s->pending, memory_order_relaxed) & SIGBIT(sig))
		kick_send(ktid, sig, 0);
	lock_release(&s->lock);
	if (self)
		rt_leave(self);
}

static int queue_take(struct g *g, uint64_t allowed, siginfo_t *info) {
	struct sigstate *s = sig_of(g);
	if (!(atomic_load(&s->pending) & allowed)) /* seq_cst: Dekker with sig_queue_put() */
		return 0;
	int sig = 0;
	struct g *self = rt_hold(); /* no handler on top of the lock */
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	uint64_t ready_bits = s->pending & allowed;
	if (ready_bits) {
		int own = queue_own(s, ready_bits);
		sig = own ? own : __builtin_ctzll(ready_bits) + 1;
		if (unlikely(g == sigp.main_g) && g == tls_g && g->m == sigp.first)
			kicks_forget(SIGBIT(sig));
		struct entry *e = queue_remove(s, sig, own != 0, NULL);
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
	if (self)
		rt_leave(self);
	return sig;
}

/* Takes the lowest pending signal of `allowed`, those to the thread before those to the process, into *info; its number, or 0. Owner only. */
int sig_queue_take(struct g *g, uint64_t allowed, siginfo_t *info) {
	int sig;
	do
		sig = queue_take(g, allowed, info);
	while (unlikely(sig && info->si_code == TIMER_CODE) && !sigtimer_taken(info));
	return sig;
}

unsigned sig_queue_copy(struct sigstate *s, uint64_t which, siginfo_t *to, unsigned room) {
	unsigned n = 0;
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	for (int own = 1; own >= 0; own--) {
		for (uint32_t link = s->head; link && n < room; link = entries[link - 1].next) {
			if ((which & SIGBIT(entries[link - 1].sig)) && !entries[link - 1].to == !own)
				to[n++] = entries[link - 1].info;
		}
	}
	for (uint64_t bare = s->bare & which; bare && n < room; bare &= bare - 1)
		to[n++] = (siginfo_t){.si_signo = __builtin_ctzll(bare) + 1, .si_code = SI_USER};
	lock_release(&s->lock);
	return n;
}

bool sig_exec_begin(struct g *g) {
	struct sigstate *s = sig_of(g);
	sig_settle_masked(g, ~0ull);
	uint64_t held = atomic_load(&sigp.held) & mask_of(g);
	uint64_t which = (atomic_load_explicit(&s->pending, memory_order_relaxed) & mask_of(g)) | held;
	if (likely(!which))
		return false;
	rt_enter(g);
	if (held)
		sig_held_claim(g, held, true);
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	for (uint32_t link = s->head; link; link = entries[link - 1].next) {
		struct entry *e = &entries[link - 1];
		if ((SIGBIT(e->sig) & which) && e->info.si_code != TIMER_CODE)
			e->given = kernel_queue_self(e->sig, &e->info) == 0;
	}
	lock_release(&s->lock);
	return true;
}

void sig_exec_failed(struct g *g) {
	struct sigstate *s = sig_of(g);
	siginfo_t info;
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	for (uint32_t link = s->head; link; link = entries[link - 1].next) {
		if (entries[link - 1].given)
			taken_from_kernel(SIGBIT(entries[link - 1].sig), &info); /* a thread's own come before the process's */
		entries[link - 1].given = false;
	}
	lock_release(&s->lock);
	sig_queue_hand_on(g, 0);
	rt_exit(g);
}

/* sigstate.lock held or nobody else there. What was sent to the process goes back to the ring: another takes it, as in the kernel. */
void sig_queue_drop(struct sigstate *s) {
	while (s->head) {
		struct entry *e = &entries[s->head - 1];
		s->head = e->next;
		if (e->to) {
			sigtimer_lost(&e->info);
			entry_free(e);
		} else {
			entry_hand_on(e);
		}
	}
	s->tail = s->of_process = 0;
	s->bare = 0;
	queue_left(atomic_exchange(&s->pending, 0));
}

/* ---- routing ----------------------------------------------------------------------------------------------------- */

int32_t sig_sysmon_ktid(void) {
	return atomic_load_explicit(&sigp.sysmon_tid, memory_order_relaxed);
}

int32_t sig_running_on(struct g *g) {
	struct m *m = __atomic_load_n(&g->m, __ATOMIC_RELAXED);
	return m && atomic_load_explicit(&m->curg, memory_order_relaxed) == g ? m->ktid : 0;
}

void sig_kick(struct g *g, int32_t ktid, int sig) {
	siginfo_t info;
	/* seq_cst, then the look at the handler: Dekker with sigaction(). Either it sees that a kick may be on its way, and sig_entry() stays in
	 * place for SIG_DFL; or we see that there is no handler any more, and our kick would be taken for the signal itself. */
	atomic_fetch_or(&sigp.kicked_ever, SIGBIT(sig));
	if (sig != SIGCANCEL_NR && !atomic_load(&sig_handlers[sig]) && (atomic_load(&sig_of(g)->waiting) & SIGBIT(sig))) {
		/* g is in sigwait() for it. libc's signal ends the kernel's wait and can be mistaken for nothing else. It is not blocked, so one that
		 * comes just before g is in the kernel is lost: sysmon sends another. */
		if (atomic_load_explicit(&sigp.reserved, memory_order_acquire) != 2)
			return;
		sig = SIGCANCEL_NR;
	}
	if (sig != SIGCANCEL_NR && !atomic_load(&sig_handlers[sig])) {
		/* If it is still in the queue it is time for its default action: the kernel's, by a true signal. */
		if (!sig_queue_take(g, SIGBIT(sig) & ~mask_of(g), &info))
			return;
		if (SYS4(SYS_rt_tgsigqueueinfo, self_pid(), ktid, sig, &info) < 0) /* only the first thread may forge kill()'s */
			SYS3(SYS_tgkill, self_pid(), ktid, sig);
	} else if (g == sigp.main_g && g != tls_g && sig != SIGCANCEL_NR) { /* which stands for another, and nobody else directs at main */
		kick_main(g, ktid, sig);
	} else {
		kick_send(ktid, sig, 0);
	}
}

void sig_disturb(struct g *g, struct m *m) {
	if (m->ktid && atomic_load_explicit(&sigp.reserved, memory_order_acquire) == 2)
		sig_kick(g, m->ktid, SIGCANCEL_NR);
}

void sig_nudge(struct g *g, int sig) {
	attention_set(sig_of(g));
	if (g == tls_g) { /* looks by itself when it leaves the runtime, or, with a mask for one wait only, when that ends */
		if (sig_of(g)->defer)
			g_interrupt(g);
		return;
	}
	g_interrupt(g);
	int32_t ktid = sig ? sig_running_on(g) : 0;
	if (!ktid)
		return;
	sig_reserve(); /* before the first SIGCANCEL: libc has no handler for it yet */
	if (sig != SIGCANCEL_NR || atomic_load_explicit(&sigp.reserved, memory_order_acquire) == 2)
		sig_kick(g, ktid, sig);
}

/* Queues for g and makes it look, if it would take it. */
int sig_send(struct g *g, int sig, const siginfo_t *info, bool of_process) {
	struct sigstate *s = sig_of(g);
	int r = queue_put(s, sig, info, of_process ? NULL : g, seq_next());
	/* seq_cst by the RMW in sig_queue_put() and these loads: either we see the open mask or the owner sees the entry */
	uint64_t mask = __atomic_load_n(&g->sigmask, __ATOMIC_SEQ_CST);
	if (r == 0 && (!(mask & SIGBIT(sig)) || (atomic_load(&s->waiting) & SIGBIT(sig))))
		sig_nudge(g, sig);
	else if (r == 0 && of_process)
		queue_release(g, SIGBIT(sig)); /* it did when it was chosen; or it looks after it has blocked the signal, and there is nothing any more */
	else if (r == 0 && unlikely(atomic_load_explicit(&sig_by_fd, memory_order_relaxed) & SIGBIT(sig)))
		g_interrupt(g); /* it may be waiting for a signalfd (sigfd.c) */
	return r;
}

static int32_t number_of(const struct g *g) {
	return __atomic_load_n(&g->tid, __ATOMIC_RELAXED); /* it may end, and be another, at any time */
}

/* Who takes a signal sent to the process: main first, then who was made first, and once found, the same again, as the kernel does; to look for him among all
 * goroutines that ever were is what a fast timer in a process of many threads cannot afford. What everybody blocks is the kernel's, which has those who wait for it. */
struct g *sig_taker(int sig) {
	/* Gs are never freed, but another thread's when their number is another: a stale one is merely refused. */
	static _Atomic(struct g *) last[NSIGNALS + 1];
	static _Atomic int32_t last_tid[NSIGNALS + 1];
	if (is_open(sigp.main_g, sig))
		return sigp.main_g;
	if (atomic_load(&sigp.and_mask) & SIGBIT(sig))
		return NULL;
	if (takes(sigp.main_g, sig))
		return sigp.main_g;
	struct g *before = atomic_load_explicit(&last[sig], memory_order_relaxed);
	if (takes(before, sig) && number_of(before) == atomic_load_explicit(&last_tid[sig], memory_order_relaxed))
		return before;
	struct g *first = NULL;
	for (struct g *g = g_all(); g; g = g->all_next) {
		if (takes(g, sig) && (!first || number_of(g) - number_of(first) < 0))
			first = g;
	}
	if (first) {
		atomic_store_explicit(&last_tid[sig], number_of(first), memory_order_relaxed);
		atomic_store_explicit(&last[sig], first, memory_order_relaxed);
	}
	return first;
}

bool sig_is_held_back(int sig) {
	return sched_started() && !(atomic_load(&sigp.and_mask) & SIGBIT(sig)) && !is_open(sig_taker(sig), sig);
}

/* Only the first thread may forge a kernel's or kill()'s siginfo. */
void sig_return(int sig, siginfo_t *info) {
	if (unlikely(info->si_code == TIMER_CODE) && !sigtimer_taken(info))
		return;
	int32_t pid = self_pid();
	if (SYS3(SYS_rt_sigqueueinfo, pid, sig, info) < 0)
		SYS2(SYS_kill, pid, sig);
}

/* route_lock held. As a rule it is the youngest, or, taken out and not sent, the oldest. */
static void entry_held(struct entry *e) {
	uint32_t *link = &held_list[e->sig].head, *tail = &held_list[e->sig].tail, index = (uint32_t)(e - entries) + 1;
	if (*tail && (int32_t)(e->seq - entries[*tail - 1].seq) > 0)
		link = &entries[*tail - 1].next;
	while (*link && (int32_t)(e->seq - entries[*link - 1].seq) > 0)
		link = &entries[*link - 1].next;
	e->next = *link;
	*link = index;
	if (!e->next)
		*tail = index;
	atomic_store_explicit(state_of(e), ENTRY_HELD, memory_order_relaxed);
}

/* route_lock held. The oldest; NULL: there is none. */
static struct entry *held_take(int sig) {
	uint32_t index = held_list[sig].head;
	if (!index)
		return NULL;
	held_list[sig].head = entries[index - 1].next;
	if (!held_list[sig].head)
		held_list[sig].tail = 0;
	return &entries[index - 1];
}

/* route_lock held. Nobody takes e now, but somebody will, once the handler he is in returns. False: *taker does already, or, NULL, all block it by now. again: it has been held, and
 * sigp.held has said so all the time. */
static bool hold(struct entry *e, bool again, struct g **taker) {
	uint64_t bit = SIGBIT(e->sig);
	/* As behind a blocked one in the kernel: a standard signal that is pending is not pending twice, and a real-time one waits for
	 * its turn, without a search. */
	if (again || (atomic_fetch_or(&sigp.held, bit) & bit)) {
		if (!again && e->sig < 32 && e->info.si_code != TIMER_CODE) /* of which each timer has one */
			entry_free(e);
		else
			entry_held(e);
		return true;
	}
	/* seq_cst: Dekker with those who open their mask, or say what they wait for, first and look at `held` then. Who did not see it is seen here. */
	if ((*taker = sig_taker_of(e->sig, &e->info)) || is_nobodys(e->sig)) {
		atomic_fetch_and(&sigp.held, ~bit);
		return false;
	}
	entry_held(e);
	return true;
}

/* This one entry out of its queue, where `seq` came into it; NULL: it is not there any more. */
static struct entry *queue_retract(struct sigstate *s, int sig, uint32_t seq) {
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	struct entry *e = queue_remove(s, sig, false, &seq);
	lock_release(&s->lock);
	return e;
}

/* route_lock held. A real-time signal to the process into the queue of `to`. If that has just blocked it, it is held (again): what comes after it must not be first with who
 * takes it next. False: so it is. */
static bool send_in_turn(struct g *to, int sig, const siginfo_t *info, uint32_t seq) {
	struct sigstate *s = sig_of(to);
	uint64_t bit = SIGBIT(sig);
	struct entry *e;
	if (queue_put(s, sig, info, NULL, seq) < 0)
		return true;
	/* seq_cst, as in sig_send() */
	if (!(__atomic_load_n(&to->sigmask, __ATOMIC_SEQ_CST) & bit) || (atomic_load(&s->waiting) & bit)) {
		sig_nudge(to, sig);
	} else if ((e = queue_retract(s, sig, seq))) {
		atomic_fetch_or(&sigp.held, bit);
		entry_held(e);
		/* seq_cst: as in hold() */
		if (sig_taker_of(sig, info) || is_nobodys(sig))
			look_again(bit);
		return false;
	}
	return true;
}

/* route_lock held. `to`, which takes e, has yet to take another of this number: e waits for that. */
static bool stands_behind(struct entry *e, bool again, struct g *to) {
	uint64_t bit = SIGBIT(e->sig);
	if (e->to || e->sig < 32 || likely(!(atomic_load(&sig_of(to)->pending) & bit)))
		return false;
	/* seq_cst: who takes that one out, or does not take it any more, has said so before it looks at `behind` (queue_left()): either it sees the bit, or this sees that. */
	atomic_fetch_or(&sigp.held, bit);
	atomic_fetch_or(&behind, bit);
	if ((atomic_load(&sig_of(to)->pending) & bit) && takes(to, e->sig)) {
		entry_held(e);
		return true;
	}
	if (!again)
		atomic_fetch_and(&sigp.held, ~bit);
	return false;
}

/* route_lock held. again: it was held, and what is behind it is. False: it is held (again). */
static bool route(struct entry *e, bool again) {
	bool waits = !again && (atomic_load(&sigp.held) & SIGBIT(e->sig));
	struct g *to = e->to ? e->to : waits ? NULL : sig_taker_of(e->sig, &e->info);
	int sig = e->sig;
	uint32_t seq = e->seq;
	bool of_process = !e->to;
	siginfo_t info = e->info;
	if (!to && !is_nobodys(sig) && hold(e, again, &to))
		return false;
	if (to && stands_behind(e, again, to))
		return false;
	entry_free(e);
	if (to && of_process && sig >= 32)
		return send_in_turn(to, sig, &info, seq);
	if (to)
		sig_send(to, sig, &info, of_process);
	else
		sig_return(sig, &info);
	return true;
}

/* route_lock held. In their order, until one of that number has to be held again. sigp.held says that there are any until the last is in a queue: who opens its mask finds it
 * there, or waits for the lock. */
static void held_route(uint64_t which) {
	struct entry *e;
	which &= atomic_load(&sigp.held);
	for (uint64_t left = which; left; left &= left - 1) {
		int sig = __builtin_ctzll(left) + 1;
		while ((e = held_take(sig)) && route(e, true))
			continue;
		if (!held_list[sig].head)
			atomic_fetch_and(&sigp.held, ~SIGBIT(sig));
	}
}

/* route_lock held. The oldest entries of the ring, in order, as far as there is room; how many. As a rule an entry is older than those with a higher index. */
static uint32_t ring_oldest(struct entry *batch[RING_BATCH]) {
	uint32_t n = 0;
	for (uint32_t i = 0; (i = entry_used(i)) < ENTRIES; i++) {
		struct entry *e = &entries[i];
		/* acquire: pairs with ring_push() */
		if (atomic_load_explicit(&states[i], memory_order_acquire) != ENTRY_RING)
			continue;
		uint32_t at = n;
		while (at && (int32_t)(e->seq - batch[at - 1]->seq) < 0)
			at--;
		if (at == RING_BATCH)
			continue;
		n += n < RING_BATCH;
		memmove(&batch[at + 1], &batch[at], (n - 1 - at) * sizeof *batch);
		batch[at] = e;
	}
	return n;
}

/* route_lock held. */
static void ring_route(bool held_too) {
	uint64_t next = atomic_load(&due) ? atomic_exchange(&due, 0) : 0;
	if (next)
		atomic_fetch_sub_explicit(&rt_pending, 1, memory_order_release);
	/* No more than there are now: what is returned to the kernel may come back at once, from a thread that is just opening its mask
	 * and would never get out of its handler. */
	struct entry *batch[RING_BATCH];
	uint32_t n, left = atomic_load_explicit(&ring_count, memory_order_relaxed);
	while (left && (n = ring_oldest(batch))) { /* none: counted, not visible yet: its producer's thread looks itself */
		for (uint32_t i = 0; i < n && left; i++, left--) {
			ring_left(batch[i]);
			route(batch[i], false);
			/* After it: who finds nothing counted finds in its own queue what was for it. */
			atomic_fetch_sub_explicit(&ring_count, 1, memory_order_release);
			atomic_fetch_sub_explicit(&rt_pending, 1, memory_order_release);
		}
	}
	/* After the ring: what comes back from a queue may be older. */
	if (held_too || next)
		held_route(held_too ? ~0ull : next);
}

/* Inside the runtime (or on a g0, or sysmon). Routes everything in the ring, oldest first; and what is held, if
 * asked. */
void sig_ring_drain(bool held_too) {
	/* acquire: what was counted is where it belongs */
	if (!atomic_load_explicit(&ring_count, memory_order_acquire) && !atomic_load_explicit(&due, memory_order_relaxed) &&
	    !(held_too && atomic_load(&sigp.held)))
		return;
	lock_acquire(&route_lock, LOCK_SIGROUTE);
	ring_route(held_too);
	lock_release(&route_lock);
}

int sig_send_in_turn(int sig, const siginfo_t *info) {
	int r = -EAGAIN;
	lock_acquire(&route_lock, LOCK_SIGROUTE);
	ring_route(false);
	struct entry *e = entry_alloc();
	if (e) {
		e->sig = sig;
		e->info = *info;
		e->to = NULL;
		e->seq = seq_next();
		route(e, false);
		r = 0;
	}
	lock_release(&route_lock);
	return r;
}

void sig_held_claim(struct g *g, uint64_t which, bool all) {
	struct entry *e;
	lock_acquire(&route_lock, LOCK_SIGROUTE);
	which &= atomic_load(&sigp.held);
	for (uint64_t left = which; left; left &= left - 1) {
		int sig = __builtin_ctzll(left) + 1;
		while ((e = held_take(sig))) {
			siginfo_t info = e->info;
			uint32_t seq = e->seq;
			entry_free(e); /* first: there may be no other */
			queue_put(sig_of(g), sig, &info, NULL, seq);
			if (!all)
				break;
		}
		if (!held_list[sig].head)
			atomic_fetch_and(&sigp.held, ~SIGBIT(sig));
	}
	lock_release(&route_lock);
}

/* Inside the runtime. */
static void ring_discard(uint64_t which) {
	struct entry *held;
	lock_acquire(&route_lock, LOCK_SIGROUTE);
	for (uint64_t left = which; left; left &= left - 1) {
		while ((held = held_take(__builtin_ctzll(left) + 1))) {
			sigtimer_lost(&held->info);
			entry_free(held);
		}
	}
	for (uint32_t i = 0; (i = entry_used(i)) < ENTRIES; i++) {
		struct entry *e = &entries[i];
		uint8_t state = atomic_load_explicit(&states[i], memory_order_acquire); /* pairs with sig_ring_push() */
		if (state != ENTRY_RING || !(SIGBIT(e->sig) & which))
			continue;
		ring_left(e);
		atomic_fetch_sub_explicit(&ring_count, 1, memory_order_relaxed);
		atomic_fetch_sub_explicit(&rt_pending, 1, memory_order_relaxed);
		sigtimer_lost(&e->info);
		entry_free(e);
	}
	atomic_fetch_and(&sigp.held, ~which);
	lock_release(&route_lock);
}

/* Inside the runtime. One of them; false: there is none. */
static bool queue_discard(struct sigstate *s, uint64_t which) {
	siginfo_t info = {0};
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	which &= s->pending;
	if (which) {
		int sig = __builtin_ctzll(which) + 1;
		s->bare &= ~SIGBIT(sig);
		struct entry *e = queue_remove(s, sig, false, NULL);
		if (e) {
			info = e->info;
			entry_free(e);
		}
	}
	lock_release(&s->lock);
	if (info.si_code == TIMER_CODE)
		sigtimer_taken(&info);
	return which != 0;
}

void sig_discard(uint64_t which) {
	struct g *self = rt_hold();
	if (atomic_load_explicit(&ring_count, memory_order_acquire) || (atomic_load(&sigp.held) & which))
		ring_discard(which);
	if (atomic_load_explicit(&queued_ever, memory_order_relaxed) & which) {
		for (struct g *g = g_all(); g; g = g->all_next) {
			while (is_alive(g) && (atomic_load(&sig_of(g)->pending) & which) && queue_discard(sig_of(g), which))
				continue;
		}
	}
	if (self)
		rt_leave(self);
}

void sig_discard_opposite(int sig) {
	uint64_t which = sig == SIGCONT ? STOP_SIGNALS : sig_stops(sig) ? SIGBIT(SIGCONT) : 0;
	siginfo_t info;
	if (likely(!which))
		return;
	/* What everybody blocks, or this kernel thread, waits in the kernel, which does not hear of what is sent here. */
	while (taken_from_kernel(which, &info) > 0)
		continue;
	sig_discard(which);
}

static _Atomic uint32_t seen_count[NSIGNALS + 1];

void sig_seen_add(int sig) {
	/* release: pairs with sig_seen(); the signal is in the ring, or its handler has run */
	atomic_fetch_add_explicit(&seen_count[sig], 1, memory_order_release);
}

uint32_t sig_seen(int sig) {
	return atomic_load_explicit(&seen_count[sig], memory_order_acquire);
}

/* Another takes it, which the kernel wakes for that before it wakes who waits for the child. Not for long: it may be where no handler can run. */
static void settle_other(struct g *g, struct g *taker, int sig, uint32_t seen) {
	struct sigstate *s = sig_of(taker);
	int64_t limit = nanotime() + SETTLE_OTHER_NS;
	rt_enter(g);
	pending_to_ring(SIGBIT(sig), NULL);
	rt_exit(g);
	while (self_g() == g && is_open(taker, sig) && nanotime() < limit &&
	       (sig_seen(sig) == seen || ((atomic_load(&ring_standard) | atomic_load(&s->pending)) & SIGBIT(sig))))
		g_yield(g);
}

/* It is pending, or a kernel thread that was given it is on its way through sig_entry(), which needs a CPU and nothing else. The limit is for a child that
 * ended without telling (a debugger's). */
void sig_settle_with(struct g *g, struct g *taker, int sig, uint32_t seen) {
	if (taker && taker != g && !taker->in_vfork)
		settle_other(g, taker, sig, seen);
	if (taker != g)
		return;
	rt_enter(g);
	pending_to_ring(SIGBIT(sig), NULL);
	rt_exit(g);
	if (sig_seen(sig) != seen)
		return;
	int64_t limit = nanotime() + SETTLE_NS;
	syscall_enter(g); /* the P may go meanwhile */
	while (sig_seen(sig) == seen && nanotime() < limit)
		SYS0(SYS_sched_yield);
	syscall_exit(g);
	rt_check(g);
}

void sig_settle(struct g *g, int sig, uint32_t seen) {
	sig_settle_with(g, handler_of(sig) ? sig_taker(sig) : NULL, sig, seen);
}

/* The kernel may have chosen it for one of `which`, if its mask lets that through. */
static bool settle_ask(int32_t ktid, uint64_t mask, uint64_t which) {
	return ktid && (which & ~mask) && kick_send(ktid, SIGSETXID_NR, KICK_SETTLE);
}

/* Not itself, nor one that waits for its vfork() child. */
static bool settle_ask_m(const struct m *m, uint64_t which) {
	int32_t ktid = atomic_load_explicit(&m->ktid, memory_order_relaxed);
	struct g *runs = atomic_load_explicit(&m->curg, memory_order_relaxed);
	return ktid != self_ktid() && !(runs && runs->in_vfork) && settle_ask(ktid, __atomic_load_n(&m->kmask, __ATOMIC_RELAXED), which);
}

/* The kernel threads that the kernel may have chosen for one of `which`: is it on its way on one of them? True too if one does not answer, or somebody else has asked
 * meanwhile. The first is the one it chooses, if that lets it through; of the others, where hundreds wait in the kernel, not all can be asked. */
static bool settle_asks(uint64_t which, int64_t limit) {
	uint32_t found = atomic_load(&sigp.settle_found), answers = atomic_load(&sigp.settle_answers), asked = 0;
	atomic_store(&sigp.settle_which, which);
	if (sigp.first)
		asked += settle_ask_m(sigp.first, which);
	asked += settle_ask(sig_sysmon_ktid(), atomic_load(&sigp.and_mask), which);
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m && asked < SETTLE_ASKED; m = m->all_next) {
		if (m != sigp.first)
			asked += settle_ask_m(m, which);
	}
	while (atomic_load(&sigp.settle_answers) - answers < asked) {
		if (nanotime() > limit || !self_g())
			return true;
		SYS0(SYS_sched_yield);
	}
	return atomic_load(&sigp.settle_which) != which || atomic_load(&sigp.settle_found) != found || atomic_load(&sigp.taking) != 0;
}

/* Outside the runtime. None of `which` that has been sent to the process is on its way any more. */
static void settle(struct g *g, uint64_t which) {
	int64_t limit = 0;
	rt_enter(g);
	bool again;
	do {
		pending_to_ring(which, sigp.main_g);
		rt_exit(g); /* what has come this far is handled, or held */
		if (!self_g())
			return; /* by a handler that forked, and this is the child */
		limit = limit ? limit : nanotime() + SETTLE_NS; /* not before: those handlers take what they take */
		syscall_enter(g); /* the P may go meanwhile */
		again = settle_asks(which, limit);
		if (!self_g())
			return;
		syscall_exit(g);
		rt_enter(g);
	} while (again && nanotime() < limit);
	rt_exit(g);
}

/* All of `which` that are handled are g's to take. */
static void settle_handled(struct g *g, uint64_t which) {
	if (process_in_vfork() || atomic_load_explicit(&sigp.reserved, memory_order_acquire) != 2)
		return;
	for (uint64_t left = which; left; left &= left - 1)
		which &= ~(handler_of(__builtin_ctzll(left) + 1) ? 0 : left & -left);
	if (which)
		settle(g, which);
}

void sig_stopped_settle(struct g *g, int sig) {
	if (g && g == sigp.main_g)
		settle_handled(g, ~mask_of(g));
	else if (sig)
		sig_sent_settle(g, sig);
}

void sig_sent_settle(struct g *g, int sig) {
	if (g && handler_of(sig) && sig_taker(sig) == g)
		settle_handled(g, SIGBIT(sig));
}

void sig_settle_masked(struct g *g, uint64_t which) {
	which &= mask_of(g) & ~sig_of(g)->counted;
	if (unlikely(which) && atomic_load_explicit(&sigp.reserved, memory_order_acquire) == 2)
		settle(g, which);
}

/* A kernel thread of a process without goroutines leaves the runtime: what came in meanwhile is sent to it again, and now finds
 * it outside. */
void sig_foreign_deliver(struct g *g) {
	for (uint32_t i = 0; (i = entry_used(i)) < ENTRIES; i++) {
		struct entry *e = &entries[i];
		if (atomic_load_explicit(&states[i], memory_order_acquire) != ENTRY_RING)
			continue;
		in_rt_up(g);
		int sig = e->sig;
		siginfo_t info = e->info;
		ring_left(e);
		atomic_fetch_sub_explicit(&ring_count, 1, memory_order_relaxed);
		atomic_fetch_sub_explicit(&rt_pending, 1, memory_order_relaxed);
		entry_free(e);
		rt_leave(g);
		if (info.si_code == TIMER_CODE && !sigtimer_taken(&info))
			continue;
		if (kernel_queue_self(sig, &info) < 0)
			SYS3(SYS_tgkill, self_pid(), self_ktid(), sig);
	}
}

void sig_queue_fork_child(void) {
	memset(states, 0, atomic_load_explicit(&room, memory_order_relaxed)); /* nobody else is here */
	atomic_store(&ring_count, 0);
	atomic_store(&ring_standard, 0);
	memset(held_list, 0, sizeof held_list);
	atomic_store(&behind, 0);
	atomic_store(&due, 0);
	atomic_store(&sigp.taking, 0);
	sig_child_fork_child();
	route_lock = (struct lock){0};
}
