/* The run queues: one thread, step by step, then kernel threads as thieves. All counters start 100 below the 32-bit wrap (COR-4). */
#include "core_test.h"
#include "runtime.h"

#define START (0u - 100u)

static struct p ps[4];
static struct g gs[4096];

static void setup(void) {
	for (size_t i = 0; i < LENGTH(ps); i++) {
		ps[i].id = (uint32_t)i;
		ps[i].runq_head = ps[i].runq_tail = START;
		sched.all_p[i] = &ps[i];
	}
	sched.procs = LENGTH(ps);
}

TestSuite(runq, .init = setup);

static void put_n(struct p *p, size_t first, size_t n) {
	for (size_t i = 0; i < n; i++)
		runq_put(p, &gs[first + i], false);
}

static uint32_t globq_length(void) {
	uint32_t n = 0;
	struct g *last = NULL;
	for (struct g *g = sched.runq.head; g; g = g->schedlink, n++)
		last = g;
	cr_assert(last == sched.runq.tail);
	cr_assert(sched.runq.size == n, "size %u, counted %u", sched.runq.size, n);
	return n;
}

Test(runq, first_in_first_out_over_the_wrap) {
	struct p *p = &ps[0];
	cr_expect(runq_empty(p) && !runq_get(p));
	for (int round = 0; round < 300; round++) {
		put_n(p, 0, 200);
		cr_assert(runq_length(p) == 200);
		for (int i = 0; i < 200; i++)
			cr_assert(runq_get(p) == &gs[i]);
		cr_assert(runq_empty(p) && !runq_get(p));
	}
	cr_expect(globq_length() == 0);
}

Test(runq, full_ring_over_the_wrap) {
	for (int round = 0; round < 5; round++) {
		put_n(&ps[0], 0, RUNQ_SIZE);
		cr_assert(runq_length(&ps[0]) == RUNQ_SIZE && sched.runq.size == 0);
		for (int i = 0; i < RUNQ_SIZE; i++)
			cr_assert(runq_get(&ps[0]) == &gs[i]);
	}
}

Test(runq, runnext) {
	struct p *p = &ps[0];
	runq_put(p, &gs[0], false);
	runq_put(p, &gs[1], true);
	cr_expect(runq_length(p) == 2);
	runq_put(p, &gs[2], true); /* gs[1] goes to the end of the ring */
	cr_expect(runq_length(p) == 3);
	cr_expect(runq_get(p) == &gs[2]);
	cr_expect(runq_get(p) == &gs[0]);
	cr_expect(runq_get(p) == &gs[1]);
	cr_expect(runq_empty(p) && !runq_get(p));
	runq_put(p, &gs[3], true);
	cr_expect(!runq_empty(p) && runq_length(p) == 1);
	cr_expect(runq_get(p) == &gs[3]);
}

/* Two friends who wake each other for ever: who waits in the ring gets its turn. */
Test(runq, runnext_streak_is_bounded) {
	struct p *p = &ps[0];
	for (int round = 0; round < 3; round++) {
		runq_put(p, &gs[9], false);
		int turns = 0;
		struct g *g = NULL;
		do {
			runq_put(p, &gs[turns % 2], true);
			g = runq_get(p);
			cr_assert(++turns <= 64, "starved");
		} while (g != &gs[9]);
		cr_expect(turns > 8, "runnext hardly counts: %d", turns);
		while (runq_get(p))
			;
	}
	/* With nothing in the ring the streak must not lose runnext. */
	for (int i = 0; i < 200; i++) {
		runq_put(p, &gs[1], true);
		cr_assert(runq_get(p) == &gs[1]);
	}
}

