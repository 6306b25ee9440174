/* climb.c against servers made up for it: what they would serve with so many Ps is known, so the best number is. Time is made up as well. */
#include "climb.h"
#include "core_test.h"

#define TICK (2 * MS)

static uint32_t seed = 1;

struct server {
	double (*rate)(uint32_t procs); /* calls/s */
	double noise;                   /* 0.1: each tick 10 % more or less, at most */
	double cpus;                    /* CPUs it uses of each P */
	bool computes;
	uint32_t max;
	struct climb climb;
	struct climb_look is;
	uint32_t use;
	int64_t used[9];                /* ns with so many Ps */
};

static void begin(struct server *s, uint32_t max, double (*rate)(uint32_t procs), double noise) {
	*s = (struct server){.rate = rate, .noise = noise, .cpus = 0.9, .max = max, .use = max, .is.now = SECOND};
	climb_reset(&s->climb, max);
}

static void run(struct server *s, int64_t ns) {
	memset(s->used, 0, sizeof s->used);
	for (int64_t end = s->is.now + ns; s->is.now < end;) {
		double more = ((double)(noise(&seed) % 2001) / 1000 - 1) * s->noise;
		s->is.now += TICK;
		s->used[s->use] += TICK;
		s->is.calls += (uint64_t)(s->rate(s->use) * (1 + more) * TICK / SECOND);
		s->is.cpu += (int64_t)(s->cpus * s->use * TICK);
		if (s->computes)
			s->use = climb_computes(&s->climb, s->is.now);
		else if (climb_due(&s->climb, s->max, s->is.now))
			s->use = climb_next(&s->climb, s->max, &s->is);
		cr_assert(s->use >= 1 && s->use <= s->max);
	}
}

/* Two get into each other's way. */
static double fewer_is_more(uint32_t procs) {
	return 100000.0 / (0.8 + 0.2 * procs);
}
static double each_helps(uint32_t procs) {
	return 40000.0 * procs;
}
static double all_the_same(uint32_t procs) {
	(void)procs;
	return 50000;
}
static double best_of_two(uint32_t procs) {
	return procs <= 2 ? 40000.0 * procs : 80000.0 - 5000.0 * procs;
}
static double each_helps_more(uint32_t procs) {
	return 5 * each_helps(procs);
}
/* Fewer are a little worse; now and then a heap of small calls comes by. */
static double in_heaps(uint32_t procs) {
	return (procs == 1 ? 48500 : 50000) * (noise(&seed) % 40 ? 1 : 20);
}
static double barely_enough(uint32_t procs) {
	return fewer_is_more(procs) * 0.054;
}
static double barely_too_few(uint32_t procs) {
	return fewer_is_more(procs) * 0.039;
}
/* Clients send so much, whatever becomes of it. */
static double as_before(uint32_t procs) {
	(void)procs;
	return 60000;
}
static double few(uint32_t procs) {
	return 2000.0 / procs;
}

Test(climb, uses_one_where_two_hinder_each_other) {
	struct server s;
	begin(&s, 2, fewer_is_more, 0.05);
	run(&s, 5 * SECOND);
	cr_expect(s.use == 1);
	run(&s, 60 * SECOND);
	cr_expect(s.used[1] > 58 * SECOND, "%ld ms", (long)(s.used[1] / MS));
}

/* Two ways to run, of which the second serves a quarter more, with little CPU time: a client that waits for a database. */
static double the_other_way(uint32_t way) {
	return way == 1 ? 25000 : 20000;
}

static void begin_ways(struct server *s, double (*rate)(uint32_t way)) {
	begin(s, 2, rate, 0.03);
	s->cpus = 0.1;
	s->climb.not_ps = true;
	climb_reset(&s->climb, 2);
}

Test(climb, finds_the_better_of_two_ways_within_a_second) {
	struct server s;
	begin_ways(&s, the_other_way);
	run(&s, SECOND);
	cr_expect(s.use == 1);
	run(&s, 60 * SECOND);
	cr_expect(s.used[1] > 58 * SECOND, "%ld ms", (long)(s.used[1] / MS));
	climb_idle(&s.climb);
	s.use = s.climb.use;
	run(&s, SECOND);
	cr_expect(s.used[2] > 0, "idle, it begins anew");
	begin(&s, 2, the_other_way, 0.03); /* as Ps they would not be tried: there is CPU time to spare */
	s.cpus = 0.1;
	run(&s, 60 * SECOND);
	cr_expect(s.used[1] == 0);
}

Test(climb, takes_the_first_way_in_doubt) {
	struct server s;
	begin_ways(&s, all_the_same);
	run(&s, 600 * SECOND);
	cr_expect(s.used[1] < 6 * SECOND, "%ld ms", (long)(s.used[1] / MS));
	begin_ways(&s, few);
	run(&s, 60 * SECOND);
	cr_expect(s.used[1] == 0);
}

Test(climb, uses_all_where_each_helps_and_asks_ever_less) {
	struct server s;
	begin(&s, 2, each_helps, 0.1);
	run(&s, 10 * SECOND);
	cr_expect(s.used[1] < SECOND / 2, "%ld ms", (long)(s.used[1] / MS));
	run(&s, 600 * SECOND);
	cr_expect(s.used[1] < SECOND, "%ld ms", (long)(s.used[1] / MS));
	cr_expect(s.used[1] > 0, "asks no more");
}

Test(climb, uses_all_where_it_makes_no_difference) {
	struct server s;
	begin(&s, 2, all_the_same, 0.05);
	run(&s, 600 * SECOND);
	cr_expect(s.used[2] > 590 * SECOND, "%ld ms", (long)(s.used[2] / MS));
}

