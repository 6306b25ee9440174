/* The program's timers. Those that name a thread, by SIGEV_THREAD_ID or by the CPU clock they count, are carried out here; of those that signal the process, only the
 * overruns are counted. All others are the kernel's affair.
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
 * Signals to the process. As the kernel takes one as soon as it comes, to wait here until somebody may handle it, the timer in the kernel goes on, and finds none
 * pending. So each is counted as it comes (sigtimer_arrives(), in signal handlers, by atomics only); the first waits in the ring or a queue, the others are its
 * overrun, and no signal by themselves. A timer that is set anew or deleted takes the count away: what then comes out of a queue without one is no signal. Nor is
 * one that comes late, on another kernel thread than the one that stopped or deleted its timer: its setting, or deleted[], says so.
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
#define NONE_TOLD (-1)
#define NEAR 1024u           /* timers found without a search; power of two */
#define DELETED 64u          /* so many timers' signals may still be under way; power of two */
#define COUNT 0xffffffffull
#define ARMED (COUNT + 1)
#define CPU_STEP_NS 1000000  /* no look at a CPU clock is sooner */

enum record_state { RECORD_FREE, RECORD_MAKING, RECORD_LIVE };

struct record {
	struct record *next;
	_Atomic uint32_t state;
	timer_t id;
	bool of_main;             /* made when there was main only: the kernel's */
	bool pins_main;           /* that, or on main's CPU clock */
	bool to_process;          /* it signals the process; for the two below */
	_Atomic uint64_t waiting; /* COUNT: so often expired since a signal of it waits in the library; 0: none does. Above: of which setting; that is odd, ARMED, until its
				   * signals are too late. One word, so that what comes late counts for no other */
	_Atomic int32_t told_process; /* as `told`; NONE_TOLD: the kernel knows */
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
static _Atomic uint32_t records_free;            /* about so many; looked for only then */
static _Atomic(struct record *) records_near[NEAR]; /* the last one whose number came here: where to look first */
static _Atomic bool expired_any;
static _Atomic int deleted[DELETED]; /* numbers of timers, as siginfo_t has them, each + 1; 0: none. The kernel does not use one again soon */
static _Atomic uint32_t deleted_count;

/* ---- records ------------------------------------------------------------------------------------------------------ */

/* Of a timer that signals the process: a setting of its own, armed by whatever call, before the kernel is told. What has come is no signal any more. Relaxed, here and
 * below: the word is all there is to it, each of its changes is one step, and the signals of a setting come after the system call that makes it. */
static void count_begin(struct record *r) {
	uint64_t old = atomic_load_explicit(&r->waiting, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&r->waiting, &old, ((old | ARMED) + 2 * ARMED) & ~COUNT, memory_order_relaxed, memory_order_relaxed))
		continue;
	atomic_store_explicit(&r->told_process, NONE_TOLD, memory_order_relaxed);
}

/* After the kernel was told to stop it, which was at `before`: what comes from now on is late, but not if somebody has set it again meanwhile. */
static void count_end(struct record *r, uint64_t before) {
	uint64_t old = atomic_load_explicit(&r->waiting, memory_order_relaxed);
	while ((old | COUNT) == (before | COUNT)) {
		if (!atomic_compare_exchange_weak_explicit(&r->waiting, &old, old & ~COUNT & ~ARMED, memory_order_relaxed, memory_order_relaxed))
			continue;
		atomic_store_explicit(&r->told_process, NONE_TOLD, memory_order_relaxed);
		return;
	}
}

/* None waits any more; so many did. */
static uint32_t count_clear(struct record *r) {
	return (uint32_t)atomic_fetch_and_explicit(&r->waiting, ~COUNT, memory_order_relaxed);
}

