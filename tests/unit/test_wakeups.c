/* The scheduler without sysmon, which would find within two ticks what a lost wake-up left queued: here it is held for ever, and who was made ready while the last M
 * went to sleep must run all the same. */
#include "sched_test.h"

#include <linux/futex.h>

#include "chaos.h"
#include "procs.h"

enum { ROUNDS = 2000 };

static _Atomic uint32_t asked, answered, held = 1, is_held;

static void hold_sysmon(void) {
	while (atomic_load(&held)) {
		atomic_store(&is_held, 1);
		SYS4(SYS_futex, &held, FUTEX_WAIT_PRIVATE, 1, NULL);
	}
}

/* From here on sysmon does nothing. */
static void catch_sysmon(void) {
	__atomic_store_n(&sig_sysmon_hook, hold_sysmon, __ATOMIC_RELEASE);
	while (!atomic_load(&is_held))
		usleep(100);
}

static void release_sysmon(void) {
	atomic_store(&held, 0);
	SYS3(SYS_futex, &held, FUTEX_WAKE_PRIVATE, 1);
}

/* As often as can be, and nothing else. */
static void chaos_only(enum chaos_site only) {
	chaos_configure(1, 100, 0);
	for (int site = 0; site < CHAOS_SITES; site++) {
		if (site != (int)only)
			chaos_spare((enum chaos_site)site);
	}
}

static void asker(void *arg) {
	(void)arg;
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		atomic_store(&asked, i);
		while (atomic_load(&answered) != i)
			futex_wait(&answered, i - 1, -1, FUTEX_ANY, false, "answer");
	}
}

/* Answers at another moment each time, between who asks being about to wait and the M that it left being asleep. */
static void *answerer(void *arg) {
	uint32_t seed = 1;
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		for (uint32_t spins = 0; atomic_load(&asked) != i; spins++) {
			if (spins % 4096 == 4095)
				sched_yield(); /* on one CPU */
		}
		for (uint32_t n = noise(&seed) % 512; n; n--)
			arch_relax();
		atomic_store(&answered, i);
		futex_wake(&answered, 1, FUTEX_ANY);
	}
	return arg;
}

TEST_PROCS(wakeups, none_is_lost_without_sysmon) {
	start(procs);
	chaos_only(CHAOS_DELAY); /* the kernel takes the CPU away in the worst places */
	catch_sysmon();
	pthread_t t = thread_start(answerer, NULL);
	go(asker, NULL);
	wait_all();
	thread_join(t);
	release_sysmon();
	cr_expect(answered == ROUNDS);
}

static _Atomic uint32_t ran;

static void runs(void *arg) {
	(void)arg;
	atomic_fetch_add(&ran, 1);
}

/* Chaos withholds the wake of an M, or does it later: who makes others ready and then computes on, without a look at the scheduler, need not be the one to make up for it. */
TEST_PROCS(wakeups, put_off_come_all_the_same) {
	unsigned put_off = 0;
	start(procs);
	chaos_only(CHAOS_WAKE);
	catch_sysmon();
	for (uint32_t round = 1; round <= 200; round++) {
		yield_until(atomic_load(&sched.idle_p_count) == procs - 1); /* the others sleep */
		go(runs, NULL);
		go(runs, NULL);
		put_off += m_wake_late(); /* as the next M that looks for work does */
		sched_brief_over();
		yield_until(atomic_load(&ran) == round * 2);
	}
	release_sysmon();
	for (uint32_t round = 1; round <= 100; round++) {
		atomic_store(&ran, 0);
		go(runs, NULL);
		go(runs, NULL);
		while (atomic_load(&ran) != 2) {
			if (procs == 1)
				g_yield(g_self());
		}
	}
	wait_all();
	cr_expect((put_off != 0) == (procs > 1), "%u", put_off);
}

