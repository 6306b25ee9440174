/* Reports: what every goroutine does, what it waits on, who holds that, where it is.
 *
 * Written by a thread that stops nobody, for people who look at a program that does not do what it should. So:
 *   - no lock is taken: whoever holds it may be what is wrong. Gs and Ms are type-stable and linked once, so the lists can always be walked;
 *     what is read of them may be a moment old, and a goroutine may be shown half before and half after a switch.
 *   - nothing is allocated; stacks and the program's objects are read by peek(), which cannot fault.
 *   - names, owners: from the shims, by hooks. The core knows no mutex.
 *
 * A parked goroutine's registers lie where arch_switch() left them. One that sits in a system call can be followed from what
 * /proc/self/task/TID/syscall says. One that computes is only named; stopping it would need a signal, which the program could notice.
 *
 * "for 1.5 s": wait_begin() notes sched.coarse_now, which sysmon keeps at most a few milliseconds old; a clock read in every wait would cost more
 * than the wait's other bookkeeping.
 *
 * A goroutine that waits for a mutex in the kernel (robust ones, and those shared with other processes) says so in wait_what, too. It is believed if its
 * kernel thread is in that futex now: whoever left the wait by longjmp() has not taken it back.
 *
 * Pinned. A goroutine that blocks its kernel thread in a call nobody bracketed loses its P to sysmon and keeps the thread: `pinned_since` says since
 * when. */
#include "dump.h"
#include "futex.h"
#include "kernel_call.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "runtime.h"

#define FRAMES_MAX 64
#define OWNERS 512 /* remembered answers of dump_find() */
#define CYCLE_MAX 1024 /* threads in one deadlock; a longer chain is not followed to its end */
#define CYCLES_MAX 32
#define SETTLE_NS 20000000

const char *(*dump_name_hook)(struct g *g);
bool (*dump_owner_hook)(struct g *g, const char *what, uintptr_t on, int32_t *tid);
const char *(*dump_lost_hook)(int32_t tid);

/* ---- finding --------------------------------------------------------------------------------------------------------- */

static bool is_live(struct g *g) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	return g->kind <= G_MAIN && state != GS_IDLE && state != GS_DEAD;
}

struct g *dump_find(int32_t tid) {
	for (struct g *g = g_all(); g; g = g->all_next) {
		if (g->tid == tid && is_live(g))
			return g;
	}
	return NULL;
}

struct g *dump_find_id(uint32_t id) {
	for (struct g *g = g_all(); g; g = g->all_next) {
		if ((g->id == id || (uint32_t)g->tid == id) && is_live(g))
			return g;
	}
	return NULL;
}

/* A thousand threads that wait for one mutex ask for one owner. Racy on purpose: what is found is looked at again. */
static struct g *find_cached(int32_t tid) {
	static _Atomic(struct g *) owner[OWNERS];
	_Atomic(struct g *) *slot = &owner[(uint32_t)tid % OWNERS];
	struct g *g = atomic_load_explicit(slot, memory_order_relaxed);
	if (g && g->tid == tid && is_live(g))
		return g;
	g = dump_find(tid);
	if (g)
		atomic_store_explicit(slot, g, memory_order_relaxed);
	return g;
}

static struct p *p_of(struct m *m) {
	for (uint32_t i = 0; i < GOMAXPROCS_MAX; i++) {
		struct p *p = sched.all_p[i];
		if (p && atomic_load_explicit(&p->m, memory_order_relaxed) == m)
			return p;
	}
	return NULL;
}

static struct m *m_of(struct g *g) {
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		if (atomic_load_explicit(&m->curg, memory_order_acquire) == g)
			return m;
	}
	return NULL;
}

void dump_who(struct text *t, struct g *g) {
	const char *name = dump_name_hook ? dump_name_hook(g) : NULL;
	text_str(t, "goroutine ");
	text_dec(t, g->id);
	if (name && *name) {
		text_str(t, " \"");
		text_name(t, name, 16);
		text_str(t, "\"");
	}
}

/* ---- backtraces -------------------------------------------------------------------------------------------------------- */

