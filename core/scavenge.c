/* Gives back memory that nobody uses any more: called by sysmon at a slow pace.
 *
 * Two kinds. Dead Gs keep their stacks and identities for the next ones (g.c). Each second half of those that nobody needed since the last
 * look are stripped, and what the others have touched deep down in their stacks is given back; once no P has worked for DEAD_IDLE_NS, all but a
 * few are stripped. It is the maker that does it (m.c), because it calls the program's free().
 *
 * Parked Gs that were deep once keep the pages below their stack pointer. Who has been parked for sched_config.trim_ns gives them back, if they are
 * TRIM_LEAST and more. That is looked at once in a wait, WALK_BATCH Gs at a time, all of them when the process falls idle.
 *
 * The G must not run meanwhile. Who picks a G waits for ctx.on_cpu to be 0 (sched.c), so sysmon takes a parked one out of the game by
 * setting it to ON_CPU_HELD:
 *     CAS on_cpu 0 -> HELD ; RMW of wake that leaves it armed ; on_cpu still HELD?
 * The RMW (acq_rel) and a waker's claim (acq_rel, too) are in one order. A claim that comes after it makes its waker, and whoever gets the G from it,
 * see HELD, and wait. A claim that came before it leaves a word that is not armed. Could it be armed again because G was woken, picked and parked once
 * more in between? Whoever picked it then stored 1 over HELD before G could arm, and the third step sees that: on_cpu is not HELD any more
 * (the undo is a CAS for the same reason). No fence and no test is added to any switch.
 *
 * What is below the stack pointer is dead by the ABI, but for one thing: the pointer may be on a stack that the program keeps *within* this one, an
 * array in some frame that is an alternate signal stack or a coroutine's. Then live frames lie below it. So the frames are followed (unwind.c), and
 * only if they lead straight up to where the thread began is anything given back. Not found out that way: coroutines that are carved out of the
 * stack by recursion and entered by longjmp() downwards, which C forbids; GOSHIM=trim=0 is for them.
 *
 * No lock is held, nothing is allocated; the look before the hold is racy and only saves work. */
#include "dump.h"
#include "runtime.h"
#include "stack.h"

#define ON_CPU_HELD 2u
#define DEAD_NS 1000000000        /* between two looks at the dead Gs */
#define DEAD_IDLE_NS 5000000000   /* no P has worked for so long: nobody will need them soon */
#define WALK_NS 10000000          /* between two batches of parked ones */
#define WALK_BATCH 256u
#define TRIM_LEAST (128ul << 10)  /* less than that is not worth the refaults */
#define TRIM_WINDOW 16u           /* pages beyond TRIM_LEAST that tell whether the stack was that deep */
#define FRAMES_MAX 256u
#define PAGE 4096ul

static struct g *cursor;          /* where the walk goes on; NULL: it is through */

/* ---- is there anything to give back? --------------------------------------------------------------------------- */

static bool was_deep(const struct g *g, uintptr_t sp) {
	unsigned char resident[TRIM_WINDOW];
	uintptr_t lo = (uintptr_t)__atomic_load_n(&g->stack.lo, __ATOMIC_RELAXED), hi = (uintptr_t)__atomic_load_n(&g->stack.hi, __ATOMIC_RELAXED);
	uintptr_t edge = sp & ~(PAGE - 1);
	if (sp < lo || sp > hi || edge - lo < TRIM_LEAST + sizeof resident * PAGE)
		return false;
	if (SYS3(SYS_mincore, edge - TRIM_LEAST - sizeof resident * PAGE, sizeof resident * PAGE, resident) != 0)
		return false;
	for (uint32_t i = 0; i < TRIM_WINDOW; i++) {
		if (resident[i] & 1)
			return true;
	}
	return false;
}

/* Do the frames lead from sp straight up to the thread's first one? */
static bool frames_ascend(struct g *g, uintptr_t sp) {
	struct unwind_frame f;
	if (!dump_parked(g, &f) || f.reg[ARCH_DWARF_SP] < sp)
		return false;
	struct unwind_cache *cache = unwind_cache_get();
	uint64_t at = f.reg[ARCH_DWARF_SP];
	bool ascends = true;
	for (uint32_t n = 0; ascends && unwind_step(&f, cache); n++) {
		ascends = n < FRAMES_MAX && f.reg[ARCH_DWARF_SP] >= at;
		at = f.reg[ARCH_DWARF_SP];
	}
	unwind_cache_put(cache);
	uintptr_t top = (uintptr_t)__atomic_load_n(&g->stack_top, __ATOMIC_RELAXED);
	return ascends && at <= top && top - at <= 64; /* arch_ctx_init() begins there */
}