/* Every M but ours sleeps: one that is about to would wake whom chaos puts off. */
static bool others_sleep(void) {
	return __atomic_load_n(&sched.idle_m_count, __ATOMIC_RELAXED) + 1 == __atomic_load_n(&sched.m_count, __ATOMIC_RELAXED);
}

/* The P that an M was woken with, to look for work, leaves before the M runs: others count on its search no longer, or nobody would ever be woken again. */
Test(wakeups, whose_p_leaves_does_not_search) {
	unsigned put_off = 0;
	start(2);
	chaos_only(CHAOS_WAKE);
	catch_sysmon();
	for (uint32_t round = 1; round <= 100; round++) {
		yield_until(atomic_load(&sched.idle_p_count) == 1 && others_sleep());
		sched_brief_over();
		go(runs, NULL);
		go(runs, NULL);
		cr_assert(procs_set(1) == 2);
		put_off += m_wake_late();
		yield_until(atomic_load(&ran) == round * 2);
		yield_until(atomic_load(&sched.spinning) == 0);
		cr_assert(procs_set(2) == 1);
		m_wake_late(); /* whom that has woken */
	}
	release_sysmon();
	wait_all();
	cr_expect(put_off != 0);
}

static _Atomic uint32_t slept;

static void *sees_all_asleep(void *arg) {
	until(atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP && atomic_load(&sched.procs) == 2);
	atomic_fetch_add(&slept, 1);
	futex_wake(&slept, 1, FUTEX_ANY);
	return arg;
}

/* Fewer Ps were in use when the process had nothing to do any more: what comes next finds all. */
Test(wakeups, all_ps_are_there_after_a_sleep) {
	start(2);
	chaos_only(CHAOS_PROCS);
	for (uint32_t round = 0; round < 20; round++) {
		yield_until(atomic_load(&sched.procs) == 1);
		pthread_t t = thread_start(sees_all_asleep, NULL);
		while (atomic_load(&slept) == round)
			futex_wait(&slept, round, -1, FUTEX_ANY, false, "sleep");
		thread_join(t);
	}
}

static _Atomic uint32_t looks;

static void count_looks(void) {
	atomic_fetch_add(&looks, 1);
}

static bool dozes(void) {
	return atomic_load(&sched.sysmon_note) == SYSMON_DOZES;
}

#define spin_until(condition) \
	do { \
		int64_t spin_end = nanotime() + LONG_NS; \
		while (!(condition)) \
			must(nanotime() < spin_end); \
	} while (0)

/* Each of sysmon's wake-ups takes a CPU from somebody who computes. */
Test(wakeups, sysmon_dozes_while_nobody_waits) {
	start(1);
	__atomic_store_n(&sig_sysmon_hook, count_looks, __ATOMIC_RELEASE);
	spin_until(dozes());
	int64_t since = nanotime();
	uint32_t before = atomic_load(&looks);
	spin_until(atomic_load(&looks) - before >= 40);
	cr_expect(nanotime() - since >= 39 * SYSMON_DOZE_NS, "no sleep is shorter than it was asked to be");
}

Test(wakeups, sysmon_is_stirred_by_who_is_queued) {
	start(1);
	__atomic_store_n(&sig_sysmon_hook, count_looks, __ATOMIC_RELEASE);
	/* Who is run at once: it does not doze again for a while, or each that is queued would wake it. */
	spin_until(dozes());
	go(runs, NULL);
	cr_expect(!dozes());
	g_yield(g_self());
	must(atomic_load(&ran) == 1);
	for (uint32_t before = atomic_load(&looks); atomic_load(&looks) - before < 20;)
		must(!dozes());
	/* Who is not: the goroutine that computes makes room. */
	spin_until(dozes());
	go(runs, NULL);
	cr_expect(!dozes());
	spin_until(atomic_load(&ran) == 2);
	wait_all();
}

static _Atomic uint32_t unseen_word, unseen_waits, ends;

static void waits_unseen(void *arg) {
	(void)arg;
	atomic_store(&unseen_waits, 1);
	while (!atomic_load(&unseen_word))
		SYS4(SYS_futex, &unseen_word, FUTEX_WAIT_PRIVATE, 0, 0);
}

