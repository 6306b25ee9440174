/* The timer heap against a plain list; it grows, and timers leave it from the middle by the thousand (TIM-3). */
#include <limits.h>

#include "core_test.h"
#include "timer.h"

static struct timer_heap heap = {.first = INT64_MAX};

#define TIMERS 1500

static struct timer timers[TIMERS];
static bool queued[TIMERS];
static int64_t fired[TIMERS]; /* in the order of firing */
static int fired_count;

static void note_fired(struct timer *t) {
	size_t i = (size_t)(t - timers);
	must(i < TIMERS && queued[i] && t->index == 0);
	queued[i] = false;
	fired[fired_count++] = t->when;
}

static void add(size_t i, int64_t when) {
	timers[i].when = when;
	timers[i].wall = i % 3 == 0;
	timers[i].fire = note_fired;
	timer_add(&heap, &timers[i]);
	queued[i] = true;
}

static int64_t earliest(void) {
	int64_t first = INT64_MAX;
	for (size_t i = 0; i < TIMERS; i++) {
		if (queued[i] && timers[i].when < first)
			first = timers[i].when;
	}
	return first;
}

static int due(int64_t now) {
	int n = 0;
	for (size_t i = 0; i < TIMERS; i++)
		n += queued[i] && timers[i].when <= now;
	return n;
}

static void run(int64_t now) {
	int expected = due(now);
	fired_count = 0;
	cr_assert(timer_run(&heap, now, INT_MAX) == expected);
	cr_assert(fired_count == expected && due(now) == 0);
	for (int i = 1; i < fired_count; i++)
		cr_assert(fired[i - 1] <= fired[i], "fired out of order");
}

/* Every third timer is for a time of the wall clock: those that are queued fire, and only they. */
static void set_clock(void) {
	int expected = 0;
	for (size_t i = 0; i < TIMERS; i++)
		expected += queued[i] && timers[i].wall;
	cr_assert((int)heap.walls == expected);
	fired_count = 0;
	timers_clock_set(&heap);
	cr_assert(fired_count == expected && heap.walls == 0 && heap.first == earliest());
	for (size_t i = 0; i < TIMERS; i++)
		cr_assert(!queued[i] || !timers[i].wall);
}

/* Random work; `spread` small makes most of them duplicates. */
static void random_work(uint32_t seed, int64_t spread, int rounds) {
	int64_t now = 0;
	for (int round = 0; round < rounds; round++) {
		size_t i = noise(&seed) % TIMERS;
		if (!queued[i]) {
			cr_assert(!timer_del(&timers[i]), "not queued, but deleted");
			add(i, now + noise(&seed) % spread);
		} else if (noise(&seed) % 3) {
			cr_assert(timer_del(&timers[i]));
			queued[i] = false;
			cr_assert(timers[i].index == 0);
		}
		if (noise(&seed) % 16 == 0)
			run(now += noise(&seed) % (spread / 16 + 2));
		if (noise(&seed) % 256 == 0)
			set_clock();
		if (round % 8 == 0)
			cr_assert(heap.first == earliest());
	}
	run(INT64_MAX - 1);
	cr_assert(heap.count == 0 && heap.walls == 0 && heap.first == INT64_MAX);
}

Test(timer, random_against_a_list) {
	random_work(1, 1000000, 60000);
}

Test(timer, duplicates) {
	random_work(2, 3, 60000);
}

Test(timer, empty) {
	cr_expect(timer_run(&heap, INT64_MAX - 1, INT_MAX) == 0);
	cr_expect(heap.first == INT64_MAX);
	struct timer never = {0};
	cr_expect(!timer_del(&never), "never queued");
}

/* What is left is due, and goes first the next time. */
Test(timer, in_batches) {
	for (size_t i = 0; i < 100; i++)
		add(i, (int64_t)(100 - i));
	fired_count = 0;
	cr_expect(timer_run(&heap, 50, 32) == 32 && fired[0] == 1 && fired[31] == 32);
	cr_expect(heap.first == 33);
	cr_expect(timer_run(&heap, 50, 32) == 18 && fired[49] == 50);
	cr_expect(timer_run(&heap, 50, 32) == 0 && heap.first == 51);
	run(INT64_MAX - 1);
}