/* COR-6: what does not fit goes to the global queue, the older half first, in order. */
Test(runq, overflow_spills) {
	struct p *p = &ps[0];
	put_n(p, 0, RUNQ_SIZE + 1);
	cr_expect(globq_length() == RUNQ_SIZE / 2 + 1);
	cr_expect(runq_length(p) == RUNQ_SIZE / 2);
	struct g *g = sched.runq.head;
	for (int i = 0; i < RUNQ_SIZE / 2; i++, g = g->schedlink)
		cr_assert(g == &gs[i]);
	cr_expect(g == &gs[RUNQ_SIZE]);
	for (int i = RUNQ_SIZE / 2; i < RUNQ_SIZE; i++)
		cr_assert(runq_get(p) == &gs[i]);
}

Test(runq, displaced_runnext_spills_too) {
	struct p *p = &ps[0];
	put_n(p, 0, RUNQ_SIZE);
	runq_put(p, &gs[1000], true);
	cr_expect(runq_length(p) == RUNQ_SIZE + 1 && sched.runq.size == 0);
	runq_put(p, &gs[1001], true);
	cr_expect(globq_length() == RUNQ_SIZE / 2 + 1);
	cr_expect(sched.runq.tail == &gs[1000]);
	cr_expect(runq_get(p) == &gs[1001]);
}

Test(runq, all_of_4000_come_back) {
	struct p *p = &ps[0];
	sched.procs = 1;
	put_n(p, 0, 4000);
	static bool seen[4000];
	int n = 0;
	for (struct g *g; (g = runq_get(p)) || (g = globq_get(p, RUNQ_SIZE)); n++) {
		cr_assert(!seen[g - gs]);
		seen[g - gs] = true;
	}
	cr_expect(n == 4000 && globq_length() == 0);
}

/* ---- stealing ---- */

Test(runq, steal_half) {
	struct p *thief = &ps[0], *victim = &ps[1];
	cr_expect(!runq_steal(thief, victim, true));
	put_n(victim, 0, 7);
	cr_expect(runq_steal(thief, victim, false) == &gs[0]); /* four: one to run, three queued */
	cr_expect(runq_length(thief) == 3 && runq_length(victim) == 3);
	for (int i = 1; i < 7; i++)
		cr_expect(runq_get(i < 4 ? thief : victim) == &gs[i]);
	put_n(victim, 0, 1);
	cr_expect(runq_steal(thief, victim, false) == &gs[0] && runq_empty(thief) && runq_empty(victim));
	put_n(victim, 0, RUNQ_SIZE);
	cr_expect(runq_steal(thief, victim, false) == &gs[0]);
	cr_expect(runq_length(thief) == RUNQ_SIZE / 2 - 1 && runq_length(victim) == RUNQ_SIZE / 2);
}

Test(runq, steal_runnext_last_and_on_request) {
	struct p *thief = &ps[0], *victim = &ps[1];
	runq_put(victim, &gs[0], true);
	cr_expect(!runq_steal(thief, victim, false) && runq_length(victim) == 1);
	runq_put(victim, &gs[1], false);
	cr_expect(runq_steal(thief, victim, true) == &gs[1]);
	cr_expect(runq_steal(thief, victim, true) == &gs[0]);
	cr_expect(!runq_steal(thief, victim, true) && runq_empty(victim));
}

Test(runq, stolen_into_a_nearly_full_ring) {
	struct p *thief = &ps[0], *victim = &ps[1];
	put_n(thief, 0, RUNQ_SIZE - 10);
	put_n(victim, 1000, RUNQ_SIZE);
	cr_expect(runq_steal(thief, victim, false) == &gs[1000]);
	uint32_t total = runq_length(thief) + runq_length(victim) + globq_length();
	cr_expect(total == 2 * RUNQ_SIZE - 10 - 1, "%u", total);
}

/* ---- the global queue ---- */

