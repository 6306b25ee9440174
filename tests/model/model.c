/* The checker (model.h says what it does and what it cannot), for what COR-1 is about. Three parts: the search, the clocks, and what the compiler and the core call.
 *
 * Search. `trace` is the current run: one node per step with who could go on there (`enabled`), who must still be tried (`todo`), who was (`done`), who
 * need not (`sleep`), and the step taken. A step is announced (`pending`) before somebody decides who goes on, so at each node the next step of everybody is
 * known. `past` is the number of steps of each thread that the step depends on: happens-before in the sense of the reduction, by conflicts. A conflict with a
 * step that is not in the past of the thread so far is a race: at the node of the earlier step, the other order is put on its todo.
 *
 * The code runs on its own stacks by the core's own arch_switch().
 */
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch.h"
#include "model.h"
#include "../tsan_calls.h"

#define DEPTH_MAX 2000
#define STACK_BYTES (128u << 10)
#define CELLS (1u << 14)

enum step_kind { STEP_NONE, STEP_READ, STEP_WRITE, STEP_LOCK, STEP_UNLOCK };

struct step {
	enum step_kind kind;
	const volatile void *addr;
	bool (*ready)(void *arg); /* NULL: always */
	void *arg;
	void *pc;
};

struct node {
	uint32_t enabled, todo, done, sleep; /* a bit per thread */
	int thread;
	struct step step;
	uint32_t past[MODEL_THREADS];
};

struct thread {
	struct arch_ctx ctx;
	struct step pending;
	bool finished;
	int last;                          /* node of its last step, -1 none */
	bool timed_out;                    /* its one timeout is spent */
	bool rests;                        /* need not finish */
	uint32_t clock[MODEL_THREADS];     /* C11: what happened before */
	uint32_t released[MODEL_THREADS];  /* clock at its last release fence */
	uint32_t acquired[MODEL_THREADS];  /* what relaxed loads saw; an acquire fence makes it clock */
};

static const struct scenario *scenario;
static struct thread threads[MODEL_THREADS];
static int thread_count, self = -1;
static struct arch_ctx main_ctx;
static struct node trace[DEPTH_MAX];
static int depth, known; /* steps of this run; nodes whose decision is given */
static bool cut;         /* this run leads only where others were */
static bool all_orders;  /* sleep sets alone: many more runs are cut, as many are not; to check the reduction itself */
static char stacks[MODEL_THREADS][STACK_BYTES] __attribute__((aligned(64)));

static void search_say(const char *what) {
	fflush(stdout);
	fprintf(stderr, "%s: %s\nthe steps that led there:\n", scenario->name, what);
	for (int i = depth > 60 ? depth - 60 : 0; i < depth; i++) {
		static const char *const names[] = {"starts", "reads", "writes", "locks", "unlocks"};
		struct step *s = &trace[i].step;
		fprintf(stderr, "%4d  thread %d %-7s %p at ", i, trace[i].thread, names[s->kind], (void *)(uintptr_t)s->addr);
		char command[160], line[200];
		snprintf(command, sizeof command, "addr2line -s -f -p -e /proc/%d/exe %p 2>/dev/null", (int)getpid(), s->pc);
		FILE *f = s->pc ? popen(command, "r") : NULL;
		fprintf(stderr, "%s", f && fgets(line, sizeof line, f) ? line : "?\n");
		if (f)
			pclose(f);
	}
}

void model_fail(const char *file, int line, const char *what) {
	char text[300];
	snprintf(text, sizeof text, "%s:%d: failed: %s", file, line, what);
	search_say(text);
	_exit(1);
}

/* A wrong pointer is a failure as any other: what a protocol left behind, followed by who comes next. */
static void crashed(int sig) {
	search_say(sig == SIGSEGV ? "a wrong address" : "a signal");
	_exit(1);
}

