/* Waiting (core/sched.c: wait_begin, wait_claim, wait_park, ready, g_interrupt; core/timer.c): who waits is woken by exactly one, and by one for sure. */
#include <errno.h>
#include <string.h>

#include "stand_ins.h"

static struct lock lock;   /* of the place where waiters are published */
static struct g *slot;
static int payload;        /* plain: the waker's, read by whom it woke */
static int handed;         /* plain: the waker's, written between its claim and ready(), as a channel's element is */
static _Atomic bool flag;
static int sent, woken, timeouts;

/* Timers of their own: once timer_del() is back, fire is over and does not come again. */
static struct timer alarms[2];
static int fired[2];

static void reset(void) {
	stand_ins_reset();
	fired[0] = fired[1] = 0;
	lock.word = 0;
	slot = NULL;
	payload = handed = sent = woken = timeouts = 0;
	flag = false;
}

static void publish(struct g *g) {
	lock_acquire(&lock, LOCK_FUTEX);
	slot = g;
	lock_release(&lock);
}

static void unpublish(void) {
	lock_acquire(&lock, LOCK_FUTEX);
	slot = NULL;
	lock_release(&lock);
}

static int wait_once(bool interruptible, int64_t deadline) {
	struct g *g = tls_g;
	rt_enter(g);
	wait_begin(g, interruptible, "test", 0);
	publish(g);
	if (flag) /* published, then looked once more: the waker sets it, then looks for somebody */
		wait_claim_self(g, WAKE_READY);
	int r = wait_park(g, deadline);
	unpublish();
	rt_exit(g);
	if (r == 0) {
		woken++;
		handed += g->self_claimed; /* by nobody */
		check(handed == woken);
	}
	timeouts += r == -ETIMEDOUT;
	return r;
}

/* Wakes whom it finds. */
static void waker(void) {
	lock_acquire(&lock, LOCK_FUTEX);
	struct g *g = slot;
	bool claimed = g && wait_claim(g, WAKE_READY);
	if (claimed) {
		payload++;
		sent++;
		slot = NULL;
	}
	lock_release(&lock);
	if (claimed) {
		handed++;
		ready(g);
	}
}

static void timed_waiter(void) {
	wait_once(false, 1000);
	thread_done();
}

static void timed_waiter_twice(void) {
	wait_once(false, 1000);
	timed_waiter();
}

static void waker_twice(void) {
	waker();
	waker();
}

static void timers(void) {
	timers_until_done(1);
}

static void finish_once(void) {
	stand_ins_finish();
	check(woken == sent && woken + timeouts == 1);
}

static void finish_twice(void) {
	stand_ins_finish();
	check(woken == sent && woken + timeouts == 2);
}

/* Foreign: the same words, over the kernel's futex. */
static void reset_foreign(void) {
	reset();
	gs[0].kind = G_FOREIGN;
	gs[0].m = NULL;
}

static void foreign_waiter(void) {
	wait_once(false, 1000);
}

static void foreign_waiter_twice(void) {
	wait_once(false, 1000);
	wait_once(false, 1000);
}

static void setter(void) {
	flag = true;
	waker();
}

/* Without a timeout: it ends only if somebody sees the other, in each order of the two looks. */
static void patient_waiter(void) {
	check(wait_once(false, -1) == 0);
}

static void interrupted_waiter(void) {
	int r = wait_once(true, -1);
	check(r == -EINTR);
}

static void interrupted_or_woken(void) {
	int r = wait_once(true, -1);
	check(r == -EINTR || r == 0);
}

static void interrupter(void) {
	g_interrupt(&gs[0]);
}

static void alarm_fire(struct timer *t) {
	fired[t - alarms]++;
}

static void alarm_owner(int i, int64_t when) {
	alarms[i] = (struct timer){.when = when, .fire = alarm_fire};
	timer_add(heap, &alarms[i]);
	bool queued = timer_del(&alarms[i]);
	check(fired[i] == !queued);
	fired[i] = 0; /* a race if fire could still run */
	alarms[i].when = 0;
}