static struct record *record_new(void) {
	/* acquire, both: the first pairs with the release in state_set(), the second with the one below */
	bool any_free = atomic_load_explicit(&records_free, memory_order_acquire) != 0;
	struct record *r = any_free ? atomic_load_explicit(&records, memory_order_acquire) : NULL;
	uint32_t none = RECORD_FREE;
	while (r && !atomic_compare_exchange_strong(&r->state, &none, RECORD_MAKING)) {
		none = RECORD_FREE;
		r = r->next;
	}
	if (r) {
		atomic_fetch_sub_explicit(&records_free, 1, memory_order_relaxed);
	} else {
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
	r->of_main = r->pins_main = r->to_process = r->kernel_counts = false;
	r->g = r->of = NULL;
	r->target = 0;
	__atomic_store_n(&r->life, (r->life + 1) & LIFE_BITS, __ATOMIC_RELAXED); /* a late signal's handler may just compare */
	atomic_store_explicit(&r->expired, 0, memory_order_relaxed);
	count_begin(r);
	return r;
}

/* acquire and release: who finds a timer live finds what it was made of. */
static bool is_live(struct record *r) {
	return atomic_load_explicit(&r->state, memory_order_acquire) == RECORD_LIVE;
}

static void state_set(struct record *r, enum record_state state) {
	atomic_store_explicit(&r->state, state, memory_order_release);
	if (state == RECORD_FREE)
		atomic_fetch_add_explicit(&records_free, 1, memory_order_release);
}

/* Async-signal-safe. */
static struct record *record_of(timer_t id) {
	_Atomic(struct record *) *near = &records_near[(uintptr_t)id % NEAR];
	struct record *r = atomic_load_explicit(near, memory_order_acquire);
	if (likely(r && is_live(r) && r->id == id))
		return r;
	r = atomic_load_explicit(&records, memory_order_acquire);
	while (r && !(is_live(r) && r->id == id))
		r = r->next;
	if (r)
		atomic_store_explicit(near, r, memory_order_release);
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
	count_begin(r);
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

/* ---- signals to the process ---------------------------------------------------------------------------------------- */

/* Before the kernel deletes it. Relaxed, here and in was_deleted(): all that may be missed is a signal that came before. */
static void deleted_note(timer_t id) {
	uint32_t place = atomic_fetch_add_explicit(&deleted_count, 1, memory_order_relaxed) % DELETED;
	atomic_store_explicit(&deleted[place], (int)(intptr_t)id + 1, memory_order_relaxed);
}

/* Its number is a timer's again. */
static void deleted_forget(timer_t id) {
	for (uint32_t i = 0; i < DELETED; i++) {
		int old = (int)(intptr_t)id + 1;
		atomic_compare_exchange_strong_explicit(&deleted[i], &old, 0, memory_order_relaxed, memory_order_relaxed);
	}
}

static bool was_deleted(int id) {
	bool found = false;
	for (uint32_t i = 0; i < DELETED; i++)
		found |= atomic_load_explicit(&deleted[i], memory_order_relaxed) == id + 1;
	return found;
}

static bool record_signals_process(const struct record *r) {
	return r && r->to_process;
}

static struct record *process_record(const siginfo_t *info) {
	struct record *r = record_of((timer_t)(intptr_t)info->si_timerid);
	return record_signals_process(r) ? r : NULL;
}

enum arrival { ARRIVES_LATE, ARRIVES_FIRST, ARRIVES_ON_TOP };

/* ON_TOP: one waits already. r: NULL for a timer that is no more, or that the library knows nothing of. */
static enum arrival count_add(struct record *r, const siginfo_t *info) {
	if (!r)
		return was_deleted(info->si_timerid) ? ARRIVES_LATE : ARRIVES_FIRST;
	uint64_t old = atomic_load_explicit(&r->waiting, memory_order_relaxed), now;
	do {
		if (!(old & ARMED))
			return ARRIVES_LATE;
		now = (old & COUNT) + 1 + (uint32_t)info->si_overrun;
		now = (old & ~COUNT) | (now < INT32_MAX ? now : INT32_MAX);
	} while (!atomic_compare_exchange_weak_explicit(&r->waiting, &old, now, memory_order_relaxed, memory_order_relaxed));
	return old & COUNT ? ARRIVES_ON_TOP : ARRIVES_FIRST;
}

/* The signal is taken: the program sees it as *info. False: there is none. */
static bool count_take(struct record *r, siginfo_t *info) {
	uint32_t expired = count_clear(r);
	if (!expired)
		return false;
	info->si_overrun = (int)(expired - 1);
	atomic_store_explicit(&r->told_process, info->si_overrun, memory_order_relaxed);
	return true;
}

static struct record *process_record_given(const siginfo_t *info) {
	struct record *r = info->si_value.sival_ptr;
	return info->si_code == TIMER_CODE && record_signals_process(r) ? r : NULL;
}

static bool is_of_this_life(const struct record *r, const siginfo_t *info) {
	return __atomic_load_n(&r->life, __ATOMIC_RELAXED) == (uint32_t)info->si_overrun;
}

bool sigtimer_arrives(siginfo_t *info) {
	struct record *r = process_record(info);
	if (count_add(r, info) != ARRIVES_FIRST)
		return false;
	if (!r)
		return true;
	__atomic_store_n(&r->value.sival_ptr, info->si_value.sival_ptr, __ATOMIC_RELAXED); /* always the same */
	info->si_code = TIMER_CODE;
	info->si_overrun = (int)r->life;
	info->si_value.sival_ptr = r;
	return true;
}

bool sigtimer_handled(siginfo_t *info) {
	struct record *r = process_record(info);
	return count_add(r, info) == ARRIVES_FIRST && (!r || count_take(r, info));
}

void sigtimer_received(const siginfo_t *info) {
	struct record *r = process_record(info);
	if (r)
		atomic_store_explicit(&r->told_process, info->si_overrun, memory_order_relaxed);
}

void sigtimer_lost(const siginfo_t *info) {
	struct record *r = process_record_given(info);
	if (r && is_of_this_life(r, info))
		count_clear(r);
}

/* told(), below */
static bool told_process(struct record *r, siginfo_t *info, bool taken) {
	uint32_t expired = (uint32_t)atomic_load_explicit(&r->waiting, memory_order_relaxed);
	if (!is_live(r) || !is_of_this_life(r, info) || !expired)
		return false;
	info->si_code = SI_TIMER;
	info->si_timerid = (int)(intptr_t)r->id;
	info->si_overrun = (int)(expired - 1);
	info->si_value.sival_ptr = __atomic_load_n(&r->value.sival_ptr, __ATOMIC_RELAXED);
	return !taken || count_take(r, info);
}

/* ---- what comes out of queues --------------------------------------------------------------------------------------- */

static bool told(siginfo_t *info, bool taken) {
	struct record *r = info->si_value.sival_ptr;
	if (r->to_process)
		return told_process(r, info, taken);
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
	struct record *r = record_of((timer_t)(intptr_t)info->si_timerid);
	return r && r->of_main;
}

bool sigtimer_counts_cpu(const siginfo_t *info) {
	struct record *r = process_record(info);
	return r && r->clock == CLOCK_PROCESS_CPUTIME_ID;
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
		if (is_live(r) && r->pins_main && !g_pinned(main_g))
			g_pin(main_g);
	}
}

/* A child has no timers. */
void sigtimer_fork_child(void) {
	for (struct record *r = atomic_load_explicit(&records, memory_order_relaxed); r; r = r->next) {
		r->lock = r->cpu_lock = (struct lock){0};
		r->check = (struct timer){0};
		r->pending = false;
		r->seq++;
		count_clear(r);
		if (atomic_load_explicit(&r->state, memory_order_relaxed) != RECORD_FREE)
			state_set(r, RECORD_FREE);
	}
	for (uint32_t i = 0; i < DELETED; i++)
		atomic_store_explicit(&deleted[i], 0, memory_order_relaxed);
}

static bool signals_thread(const struct sigevent *event) {
	return event && event->sigev_notify == SIGEV_THREAD_ID && event->sigev_signo > 0 && event->sigev_signo <= NSIGNALS;
}

/* A signal to the process, by what the kernel takes for none given, as well. */
static bool signals_process(const struct sigevent *event) {
	return !event || event->sigev_notify == SIGEV_SIGNAL;
}

/* r is done with, or its timer is `id`. */
static int record_made(struct record *r, int done, const timer_t *id) {
	if (done == 0) {
		r->id = *id;
		deleted_forget(*id);
	}
	state_set(r, done == 0 ? RECORD_LIVE : RECORD_FREE);
	return done;
}

/* There is main only. */
static int create_for_main(clockid_t clock, struct sigevent *event, timer_t *id) {
	bool names = event && event->sigev_notify == SIGEV_THREAD_ID, counts = clock == CLOCK_THREAD_CPUTIME_ID || cpuclock_is_ktids(clock);
	struct record *r = names || counts || signals_process(event) ? record_new() : NULL;
	int done = real.timer_create(clock, event, id);
	if (!r)
		return done;
	r->of_main = names;
	r->pins_main = names || counts;
	r->clock = clock;
	r->to_process = signals_process(event);
	return record_made(r, done, id);
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
	} else {
		r->to_process = signals_process(event);
	}
	r->clock = clock;
	if (r->of) {
		r->of_tid = r->of->tid;
		r->check = (struct timer){.fire = cpu_check, .arg = r, .unlocked = true};
	}
	setting_begin(r, INT64_MAX);
	return record_made(r, real.timer_create(clock, event, id), id);
}