Test(timer, delete_the_fired) {
	add(0, 10);
	run(9);
	cr_expect(queued[0]);
	run(10);
	cr_expect(!queued[0]);
	cr_expect(!timer_del(&timers[0]));
	add(0, 20); /* and it may be used again */
	cr_expect(timer_del(&timers[0]));
	cr_expect(!timer_del(&timers[0]));
	cr_expect(heap.first == INT64_MAX);
}

Test(timer, extremes) {
	add(0, INT64_MIN);
	add(1, INT64_MAX - 1);
	add(2, 0);
	cr_expect(heap.first == INT64_MIN);
	run(INT64_MIN);
	run(0);
	cr_expect(heap.first == INT64_MAX - 1);
	run(INT64_MAX - 1);
}

/* ---- growth ---- */

static int64_t last_when;
static int ordered;

static void note_order(struct timer *t) {
	must(t->when >= last_when);
	last_when = t->when;
	ordered++;
}

/* Every doubling moves the slots to another mapping: nothing may be lost or reordered, and timers remember the heap, not the slots. */
Test(timer, growth) {
	enum { MANY = 100000 };
	struct timer *many = calloc(MANY, sizeof *many);
	uint32_t seed = 3;
	for (int i = 0; i < MANY; i++) {
		many[i].when = noise(&seed) % 1000000;
		many[i].fire = note_order;
		timer_add(&heap, &many[i]);
		cr_assert(heap.slot[many[i].index] == &many[i]);
	}
	cr_assert(heap.count == MANY && heap.cap >= MANY);
	for (int i = 0; i < MANY; i += 3)
		cr_assert(timer_del(&many[i]));
	int left = MANY - (MANY + 2) / 3;
	cr_expect(timer_run(&heap, 500000, INT_MAX) == ordered);
	cr_expect(ordered > left / 3 && ordered < left);
	timer_run(&heap, 1000000, INT_MAX);
	cr_expect(ordered == left);
	free(many);
}

static int spill_fires;
static void note_fire(struct timer *t) {
	must(t->index == 0);
	spill_fires++;
}

/* No timed wait may end early, fail or be forgotten for want of memory. */
static void no_memory_to_grow(void) {
	static struct timer_heap h = {.first = INT64_MAX};
	static struct timer t[200];
	for (size_t i = 0; i < LENGTH(t); i++)
		t[i] = (struct timer){.when = 1000 - (int64_t)i, .fire = note_fire, .wall = i == 60 || i == 198};
	timer_add(&h, &t[0]);
	memory_refuse();
	for (size_t i = 1; i < LENGTH(t); i++) {
		timer_add(&h, &t[i]);
		must(h.first == t[i].when);
	}
	must(h.count == h.cap && h.cap < LENGTH(t)); /* full: the others are elsewhere */
	must(timer_del(&t[5]) && timer_del(&t[150]) && timer_del(&t[199]));
	must(!timer_del(&t[5]) && !timer_del(&t[150]) && h.first == t[198].when);
	timer_add(&h, &t[150]); /* room again */
	must(h.count == h.cap);
	must(timer_run(&h, 801, INT_MAX) == 0 && h.first == 802 && timer_run(&h, 850, INT_MAX) == 49 && h.first == 851);
	must(timer_run(&h, 1000, INT_MAX) == 149 && spill_fires == 198 && h.first == INT64_MAX);
	for (size_t i = 0; i < LENGTH(t); i++)
		timer_add(&h, &t[i]);
	spill_fires = 0;
	timers_clock_set(&h); /* one with a slot, one without */
	must(spill_fires == 2 && h.first == t[199].when && timer_run(&h, 1000, INT_MAX) == 198);
	static struct timer_heap fresh = {.first = INT64_MAX};
	t[0].when = 5;
	timer_add(&fresh, &t[0]);
	must(fresh.first == 5 && timer_run(&fresh, 4, INT_MAX) == 0 && timer_del(&t[0]) && fresh.first == INT64_MAX);
}

Test(timer, no_memory_to_grow) {
	expect_child_ok(no_memory_to_grow);
}

/* ---- many kernel threads ---- */