static void frame_put(struct text *t, unsigned n, uint64_t pc, bool exact) {
	struct unwind_object object;
	char name[128];
	text_str(t, "    #");
	text_dec(t, n);
	text_str(t, n < 10 ? "  " : " ");
	text_hex(t, pc);
	/* A return address belongs to the call before it. */
	if (unwind_object_hook && unwind_object_hook(pc - !exact, &object)) {
		text_str(t, " ");
		/* The end of the name may lie on a page that does not exist: byte by byte if need be. */
		size_t n_read = sizeof name;
		while (n_read && !peek(name, object.name, n_read))
			n_read /= 2;
		if (n_read) {
			name[n_read - 1] = '\0';
			text_name(t, *name ? name : "/proc/self/exe", sizeof name);
		}
		text_str(t, "+");
		text_hex(t, pc - object.base);
	}
	text_str(t, "\n");
}

void dump_frames(struct text *t, struct unwind_frame *f, struct unwind_cache *cache) {
	for (unsigned n = 0; n < FRAMES_MAX; n++) {
		frame_put(t, n, unwind_pc(f), f->interrupted);
		if (!unwind_step(f, cache))
			return;
	}
	text_str(t, "    ...\n");
}

bool dump_parked(struct g *g, struct unwind_frame *f) {
	unsigned char frame[ARCH_FRAME_BYTES];
	*f = (struct unwind_frame){.known = 0};
	if (atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire))
		return false;
	uintptr_t sp = (uintptr_t)__atomic_load_n(&g->ctx.sp, __ATOMIC_RELAXED);
	if (!sp || !peek(frame, sp, sizeof frame))
		return false;
	arch_ctx_regs(sp, frame, f->reg, &f->known);
	return atomic_load_explicit(&g->ctx.on_cpu, memory_order_acquire) == 0 &&
	       (uintptr_t)__atomic_load_n(&g->ctx.sp, __ATOMIC_RELAXED) == sp;
}

/* ---- kernel threads -------------------------------------------------------------------------------------------------------- */

/* The client knows the names of the numbers. */
static void kernel_call_put(struct text *t, const struct kernel_call *c) {
	if (!c->known)
		return;
	if (c->running) {
		text_str(t, ", on a CPU");
	} else if (c->number < 0) {
		text_str(t, ", in the kernel");
	} else {
		text_str(t, ", in system call ");
		text_dec(t, c->number);
		text_str(t, " (");
		text_hex(t, c->arg0);
		text_str(t, ")");
	}
}

/* Since when m runs g without a switch; 0: not known. */
static int64_t stuck_since(struct m *m, struct p *p, struct g *g) {
	if (!p)
		return __atomic_load_n(&m->pinned_g, __ATOMIC_RELAXED) == g
			       ? atomic_load_explicit(&m->pinned_since, memory_order_relaxed)
			       : 0;
	return p->mon_tick == (uint32_t)atomic_load_explicit(&p->schedtick, memory_order_relaxed) ? atomic_load_explicit(&p->mon_since, memory_order_relaxed) : 0;
}

uint32_t dump_pinned_count(void) {
	uint32_t n = 0;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next)
		n += m->ktid && atomic_load_explicit(&m->curg, memory_order_relaxed) && !p_of(m);
	return n;
}

static void thread_put(struct text *t, struct m *m, int64_t now) {
	struct g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
	struct p *p = p_of(m);
	text_str(t, "kernel thread ");
	text_dec(t, m->ktid);
	text_str(t, ": ");
	if (p) {
		text_str(t, "P ");
		text_dec(t, p->id);
		text_str(t, ", ");
	}
	if (!g) {
		text_str(t, p ? m->spinning ? "looks for work" : "in the scheduler" : "idle");
		text_str(t, "\n");
		return;
	}
	dump_who(t, g);
	struct kernel_call c = kernel_call_of(m->ktid);
	kernel_call_put(t, &c);
	int64_t since = stuck_since(m, p, g);
	if (!p)
		text_str(t, ", pinned");
	if (since && since < now) {
		text_str(t, " for ");
		text_time(t, now - since);
	}
	text_str(t, "\n");
}

void dump_threads(struct text *t) {
	int64_t now = nanotime();
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		if (atomic_load_explicit(&m->ktid, memory_order_relaxed))
			thread_put(t, m, now);
	}
}

/* ---- goroutines ----------------------------------------------------------------------------------------------------------- */

/* What a waiting goroutine waits for, as read at one time. */
struct wait_info {
	const char *what;
	uintptr_t on;
	int64_t since;
	bool timed;
	int64_t until; /* 0: not known */
	bool parked; /* false: in the kernel */
};

