/* The program's timers that name a thread: by SIGEV_THREAD_ID, or by the CPU clock they count. All others are the kernel's affair.
 *
 * SIGEV_THREAD_ID. The kernel knows kernel threads, meant is a goroutine. So the kernel's timer signals sysmon, with libc's SIGSETXID, which nobody blocks, and our
 * record for a value. sigtimer_expired() notes it in the signal handler, sigtimer_look() does the rest on sysmon, where locks may be taken: it queues
 * the signal that the program asked for with the goroutine, by the rules of tgkill(). As in the kernel one signal of a timer is pending at most; what expires
 * meanwhile is counted and told with it, as overrun; and setting a timer anew or deleting it takes back what is pending. That is done by `seq`: what is
 * queued says which setting it comes from, and who takes it out asks (sigtimer_taken()). An expiry that sysmon has not dealt with yet belongs to an
 * earlier setting if it comes before the first of this one (`first`).
 *
 * CPU clocks. A timer on the caller's own clock pins the caller: the clock of its kernel thread is its own from then on, and the kernel counts. A timer on
 * another goroutine's clock is looked at when that can have used so much time at the earliest, as clock_nanosleep() does; at its time
 * the program's timer in the kernel, made on CLOCK_MONOTONIC, is set to expire at once, and does whatever it was made to do.
 *
 * Before there are goroutines a timer that names main is the kernel's, and stays it: main is pinned when the runtime starts.
 *
 * Records are type-stable: an entry in a queue may outlive its timer.
 *     FREE --record_new--> MAKING --timer_create--> LIVE --timer_delete--> MAKING --> FREE
 *
 * Locks: record.lock is a leaf (LOCK_STACK). record.cpu_lock (LOCK_CPUTIMER) comes before all that a timer of the runtime needs; cpu_check() is called with
 * none held. Both are taken inside the runtime. */
#include <time.h>

#include "../core/cpuclock.h"
#include "../core/runtime.h"
#include "../core/slab.h"
#include "pinned.h"
#include "race.h"
#include "siginternal.h"
#include "thread.h"

#define LIFE_BITS 15u        /* what the alignment of a record leaves free in its address */
#define CPU_STEP_NS 1000000  /* no look at a CPU clock is sooner */

enum record_state { RECORD_FREE, RECORD_MAKING, RECORD_LIVE };

struct record {
	struct record *next;
	_Atomic uint32_t state;
	timer_t id;
	bool of_main;             /* made when there was main only: the kernel's */
	clockid_t clock;          /* that the kernel's timer is on */

	struct g *g;              /* whom it signals; NULL: not SIGEV_THREAD_ID */
	int32_t tid;              /* g may be another thread by now */
	int sig;
	union sigval value;
	uint32_t life;            /* how often the record was made a timer: a late signal of the kernel's is for an earlier one */
	_Atomic uint32_t expired; /* so often, and sysmon has not looked yet */
	struct lock lock;         /* for the five below */
	uint32_t seq;             /* setting; never the same again */
	bool pending;
	int64_t first;            /* not before; ns of `clock` */
	int overruns;             /* since it is pending */
	int told;                 /* of the signal that was taken last */

	struct g *of;             /* whose CPU clock it counts; NULL: nobody's */
	int32_t of_tid;
	bool kernel_counts;       /* of is pinned: the timer is on its kernel thread's clock */
	struct lock cpu_lock;     /* for the three below */
	int64_t target;           /* CPU time; 0: not set */
	int64_t period;
	struct timer check;
};

static _Atomic(struct record *) records;
static _Atomic bool expired_any;

/* ---- records ------------------------------------------------------------------------------------------------------ */

static struct record *record_new(void) {
	/* acquire: pairs with the release below */
	struct record *r = atomic_load_explicit(&records, memory_order_acquire);
	uint32_t none = RECORD_FREE;
	while (r && !atomic_compare_exchange_strong(&r->state, &none, RECORD_MAKING)) {
		none = RECORD_FREE;
		r = r->next;
	}
	if (!r) {
		r = slab_alloc(sizeof *r);
		if (!r)
			return NULL;
		memset(r, 0, sizeof *r);
		/* relaxed: not published yet */
		atomic_store_explicit(&r->state, RECORD_MAKING, memory_order_relaxed);
		r->next = atomic_load_explicit(&records, memory_order_relaxed);
		/* release: whoever walks the list finds it complete */
		while (!atomic_compare_exchange_weak_explicit(&records, &r->next, r, memory_order_release, memory_order_relaxed))
			continue;
	}
	r->of_main = r->kernel_counts = false;
	r->g = r->of = NULL;
	r->target = 0;
	__atomic_store_n(&r->life, (r->life + 1) & LIFE_BITS, __ATOMIC_RELAXED); /* a late signal's handler may just compare */
	atomic_store_explicit(&r->expired, 0, memory_order_relaxed);
	return r;
}