Test(climb, finds_the_best_of_many) {
	struct server s;
	begin(&s, 8, best_of_two, 0.02);
	run(&s, 60 * SECOND);
	run(&s, 60 * SECOND);
	cr_expect(s.used[2] > 55 * SECOND, "%ld ms", (long)(s.used[2] / MS));
}

/* Its load is `rate` from now on; after a while so many are used. */
static void becomes(struct server *s, double (*rate)(uint32_t procs), int64_t ns, uint32_t use) {
	s->rate = rate;
	run(s, ns);
	cr_expect(s->use == use, "%u after %ld s, not %u", s->use, (long)(ns / SECOND), use);
}

Test(climb, another_load_brings_them_back) {
	struct server s;
	begin(&s, 2, fewer_is_more, 0.02);
	becomes(&s, fewer_is_more, 600 * SECOND, 1);
	becomes(&s, each_helps, 6 * SECOND, 2);
	becomes(&s, fewer_is_more, 90 * SECOND, 1);
}

Test(climb, a_greater_load_is_tried_soon) {
	struct server s;
	begin(&s, 2, fewer_is_more, 0.02);
	becomes(&s, fewer_is_more, 600 * SECOND, 1);
	becomes(&s, each_helps_more, 6 * SECOND, 2); /* at no greater cost */
}

Test(climb, a_heap_that_fell_to_fewer_proves_nothing) {
	struct server s;
	begin(&s, 2, in_heaps, 0);
	run(&s, 1200 * SECOND);
	cr_expect(s.used[1] < 170 * SECOND, "%ld ms", (long)(s.used[1] / MS));
}

Test(climb, too_few_calls_give_all_back) {
	struct server s;
	begin(&s, 2, barely_enough, 0);
	becomes(&s, barely_enough, 60 * SECOND, 1);
	becomes(&s, barely_too_few, SECOND, 2);
}

Test(climb, one_that_computes_has_all_at_once) {
	struct server s;
	begin(&s, 2, fewer_is_more, 0.02);
	run(&s, 60 * SECOND);
	cr_expect(s.use == 1);
	s.computes = true;
	run(&s, TICK);
	cr_expect(s.use == 2);
	run(&s, 60 * SECOND);
	cr_expect(s.used[1] == 0);
	s.computes = false;
	run(&s, 60 * SECOND);
	cr_expect(s.use == 1);
}

Test(climb, few_calls_and_little_cpu_say_nothing) {
	struct server s;
	begin(&s, 2, few, 0);
	run(&s, 60 * SECOND);
	cr_expect(s.used[1] == 0);
	begin(&s, 2, fewer_is_more, 0);
	s.cpus = 0.3;
	run(&s, 60 * SECOND);
	cr_expect(s.used[1] == 0);
}

Test(climb, who_has_less_to_do_gets_all_back) {
	struct server s;
	begin(&s, 2, fewer_is_more, 0.02);
	run(&s, 130 * SECOND);
	cr_expect(s.use == 1);
	s.cpus = 0.3;
	run(&s, SECOND);
	cr_expect(s.use == 2);
	s.cpus = 0.9;
	run(&s, 130 * SECOND);
	cr_expect(s.use == 1);
	s.rate = few;
	run(&s, SECOND);
	cr_expect(s.use == 2);
}

/* Between the load at which fewer served more, and one at which it plainly does not matter. */
Test(climb, who_is_less_busy_gets_all_back) {
	for (double cpus = 0.4; cpus < 0.8; cpus += 0.1) {
		struct server s;
		begin(&s, 2, fewer_is_more, 0.02);
		run(&s, 60 * SECOND);
		cr_expect(s.use == 1);
		s.rate = as_before;
		s.cpus = cpus;
		run(&s, SECOND);
		cr_expect(s.use == 2, "%f", cpus);
		run(&s, 600 * SECOND);
		cr_expect(s.used[2] > 590 * SECOND, "%f: %ld ms", cpus, (long)(s.used[2] / MS));
	}
}

Test(climb, a_start_and_a_burst_are_left_alone) {
	struct server s;
	begin(&s, 2, fewer_is_more, 0.02);
	run(&s, SECOND);
	cr_expect(s.used[1] == 0);
	begin(&s, 2, all_the_same, 0.1);
	int64_t fewer = 0;
	for (int i = 0; i < 1000; i++) {
		run(&s, 400 * MS);
		fewer += s.used[1];
		climb_idle(&s.climb);
		s.use = s.climb.use;
		cr_assert(s.use == 2);
		s.is.now += 100 * MS;
	}
	cr_expect(fewer < 4 * SECOND, "%ld ms of 400 s", (long)(fewer / MS));
}

Test(climb, another_gomaxprocs_begins_anew) {
	struct server s;
	begin(&s, 2, fewer_is_more, 0.02);
	run(&s, 60 * SECOND);
	cr_expect(s.use == 1);
	s.max = 4;
	run(&s, TICK);
	cr_expect(s.use == 4);
	s.max = 1;
	run(&s, 60 * SECOND);
	cr_expect(s.use == 1);
}

Test(climb, a_gap_is_not_measured) {
	struct server s;
	begin(&s, 2, each_helps, 0.02);
	for (int i = 0; i < 1000; i++) {
		run(&s, 49 * MS);
		s.is.now += 600 * MS; /* stopped, or asleep */
	}
	cr_expect(s.use == 2);
	cr_expect(!s.climb.trying);
}

Test(climb, nor_in_a_trial) {
	struct server s;
	begin(&s, 2, all_the_same, 0);
	for (int i = 0; i < 100000; i++) {
		run(&s, TICK);
		if (s.climb.trying && s.climb.trial.settled && s.use == 2)
			s.is.now += 600 * MS;
		cr_assert(s.climb.use == 2);
	}
}
