/* Gs: where they come from and where they go.
 *
 * A G is type-stable memory, cut from slabs, never freed: a stale `struct g *` may be read. What a dead one has kept decides its list:
 *   with stack and TCB   the P's gfree (LIFO, GFREE_MAX), then sched.gfree, by sizes (gfree_max); g_new() looks at a few of each for a stack that
 *                        fits. An idle P gives its own to all. What overflows is stripped: the stack goes back to stack.c, the TCB to libc.
 *                        What nobody needs for a while is stripped or trimmed later, by the maker (scavenge.c says when).
 *                        One whose stack is a mapping of its own, because address space is limited, goes to the global list; of those there are
 *                        GFREE_SINGLE_MAX bytes at the most (MEM-6), and none any more when a stack is refused.
 *   without              sched.gshell
 * In a fork's child the parent's Gs are dead ones, too, from its first thread on: orphans, whose TCBs are made anew before anybody uses them.
 * A G in any of them may still be on its way out of its last M: whoever takes it looks at ctx.on_cpu first.
 *
 * Foreign Gs. A kernel thread that is none of our Ms gets a G at its first call (g_self_slow), to wait with; it gives the shell back when
 * it ends.
 *
 * Lock: sched.lock for the lists; stack.c's and tcb.c's locks rank below it and are not taken under it.
 */
#include <errno.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "asan.h"
#include "futex.h"
#include "pages.h"
#include "race.h"
#include "runtime.h"
#include "stack.h"
#include "tcb.h"

#define G_SLAB_BYTES (256ul << 10)
#define FRAMES_USUAL (2ul << 10) /* what a thread's first frames need, until it parks */
#define COLOUR_CUT 512u         /* of a TCB that is cut: what more of it lies on the frames' page is lost to them */
#define GFREE_BYTES_MAX (1ull << 30) /* what dead Gs beyond the Ps' own may keep of memory, and ... */
#define GFREE_SHARE 16          /* ... that part of the machine's */
#define GFREE_DEPTH (8ul << 10) /* what a dead one keeps of its stack in the long run; the next one needs it, too */
#define GFREE_LEAST 64u         /* so many are never given back */
#define GFREE_SINGLE_MAX (40ul << 20) /* NPTL's bound for the stacks that it keeps */
#define STRIP_TRIES 20          /* ... and naps, until what dead ones elsewhere keep is given up as lost */
#define STRIP_NAP_NS 1000000
#define TAKE_TRIES 100          /* looks at a dead G that somebody is still switching away from */
#define GFREE_BATCH 16u         /* dead Gs that the maker deals with before it looks whether a thread is to be made */

/* Never used Gs of the current slab; sched.lock. Not a list: linking them would touch each page of the slab, in every process that does as much as read(). */
static struct g *slab_next;
static size_t slab_left;
static uint32_t gfree_max;          /* GFREE_BYTES_MAX or GFREE_SHARE in Gs; 0: not known yet */

extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *) __attribute__((weak));

uint32_t g_count(void) {
	return atomic_load_explicit(&sched.g_live, memory_order_relaxed);
}

uint32_t g_live_drop(void) {
	return atomic_fetch_sub_explicit(&sched.g_live, 1, memory_order_acq_rel) - 1;
}

struct g *g_all(void) {
	return atomic_load_explicit(&sched.all_g, memory_order_acquire);
}

/* ---- shells and foreign threads -------------------------------------------------------------------------------- */

/* A G without stack: a used shell or a new one. NULL: no memory. */
static struct g *shell_get(void) {
	struct g *held = rt_hold();
	lock_acquire(&sched.lock, LOCK_SCHED);
	struct g *g = sched.gshell, **link = &sched.gshell;
	/* acquire: pairs with arch_switch's last store; it may still be on its way out */
	while (g && atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire)) {
		link = &g->schedlink;
		g = g->schedlink;
	}
	if (g) {
		*link = g->schedlink;
		lock_release(&sched.lock);
		rt_drop(held);
		return g;
	}
	if (!slab_left && (slab_next = pages_map(G_SLAB_BYTES)))
		slab_left = G_SLAB_BYTES / sizeof *g;
	if (slab_left) {
		g = slab_next++;
		slab_left--;
	}
	lock_release(&sched.lock);
	rt_drop(held);
	if (!g)
		return NULL;
	struct g *head = atomic_load_explicit(&sched.all_g, memory_order_relaxed);
	do
		g->all_next = head;
	while (!atomic_compare_exchange_weak_explicit(&sched.all_g, &head, g, memory_order_release, memory_order_relaxed));
	return g;
}

