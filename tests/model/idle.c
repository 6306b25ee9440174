/* Ms that go idle and are woken: the real core/m.c (idle lists, wakep, startm, notes, the maker), the loop of core/sched.c with its find_runnable(), and
 * core/runq.c. An M of a scenario is a thread that runs the real schedule(); foreign threads queue goroutines by the real ready(). To switch to a goroutine is to
 * count it: it is over at once, or, if it is the long one, never.
 *
 * Nobody looks after what was forgotten: there is no sysmon here. A run ends when all Ms sleep; then nobody may be queued, or it is a wake-up that was lost.
 *
 * These files are included, for the model sets some of what is static in them: whether there is a maker, and what they keep from one run to the next. */
#include <string.h>
#include <time.h>

static int model_clock_gettime(clockid_t clock, struct timespec *ts);
#define clock_gettime model_clock_gettime
#include "sched.c"
#include "m.c"

#define GS 6

uint8_t chaos_modes;
_Atomic bool cpu_counted;
struct m m_elsewhere;
_Atomic uint64_t stats_shared[STAT_COUNT];

static struct p ps[4];
static struct m ms[4];
static struct g foreign[MODEL_THREADS], gs[GS];
static struct g *current[MODEL_THREADS]; /* tls_g of each thread of the scenario */
static int on_stage;
static int queued_all;  /* how many goroutines the scenario queues */
static struct g *long_g;
static bool broken;     /* the poller's descriptor */

/* Not instrumented: what is shared here says so itself. */
#define KERNEL __attribute__((no_sanitize("thread")))

static int model_clock_gettime(clockid_t clock, struct timespec *ts) {
	(void)clock;
	*ts = (struct timespec){.tv_sec = 1};
	return 0;
}

KERNEL void model_switched(int t) {
	current[on_stage] = tls_g;
	tls_g = current[t];
	on_stage = t;
}

/* Counters, what is a thread's own, and what only serves the guess whether a goroutine in a P's own queue is worth a wake-up: which nobody here makes. */
bool model_commutes(const volatile void *addr) {
	const volatile char *a = addr;
	if (a == (const volatile char *)&tls_g)
		return true;
	if (a >= (const volatile char *)stats_shared && a < (const volatile char *)(stats_shared + STAT_COUNT))
		return true;
	for (size_t i = 0; i < sizeof ps / sizeof ps[0]; i++) {
		if (a >= (const volatile char *)ps[i].stat && a < (const volatile char *)(ps[i].stat + STAT_COUNT))
			return true;
	}
	return a == (const volatile char *)&brief || a == (const volatile char *)&wake_skip;
}

/* ---- what these files want of others ---- */

KERNEL static bool is_true(void *arg) {
	return *(bool *)arg;
}

/* An event file of the kernel's: a break is not lost if it comes before the wait. */
KERNEL struct g *netpoll_poll(int64_t timeout_ns) {
	check(timeout_ns < 0);
	model_await(&broken, is_true, &broken);
	broken = false;
	return NULL;
}

KERNEL void netpoll_break(void) {
	model_touch(&broken);
	broken = true;
}

bool netpoll_has_waiters(void) {
	return false;
}

static bool never(void *arg) {
	(void)arg;
	return false;
}

/* Its maker's write to tid and ours to id are plain: to pick it up is to see it, and nobody else does. */
void stand_in_switch(struct arch_ctx *from, struct arch_ctx *to, struct arch_thread *self) {
	struct g *g = (struct g *)to;
	(void)from, (void)self;
	check(g->tid == 42 && g->id == 0);
	g->id = 1;
	if (g == long_g)
		model_await(g, never, NULL);
}

void g_wait_off_cpu(struct g *g) {
	(void)g;
}

void gfree_surrender(struct p *p) {
	(void)p;
}

bool gfree_give_back(void) {
	return false;
}

void disk_slot_free(void) {
}