Test(runq, global_is_first_in_first_out_and_shared_fairly) {
	cr_expect(!globq_get(&ps[0], 1));
	for (int i = 0; i < 100; i++)
		globq_put(&gs[i]);
	cr_expect(globq_length() == 100);
	cr_expect(globq_get(&ps[0], 1) == &gs[0]);
	cr_expect(runq_empty(&ps[0]));
	cr_expect(globq_get(&ps[0], RUNQ_SIZE) == &gs[1]); /* 99 / 4 + 1 */
	cr_expect(runq_length(&ps[0]) == 24 && globq_length() == 74);
	for (int i = 2; i < 26; i++)
		cr_assert(runq_get(&ps[0]) == &gs[i]);
	cr_expect(globq_get(&ps[1], 5) == &gs[26]);
	cr_expect(runq_length(&ps[1]) == 4 && globq_length() == 69);
	sched.procs = 1;
	cr_expect(globq_get(&ps[0], RUNQ_SIZE) == &gs[31]); /* the last one leaves an empty, usable list */
	cr_expect(globq_length() == 0 && runq_length(&ps[0]) == 68);
	globq_put(&gs[0]);
	cr_expect(globq_length() == 1 && globq_get(&ps[2], 1) == &gs[0] && globq_length() == 0);
}

Test(runq, global_never_overfills_a_ring) {
	sched.procs = 1;
	for (int i = 0; i < 1000; i++)
		globq_put(&gs[i]);
	cr_expect(globq_get(&ps[0], 1000) == &gs[0]);
	cr_expect(runq_length(&ps[0]) == RUNQ_SIZE / 2 - 1);
	cr_expect(globq_length() == 1000 - RUNQ_SIZE / 2);
}

Test(runq, put_list) {
	for (int i = 0; i < 9; i++)
		gs[i].schedlink = &gs[i + 1];
	gs[9].schedlink = &gs[77]; /* stale: the list ends at the tail given */
	globq_put(&gs[50]);
	globq_put_list(&gs[0], &gs[9], 10);
	cr_expect(globq_length() == 11);
	cr_expect(globq_get(&ps[0], 1) == &gs[50]);
	cr_expect(globq_get(&ps[0], 1) == &gs[0]);
}

/* ---- kernel threads: every G exactly once ---- */

#define SHARED_GS 900
#define THIEVES 3
#define OPERATIONS 3000000

static _Atomic uint8_t owned[SHARED_GS]; /* 1: in some queue; 0: in somebody's hands */
static _Atomic uint64_t taken;
static uint64_t by_thieves;
static pthread_barrier_t begin;

static struct g *take(struct g *g) {
	if (g)
		must(g >= gs && g < gs + SHARED_GS && atomic_exchange(&owned[g - gs], 0) == 1);
	return g;
}

static struct g *give(struct g *g) {
	must(atomic_exchange(&owned[g - gs], 1) == 0);
	return g;
}

/* The owner of ps[0] puts in bursts that overflow the ring now and then; thieves steal, from each other too, and hand back by the global queue. */
static void *work(void *arg) {
	struct p *p = arg;
	bool is_owner = p == &ps[0];
	uint32_t seed = p->id * 77 + 1;
	uint64_t n = 0;
	pthread_barrier_wait(&begin);
	while (atomic_load_explicit(&taken, memory_order_relaxed) < OPERATIONS) {
		struct g *batch[400];
		uint32_t count = 0, want = 1 + noise(&seed) % (is_owner ? 400 : 60);
		while (count < want) {
			struct g *g = NULL;
			if (noise(&seed) % 61 == 0)
				g = take(globq_get(p, 1));
			if (!g)
				g = take(runq_get(p));
			if (!g)
				g = take(globq_get(p, RUNQ_SIZE));
			for (uint32_t i = 0; i < LENGTH(ps) && !g; i++) {
				if (&ps[i] != p)
					g = take(runq_steal(p, &ps[i], noise(&seed) % 2));
			}
			if (!g)
				break;
			batch[count++] = g;
			n++;
		}
		for (uint32_t i = 0; i < count; i++) {
			if (!is_owner && noise(&seed) % 4 == 0)
				globq_put(give(batch[i]));
			else
				runq_put(p, give(batch[i]), noise(&seed) % 3 == 0);
		}
		atomic_fetch_add_explicit(&taken, count, memory_order_relaxed);
		if (count == 0)
			sched_yield();
	}
	if (!is_owner)
		__atomic_fetch_add(&by_thieves, n, __ATOMIC_RELAXED);
	return NULL;
}