static bool waits_in_kernel(struct g *g, uintptr_t on) {
	struct m *m = m_of(g);
	struct kernel_call c = {.known = false};
	if (m)
		c = kernel_call_of(m->ktid);
	return c.known && !c.running && c.number == SYS_futex && c.arg0 == on;
}

static bool wait_of(struct g *g, struct wait_info *w) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	w->what = __atomic_load_n(&g->wait_what, __ATOMIC_RELAXED);
	w->on = __atomic_load_n(&g->wait_on, __ATOMIC_RELAXED);
	w->since = __atomic_load_n(&g->wait_since, __ATOMIC_RELAXED);
	w->until = __atomic_load_n(&g->timer.index, __ATOMIC_RELAXED) ? __atomic_load_n(&g->timer.when, __ATOMIC_RELAXED) : 0;
	w->timed = w->until || w->what == futex_what_mutex_timed;
	w->parked = atomic_load_explicit(&g->state, memory_order_acquire) == GS_WAITING;
	return w->what && (w->parked || (state == GS_RUNNING && waits_in_kernel(g, w->on)));
}

static bool waits_on_descriptor(const char *what) {
	return what[0] == 'f' && what[1] == 'd' && what[2] == ' ';
}

static void owner_put(struct text *t, struct g *g, const struct wait_info *w) {
	int32_t tid;
	if (!dump_owner_hook || !dump_owner_hook(g, w->what, w->on, &tid))
		return;
	struct g *owner = find_cached(tid);
	text_str(t, ", ");
	if (owner) {
		text_str(t, strcmp(w->what, "join") == 0 ? "for " : "held by ");
		dump_who(t, owner);
	} else {
		const char *lost = dump_lost_hook ? dump_lost_hook(tid) : NULL;
		text_str(t, "held by thread ");
		text_dec(t, tid);
		text_str(t, lost ? ", " : ", which has ended");
		text_str(t, lost ? lost : "");
	}
}

static void wait_put(struct text *t, struct g *g, const struct wait_info *w, int64_t now) {
	text_str(t, "waits: ");
	text_str(t, w->what);
	if (waits_on_descriptor(w->what)) {
		text_str(t, " of descriptor ");
		text_dec(t, (int64_t)w->on);
	} else if (w->on) {
		text_str(t, " ");
		text_hex(t, w->on);
	}
	owner_put(t, g, w);
	if (w->since) {
		text_str(t, ", for ");
		text_time(t, now - w->since);
	}
	if (w->timed && !w->until) {
		text_str(t, ", with a time limit");
	} else if (w->timed) {
		text_str(t, ", at most ");
		text_time(t, w->until - now);
		text_str(t, " more");
	}
}

static void stack_put(struct text *t, struct g *g, uint64_t sp) {
	uintptr_t lo = (uintptr_t)__atomic_load_n(&g->stack.lo, __ATOMIC_RELAXED),
		  hi = (uintptr_t)__atomic_load_n(&g->stack.hi, __ATOMIC_RELAXED);
	if (!lo || hi <= lo)
		return;
	text_str(t, "    stack ");
	text_hex(t, lo);
	text_str(t, "-");
	text_hex(t, hi);
	if (sp >= lo && sp < hi) {
		text_str(t, ", ");
		text_size(t, hi - sp);
		text_str(t, " in use of ");
		text_size(t, hi - lo);
	}
	text_str(t, "\n");
}

static void running_put(struct text *t, struct g *g, struct unwind_frame *f) {
	struct m *m = m_of(g);
	text_str(t, "runs");
	if (!m)
		return;
	struct kernel_call c = kernel_call_of(m->ktid);
	struct p *p = p_of(m);
	text_str(t, " on kernel thread ");
	text_dec(t, m->ktid);
	if (p) {
		text_str(t, ", P ");
		text_dec(t, p->id);
	}
	kernel_call_put(t, &c);
	int64_t since = stuck_since(m, p, g), now = nanotime();
	if (since && since < now) {
		text_str(t, ", for ");
		text_time(t, now - since);
	}
	if (c.pc && m_of(g) == m) {
		f->reg[ARCH_DWARF_PC] = c.pc;
		f->reg[ARCH_DWARF_SP] = c.sp;
		f->known = 1ull << ARCH_DWARF_PC | 1ull << ARCH_DWARF_SP;
		f->interrupted = true; /* behind the syscall instruction is still the same function */
	}
}

