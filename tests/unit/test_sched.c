/* The scheduler as a whole: goroutines on real Ms. Test programs run unmodified code; here the core is used as the shims use it.
 *
 * Built without AddressSanitizer (see the Makefile): its runtime knows one stack per kernel thread and finds its own state through TSD,
 * both of which belong to the goroutine here. UndefinedBehaviorSanitizer keeps no such state and stays. */
#include "sched_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <fenv.h>
#include <math.h>

#include "debug.h"
#include "netpoll.h"

/* ---- start ---- */

Test(sched, start_makes_main_a_goroutine) {
	const char *why = NULL;
	pthread_t before = pthread_self();
	cr_expect(!sched_started() && !g_goroutine());
	start(2);
	struct g *g = g_goroutine();
	cr_assert(sched_started() && g && g->kind == G_MAIN && g == g_self());
	cr_expect(g_count() == 1 && g->in_rt == 0 && g->m->curg == g);
	cr_expect(pthread_equal(before, pthread_self()) && g_of_tcb((uintptr_t)before) == g);
	cr_expect(try_start(3, &why) == 0 && sched.procs == 2, "a second start changes nothing");
}

Test(sched, procs_are_clamped) {
	start(0);
	cr_expect(sched.procs == 1);
}

static void do_nothing(void *arg) {
	(void)arg;
}

Test(sched, procs_are_clamped_above) {
	start(100000);
	cr_expect(sched.procs == GOMAXPROCS_MAX);
	go(do_nothing, NULL);
	wait_all();
}

static void *lookup_nothing(const char *name) {
	(void)name;
	return NULL;
}

static void *kernel_thread(void *arg) {
	must(g_self()->kind == G_FOREIGN);
	return arg;
}

static void expect_refused(void) {
	const char *why = NULL;
	must(try_start(2, &why) < 0 && why && *why);
	must(!sched_started() && !g_goroutine());
	pthread_t t; /* threads are kernel threads as before */
	must(pthread_create(&t, NULL, kernel_thread, NULL) == 0 && pthread_join(t, NULL) == 0);
}

static void refuse_membarrier(void) {
	syscall_refuse(SYS_membarrier, -1, 0, ENOSYS);
	expect_refused();
}

static void refuse_epoll(void) {
	syscall_refuse(SYS_epoll_create1, -1, 0, EMFILE);
	expect_refused();
}

static void refuse_threads(void) {
	threads_allowed = 0;
	expect_refused();
	threads_allowed = 100; /* and later it works */
	start(2);
}

static void refuse_libc(void) {
	const char *why = NULL;
	tcb_lookup = lookup_nothing;
	sched_thread_create = create_thread;
	must(sched_start(&why) == -ENOSYS && why && !sched_started());
}

static void refuse_memory(void) {
	memory_refuse();
	const char *why = NULL;
	must(try_start(2, &why) < 0 && why && !sched_started() && !g_goroutine());
}

Test(sched, start_is_refused) {
	expect_child_ok(refuse_membarrier);
	expect_child_ok(refuse_epoll);
	expect_child_ok(refuse_threads);
	expect_child_ok(refuse_libc);
	expect_child_ok(refuse_memory);
}

/* ---- life ---- */

TEST_PROCS(sched, many_at_once) {
	start(procs);
	for (int i = 0; i < 5000; i++)
		go(note_run, NULL);
	wait_all();
	cr_expect(noted == 5000);
	cr_expect(g_count() == 1);
}

TEST_PROCS(sched, gs_are_used_again) {
	start(procs);
	for (int i = 0; i < 20000; i++) {
		go(note_run, NULL);
		if (i % 8 == 7)
			wait_all();
	}
	wait_all();
	cr_expect(noted == 20000);
	cr_expect(gs_ever() < 400, "%u Gs for 8 at a time", gs_ever());
}

static void spawn_tree(void *arg) {
	int depth = (int)(intptr_t)arg;
	atomic_fetch_add(&noted, 1);
	for (int i = 0; i < 2 && depth; i++)
		go(spawn_tree, (void *)(intptr_t)(depth - 1));
}

