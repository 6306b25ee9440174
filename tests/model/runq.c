/* Run queues (core/runq.c) with a ring of four: each G that was queued is run once, and who runs it sees what its queuer wrote. */
#include <string.h>

#include "runtime.h"

#include "procs.c" /* what is static there: a P that leaves is emptied */

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

/* A P that leaves (core/procs.c): its last holder runs one, queues another and gives it up, as p_idle_push() does; settle_locked() moves what it has to the global
 * list, while thieves help themselves. */
static void setup_leaving(void) {
	reset();
	sched.procs = 2;
	sched.procs_all = 3;
	sched.all_p[0] = &ps[1];
	sched.all_p[1] = &ps[2];
	sched.all_p[2] = &ps[0];
	ps[0].part = P_HERE;
	queue(&ps[0], false);
	queue(&ps[0], true);
}

static void last_holder(void) {
	run(runq_get(&ps[0]));
	queue(&ps[0], true);
	atomic_store_explicit(&ps[0].part, P_PARTED, memory_order_release);
}

static bool parted(void *arg) {
	(void)arg;
	return *(volatile uint8_t *)&ps[0].part != P_HERE;
}

static void settler(void) {
	settle_locked();
	model_await(&ps[0].part, parted, NULL);
	settle_locked();
	check(ps[0].part == P_GONE && sched.procs_all == 2 && runq_empty(&ps[0]));
}

void timers_move(struct timer_heap *from, struct timer_heap *to) {
	(void)from, (void)to;
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
	{"runq: a P that leaves", setup_leaving, {last_holder, settler, thief_1}, finish, false},
	{NULL, NULL, {NULL}, NULL, false},
};