static void goroutine_put(struct text *t, struct g *g, struct unwind_cache *cache) {
	struct unwind_frame f = {.known = 0};
	struct wait_info w;
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	dump_who(t, g);
	text_str(t, ": ");
	bool waits = wait_of(g, &w);
	if (waits && w.parked) {
		wait_put(t, g, &w, nanotime());
		dump_parked(g, &f);
	} else if (state == GS_RUNNABLE) {
		text_str(t, "is ready to run");
		dump_parked(g, &f);
	} else {
		running_put(t, g, &f);
		if (waits) {
			text_str(t, ", ");
			wait_put(t, g, &w, nanotime());
		}
	}
	text_str(t, " [thread ");
	text_dec(t, g->tid);
	if (g->ancestor[0]) {
		text_str(t, ", made by goroutine ");
		text_dec(t, g->ancestor[0]);
	}
	if (g->wired_m)
		text_str(t, ", wired");
	text_str(t, "]\n");
	stack_put(t, g, f.known >> ARCH_DWARF_SP & 1 ? f.reg[ARCH_DWARF_SP] : 0);
	if (f.known && g != tls_g)
		dump_frames(t, &f, cache);
	text_str(t, "\n");
}

void dump_all(struct text *t) {
	struct unwind_cache *cache = unwind_cache_get();
	for (struct g *g = g_all(); g && !t->failed; g = g->all_next) {
		if (is_live(g))
			goroutine_put(t, g, cache);
	}
	unwind_cache_put(cache);
	dump_threads(t);
	dump_deadlocks(t);
	text_flush(t);
}

void dump_to(int fd) {
	struct text t;
	t.fd = fd;
	t.is_socket = t.failed = false;
	t.length = 0;
	dump_all(&t);
}

/* ---- deadlocks --------------------------------------------------------------------------------------------------------------- */

/* One thread waiting for another. */
struct edge {
	struct g *from, *to; /* to NULL: a thread that has ended */
	struct wait_info wait;
	int32_t tid;
};

/* Whom g waits for, without a time limit. */
static bool edge_of(struct g *g, struct edge *e) {
	e->from = g;
	if (!is_live(g) || !wait_of(g, &e->wait) || e->wait.timed || !dump_owner_hook ||
	    !dump_owner_hook(g, e->wait.what, e->wait.on, &e->tid))
		return false;
	e->to = find_cached(e->tid);
	return true;
}

/* How many take part in the deadlock whose lowest member is g, so each is found once; 0: none. 1 may also be a mutex whose owner has ended. *print is the
 * same as long as nothing of it moves. */
static unsigned cycle_find(struct g *g, uint64_t *print) {
	struct edge e = {.to = g};
	*print = 0;
	for (unsigned n = 1; n <= CYCLE_MAX && edge_of(e.to, &e); n++) {
		*print = (*print + (uint32_t)e.tid) * 0x100000001b3 + e.wait.on + (uint64_t)e.wait.since;
		if (!e.to)
			return n == 1;
		if (e.to == g)
			return n;
		if (e.to->id < g->id)
			return 0;
	}
	return 0;
}

/* Is it still as it was? What takes part in a deadlock does not move. */
static bool cycle_lasts(struct g *g, unsigned *n) {
	struct timespec ts = {0, SETTLE_NS};
	uint64_t before, after;
	if (!cycle_find(g, &before))
		return false;
	SYS2(SYS_nanosleep, &ts, 0);
	*n = cycle_find(g, &after);
	return *n && before == after;
}

static void cycle_put(struct text *t, struct g *g, unsigned n) {
	struct edge e = {.to = g};
	for (unsigned i = 0; i < n && edge_of(e.to, &e); i++) {
		text_str(t, i ? "          " : e.to ? "deadlock: " : "stuck: ");
		dump_who(t, e.from);
		text_str(t, " ");
		wait_put(t, e.from, &e.wait, nanotime());
		text_str(t, "\n");
	}
}

int dump_deadlocks(struct text *t) {
	struct g *suspect[CYCLES_MAX];
	unsigned suspects = 0, n;
	uint64_t print;
	int found = 0;
	for (struct g *g = g_all(); g && suspects < CYCLES_MAX; g = g->all_next) {
		if (cycle_find(g, &print))
			suspect[suspects++] = g;
	}
	for (unsigned i = 0; i < suspects; i++) {
		if (cycle_lasts(suspect[i], &n)) {
			cycle_put(t, suspect[i], n);
			found++;
		}
	}
	return found;
}