TEST_PROCS(sched, goroutines_make_goroutines) {
	start(procs);
	go(spawn_tree, (void *)11);
	wait_all();
	cr_expect(noted == 4095, "%d", noted);
}

/* As a joiner does: waits for the end, then for the stack. */
static void hold_and_return(void *arg) {
	futex_wait(arg, 0, -1, FUTEX_ANY, false, "hold");
}

TEST_PROCS(sched, free_by_a_joiner) {
	start(procs);
	for (int i = 0; i < 2000; i++) {
		static _Atomic uint32_t gate;
		int err;
		gate = 0;
		struct g *g = task_new(hold_and_return, (void *)&gate, &(struct g_stack_req){.size = STACK_BYTES, .guard = 4096}, &err);
		((struct task *)(void *)g->ext)->keep = true;
		atomic_fetch_add(&tasks, 1);
		ready_new(g);
		if (i % 2)
			g_yield(g_self());
		gate = 1;
		futex_wake(&gate, 1, FUTEX_ANY);
		wait_all();
		g_wait_off_cpu(g);
		cr_assert(g->ctx.on_cpu == 0);
		yield_until(g->state == GS_DEAD);
		g_free(g);
	}
	cr_expect(gs_ever() < 50);
}

static void on_own_stack(void *arg) {
	char here;
	struct g_stack_req *req = arg;
	must(&here > (char *)req->user_lo && &here < (char *)req->user_lo + req->size);
	errno = 5;
	g_yield(g_self());
	must(errno == 5);
}

Test(sched, stack_of_the_program) {
	start(2);
	for (int i = 0; i < 100; i++) {
		int err;
		struct g_stack_req req = {.size = 128 << 10};
		req.user_lo = aligned_alloc(4096, req.size);
		memset(req.user_lo, 0xff, req.size);
		struct g *g = task_new(on_own_stack, &req, &req, &err);
		must(g);
		uintptr_t tcb = g->ctx.tp;
		((struct task *)(void *)g->ext)->keep = true;
		atomic_fetch_add(&tasks, 1);
		ready_new(g);
		wait_all();
		yield_until(g->state == GS_DEAD);
		g_wait_off_cpu(g);
		tcb_free(tcb);
		g_free(g);
		free(req.user_lo);
	}
	cr_expect(gs_ever() < 50);
}

static void no_memory(void) {
	start(1); /* one P: the others would keep some of the dead for themselves */
	go(note_run, NULL);
	wait_all();
	memory_refuse();
	int n = 0, err = 0;
	struct g *g;
	while ((g = task_new(note_run, NULL, &(struct g_stack_req){.size = STACK_BYTES, .guard = 4096}, &err)) && n < 100000) {
		atomic_fetch_add(&tasks, 1);
		ready_new(g);
		n++;
	}
	must(n < 100000 && err == -EAGAIN);
	wait_all(); /* all that were made run */
	must(noted == n + 1);
	go(note_run, NULL); /* their stacks are there again */
	wait_all();
}

Test(sched, no_memory_for_goroutines) {
	expect_child_ok(no_memory);
}

static struct g *queued;
static int ends_read[2];

/* The only M is in the kernel, no memory is there for another, and nobody watches anything. Then memory is there again. */
static void *queue_it(void *arg) {
	struct rlimit old, none;
	must(g_self() != NULL && getrlimit(RLIMIT_AS, &old) == 0);
	none = (struct rlimit){0, old.rlim_max};
	until(sysmon_sleeps());
	must(setrlimit(RLIMIT_AS, &none) == 0);
	ready_new(queued);
	must(atomic_load(&sched.m_refusals) > 0 && setrlimit(RLIMIT_AS, &old) == 0);
	until(atomic_load(&noted) == 1);
	must(write(ends_read[1], "", 1) == 1);
	return arg;
}