void sysmon_answer_await(struct m *m) {
	(void)m;
}

void sysmon_wake(void) {
}

void sysmon_poke(void) {
}

#define NEVER check(!"nobody comes here")
void tcb_rseq_off(void) {
}

void batch_change(struct m *m) {
	(void)m;
}

void procs_part(struct p *p) {
	(void)p;
	NEVER;
}
bool wired_end(struct m *m) {
	(void)m;
	NEVER;
	return true;
}
void wired_wait(struct m *m) {
	(void)m;
	NEVER;
}
void wired_hand(struct m *m, struct g *g) {
	(void)m, (void)g;
	NEVER;
}
bool wired_elsewhere(struct m *m, struct g *g) {
	(void)m, (void)g;
	NEVER;
}
void wish_come_true(struct g *g) {
	(void)g;
	NEVER;
}
void cpu_switch(struct m *m) {
	(void)m;
	NEVER;
}
struct g *g_self_slow(void) {
	NEVER;
}
bool chaos_roll(enum chaos_site site) {
	(void)site;
	NEVER;
}
bool chaos_error(void) {
	NEVER;
}

bool chaos_nth(const char *file, int line, const char *what) {
	(void)file, (void)line, (void)what;
	NEVER;
}
void chaos_delay_slow(void) {
	NEVER;
}

/* The maker's thread is the M that it makes, and makes no more. */
static int becomes_it(void *(*fn)(void *), void *arg) {
	fn(arg);
	NEVER;
}

/* ---- scenarios ---- */

/* The first `busy` Ps belong to Ms that are not of this model: they run a goroutine that does not end. Then each M has one, and the rest is idle. */
static void reset_for(uint32_t procs, uint32_t busy, uint32_t ms_awake) {
	memset(&sched, 0, sizeof sched);
	memset(ps, 0, sizeof ps);
	memset(ms, 0, sizeof ms);
	memset(gs, 0, sizeof gs);
	memset(foreign, 0, sizeof foreign);
	memset(&maker_g, 0, sizeof maker_g);
	maker_queue = maker_making = NULL;
	maker_note = maker_turn = maker_held = 0;
	maker_stuck = maker_hopeless = maker_has_chore = maker_busy = false;
	maker_up = false;
	sched_thread_create = becomes_it;
	model_short_waits = true;
	wake_skip = 0;
	brief = broken = false;
	long_g = NULL;
	sched.procs = sched.procs_all = procs;
	sched.m_open = 4;
	sched.sysmon_note = SYSMON_AWAKE;
	for (uint32_t i = procs; i-- > 0;) {
		ps[i].id = i;
		ps[i].timers.first = INT64_MAX;
		sched.all_p[i] = &ps[i];
		if (i < busy)
			ps[i].m = &m_elsewhere;
		else if (i < busy + ms_awake)
			p_attach(&ms[i - busy], &ps[i]);
		else
			p_idle_push(&ps[i]);
	}
	for (int t = 0; t < MODEL_THREADS; t++) {
		foreign[t].kind = G_FOREIGN;
		current[t] = &foreign[t];
	}
	tls_g = current[0];
	on_stage = 0;
	for (int i = 0; i < 3; i++) {
		ms[i].g0.kind = G_G0;
		ms[i].g0.in_rt = 1;
		ms[i].g0.m = &ms[i];
		ms[i].id = (uint32_t)i;
	}
	for (int i = 0; i < GS; i++)
		gs[i].kind = G_GOROUTINE;
}

static void queue(int i) {
	gs[i].tid = 42;
	ready(&gs[i]);
}

static void queue_0_1(void) {
	queue(0);
	queue(1);
}

static void queue_0(void) {
	queue(0);
}

static void queue_1(void) {
	queue(1);
}

static void queue_2(void) {
	queue(2);
}

static void is_m(struct m *m) {
	tls_g = &m->g0;
	model_may_rest();
	schedule(m);
	NEVER;
}

