/* Statistics: counters that cost nothing worth measuring, gauges that are read where the scheduler keeps them anyway.
 *
 * Counters live in the P whose holder counts (struct p, `stat`): one writer, so a plain load and store; what threads without a P count
 * goes to stats_shared by an atomic add. Readers sum over the Ps. Nothing is reset but by a fork's child, whose story begins anew.
 * Rejected: counters per M (there are more Ms than Ps, and they come and go), and a switch to turn counting off (its branch costs what
 * the counter does).
 *
 * The names are an interface (`goshim ctl PID stats`): additions are free, renaming is not. One table, stats.h; the gauges below.
 *
 * Takes no lock: figures of one report are from about the same time, no more. */
#include "stats.h"

#include "dump.h"
#include "netpoll.h"
#include "runtime.h"

_Atomic uint64_t stats_shared[STAT_COUNT];

static const char *const counter_names[STAT_COUNT] = {
#define STAT_NAME(id, name, help) [id] = name,
	STAT_COUNTERS(STAT_NAME)
#undef STAT_NAME
};

static uint64_t counter_sum(enum stat_counter s) {
	uint64_t sum = atomic_load_explicit(&stats_shared[s], memory_order_relaxed);
	for (uint32_t i = 0; i < GOMAXPROCS_MAX; i++) {
		struct p *p = sched.all_p[i];
		if (p && p->birth == sched.birth)
			sum += atomic_load_explicit(&p->stat[s], memory_order_relaxed);
	}
	return sum;
}

/* Read without its lock, in one access each. */
#define PEEK(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)

struct gauges {
	uint64_t switches, queued, timers, timers_fired, waiting, runnable, running, in_syscall;
};

static void gauges_of_ps(struct gauges *v) {
	for (uint32_t i = 0; i < GOMAXPROCS_MAX; i++) {
		struct p *p = sched.all_p[i];
		if (!p || p->birth != sched.birth)
			continue;
		v->switches += atomic_load_explicit(&p->schedtick, memory_order_relaxed);
		v->queued += runq_length(p);
		v->timers += PEEK(p->timers.count);
		v->timers_fired += PEEK(p->timers.fired);
	}
}

static void gauges_of_gs(struct gauges *v) {
	for (struct g *g = g_all(); g; g = g->all_next) {
		uint8_t state = atomic_load_explicit(&g->state, memory_order_relaxed);
		if (g->kind > G_MAIN)
			continue;
		v->waiting += state == GS_WAITING;
		v->runnable += state == GS_RUNNABLE;
		v->running += state == GS_RUNNING;
		v->in_syscall += state == GS_RUNNING && atomic_load_explicit(&g->in_syscall, memory_order_relaxed);
	}
}

static void put(struct text *t, const char *name, uint64_t value, bool *first) {
	text_str(t, *first ? "{\n  \"" : ",\n  \"");
	text_str(t, name);
	text_str(t, "\": ");
	text_dec(t, (int64_t)value);
	*first = false;
}

void stats_json(struct text *t) {
	struct gauges v = {0};
	bool first = true;
	gauges_of_ps(&v);
	gauges_of_gs(&v);
	put(t, "sched.gomaxprocs", PEEK(sched_config.gomaxprocs), &first);
	put(t, "sched.procs", atomic_load_explicit(&sched.procs, memory_order_relaxed), &first);
	put(t, "sched.batch", atomic_load_explicit(&sched.batch, memory_order_relaxed), &first);
	put(t, "sched.idle_procs", atomic_load_explicit(&sched.idle_p_count, memory_order_relaxed), &first);
	put(t, "sched.spinning", atomic_load_explicit(&sched.spinning, memory_order_relaxed), &first);
	put(t, "sched.queued_global", atomic_load_explicit(&sched.runq.size, memory_order_relaxed), &first);
	put(t, "sched.queued_local", v.queued, &first);
	put(t, "sched.switches", v.switches, &first);
	put(t, "g.live", g_count(), &first);
	put(t, "g.waiting", v.waiting, &first);
	put(t, "g.runnable", v.runnable, &first);
	put(t, "g.running", v.running, &first);
	put(t, "g.in_syscall", v.in_syscall, &first);
	put(t, "g.dead_cached", PEEK(sched.gfree_count), &first);
	put(t, "m.live", PEEK(sched.m_count), &first);
	put(t, "m.idle", PEEK(sched.idle_m_count), &first);
	put(t, "m.pinned", dump_pinned_count(), &first);
	put(t, "timer.queued", v.timers, &first);
	put(t, "timer.fired", v.timers_fired, &first);
	for (int s = 0; s < STAT_COUNT; s++)
		put(t, counter_names[s], counter_sum((enum stat_counter)s), &first);
	text_str(t, "\n}\n");
}

int64_t stats_uptime(void) {
	return nanotime() - sched.started_at;
}

static void put_trace(struct text *t, const char *name, uint64_t value) {
	text_str(t, name);
	text_dec(t, (int64_t)value);
}

void stats_trace_line(struct text *t, int64_t since_ns) {
	uint32_t procs = atomic_load_explicit(&sched.procs, memory_order_relaxed);
	put_trace(t, "SCHED ", (uint64_t)since_ns / 1000000);
	put_trace(t, "ms: gomaxprocs=", PEEK(sched_config.gomaxprocs));
	put_trace(t, " idleprocs=", atomic_load_explicit(&sched.idle_p_count, memory_order_relaxed));
	put_trace(t, " threads=", PEEK(sched.m_count));
	put_trace(t, " spinningthreads=", atomic_load_explicit(&sched.spinning, memory_order_relaxed));
	put_trace(t, " idlethreads=", PEEK(sched.idle_m_count));
	put_trace(t, " usedprocs=", procs);
	put_trace(t, " runqueue=", atomic_load_explicit(&sched.runq.size, memory_order_relaxed));
	text_str(t, " [");
	for (uint32_t i = 0; i < procs; i++)
		put_trace(t, i ? " " : "", sched.all_p[i] ? runq_length(sched.all_p[i]) : 0);
	text_str(t, "]\n");
}

void stats_fork_child(void) {
	for (int s = 0; s < STAT_COUNT; s++)
		atomic_store_explicit(&stats_shared[s], 0, memory_order_relaxed);
}