static void no_memory_for_an_m(void) {
	int err = 0;
	char byte;
	start(1);
	queued = task_new(note_run, NULL, &(struct g_stack_req){.size = STACK_BYTES, .guard = 4096}, &err);
	must(queued && pipe(ends_read) == 0);
	atomic_fetch_add(&tasks, 1);
	pthread_t t = thread_start(queue_it, NULL);
	g_wire(g_self(), true); /* so its P goes idle while it reads */
	syscall_enter_blocking(g_self());
	must(read(ends_read[0], &byte, 1) == 1);
	syscall_exit(g_self());
	g_wire(g_self(), false);
	wait_all();
	thread_join(t);
}

Test(sched, no_memory_for_an_m) {
	expect_child_ok(no_memory_for_an_m);
}

/* ---- identity ---- */

static __thread int tls_number = 42;
static __thread char tls_big[1000];

static void own_identity(void *arg) {
	int me = (int)(intptr_t)arg;
	struct g *g = g_goroutine();
	char here;
	must(g && g->kind == G_GOROUTINE && g == g_of_tcb((uintptr_t)pthread_self()));
	must(&here > g->stack.lo && &here < g->stack.hi);
	must(tls_number == 42 && tls_big[0] == 0 && tls_big[999] == 0); /* fresh, used TCB or not */
	must(errno == 0);
	must(tcb_tid((uintptr_t)pthread_self()) == g->tid && g->tid > 1 << 22);
	tls_number = errno = me;
	memset(tls_big, me, sizeof tls_big);
	fesetround(me % 2 ? FE_UPWARD : FE_DOWNWARD);
	for (int i = 0; i < 50; i++) {
		if (i % 10 == 9)
			sleep_ns(100000);
		else
			g_yield(g);
		must(tls_number == me && errno == me && tls_big[500] == (char)me);
		must(g_goroutine() == g && g->in_rt == 0);
		must(fegetround() == (me % 2 ? FE_UPWARD : FE_DOWNWARD));
		void *p = malloc((size_t)me + 1);
		memset(p, me, (size_t)me + 1);
		free(p);
		errno = me;
	}
}

TEST_PROCS(sched, identity) {
	start(procs);
	for (int round = 0; round < 4; round++) {
		for (int i = 1; i <= 100; i++)
			go(own_identity, (void *)(intptr_t)i);
		wait_all();
	}
	cr_expect(tls_number == 42 && fegetround() == FE_TONEAREST);
}

static void note_tid(void *arg) {
	*(int32_t *)arg = g_self()->tid;
}

Test(sched, tids_are_unique) {
	static int32_t tids[3000];
	start(2);
	for (size_t i = 0; i < LENGTH(tids); i++)
		go(note_tid, &tids[i]);
	wait_all();
	for (size_t i = 0; i < LENGTH(tids); i++) {
		for (size_t k = 0; k < i; k++)
			cr_assert(tids[i] != tids[k]);
	}
	cr_expect(g_self()->tid == getpid());
}

static _Atomic uint32_t enough;

static void note_tid_and_stay(void *arg) {
	note_tid(arg);
	while (!enough)
		futex_wait(&enough, 0, -1, FUTEX_ANY, false, "enough");
}

/* Tids begin again when all were given, and pass over those that somebody still has: here the first ones. */
Test(sched, tids_repeat_but_the_livings_do_not) {
	enum { STAY = 40 };
	static int32_t stay[STAY], first[STAY], again[3000];
	start(2);
	for (size_t i = 0; i < STAY; i++) {
		go(note_tid_and_stay, &stay[i]);
		go(note_tid, &first[i]);
	}
	yield_until(atomic_load(&tasks) == STAY);
	atomic_store(&g_numbers, TID_COUNT - 100);
	for (size_t i = 0; i < LENGTH(again); i++)
		go(note_tid, &again[i]);
	atomic_store(&enough, 1);
	futex_wake(&enough, STAY, FUTEX_ANY);
	wait_all();
	size_t repeated = 0;
	for (size_t i = 0; i < LENGTH(again); i++) {
		cr_assert(again[i] >= TID_FIRST && again[i] < 1 << 28);
		for (size_t k = 0; k < STAY; k++) {
			cr_assert(again[i] != stay[k]);
			repeated += again[i] == first[k];
		}
		for (size_t k = 0; k < i; k++)
			cr_assert(again[i] != again[k]);
	}
	cr_expect(repeated > 0, "they did not begin again");
}

