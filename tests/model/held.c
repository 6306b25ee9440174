/* A parked G whose stack sysmon trims (core/scavenge.c: hold, unhold; ctx.on_cpu) while it is woken, picked and parks again: who holds it is alone with
 * its stack. */
#include "stand_ins.h"

#include "scavenge.c"

static int frames; /* plain: what is on the stack */
static _Atomic uint32_t parked;
static int trims;

static void reset(void) {
	stand_ins_reset();
	gs[0].ctx.on_cpu = 1;
	frames = trims = 0;
	parked = 0;
}

/* Of its own thread: as arch_switch() when all registers are saved. */
void switch_left(struct g *g) {
	frames++;
	atomic_store_explicit(&g->ctx.on_cpu, 0, memory_order_release);
}

static bool is_off(void *arg) {
	struct g *g = arg;
	return *(volatile uint32_t *)&g->ctx.on_cpu == 0;
}

/* g_wait_off_cpu(), then g_switch_prepare(). */
void switch_picked(struct g *g) {
	model_await(&g->ctx.on_cpu, is_off, g);
	atomic_store_explicit(&g->ctx.on_cpu, 1, memory_order_relaxed);
	frames++;
}

static void parks_twice(void) {
	struct g *g = tls_g;
	for (uint32_t n = 1; n <= 2; n++) {
		rt_enter(g);
		wait_begin(g, false, "test", 0);
		atomic_store(&parked, n);
		check(wait_park(g, -1) == 0);
		rt_exit(g);
	}
}

static bool parked_once(void *arg) {
	(void)arg;
	return *(volatile uint32_t *)&parked >= 1;
}

static bool parked_twice(void *arg) {
	(void)arg;
	return *(volatile uint32_t *)&parked >= 2;
}

static void wakes_twice(void) {
	for (int n = 0; n < 2; n++) {
		model_await(&parked, n ? parked_twice : parked_once, NULL);
		check(wait_claim(&gs[0], WAKE_READY));
		ready(&gs[0]);
	}
}

static void trim(void) {
	if (hold(&gs[0])) {
		trims++;
		frames++;
		unhold(&gs[0]);
	}
}

static void trims_twice(void) {
	trim();
	trim();
}

static void finish(void) {
	stand_ins_finish();
	check(frames == 4 + trims && gs[0].ctx.on_cpu == 1);
}

const struct scenario scenarios[] = {
	{"held: parked, woken, trimmed", reset, {parks_twice, wakes_twice, trims_twice}, finish, false},
	{NULL, NULL, {NULL}, NULL, false},
};
