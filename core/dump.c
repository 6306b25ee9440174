/* Reports: what every goroutine does, what it waits on, who holds that, where it is.
 *
 * Written by a thread that stops nobody, for people who look at a program that does not do what it should. So:
 *   - no lock is taken: whoever holds it may be what is wrong. Gs and Ms are type-stable and linked once, so the lists can always be walked;
 *     what is read of them may be a moment old, and a goroutine may be shown half before and half after a switch.
 *   - nothing is allocated; stacks and the program's objects are read by peek(), which cannot fault.
 *   - names, owners: from the shims, by hooks. The core knows no mutex.
 *   - kernel threads that are no goroutines may hold what these wait for, so a thread counts as ended only when the kernel does not know it either.
 *
 * A parked goroutine's registers lie where arch_switch() left them. One that sits in a system call can be followed from what
 * /proc/self/task/TID/syscall says. One that computes is interrupted as for preemption, which the program cannot notice, and writes down itself where it is: all of
 * them at once, at the beginning, and none is waited for longer than SEE_NS. Only for who asks from outside: somebody who is about to abort waits for nobody.
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
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "runtime.h"

#define FRAMES_MAX UNWIND_FRAMES_MAX
#define OWNERS 512 /* remembered answers of dump_find() */
#define CYCLES_MAX 32
#define POLLED_MAX 4 /* descriptors of one poll() that are named */
#define SETTLE_NS 20000000
#define SEE_NS 200000000
#define SEE_LOOK_NS 1000000

const char *(*dump_name_hook)(struct g *g);
bool (*dump_owner_hook)(struct g *g, const char *what, uintptr_t on, struct dump_owners *owners, int32_t *tid);
const char *(*dump_lost_hook)(int32_t tid);
uintptr_t (*dump_object_hook)(const char *what, uintptr_t on);
int (*dump_polled_hook)(uintptr_t on, unsigned i, unsigned *count);

/* ---- finding --------------------------------------------------------------------------------------------------------- */

static bool is_live(struct g *g) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	return g->kind <= G_MAIN && state != GS_IDLE && state != GS_DEAD;
}

/* A kernel thread that is no goroutine (libc's for SIGEV_THREAD, or the program's own clone) and has waited or may wait with a G. Where libc does not see it end,
 * nobody takes the G back. */
static bool is_foreign(struct g *g) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	return g->kind == G_FOREIGN && state != GS_IDLE && state != GS_DEAD && kernel_thread_exists(g->tid);
}

static bool is_thread(struct g *g) {
	return is_live(g) || is_foreign(g);
}