/* ---- stacks ---- */

static int recurse(int depth) {
	volatile char frame[1000];
	frame[0] = (char)depth;
	frame[999] = 1;
	return depth ? recurse(depth - 1) + frame[999] : frame[999];
}

static void use_stack(void *arg) {
	int bytes = (int)(intptr_t)arg;
	must(recurse(bytes / 1300) > 0);
}

TEST_PROCS(sched, stacks_grow) {
	start(procs);
	for (int i = 0; i < 50; i++)
		go(use_stack, (void *)(intptr_t)((240 << 10) * (i % 5) / 4));
	wait_all();
}

static void overflow(void *arg) {
	must(recurse((int)(intptr_t)arg) > 0);
}

static void overflow_child(void) {
	signal(SIGSEGV, SIG_DFL);
	start(2);
	go(note_run, NULL);
	go(overflow, (void *)100000);
	wait_all();
}

Test(sched, stack_overflow_is_a_fault) {
	for (int i = 0; i < 2; i++) {
		sched_config.stack_mprotect = i;
		int status = child_status(overflow_child);
		cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "status 0x%x", status);
	}
}

/* ---- order and fairness ---- */

static int order[300], order_count;

static void note_order(void *arg) {
	for (int i = 0; i < 3; i++) {
		order[order_count++] = (int)(intptr_t)arg;
		g_yield(g_self());
	}
}

/* SCH-7 */
Test(sched, yield_is_round_robin) {
	start(1);
	for (int i = 0; i < 5; i++)
		go(note_order, (void *)(intptr_t)i);
	wait_all();
	cr_assert(order_count == 15);
	for (int i = 5; i < 15; i++)
		cr_expect(order[i] == order[i - 5], "turn %d: %d after %d", i, order[i], order[i - 5]);
}

/* What a waker without a P makes ready lies in the global queue: whoever spins on sched_yield() finds it at once, at every tick. */
static _Atomic uint32_t turn, turns_taken;

static void take_turns(void *arg) {
	(void)arg;
	while (turns_taken < 300) {
		struct g *g = g_self();
		wait_begin(g, false, "turn", 0);
		atomic_store(&turn, 1);
		wait_park(g, -1);
		turns_taken++;
	}
}

Test(sched, yield_finds_the_global_queue) {
	start(1);
	struct g *g = go(take_turns, NULL);
	for (uint32_t i = 0; i < 300; i++) {
		yield_until(turn == 1);
		turn = 0;
		must(wait_claim(g, WAKE_READY));
		g->state = GS_RUNNABLE;
		globq_put(g);
		for (int k = 0; k < 3 && turns_taken == i; k++)
			g_yield(g_self());
		cr_assert(turns_taken == i + 1, "round %u, tick %u: yield did not run what waits", i, sched.all_p[0]->schedtick);
	}
	wait_all();
}

/* ---- parking ---- */

static _Atomic uint32_t ball;

static void player(void *arg) {
	uint32_t me = (uint32_t)(uintptr_t)arg;
	for (uint32_t i = 0; i < 30000; i++) {
		for (uint32_t b; (b = atomic_load(&ball)) % 2 != me;)
			futex_wait(&ball, b, -1, FUTEX_ANY, false, "ball");
		atomic_fetch_add(&ball, 1);
		futex_wake(&ball, 1, FUTEX_ANY);
	}
}

TEST_PROCS(sched, ping_pong) {
	start(procs);
	go(player, (void *)0);
	go(player, (void *)1);
	wait_all();
	cr_expect(ball == 60000);
}

static void *foreign_player(void *arg) {
	player(arg);
	return NULL;
}

TEST_PROCS(sched, ping_pong_with_a_foreign_thread) {
	start(procs);
	pthread_t t = thread_start(foreign_player, (void *)1);
	go(player, (void *)0);
	wait_all();
	thread_join(t);
	cr_expect(ball == 60000);
}

static _Atomic uint32_t mutex;
static uint64_t guarded;