/* acquire and release: who finds a timer live finds what it was made of. */
static bool is_live(struct record *r) {
	return atomic_load_explicit(&r->state, memory_order_acquire) == RECORD_LIVE;
}

static void state_set(struct record *r, enum record_state state) {
	atomic_store_explicit(&r->state, state, memory_order_release);
}

static struct record *record_of(timer_t id) {
	struct record *r = atomic_load_explicit(&records, memory_order_acquire);
	while (r && !(is_live(r) && r->id == id))
		r = r->next;
	return r;
}

static struct g *record_lock(struct record *r) {
	struct g *held = rt_hold();
	lock_acquire(&r->lock, LOCK_STACK);
	return held;
}

static void record_unlock(struct record *r, struct g *held) {
	lock_release(&r->lock);
	rt_drop(held);
}

/* From now on what is pending of it is no signal any more. */
static void setting_begin(struct record *r, int64_t first) {
	struct g *held = record_lock(r);
	r->seq++;
	r->pending = false;
	r->first = first;
	r->overruns = r->told = 0;
	atomic_store_explicit(&r->expired, 0, memory_order_relaxed);
	record_unlock(r, held);
}

/* ---- SIGEV_THREAD_ID ---------------------------------------------------------------------------------------------- */

bool sigtimer_expired(const siginfo_t *info) {
	uintptr_t value = (uintptr_t)info->si_value.sival_ptr;
	struct record *r = (struct record *)(value & ~(uintptr_t)LIFE_BITS);
	if (!r)
		return false;
	if (__atomic_load_n(&r->life, __ATOMIC_RELAXED) != (value & LIFE_BITS))
		return true;
	atomic_fetch_add_explicit(&r->expired, 1 + (uint32_t)info->si_overrun, memory_order_relaxed);
	atomic_store_explicit(&expired_any, true, memory_order_relaxed);
	sysmon_poke(); /* release */
	return true;
}

static bool is_due(const struct record *r) {
	struct timespec now;
	return r->first <= 0 || (r->first != INT64_MAX && SYS2(SYS_clock_gettime, r->clock, &now) == 0 &&
	                         now.tv_sec * 1000000000 + now.tv_nsec >= r->first);
}

static void look_at(struct record *r) {
	int expired = (int)atomic_exchange_explicit(&r->expired, 0, memory_order_relaxed);
	if (!expired)
		return;
	struct g *held = record_lock(r);
	bool sends = is_live(r) && is_due(r) && r->g->tid == r->tid && is_alive(r->g);
	if (sends && r->pending) {
		r->overruns += expired;
		sends = false;
	} else if (sends) {
		r->pending = true;
		r->overruns = expired - 1;
	}
	siginfo_t info;
	memset(&info, 0, sizeof info);
	info.si_signo = r->sig;
	info.si_code = TIMER_CODE;
	info.si_value.sival_ptr = r;
	info.si_overrun = (int)r->seq;
	record_unlock(r, held);
	if (sends && sig_thread_send(r->g, r->sig, &info) < 0)
		sigtimer_taken(&info); /* there was no room in the queue */
}

void sigtimer_look(void) {
	if (likely(!atomic_load_explicit(&expired_any, memory_order_relaxed)))
		return;
	/* Before the look: what expires after that sets it again. */
	atomic_exchange_explicit(&expired_any, false, memory_order_acquire);
	for (struct record *r = atomic_load_explicit(&records, memory_order_acquire); r; r = r->next)
		look_at(r);
}

