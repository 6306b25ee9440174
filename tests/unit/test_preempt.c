/* Preemption by the thousands of times a second: a kernel thread interrupts whatever goroutine it finds running, as sysmon's timers do only at the
 * kernel's ticks, and goroutines that hold a pattern in every register (tests/programs/pre_registers.c) look whether it is still there.
 * GOSHIM_PREEMPTIONS says how often; `make soak-preempt` ten million times. */
#include <linux/futex.h>
#include <sys/prctl.h>

#include "sched_test.h"

#define main pre_registers_main
#include "../programs/pre_registers.c"
#undef main

#if defined(__x86_64__)
enum { CODE_BYTES = 16384, COPIED_BYTES = 512, LOOPS = 300000, PAUSE_NS = 20000 };
static _Atomic uint32_t running;
static _Atomic bool enough;
static char *code; /* a copy of hold_*(): what is linked with the runtime is never interrupted */

static void code_map(void) {
	code = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(code != MAP_FAILED);
}

/* ---- the handler, as sigentry.c has it ---- */

struct kernel_sigaction {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

void restorer(void);
__asm__("restorer:\n	movl $15, %eax\n	syscall\n");

static void handler(int sig, siginfo_t *info, void *context) {
	(void)sig;
	int saved = errno;
	if (info->si_code == SI_TIMER)
		preempt_signal(context);
	errno = saved;
}

static void handler_install(void) {
	struct kernel_sigaction sa = {handler, SA_SIGINFO | SA_ONSTACK | SA_RESTART | 0x04000000 /* SA_RESTORER */, restorer, 0};
	must(SYS4(SYS_rt_sigaction, PREEMPT_SIGNAL, &sa, 0, 8) == 0);
}

/* ---- who interrupts ---- */

static uint64_t preemptions(void) {
	uint64_t n = stats_shared[STAT_PREEMPTED];
	for (uint32_t i = 0; i < sched.procs; i++)
		n += sched.all_p[i]->stat[STAT_PREEMPTED];
	return n;
}

static void interrupt(struct p *p) {
	struct m *m = atomic_load_explicit(&p->m, memory_order_acquire);
	struct g *g = m ? atomic_load_explicit(&m->curg, memory_order_acquire) : NULL;
	if (!g || g->kind != G_GOROUTINE || !m->sigstack)
		return;
	siginfo_t info = {.si_signo = PREEMPT_SIGNAL, .si_code = SI_TIMER};
	m->preempt_tick = (uint32_t)p->schedtick;
	m->preempt_tries = 0;
	atomic_store_explicit(&m->preempt_g, g, memory_order_release);
	SYS4(SYS_rt_tgsigqueueinfo, getpid(), m->ktid, PREEMPT_SIGNAL, &info);
}

static void *interrupts(void *arg) {
	uint64_t wanted = *(uint64_t *)arg, last = 0;
	int64_t moved = nanotime();
	struct timespec pause = {0, PAUSE_NS};
	prctl(PR_SET_TIMERSLACK, 1); /* a sleeper is put in front of who computes, one that yields behind */
	/* Where that is allowed, it comes on a CPU at once: ten times as many in a second. */
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
	while (preemptions() < wanted) {
		for (uint32_t i = 0; i < sched.procs; i++)
			interrupt(sched.all_p[i]);
		if (preemptions() != last) {
			last = preemptions();
			moved = nanotime();
		}
		must(nanotime() - moved < LONG_NS);
		nanosleep(&pause, NULL);
	}
	enough = true;
	return NULL;
}

/* ---- who holds ---- */

static void hold(int variant, const struct state *in, struct state *out) {
	static void (*const variants[])(const struct state *, struct state *, long) = {hold_sse, hold_avx, hold_avx512};
	void (*copy)(const struct state *, struct state *, long);
	uintptr_t at = (uintptr_t)code + ((uintptr_t)variants[variant] - (uintptr_t)hold_sse);
	memcpy(&copy, &at, sizeof copy);
	copy(in, out, LOOPS);
}

static void holder_main(struct g *g) {
	uint64_t id = *(uint64_t *)(void *)g->ext;
	int variant = (int)(id % 3);
	if (variant == 2 && !(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")))
		variant = 1;
	if (variant == 1 && !__builtin_cpu_supports("avx"))
		variant = 0;
	size_t vectors = variant == 2 ? 32 : 16, bytes = variant == 0 ? 16 : variant == 1 ? 32 : 64;
	struct state in, out;
	tcb_thread_start();
	for (uint64_t seed = id * 1000; !enough; seed++) {
		fill(&in, seed);
		memset(&out, 0, sizeof out);
		hold(variant, &in, &out);
		must(!memcmp(in.gpr, out.gpr, sizeof in.gpr) && !memcmp(in.red, out.red, sizeof in.red) && !memcmp(in.st, out.st, sizeof in.st));
		must(in.mxcsr == (out.mxcsr & ~0x3fu) && in.cw == (out.cw & 0xffff) && (out.flags & 0x401) == 0x401);
		must(variant != 2 || !memcmp(in.k, out.k, sizeof in.k));
		for (size_t i = 0; i < vectors; i++)
			must(!memcmp(in.vec[i], out.vec[i], bytes));
		g_yield(g);
	}
	g_live_drop();
	g_free(g);
	if (atomic_fetch_sub(&running, 1) == 1)
		futex_wake(&running, 1, FUTEX_ANY);
}

Test(preempt, registers, .timeout = 3600) {
	const char *why = NULL, *text = getenv("GOSHIM_PREEMPTIONS");
	uint64_t wanted = text ? strtoull(text, NULL, 10) : 300;
	if (!__builtin_cpu_supports("sse2"))
		cr_skip_test("no SSE");
	code_map();
	memcpy(code, (void *)(uintptr_t)hold_sse, CODE_BYTES);
	handler_install();
	sched_config.preempt = false; /* sysmon's timers would come in between */
	must(try_start(2, &why) == 0);
	for (uint32_t i = 0; i < sched.procs; i++)
		sched.all_p[i]->schedtick = UINT32_MAX - 50; /* some days later */
	m_sigstack_arm(g_self()->m);
	running = HOLDERS;
	for (uint64_t i = 0; i < HOLDERS; i++) {
		int err;
		struct g *g = g_new(&(struct g_stack_req){.size = 256 << 10, .guard = 4096}, holder_main, &err);
		must(g);
		*(uint64_t *)(void *)g->ext = i;
		ready_new(g);
	}
	pthread_t t = thread_start(interrupts, &wanted);
	for (uint32_t n; (n = running);)
		futex_wait(&running, n, -1, FUTEX_ANY, false, "holders");
	thread_join(t);
	cr_expect(preemptions() >= wanted);
	/* not only those from whom sysmon has taken the P first */
	cr_expect(stats_shared[STAT_RETAKEN_HOG] < wanted / 2, "%lu", (unsigned long)stats_shared[STAT_RETAKEN_HOG]);
	printf("%lu preemptions\n", (unsigned long)preemptions());
}

/* ---- who waits for another to write, without a pause or a call ---- */

enum spin_end { SPIN_ON, SPIN_COMPUTE, SPIN_SLEEP, SPIN_STOP };
static volatile int spin_end;
static uint32_t sleeps;

#define COPIED __attribute__((noinline, no_sanitize("undefined"), optimize("O2"))) /* so it goes from where it is copied to */

COPIED static void spin_while(const volatile int *word, int value) {
	while (*word == value)
		continue;
}

COPIED static uint64_t compute_until(const volatile int *word, int value) {
	uint64_t a = 1, b = 2, c = 3, d = 4;
	while (*word != value) {
		a = (a ^ a << 13) + b;
		b = (b ^ b >> 7) + c;
		c = (c ^ c << 17) + d;
		d = (d ^ d >> 5) + a;
	}
	return a;
}

/* fn is one of the two. */
static void *copy_of(uintptr_t fn, size_t at) {
	memcpy(code + at, (void *)fn, COPIED_BYTES);
	return code + at;
}

static void compute(void) {
	uint64_t (*fn)(const volatile int *, int) = copy_of((uintptr_t)compute_until, COPIED_BYTES);
	fn(&spin_end, SPIN_STOP);
}

static void hog(void *arg) {
	(void)arg;
	compute();
}

static void spinner(void *arg) {
	void (*fn)(const volatile int *, int) = copy_of((uintptr_t)spin_while, 0);
	(void)arg;
	fn(&spin_end, SPIN_ON);
	if (spin_end == SPIN_SLEEP) /* where nobody sees it */
		SYS4(SYS_futex, &sleeps, FUTEX_WAIT_PRIVATE, 0, NULL);
	else
		compute();
}

/* Not asleep: with everybody on a CPU and no P in use nobody would look at them. */
static void a_millisecond(void) {
	for (int64_t end = nanotime() + 1000000; nanotime() < end;)
		g_yield(g_self());
}

static void spin_then(enum spin_end then) {
	struct g *hogs[3], *g;
	code_map();
	handler_install();
	sched_config.preempt = true;
	start(2);
	m_sigstack_arm(g_self()->m);
	g = go(spinner, NULL);
	for (int i = 0; i < 3; i++)
		hogs[i] = go(hog, NULL);
	int64_t limit = nanotime() + LONG_NS;
	for (; !g_spins(g); a_millisecond())
		must(nanotime() < limit);
	/* It goes on without a P. Who computes would be in the queue after a slice. */
	for (int looks = 0; looks < 50; a_millisecond()) {
		bool has_p = false;
		must(nanotime() < limit);
		for (uint32_t i = 0; i < 2; i++) {
			struct m *m = sched.all_p[i]->m;
			has_p |= m && m->curg == g;
		}
		looks = has_p || g->state != GS_RUNNING ? 0 : looks + 1;
	}
	/* They give way, each time looked at before. */
	for (uint64_t until = preemptions() + 20; preemptions() < until; a_millisecond()) {
		must(nanotime() < limit);
		for (int i = 0; i < 3; i++)
			must(!g_spins(hogs[i]));
	}
	spin_end = then;
	for (; g_spins(g); a_millisecond())
		must(nanotime() < limit);
	spin_end = SPIN_STOP;
	sleeps = 1;
	SYS3(SYS_futex, &sleeps, FUTEX_WAKE_PRIVATE, 1);
	wait_all();
}

/* ---- who waits by instructions of its own ---- */

COPIED static void futex_wait_raw(uint32_t *word) {
	register long timeout __asm__("r10") = 0;
	while (*(volatile uint32_t *)word == 0) {
		long r = SYS_futex;
		__asm__ volatile("syscall" : "+a"(r) : "D"(word), "S"(FUTEX_WAIT_PRIVATE), "d"(0), "r"(timeout) : "rcx", "r11", "memory");
	}
}

static _Atomic int begun, without;

static void waits_raw(void *arg) {
	void (*fn)(uint32_t *) = copy_of((uintptr_t)futex_wait_raw, 0);
	struct g *g = g_self();
	(void)arg;
	g_begins(g);
	atomic_fetch_add(&without, !g->m->p);
	atomic_fetch_add(&begun, 1);
	fn(&sleeps);
}

static void raw_go(void) {
	int err = 0;
	struct g *g = task_new(waits_raw, NULL, &(struct g_stack_req){.size = STACK_BYTES, .guard = 4096}, &err);
	must(g);
	g->start = (uintptr_t)waits_raw;
	atomic_fetch_add(&tasks, 1);
	ready_new(g);
}

/* Found one by one, until it is known of their function; then each begins so. A machine that is busy with something else has not a CPU for each at once: not all count. */
Test(preempt, who_waits_unseen_begins_without_a_p_when_that_is_known) {
	enum { EACH = 8 };
	int64_t limit = nanotime() + LONG_NS;
	code_map();
	start(2);
	for (bool known = false; !known;) {
		must(nanotime() < limit);
		sleeps = 0;
		without = begun = 0;
		for (int i = 0; i < EACH; i++)
			raw_go();
		yield_until(begun == EACH);
		known = without == EACH;
		a_millisecond();
		sleeps = 1;
		SYS3(SYS_futex, &sleeps, FUTEX_WAKE_PRIVATE, INT32_MAX);
		wait_all();
	}
}

Test(preempt, who_spins_goes_on_without_a_p_until_it_computes) {
	spin_then(SPIN_COMPUTE);
}

Test(preempt, who_spins_goes_on_without_a_p_until_it_sleeps) {
	spin_then(SPIN_SLEEP);
}
#endif