/* ---- the hold ---------------------------------------------------------------------------------------------------- */

static void unhold(struct g *g) {
	uint32_t held = ON_CPU_HELD;
	/* release: what was done to the stack comes before it is used again. If it is not HELD, somebody runs g and it is none of ours. */
	atomic_compare_exchange_strong_explicit(&g->ctx.on_cpu, &held, 0, memory_order_release, memory_order_relaxed);
}

/* The orders: see the top. */
static bool hold(struct g *g) {
	uint32_t off = 0, armed = atomic_load_explicit(&g->wake, memory_order_relaxed);
	if (armed != WAKE_ARMED && armed != WAKE_ARMED_INTR)
		return false;
	/* acquire: pairs with arch_switch's store; its registers are saved */
	if (!atomic_compare_exchange_strong_explicit(&g->ctx.on_cpu, &off, ON_CPU_HELD, memory_order_acquire, memory_order_relaxed))
		return false;
	if (atomic_compare_exchange_strong_explicit(&g->wake, &armed, armed, memory_order_acq_rel, memory_order_relaxed) &&
	    atomic_load_explicit(&g->ctx.on_cpu, memory_order_relaxed) == ON_CPU_HELD)
		return true;
	unhold(g);
	return false;
}

static void look_at(struct g *g, int64_t now) {
	int64_t since = __atomic_load_n(&g->wait_since, __ATOMIC_RELAXED);
	if (__atomic_load_n(&g->kind, __ATOMIC_RELAXED) != G_GOROUTINE || g->state != GS_WAITING || !__atomic_load_n(&g->stack.slab, __ATOMIC_RELAXED) ||
	    g->trim_seen == since || now - since < sched_config.trim_ns)
		return;
	uintptr_t sp = (uintptr_t)__atomic_load_n(&g->ctx.sp, __ATOMIC_RELAXED);
	if (!was_deep(g, sp)) {
		g->trim_seen = since;
		return;
	}
	bool plain = frames_ascend(g, sp);
	if (!hold(g))
		return;
	/* Still in the wait that was looked at? A later one would have a later beginning: coarse_now was set before this walk. */
	if (__atomic_load_n(&g->wait_since, __ATOMIC_RELAXED) == since && (uintptr_t)g->ctx.sp == sp) {
		g->trim_seen = since;
		if (plain) {
			stack_trim(&g->stack, (void *)sp);
			stat_count(NULL, STAT_STACK_TRIMMED, 1);
		}
	}
	unhold(g);
}

static void walk(int64_t now, uint32_t n) {
	for (; cursor && n; n--, cursor = cursor->all_next)
		look_at(cursor, now);
}

/* ---- when ------------------------------------------------------------------------------------------------------------ */

/* The times are kept over changes of `idle`: a process that wakes up ten times a second would put everything off for ever. */
int64_t scavenge(int64_t now, bool idle) {
	static int64_t dead_at, walk_at, walk_began, idle_since;
	int64_t trim = sched_config.trim_ns ? sched_config.trim_ns : INT64_MAX - now;
	if (!idle)
		idle_since = 0;
	else if (!idle_since)
		idle_since = now;
	if (!dead_at || (!idle && dead_at == INT64_MAX))
		dead_at = now + DEAD_NS;
	if (!walk_at || (!idle && walk_at == INT64_MAX))
		walk_at = now + trim;
	if (now >= dead_at) {
		bool unneeded = idle && now - idle_since >= DEAD_IDLE_NS;
		gfree_spare(unneeded);
		dead_at = unneeded ? INT64_MAX : now + DEAD_NS;
	}
	if (now >= walk_at) {
		if (!cursor) {
			cursor = g_all();
			walk_began = now;
		}
		walk(now, WALK_BATCH);
		if (cursor)
			walk_at = idle ? now : now + WALK_NS;
		else
			walk_at = idle && walk_began - idle_since >= trim ? INT64_MAX : now + trim; /* nobody has parked since */
	}
	return dead_at < walk_at ? dead_at : walk_at;
}
