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
 * Records are type-stable: an entry in a queue may outlive its timer, and the handler of a late signal may look at a record that is another timer's by then, or is being made
 * one. So what such a handler asks of a record is in three words. `name` says which timer it is, of which kind, and whether it is one at all:
 *     0 --record_new--> MAKING --timer_create--> NAMED, number and kind --timer_delete--> MAKING --> 0
 * `waiting` says which setting of it that is, a number that is never the same again; what waits in a queue has that number with it. And `expired` has a
 * number for each time that the record is made. Who counts something changes the number's own word, from what it was when he asked: then nothing has come between.
 *     who makes or deletes    name = MAKING;  waiting = new number (release);  ...;  name = ... (release)
 *     who comes with a signal old = waiting (acquire);  is name that of my timer (acquire)?  waiting: old -> old + 1
 * He took the name from an earlier life? Not after he has seen the number that was begun after its end. From a later one? Then that one's number was begun before its name was
 * there, and his change fails. (That needs name's acquire: it orders his change after the beginning, which it therefore cannot miss.)
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
#define NEAR 16384u          /* timers found without a search: their numbers are small, and given in sequence; pages are touched as there are any. Power of two */
#define DELETED 64u          /* so many timers' signals may still be under way; power of two */
#define COUNT 0xffffffffull
#define ARMED (COUNT + 1)
#define CPU_STEP_NS 1000000  /* no look at a CPU clock is sooner */

/* record.name: a number as the program has it, and these, in bits that none has: the kernel's are below 2^31, and glibc's own bit 63 and a pointer, halved */
#define MAKING (1ull << 56)
#define NAMED (1ull << 57)
#define OF_MAIN (1ull << 58)    /* made when there was main only: the kernel's */
#define TO_PROCESS (1ull << 59) /* it signals the process */
#define CPU_OF_PROCESS (1ull << 60)
#define NAME_BITS (MAKING | NAMED | OF_MAIN | TO_PROCESS | CPU_OF_PROCESS)

struct record {
	struct record *next;
	_Atomic uint64_t name;
	bool pins_main;           /* OF_MAIN, or on main's CPU clock */
	_Atomic uint64_t waiting; /* COUNT: so often expired since a signal of it waits in the library; 0: none does. Above: of which setting; that is odd, ARMED, until its
				   * signals are too late */
	_Atomic uint64_t told_process; /* as `told`, by the signals of the setting above; of another: the kernel knows */
	clockid_t clock;          /* that the kernel's timer is on */

	struct g *g;              /* whom it signals; NULL: not SIGEV_THREAD_ID */
	int32_t tid;              /* g may be another thread by now */
	int sig;
	_Atomic uintptr_t value;  /* sigev_value */
	_Atomic uint64_t expired; /* COUNT: so often, and sysmon has not looked yet. Above: how often the record was made a timer */
	struct lock lock;         /* for the six below */
	uint32_t seq;             /* setting; never the same again */
	bool pending;
	int64_t first;            /* not before; ns of first_clock */
	clockid_t first_clock;
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

static uint32_t setting_of(uint64_t word) {
	return (uint32_t)(word >> 32);
}

/* One more signal of the kernel's, and its overrun: as many as an int can tell. */
static uint64_t counted(uint64_t word, const siginfo_t *info) {
	uint64_t count = (word & COUNT) + 1 + (uint32_t)info->si_overrun;
	return (word & ~COUNT) | (count < INT32_MAX ? count : INT32_MAX);
}

/* Of a timer that signals the process: a setting of its own, armed by whatever call, before the kernel is told. What has come is no signal any more. release: see the head. The
 * signals of a setting come after the system call that makes it. */
static void count_begin(struct record *r) {
	uint64_t old = atomic_load_explicit(&r->waiting, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&r->waiting, &old, ((old | ARMED) + 2 * ARMED) & ~COUNT, memory_order_release, memory_order_relaxed))
		continue;
}

/* After the kernel was told to stop it, which was at `before`: what comes from now on is late, but not if somebody has set it again meanwhile. */
static void count_end(struct record *r, uint64_t before) {
	uint64_t old = atomic_load_explicit(&r->waiting, memory_order_relaxed);
	while ((old | COUNT) == (before | COUNT) &&
	       !atomic_compare_exchange_weak_explicit(&r->waiting, &old, ((old | ARMED) + ARMED) & ~COUNT, memory_order_release, memory_order_relaxed))
		continue;
}

static struct record *record_new(void) {
	/* acquire, both: the first pairs with the release in record_free(), the second with the one below */
	bool any_free = atomic_load_explicit(&records_free, memory_order_acquire) != 0;
	struct record *r = any_free ? atomic_load_explicit(&records, memory_order_acquire) : NULL;
	uint64_t none = 0;
	while (r && !atomic_compare_exchange_strong(&r->name, &none, MAKING)) {
		none = 0;
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
		atomic_store_explicit(&r->name, MAKING, memory_order_relaxed);
		r->next = atomic_load_explicit(&records, memory_order_relaxed);
		/* release: whoever walks the list finds it complete */
		while (!atomic_compare_exchange_weak_explicit(&records, &r->next, r, memory_order_release, memory_order_relaxed))
			continue;
	}
	r->pins_main = r->kernel_counts = false;
	r->g = r->of = NULL;
	r->target = 0;
	/* relaxed, the load: nobody else makes it; what comes late just adds. The timer's own signals come after the system call that makes it */
	atomic_store_explicit(&r->expired, ((atomic_load_explicit(&r->expired, memory_order_relaxed) >> 32) + 1) << 32, memory_order_relaxed);
	count_begin(r);
	return r;
}

/* acquire and release: who finds a timer's name finds what it was made of. */
static uint64_t name_of(struct record *r) {
	return atomic_load_explicit(&r->name, memory_order_acquire);
}

static bool is_live(struct record *r) {
	return name_of(r) & NAMED;
}

static bool names(uint64_t name, timer_t id) {
	return (name & NAMED) && (name & ~NAME_BITS) == (uintptr_t)id;
}

static bool is_named(struct record *r, timer_t id) {
	return names(name_of(r), id);
}

static timer_t id_of(struct record *r) {
	return (timer_t)(uintptr_t)(name_of(r) & ~NAME_BITS);
}

static void name_set(struct record *r, uint64_t name) {
	atomic_store_explicit(&r->name, name, memory_order_release);
}

static void record_free(struct record *r) {
	name_set(r, 0);
	atomic_fetch_add_explicit(&records_free, 1, memory_order_release);
}

/* Async-signal-safe. */
static struct record *record_of(timer_t id) {
	_Atomic(struct record *) *near = &records_near[(uintptr_t)id % NEAR];
	struct record *r = atomic_load_explicit(near, memory_order_acquire);
	if (likely(r && is_named(r, id)))
		return r;
	r = atomic_load_explicit(&records, memory_order_acquire);
	while (r && !is_named(r, id))
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
static void setting_begin(struct record *r, int64_t first, clockid_t first_clock) {
	struct g *held = record_lock(r);
	r->seq++;
	r->pending = false;
	r->first = first;
	r->first_clock = first_clock;
	r->overruns = r->told = 0;
	atomic_fetch_and_explicit(&r->expired, ~COUNT, memory_order_relaxed);
	count_begin(r);
	record_unlock(r, held);
}

/* ---- SIGEV_THREAD_ID ---------------------------------------------------------------------------------------------- */

static uint64_t life_of(uint64_t expired) {
	return expired >> 32 & LIFE_BITS;
}

bool sigtimer_expired(const siginfo_t *info) {
	uintptr_t value = (uintptr_t)info->si_value.sival_ptr;
	struct record *r = (struct record *)(value & ~(uintptr_t)LIFE_BITS);
	if (!r)
		return false;
	uint64_t old = atomic_load_explicit(&r->expired, memory_order_relaxed);
	do {
		if (life_of(old) != (value & LIFE_BITS))
			return true;
	} while (!atomic_compare_exchange_weak_explicit(&r->expired, &old, counted(old, info), memory_order_relaxed, memory_order_relaxed));
	atomic_store_explicit(&expired_any, true, memory_order_relaxed);
	sysmon_poke(); /* release */
	return true;
}

static bool is_due(const struct record *r) {
	struct timespec now;
	return r->first <= 0 || (r->first != INT64_MAX && SYS2(SYS_clock_gettime, r->first_clock, &now) == 0 &&
	                         now.tv_sec * 1000000000 + now.tv_nsec >= r->first);
}

static void look_at(struct record *r) {
	int expired = (int)(atomic_fetch_and_explicit(&r->expired, ~COUNT, memory_order_relaxed) & COUNT);
	if (!expired)
		return;
	siginfo_t info;
	struct g *g = NULL, *held = record_lock(r);
	/* live, and for as long as the lock is held: who deletes it takes that before he frees it */
	bool sends = is_live(r) && is_due(r) && r->g->tid == r->tid && is_alive(r->g);
	if (sends && r->pending) {
		r->overruns += expired;
		sends = false;
	} else if (sends) {
		r->pending = true;
		r->overruns = expired - 1;
		g = r->g;
		memset(&info, 0, sizeof info);
		info.si_signo = r->sig;
		info.si_code = TIMER_CODE;
		info.si_value.sival_ptr = r;
		info.si_overrun = (int)r->seq;
	}
	record_unlock(r, held);
	if (sends && sig_thread_send(g, info.si_signo, &info) < 0)
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

/* Whose signal it is, if that is a timer to the process, and which setting is counted (*waiting). The order is the head's. */
static struct record *process_record(const siginfo_t *info, uint64_t *waiting) {
	timer_t id = (timer_t)(intptr_t)info->si_timerid;
	struct record *r = record_of(id);
	if (!r)
		return NULL;
	*waiting = atomic_load_explicit(&r->waiting, memory_order_acquire);
	uint64_t name = name_of(r);
	return names(name, id) && (name & TO_PROCESS) ? r : NULL;
}

enum arrival { ARRIVES_LATE, ARRIVES_FIRST, ARRIVES_ON_TOP };

/* ON_TOP: one waits already. *r: NULL for a timer that is no more, or that the library knows nothing of; else *now is what it was counted to. */
static enum arrival count_add(const siginfo_t *info, struct record **r, uint64_t *now) {
	uint64_t old;
	do {
		*r = process_record(info, &old);
		if (!*r)
			return was_deleted(info->si_timerid) ? ARRIVES_LATE : ARRIVES_FIRST;
		if (!(old & ARMED))
			return ARRIVES_LATE;
		*now = counted(old, info);
		/* relaxed: what it says is all there is to it */
	} while (!atomic_compare_exchange_weak_explicit(&(*r)->waiting, &old, *now, memory_order_relaxed, memory_order_relaxed));
	return old & COUNT ? ARRIVES_ON_TOP : ARRIVES_FIRST;
}

static void told_set(struct record *r, uint32_t setting, int overrun) {
	atomic_store_explicit(&r->told_process, (uint64_t)setting << 32 | (uint32_t)overrun, memory_order_relaxed);
}

/* None waits any more of this setting; so many did. */
static uint32_t count_clear(struct record *r, uint32_t setting) {
	uint64_t old = atomic_load_explicit(&r->waiting, memory_order_relaxed);
	while (setting_of(old) == setting) {
		if (atomic_compare_exchange_weak_explicit(&r->waiting, &old, old & ~COUNT, memory_order_relaxed, memory_order_relaxed))
			return (uint32_t)(old & COUNT);
	}
	return 0;
}

/* The signal is taken: the program sees it as *info. False: there is none. */
static bool count_take(struct record *r, uint32_t setting, siginfo_t *info) {
	uint32_t expired = count_clear(r, setting);
	if (!expired)
		return false;
	info->si_overrun = (int)(expired - 1);
	told_set(r, setting, info->si_overrun);
	return true;
}

/* In the ring or a queue: si_value is the record, and this, which an address leaves free, where the signal is to the process; si_overrun the setting. */
#define ENTRY_TO_PROCESS 1u

static struct record *entry_record(const siginfo_t *info, bool *to_process) {
	uintptr_t value = (uintptr_t)info->si_value.sival_ptr;
	*to_process = value & ENTRY_TO_PROCESS;
	return (struct record *)(value & ~(uintptr_t)ENTRY_TO_PROCESS);
}

bool sigtimer_arrives(siginfo_t *info) {
	struct record *r;
	uint64_t now;
	if (count_add(info, &r, &now) != ARRIVES_FIRST)
		return false;
	if (!r)
		return true;
	info->si_code = TIMER_CODE;
	info->si_overrun = (int)setting_of(now);
	info->si_value.sival_ptr = (void *)((uintptr_t)r | ENTRY_TO_PROCESS);
	return true;
}

bool sigtimer_handled(siginfo_t *info) {
	struct record *r;
	uint64_t now;
	return count_add(info, &r, &now) == ARRIVES_FIRST && (!r || count_take(r, setting_of(now), info));
}

void sigtimer_received(const siginfo_t *info) {
	uint64_t waiting;
	struct record *r = process_record(info, &waiting);
	if (r)
		told_set(r, setting_of(waiting), info->si_overrun);
}

void sigtimer_lost(const siginfo_t *info) {
	bool to_process;
	struct record *r = entry_record(info, &to_process);
	if (info->si_code == TIMER_CODE && to_process)
		count_clear(r, (uint32_t)info->si_overrun);
}

/* told(), below */
static bool told_process(struct record *r, siginfo_t *info, bool taken) {
	uint32_t setting = (uint32_t)info->si_overrun;
	uint64_t name = name_of(r);
	/* acquire, both: if they are a later timer's, its setting was begun before, and is found */
	uintptr_t value = atomic_load_explicit(&r->value, memory_order_acquire);
	uint64_t now = atomic_load_explicit(&r->waiting, memory_order_relaxed);
	if (setting_of(now) != setting || !(now & COUNT) || !(name & NAMED))
		return false;
	info->si_code = SI_TIMER;
	info->si_timerid = (int)(name & ~NAME_BITS);
	info->si_overrun = (int)((now & COUNT) - 1);
	info->si_value.sival_ptr = (void *)value;
	return !taken || count_take(r, setting, info);
}

/* ---- what comes out of queues --------------------------------------------------------------------------------------- */

static bool told(siginfo_t *info, bool taken) {
	bool to_process;
	struct record *r = entry_record(info, &to_process);
	if (to_process)
		return told_process(r, info, taken);
	struct g *held = record_lock(r);
	bool valid = is_live(r) && r->seq == (uint32_t)info->si_overrun;
	info->si_code = SI_TIMER;
	if (valid) {
		r->pending &= !taken;
		r->told = r->overruns;
		info->si_timerid = (int)(intptr_t)id_of(r);
		info->si_overrun = r->overruns;
		info->si_value.sival_ptr = (void *)atomic_load_explicit(&r->value, memory_order_relaxed);
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

static bool is_of_kind(const siginfo_t *info, uint64_t kind) {
	timer_t id = (timer_t)(intptr_t)info->si_timerid;
	struct record *r = record_of(id);
	uint64_t name = r ? name_of(r) : 0;
	return names(name, id) && (name & kind) == kind;
}

bool sigtimer_of_main(const siginfo_t *info) {
	return is_of_kind(info, OF_MAIN);
}

bool sigtimer_counts_cpu(const siginfo_t *info) {
	return is_of_kind(info, TO_PROCESS | CPU_OF_PROCESS);
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
	real.timer_settime(id_of(r), 0, &soon, NULL);
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
		real.timer_settime(id_of(r), 0, &none, NULL);
		setting_begin(r, 0, r->clock);
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
		count_begin(r);
		if (name_of(r))
			record_free(r);
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

/* What the program's timer is, beside its number. */
static uint64_t kind_of(clockid_t clock, const struct sigevent *event) {
	return (signals_process(event) ? TO_PROCESS : 0) | (clock == CLOCK_PROCESS_CPUTIME_ID ? CPU_OF_PROCESS : 0);
}

/* release: see told_process() */
static void value_set(struct record *r, union sigval value) {
	atomic_store_explicit(&r->value, (uintptr_t)value.sival_ptr, memory_order_release);
}

/* r is done with, or its timer is `id`; event: as the program gave it. */
static int record_made(struct record *r, int done, const timer_t *id, uint64_t kind, const struct sigevent *event) {
	if (done != 0) {
		record_free(r);
		return done;
	}
	value_set(r, event ? event->sigev_value : (union sigval){.sival_ptr = *id});
	deleted_forget(*id);
	name_set(r, NAMED | kind | (uintptr_t)*id);
	atomic_store_explicit(&records_near[(uintptr_t)*id % NEAR], r, memory_order_release);
	return done;
}

/* There is main only. */
static int create_for_main(clockid_t clock, struct sigevent *event, timer_t *id) {
	bool names = event && event->sigev_notify == SIGEV_THREAD_ID, counts = clock == CLOCK_THREAD_CPUTIME_ID || cpuclock_is_ktids(clock);
	struct record *r = names || counts || signals_process(event) ? record_new() : NULL;
	int done = real.timer_create(clock, event, id);
	if (!r)
		return done;
	r->pins_main = names || counts;
	r->clock = clock;
	return record_made(r, done, id, kind_of(clock, event) | (names ? OF_MAIN : 0), event);
}

/* r says what is meant. */
static int create_recorded(struct record *r, clockid_t clock, struct sigevent *event, timer_t *id) {
	struct sigevent ours, *asked = event;
	if (r->g) {
		memset(&ours, 0, sizeof ours);
		ours.sigev_notify = SIGEV_THREAD_ID;
		ours.sigev_signo = SIGSETXID_NR;
		ours.sigev_value.sival_ptr = (void *)((uintptr_t)r | life_of(atomic_load_explicit(&r->expired, memory_order_relaxed)));
		ours._sigev_un._tid = sysmon_ktid();
		r->tid = r->g->tid;
		r->sig = event->sigev_signo;
		asked = &ours;
		sig_reserve();
	}
	r->clock = clock;
	if (r->of) {
		r->of_tid = r->of->tid;
		r->check = (struct timer){.fire = cpu_check, .arg = r, .unlocked = true};
	}
	setting_begin(r, INT64_MAX, r->clock);
	return record_made(r, real.timer_create(clock, asked, id), id, kind_of(clock, event), event);
}

static int create_for_process(clockid_t clock, struct sigevent *event, timer_t *id) {
	struct record *r = record_new();
	int done = real.timer_create(clock, event, id);
	if (!r)
		return done; /* its overruns are not counted */
	r->clock = clock;
	return record_made(r, done, id, kind_of(clock, event), event);
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

/* By which the kernel measures the time. A span of the wall clock's does not change when that is set. */
static clockid_t measured_by(const struct record *r, int flags) {
	return r->clock == CLOCK_REALTIME && !(flags & TIMER_ABSTIME) ? CLOCK_MONOTONIC : r->clock;
}

/* When it expires first, by that clock; 0: that cannot be told from here. */
static int64_t first_of(const struct record *r, int flags, const struct itimerspec *spec) {
	int64_t value = ns_of(&spec->it_value);
	struct timespec now;
	if (!value)
		return INT64_MAX;
	if (r->clock == CLOCK_THREAD_CPUTIME_ID || SYS2(SYS_clock_gettime, measured_by(r, flags), &now) < 0)
		return 0;
	return flags & TIMER_ABSTIME ? value : value + ns_of(&now);
}

/* A timer of the process expires no more. sig: as sig_stopped_settle()'s. Not for one that expires once and had not yet: nothing of it is on its way. */
static void stopped(int sig) {
	if (sched_started())
		sig_stopped_settle(self_g(), sig);
}

SHIM int timer_settime(timer_t id, int flags, const struct itimerspec *restrict spec, struct itimerspec *restrict old) {
	REAL_READY();
	struct record *r = record_of(id);
	bool valid = !address_bad(spec) && timespec_valid(&spec->it_value) && timespec_valid(&spec->it_interval);
	if (!r || (!r->g && !r->of) || !valid) {
		bool sets = valid && ns_of(&spec->it_value), stops = valid && (spec == old || !sets); /* which are the same place: who knows */
		uint64_t before = r ? atomic_load_explicit(&r->waiting, memory_order_relaxed) : 0;
		if (r && sets)
			count_begin(r);
		struct itimerspec own, *was = stops && !old ? &own : old;
		int done = real.timer_settime(id, flags, spec, was);
		if (done == 0 && was == &own)
			stops = !(ns_of(&was->it_value) && !ns_of(&was->it_interval));
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
	setting_begin(r, first_of(r, flags, &given), measured_by(r, flags));
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
	if (r && r->g)
		return r->told;
	uint64_t told = r ? atomic_load_explicit(&r->told_process, memory_order_relaxed) : 0;
	uint64_t now = r ? atomic_load_explicit(&r->waiting, memory_order_relaxed) : ARMED;
	return setting_of(told) == setting_of(now) ? (int)(uint32_t)told : real.timer_getoverrun(id);
}

SHIM int timer_delete(timer_t id) {
	REAL_READY();
	struct record *r = record_of(id);
	bool of_process = !r || (name_of(r) & (OF_MAIN | TO_PROCESS));
	if (r) {
		deleted_note(id);
		name_set(r, MAKING); /* before the kernel may use the number again */
		if (r->of && !r->kernel_counts)
			cpu_stop(r);
		setting_begin(r, INT64_MAX, r->clock);
	}
	int done = real.timer_delete(id);
	if (r)
		record_free(r);
	if (done == 0 && of_process)
		stopped(0);
	return done;
}

static int64_t usec_of(const struct timeval *t) {
	return t->tv_sec * 1000000 + t->tv_usec;
}

static int alarm_set(const struct itimerval *value, struct itimerval *old) {
	struct itimerval own, *was = old ? old : &own;
	int done = real.setitimer(ITIMER_REAL, value, was);
	if (done == 0 && (!value || value == old || !usec_of(&value->it_value)) && !(usec_of(&was->it_value) && !usec_of(&was->it_interval)))
		stopped(SIGALRM);
	return done;
}

SHIM int setitimer(__itimer_which_t which, const struct itimerval *restrict value, struct itimerval *restrict old) {
	REAL_READY();
	return which == ITIMER_REAL ? alarm_set(value, old) : real.setitimer(which, value, old);
}

SHIM unsigned alarm(unsigned seconds) {
	REAL_READY();
	struct itimerval none = {{0, 0}, {0, 0}}, was;
	if (seconds)
		return RACE_ALARM(real.alarm, seconds);
	alarm_set(&none, &was);
	/* as the kernel's alarm() says it */
	return (unsigned)was.it_value.tv_sec + (was.it_value.tv_usec >= 500000 || (!was.it_value.tv_sec && was.it_value.tv_usec));
}

SHIM useconds_t ualarm(useconds_t value, useconds_t interval) {
	REAL_READY();
	useconds_t left = real.ualarm(value, interval);
	if (!value)
		stopped(SIGALRM);
	return left;
}