#define OWNERS 3
#define OWNED 64
#define ROUNDS 20000

struct owned {
	struct timer timer;
	_Atomic int running, fires;
	int adds, deletes;
};

static struct timer_heap shared = {.first = INT64_MAX};
static _Atomic bool owners_done;
static _Atomic int fires_seen;
static _Atomic bool came_home = true; /* what the mover has moved has fired there */

static void fire_slowly(struct timer *t) {
	struct owned *o = t->arg;
	atomic_store(&o->running, 1);
	for (int i = 0; i < 20; i++)
		arch_relax();
	atomic_fetch_add(&o->fires, 1);
	atomic_fetch_add(&fires_seen, 1);
	atomic_store(&o->running, 0);
}

static void *owner(void *arg) {
	struct owned *own = arg;
	uint32_t seed = (uint32_t)(uintptr_t)arg | 1;
	for (int i = 0; i < ROUNDS || fires_seen < 1000 || !came_home; i++) {
		struct owned *o = &own[noise(&seed) % OWNED];
		if (timer_del(&o->timer))
			o->deletes++;
		must(!atomic_load(&o->running)); /* after timer_del the callback is over (SYN-13) */
		must(o->timer.index == 0 && o->adds == o->deletes + o->fires);
		o->timer.when = nanotime() + noise(&seed) % 20000;
		o->timer.fire = fire_slowly;
		o->timer.arg = o;
		timer_add(&shared, &o->timer);
		o->adds++;
	}
	for (int i = 0; i < OWNED; i++) {
		own[i].deletes += timer_del(&own[i].timer);
		must(own[i].adds == own[i].deletes + own[i].fires);
	}
	return NULL;
}

static void *runner(void *arg) {
	(void)arg;
	while (!atomic_load(&owners_done))
		timer_run(&shared, nanotime(), INT_MAX);
	return NULL;
}

static struct timer_heap home = {.first = INT64_MAX};

/* Moves all of them all the time, as if their P left, and fires what has come home. */
static void *mover(void *arg) {
	long *moves = arg;
	while (!atomic_load(&owners_done)) {
		timers_move(&shared, &home);
		timer_run(&home, nanotime(), INT_MAX);
		atomic_store(&came_home, home.fired > 0);
		++*moves;
	}
	return NULL;
}

static void run_owners(void *(*other)(void *), void *arg) {
	static struct owned own[OWNERS][OWNED];
	pthread_t owners[OWNERS], others[2];
	others[0] = thread_start(runner, NULL);
	others[1] = thread_start(other, arg);
	for (int i = 0; i < OWNERS; i++)
		owners[i] = thread_start(owner, own[i]);
	for (int i = 0; i < OWNERS; i++)
		thread_join(owners[i]);
	atomic_store(&owners_done, true);
	for (int i = 0; i < 2; i++)
		thread_join(others[i]);
	cr_expect(shared.count == 0 && shared.first == INT64_MAX);
}

Test(timer, deleted_means_not_running) {
	run_owners(runner, NULL);
}

Test(timer, moved_means_neither_lost_nor_twice) {
	long moves = 0;
	came_home = false;
	run_owners(mover, &moves);
	cr_expect(moves > 0 && home.fired > 0 && home.count == 0 && home.first == INT64_MAX);
}

Test(timer, move_keeps_the_order) {
	uint32_t seed = 5;
	for (size_t i = 0; i < TIMERS; i++)
		add(i, noise(&seed) % 1000);
	/* The other half of the heap is there already. */
	struct timer_heap from = heap;
	heap = (struct timer_heap){.first = INT64_MAX};
	for (size_t i = 0; i < TIMERS; i += 2) {
		from.lock.word = 0;
		timers[i].heap = &from;
		must(timer_del(&timers[i]));
		add(i, noise(&seed) % 1000);
	}
	for (size_t i = 1; i < TIMERS; i += 2)
		timers[i].heap = &from;
	timers_move(&from, &heap);
	cr_expect(from.count == 0 && from.first == INT64_MAX);
	cr_expect(heap.count == TIMERS && heap.first == earliest());
	for (int64_t now = 0; now <= 1000; now += 100)
		run(now);
}
