/* pthread_cond_* (shims/cond.c) over the real parking lot and waiting. The mutex is a small one here, with its waiters in the parking lot, where a broadcast moves
 * those of the condition variable. What it guards is plain memory. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "futex.h"
#include "shims.h"
#include "stand_ins.h"
#include "sync.h"

static pthread_cond_t cond;
static pthread_mutex_t mutex;
static _Atomic uint32_t word; /* of the mutex: 0 free, 1 locked, 2 and somebody may wait */
static int items, taken, gave_up;
static bool flag, gone;

static void reset(void) {
	stand_ins_reset();
	futex_fork_child();
	memset(&cond, 0, sizeof cond);
	word = 0;
	items = taken = gave_up = 0;
	flag = gone = false;
}

/* It was used with the mutex before: a broadcast moves waiters there, and does not wake all of them. */
static void reset_used(void) {
	reset();
	((const void **)&cond)[1] = &word; /* `queue` */
}

/* ---- what cond.c wants of others ---- */

struct real real; /* glibc's have no part in this */
bool sync_real;

const char *symbols_init(void) {
	return NULL;
}

struct g *robust_enter(unsigned kind) {
	(void)kind;
	return NULL;
}

void robust_leave(struct g **g) {
	(void)g;
}

int64_t deadline_abs(const struct timespec *ts, int clock) {
	(void)clock;
	return ts->tv_nsec;
}

bool deadline_early(const struct timespec *ts, int clock) {
	(void)ts;
	(void)clock;
	return false;
}

const void *mutex_queue(pthread_mutex_t *m) {
	(void)m;
	return &word;
}

bool mutex_is_ours(pthread_mutex_t *m) {
	(void)m;
	return true;
}

int mutex_cond_check(pthread_mutex_t *m) {
	(void)m;
	return 0;
}

int mutex_cond_unlock(pthread_mutex_t *m) {
	(void)m;
	if (atomic_exchange_explicit(&word, 0, memory_order_release) == 2)
		futex_wake(&word, 1, FUTEX_ANY);
	return 0;
}

int mutex_cond_lock(pthread_mutex_t *m, bool contended) {
	uint32_t v = 0;
	(void)m;
	if (!contended && atomic_compare_exchange_strong_explicit(&word, &v, 1, memory_order_acquire, memory_order_relaxed))
		return 0;
	while (atomic_exchange_explicit(&word, 2, memory_order_acquire) != 0)
		futex_wait(&word, 2, -1, FUTEX_ANY, false, "mutex");
	return 0;
}

/* ---- scenarios ---- */

static void lock(void) {
	mutex_cond_lock(&mutex, false);
}

static void unlock(void) {
	mutex_cond_unlock(&mutex);
}

static void take_item(void) {
	lock();
	while (items == 0)
		check(pthread_cond_wait(&cond, &mutex) == 0);
	items--;
	taken++;
	unlock();
}

/* Signals without the mutex, as most programs do. */
static void put_item(void) {
	lock();
	items++;
	unlock();
	pthread_cond_signal(&cond);
}

/* Who finds the flag did not have to wait. */
static void waits_once(void) {
	lock();
	if (!flag)
		check(pthread_cond_wait(&cond, &mutex) == 0 && flag);
	unlock();
}

static void broadcasts(void) {
	lock();
	flag = true;
	unlock();
	pthread_cond_broadcast(&cond);
}

/* Whom a broadcast meets, also who came in the middle of it, takes the mutex as one that others wait for: it may have moved some there. */
static void waits_or_not(void) {
	lock();
	if (!flag)
		check(pthread_cond_wait(&cond, &mutex) == 0 && word == 2);
	unlock();
}

static void broadcasts_twice(void) {
	pthread_cond_broadcast(&cond);
	broadcasts();
}

static void finish_broadcast(void) {
	stand_ins_finish();
	check(word != 1); /* nobody has it */
}

/* Whether it was in time the signal tells: nobody is told in vain. */
static void take_in_time(void) {
	struct timespec until = {0, 1000};
	int r = 0;
	lock();
	while (items == 0 && r == 0)
		r = pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &until);
	check(r == 0 || r == ETIMEDOUT);
	if (items) {
		items--;
		taken++;
	} else {
		gave_up++;
	}
	unlock();
	thread_done();
}

static void put_item_done(void) {
	put_item();
	thread_done();
}

static void timers_of_two(void) {
	timers_until_done(2);
}

static void interrupts(void) {
	g_interrupt(&gs[0]);
}

/* Broadcast and destroy at once: who was woken may still look, and the object goes after that. */
static void wait_for_flag(void) {
	lock();
	while (!flag)
		check(pthread_cond_wait(&cond, &mutex) == 0);
	taken++;
	unlock();
}

static void destroys(void) {
	lock();
	flag = true;
	pthread_cond_broadcast(&cond);
	unlock();
	check(pthread_cond_destroy(&cond) == 0);
	memset(&cond, 0xff, sizeof cond);
	gone = true;
}

static void destroys_after(int (*wake)(pthread_cond_t *)) {
	lock();
	flag = true;
	wake(&cond);
	check(pthread_cond_destroy(&cond) == 0);
	memset(&cond, 0xff, sizeof cond);
	gone = true;
	unlock();
}

/* Whom a signal wakes gives up its ref itself. */
static void destroys_signalled(void) {
	destroys_after(pthread_cond_signal);
}

static bool both_wait(void *arg) {
	return *(uint32_t *)arg >> 3 == 2;
}

/* Who destroys holds the mutex that the one who is moved waits for. */
static void destroys_held(void) {
	model_await(&cond.__data.__wrefs, both_wait, &cond.__data.__wrefs);
	destroys_after(pthread_cond_broadcast);
}

/* While another broadcasts. */
static void destroys_early(void) {
	check(pthread_cond_destroy(&cond) == 0);
	gone = true;
}

static void finish_one(void) {
	stand_ins_finish();
	check(taken == 1 && items == 0);
}


static void finish_in_time(void) {
	stand_ins_finish();
	check(taken + items == 1 && taken + gave_up == 1);
}

static void finish_gone(void) {
	stand_ins_finish();
	check(taken <= 1 && gone);
}

static void finish_held(void) {
	stand_ins_finish();
	check(gone);
}

const struct scenario scenarios[] = {
	{"cond: one of each", reset, {take_item, put_item}, finish_one, false},
	{"cond: in time or not", reset, {take_in_time, put_item_done, timers_of_two}, finish_in_time, false},
	{"cond: interrupted", reset, {take_item, put_item, interrupts}, finish_one, false},
	{"cond: destroyed", reset, {wait_for_flag, destroys}, finish_gone, false},
	{"cond: destroyed after a signal", reset, {waits_once, destroys_signalled}, finish_held, false},
	{"cond: destroyed early", reset_used, {waits_once, broadcasts, destroys_early}, finish_held, false},
	{"cond: destroyed, mutex held", reset_used, {waits_once, waits_once, destroys_held}, finish_held, true},
	{"cond: broadcast, interrupted", reset_used, {waits_once, broadcasts, interrupts}, finish_broadcast, false},
	{"cond: met by a broadcast", reset_used, {waits_or_not, broadcasts_twice}, finish_broadcast, false},
	{"cond: broadcast", reset, {waits_once, waits_once, broadcasts}, finish_broadcast, true},
	{NULL, NULL, {NULL}, NULL, false},
};
