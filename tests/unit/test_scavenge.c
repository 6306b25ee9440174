/* Memory that is given back (core/scavenge.c): what dead goroutines keep, and what parked ones used deep down. */
#include "sched_test.h"

#include <link.h>

#include "unwind.h"

static size_t resident_pages(void) {
	size_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	must(f && fscanf(f, "%*u %zu", &pages) == 1);
	fclose(f);
	return pages;
}

static uint32_t dead_count(void) {
	return __atomic_load_n(&sched.gfree_count, __ATOMIC_RELAXED);
}

static void hold_many(void *arg) {
	futex_wait(arg, 0, -1, FUTEX_ANY, false, "hold");
}

/* A crowd that ended is kept, then given back; what is left of it works. */
TEST_PROCS(scavenge, dead_goroutines_are_given_back) {
	enum { CROWD = 1000 };
	static _Atomic uint32_t gate;
	sched_config.trim_ns = 0;
	start(procs);
	size_t before = resident_pages();
	for (int round = 0; round < 2; round++) {
		gate = 0;
		for (int i = 0; i < CROWD; i++)
			go(hold_many, (void *)&gate);
		cr_expect(resident_pages() > before + CROWD, "each has two pages");
		gate = 1;
		futex_wake(&gate, CROWD, FUTEX_ANY);
		wait_all();
		gfree_spare(true); /* what sysmon does when the process has been idle */
		yield_until(dead_count() <= 64 + 16);
		yield_until(resident_pages() < before + CROWD);
	}
	cr_expect(gs_ever() < CROWD + 500, "shells are used again");
}

/* Half of what was never needed since the last look. */
Test(scavenge, spare_dead_goroutines_go_by_halves) {
	static _Atomic uint32_t gate;
	sched_config.trim_ns = 0;
	start(2);
	for (int i = 0; i < 1200; i++)
		go(hold_many, (void *)&gate);
	gate = 1;
	futex_wake(&gate, 1200, FUTEX_ANY);
	wait_all();
	uint32_t most = dead_count();
	cr_assert(most > 1000);
	gfree_spare(false); /* nothing was known before */
	cr_expect(dead_count() >= most - 200);
	gfree_spare(false);
	yield_until(dead_count() < most * 3 / 4);
	cr_expect(dead_count() >= most / 4, "%u of %u", dead_count(), most);
}

static void crowd(size_t stack_bytes, int n) {
	static _Atomic uint32_t gate;
	uint32_t others = tasks;
	gate = 0;
	for (int i = 0; i < n; i++)
		go_sized(hold_many, (void *)&gate, stack_bytes);
	gate = 1;
	futex_wake(&gate, n, FUTEX_ANY);
	yield_until(tasks == others);
}

/* Crowds with stacks of a few sizes, usual ones among them: each finds its own dead ones below the others'. */
Test(scavenge, sizes_in_turns) {
	enum { CROWD = 300, SIZES = 11 };
	static const size_t kib[SIZES] = {0, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048};
	start(1);
	for (int round = 0; round < 3 * SIZES; round++)
		crowd(kib[round % SIZES] << 10, CROWD);
	/* what lies in a P's own list may be of the wrong size */
	cr_expect(dead_count() < (SIZES + 1) * CROWD, "%u", dead_count());
}

/* More sizes than there are lists: who died last is found. And a list that a size has left is another's. */
Test(scavenge, sizes_without_a_list) {
	enum { CROWD = 200, SIZES = GFREE_SIZES + 8, ODD = 64 };
	static _Atomic uint32_t gate;
	sched_config.trim_ns = 0;
	start(1);
	for (int i = 0; i < SIZES; i++)
		crowd(STACK_BYTES + i * ODD, i + 1 == SIZES ? 2 * CROWD : CROWD);
	uint32_t most = dead_count() + GFREE_MAX; /* a P's own may come */
	size_t size = STACK_BYTES + (SIZES - 1) * ODD;
	for (int round = 0; round < 4; round++)
		crowd(size, 2 * CROWD);
	cr_expect(dead_count() <= most, "%u of %u", dead_count(), most);
	for (int i = 0; i < CROWD; i++)
		go_sized(hold_many, (void *)&gate, STACK_BYTES + 2 * ODD);
	most -= CROWD;
	crowd(size, CROWD); /* the others stay where they are */
	crowd(size, 2 * CROWD);
	cr_expect(dead_count() <= most, "%u of %u", dead_count(), most);
	for (int i = 0; i < 2 * CROWD; i++) /* of two: one that the P had may come into one's list */
		go_sized(hold_many, (void *)&gate, STACK_BYTES + (i % 2 ? ODD : 9 * ODD));
	/* as many come of two sizes more */
	for (int round = 0; round < 6; round++)
		crowd(size + ODD + round % 2 * ODD, CROWD);
	cr_expect(dead_count() <= most, "%u of %u", dead_count(), most);
	gate = 1;
	futex_wake(&gate, 3 * CROWD, FUTEX_ANY);
	wait_all();
}

__attribute__((noinline)) static void dig(int pages, unsigned char mark) {
	volatile unsigned char frame[4000];
	memset((unsigned char *)frame, mark, sizeof frame);
	if (pages)
		dig(pages - 1, mark);
	for (size_t i = 0; i < sizeof frame; i++)
		must(frame[i] == mark);
}

static bool object_of(uintptr_t pc, struct unwind_object *out) {
	struct dl_find_object found;
	if (_dl_find_object((void *)pc, &found) != 0)
		return false;
	*out = (struct unwind_object){(uintptr_t)found.dlfo_map_start, found.dlfo_link_map->l_addr, (uintptr_t)found.dlfo_link_map->l_name,
	                              (uintptr_t)found.dlfo_eh_frame};
	return true;
}

static void dig_and_sleep(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	unsigned char canary[3000];
	memset(canary, (int)seed, sizeof canary);
	for (int i = 0; i < 60; i++) {
		dig(80, (unsigned char)i);
		sleep_ns(noise(&seed) % 12000000);
		for (size_t k = 0; k < sizeof canary; k++)
			must(canary[k] == (unsigned char)(uintptr_t)arg);
	}
}

/* Every wait is one to be trimmed, while all are woken by their timers. */
TEST_PROCS(scavenge, parked_stacks_are_trimmed_as_they_wake) {
	sched_config.trim_ns = 1;
	unwind_object_hook = object_of;
	start(procs);
	for (int i = 1; i <= 40; i++) {
		int err;
		struct g *g = task_new(dig_and_sleep, (void *)(uintptr_t)i, &(struct g_stack_req){.size = 1 << 20, .guard = 4096}, &err);
		must(g);
		atomic_fetch_add(&tasks, 1);
		ready_new(g);
	}
	wait_all();
	cr_expect(stats_shared[STAT_STACK_TRIMMED] > 0);
}
