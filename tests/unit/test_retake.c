/* Ps and who keeps them: goroutines that compute, wait in system calls, bracketed or where nobody sees it, or go on without one (sysmon.c's side of the scheduler).
 *
 * Built as test_sched.c, for its reasons. */
#include "sched_test.h"

#include <linux/futex.h>

#include "netpoll.h"

/* ---- computing ---- */

static _Atomic bool stop;

static void hog(void *arg) {
	(void)arg;
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		;
}

static void set_stop(void *arg) {
	(void)arg;
	atomic_store(&stop, true);
}

/* SCH-1: nobody yields; sysmon takes the Ps away, the hogs go on without. */
TEST_PROCS(retake, hogs_lose_their_p) {
	start(procs);
	for (uint32_t i = 0; i < procs; i++)
		go(hog, NULL);
	for (int i = 0; i < 5; i++)
		g_yield(g_self());
	go(note_run, NULL);
	go(set_stop, NULL);
	wait_all();
	cr_expect(noted == 1);
}

/* Running without a P is legal for everything. */
static _Atomic uint32_t pless_word;

static void work_without_p(void *arg) {
	struct g *g = g_self();
	for (int i = 0; i < 3; i++) {
		atomic_store(&stop, false);
		go(set_stop, NULL);
		while (!atomic_load(&stop)) /* on one P it can only end by losing the P */
			;
		rt_enter(g); /* notices */
		must(sched.procs > 1 || !g->m->p);
		rt_exit(g);
		switch (((int)(intptr_t)arg + i) % 4) {
		case 0:
			g_yield(g);
			break;
		case 1:
			sleep_ns(MS);
			break;
		case 2:
			syscall_enter(g);
			syscall_exit(g);
			break;
		case 3:
			pless_word++;
			futex_wake(&pless_word, 100, FUTEX_ANY);
			go(note_run, NULL);
			break;
		}
		must(g->in_rt == 0);
	}
}

Test(retake, running_without_a_p) {
	start(1);
	for (int i = 0; i < 4; i++) {
		go(work_without_p, (void *)(intptr_t)i);
		wait_all();
	}
	cr_expect(noted == 3);
}

static _Atomic uint32_t unseen_word;
static struct g *_Atomic unseen_waiter;

static void wait_unseen(void *arg) {
	(void)arg;
	unseen_waiter = g_self();
	while (!unseen_word)
		SYS4(SYS_futex, &unseen_word, FUTEX_WAIT_PRIVATE, 0, 0);
}

/* False: sysmon did not see it stand still, for want of a CPU, say. */
static bool waits_unseen(void) {
	unseen_word = 0;
	unseen_waiter = NULL;
	go(wait_unseen, NULL);
	yield_until(unseen_waiter && unseen_waiter->m->retake == RETAKE_TAKEN);
	volatile struct m *m = unseen_waiter->m; /* sysmon's notes there are looked at as they change */
	bool seen = m->unseen_g == unseen_waiter;
	if (seen)
		m->preempt_g = NULL; /* whoever was asked before */
	for (int looks = 0; seen && looks < 3; looks++) {
		int64_t before = nanotime();
		yield_until(m->clock_at > before && m->stray_g == unseen_waiter);
		cr_expect(m->preempt_g == NULL);
	}
	unseen_word = 1;
	SYS3(SYS_futex, &unseen_word, FUTEX_WAKE_PRIVATE, 1);
	wait_all();
	return seen;
}

/* It would only take another P to wait with. */
Test(retake, who_waits_unseen_is_not_asked_to_give_way) {
	start(1);
	m_sigstack_arm(g_self()->m); /* else it is not asked for want of that */
	while (!waits_unseen())
		;
}

/* Inside the runtime nobody loses his P, however long it takes: he may be in the middle of its queue. */
static void dawdle_inside(void *arg) {
	static struct pd held;
	struct g *g = g_self();
	atomic_store(&stop, false);
	go(set_stop, NULL);
	if (arg)
		pd_call_begin(g, &held);
	rt_enter(g);
	struct p *p = g->m->p;
	must(p);
	int64_t end = nanotime() + 60 * MS;
	while (nanotime() < end) {
		must(g->m->retake != RETAKE_TAKEN && p->m == g->m);
		rt_enter(g); /* no way in from outside */
		must(g->m->p == p);
		rt_exit(g);
	}
	rt_exit(g);
	if (arg)
		pd_call_end(g);
	while (!atomic_load(&stop)) /* outside: it loses it at once */
		;
}

/* `arg`: nor on the way into a call that goes on outside with its descriptor held, or in a handler there. */
static void dawdle(void *arg) {
	start(1);
	for (int i = 0; i < 5; i++) {
		go(dawdle_inside, arg);
		wait_all();
	}
}

Test(retake, nobody_loses_his_p_inside_the_runtime) {
	dawdle(NULL);
}