struct g *dump_find(int32_t tid) {
	for (struct g *g = g_all(); g; g = g->all_next) {
		if (g->tid == tid && is_thread(g))
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
	if (g && g->tid == tid && is_thread(g))
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

/* A kernel thread that has no G, for it never called us. Main's may outlive it, and goes on as one of the runtime's. */
static bool stranger_lives(int32_t tid) {
	if (tid >= TID_FIRST || tid == (int32_t)SYS0(SYS_getpid))
		return false;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		if (atomic_load_explicit(&m->ktid, memory_order_relaxed) == tid)
			return false;
	}
	return kernel_thread_exists(tid);
}

static void stranger_put(struct text *t, int32_t tid) {
	text_str(t, "kernel thread ");
	text_dec(t, tid);
}

void dump_who(struct text *t, struct g *g) {
	if (g->kind > G_MAIN) {
		stranger_put(t, g->tid);
		return;
	}
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

/* Who has m for itself while it waits. A report only: it may be wired no longer. */
static struct g *wired_of(struct m *m) {
	struct g *g = __atomic_load_n(&m->wired_g, __ATOMIC_RELAXED);
	return g && g->kind <= G_MAIN ? g : NULL;
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
		struct g *wired = wired_of(m);
		if (wired) {
			text_str(t, "wired to ");
			dump_who(t, wired);
		} else {
			text_str(t, p ? m->spinning ? "looks for work" : "in the scheduler" : "idle");
		}
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

/* ---- goroutines ----------------------------------------------------------------------------------------------------------- */

/* What a waiting goroutine waits for, as read at one time. */
struct wait_info {
	const char *what;
	uintptr_t on;
	int64_t since;
	bool timed;
	int64_t until; /* 0: not known */
	bool parked; /* false: in the kernel */
	bool endless; /* certainly without a time limit */
};

static bool call_waits(const struct kernel_call *c, uintptr_t on) {
	return c->known && !c->running && c->number == SYS_futex && c->arg0 == on;
}

static bool waits_in_kernel(struct g *g, uintptr_t on) {
	struct m *m = m_of(g);
	struct kernel_call c = {.known = false};
	if (m || g->kind > G_MAIN)
		c = kernel_call_of(m ? m->ktid : g->tid);
	return call_waits(&c, on);
}

/* One that is no goroutine sleeps on its G's `note`, and only the kernel knows until when. */
static bool foreign_waits(struct g *g, struct wait_info *w) {
	struct kernel_call c = kernel_call_of(g->tid);
	w->until = 0;
	w->timed = c.known && c.arg3 != 0;
	w->endless = c.known && !w->timed;
	return !c.known || call_waits(&c, (uintptr_t)&g->note);
}

static bool wait_of(struct g *g, struct wait_info *w) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	w->what = __atomic_load_n(&g->wait_what, __ATOMIC_RELAXED);
	w->on = __atomic_load_n(&g->wait_on, __ATOMIC_RELAXED);
	w->since = __atomic_load_n(&g->wait_since, __ATOMIC_RELAXED);
	w->until = __atomic_load_n(&g->timer.index, __ATOMIC_RELAXED) ? __atomic_load_n(&g->timer.when, __ATOMIC_RELAXED) : 0;
	w->timed = w->until || w->what == futex_what_mutex_timed;
	w->parked = atomic_load_explicit(&g->state, memory_order_acquire) == GS_WAITING;
	w->endless = !w->timed;
	if (w->what && w->parked && g->kind > G_MAIN)
		return foreign_waits(g, w);
	return w->what && (w->parked || (state == GS_RUNNING && waits_in_kernel(g, w->on)));
}

static bool waits_on_descriptor(const char *what) {
	return what[0] == 'f' && what[1] == 'd' && what[2] == ' ';
}

/* The thread with this tid, which has what w waits for. */
static void holder_put(struct text *t, const struct wait_info *w, int32_t tid) {
	struct g *owner = find_cached(tid);
	text_str(t, ", ");
	if (owner) {
		text_str(t, strcmp(w->what, "join") == 0 ? "for " : "held by ");
		dump_who(t, owner);
	} else if (stranger_lives(tid)) {
		text_str(t, "held by ");
		stranger_put(t, tid);
	} else {
		const char *lost = dump_lost_hook ? dump_lost_hook(tid) : NULL;
		text_str(t, "held by thread ");
		text_dec(t, tid);
		text_str(t, lost ? ", " : ", which has ended");
		text_str(t, lost ? lost : "");
	}
}

/* chosen: which of those who have it is named; 0: the first that is found, with the number of others. */
static void owner_put(struct text *t, struct g *g, const struct wait_info *w, int32_t chosen) {
	struct dump_owners owners = {0};
	int32_t tid;
	unsigned others = 0;
	if (chosen) {
		holder_put(t, w, chosen);
		return;
	}
	if (!dump_owner_hook || !dump_owner_hook(g, w->what, w->on, &owners, &tid))
		return;
	holder_put(t, w, tid);
	while (dump_owner_hook(g, w->what, w->on, &owners, &tid))
		others++;
	if (others) {
		text_str(t, " and ");
		text_dec(t, others);
		text_str(t, others == 1 ? " other" : " others");
	}
}

static void polled_put(struct text *t, uintptr_t on) {
	unsigned count = 0, i;
	int fd = dump_polled_hook ? dump_polled_hook(on, 0, &count) : -1;
	text_str(t, fd < 0 ? "" : count == 1 ? " of descriptor" : " of descriptors");
	for (i = 0; fd >= 0 && i < count && i < POLLED_MAX; i++) {
		text_str(t, i ? ", " : " ");
		text_dec(t, fd);
		unsigned again;
		fd = dump_polled_hook(on, i + 1, &again);
	}
	if (i && count > i) {
		text_str(t, " and ");
		text_dec(t, count - i);
		text_str(t, " more");
	}
}

static void wait_put(struct text *t, struct g *g, const struct wait_info *w, int32_t chosen) {
	int64_t now = nanotime();
	text_str(t, "waits: ");
	text_str(t, w->what);
	if (waits_on_descriptor(w->what)) {
		text_str(t, " of descriptor ");
		text_dec(t, (int64_t)w->on);
	} else if (strcmp(w->what, "poll") == 0) {
		polled_put(t, w->on);
	} else if (w->on) {
		text_str(t, " ");
		text_hex(t, dump_object_hook ? dump_object_hook(w->what, w->on) : w->on);
	}
	owner_put(t, g, w, chosen);
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
	if (!lo && g->kind == G_MAIN) {
		preempt_main_stack(&lo, &hi);
		if (sp < lo || sp >= hi) /* not known, or another thread than the first one made the runtime */
			return;
	}
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

/* ---- who computes ---- */

static bool is_on_cpu(struct m *m) {
	struct kernel_call c = kernel_call_of(m->ktid);
	return c.known && c.running;
}

/* Has them that compute write down where they are, for seen_put(). */
static void see_all(void) {
	struct timespec ts = {0, SEE_LOOK_NS};
	bool any = false;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		struct g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
		if (g && is_live(g) && !atomic_load_explicit(&g->in_syscall, memory_order_relaxed) && is_on_cpu(m))
			any |= preempt_see(m, g);
	}
	if (any)
		sysmon_poke();
	for (int64_t until = nanotime() + SEE_NS; any && nanotime() < until && preempt_see_waits();)
		SYS2(SYS_nanosleep, &ts, 0);
}

static void seen_put(struct text *t, struct g *g, const struct seen *seen) {
	if (!seen) {
		text_str(t, "    no backtrace: ");
		text_str(t, !preempt_is_on()	? "nobody is interrupted here (preempt=0, or an old kernel)"
			    : g->wired_m ? "its kernel thread is its own, and is not interrupted"
					 : "it was not met outside of the kernel and the runtime in time");
		text_str(t, "\n");
		return;
	}
	for (uint32_t n = 0; n < seen->count; n++)
		frame_put(t, n, seen->pc[n], seen->exact >> n & 1);
}

/* True: it computes. */
static bool running_put(struct text *t, struct g *g, struct unwind_frame *f) {
	struct m *m = m_of(g);
	text_str(t, "runs");
	if (!m)
		return false;
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
	return c.known && c.running;
}

static void goroutine_put(struct text *t, struct g *g, struct unwind_cache *cache) {
	struct unwind_frame f = {.known = 0};
	struct wait_info w;
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	struct seen *seen = NULL;
	bool computes = false;
	dump_who(t, g);
	text_str(t, ": ");
	bool waits = wait_of(g, &w);
	if (waits && w.parked) {
		wait_put(t, g, &w, 0);
		dump_parked(g, &f);
	} else if (state == GS_RUNNABLE) {
		text_str(t, "is ready to run");
		dump_parked(g, &f);
	} else {
		computes = running_put(t, g, &f);
		seen = computes ? preempt_seen(g) : NULL;
		if (waits) {
			text_str(t, ", ");
			wait_put(t, g, &w, 0);
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
	stack_put(t, g, seen ? seen->sp : f.known >> ARCH_DWARF_SP & 1 ? f.reg[ARCH_DWARF_SP] : 0);
	if (f.known && g != tls_g) {
		unwind_find_base(&f, cache, (uintptr_t)arch_start);
		dump_frames(t, &f, cache);
	} else if (computes) {
		seen_put(t, g, seen);
	}
	text_str(t, "\n");
}

static void foreign_put(struct text *t, struct g *g) {
	struct wait_info w;
	dump_who(t, g);
	text_str(t, ": none of the runtime's");
	if (wait_of(g, &w)) {
		text_str(t, ", ");
		wait_put(t, g, &w, 0);
	} else {
		struct kernel_call c = kernel_call_of(g->tid);
		kernel_call_put(t, &c);
	}
	text_str(t, "\n");
}

void dump_threads(struct text *t) {
	int64_t now = nanotime();
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		if (atomic_load_explicit(&m->ktid, memory_order_relaxed))
			thread_put(t, m, now);
	}
	for (struct g *g = g_all(); g && !t->failed; g = g->all_next) {
		if (is_foreign(g))
			foreign_put(t, g);
	}
}

static void put_all(struct text *t) {
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

void dump_all(struct text *t) {
	see_all();
	put_all(t);
	preempt_see_end();
}

void dump_to(int fd) {
	struct text t;
	t.fd = fd;
	t.is_socket = t.failed = false;
	t.length = 0;
	put_all(&t);
}

/* ---- deadlocks ---------------------------------------------------------------------------------------------------------------
 *
 * A graph: threads, and edges from one that waits without a time limit to those who have what it waits for. It needs all of them, so each cycle is a deadlock. Found
 * by depth first: a search goes to every thread once, and an edge back into the path that it is on closes a cycle. The path is linked through the threads, so
 * it may be as long as there are some. Two searches, SETTLE_NS apart: only threads whose wait is in both the same are believed, and these have
 * been there at the same time in between. */

/* What a search knows of a thread. Beside struct g, of which there may be a million, and no report is ever asked for. */
struct mark {
	struct g *g;
	struct g *from, *next;     /* its neighbours on the path that is being followed */
	struct dump_owners owners; /* so far it was followed to these */
	uint64_t print;            /* of its wait; 0: it does not wait */
	uint32_t round;            /* of the search that came here last */
	int32_t tid;               /* of the last of `owners` */
	bool on_path, lasts;       /* lasts: it waited the same way in the search before */
};

/* By the address of g, the searcher's alone. Open addressing: it is at most half full. */
static struct mark *marks;
static size_t marks_room; /* a power of two */

static struct mark *mark_place(const struct g *g) {
	size_t i = (size_t)(((uintptr_t)g * 0x9e3779b97f4a7c15) >> 20) & (marks_room - 1);
	while (marks[i].g && marks[i].g != g)
		i = (i + 1) & (marks_room - 1);
	return &marks[i];
}

/* NULL: it was not there when the search began. */
static struct mark *mark_of(const struct g *g) {
	struct mark *k = mark_place(g);
	return k->g ? k : NULL;
}

static bool is_searched(const struct g *g) {
	return g->kind <= G_MAIN || g->kind == G_FOREIGN;
}

static bool marks_make(void) {
	size_t count = 0;
	for (struct g *g = g_all(); g; g = g->all_next)
		count += is_searched(g);
	marks_room = 64;
	while (marks_room < 2 * count)
		marks_room *= 2;
	marks = pages_map(marks_room * sizeof *marks);
	if (!marks)
		return false;
	for (struct g *g = g_all(); g && count > 0; g = g->all_next) {
		if (is_searched(g)) {
			mark_place(g)->g = g;
			count--;
		}
	}
	return true;
}

struct search {
	struct text *t; /* NULL: the first one, which only looks */
	uint32_t round;
	int found;
};

static void visit(struct search *s, struct mark *k, struct g *from) {
	struct g *g = k->g;
	struct wait_info w;
	uint64_t print = 0;
	if (is_thread(g) && wait_of(g, &w) && w.endless)
		print = (((uint64_t)w.since * 0x100000001b3 + w.on) * 0x100000001b3 + (uint32_t)g->tid) | 1;
	k->lasts = k->round == s->round - 1 && k->print == print;
	k->print = print;
	k->round = s->round;
	k->owners = (struct dump_owners){0};
	k->from = from;
	k->on_path = true;
}

/* The next thread that k's waits for; NULL and true: one that has no G. */
static bool edge_next(struct mark *k, struct g **to) {
	struct wait_info w;
	if (!k->print || !dump_owner_hook || !wait_of(k->g, &w) || !dump_owner_hook(k->g, w.what, w.on, &k->owners, &k->tid))
		return false;
	*to = find_cached(k->tid);
	return true;
}

/* The path from `first` to `last`, linked to a ring: where in it a report begins, and what all of them are. */
static struct g *ring_close(struct g *first, struct g *last, bool *lasts) {
	struct g *begin = last, *next = first;
	*lasts = true;
	for (struct g *g = last;; next = g, g = mark_of(g)->from) {
		struct mark *k = mark_of(g);
		k->next = next;
		*lasts = *lasts && k->lasts;
		if (g->id < begin->id || (g->id == begin->id && g->tid < begin->tid))
			begin = g;
		if (g == first)
			return begin;
	}
}

static void cycle_put(struct text *t, struct g *begin, bool stuck) {
	struct wait_info w;
	struct g *g = begin;
	do {
		text_str(t, g != begin ? "          " : stuck ? "stuck: " : "deadlock: ");
		dump_who(t, g);
		text_str(t, " ");
		if (wait_of(g, &w))
			wait_put(t, g, &w, mark_of(g)->tid);
		text_str(t, "\n");
		g = mark_of(g)->next;
	} while (g != begin);
}

/* stuck: `last`, which is `first` as well, waits for a thread that has ended. */
static void cycle_found(struct search *s, struct g *first, struct g *last, bool stuck) {
	bool lasts;
	struct g *begin = ring_close(first, last, &lasts);
	if ((s->t && !lasts) || s->found++ >= CYCLES_MAX || !s->t)
		return;
	cycle_put(s->t, begin, stuck);
}

static void search_from(struct search *s, struct mark *k) {
	struct g *to;
	visit(s, k, NULL);
	while (k) {
		struct mark *next;
		if (!edge_next(k, &to)) {
			k->on_path = false;
			k = k->from ? mark_of(k->from) : NULL;
		} else if (!to) {
			if (!stranger_lives(k->tid))
				cycle_found(s, k->g, k->g, true);
		} else if ((next = mark_of(to)) && next->round != s->round) {
			visit(s, next, k->g);
			k = next;
		} else if (next && next->on_path) {
			cycle_found(s, to, k->g, false);
		}
	}
}

static int search(struct text *t) {
	struct search s = {.t = t, .round = t ? 2 : 1};
	for (size_t i = 0; i < marks_room; i++) {
		if (marks[i].g && marks[i].round != s.round)
			search_from(&s, &marks[i]);
	}
	if (t && s.found > CYCLES_MAX) {
		text_str(t, "and ");
		text_dec(t, s.found - CYCLES_MAX);
		text_str(t, " more\n");
	}
	return s.found;
}

int dump_deadlocks(struct text *t) {
	/* Who searches: a process, for one that was forked in between has nobody who would take it back. acquire, release: the marks are that searcher's. */
	static _Atomic int32_t searcher;
	int32_t self = (int32_t)SYS0(SYS_getpid), other = atomic_load_explicit(&searcher, memory_order_relaxed);
	struct timespec ts = {0, SETTLE_NS};
	int found = 0;
	if (other == self || !atomic_compare_exchange_strong_explicit(&searcher, &other, self, memory_order_acquire, memory_order_relaxed)) {
		text_str(t, "another report looks for deadlocks\n");
		return 0;
	}
	if (!marks_make()) {
		text_str(t, "no memory to look for deadlocks\n");
	} else {
		if (search(NULL)) {
			SYS2(SYS_nanosleep, &ts, 0);
			found = search(t);
		}
		pages_unmap(marks, marks_room * sizeof *marks);
	}
	atomic_store_explicit(&searcher, 0, memory_order_release);
	return found;
}