static void lock_unlock(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	for (int i = 0; i < 3000; i++) {
		uint32_t zero = 0;
		if (!atomic_compare_exchange_strong(&mutex, &zero, 1)) {
			while (atomic_exchange(&mutex, 2) != 0)
				futex_wait(&mutex, 2, noise(&seed) % 2 ? -1 : nanotime() + noise(&seed) % 30000, FUTEX_ANY, false, "mutex");
		}
		guarded++;
		if (noise(&seed) % 16 == 0)
			g_yield(g_self());
		if (atomic_exchange(&mutex, 0) == 2)
			futex_wake(&mutex, 1, FUTEX_ANY);
	}
}

static void *foreign_locker(void *arg) {
	lock_unlock(arg);
	return NULL;
}

TEST_PROCS(sched, mutex_of_goroutines_and_foreign_threads) {
	start(procs);
	pthread_t t[2];
	for (int i = 0; i < 2; i++)
		t[i] = thread_start(foreign_locker, (void *)(uintptr_t)(100 + i));
	for (int i = 0; i < 16; i++)
		go(lock_unlock, (void *)(uintptr_t)(i + 1));
	wait_all();
	for (int i = 0; i < 2; i++)
		thread_join(t[i]);
	cr_expect(guarded == 18 * 3000);
}

static void wait_interruptibly(void *arg) {
	static _Atomic uint32_t never;
	*(int *)arg = futex_wait(&never, 0, -1, FUTEX_ANY, true, "interruptible");
	must(g_interrupt_clear(g_self()));
}

TEST_PROCS(sched, interrupt) {
	start(procs);
	static int results[100];
	for (size_t i = 0; i < LENGTH(results); i++) {
		struct g *g = go(wait_interruptibly, &results[i]);
		if (i % 2)
			yield_until(g->state == GS_WAITING);
		g_interrupt(g); /* or before it waits: its first wait ends so */
	}
	wait_all();
	for (size_t i = 0; i < LENGTH(results); i++)
		cr_assert(results[i] == -EINTR);
}

/* One waiter, many wakers: exactly one claims it, each time. */
static struct g *_Atomic target;
static _Atomic uint32_t claims, waits;

static _Atomic bool stop;

static void claimer(void *arg) {
	(void)arg;
	while (!atomic_load(&stop)) {
		struct g *g = atomic_load(&target);
		if (g && wait_claim(g, WAKE_READY)) {
			atomic_fetch_add(&claims, 1);
			ready(g);
		} else {
			g_yield(g_self());
		}
	}
}

static void *foreign_claimer(void *arg) {
	claimer(arg);
	return NULL;
}

TEST_PROCS(sched, claimed_exactly_once) {
	start(procs);
	for (int i = 0; i < 3; i++)
		go(claimer, NULL);
	pthread_t t = thread_start(foreign_claimer, NULL);
	struct g *g = g_self();
	uint32_t seed = 7, timeouts = 0;
	atomic_store(&target, g);
	for (int i = 0; i < 10000; i++) {
		wait_begin(g, false, "claim", 0);
		if (noise(&seed) % 4 == 0 && wait_claim_self(g, WAKE_READY)) {
			must(wait_park(g, -1) == 0);
			continue;
		}
		int r = wait_park(g, noise(&seed) % 2 ? -1 : nanotime() + noise(&seed) % 20000);
		must(r == 0 || r == -ETIMEDOUT);
		r == 0 ? waits++ : timeouts++;
	}
	atomic_store(&stop, true);
	yield_until(tasks == 0); /* no other wait: they might claim that */
	thread_join(t);
	cr_expect(claims == waits, "%u claims, %u waits ended, %u timeouts", claims, waits, timeouts);
}

/* ---- time ---- */

static int fds[2];

static void many_sleeps(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	for (int i = 0; i < 100; i++)
		sleep_ns(noise(&seed) % 300000);
}

TEST_PROCS(sched, sleeps) {
	int64_t begin = nanotime();
	start(procs);
	for (int i = 0; i < 100; i++)
		go(many_sleeps, (void *)(uintptr_t)(i + 1));
	wait_all();
	cr_expect(nanotime() - begin < 10 * SECOND, "100 times 100 sleeps of 0.15 ms took %ld ms", (long)((nanotime() - begin) / MS));
}