static void m_0(void) {
	is_m(&ms[0]);
}

/* Begins asleep, or nearly. */
static void sleeper_0(void) {
	tls_g = &ms[0].g0;
	model_may_rest();
	lock_acquire(&sched.lock, LOCK_SCHED);
	m_stop(&ms[0]);
	schedule(&ms[0]);
	NEVER;
}

static void maker(void) {
	model_may_rest();
	maker_main(NULL);
}

/* All Ms sleep. The books balance, and everybody was run; unless a kernel thread was asked for where there is no maker: then it is sysmon who tries again. */
static void finish(void) {
	uint32_t idle = 0, ms_idle = 0;
	for (struct p *p = sched.idle_p; p; p = p->idle_next, idle++)
		check(p->idle && !p->m && runq_empty(p));
	for (struct m *m = sched.idle_m; m; m = m->idle_next, ms_idle++)
		check(!m->p && !m->spinning);
	check(idle == sched.idle_p_count && ms_idle == sched.idle_m_count);
	check(sched.spinning == 0 && sched.lock.word == 0);
	if (sched.m_lacking)
		return;
	for (uint32_t i = 0; i < sched.procs; i++)
		check(ps[i].idle || ps[i].m == &m_elsewhere);
	check(!globq_waiting());
	for (int i = 0; i < queued_all; i++)
		check(gs[i].id == 1);
}

/* One P. Its M, when idle, waits in netpoll for everybody. */
static void reset_polls(int gs_queued) {
	reset_for(1, 0, 1);
	queued_all = gs_queued;
}

/* The other P is busy: the M sleeps on its note. */
static void reset_sleeps(int gs_queued) {
	reset_for(2, 1, 1);
	queued_all = gs_queued;
}

static void polls_2(void) {
	reset_polls(2);
}

static void polls_3(void) {
	reset_polls(3);
}

static void sleeps_2(void) {
	reset_sleeps(2);
}

static void sleeps_3(void) {
	reset_sleeps(3);
}

/* With the kernel's futex as it is. */
static void sleeps_in_kernel(void) {
	reset_sleeps(2);
	model_short_waits = false;
}

/* With a thread that makes the M which wakep() does not find. */
static void with_maker(void) {
	reset_polls(2);
	maker_up = true;
	sched.free_m = &ms[3];
}

/* An M that gets the long one, and another that sleeps and stays so, for it is no thread: it is enough that somebody wakes it. So many Ps that a share of the
 * global queue is one, or the other might lie behind the long one in the queue of its P, which is sysmon's business. */
static void long_one(void) {
	reset_for(4, 2, 0);
	queued_all = 2;
	long_g = &gs[0];
	m_idle_push(&ms[1]);
}

static void finish_long(void) {
	check(!globq_waiting() || ms[1].note);
}

const struct scenario scenarios[] = {
	{"idle: one polls, one queues", polls_2, {queue_0_1, m_0}, finish, false},
	{"idle: one sleeps, one queues", sleeps_2, {queue_0_1, m_0}, finish, false},
	{"idle: one polls, two queue", polls_2, {queue_0, queue_1, m_0}, finish, false},
	{"idle: one sleeps, two queue", sleeps_2, {queue_0, queue_1, m_0}, finish, false},
	{"idle: one gets a long one", long_one, {queue_0, queue_1, sleeper_0}, finish_long, false},
	{"idle: polls, two and one", polls_3, {queue_0_1, queue_2, m_0}, finish, false},
	{"idle: in the kernel", sleeps_in_kernel, {queue_0, queue_1, m_0}, finish, true},
	{"idle: with the maker", with_maker, {queue_0, queue_1, m_0, maker}, finish, true},
	{"idle: sleeps, two and one", sleeps_3, {queue_0_1, queue_2, m_0}, finish, true},
	{NULL, NULL, {NULL}, NULL, false},
};
