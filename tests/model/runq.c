/* Run queues (core/runq.c) with a ring of four: each G that was queued is run once, and who runs it sees what its queuer wrote. */
#include <string.h>

#include "runtime.h"

#define GS 8

struct sched sched;
static struct p ps[3];
static struct g gs[GS];
static uint32_t queued;

static void reset(void) {
	memset(&sched, 0, sizeof sched);
	memset(ps, 0, sizeof ps);
	memset(gs, 0, sizeof gs);
	sched.procs = 3;
	queued = 0;
}

/* Plain accesses, for the checker to find unordered ones. */
static void queue(struct p *p, bool next) {
	struct g *g = &gs[queued++];
	g->tid = 42;
	runq_put(p, g, next);
}

static void run(struct g *g) {
	if (!g)
		return;
	check(g->tid == 42);
	check(g->id == 0);
	g->id++;
}

static void thief(struct p *own) {
	run(runq_steal(own, &ps[0], true));
	run(runq_get(own));
}

static void thief_1(void) {
	thief(&ps[1]);
}

static void thief_2(void) {
	thief(&ps[2]);
}

static void put_and_get(void) {
	queue(&ps[0], false);
	run(runq_get(&ps[0]));
}

static void next_and_get(void) {
	queue(&ps[0], true);
	run(runq_get(&ps[0]));
}

static void put_get_twice(void) {
	put_and_get();
	next_and_get();
}

/* From the global list, with a share that goes to the own ring. */
static void take_global(void) {
	run(globq_get(&ps[1], RUNQ_SIZE));
	run(runq_get(&ps[1]));
}

static void setup_two(void) {
	reset();
	queue(&ps[0], false);
	queue(&ps[0], false);
}

static void setup_full(void) {
	reset();
	for (int i = 0; i < RUNQ_SIZE; i++)
		queue(&ps[0], false);
}

/* Everything that is left is run here; then everything was, once. */
static void finish(void) {
	struct g *g;
	for (int i = 0; i < 3; i++) {
		while ((g = runq_get(&ps[i])))
			run(g);
	}
	uint32_t listed = 0;
	for (g = sched.runq.head; g; g = g->schedlink, listed++)
		run(g);
	check(listed == sched.runq.size);
	for (uint32_t i = 0; i < queued; i++)
		check(gs[i].id == 1);
}

const struct scenario scenarios[] = {
	{"runq: owner, two thieves", setup_two, {put_and_get, thief_1, thief_2}, finish, false},
	{"runq: runnext, two thieves", reset, {next_and_get, thief_1, thief_2}, finish, false},
	{"runq: full ring, two thieves", setup_full, {put_and_get, thief_1, thief_2}, finish, false},
	{"runq: full ring, global list", setup_full, {put_and_get, take_global, thief_2}, finish, false},
	{"runq: busy owner, two thieves", setup_two, {put_get_twice, thief_1, thief_2}, finish, true},
	{"runq: busy owner, full ring", setup_full, {put_get_twice, thief_1, thief_2}, finish, true},
	{NULL, NULL, {NULL}, NULL, false},
};
