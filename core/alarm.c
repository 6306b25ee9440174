/* Timers that belong to no wait: tickers, deadlines of contexts.
 *
 * With a runtime they live in the heap of the P that arms them, beside the time-outs of waits, and the Ms fire them. Without one (not started, or standing
 * aside) nobody looks at those heaps: then they live in one of their own, which a kernel thread, made for the first such timer, looks after.
 * It sleeps until the earliest, on a word that every new timer changes.
 *
 * Lock: aside_lock, rank LOCK_ASIDE, for making the thread only.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <time.h>

#include "runtime.h"

static struct timer_heap aside = {.first = INT64_MAX};
static _Atomic uint32_t aside_note; /* futex word: +1 for each timer queued */
static struct lock aside_lock;
static bool aside_up;
static struct g aside_g;

static void *aside_main(void *arg) {
	(void)arg;
	aside_g.kind = G_FOREIGN;
	g_state_set(&aside_g, GS_RUNNING);
	aside_g.tid = (int32_t)SYS0(SYS_gettid);
	aside_g.ctx.tp = arch_tp();
	aside_g.in_rt = 1; /* for ever: nothing of the program runs here */
	tls_g = &aside_g;
	for (;;) {
		/* acquire: pairs with the release in timer_arm(): a timer queued before is seen below; a later one changes the word */
		uint32_t note = atomic_load_explicit(&aside_note, memory_order_acquire);
		timer_run(&aside, nanotime(), INT_MAX);
		int64_t first = atomic_load_explicit(&aside.first, memory_order_relaxed);
		struct timespec ts = {first / 1000000000, first % 1000000000};
		SYS6(SYS_futex, &aside_note, FUTEX_WAIT_BITSET_PRIVATE, note, first == INT64_MAX ? NULL : &ts, 0,
		     FUTEX_BITSET_MATCH_ANY);
	}
	return NULL;
}

static bool aside_start(void) {
	uint64_t all = ~(3ull << 31), old; /* but libc's own: setuid() waits for an answer */
	SYS4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, 8);
	lock_acquire(&aside_lock, LOCK_ASIDE);
	if (!aside_up) {
		memset(&aside_g, 0, sizeof aside_g); /* as sysmon_start() */
		aside_up = sched_thread_create && sched_thread_create(aside_main, NULL) == 0;
	}
	bool up = aside_up;
	lock_release(&aside_lock);
	SYS4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &old, 0, 8);
	return up;
}

int timer_arm(struct timer *t) {
	struct g *g = g_self();
	int64_t when = t->when; /* it may fire, and be gone, before we are back */
	if (!sched_started()) {
		if (!aside_start())
			return -EAGAIN;
		rt_enter(g);
		timer_add(&aside, t);
		rt_exit(g);
		/* release: see aside_main() */
		atomic_fetch_add_explicit(&aside_note, 1, memory_order_release);
		SYS3(SYS_futex, &aside_note, FUTEX_WAKE_PRIVATE, 1);
		return 0;
	}
	rt_enter(g);
	struct m *m = g->m;
	timer_add(&(m && m->p ? m->p : sched.all_p[0])->timers, t);
	timer_wake_poller(when);
	rt_exit(g);
	return 0;
}

/* Is that the address of a heap? A P's that is gone is one, too: sysmon may just have moved its timers. */
static bool heap_exists(struct timer_heap *h) {
	if (h == &aside)
		return true;
	for (uint32_t i = 0; i < GOMAXPROCS_MAX && sched.all_p[i]; i++) {
		struct p *p = sched.all_p[i];
		if (h == &p->timers)
			return p->birth == sched.birth;
	}
	return false;
}

bool timer_disarm(struct timer *t) {
	struct g *g = g_self();
	struct timer_heap *h = __atomic_load_n(&t->heap, __ATOMIC_RELAXED), *now;
	bool queued = false;
	rt_enter(g);
	while (!queued && heap_exists(h)) {
		queued = timer_forget(h, t);
		now = __atomic_load_n(&t->heap, __ATOMIC_RELAXED);
		if (now == h)
			break;
		h = now; /* moved meanwhile, or it is changed by somebody, as no timer is */
	}
	rt_exit(g);
	return queued;
}

void timer_fork_child(void) {
	memset(&aside, 0, sizeof aside);
	aside.first = INT64_MAX;
	aside_lock.word = 0;
	aside_up = false;
}