static void alarm_owner_0(void) {
	alarm_owner(0, 10);
	alarm_owner(0, 30);
}

static void alarm_owner_1(void) {
	alarm_owner(1, 20);
}

static void alarm_owner_1_twice(void) {
	alarm_owner(1, 20);
	alarm_owner(1, 30);
}

/* A P's timers go to another's, as when there are fewer of them: their owner finds each in one heap or the other. */
static struct timer_heap elsewhere;
static struct timer *slots_elsewhere[3];

static void reset_moved(void) {
	reset();
	memset(slots_elsewhere, 0, sizeof slots_elsewhere);
	elsewhere = (struct timer_heap){.slot = slots_elsewhere, .cap = 2, .first = INT64_MAX};
	for (int i = 0; i < 2; i++) {
		alarms[i] = (struct timer){.when = 10 + i, .fire = alarm_fire};
		timer_add(heap, &alarms[i]);
	}
}

static void owner_of_moved(void) {
	for (int i = 0; i < 2; i++)
		check(timer_del(&alarms[i]));
}

static void mover(void) {
	timers_move(heap, &elsewhere);
}

static void finish_moved(void) {
	stand_ins_finish();
	check(elsewhere.count == 0 && elsewhere.first == INT64_MAX);
}

static void runner(void) {
	timer_run(heap, 25, 1);
	timer_run(heap, 35, 2);
}

/* A P that changes hands without a lock (core/sysmon.c: retake; rt_enter, rt_exit): what its M left in it inside the runtime is seen by who takes it. That
 * one of two sees the other is membarrier's business, and not looked at here: everybody sees everything at once. */
static void reset_retake(void) {
	reset();
	struct m *m = gs[0].m;
	m->p = sched.all_p[0];
	m->p->m = m;
	m->curg = &gs[0];
	gs[0].in_syscall = SYSCALL_PLAIN;
}

static void owner(void) {
	for (int i = 0; i < 2; i++) {
		rt_enter(tls_g);
		if (tls_g->m->p)
			payload++;
		rt_exit(tls_g);
	}
}

static void taker(void) {
	struct p *p = sysmon_take_from_syscall();
	if (p)
		payload++;
	woken = p != NULL;
}

/* The same of one that computes: it gives its P on the way in, when it is asked before. */
static void reset_wanted(void) {
	reset_retake();
	gs[0].in_syscall = SYSCALL_NONE;
}

static void wanter(void) {
	struct p *p = sysmon_retake(sched.all_p[0], gs[0].m, &gs[0], true);
	if (p)
		payload++;
	woken = p != NULL;
}

static void finish_wanted(void) {
	struct m *m = gs[0].m;
	bool holds = m->p && m->retake == RETAKE_NONE;
	check(woken ? sched.all_p[0]->m == NULL && !holds : holds && sched.all_p[0]->m == m);
}

/* ... and then ends, and its struct is another thread's, as m_alloc() makes it. */
static bool gave;

static void owner_ends(void) {
	struct m *m = tls_g->m;
	rt_enter(tls_g);
	gave = !m->p;
	sysmon_answer_await(m);
	m->retake = RETAKE_NONE;
}

static void finish_ended(void) {
	check(woken == gave);
}

static void finish_retake(void) {
	check(!woken || sched.all_p[0]->m == NULL);
}

/* Three Ms in bracketed calls and one P: who comes back without it takes it from whoever has it, as syscall_exit() does, and works with it. */
static int had[3];

static void reset_passed(void) {
	reset_retake();
	for (int i = 0; i < 3; i++) {
		had[i] = 0;
		gs[i].m->curg = &gs[i];
		gs[i].in_syscall = SYSCALL_PLAIN;
	}
}

static void comes_back(void) {
	struct g *g = tls_g;
	rt_enter(g);
	struct m *m = g->m;
	struct p *p = m->p ? NULL : sysmon_take_from_syscall();
	if (p) {
		m->p = p;
		/* release: as in p_attach() */
		atomic_store_explicit(&p->m, m, memory_order_release);
	}
	if (m->p) {
		payload++; /* plain: whoever has it is alone */
		had[model_self()]++;
	}
	rt_exit(g);
}