/* ... and looks at something in between, for a moment. */
static void naps_unseen(void *arg) {
	struct timespec nap = {0, 40000000};
	(void)arg;
	atomic_store(&unseen_waits, 1);
	while (!atomic_load(&unseen_word))
		SYS2(SYS_nanosleep, &nap, NULL);
}

static void end_of(const _Atomic uint32_t *word) {
	while (!atomic_load(word))
		futex_wait(word, 0, -1, FUTEX_ANY, false, "end");
}

static void tell(_Atomic uint32_t *word) {
	atomic_store(word, 1);
	futex_wake(word, 1, FUTEX_ANY);
}

static void *sees_sysmon_asleep(void *arg) {
	until(atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP);
	uint32_t before = atomic_load(&looks);
	usleep(3000000);
	uint32_t had = atomic_load(&looks) - before;
	cr_expect(had < 30, "%u", had); /* one a second, and a few for what is given back in the first ones */
	tell(&slept);
	return arg;
}

/* Who waits where nobody sees it has a P at first, that nobody else wants. */
static void sleeps_while(void (*waits)(void *)) {
	__atomic_store_n(&sig_sysmon_hook, count_looks, __ATOMIC_RELEASE);
	start(2);
	go(waits, NULL);
	spin_until(atomic_load(&unseen_waits)); /* who yields would want it */
	pthread_t t = thread_start(sees_sysmon_asleep, NULL);
	end_of(&slept);
	thread_join(t);
	atomic_store(&unseen_word, 1);
	SYS3(SYS_futex, &unseen_word, FUTEX_WAKE_PRIVATE, 1);
	wait_all();
}

Test(wakeups, sysmon_sleeps_while_somebody_waits_unseen) {
	sleeps_while(waits_unseen);
}

Test(wakeups, sysmon_sleeps_while_somebody_mostly_waits_unseen) {
	sleeps_while(naps_unseen);
}

static void waits_unseen_then_computes(void *arg) {
	waits_unseen(arg);
	while (!atomic_load(&ends))
		arch_relax();
}

static void *sees_it_looked_after(void *arg) {
	until(atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP);
	must(atomic_load(&sched.idle_p_count) == 1);
	atomic_store(&unseen_word, 1);
	SYS3(SYS_futex, &unseen_word, FUTEX_WAKE_PRIVATE, 1);
	uint32_t before = atomic_load(&looks);
	until(atomic_load(&looks) - before >= 100); /* asleep it has one a second */
	atomic_store(&ends, 1);
	tell(&slept);
	return arg;
}

/* Who lost its P because it waited unseen, and computes when that is over: nobody tells sysmon, which sleeps. */
Test(wakeups, who_waited_unseen_is_found_computing) {
	__atomic_store_n(&sig_sysmon_hook, count_looks, __ATOMIC_RELEASE);
	start(1);
	go(waits_unseen_then_computes, NULL);
	yield_until(atomic_load(&unseen_waits));
	pthread_t t = thread_start(sees_it_looked_after, NULL);
	end_of(&slept);
	thread_join(t);
	wait_all();
}

static void *sees_looks_at_the_wall_clock(void *arg) {
	enum { LOOKS = 3 };
	int64_t first, next;
	until(atomic_load(&sched.sysmon_note) == SYSMON_ASLEEP && (first = atomic_load(&sched.poll_until)) > 0);
	uint32_t before = atomic_load(&looks);
	for (int i = 0; i < LOOKS; i++, first = next)
		until((next = atomic_load(&sched.poll_until)) != INT64_MAX && next > first);
	uint32_t had = atomic_load(&looks) - before;
	cr_expect(had <= 2 * LOOKS, "%u", had); /* for what is given back in the first seconds; woken it would look five times for each */
	tell(&slept);
	return arg;
}