/* SYN-13: a wait that was woken in time leaves no timer behind, and no old timer ends a new wait. */
static _Atomic uint32_t bell, quiet;

static void ring(void *arg) {
	(void)arg;
	while (!atomic_load(&stop)) {
		atomic_fetch_add(&bell, 1);
		futex_wake(&bell, 1, FUTEX_ANY);
		g_yield(g_self());
	}
}

static void listen_for_bell(void *arg) {
	uint32_t seed = 8;
	for (int i = 0; i < 3000; i++) {
		uint32_t b = bell;
		int r = futex_wait(&bell, b, nanotime() + 2 * MS + noise(&seed) % MS, FUTEX_ANY, false, "bell");
		must(r == 0 || r == -EAGAIN || r == -ETIMEDOUT);
		must(g_self()->timer.index == 0);
	}
	/* The deadlines of the last waits pass during this one. */
	atomic_store(&stop, true);
	must(futex_wait(&quiet, 0, -1, FUTEX_ANY, false, "quiet") == 0);
	must(quiet == 1);
	(void)arg;
}

static void end_quiet(void *arg) {
	(void)arg;
	yield_until(stop);
	sleep_ns(20 * MS);
	quiet = 1;
	futex_wake(&quiet, 1, FUTEX_ANY);
}

TEST_PROCS(sched, woken_waits_leave_no_timer) {
	start(procs);
	go(ring, NULL);
	go(listen_for_bell, NULL);
	go(end_quiet, NULL);
	wait_all();
	for (uint32_t i = 0; i < sched.procs; i++)
		cr_expect(sched.all_p[i]->timers.count == 0);
}

/* A timer set while an M blocks in netpoll, and others look at the network without blocking: it must not be forgotten. */
static void sleep_or_yield(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	for (int i = 0; i < 3000; i++) {
		if (noise(&seed) % 4)
			g_yield(g_self());
		else
			sleep_ns(noise(&seed) % 100000);
		if (noise(&seed) % 64 == 0) {
			int64_t end = nanotime() + 2 * MS; /* long enough for sysmon to want a poller */
			while (nanotime() < end)
				;
		}
	}
}

static void wait_for_pipe(void *arg) {
	struct pd *pd = arg;
	pd_hold(pd);
	for (;;) {
		char c;
		pd_clear(pd, PD_READ);
		if (read(pd->fd, &c, 1) == 1)
			break;
		must(netpoll_wait(pd, PD_READ, -1, false) == 0);
	}
	pd_drop(pd);
}

TEST_PROCS(sched, timers_while_polled) {
	must(pipe2(fds, O_NONBLOCK) == 0);
	start(procs);
	go(wait_for_pipe, pd_new(fds[0]));
	for (int i = 0; i < 3; i++)
		go(sleep_or_yield, (void *)(uintptr_t)(i + 1));
	yield_until(tasks == 1);
	must(write(fds[1], "x", 1) == 1);
	wait_all();
}

/* ---- network ---- */

/* New goroutines that only count, behind all others. sysmon does not take the P meanwhile and have them run. */
static void queue_counters(int n) {
	rt_enter(g_self());
	for (int i = 0; i < n; i++) {
		int err = 0;
		struct g *g = task_new(note_run, NULL, &(struct g_stack_req){.size = STACK_BYTES, .guard = 4096}, &err);
		must(g);
		atomic_fetch_add(&tasks, 1);
		g->state = GS_RUNNABLE;
		globq_put(g);
	}
	rt_exit(g_self());
}

/* Who accepts connections lets a crowd (of 1,024 and more) that has some go first. */
Test(sched, who_admits_waits_for_a_crowd) {
	start(1);
	for (int round = 1; round <= 3; round++) {
		queue_counters(6000);
		for (int i = 0; i < 16; i++)
			g_admitted(g_self());
		cr_expect(noted > 6000 * round - 1024 - 2 * RUNQ_SIZE, "%d ran", noted);
		wait_all();
	}
}

static int counted_by_then;

