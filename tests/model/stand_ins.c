/* See stand_ins.h. Not instrumented: what is shared here says so itself. */
#include <string.h>

#include "chaos.h"
#include "cpuclock.h"
#include "netpoll.h"
#include "stand_ins.h"

#define HEAP_SLOTS 8

struct sched sched;
struct g gs[MODEL_THREADS];
uint8_t chaos_modes;

static struct p the_p;
static struct m ms[MODEL_THREADS];
static struct timer *slots[HEAP_SLOTS + 1];
static bool runnable[MODEL_THREADS];
static int done, wanted;

struct timer_heap *const heap = &the_p.timers;

void stand_ins_reset(void) {
	memset(&sched, 0, sizeof sched);
	memset(gs, 0, sizeof gs);
	memset(ms, 0, sizeof ms);
	memset(&the_p, 0, sizeof the_p);
	memset(runnable, 0, sizeof runnable);
	done = 0;
	sched.procs = 1;
	sched.all_p[0] = &the_p;
	heap->slot = slots;
	heap->cap = HEAP_SLOTS;
	heap->first = INT64_MAX;
	for (int t = 0; t < MODEL_THREADS; t++) {
		gs[t].kind = G_GOROUTINE;
		gs[t].state = GS_RUNNING;
		gs[t].m = &ms[t];
	}
}

void model_switched(int t) {
	tls_g = &gs[t];
}

void globq_put(struct g *g) {
	bool *r = &runnable[g - gs];
	model_touch(r);
	check(!*r); /* made ready once */
	*r = true;
}

void globq_put_list(struct g *head, struct g *tail, uint32_t n) {
	for (struct g *g = head; n; n--, g = g == tail ? NULL : g->schedlink)
		globq_put(g);
}

static bool is_true(void *arg) {
	return *(bool *)arg;
}

void stand_in_switch(struct arch_ctx *from, struct arch_ctx *to, struct arch_thread *self) {
	(void)self;
	bool *r = &runnable[model_self()];
	(void)to;
	if (switch_left)
		switch_left((struct g *)from);
	else
		from->on_cpu = 0;
	model_await(r, is_true, r);
	*r = false;
	if (switch_picked)
		switch_picked((struct g *)from);
}

void wakep(void) {
}

void thread_done(void) {
	model_touch(&heap->first);
	done++;
}

static bool timer_or_end(void *arg) {
	(void)arg;
	return heap->first != INT64_MAX || done == wanted;
}

void timers_until_done(int others) {
	for (;;) {
		wanted = others;
		model_await(&heap->first, timer_or_end, NULL);
		if (done == wanted)
			return;
		timer_run(heap, INT64_MAX - 1, 1);
	}
}

void stand_ins_finish(void) {
	check(heap->count == 0 && heap->first == INT64_MAX);
	for (int t = 0; t < MODEL_THREADS; t++)
		check(!runnable[t]);
}

/* Of those without a P nobody comes here. */
#define NEVER check(!"called by somebody without a P")
void runq_put(struct p *p, struct g *g, bool next) {
	(void)p, (void)g, (void)next;
	NEVER;
}
struct g *runq_get(struct p *p) {
	(void)p;
	NEVER;
}
uint32_t runq_length(struct p *p) {
	(void)p;
	NEVER;
}
struct g *globq_get(struct p *p, uint32_t max) {
	(void)p, (void)max;
	NEVER;
}
bool runq_empty(struct p *p) {
	(void)p;
	NEVER;
}
void startm(struct p *p) {
	(void)p;
	NEVER;
}
void p_idle_push(struct p *p) {
	(void)p;
	NEVER;
}
struct p *p_idle_get(void) {
	NEVER;
}
void wish_come_true(struct g *g) {
	(void)g;
	NEVER;
}
void p_attach(struct m *m, struct p *p) {
	(void)m, (void)p;
	NEVER;
}
struct g *g_self_slow(void) {
	NEVER;
}
/* Weak: one model brings the real ones. */
#define WEAK __attribute__((weak))
WEAK bool netpoll_has_waiters(void) {
	NEVER;
}
_Atomic bool cpu_counted;

void cpu_switch(struct m *m) {
	(void)m;
}

WEAK struct g *netpoll_poll(int64_t timeout_ns) {
	(void)timeout_ns;
	NEVER;
}

/* Nobody sleeps in netpoll. */
WEAK void netpoll_break(void) {
}

/* Chaos is off: the checker does worse. */
bool chaos_roll(enum chaos_site site) {
	(void)site;
	return false;
}
bool chaos_error(void) {
	return false;
}
bool chaos_nth(const char *file, int line, const char *what) {
	(void)file, (void)line, (void)what;
	return false;
}
void chaos_delay_slow(void) {
}
void chaos_yield_slow(void) {
}
struct g *globq_get_late(void) {
	NEVER;
}

/* Counters, added to in whatever order: no steps, or each would race with each. */
_Atomic uint64_t stats_shared[STAT_COUNT];
bool model_commutes(const volatile void *addr) {
	return (const volatile char *)addr >= (const volatile char *)stats_shared &&
	       (const volatile char *)addr < (const volatile char *)(stats_shared + STAT_COUNT);
}