static void shell_put(struct g *g) {
	g->ctx.tp = 0;
	stack_set(&g->stack, (struct stack){0});
	struct g *held = rt_hold();
	lock_acquire(&sched.lock, LOCK_SCHED);
	g->schedlink = sched.gshell;
	sched.gshell = g;
	lock_release(&sched.lock);
	rt_drop(held);
}

static void foreign_gone(void *arg) {
	struct g *g = arg;
	if (g->kind != G_FOREIGN)
		return;
	RACE_BEFORE(g);
	tls_g = NULL;
	RACE_AFTER(g);
	g_state_set(g, GS_DEAD);
	shell_put(g);
}

/* Nothing of its last life. */
static void g_reset(struct g *g, uint8_t kind) {
	__atomic_store_n(&g->kind, kind, __ATOMIC_RELAXED);
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
	atomic_store_explicit(&g->in_syscall, 0, memory_order_relaxed);
	atomic_store_explicit(&g->make_way, false, memory_order_relaxed);
	atomic_store_explicit(&g->interrupt, false, memory_order_relaxed);
	atomic_store_explicit(&g->spins, 0, memory_order_relaxed);
	atomic_store_explicit(&g->start, 0, memory_order_relaxed);
	g->chaos_count = 0;
	atomic_store_explicit(&g->cpu_ns, 0, memory_order_relaxed);
	__atomic_store_n(&g->in_rt, kind == G_GOROUTINE, __ATOMIC_RELAXED); /* that begins "switched out": g_start() leaves the runtime */
	__atomic_store_n(&g->wired_m, NULL, __ATOMIC_RELAXED); /* sysmon may still look at who it was */
	g->self_claimed = g->in_vfork = g->own_files = g->lean = g->orphan = false;
	__atomic_store_n(&g->m, NULL, __ATOMIC_RELAXED); /* as wired_m */
	atomic_store_explicit(&g->wish, false, memory_order_relaxed); /* one for who it was: it had ended by then */
	g->timer.index = 0;
	g->timer.heap = NULL;
	g->wait_what = NULL;
	g->inner = (struct inner_stacks){0};
}

/* A kernel thread that is none of our Ms: it gets a G to wait with. */
struct g *g_self_slow(void) {
	static struct g spare; /* out of memory: shared; such a process is about to die anyway, but not by our hand */
	uint64_t all = ALL_SIGNALS, old;
	/* Nothing tells a handler yet that this thread is inside the runtime: none may run while shell_get() holds its lock. */
	SYS4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, 8);
	struct g *g = shell_get();
	if (!g)
		g = &spare;
	g_reset(g, G_FOREIGN);
	g->id = 0;
	g_state_set(g, GS_RUNNING);
	g->tid = (int32_t)SYS0(SYS_gettid);
	g->ctx.tp = arch_tp();
	memset(g->ext, 0, sizeof g->ext);
	tls_g = g;
	SYS4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &old, 0, 8);
	if (g != &spare && g->tid != (int32_t)SYS0(SYS_getpid) && __cxa_thread_atexit_impl)
		__cxa_thread_atexit_impl(foreign_gone, g, &sched); /* any address of ours: it keeps the library loaded */
	return g;
}

/* ---- goroutines ---------------------------------------------------------------------------------------------------- */

/* Where this process's tids begin. */
static uint32_t tid_seed;

/* Processes that share a recursive or robust mutex tell its owner by the tid alone, so each begins somewhere else. */
void g_tid_seed(void) {
	uint32_t seed = 0;
	if (SYS3(SYS_getrandom, &seed, sizeof seed, 1 /* GRND_NONBLOCK */) != sizeof seed)
		seed = (uint32_t)nanotime() * 2654435761u ^ (uint32_t)SYS0(SYS_getpid) << 12;
	tid_seed = seed >> 3; /* room to count from here */
}

