/* Mutex, condition variable and wait group of goshim.h (shims/go_sync.c) over the real channels, parking lot and waiting. What the mutex guards is plain memory. */
#include <errno.h>
#include <string.h>

#include "futex.h"
#include "goshim.h"
#include "golib.h"
#include "shims.h"
#include "stand_ins.h"

static go_mutex mutex;
static go_cond cond;
static go_wg group, next_round;
static struct chan done; /* of the one context */
static int items, taken, part[2];
static bool flag;
static uint64_t nodes[2][16]; /* all the memory there is */
static bool nodes_used[2];

static void reset(void) {
	stand_ins_reset();
	futex_fork_child();
	memset(&mutex, 0, sizeof mutex);
	memset(&cond, 0, sizeof cond);
	memset(&group, 0, sizeof group);
	memset(&next_round, 0, sizeof next_round);
	chan_init(&done, 0, 0, NULL);
	items = taken = part[0] = part[1] = 0;
	flag = false;
	memset(nodes_used, 0, sizeof nodes_used);
}

/* ---- what go_sync.c wants of others ---- */

bool sched_others_run(void) {
	return false; /* to spin is to look again: nothing that a schedule with a park does not show */
}

struct chan *ctx_done(struct ctx *c) {
	(void)c;
	return &done;
}

int ctx_err(struct ctx *c) {
	(void)c;
	return chan_is_closed(&done) ? -ECANCELED : 0;
}

bool shim_cancel_pending(struct g *g) {
	(void)g;
	return false;
}

void *slab_alloc(size_t bytes) {
	for (size_t i = 0; i < sizeof nodes_used / sizeof nodes_used[0]; i++) {
		if (!nodes_used[i]) {
			check(bytes <= sizeof nodes[i]);
			nodes_used[i] = true;
			return nodes[i];
		}
	}
	return NULL;
}

void slab_free(void *p, size_t bytes) {
	memset(p, 0xa5, bytes); /* whoever uses it still is to notice */
	nodes_used[((uint64_t(*)[16])p - nodes)] = false;
}

static go_ctx *context(void) {
	return (go_ctx *)&done; /* any address */
}

/* ---- mutex ---- */

static void locks_twice(void) {
	for (int i = 0; i < 2; i++) {
		go_mutex_lock(&mutex);
		items++;
		check(go_mutex_unlock(&mutex) == 0);
	}
}

static void locks_once(void) {
	go_mutex_lock(&mutex);
	items++;
	check(go_mutex_unlock(&mutex) == 0);
}

static void cancels(void) {
	check(chan_close(&done));
}

static void finish_mutex(void) {
	stand_ins_finish();
	check(items == 3);
	check(mutex.private_[0] != 1); /* free */
}

/* ---- condition variable ---- */

static void take_item(void) {
	go_mutex_lock(&mutex);
	while (items == 0)
		check(go_cond_wait(&cond, &mutex) == 0);
	items--;
	taken++;
	go_mutex_unlock(&mutex);
}

static void put_item(void) {
	go_mutex_lock(&mutex);
	items++;
	go_mutex_unlock(&mutex);
	go_cond_notify_one(&cond);
}


static void take_or_give_up(void) {
	go_mutex_lock(&mutex);
	int r = 0;
	while (items == 0 && r == 0)
		r = go_cond_wait_ctx(context(), &cond, &mutex);
	check(r == 0 || r == -ECANCELED);
	if (items) {
		items--;
		taken++;
	}
	go_mutex_unlock(&mutex);
	if (r == 0)
		return;
	/* What was for one who gives up must not be lost: he took what is there, and is not told of it twice. */
	go_cond_notify_one(&cond);
}

/* It waits once: notified, and no interruption ends it. */
static void wait_for_flag(void) {
	go_mutex_lock(&mutex);
	while (!flag)
		check(go_cond_wait(&cond, &mutex) == 0);
	taken++;
	go_mutex_unlock(&mutex);
}

static void set_flag(void) {
	go_mutex_lock(&mutex);
	flag = true;
	go_cond_notify_one(&cond);
	go_mutex_unlock(&mutex);
}

static void set_flag_for_all(void) {
	go_mutex_lock(&mutex);
	flag = true;
	go_mutex_unlock(&mutex);
	go_cond_notify_all(&cond);
}

static void interrupts(void) {
	g_interrupt(&gs[0]);
}

static void finish_one(void) {
	stand_ins_finish();
	check(taken == 1);
}

static void finish_given_up(void) {
	stand_ins_finish();
	check(taken + items == 1);
}

/* ---- wait group ---- */

static void reset_group(void) {
	reset();
	check(go_wg_add(&group, 2) == 0);
}

static void works(void) {
	part[0] = 1;
	check(go_wg_done(&group) == 0);
}

static void works_too(void) {
	part[1] = 1;
	check(go_wg_done(&group) == 0);
}

static void waits_for_group(void) {
	check(go_wg_wait(&group) == 0);
	check(part[0] && part[1]); /* plain: what was done before is seen */
}

/* The object may be gone: used again at once, its memory is written. */
static void waits_and_frees(void) {
	check(go_wg_wait(&group) == 0);
	group.private_[0] = 0;
}

static void waits_with_context(void) {
	int r = go_wg_wait_ctx(context(), &group);
	check(r == 0 ? part[0] && part[1] : r == -ECANCELED);
}

/* Two rounds with one group: what ends the first must not end the second. */
static void reset_rounds(void) {
	reset();
	check(go_wg_add(&group, 1) == 0 && go_wg_add(&next_round, 1) == 0);
}

static void waits_twice(void) {
	check(go_wg_wait(&group) == 0);
	check(part[0]);
	check(go_wg_add(&group, 1) == 0 && go_wg_done(&next_round) == 0);
	check(go_wg_wait(&group) == 0);
	check(part[1]);
}

static void works_in_next_round(void) {
	check(go_wg_wait(&next_round) == 0);
	works_too();
}

const struct scenario scenarios[] = {
	{"sync: mutex", reset, {locks_twice, locks_once}, stand_ins_finish, false},
	{"sync: condition, one of each", reset, {take_item, put_item}, finish_one, false},
	{"sync: condition, for all", reset, {wait_for_flag, set_flag_for_all}, finish_one, false},
	{"sync: condition, given up", reset, {take_or_give_up, put_item, cancels}, finish_given_up, false},
	{"sync: wait group", reset_group, {waits_for_group, works, works_too}, stand_ins_finish, false},
	{"sync: wait group, gone", reset_group, {waits_and_frees, works, works_too}, stand_ins_finish, false},
	{"sync: wait group, used again", reset_rounds, {waits_twice, works, works_in_next_round, interrupts}, stand_ins_finish, false},
	{"sync: condition, interrupted", reset, {wait_for_flag, set_flag, interrupts}, finish_one, true},
	{"sync: mutex of three", reset, {locks_once, locks_once, locks_once}, finish_mutex, true},
	{"sync: wait group, two wait", reset_group, {waits_for_group, waits_for_group, works, works_too}, stand_ins_finish, true},
	{"sync: wait group and a context", reset_group, {waits_with_context, works, works_too, cancels}, stand_ins_finish, true},
	{NULL, NULL, {NULL}, NULL, false},
};