static bool told(siginfo_t *info, bool taken) {
	struct record *r = info->si_value.sival_ptr;
	struct g *held = record_lock(r);
	bool valid = is_live(r) && r->seq == (uint32_t)info->si_overrun;
	info->si_code = SI_TIMER;
	if (valid) {
		r->pending &= !taken;
		r->told = r->overruns;
		info->si_timerid = (int)(intptr_t)r->id;
		info->si_overrun = r->overruns;
		info->si_value = r->value;
	}
	record_unlock(r, held);
	return valid;
}

bool sigtimer_taken(siginfo_t *info) {
	return told(info, true);
}

bool sigtimer_shown(siginfo_t *info) {
	return told(info, false);
}

bool sigtimer_of_main(const siginfo_t *info) {
	struct record *r = atomic_load_explicit(&records, memory_order_acquire);
	while (r && !(is_live(r) && r->of_main && (int)(intptr_t)r->id == info->si_timerid))
		r = r->next;
	return r != NULL;
}

/* ---- the process's CPU clock -------------------------------------------------------------------------------------- */

#define CPU_TIMERS 16 /* more are taken for timers of another clock */

/* The timers on it: number + 1; 0 none. Relaxed: the kernel knows the timer before it can expire, and who makes it has started it later. */
static _Atomic int64_t cpu_timers[CPU_TIMERS];

static void cpu_timer_note(int64_t id, bool made) {
	for (int i = 0; i < CPU_TIMERS; i++) {
		int64_t was = made ? 0 : id + 1;
		if (atomic_compare_exchange_strong_explicit(&cpu_timers[i], &was, made ? id + 1 : 0, memory_order_relaxed, memory_order_relaxed))
			return;
	}
}

static int create_plain(clockid_t clock, struct sigevent *event, timer_t *id) {
	int done = real.timer_create(clock, event, id);
	if (done == 0 && clock == CLOCK_PROCESS_CPUTIME_ID)
		cpu_timer_note((intptr_t)*id, true);
	return done;
}

bool sigtimer_counts_cpu(const siginfo_t *info) {
	for (int i = 0; i < CPU_TIMERS; i++) {
		if (atomic_load_explicit(&cpu_timers[i], memory_order_relaxed) == (int64_t)info->si_timerid + 1)
			return true;
	}
	return false;
}

/* ---- another goroutine's CPU clock -------------------------------------------------------------------------------- */

static struct itimerspec spec_of(int64_t value, int64_t interval) {
	return (struct itimerspec){.it_value = {value / 1000000000, value % 1000000000},
	                           .it_interval = {interval / 1000000000, interval % 1000000000}};
}

static int64_t ns_of(const struct timespec *ts) {
	return ts->tv_sec > INT64_MAX / 2000000000 ? INT64_MAX / 2 : ts->tv_sec * 1000000000 + ts->tv_nsec;
}

static bool cpu_alive(const struct record *r) {
	return r->of->tid == r->of_tid && is_alive(r->of);
}

static void expire_now(struct record *r) {
	struct itimerspec soon = spec_of(1, 0);
	real.timer_settime(r->id, 0, &soon, NULL);
}

/* cpu_lock held, check not queued. */
static void check_later(struct record *r, int64_t now) {
	int64_t left = r->target - now;
	r->check.when = nanotime() + (left > CPU_STEP_NS ? left : CPU_STEP_NS);
	timer_arm(&r->check);
}

/* The runtime's timer; it has left its heap, and may be back there. */
static void cpu_check(struct timer *t) {
	struct record *r = t->arg;
	lock_acquire(&r->cpu_lock, LOCK_CPUTIMER);
	timer_del(t);
	if (r->target && cpu_alive(r)) {
		int64_t now = cpu_time(r->of);
		bool reached = now >= r->target;
		if (reached)
			r->target = r->period ? r->target + ((now - r->target) / r->period + 1) * r->period : 0;
		if (r->target)
			check_later(r, now);
		if (reached)
			expire_now(r);
	}
	lock_release(&r->cpu_lock);
}

/* cpu_lock held. */
static struct itimerspec cpu_left(struct record *r) {
	if (!r->target)
		return spec_of(0, 0);
	int64_t left = r->target - cpu_time(r->of);
	return spec_of(left > 0 ? left : 1, r->period);
}