static int32_t tid_of(uint32_t place) {
	return TID_FIRST + (int32_t)((place + tid_seed) % TID_COUNT);
}

#define TID_BLOCK 65536u

static struct lock tid_lock; /* what follows; LOCK_STACK */
static uint32_t tid_next;    /* the place in the second round, and each one after it */
static uint64_t tid_taken[TID_BLOCK / 64]; /* places in tid_next's block whose tids somebody has */

static void tids_taken_find(uint32_t block) {
	memset(tid_taken, 0, sizeof tid_taken);
	for (struct g *g = g_all(); g; g = g->all_next) {
		int32_t tid = __atomic_load_n(&g->tid, __ATOMIC_RELAXED);
		uint32_t place = ((uint32_t)(tid - TID_FIRST) + TID_COUNT - tid_seed % TID_COUNT) % TID_COUNT;
		if (tid >= TID_FIRST && place / TID_BLOCK == block)
			tid_taken[place % TID_BLOCK / 64] |= 1ull << place % 64;
	}
}

/* All tids were given once. From now on those that somebody has are passed over. Who has them is looked up for a block at a time, so that each thread
 * pays for a few Gs only; of the block that is being given nobody gets one in another way. The dead count as well: there are more numbers than
 * there can be Gs. */
static uint32_t place_again(struct g *self) {
	uint32_t place;
	rt_enter(self);
	lock_acquire(&tid_lock, LOCK_STACK);
	do {
		place = tid_next;
		tid_next = (place + 1) % TID_COUNT;
		if (place % TID_BLOCK == 0)
			tids_taken_find(place / TID_BLOCK);
	} while (tid_taken[place % TID_BLOCK / 64] >> place % 64 & 1);
	lock_release(&tid_lock);
	rt_exit(self);
	return place;
}

_Atomic uint32_t g_numbers;
static _Atomic bool tids_all_given;

/* The tid, and the id for people, which counts from 2. */
static void number_give(struct g *g, struct g *self) {
	/* relaxed, all: it only counts */
	uint32_t n = atomic_fetch_add_explicit(&g_numbers, 1, memory_order_relaxed), place = n;
	if (__builtin_expect(n >= TID_COUNT || atomic_load_explicit(&tids_all_given, memory_order_relaxed), 0)) {
		atomic_store_explicit(&tids_all_given, true, memory_order_relaxed);
		place = place_again(self);
	}
	/* relaxed: who looks for a thread by its number passes it by */
	__atomic_store_n(&g->tid, tid_of(place), __ATOMIC_RELAXED);
	g->id = n % (1u << 30) + 2;
}

/* Ids and not pointers: an ancestor may have ended, and its struct be somebody else's. */
static void ancestors_take(struct g *g, const struct g *creator) {
	g->ancestor[0] = creator->kind <= G_MAIN ? creator->id : 0;
	for (int i = 1; i < G_ANCESTORS; i++)
		g->ancestor[i] = g->ancestor[0] ? creator->ancestor[i - 1] : 0;
}

static void g_start(void *arg) {
	struct g *g = arg;
	RACE_SAME_THREAD();
	wish_check(g);
	rt_exit(g);
	g->entry(g);
	g_exit(g);
}

static bool gfree_fits(struct g *g, const struct g_stack_req *req) {
	return g->stack.size == req->size && g->stack.guard == req->guard &&
	       atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire) == 0;
}

/* Address space that it takes from the program as a dead one. */
static size_t single_bytes(const struct g *g) {
	return stack_is_single(&g->stack) ? stack_mapped_bytes(&g->stack) : 0;
}

/* Each size that is in use has a list of its own: where threads of one size die on top of another's, those would be found no more. */
static bool gfree_is_for(const struct gfree *list, size_t size, size_t guard) {
	/* relaxed: without sched.lock it is a hint */
	return __atomic_load_n(&list->size, __ATOMIC_RELAXED) == size && __atomic_load_n(&list->guard, __ATOMIC_RELAXED) == guard;
}