static void comes_back_twice(void) {
	comes_back();
	comes_back();
}

static void finish_passed(void) {
	int holders = 0;
	check(payload == had[0] + had[1] + had[2] && payload > 0);
	for (int i = 0; i < 3; i++) {
		struct m *m = gs[i].m;
		bool holds = m->p && m->retake == RETAKE_NONE; /* or it has been taken, and it does not know yet */
		check(!holds || sched.all_p[0]->m == m);
		holders += holds;
	}
	check(holders == 1);
}

/* Calls that wait for a disk (core/disk.c), with one slot left: who has it is alone. */
static void reset_disk(void) {
	reset();
	disk_fork_child();
	sched.disk_held = DISK_SLOTS - 1;
}

static void disk_call(void) {
	struct g *g = tls_g;
	disk_slot_wait(g);
	payload++;
	rt_enter(g);
	disk_slot_free();
	rt_exit(g);
}

static void disk_call_twice(void) {
	disk_call();
	disk_call();
}

/* Nobody gives a slot back in time: sysmon lets one pass, who comes and goes beside the other. */
static void slot_taken(void) {
	reset_disk();
	sched.disk_held = DISK_SLOTS;
}

static void disk_call_of_any(void) {
	disk_slot_wait(tls_g);
	rt_enter(tls_g);
	disk_slot_free();
	rt_exit(tls_g);
}

static void disk_calls_of_any(void) {
	disk_call_of_any();
	disk_call_of_any();
}

static void sysmon_passes(void) {
	disk_tick(INT64_MAX);
	disk_tick(INT64_MAX);
}

static void slot_back(void) {
	rt_enter(tls_g);
	disk_slot_free();
	rt_exit(tls_g);
}

static void finish_disk(void) {
	stand_ins_finish();
	check(!disk_waited() && sched.disk_held == DISK_SLOTS - 1);
}

const struct scenario scenarios[] = {
	{"wait: two wakers, timeout", reset, {timed_waiter, waker, waker, timers}, finish_once, false},
	{"wait: the last look", reset, {patient_waiter, setter, setter}, NULL, false},
	{"wait: interrupt", reset, {interrupted_waiter, interrupter}, NULL, false},
	{"wait: interrupt or waker", reset, {interrupted_or_woken, interrupter, waker, waker}, NULL, false},
	{"wait: foreign, two wakers", reset_foreign, {foreign_waiter, waker, waker}, NULL, false},
	{"retake: an M and a taker", reset_retake, {owner, taker}, finish_retake, false},
	{"retake: an M and one that wants", reset_wanted, {owner, wanter}, finish_wanted, false},
	{"retake: an M that ends and one that wants", reset_wanted, {owner_ends, wanter}, finish_ended, false},
	{"retake: passed on", reset_passed, {comes_back_twice, comes_back, comes_back}, finish_passed, false},
	{"retake: passed on, all twice", reset_passed, {comes_back_twice, comes_back_twice, comes_back_twice}, finish_passed, true},
	{"disk: one slot", reset_disk, {disk_call_twice, disk_call_twice, disk_call_twice}, finish_disk, false},
	{"disk: let through", slot_taken, {disk_calls_of_any, sysmon_passes, slot_back}, finish_disk, false},
	{"timer: two owners, one runner", reset, {alarm_owner_0, alarm_owner_1, runner}, stand_ins_finish, false},
	{"timer: an owner, one who moves", reset_moved, {owner_of_moved, mover}, finish_moved, false},
	{"wait: twice, wakers twice", reset, {timed_waiter_twice, waker_twice, waker_twice, timers}, finish_twice, true},
	{"timer: all three twice", reset, {alarm_owner_0, alarm_owner_1_twice, runner}, stand_ins_finish, false},
	{"wait: foreign twice", reset_foreign, {foreign_waiter_twice, setter, waker_twice}, NULL, true},
	{NULL, NULL, {NULL}, NULL, false},
};