static void note_counter(void *arg) {
	struct pd *pd = pd_new(fds[0]);
	(void)arg;
	wait_for_pipe(pd);
	counted_by_then = noted;
}

static void yield_until_seen(void *arg) {
	(void)arg;
	yield_until(counted_by_then != 0);
}

/* Its turns are no measure when sysmon took the P from main meanwhile, which on a busy machine may not have been on a CPU. */
static uint64_t retaken(void) {
	return atomic_load(&stats_shared[STAT_RETAKEN_HOG]);
}

/* False: main lost its P. */
static bool crowd_round(void) {
	uint64_t before = retaken();
	int begin = noted;
	counted_by_then = 0;
	must(pipe2(fds, O_NONBLOCK) == 0);
	go(note_counter, NULL);
	yield_until(netpoll_has_waiters());
	go(yield_until_seen, NULL);
	go(yield_until_seen, NULL);
	queue_counters(3000);
	atomic_store(&sched.poller, 1); /* as if an M blocked in netpoll: sysmon does not look. When it does, it may be late. */
	must(write(fds[1], "x", 1) == 1);
	for (int i = 0; i < 300; i++)
		g_yield(g_self());
	atomic_store(&sched.poller, 0);
	queue_counters(500);
	wait_all();
	if (retaken() != before)
		return false;
	cr_expect(counted_by_then - begin <= 3000, "seen after %d", counted_by_then - begin);
	return true;
}

/* The network is looked at with thousands in the queue, too: who is ready by then goes before those that come later. The two that yield keep the P's own
 * queue filled, or it would take from the others' by the hundred, and look when that is empty. */
Test(sched, a_crowd_does_not_hide_the_network) {
	start(1);
	for (int rounds = 1; !crowd_round(); rounds++)
		must(rounds < 100);
}

static struct pd *pair_pd[2][2];

static int pd_io(struct pd *pd, char *c, bool out) {
	uint8_t mode = out ? PD_WRITE : PD_READ;
	for (;;) {
		pd_clear(pd, mode);
		ssize_t r = out ? write(pd->fd, c, 1) : read(pd->fd, c, 1);
		if (r >= 0) {
			pd_set(pd, mode);
			return (int)r;
		}
		must(errno == EAGAIN);
		must(netpoll_wait(pd, mode, -1, false) == 0);
	}
}

static void echo(void *arg) {
	int me = (int)(intptr_t)arg;
	struct pd *in = pair_pd[me][0], *out = pair_pd[!me][1];
	char c = 0;
	for (int i = 0; i < 5000; i++) {
		if (me == 0 || i)
			must(pd_io(out, &c, true) == 1);
		must(pd_io(in, &c, false) == 1);
		c++;
	}
	if (me == 1)
		must(pd_io(out, &c, true) == 1);
}

TEST_PROCS(sched, pipes) {
	start(procs);
	for (int i = 0; i < 2; i++) {
		int p[2];
		must(pipe2(p, O_NONBLOCK) == 0);
		pair_pd[i][0] = pd_new(p[0]);
		pair_pd[i][1] = pd_new(p[1]);
	}
	go(echo, (void *)0);
	go(echo, (void *)1);
	wait_all();
	cr_expect(!netpoll_has_waiters());
}

/* Everybody waits for the network; an event comes from outside. */
static void *write_later(void *arg) {
	until(!sched.idle_p_count || sched.poller);
	must(write(fds[1], "x", 1) == 1);
	return arg;
}

TEST_PROCS(sched, event_from_outside) {
	must(pipe2(fds, O_NONBLOCK) == 0);
	start(procs);
	for (int i = 0; i < 300; i++) {
		pthread_t t = thread_start(write_later, NULL);
		struct pd *pd = pd_new(fds[0]);
		wait_for_pipe(pd);
		pd->shared_desc = 1;
		pd_close(pd);
		thread_join(t);
	}
}

/* ---- at rest ---- */