/* Where dead ones of a size are to be found: in its list; if that is empty, perhaps among those that found none. Without sched.lock a hint. */
static struct gfree *gfree_of(size_t size, size_t guard) {
	struct gfree *mixed = &sched.gfree[GFREE_SIZES];
	for (uint32_t i = 0, n = __atomic_load_n(&sched.gfree_sizes, __ATOMIC_RELAXED); i < n; i++) {
		struct gfree *list = &sched.gfree[i];
		if (gfree_is_for(list, size, guard))
			return __atomic_load_n(&list->head, __ATOMIC_RELAXED) ? list : mixed;
	}
	return mixed;
}

/* Where one that died goes: its size's list, or one that another size has left, or the mixed one. sched.lock held. */
static struct gfree *gfree_for(const struct stack *s) {
	struct gfree *list = &sched.gfree[GFREE_SIZES];
	for (uint32_t i = sched.gfree_sizes; i-- > 0;) {
		if (gfree_is_for(&sched.gfree[i], s->size, s->guard))
			return &sched.gfree[i];
		if (!sched.gfree[i].head)
			list = &sched.gfree[i];
	}
	if (list == &sched.gfree[GFREE_SIZES]) {
		if (sched.gfree_sizes == GFREE_SIZES)
			return list;
		list = &sched.gfree[sched.gfree_sizes];
		__atomic_store_n(&sched.gfree_sizes, sched.gfree_sizes + 1, __ATOMIC_RELAXED); /* these three: gfree_of() */
	}
	__atomic_store_n(&list->size, s->size, __ATOMIC_RELAXED);
	__atomic_store_n(&list->guard, s->guard, __ATOMIC_RELAXED);
	return list;
}

/* sched.lock held. *link, in list, follows prev (NULL: it is the head). */
static void gfree_unlink(struct gfree *list, struct g **link, struct g *prev) {
	struct g *g = *link;
	__atomic_store_n(link, g->schedlink, __ATOMIC_RELAXED); /* as in gfree_push() */
	if (list->tail == g)
		list->tail = prev;
	sched.gfree_single -= single_bytes(g);
	if (--sched.gfree_count < sched.gfree_low)
		sched.gfree_low = sched.gfree_count;
}

/* sched.lock held. */
static void gfree_push(struct g *g) {
	struct gfree *list = gfree_for(&g->stack);
	g->schedlink = list->head;
	if (!list->head)
		list->tail = g;
	__atomic_store_n(&list->head, g, __ATOMIC_RELAXED); /* gfree_get() peeks */
	sched.gfree_count++;
	sched.gfree_single += single_bytes(g);
}

void gfree_surrender(struct p *p) {
	struct g *oldest = NULL;
	for (struct g *g; (g = p->gfree);) {
		p->gfree = g->schedlink;
		g->schedlink = oldest;
		oldest = g;
	}
	for (struct g *g; (g = oldest);) { /* who died last has the warmest stack */
		oldest = g->schedlink;
		gfree_push(g);
	}
	p->gfree_count = 0;
}

/* A dead G whose stack fits: the P's list, then the global one. Looks at a few only. */
static struct g *gfree_get(struct g *self, const struct g_stack_req *req) {
	struct p *p = self->m ? self->m->p : NULL;
	struct g *g = NULL;
	if (p) {
		struct g **link = &p->gfree;
		for (int i = 0; i < 4 && *link; i++, link = &(*link)->schedlink) {
			if (gfree_fits(*link, req)) {
				g = *link;
				*link = g->schedlink;
				p->gfree_count--;
				return g;
			}
		}
	}
	struct gfree *list = gfree_of(req->size, req->guard);
	if (!__atomic_load_n(&list->head, __ATOMIC_RELAXED)) /* a hint */
		return NULL;
	lock_acquire(&sched.lock, LOCK_SCHED);
	list = gfree_of(req->size, req->guard);
	struct g **link = &list->head, *prev = NULL;
	for (int i = 0; i < 8 && *link; i++, prev = *link, link = &prev->schedlink) {
		if (gfree_fits(*link, req)) {
			g = *link;
			gfree_unlink(list, link, prev);
			break;
		}
	}
	lock_release(&sched.lock);
	return g;
}