Test(runq, thieves) {
	pthread_barrier_init(&begin, NULL, THIEVES + 1);
	for (int i = 0; i < SHARED_GS; i++)
		runq_put(&ps[0], give(&gs[i]), false);
	pthread_t t[THIEVES];
	for (int i = 0; i < THIEVES; i++)
		t[i] = thread_start(work, &ps[i + 1]);
	work(&ps[0]);
	for (int i = 0; i < THIEVES; i++)
		thread_join(t[i]);
	int left = 0;
	globq_length();
	for (size_t i = 0; i < LENGTH(ps); i++) {
		while (take(runq_get(&ps[i])) || take(globq_get(&ps[i], RUNQ_SIZE)))
			left++;
	}
	cr_expect(left == SHARED_GS, "%d of %d came back", left, SHARED_GS);
	cr_expect(by_thieves > OPERATIONS / 50, "thieves hardly worked: %lu", (unsigned long)by_thieves);
}

/* One owner that keeps its ring short, three thieves that only steal from it: the races are all over head, tail and runnext. */

static _Atomic bool owner_done;
static struct g *_Atomic mailbox[THIEVES][1024];

static void *steal_only(void *arg) {
	struct p *p = arg;
	struct g *_Atomic *box = mailbox[p->id - 1];
	uint32_t at = 0;
	while (!atomic_load_explicit(&owner_done, memory_order_relaxed)) {
		struct g *g = take(runq_steal(p, &ps[0], true));
		for (; g; g = take(runq_get(p))) {
			until(!atomic_load(&box[at % 1024]));
			atomic_store(&box[at++ % 1024], g);
		}
	}
	return NULL;
}

Test(runq, thieves_on_a_short_ring) {
	pthread_t t[THIEVES];
	uint32_t at[THIEVES] = {0}, seed = 5;
	struct g *hand[SHARED_GS];
	uint32_t count = 0, stolen = 0;
	for (int i = 0; i < SHARED_GS; i++)
		hand[count++] = &gs[i];
	for (int i = 0; i < THIEVES; i++)
		t[i] = thread_start(steal_only, &ps[i + 1]);
	for (int round = 0; round < 700000; round++) {
		for (uint32_t n = noise(&seed) % 4; n && count; n--)
			runq_put(&ps[0], give(hand[--count]), noise(&seed) % 2);
		for (uint32_t n = noise(&seed) % 3; n; n--) {
			struct g *g = take(runq_get(&ps[0]));
			if (g)
				hand[count++] = g;
		}
		for (struct g *g; (g = take(globq_get(&ps[0], 1)));) /* spilled while the thieves had no CPU */
			hand[count++] = g;
		for (int i = 0; i < THIEVES; i++) {
			for (struct g *g; (g = atomic_exchange(&mailbox[i][at[i] % 1024], NULL)); at[i]++, stolen++)
				hand[count++] = g;
		}
	}
	atomic_store(&owner_done, true);
	for (int i = 0; i < THIEVES; i++)
		thread_join(t[i]);
	for (int i = 0; i < THIEVES; i++) {
		for (struct g *g; (g = atomic_exchange(&mailbox[i][at[i] % 1024], NULL)); at[i]++)
			count++;
	}
	while (take(runq_get(&ps[0])) || take(globq_get(&ps[0], 1)))
		count++;
	cr_expect(count == SHARED_GS, "%u of %d came back", count, SHARED_GS);
	cr_expect(stolen > 1000, "hardly stolen: %u", stolen);
	cr_expect(ps[0].runq_tail < START, "the counters did not wrap");
}