static int cpu_settime(struct record *r, int flags, const struct itimerspec *spec, struct itimerspec *old) {
	struct itimerspec none = spec_of(0, 0);
	int64_t value = ns_of(&spec->it_value);
	struct g *held = rt_hold();
	lock_acquire(&r->cpu_lock, LOCK_CPUTIMER);
	bool alive = cpu_alive(r);
	if (alive) {
		int64_t now = cpu_time(r->of);
		if (old)
			*old = cpu_left(r);
		timer_del(&r->check);
		real.timer_settime(r->id, 0, &none, NULL);
		setting_begin(r, 0);
		r->period = ns_of(&spec->it_interval);
		r->target = !value ? 0 : flags & TIMER_ABSTIME ? value : now + value;
		if (r->target)
			check_later(r, now);
	}
	lock_release(&r->cpu_lock);
	rt_drop(held);
	if (!alive)
		errno = ESRCH;
	return alive ? 0 : -1;
}

static void cpu_stop(struct record *r) {
	struct g *held = rt_hold();
	lock_acquire(&r->cpu_lock, LOCK_CPUTIMER);
	timer_del(&r->check);
	r->target = 0;
	lock_release(&r->cpu_lock);
	rt_drop(held);
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

void sigtimer_start(struct g *main_g) {
	for (struct record *r = atomic_load_explicit(&records, memory_order_acquire); r; r = r->next) {
		if (is_live(r) && !g_pinned(main_g))
			g_pin(main_g);
	}
}

/* A child has no timers. */
void sigtimer_fork_child(void) {
	for (int i = 0; i < CPU_TIMERS; i++)
		atomic_store_explicit(&cpu_timers[i], 0, memory_order_relaxed);
	for (struct record *r = atomic_load_explicit(&records, memory_order_relaxed); r; r = r->next) {
		r->lock = r->cpu_lock = (struct lock){0};
		r->check = (struct timer){0};
		r->pending = false;
		r->seq++;
		state_set(r, RECORD_FREE);
	}
}

static bool signals_thread(const struct sigevent *event) {
	return event && event->sigev_notify == SIGEV_THREAD_ID && event->sigev_signo > 0 && event->sigev_signo <= NSIGNALS;
}

/* There is main only. */
static int create_for_main(clockid_t clock, struct sigevent *event, timer_t *id) {
	bool names = event && event->sigev_notify == SIGEV_THREAD_ID, counts = clock == CLOCK_THREAD_CPUTIME_ID || cpuclock_is_ktids(clock);
	struct record *r = names || counts ? record_new() : NULL;
	int done = create_plain(clock, event, id);
	if (!r)
		return done;
	r->of_main = names;
	if (done == 0)
		r->id = *id;
	state_set(r, done == 0 ? RECORD_LIVE : RECORD_FREE);
	return done;
}

/* r says what is meant. */
static int create_recorded(struct record *r, clockid_t clock, struct sigevent *event, timer_t *id) {
	struct sigevent ours;
	if (r->g) {
		memset(&ours, 0, sizeof ours);
		ours.sigev_notify = SIGEV_THREAD_ID;
		ours.sigev_signo = SIGSETXID_NR;
		ours.sigev_value.sival_ptr = (void *)((uintptr_t)r | r->life);
		ours._sigev_un._tid = sysmon_ktid();
		r->tid = r->g->tid;
		r->sig = event->sigev_signo;
		r->value = event->sigev_value;
		event = &ours;
		sig_reserve();
	}
	r->clock = clock;
	if (r->of) {
		r->of_tid = r->of->tid;
		r->check = (struct timer){.fire = cpu_check, .arg = r, .unlocked = true};
	}
	setting_begin(r, INT64_MAX);
	int done = real.timer_create(clock, event, id);
	if (done == 0)
		r->id = *id;
	state_set(r, done == 0 ? RECORD_LIVE : RECORD_FREE);
	return done;
}

SHIM int timer_create(clockid_t clock, struct sigevent *restrict event, timer_t *restrict id) {
	REAL_READY();
	struct g *self = self_g();
	if (process_in_vfork())
		return real.timer_create(clock, event, id);
	if (!sched_started())
		return create_for_main(clock, event, id);
	struct g *of = cpuclock_thread(clock), *g = signals_thread(event) ? sig_g_of_tid(event->_sigev_un._tid) : NULL;
	if (!of && !g) {
		enum tp_hold hold = g_tp_hold(self); /* SIGEV_THREAD: libc makes a thread */
		int done = create_plain(clock, event, id);
		g_tp_release(self, hold);
		return done;
	}
	struct record *r = record_new();
	if (!r) {
		errno = EAGAIN;
		return -1;
	}
	r->g = g;
	r->of = of;
	r->kernel_counts = of && of == self;
	if (r->kernel_counts) {
		pin_self();
		cpu_time(self); /* counted from now on */
	}
	return create_recorded(r, !of ? clock : r->kernel_counts ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, event, id);
}

/* When it expires first, by the kernel's clock; 0: that cannot be told from here. */
static int64_t first_of(const struct record *r, int flags, const struct itimerspec *spec) {
	int64_t value = ns_of(&spec->it_value);
	struct timespec now;
	if (!value)
		return INT64_MAX;
	if (r->clock == CLOCK_THREAD_CPUTIME_ID || SYS2(SYS_clock_gettime, r->clock, &now) < 0)
		return 0;
	return flags & TIMER_ABSTIME ? value : value + ns_of(&now);
}

/* A timer of the process expires no more. */
static void stopped(void) {
	if (sched_started())
		sig_main_settle(self_g());
}

SHIM int timer_settime(timer_t id, int flags, const struct itimerspec *restrict spec, struct itimerspec *restrict old) {
	REAL_READY();
	struct record *r = record_of(id);
	if (!r || r->of_main || (uintptr_t)spec < 4096 || !timespec_valid(&spec->it_value) || !timespec_valid(&spec->it_interval)) {
		int done = real.timer_settime(id, flags, spec, old);
		if (done == 0 && (spec == old || !ns_of(&spec->it_value))) /* which are the same place: who knows */
			stopped();
		return done;
	}
	struct itimerspec given = *spec; /* may be `old` */
	if (r->of && !r->kernel_counts)
		return cpu_settime(r, flags, &given, old);
	if (r->of && (flags & TIMER_ABSTIME) && ns_of(&given.it_value)) { /* the goroutine's clock and its kernel thread's began at different times */
		int64_t left = ns_of(&given.it_value) - cpu_time(r->of);
		given = spec_of(left > 0 ? left : 1, ns_of(&given.it_interval));
		flags &= ~TIMER_ABSTIME;
	}
	setting_begin(r, first_of(r, flags, &given));
	return real.timer_settime(id, flags, &given, old);
}

SHIM int timer_gettime(timer_t id, struct itimerspec *left) {
	REAL_READY();
	struct record *r = record_of(id);
	if (!r || !r->of || r->kernel_counts || (uintptr_t)left < 4096)
		return real.timer_gettime(id, left);
	struct g *held = rt_hold();
	lock_acquire(&r->cpu_lock, LOCK_CPUTIMER);
	*left = cpu_left(r);
	lock_release(&r->cpu_lock);
	rt_drop(held);
	return 0;
}

SHIM int timer_getoverrun(timer_t id) {
	REAL_READY();
	struct record *r = record_of(id);
	return r && r->g ? r->told : real.timer_getoverrun(id);
}

SHIM int timer_delete(timer_t id) {
	REAL_READY();
	struct record *r = record_of(id);
	if (r) {
		state_set(r, RECORD_MAKING); /* before the kernel may use the number again */
		if (r->of && !r->kernel_counts)
			cpu_stop(r);
		setting_begin(r, INT64_MAX);
	}
	cpu_timer_note((intptr_t)id, false);
	int done = real.timer_delete(id);
	bool of_process = !r || r->of_main;
	if (r)
		state_set(r, RECORD_FREE);
	if (done == 0 && of_process)
		stopped();
	return done;
}

SHIM int setitimer(__itimer_which_t which, const struct itimerval *restrict value, struct itimerval *restrict old) {
	REAL_READY();
	int done = real.setitimer(which, value, old);
	if (done == 0 && which == ITIMER_REAL && (!value || value == old || (!value->it_value.tv_sec && !value->it_value.tv_usec)))
		stopped();
	return done;
}

SHIM unsigned alarm(unsigned seconds) {
	REAL_READY();
	unsigned left = RACE_ALARM(real.alarm, seconds);
	if (!seconds)
		stopped();
	return left;
}

SHIM useconds_t ualarm(useconds_t value, useconds_t interval) {
	REAL_READY();
	useconds_t left = real.ualarm(value, interval);
	if (!value)
		stopped();
	return left;
}