/* In the order of the program, for whoever forks meanwhile: a G that has a TCB by this has a whole one, and its stack. */
static void ctx_tp_set(struct g *g, uintptr_t tcb) {
	atomic_thread_fence(memory_order_release);
	__atomic_store_n(&g->ctx.tp, tcb, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_release);
}

void g_wait_off_cpu(struct g *g) {
	for (unsigned i = 0; atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire); i++) {
		if (i < 1000)
			arch_relax();
		else
			kernel_yield(i - 1000); /* its M lost the CPU in the few instructions before the store */
	}
}

/* Gives back the stack and TCB of a long dead G. */
static void g_strip(struct g *g) {
	uintptr_t tcb = g->ctx.tp;
	ctx_tp_set(g, 0); /* as in g_new() */
	if (g->orphan)
		tcb_orphan(tcb);
	tcb_free(tcb);
	stack_release(&g->stack);
	shell_put(g);
}

/* Dead Gs that somebody has taken from the global list, to give back what they have: it is not there yet for who needs it. */
static _Atomic uint32_t gfree_in_hand;

/* The first of a global list, if nothing runs on it any more; `fat`: that has not been trimmed. Of the mixed one first: there they are hard to find. The caller ends with
 * gfree_done(). */
static struct g *gfree_pop(bool fat) {
	for (uint32_t i = GFREE_SIZES + 1; i-- > 0;) {
		struct gfree *list = &sched.gfree[i];
		struct g *g = list->head;
		if (!g || (fat && g->lean) || atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire))
			continue;
		gfree_unlink(list, &list->head, NULL);
		/* relaxed: sched.lock is held, as by who finds the lists empty */
		atomic_fetch_add_explicit(&gfree_in_hand, 1, memory_order_relaxed);
		return g;
	}
	return NULL;
}

/* release: who finds none in hand finds what they had */
static void gfree_done(void) {
	atomic_fetch_sub_explicit(&gfree_in_hand, 1, memory_order_release);
}

static void gfree_strip(struct g *g) {
	g_strip(g);
	gfree_done();
}

/* One of a global list, if the address space of those there is more than so much. Waits a little for one that is on its way out. */
static struct g *gfree_take_over(size_t bytes) {
	struct g *held = rt_hold(), *g = NULL;
	bool more = true;
	for (int i = 0; !g && more && i < TAKE_TRIES; i++) {
		if (i)
			SYS0(SYS_sched_yield);
		lock_acquire(&sched.lock, LOCK_SCHED);
		more = sched.gfree_count && (bytes == 0 || sched.gfree_single > bytes);
		if (more)
			g = gfree_pop(false);
		lock_release(&sched.lock);
	}
	rt_drop(held);
	return g;
}

/* All dead Gs give back what they have; but for those of other busy Ps. */
static void gfree_strip_all(struct g *self) {
	rt_enter(self);
	lock_acquire(&sched.lock, LOCK_SCHED);
	if (self->m && self->m->p)
		gfree_surrender(self->m->p);
	lock_release(&sched.lock);
	rt_exit(self);
	/* relaxed: sooner or later */
	atomic_fetch_add_explicit(&sched.gfree_round, 1, memory_order_relaxed);
	for (struct g *g; (g = gfree_take_over(0));)
		gfree_strip(g);
}

/* Is one in a global list; `fat`, with sched.lock held: that has not been trimmed? */
static bool gfree_any(bool fat) {
	for (uint32_t i = 0; i <= GFREE_SIZES; i++) {
		const struct g *g = __atomic_load_n(&sched.gfree[i].head, __ATOMIC_RELAXED);
		if (g && !(fat && g->lean))
			return true;
	}
	return false;
}