/* How often the kernel's threads went to sleep, but for the caller's. */
static long switches(void) {
	long sum = 0;
	DIR *dir = opendir("/proc/self/task");
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (atoi(entry->d_name) == gettid())
			continue;
		char path[300], line[200];
		snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
		FILE *f = fopen(path, "r");
		long n;
		while (f && fgets(line, sizeof line, f))
			sum += sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1 ? n : 0;
		if (f)
			fclose(f);
	}
	closedir(dir);
	return sum;
}

static void wait_for_gate(void *arg) {
	futex_wait(arg, 0, -1, FUTEX_ANY, false, "gate");
}

static _Atomic uint32_t watched;

static void *watches_the_idle(void *arg) {
	long *woken = arg;
	struct timespec tick = {0, MS}, half = {0, 500 * MS};
	while (atomic_load(&sched.sysmon_note) != SYSMON_ASLEEP)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
	*woken = -switches();
	clock_nanosleep(CLOCK_MONOTONIC, 0, &half, NULL);
	*woken += switches();
	watched = 1;
	futex_wake(&watched, 1, FUTEX_ANY);
	return NULL;
}

/* SCH-2. Watched by a thread that is none of ours: one that only sleeps wakes an M itself. */
TEST_PROCS(sched, an_idle_process_sleeps) {
	static _Atomic uint32_t gate;
	pthread_t watcher;
	long woken;
	debug_looks_asleep = false;
	start(procs);
	for (int i = 0; i < 50; i++)
		go(wait_for_gate, (void *)&gate);
	cr_assert(pthread_create(&watcher, NULL, watches_the_idle, &woken) == 0);
	futex_wait(&watched, 0, -1, FUTEX_ANY, false, "watcher");
	cr_assert(pthread_join(watcher, NULL) == 0);
	cr_expect(woken <= 2, "%ld wake-ups in half a second of doing nothing", woken); /* giving memory back may be due */
	gate = 1;
	cr_expect(futex_wake(&gate, 1000, FUTEX_ANY) == 50);
	wait_all();
}

static void park_deep(void *arg) {
	use_stack((void *)2000);
	wait_for_gate(arg);
}

TEST_PROCS(sched, many_parked) {
	static _Atomic uint32_t gate;
	start(procs);
	if (!stack_uses_markers())
		cr_skip_test("two mappings per stack: too many for the default vm.max_map_count");
	for (int i = 0; i < 20000; i++) {
		go(park_deep, (void *)&gate);
		if (i % 100 == 0)
			g_yield(g_self());
	}
	for (int k = 0; k < 3; k++)
		sleep_ns(10 * MS);
	gate = 1;
	futex_wake(&gate, 1000000, FUTEX_ANY);
	wait_all();
	cr_expect(g_count() == 1);
}

/* ---- fork ---- */

static void fork_child(void) {
	sched_fork_child();
	must(!sched_started() && !g_goroutine());
	static _Atomic uint32_t word;
	must(futex_wait(&word, 0, nanotime() + MS, FUTEX_ANY, false, "child") == -ETIMEDOUT);
	noted = 0;
	tasks = 0;
	start(3);
	for (int i = 0; i < 500; i++)
		go(note_run, NULL);
	go(many_sleeps, (void *)1);
	wait_all();
	must(noted == 500 && g_count() == 1);
}

static void fork_on_goroutine(void *arg) {
	(void)arg;
	fork_child(); /* as what used to be a goroutine */
	_exit(0);
}

static void fork_from_goroutine(void *arg) {
	pid_t pid = fork();
	if (pid == 0)
		fork_on_goroutine(arg);
	int status;
	must(waitpid(pid, &status, 0) == pid && status == 0);
}

TEST_PROCS(sched, fork) {
	static _Atomic uint32_t gate;
	start(procs);
	for (int i = 0; i < 20; i++) {
		go(wait_for_gate, (void *)&gate);
		go(many_sleeps, (void *)(uintptr_t)(i + 1));
	}
	for (int i = 0; i < 3; i++) {
		int status = child_status(fork_child);
		cr_expect(status == 0, "0x%x", status);
		go(fork_from_goroutine, NULL);
	}
	gate = 1;
	futex_wake(&gate, 1000, FUTEX_ANY);
	wait_all();
	cr_expect(g_count() == 1);
}