Test(retake, nobody_loses_his_p_inside_the_runtime_in_a_call) {
	dawdle(&noted);
}

static int gave, refused;

/* Never outside for as long as sysmon needs to ask: so it gives its P as it comes in. */
static void come_by(void *arg) {
	struct g *g = g_self();
	(void)arg;
	while (gave < 5 && refused < 50) {
		go(note_run, NULL);
		for (bool has = true; has && refused < 50;) {
			bool wanted = g->m->p && atomic_load(&g->m->retake) == RETAKE_WANTED;
			rt_enter(g);
			has = g->m->p;
			gave += wanted && !has;
			refused += wanted && has; /* now and then: sysmon has given up in between */
			rt_exit(g);
		}
		g_yield(g);
	}
}

Test(retake, who_comes_by_again_and_again_gives_its_p) {
	start(1);
	go(come_by, NULL);
	wait_all();
	cr_expect(gave == 5, "gave it %d times, refused %d times", gave, refused);
}

/* Slices of a third of a millisecond, by goroutines that are always in the P's own queue. */
static void take_slices(void *arg) {
	(void)arg;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		for (int64_t end = nanotime() + MS / 3; nanotime() < end;)
			;
		g_yield(g_self());
	}
}

static int soon;

static void queue_globally(void *arg) {
	struct p *p = sched.all_p[0];
	(void)arg;
	for (int i = 0; i < 20; i++) {
		uint64_t before = p->schedtick;
		g_move(g_self());
		soon += p->schedtick - before < 30; /* 61 without sysmon's help */
	}
	atomic_store(&stop, true);
}

Test(retake, the_global_queue_does_not_wait_for_slow_switches) {
	start(1);
	for (int i = 0; i < 6; i++)
		go(take_slices, NULL);
	go(queue_globally, NULL);
	wait_all();
	cr_expect(soon >= 10, "%d of 20 times", soon);
}

/* ---- syscalls ---- */

static int fds[2];

static void read_blocking(void *how) {
	struct g *g = g_self();
	char c;
	if (how == (void *)1)
		syscall_enter(g);
	else if (how == (void *)2)
		syscall_enter_blocking(g);
	must(read(fds[0], &c, 1) == 1);
	if (how)
		syscall_exit(g);
	must(g->in_syscall == 0 && g->in_rt == 0);
	atomic_fetch_add(&noted, 1);
}

static void write_one(void *arg) {
	(void)arg;
	must(write(fds[1], "x", 1) == 1);
}

/* `how`: bracketed, known to block, or unseen. The writer gets to run although the readers block every M there is. */
static void blocking_reads(uint32_t procs, int how) {
	must(pipe(fds) == 0);
	start(procs);
	int n = (int)procs + 3;
	for (int i = 0; i < n; i++)
		go(read_blocking, (void *)(intptr_t)how);
	for (int i = 0; i < n; i++)
		go(write_one, NULL);
	wait_all();
	cr_expect(noted == n);
}

TEST_PROCS(retake, bracketed_syscalls) {
	blocking_reads(procs, 1);
}

TEST_PROCS(retake, blocking_syscalls) {
	blocking_reads(procs, 2);
}

TEST_PROCS(retake, unseen_syscalls) {
	blocking_reads(procs, 0);
}

static void many_short_syscalls(void *arg) {
	struct g *g = g_self();
	for (int i = 0; i < 3000; i++) {
		if (i % 100 == 99)
			syscall_enter_blocking(g);
		else
			syscall_enter(g);
		syscall(SYS_getppid);
		syscall_exit(g);
		if (i % 50 == 0)
			g_yield(g);
	}
	(void)arg;
	atomic_fetch_add(&noted, 1);
}

TEST_PROCS(retake, short_syscalls) {
	start(procs);
	for (int i = 0; i < 20; i++)
		go(many_short_syscalls, NULL);
	wait_all();
	cr_expect(noted == 20);
	cr_expect(sched.idle_p_count < sched.procs, "main's P is not idle");
}

/* SCH-5: the kernel refuses threads. Everything still runs, later. */
TEST_PROCS(retake, no_more_kernel_threads) {
	must(pipe(fds) == 0);
	start(procs);
	atomic_store(&threads_allowed, 0);
	for (int i = 0; i < 200; i++)
		go(note_run, NULL);
	wait_all();
	cr_expect(noted == 200);
	must(write(fds[1], "xxx", 3) == 3);
	for (int i = 0; i < 3; i++)
		go(read_blocking, (void *)(intptr_t)i);
	for (int i = 0; i < 200; i++)
		go(note_run, NULL);
	wait_all();
	cr_expect(noted == 403);
	atomic_store(&threads_allowed, 1000); /* and it recovers */
	atomic_store(&stop, false);
	for (uint32_t i = 0; i < procs; i++)
		go(hog, NULL);
	go(set_stop, NULL);
	wait_all();
}