/* Others may give back what dead Gs keep: Ps when they fall idle, who is on its way out, and who is at it. Looked at again and again; acquire: as said at gfree_done(). */
static bool gfree_elsewhere(void) {
	return atomic_load_explicit(&gfree_in_hand, memory_order_acquire) || atomic_load_explicit(&sched.idle_p_count, memory_order_relaxed) + 1 < sched.procs || gfree_any(false);
}

/* Refused: what dead Gs and slabs of other sizes keep of a limited address space may do (MEM-6). Who has been joined is gone for the program: so it waits a little
 * for what an M that lacks a CPU has of them. */
static bool stack_get(struct g *self, const struct g_stack_req *req, struct stack *out) {
	if (stack_alloc(req->size, req->guard, out) == 0)
		return true;
	if (!stack_reserve_is_costly())
		return false;
	for (int i = 0;; i++) {
		gfree_strip_all(self);
		stack_reserve_drop();
		if (stack_alloc(req->size, req->guard, out) == 0)
			return true;
		if (i >= STRIP_TRIES || !gfree_elsewhere())
			return false;
		futex_nap(STRIP_NAP_NS, "the stacks of ended threads");
	}
}

/* The TCB on a new stack. Of one that the program brought every byte is accounted for. */
static uintptr_t tcb_place(struct g *g, const struct g_stack_req *req, void **stack_top) {
	if (req->user_lo)
		return tcb_make(g->stack.hi, 0, g, stack_top);
	size_t head = (size_t)(g->stack.hi - g->stack.lo) < TCB_CUT_LEAST ? 0 : tcb_head(req->uses_keys);
	if (!head) {
		stack_populate(g->stack.hi, tcb_bytes() + FRAMES_USUAL);
		return tcb_make(g->stack.hi - stack_colour(&g->stack), 0, g, stack_top);
	}
	/* Many need no more than the page that tcb_make() touches. */
	return tcb_make(g->stack.hi, head + stack_colour(&g->stack) % COLOUR_CUT, g, stack_top);
}

struct g *g_new(const struct g_stack_req *req, void (*entry)(struct g *), int *err) {
	struct g *self = g_self();
	void *stack_top;
	struct g *g = NULL;
	bool reused = false;
	if (!req->user_lo) {
		rt_enter(self);
		g = gfree_get(self, req);
		rt_exit(self);
	}
	if (g) {
		number_give(g, self);
		reused = true;
		uintptr_t tcb = g->ctx.tp;
		ctx_tp_set(g, 0); /* a fork's child must not find it half done */
		if (g->orphan)
			tcb_orphan(tcb);
		tcb_reuse(tcb, g, g->orphan);
		ctx_tp_set(g, tcb);
		stack_top = g->stack_top;
	} else {
		g = shell_get();
		*err = -EAGAIN;
		if (!g)
			return NULL;
		number_give(g, self);
		struct stack stack = {0};
		if (req->user_lo) {
			stack.lo = req->user_lo;
			stack.hi = stack.lo + req->size;
		} else if (!stack_get(self, req, &stack)) {
			shell_put(g);
			return NULL;
		}
		stack.size = req->size;
		stack_set(&g->stack, stack);
		uintptr_t tcb = tcb_place(g, req, &stack_top);
		if (!tcb) {
			stack_release(&g->stack);
			shell_put(g);
			return NULL;
		}
		__atomic_store_n(&g->stack_top, stack_top, __ATOMIC_RELAXED); /* as the stack's ends */
		ctx_tp_set(g, tcb);
	}
	if (reused || req->user_lo)
		ASAN_STACK_UNUSED(&g->stack);
	g_reset(g, G_GOROUTINE);
	ancestors_take(g, self);
	g->entry = entry;
	if (self->kind == G_FOREIGN)
		SYS4(SYS_rt_sigprocmask, 0, 0, &self->sigmask, 8);
	__atomic_store_n(&g->sigmask, self->sigmask, __ATOMIC_RELAXED);
	arch_ctx_init(&g->ctx, stack_top, g_start, g);
	atomic_fetch_add_explicit(&sched.g_live, 1, memory_order_relaxed);
	rt_enter(self);
	_Atomic uint64_t *stat = self->m && self->m->p ? self->m->p->stat : NULL;
	stat_count(stat, STAT_G_CREATED, 1);
	if (reused)
		stat_count(stat, STAT_G_REUSED, 1);
	rt_exit(self);
	return g;
}