static void crashes_report(void) {
	static char stack[64 << 10];
	struct sigaction action = {.sa_handler = crashed, .sa_flags = SA_ONSTACK | SA_RESETHAND};
	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

/* ---- the search ---- */

static bool dependent(const struct step *a, const struct step *b) {
	return a->addr == b->addr && a->addr && !(a->kind == STEP_READ && b->kind == STEP_READ);
}

static bool can_go(int t) {
	struct step *s = &threads[t].pending;
	return !threads[t].finished && (!s->ready || s->ready(s->arg));
}

static bool before(int i, const struct node *n) {
	return n->past[trace[i].thread] >= trace[i].past[trace[i].thread];
}

/* The step at the end of the trace races with that of node i: asks that there somebody goes first who can begin what is possible without i: the steps that
 * do not depend on it, then the last one. Whose first step among those depends on none of them, can. */
static void other_order(int i) {
	struct node *n = &trace[i];
	uint32_t seen = 0, initials = 0;
	for (int j = i + 1; j <= depth; j++) {
		uint32_t bit = 1u << trace[j].thread;
		if ((j < depth && before(i, &trace[j])) || (seen & bit))
			continue;
		seen |= bit;
		bool first = true;
		for (int k = i + 1; k < j && first; k++)
			first = before(i, &trace[k]) || !before(k, &trace[j]);
		initials |= first ? bit : 0;
	}
	if (initials & n->todo)
		return;
	initials &= n->enabled;
	n->todo |= initials ? initials & -initials : n->enabled;
}

/* t takes its pending step as the one at `depth`, for the first time: what it depends on, what it races with. */
static void step_analyse(int t) {
	struct node *n = &trace[depth];
	struct step *s = &n->step;
	int last = threads[t].last;
	if (last >= 0)
		memcpy(n->past, trace[last].past, sizeof n->past);
	else
		memset(n->past, 0, sizeof n->past);
	uint32_t at_unlock[MODEL_THREADS] = {0};
	int races[DEPTH_MAX], race_count = 0;
	for (int i = depth - 1; i >= 0; i--) {
		struct node *e = &trace[i];
		int u = e->thread;
		if (u == t || !dependent(&e->step, s) || n->past[u] >= e->past[u])
			continue;
		/* What ends a wait cannot come after it: an unlock and the lock that follows, a write and who was waiting for it. */
		bool forced = (s->kind == STEP_LOCK && e->step.kind == STEP_UNLOCK) || s->kind == STEP_UNLOCK ||
		              (s->ready && last < i && !(e->enabled & 1u << t));
		/* Of a wait's races none hides another: it may be that only the earlier one can be turned round. */
		uint32_t *into = forced || (s->ready && s->kind != STEP_LOCK) ? at_unlock : n->past;
		if (!forced)
			races[race_count++] = i;
		for (int k = 0; k < MODEL_THREADS; k++)
			into[k] = e->past[k] > into[k] ? e->past[k] : into[k];
	}
	for (int k = 0; k < MODEL_THREADS; k++)
		n->past[k] = at_unlock[k] > n->past[k] ? at_unlock[k] : n->past[k];
	n->past[t]++;
	n->thread = t;
	while (race_count > 0)
		other_order(races[--race_count]);
}

/* Who goes on; -1: nobody, the run is over. */
static int decide(void) {
	uint32_t enabled = 0;
	bool all_finished = true, others_rest = true;
	for (int t = 0; t < thread_count; t++) {
		enabled |= can_go(t) ? 1u << t : 0;
		all_finished &= threads[t].finished;
		others_rest &= threads[t].finished || threads[t].rests;
	}
	if (all_finished || (!enabled && others_rest))
		return -1;
	if (!enabled)
		model_fail(__FILE__, __LINE__, "somebody can go on: the others wait for ever");
	if (depth >= DEPTH_MAX)
		model_fail(__FILE__, __LINE__, "the run ends");
	struct node *n = &trace[depth];
	bool fresh = depth >= known;
	if (fresh) {
		n->enabled = enabled;
		n->sleep = n->todo = n->done = 0;
		if (depth > 0) {
			struct node *before = n - 1;
			uint32_t sleepers = (before->sleep | before->done) & ~(1u << before->thread);
			for (int t = 0; t < thread_count; t++) {
				if ((sleepers & 1u << t) && !dependent(&threads[t].pending, &before->step))
					n->sleep |= 1u << t;
			}
		}
		uint32_t candidates = enabled & ~n->sleep;
		if (!candidates) {
			cut = true;
			return -1;
		}
		n->thread = self >= 0 && (candidates & 1u << self) ? self : __builtin_ctz(candidates);
		n->todo = all_orders ? candidates : 1u << n->thread;
	} else if (n->enabled != enabled) {
		model_fail(__FILE__, __LINE__, "the scenario does the same when it is run again");
	}
	int t = n->thread;
	n->step = threads[t].pending;
	if (fresh || depth == known - 1)
		step_analyse(t);
	threads[t].last = depth++;
	return t;
}

static void go(struct arch_ctx *from) {
	int t = decide();
	if (t >= 0 && t == self)
		return;
	self = t;
	if (t >= 0 && model_switched)
		model_switched(t);
	struct arch_ctx *to = t < 0 ? &main_ctx : &threads[t].ctx;
	to->on_cpu = 1;
	static struct arch_thread kernel_thread;
	arch_switch(from, to, &kernel_thread);
}

/* The current thread's next step; returns when it may be taken. */
static void step(enum step_kind kind, const volatile void *addr, bool (*ready)(void *), void *arg, void *pc) {
	if (self < 0 || (model_commutes && model_commutes(addr)))
		return; /* setup or finish; nobody's business */
	threads[self].pending = (struct step){kind, addr, ready, arg, pc};
	go(&threads[self].ctx);
}

static void thread_main(void *arg) {
	int t = (int)(intptr_t)arg;
	scenario->thread[t]();
	threads[t].finished = true;
	go(&threads[t].ctx);
	__builtin_trap();
}

static void clocks_reset(void);
static void kernel_reset(void);
static void locks_reset(void);

static void run(void) {
	clocks_reset();
	kernel_reset();
	locks_reset();
	depth = 0;
	cut = false;
	self = -1;
	if (model_switched)
		model_switched(0);
	scenario->setup();
	for (thread_count = 0; thread_count < MODEL_THREADS && scenario->thread[thread_count]; thread_count++) {
		struct thread *t = &threads[thread_count];
		memset(t, 0, sizeof *t);
		t->last = -1;
		t->clock[thread_count] = 1;
		arch_ctx_init(&t->ctx, stacks[thread_count] + STACK_BYTES, thread_main, (void *)(intptr_t)thread_count);
		t->ctx.tp = arch_tp();
	}
	main_ctx.tp = arch_tp();
	go(&main_ctx);
	self = -1;
	if (!cut && scenario->finish)
		scenario->finish();
}

/* The next decision that was not taken yet, deepest first. False: all were. */
static bool next_run(void) {
	while (depth > 0) {
		struct node *n = &trace[depth - 1];
		n->done |= 1u << n->thread;
		uint32_t left = n->todo & ~n->done & ~n->sleep;
		if (left) {
			n->thread = __builtin_ctz(left);
			known = depth;
			return true;
		}
		depth--;
	}
	return false;
}

static void explore(void) {
	uint64_t runs = 0, cuts = 0;
	int deepest = 0;
	known = 0;
	do {
		run();
		runs++;
		cuts += cut;
		deepest = depth > deepest ? depth : deepest;
	} while (next_run());
	printf("  %-28s %9lu runs, and %lu cut short; up to %d steps\n", scenario->name, runs - cuts, cuts, deepest);
}

/* ---- C11's happens-before ---- */

struct cell {
	const volatile void *addr;
	uint32_t run;
	uint32_t release[MODEL_THREADS];             /* an atomic's: what an acquire gets */
	uint32_t read[MODEL_THREADS], written, writer; /* plain accesses: when */
	void *read_pc, *write_pc;
};
static struct cell cells[CELLS];
static uint32_t cells_run;

static void clocks_reset(void) {
	cells_run++;
}

static struct cell *cell_of(const volatile void *addr) {
	uint64_t h = (uint64_t)(uintptr_t)addr * 0x9E3779B97F4A7C15ull >> 40;
	for (uint32_t probes = 0; probes < CELLS; probes++, h++) {
		struct cell *c = &cells[h % CELLS];
		if (c->run != cells_run)
			*c = (struct cell){.addr = addr, .run = cells_run};
		if (c->addr == addr)
			return c;
	}
	model_fail(__FILE__, __LINE__, "there are enough cells");
}

static void clock_join(uint32_t *into, const uint32_t *from) {
	for (int k = 0; k < MODEL_THREADS; k++)
		into[k] = from[k] > into[k] ? from[k] : into[k];
}

static bool acquires(int order) {
	return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static bool releases(int order) {
	return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static void clock_load(const volatile void *addr, int order) {
	if (self < 0)
		return;
	struct thread *t = &threads[self];
	clock_join(acquires(order) ? t->clock : t->acquired, cell_of(addr)->release);
}

/* A read-modify-write goes on with the release sequence that it finds; a plain store ends it. */
static void clock_store(const volatile void *addr, int order, bool rmw) {
	if (self < 0)
		return;
	struct thread *t = &threads[self];
	struct cell *c = cell_of(addr);
	if (!rmw)
		memset(c->release, 0, sizeof c->release);
	clock_join(c->release, releases(order) ? t->clock : t->released);
	t->clock[self]++;
}

static void race(const volatile void *addr, void *pc, void *other) {
	char text[100];
	snprintf(text, sizeof text, "no data race at %p (here, and at %p before)", (void *)(uintptr_t)addr, other);
	threads[self].pending.pc = pc;
	trace[depth] = (struct node){.thread = self, .step = {STEP_NONE, addr, NULL, NULL, pc}};
	trace[depth + 1] = (struct node){.thread = self, .step = {STEP_NONE, addr, NULL, NULL, other}};
	depth += 2;
	model_fail(__FILE__, __LINE__, text);
}

static void plain(const volatile void *addr, bool write, void *pc) {
	if (self < 0 || (model_commutes && model_commutes(addr)))
		return;
	struct thread *t = &threads[self];
	struct cell *c = cell_of(addr);
	if (c->written > t->clock[c->writer])
		race(addr, pc, c->write_pc);
	if (!write) {
		c->read[self] = t->clock[self];
		c->read_pc = pc;
		return;
	}
	for (int k = 0; k < thread_count; k++) {
		if (k != self && c->read[k] > t->clock[k])
			race(addr, pc, c->read_pc);
	}
	c->written = t->clock[self];
	c->writer = (uint32_t)self;
	c->write_pc = pc;
}

/* ---- what tests and stand-ins call ---- */

int model_self(void) {
	return self;
}

void model_may_rest(void) {
	threads[self].rests = true;
}

void model_await(const volatile void *addr, bool (*ready)(void *), void *arg) {
	step(STEP_READ, addr, ready, arg, __builtin_return_address(0));
	clock_load(addr, __ATOMIC_ACQUIRE);
}

void model_touch(const volatile void *addr) {
	step(STEP_WRITE, addr, NULL, NULL, __builtin_return_address(0));
	clock_load(addr, __ATOMIC_ACQUIRE);
	clock_store(addr, __ATOMIC_RELEASE, true);
}

/* Those that are held: a run that is cut short leaves them so, also where no setup can reach them. */
static volatile uint32_t *locks_held[MODEL_THREADS * 4];
#define LOCKS_HELD_MAX (int)(sizeof locks_held / sizeof locks_held[0])

static void lock_replace(volatile uint32_t *from, volatile uint32_t *to) {
	for (int i = 0; i < LOCKS_HELD_MAX; i++) {
		if (locks_held[i] == from) {
			locks_held[i] = to;
			return;
		}
	}
}

static void locks_reset(void) {
	for (int i = 0; i < LOCKS_HELD_MAX; i++) {
		if (locks_held[i])
			*locks_held[i] = 0;
		locks_held[i] = NULL;
	}
}

static bool lock_free(void *word) {
	return *(uint32_t *)word == 0;
}

void model_lock(volatile void *lock) {
	step(STEP_LOCK, lock, lock_free, (void *)(uintptr_t)lock, __builtin_return_address(0));
	if (*(volatile uint32_t *)lock)
		model_fail(__FILE__, __LINE__, "the lock is free");
	*(volatile uint32_t *)lock = 1;
	lock_replace(NULL, lock);
	clock_load(lock, __ATOMIC_ACQUIRE);
}

void model_unlock(volatile void *lock) {
	step(STEP_UNLOCK, lock, NULL, NULL, __builtin_return_address(0));
	*(volatile uint32_t *)lock = 0;
	lock_replace(lock, NULL);
	clock_store(lock, __ATOMIC_RELEASE, false);
}

/* Who sleeps on which word in the kernel; oldest first. */
static struct {
	const volatile void *word[MODEL_THREADS];
	uint32_t since[MODEL_THREADS], now;
} kernel;

static void kernel_reset(void) {
	memset(&kernel, 0, sizeof kernel);
}

static bool woken(void *arg) {
	return !kernel.word[(intptr_t)arg];
}

bool model_short_waits;

static bool not_zero(void *word) {
	return *(volatile uint32_t *)word != 0;
}

static long futex_wait_model(const volatile void *word, uint32_t expected, bool timed) {
	struct thread *t = &threads[self];
	if (model_short_waits && expected == 0 && !timed) {
		step(STEP_READ, word, not_zero, (void *)(uintptr_t)word, __builtin_return_address(0));
		return 0;
	}
	step(STEP_WRITE, word, NULL, NULL, __builtin_return_address(0));
	if (*(const volatile uint32_t *)word != expected)
		return -11; /* EAGAIN */
	kernel.word[self] = word;
	kernel.since[self] = kernel.now++;
	bool may_time_out = timed && !t->timed_out;
	step(STEP_WRITE, word, may_time_out ? NULL : woken, (void *)(intptr_t)self, __builtin_return_address(0));
	if (woken((void *)(intptr_t)self))
		return 0;
	kernel.word[self] = NULL;
	t->timed_out = true;
	return -110; /* ETIMEDOUT */
}

static long futex_wake_model(const volatile void *word, long n) {
	long woke = 0;
	if (model_short_waits)
		return 0;
	step(STEP_WRITE, word, NULL, NULL, __builtin_return_address(0));
	while (woke < n) {
		int oldest = -1;
		for (int t = 0; t < thread_count; t++) {
			if (kernel.word[t] == word && (oldest < 0 || kernel.since[t] < kernel.since[oldest]))
				oldest = t;
		}
		if (oldest < 0)
			break;
		kernel.word[oldest] = NULL;
		woke++;
	}
	return woke;
}

long model_syscall(long n, long a, long b, long c, long d) {
	if (n == SYS_sched_yield || n == SYS_membarrier) /* nothing here is out of order */
		return 0;
	if (n == SYS_gettid || n == SYS_rt_sigprocmask || n == SYS_sigaltstack) /* of no thread but the caller */
		return 0;
	if (n != SYS_futex)
		model_fail(__FILE__, __LINE__, "the kernel knows this system call");
	int op = (int)b & FUTEX_CMD_MASK;
	const volatile void *word = (const volatile void *)(uintptr_t)a;
	if (op == FUTEX_WAKE)
		return futex_wake_model(word, c);
	return futex_wait_model(word, (uint32_t)c, d != 0);
}

/* ---- what the compiler calls ---- */


void __tsan_init(void) {
}
void __tsan_func_entry(void *pc) {
	(void)pc;
}
void __tsan_func_exit(void) {
}

#define PLAIN(name, write) \
	void __tsan_##name(void *addr) { \
		plain(addr, write, PC); \
	}
#define PLAIN_BOTH(size) PLAIN(read##size, false) PLAIN(write##size, true) \
	PLAIN(unaligned_read##size, false) PLAIN(unaligned_write##size, true)
PLAIN_BOTH(1) PLAIN_BOTH(2) PLAIN_BOTH(4) PLAIN_BOTH(8) PLAIN_BOTH(16)

void __tsan_read_range(char *addr, size_t n) {
	for (size_t i = 0; i < n; i += 8)
		plain(addr + i, false, PC);
}
void __tsan_write_range(char *addr, size_t n) {
	for (size_t i = 0; i < n; i += 8)
		plain(addr + i, true, PC);
}

static void step_rmw(volatile void *addr, int order, void *pc) {
	step(STEP_WRITE, addr, NULL, NULL, pc);
	clock_load(addr, order);
	clock_store(addr, order, true);
}

#define RMW(bits, type, name, update) \
	type __tsan_atomic##bits##_##name(volatile type *addr, type v, int order) { \
		step_rmw(addr, order, PC); \
		type old = *addr; \
		*addr = update; \
		return old; \
	}

/* A compare-exchange is a write also when it fails: whether it would is not known when it is announced. */
#define ATOMICS(bits, type) \
	type __tsan_atomic##bits##_load(const volatile type *addr, int order) { \
		step(STEP_READ, addr, NULL, NULL, PC); \
		clock_load(addr, order); \
		return *addr; \
	} \
	void __tsan_atomic##bits##_store(volatile type *addr, type v, int order) { \
		step(STEP_WRITE, addr, NULL, NULL, PC); \
		clock_store(addr, order, false); \
		*addr = v; \
	} \
	RMW(bits, type, exchange, v) \
	RMW(bits, type, fetch_add, (type)(old + v)) \
	RMW(bits, type, fetch_sub, (type)(old - v)) \
	RMW(bits, type, fetch_or, (type)(old | v)) \
	RMW(bits, type, fetch_and, (type)(old & v)) \
	static bool compare_exchange##bits(volatile type *addr, type *expected, type v, int order, int failed, void *pc) { \
		step(STEP_WRITE, addr, NULL, NULL, pc); \
		if (*addr != *expected) { \
			clock_load(addr, failed); \
			*expected = *addr; \
			return false; \
		} \
		clock_load(addr, order); \
		clock_store(addr, order, true); \
		*addr = v; \
		return true; \
	} \
	TSAN_COMPARE_EXCHANGE(bits, type, compare_exchange##bits)
ATOMICS(8, uint8_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)

void __tsan_atomic_signal_fence(int order) {
	(void)order;
}

void __tsan_atomic_thread_fence(int order) {
	if (self < 0)
		return;
	struct thread *t = &threads[self];
	if (acquires(order))
		clock_join(t->clock, t->acquired);
	if (releases(order))
		memcpy(t->released, t->clock, sizeof t->released);
	t->clock[self]++;
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IOLBF, 0);
	bool quick = argc > 1 && !strcmp(argv[1], "quick");
	all_orders = argc > 1 && !strcmp(argv[1], "all-orders");
	const char *only = argc > 1 && !quick && !all_orders ? argv[1] : "";
	arch_init();
	crashes_report();
	for (scenario = scenarios; scenario->name; scenario++) {
		if (!(quick && scenario->slow) && strstr(scenario->name, only))
			explore();
	}
	return 0;
}