static void waits_for_a_time(void *arg) {
	(void)arg;
	while (!atomic_load(&ends))
		futex_wait(&ends, 0, (nanotime() + LONG_NS) | DEADLINE_WALL, FUTEX_ANY, false, "end");
}

/* Who polls looks at the wall clock now and then, if somebody waits for a time of it. For that no P is taken, and sysmon not woken. */
Test(wakeups, looks_at_the_wall_clock_wake_nobody) {
	__atomic_store_n(&sig_sysmon_hook, count_looks, __ATOMIC_RELEASE);
	start(2);
	go(waits_for_a_time, NULL);
	pthread_t t = thread_start(sees_looks_at_the_wall_clock, NULL);
	end_of(&slept);
	thread_join(t);
	tell(&ends);
	wait_all();
}

/* The fewest looks of several tries: on a busy machine some sleeps find it awake. */
static uint32_t looks_at_who_sleeps(int64_t ns, int sleeps) {
	uint32_t fewest = UINT32_MAX;
	for (int i = 0; i < 10; i++) {
		uint32_t before = atomic_load(&looks);
		for (int k = 0; k < sleeps; k++)
			sleep_ns(ns);
		uint32_t had = atomic_load(&looks) - before;
		fewest = had < fewest ? had : fewest;
	}
	return fewest;
}

/* One that sleeps again and again, and does nothing else: sysmon dozes over what it does, and sleeps. */
Test(wakeups, sysmon_hardly_looks_at_who_only_sleeps) {
	__atomic_store_n(&sig_sysmon_hook, count_looks, __ATOMIC_RELEASE);
	start(2);
	uint32_t had = looks_at_who_sleeps(25000000, 20);
	cr_expect(had <= 20 * 6, "%u", had);
}

static _Atomic bool dozed, woke;

static void *lets_sysmon_doze(void *arg) {
	until(atomic_load(&sched.poller) || atomic_load(&woke));
	if (!atomic_load(&woke)) {
		atomic_store(&sched.doze_until, INT64_MAX);
		atomic_store(&sched.sysmon_note, SYSMON_DOZES);
		atomic_store(&dozed, true);
	}
	return arg;
}

/* Whose timer an M has just woken for waits for nobody. */
Test(wakeups, who_is_next_does_not_stir_sysmon) {
	uint32_t in_time = 0;
	start(1);
	catch_sysmon();
	while (in_time < 10) {
		atomic_store(&dozed, false);
		atomic_store(&woke, false);
		pthread_t t = thread_start(lets_sysmon_doze, NULL);
		sleep_ns(50000000);
		bool stirred = atomic_load(&dozed) && atomic_load(&sched.sysmon_note) != SYSMON_DOZES;
		in_time += atomic_load(&dozed);
		atomic_store(&woke, true);
		thread_join(t);
		atomic_store(&sched.sysmon_note, SYSMON_AWAKE);
		cr_assert(!stirred);
	}
	release_sysmon();
}

static _Atomic bool found;

static void naps(void *arg) {
	(void)arg;
	while (!atomic_load(&found))
		sleep_ns(200000);
}

static void is_found(void *arg) {
	(void)arg;
	atomic_store(&found, true);
}

/* Holds its P inside the runtime, as one whose M lacks a CPU does, with a single goroutine behind it. No M is woken for that, and none counts as one: as if each had found others
 * first. Those that come by for a timer and then go to sleep again must look. */
static void sits_on_one(void *arg) {
	(void)arg;
	struct g *g = g_self();
	rt_enter(g);
	spin_until(atomic_load(&sched.poller)); /* who naps is somebody else's */
	atomic_fetch_add(&sched.spinning, 1);
	go(is_found, NULL);
	spin_until(atomic_load(&found));
	atomic_fetch_sub(&sched.spinning, 1);
	rt_exit(g);
}

Test(wakeups, a_single_is_found_by_who_was_not_woken_for_it) {
	start(2);
	go(naps, NULL);
	go(sits_on_one, NULL);
	wait_all();
}