static uint32_t gfree_max_find(void) {
	struct sysinfo info;
	uint64_t bytes = GFREE_BYTES_MAX, each = GFREE_DEPTH + tcb_bytes() + 4096 /* its page table */;
	if (SYS1(SYS_sysinfo, &info) == 0 && (uint64_t)info.totalram * info.mem_unit / GFREE_SHARE < bytes)
		bytes = (uint64_t)info.totalram * info.mem_unit / GFREE_SHARE;
	return (uint32_t)(bytes / each) + GFREE_LEAST;
}

/* Out of the global list, if it is full. */
static struct g *gfree_overflow(void) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	if (!gfree_max)
		gfree_max = gfree_max_find();
	struct g *g = sched.gfree_count >= gfree_max ? gfree_pop(false) : NULL;
	lock_release(&sched.lock);
	return g;
}

static void gfree_put(struct p *p, struct g *g) {
	/* relaxed: sooner or later */
	uint32_t round = atomic_load_explicit(&sched.gfree_round, memory_order_relaxed);
	bool stays = p && p->gfree_count < GFREE_MAX && p->gfree_round == round && !stack_is_single(&g->stack);
	if (stays) {
		g->schedlink = p->gfree;
		p->gfree = g;
		p->gfree_count++;
		return;
	}
	lock_acquire(&sched.lock, LOCK_SCHED);
	if (p && p->gfree_round != round) {
		gfree_surrender(p);
		p->gfree_round = round;
	}
	gfree_push(g);
	lock_release(&sched.lock);
}

/* ---- what nobody needs --------------------------------------------------------------------------------------------- */

void gfree_spare(bool all) {
	atomic_fetch_add_explicit(&sched.gfree_round, 1, memory_order_relaxed);
	lock_acquire(&sched.lock, LOCK_SCHED);
	uint32_t unused = all ? sched.gfree_count : sched.gfree_low;
	sched.gfree_low = sched.gfree_count;
	unused = unused > GFREE_LEAST ? unused - GFREE_LEAST : 0;
	sched.gfree_strip = all ? unused : (unused + 1) / 2;
	bool work = sched.gfree_strip || gfree_any(true);
	lock_release(&sched.lock);
	if (work)
		maker_chore();
}

/* A few of those that have not been trimmed, linked. They are nobody's meanwhile. */
static struct g *fat_take(void) {
	struct g *list = NULL, *g;
	lock_acquire(&sched.lock, LOCK_SCHED);
	for (uint32_t i = 0; i < GFREE_BATCH && (g = gfree_pop(true)); i++) {
		g->schedlink = list;
		list = g;
	}
	lock_release(&sched.lock);
	return list;
}

/* At the end of its list, so that lean ones stay behind fat ones. */
static void lean_put(struct g *g) {
	lock_acquire(&sched.lock, LOCK_SCHED);
	g->lean = true;
	g->schedlink = NULL;
	struct gfree *list = gfree_for(&g->stack);
	if (list->head)
		list->tail->schedlink = g;
	else
		__atomic_store_n(&list->head, g, __ATOMIC_RELAXED);
	list->tail = g;
	sched.gfree_count++;
	sched.gfree_single += single_bytes(g);
	lock_release(&sched.lock);
}

static bool strip_some(void) {
	for (uint32_t i = 0; i < GFREE_BATCH; i++) {
		lock_acquire(&sched.lock, LOCK_SCHED);
		struct g *g = sched.gfree_strip ? gfree_pop(false) : NULL;
		if (g)
			sched.gfree_strip--;
		else
			sched.gfree_strip = 0; /* used after all */
		lock_release(&sched.lock);
		if (!g)
			return i != 0;
		gfree_strip(g);
	}
	return true;
}

bool gfree_give_back(void) {
	if (strip_some())
		return true;
	struct g *next, *list = fat_take();
	for (struct g *g = list; g; g = next) {
		next = g->schedlink;
		stack_trim(&g->stack, (char *)g->stack_top - GFREE_DEPTH);
		lean_put(g);
		gfree_done();
	}
	return list != NULL;
}