static int create_for_process(clockid_t clock, struct sigevent *event, timer_t *id) {
	struct record *r = record_new();
	int done = real.timer_create(clock, event, id);
	if (!r)
		return done; /* its overruns are not counted */
	r->clock = clock;
	r->to_process = signals_process(event);
	return record_made(r, done, id);
}

SHIM int timer_create(clockid_t clock, struct sigevent *restrict event, timer_t *restrict id) {
	REAL_READY();
	struct g *self = self_g();
	if (process_in_vfork())
		return real.timer_create(clock, event, id);
	if (!sched_started())
		return create_for_main(clock, event, id);
	struct g *of = cpuclock_thread(clock), *g = signals_thread(event) ? sig_g_of_tid(event->_sigev_un._tid) : NULL;
	if (!of && !g && signals_process(event))
		return create_for_process(clock, event, id);
	if (!of && !g) {
		enum tp_hold hold = g_tp_hold(self); /* SIGEV_THREAD: libc makes a thread */
		int done = real.timer_create(clock, event, id);
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

/* A timer of the process expires no more. sig: as sig_stopped_settle()'s. */
static void stopped(int sig) {
	if (sched_started())
		sig_stopped_settle(self_g(), sig);
}

SHIM int timer_settime(timer_t id, int flags, const struct itimerspec *restrict spec, struct itimerspec *restrict old) {
	REAL_READY();
	struct record *r = record_of(id);
	bool valid = (uintptr_t)spec >= 4096 && timespec_valid(&spec->it_value) && timespec_valid(&spec->it_interval);
	if (!r || (!r->g && !r->of) || !valid) {
		bool sets = valid && ns_of(&spec->it_value), stops = valid && (spec == old || !sets); /* which are the same place: who knows */
		uint64_t before = r ? atomic_load_explicit(&r->waiting, memory_order_relaxed) : 0;
		if (r && sets)
			count_begin(r);
		int done = real.timer_settime(id, flags, spec, old);
		if (r && done == 0 && valid && !sets)
			count_end(r, before);
		if (done == 0 && stops)
			stopped(0);
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
	int32_t told = r ? atomic_load_explicit(&r->told_process, memory_order_relaxed) : NONE_TOLD;
	return r && r->g ? r->told : told != NONE_TOLD ? told : real.timer_getoverrun(id);
}

SHIM int timer_delete(timer_t id) {
	REAL_READY();
	struct record *r = record_of(id);
	if (r) {
		deleted_note(id);
		state_set(r, RECORD_MAKING); /* before the kernel may use the number again */
		if (r->of && !r->kernel_counts)
			cpu_stop(r);
		setting_begin(r, INT64_MAX);
	}
	int done = real.timer_delete(id);
	bool of_process = !r || r->of_main || r->to_process;
	if (r)
		state_set(r, RECORD_FREE);
	if (done == 0 && of_process)
		stopped(0);
	return done;
}

SHIM int setitimer(__itimer_which_t which, const struct itimerval *restrict value, struct itimerval *restrict old) {
	REAL_READY();
	int done = real.setitimer(which, value, old);
	if (done == 0 && which == ITIMER_REAL && (!value || value == old || (!value->it_value.tv_sec && !value->it_value.tv_usec)))
		stopped(SIGALRM);
	return done;
}

SHIM unsigned alarm(unsigned seconds) {
	REAL_READY();
	unsigned left = RACE_ALARM(real.alarm, seconds);
	if (!seconds)
		stopped(SIGALRM);
	return left;
}

SHIM useconds_t ualarm(useconds_t value, useconds_t interval) {
	REAL_READY();
	useconds_t left = real.ualarm(value, interval);
	if (!value)
		stopped(SIGALRM);
	return left;
}