/* Before g joins the dead ones. Is it too large for them by itself, and another's to strip? */
static bool single_room(struct g *g, const struct g *self) {
	size_t bytes = single_bytes(g);
	if (bytes > GFREE_SINGLE_MAX && g != self)
		return false;
	for (struct g *other; (other = gfree_take_over(bytes < GFREE_SINGLE_MAX ? GFREE_SINGLE_MAX - bytes : 1));)
		gfree_strip(other);
	return true;
}

void g_free(struct g *g) {
	struct g *self = g_self();
	bool bare = g->ctx.tp == 0 || !g->stack.slab; /* a stack of the program's: its TCB is freed by thread exit */
	if (!bare && stack_is_single(&g->stack) && !single_room(g, self)) {
		g_wait_off_cpu(g);
		g_strip(g);
		return;
	}
	rt_enter(self);
	struct p *p = self->m ? self->m->p : NULL;
	/* Room first: stripping calls the program's free, which may park, and a G that is in a list already must not. */
	struct g *strip = !bare && !(p && p->gfree_count < GFREE_MAX) ? gfree_overflow() : NULL;
	if (strip) {
		rt_exit(self);
		gfree_strip(strip);
		rt_enter(self);
		p = self->m ? self->m->p : NULL;
	}
	if (bare)
		shell_put(g);
	else
		gfree_put(p, g);
	if (g != self)
		rt_exit(self);
	/* else: it stays inside until g_exit(). It is in a list already: were it switched out, it would be given a new life. */
}

/* ---- fork's child ---------------------------------------------------------------------------------------------------- */

/* In a child of a process whose runtime had not started. A kernel thread that is not there may have been taking a shell, or giving one back: what is shared is lost, and who forked
 * keeps his own. */
void g_shells_fork_child(void) {
	if (!atomic_load_explicit(&sched.lock.word, memory_order_relaxed))
		return;
	atomic_store_explicit(&sched.lock.word, 0, memory_order_relaxed);
	sched.gshell = NULL;
	slab_left = 0;
}

/* The Gs of the parent, in two lists: self stood between them. */
static struct g *orphans[2];

void g_fork_child(struct g *self, struct g *all) {
	slab_left = 0;
	tid_lock.word = 0;
	atomic_store_explicit(&gfree_in_hand, 0, memory_order_relaxed);
	orphans[0] = all;
	orphans[1] = NULL;
	if (self) {
		orphans[1] = self->all_next;
		self->all_next = NULL;
		atomic_store_explicit(&sched.all_g, self, memory_order_relaxed);
	}
}

/* Nobody else is there. */
static void orphan_take(struct g *g) {
	struct stack stack = g->stack;
	uintptr_t tcb = g->kind <= G_MAIN && stack.slab ? g->ctx.tp : 0;
	void *top = g->stack_top;
	bool cut = g->tcb_cut;
	memset(g, 0, sizeof *g);
	g->all_next = atomic_load_explicit(&sched.all_g, memory_order_relaxed);
	atomic_store_explicit(&sched.all_g, g, memory_order_relaxed);
	if (tcb) {
		g->stack = stack;
		g->stack_top = top;
		g->ctx.tp = tcb;
		g->tcb_cut = cut;
		g->orphan = true;
		atomic_store_explicit(&g->state, GS_DEAD, memory_order_relaxed);
		gfree_push(g);
	} else { /* what it may have been about to get is lost */
		g->schedlink = sched.gshell;
		sched.gshell = g;
	}
}

/* When the child makes a thread, and no sooner: most never do, and what lies on the stacks of those that did not come along is the program's to read until
 * then, as natively. Then they serve new threads. */
void g_adopt_orphans(void) {
	for (int i = 0; i < 2; i++) {
		struct g *next;
		for (struct g *g = orphans[i]; g; g = next) {
			next = g->all_next;
			if (g != tls_g)
				orphan_take(g);
		}
		orphans[i] = NULL;
	}
}
