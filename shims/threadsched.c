/* How a thread is scheduled: policy, priority, nice value, I/O priority, CPUs; set by itself, by others and by the attributes it is made with; by handle and
 * by number.
 *
 * The kernel keeps that per kernel thread, and one that runs others must not be changed (SEC-1). So a goroutine that sets something for itself is pinned
 * (pinned.c). What others set, or the attributes, is checked with the kernel at once, whose answer is the call's, and written down in struct thread, from where
 * it is reported; the goroutine pins itself and sets it before it executes anything more of the program's (core/wired.c, wishes). One that is pinned
 * already is changed directly. Either way its children have it, and what it creates, from the kernel.
 *
 * Not pinned for nothing: many programs "set" an affinity to all CPUs there are, or a policy that the thread has. What the process has anyhow leaves a thread
 * where it is. Nor do threads get a kernel thread each because main changed its nice value, which is as good as the process's; only those that make processes do. Thousands of threads, each bound
 * to a CPU, are as many kernel threads, as without us. Where there is none to be had (RLIMIT_NPROC), or a ring of io_uring forbids to pin whom others interrupt,
 * the wish is reported and handed on, and comes true when there is one, or the goroutine is pinned for another reason.
 *
 * Lock: sched_lock, LOCK_STACK, taken inside the runtime's section: what the kernel's verdict is tried on, and the noted CPU sets. */
#include <linux/ioprio.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include "../core/futex.h"
#include "../core/kernel_call.h"
#include "../core/pages.h"
#include "../core/runtime.h"
#include "ceiling.h"
#include "io.h"
#include "pinned.h"
#include "thread.h"

static struct lock sched_lock;

/* What a kernel thread has that is made for no goroutine in particular: as the process had it when the runtime started; the nice value as it was
 * last set for all. */
static int process_policy, process_priority, process_nice;

#define GIVE_NS 100000000
#define GIVE_LATEST_NS 2000000000 /* one that computes may go on for so long before */
#define GIVE_LOOK_NS 300000
#define GIVE_LOOKS 20 /* ... of these at least */
#define NUMBERS_NOTED 8192u /* pages of them are touched as numbers are asked for */

/* What of struct thread is written down only, and not yet the kernel thread's. */
enum { SET_CPUS = 1, SET_POLICY = 2, SET_NICE = 4, SET_IOPRIO = 8 };

/* Others write these, and ask for them; each is one word. */
#define TOLD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define TELL(field, value) __atomic_store_n(&(field), value, __ATOMIC_RELAXED)

int32_t thread_of_process(void) {
	int32_t sysmon = sig_sysmon_ktid();
	return sysmon ? sysmon : (int32_t)SYS0(SYS_getpid);
}

void thread_sched_start(struct g *g) {
	thread_sched_reread(g, 0);
	process_policy = thread_of(g)->policy;
	process_priority = thread_of(g)->param.sched_priority;
	process_nice = thread_of(g)->nice;
	ceiling_start(g);
	wish_hook = thread_sched_pinned;
}

void thread_sched_reread(struct g *g, pid_t ktid) {
	struct thread *t = thread_of(g);
	long policy = SYS1(SYS_sched_getscheduler, ktid), nice = SYS2(SYS_getpriority, PRIO_PROCESS, ktid);
	struct sched_param param = {0};
	int known = policy < 0 ? SCHED_OTHER : (int)policy & ~SCHED_RESET_ON_FORK;
	if (known != SCHED_OTHER)
		SYS2(SYS_sched_getparam, ktid, &param);
	TELL(t->policy, known);
	TELL(t->reset_on_fork, policy >= 0 && (policy & SCHED_RESET_ON_FORK));
	TELL(t->param.sched_priority, param.sched_priority);
	TELL(t->nice, nice < 0 ? 0 : 20 - (int)nice); /* the kernel's own form is never negative */
}

static bool main_niced; /* main has set its own, which only the first kernel thread has; another may be the one that forks, of whoever */
static int main_nice;

void thread_nice_shown(struct g *g) {
	pid_t first = (pid_t)SYS0(SYS_getpid);
	int nice = TOLD(thread_of(g)->nice);
	if (g->kind != G_MAIN || (nice == TOLD(process_nice) && !TOLD(main_niced)))
		return;
	if (SYS2(SYS_getpriority, PRIO_PROCESS, first) != 20 - nice && SYS3(SYS_setpriority, PRIO_PROCESS, first, nice) != 0)
		return;
	TELL(main_nice, nice);
	TELL(main_niced, true);
}

/* ---- sets of CPUs, noted ------------------------------------------------------------------------------------------------ */

/* A thread has no room for one, and a program uses few different ones: each is kept once, for good. Numbers from 1. */
#define SETS_PER_PAGE (4096 / sizeof(cpu_set_t))
#define SET_PAGES 256
static cpu_set_t *set_page[SET_PAGES];
static uint32_t sets_noted;

static const cpu_set_t *set_of(uint32_t number) {
	/* acquire: pairs with set_note(). (The number came here with less.) */
	return __atomic_load_n(&set_page[(number - 1) / SETS_PER_PAGE], __ATOMIC_ACQUIRE) + (number - 1) % SETS_PER_PAGE;
}

/* sched_lock held. 0: no memory, or too many. */
static uint32_t set_note(const cpu_set_t *set) {
	for (uint32_t i = 1; i <= sets_noted; i++) {
		if (memcmp(set_of(i), set, sizeof *set) == 0)
			return i;
	}
	uint32_t page = sets_noted / SETS_PER_PAGE;
	if (page == SET_PAGES)
		return 0;
	cpu_set_t *at = set_page[page] ? set_page[page] : pages_map(SETS_PER_PAGE * sizeof *at);
	if (!at)
		return 0;
	at[sets_noted % SETS_PER_PAGE] = *set;
	__atomic_store_n(&set_page[page], at, __ATOMIC_RELEASE);
	return ++sets_noted;
}

/* ---- what the kernel says to it ------------------------------------------------------------------------------------------ */

static long process_cpus(size_t size, void *set) {
	struct g *held = rt_hold();
	lock_acquire(&sched_lock, LOCK_STACK);
	long n = SYS3(SYS_sched_getaffinity, thread_of_process(), size, set);
	lock_release(&sched_lock);
	rt_drop(held);
	return n;
}

/* What of `set` the kernel would give a thread of this process, as a number, 0 if it is what the process has. EINVAL if nothing, ENOMEM. Not what the
 * process's threads have is the bound to that (main may have bound itself, and all others were made after that), but the CPUs of its control group,
 * and who asks the kernel for them has them: so sysmon asks, whom it does not hurt, and has its own back at once. */
static int cpus_wished(size_t size, const cpu_set_t *set, uint32_t *number) {
	cpu_set_t own, asked, granted;
	int32_t tid = thread_of_process();
	CPU_ZERO(&own);
	CPU_ZERO(&asked);
	memcpy(&asked, set, size < sizeof asked ? size : sizeof asked);
	struct g *held = rt_hold();
	lock_acquire(&sched_lock, LOCK_STACK);
	long n = SYS3(SYS_sched_getaffinity, tid, sizeof own, &own);
	CPU_AND(&granted, &own, &asked);
	if (!CPU_EQUAL(&granted, &asked) && n > 0 && SYS3(SYS_sched_setaffinity, tid, size, set) == 0) {
		CPU_ZERO(&granted);
		SYS3(SYS_sched_getaffinity, tid, sizeof granted, &granted);
		SYS3(SYS_sched_setaffinity, tid, n, &own);
	}
	bool possible = CPU_COUNT(&granted) > 0, all = CPU_EQUAL(&granted, &own);
	*number = possible && !all ? set_note(&granted) : 0;
	lock_release(&sched_lock);
	rt_drop(held);
	return !possible ? EINVAL : !all && *number == 0 ? ENOMEM : 0;
}

static bool policy_valid(int policy, int priority) {
	switch (policy) {
	case SCHED_OTHER: case SCHED_BATCH: case SCHED_IDLE:
		return priority == 0;
	case SCHED_FIFO: case SCHED_RR:
		return priority >= 1 && priority <= 99;
	default:
		return false;
	}
}

/* May this process's threads have it? Tried on sysmon, as above: privilege, RLIMIT_RTPRIO and the control group all have their say. 0 or an error. */
static int policy_refused(int policy, int priority) {
	struct sched_param param = {.sched_priority = priority};
	uint64_t attr[16]; /* a struct sched_attr of whatever size the kernel has */
	int32_t tid = thread_of_process();
	if (priority == 0)
		return 0;
	struct g *held = rt_hold();
	lock_acquire(&sched_lock, LOCK_STACK);
	long r = SYS4(SYS_sched_getattr, tid, attr, sizeof attr, 0);
	if (r == 0) {
		r = SYS3(SYS_sched_setscheduler, tid, policy, &param);
		if (r == 0)
			SYS3(SYS_sched_setattr, tid, attr, 0);
	}
	lock_release(&sched_lock);
	rt_drop(held);
	return (int)-r;
}

/* As the kernel has it. */
int thread_policy(struct g *g) {
	return TOLD(thread_of(g)->policy) | (TOLD(thread_of(g)->reset_on_fork) ? SCHED_RESET_ON_FORK : 0);
}

/* May a thread of this process come down to that nice value from a higher one? Without privilege as far as the limit goes; with it anywhere, which is tried on sysmon, who must come
 * down for that and can always go back. 0 or an error. */
static int nice_refused(int nice) {
	int32_t tid = thread_of_process();
	struct rlimit rl;
	if (SYS4(SYS_prlimit64, 0, RLIMIT_NICE, 0, &rl) == 0 && (rlim_t)(20 - nice) <= rl.rlim_cur)
		return 0;
	struct g *held = rt_hold();
	lock_acquire(&sched_lock, LOCK_STACK);
	int own = 20 - (int)SYS2(SYS_getpriority, PRIO_PROCESS, tid);
	long r = SYS3(SYS_setpriority, PRIO_PROCESS, tid, nice < own ? nice : own - 1);
	if (r == 0)
		SYS3(SYS_setpriority, PRIO_PROCESS, tid, own);
	lock_release(&sched_lock);
	rt_drop(held);
	return (int)-r;
}

/* ---- written down, and done ------------------------------------------------------------------------------------------------ */

/* `what` of t is the calling kernel thread's from now on. Who wrote it down had the kernel's word; if that has changed, nobody is there to hear it. */
static void sched_put(struct g *g, unsigned what) {
	struct thread *t = thread_of(g);
	uint32_t number = 0;
	/* Again if it was told another meanwhile, who found it pinned already and may have told the kernel first. */
	for (bool again = what & SET_CPUS; again; again = TOLD(t->cpus) != number) {
		number = TOLD(t->cpus);
		cpu_set_t all;
		long size;
		if (number)
			SYS3(SYS_sched_setaffinity, 0, sizeof(cpu_set_t), set_of(number));
		else if ((size = process_cpus(sizeof all, &all)) > 0)
			SYS3(SYS_sched_setaffinity, 0, size, &all);
	}
	if (what & SET_POLICY) {
		struct sched_param param = {.sched_priority = ceiling_raises(g, TOLD(t->param.sched_priority))};
		SYS3(SYS_sched_setscheduler, 0, thread_policy(g), &param);
	}
	if (what & SET_NICE)
		SYS3(SYS_setpriority, PRIO_PROCESS, 0, TOLD(t->nice));
	if (what & SET_IOPRIO)
		SYS3(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, TOLD(t->ioprio));
}

void thread_sched_pinned(struct g *g) {
	unsigned what;
	if (TOLD(main_niced))
		sched_put(g, SET_NICE);
	/* seq_cst: what was written down before it was said here is read after. Again, if another has come meanwhile. */
	while ((what = __atomic_exchange_n(&thread_of(g)->written_down, 0, __ATOMIC_SEQ_CST)) != 0)
		sched_put(g, what);
}

static void sched_wish(struct g *g, unsigned what) {
	__atomic_fetch_or(&thread_of(g)->written_down, (uint8_t)what, __ATOMIC_SEQ_CST);
	g_wish(g);
}

void thread_sched_parent(struct g *g) {
	if (unlikely(TOLD(main_niced)) && g && !g_pinned(g))
		sched_wish(g, 0);
	g_wish_look(g);
}

void thread_sched_forker(struct g *g) {
	/* To a higher value the child goes by itself; from one it may not come down. */
	if (unlikely(TOLD(main_niced)) && g && TOLD(thread_of(g)->nice) < (g->kind == G_MAIN ? TOLD(process_nice) : TOLD(main_nice)))
		thread_sched_parent(g);
}

void thread_sched_fork_child(struct g *g) {
	sched_lock = (struct lock){0};
	unsigned what = thread_of(g)->written_down;
	if (thread_of(g)->cpus == 0)
		what &= ~(unsigned)SET_CPUS;
	if (TOLD(main_niced))
		what |= SET_NICE;
	thread_of(g)->written_down = 0;
	if (thread_of(g)->reset_on_fork)
		what &= ~(unsigned)(SET_POLICY | SET_NICE);
	sched_put(g, what);
	TELL(main_niced, false); /* the caller is main, and what it has is what all begin with */
}

int32_t thread_own_ktid(struct g *g) {
	if (g == io_g() && g_pin_if_spare(g))
		thread_sched_pinned(g);
	return g_own_ktid(g);
}

/* It is as good as asked, but on a busy machine may have to wait for a CPU, and then for one of the kernel's ticks that finds it there. */
static bool may_answer(struct g *g) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_relaxed);
	return state == GS_RUNNABLE || (state == GS_RUNNING && !atomic_load_explicit(&g->in_syscall, memory_order_relaxed));
}

/* From a wait in the kernel that its caller makes again. True: it has been called back already, and its kernel thread wants for a CPU. */
static bool call_back(struct g *g) {
	struct m *m = __atomic_load_n(&g->m, __ATOMIC_RELAXED); /* another's by now: that one's wait is made again, or has ended */
	int32_t ktid = m ? atomic_load_explicit(&m->ktid, memory_order_relaxed) : 0;
	if (!ktid)
		return false;
	struct kernel_call call = kernel_call_of(ktid);
	if (call.known && call.running)
		return true;
	sig_reserve();
	struct g *held = rt_hold();
	sig_disturb_hook(g, m);
	rt_drop(held);
	return false;
}

int32_t thread_give_own(struct g *g) {
	int32_t ktid = thread_own_ktid(g);
	if (ktid)
		return ktid;
	sched_wish(g, 0);
	int64_t now = nanotime(), until = now + GIVE_NS, latest = now + GIVE_LATEST_NS;
	/* Not by time alone: the caller may lack a CPU as well, for longer than that. */
	for (int looks = 0; !(ktid = g_own_ktid(g)) && !thread_ended(g) && (now < until || looks < GIVE_LOOKS); now = nanotime(), looks++) {
		/* Its wait finds that nothing happened, and goes on, as when another thread takes a signal that was for both. */
		bool waits = atomic_load_explicit(&g->state, memory_order_relaxed) == GS_WAITING, called = false;
		if (waits)
			g_interrupt(g);
		else if (atomic_load_explicit(&g->in_syscall, memory_order_relaxed) == SYSCALL_WAITS)
			called = call_back(g);
		/* One whose wait was ended is on its way, however long that takes. */
		bool coming = waits ? atomic_load_explicit(&g->wake, memory_order_relaxed) != WAKE_ARMED : called || may_answer(g);
		if (coming && now < latest) {
			until = now + GIVE_NS;
			looks = 0;
		}
		futex_nap(GIVE_LOOK_NS, "another thread to be pinned");
	}
	return ktid;
}

void thread_ioprio_wish(struct g *g, int ioprio) {
	TELL(thread_of(g)->ioprio, (uint16_t)ioprio);
	sched_wish(g, SET_IOPRIO);
}

/* `policy` may have the flag. */
static int policy_set(struct g *g, int policy, int priority) {
	struct thread *t = thread_of(g);
	bool reset = policy & SCHED_RESET_ON_FORK, did_reset = TOLD(t->reset_on_fork);
	policy &= ~SCHED_RESET_ON_FORK;
	int was = TOLD(t->policy), had = TOLD(t->param.sched_priority);
	if (!policy_valid(policy, priority))
		return EINVAL;
	int r = policy_refused(policy, priority); /* not pinned for a refusal */
	if (r || (was == policy && had == priority && did_reset == reset))
		return r;
	TELL(t->policy, policy);
	TELL(t->reset_on_fork, reset);
	TELL(t->param.sched_priority, priority);
	struct sched_param param = {.sched_priority = ceiling_raises(g, priority)};
	int32_t ktid = thread_own_ktid(g);
	if (!ktid) {
		sched_wish(g, SET_POLICY);
		return 0;
	}
	r = (int)-SYS3(SYS_sched_setscheduler, ktid, thread_policy(g), &param);
	if (r) {
		TELL(t->policy, was);
		TELL(t->reset_on_fork, did_reset);
		TELL(t->param.sched_priority, had);
	}
	return r;
}

SHIM int pthread_setschedparam(pthread_t thread, int policy, const struct sched_param *param) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (g)
		return thread_ended(g) ? ESRCH : policy_set(g, policy, param->sched_priority);
	int r = real.pthread_setschedparam(thread, policy, param);
	ceiling_again();
	return r;
}

SHIM int pthread_getschedparam(pthread_t thread, int *policy, struct sched_param *param) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (!g)
		return real.pthread_getschedparam(thread, policy, param);
	if (thread_ended(g))
		return ESRCH;
	*policy = thread_policy(g);
	param->sched_priority = TOLD(thread_of(g)->param.sched_priority);
	return 0;
}

SHIM int pthread_setschedprio(pthread_t thread, int priority) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (g)
		return thread_ended(g) ? ESRCH : policy_set(g, thread_policy(g), priority);
	int r = real.pthread_setschedprio(thread, priority);
	ceiling_again();
	return r;
}

/* ---- affinity -------------------------------------------------------------------------------------------------------- */

static int affinity_set(struct g *g, size_t size, const cpu_set_t *set) {
	struct thread *t = thread_of(g);
	uint32_t number, had = TOLD(t->cpus);
	int r = cpus_wished(size, set, &number);
	/* All that the process may use is no wish. */
	if (r || (!number && !had && !g_pinned(g)))
		return r;
	TELL(t->cpus, number);
	int32_t ktid = thread_own_ktid(g);
	if (!ktid) {
		sched_wish(g, SET_CPUS);
		return 0;
	}
	r = (int)-SYS3(SYS_sched_setaffinity, ktid, size, set);
	if (r)
		TELL(t->cpus, had);
	return r;
}

int thread_affinity_get(struct g *g, size_t size, cpu_set_t *set) {
	uint32_t number = TOLD(thread_of(g)->cpus);
	int32_t own = g_own_ktid(g);
	memset(set, 0, size);
	long r = own ? SYS3(SYS_sched_getaffinity, own, size, set) : process_cpus(size, set);
	if (r < 0)
		return (int)-r;
	if (number && !own) {
		memset(set, 0, size);
		memcpy(set, set_of(number), size < sizeof *set ? size : sizeof *set);
	}
	return 0;
}

SHIM int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	return g ? affinity_set(g, size, set) : real.pthread_setaffinity_np(thread, size, set);
}

SHIM int pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t *set) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	return g ? thread_affinity_get(g, size, set) : real.pthread_getaffinity_np(thread, size, set);
}

/* ---- new threads -------------------------------------------------------------------------------------------------------- */

/* Which of policy and parameters an attribute names: glibc's flags, the third word of its structure since ever. */
enum { ATTR_PARAM_SET = 0x20, ATTR_POLICY_SET = 0x40 };
static int attr_flags(const pthread_attr_t *attr) {
	int word[3];
	memcpy(word, attr, sizeof word);
	return word[2];
}

int thread_sched_of(const pthread_attr_t *attr, struct g *creator, struct thread_sched *out) {
	struct thread *t = creator ? thread_of(creator) : NULL;
	*out = (struct thread_sched){.policy = process_policy, .priority = process_priority};
	if (t)
		*out = (struct thread_sched){TOLD(t->policy), TOLD(t->param.sched_priority), TOLD(t->nice), TOLD(t->ioprio), TOLD(t->written_down), TOLD(t->cpus)};
	if (unlikely(t && TOLD(t->reset_on_fork))) { /* as the kernel does it */
		if (out->policy == SCHED_FIFO || out->policy == SCHED_RR)
			*out = (struct thread_sched){SCHED_OTHER, 0, 0, out->ioprio, out->written_down & ~(SET_POLICY | SET_NICE), out->cpus};
		else if (out->nice < 0)
			out->nice = 0;
	}
	if (likely(!attr))
		return 0;
	/* What it has from the kernel: its creator's, if that has a kernel thread, of which its own is made then. */
	bool pinned = creator && g_pinned(creator);
	int policy = pinned ? out->policy : process_policy, priority = pinned ? out->priority : process_priority;
	int inherit = PTHREAD_INHERIT_SCHED;
	real.pthread_attr_getinheritsched(attr, &inherit);
	if (inherit == PTHREAD_EXPLICIT_SCHED) {
		struct sched_param param = {0};
		/* What it does not name is the creator's all the same. */
		if (attr_flags(attr) & ATTR_POLICY_SET)
			real.pthread_attr_getschedpolicy(attr, &out->policy);
		if (attr_flags(attr) & ATTR_PARAM_SET) {
			real.pthread_attr_getschedparam(attr, &param);
			out->priority = param.sched_priority;
		}
		if (!policy_valid(out->policy, out->priority))
			return EINVAL;
		if (policy_refused(out->policy, out->priority) != 0)
			return EPERM;
		bool lacks = out->policy != policy || out->priority != priority;
		out->written_down = (uint8_t)((out->written_down & ~SET_POLICY) | (lacks ? SET_POLICY : 0));
	}
	cpu_set_t set;
	unsigned char unset[sizeof set];
	memset(unset, 0xff, sizeof unset); /* libc's answer for an attribute that names no CPUs */
	if (real.pthread_attr_getaffinity_np(attr, sizeof set, &set) != 0 || memcmp(&set, unset, sizeof set) == 0)
		return 0;
	int r = cpus_wished(sizeof set, &set, &out->cpus);
	bool lacks = out->cpus != 0 || pinned;
	out->written_down = (uint8_t)((out->written_down & ~SET_CPUS) | (lacks ? SET_CPUS : 0));
	return r;
}

void thread_sched_apply(struct g *g, const struct thread_sched *s) {
	struct thread *t = thread_of(g);
	t->policy = s->policy;
	t->param.sched_priority = s->priority;
	t->nice = s->nice;
	t->ioprio = s->ioprio;
	t->cpus = s->cpus;
	t->written_down = s->written_down;
	if (unlikely(s->written_down))
		g_wish_new(g);
}

/* ---- the same, by thread id ------------------------------------------------------------------------------------------------ */

static bool has_number(struct g *g, pid_t tid) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	/* relaxed: one that is just being made is nobody's to name yet */
	return __atomic_load_n(&g->tid, __ATOMIC_RELAXED) == tid && __atomic_load_n(&g->kind, __ATOMIC_RELAXED) <= G_MAIN && state != GS_DEAD && state != GS_IDLE;
}

/* Who asks for each of thousands of threads would go through all of them each time: so who is met on the way is noted. Numbers are given in sequence. Gs are never freed: a
 * note that is stale is merely refused. */
struct g *thread_numbered(pid_t tid) {
	static _Atomic(struct g *) met[NUMBERS_NOTED];
	if (tid < TID_FIRST && tid != (pid_t)SYS0(SYS_getpid)) /* another process's; main's is this one's */
		return NULL;
	/* acquire: pairs with the release below; who noted it had it from the list of all */
	struct g *noted = atomic_load_explicit(&met[(uint32_t)tid % NUMBERS_NOTED], memory_order_acquire);
	if (noted && has_number(noted, tid))
		return noted;
	for (struct g *g = g_all(); g; g = g->all_next) {
		int32_t number = __atomic_load_n(&g->tid, __ATOMIC_RELAXED);
		if (!has_number(g, number))
			continue;
		atomic_store_explicit(&met[(uint32_t)number % NUMBERS_NOTED], g, memory_order_release);
		if (number == tid)
			return g;
	}
	return NULL;
}

struct g *thread_meant(pid_t tid) {
	struct g *self = g_goroutine();
	if (!self || self->in_vfork || tid == 0 || tid == self->tid)
		return self && !self->in_vfork ? self : NULL;
	return thread_numbered(tid);
}

static int errno_ret(int error) {
	if (error)
		errno = error;
	return error ? -1 : 0;
}

/* libc's looks at the rseq area of its thread, which most goroutines do not have, nor has who was one when it forked: core/tcb.c. */
SHIM int sched_getcpu(void) {
	REAL_READY();
	unsigned cpu = 0;
	if (!tls_g || !tls_g->tcb_cut)
		return real.sched_getcpu();
	return real.getcpu(&cpu, NULL) == 0 ? (int)cpu : -1;
}

/* Here and below a bad address is the kernel's to refuse. */
SHIM int sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *set) {
	REAL_READY();
	struct g *g = address_refused(set, size, false) ? NULL : thread_meant(tid);
	return g ? errno_ret(affinity_set(g, size, set)) : real.sched_setaffinity(tid, size, set);
}

SHIM int sched_getaffinity(pid_t tid, size_t size, cpu_set_t *set) {
	REAL_READY();
	struct g *g = address_refused(set, size, true) ? NULL : thread_meant(tid);
	return g ? errno_ret(thread_affinity_get(g, size, set)) : real.sched_getaffinity(tid, size, set);
}

SHIM int sched_setscheduler(pid_t tid, int policy, const struct sched_param *param) {
	REAL_READY();
	struct g *g = address_bad(param) ? NULL : thread_meant(tid);
	return g ? errno_ret(policy_set(g, policy, param->sched_priority)) : real.sched_setscheduler(tid, policy, param);
}

SHIM int sched_getscheduler(pid_t tid) {
	REAL_READY();
	struct g *g = thread_meant(tid);
	return g ? thread_policy(g) : real.sched_getscheduler(tid);
}

SHIM int sched_setparam(pid_t tid, const struct sched_param *param) {
	REAL_READY();
	struct g *g = address_bad(param) ? NULL : thread_meant(tid);
	return g ? errno_ret(policy_set(g, thread_policy(g), param->sched_priority)) : real.sched_setparam(tid, param);
}

SHIM int sched_getparam(pid_t tid, struct sched_param *param) {
	REAL_READY();
	struct g *g = address_unwritable(param) ? NULL : thread_meant(tid);
	if (!g)
		return real.sched_getparam(tid, param);
	param->sched_priority = ceiling_raises(g, TOLD(thread_of(g)->param.sched_priority));
	return 0;
}

/* A group or a user, and this process may be of it: then the kernel has changed all our kernel threads, and the answer is to be changed with them. */
static void nice_of_all(void) {
	struct g *held = rt_hold();
	lock_acquire(&sched_lock, LOCK_STACK); /* nobody just tries another on it */
	long nice = SYS2(SYS_getpriority, PRIO_PROCESS, thread_of_process());
	lock_release(&sched_lock);
	rt_drop(held);
	if (!sched_started() || nice < 0)
		return;
	int now = 20 - (int)nice;
	if (__atomic_exchange_n(&process_nice, now, __ATOMIC_RELAXED) == now)
		return;
	for (struct g *g = g_all(); g; g = g->all_next) {
		if (__atomic_load_n(&g->kind, __ATOMIC_RELAXED) <= G_MAIN)
			TELL(thread_of(g)->nice, now);
	}
}

/* Main's number is the process's, and its nice value what people see. */
SHIM int setpriority(__priority_which_t which, id_t who, int nice) {
	REAL_READY();
	struct g *g = which == PRIO_PROCESS ? thread_meant((pid_t)who) : NULL;
	if (!g) {
		int r = real.setpriority(which, who, nice);
		if (r == 0 && which != PRIO_PROCESS)
			nice_of_all();
		return r;
	}
	nice = nice < -20 ? -20 : nice > 19 ? 19 : nice;
	int was = TOLD(thread_of(g)->nice);
	if (g->kind == G_MAIN) {
		int r = real.setpriority(which, (id_t)SYS0(SYS_getpid), nice);
		if (r == 0) {
			TELL(thread_of(g)->nice, nice);
			TELL(main_nice, nice);
			TELL(main_niced, true);
			if (g_pinned(g)) /* perhaps to another than the first */
				SYS3(SYS_setpriority, PRIO_PROCESS, g_own_ktid(g), nice);
		}
		return r;
	}
	int refused = nice < was ? nice_refused(nice) : 0; /* not pinned for a refusal */
	if (refused || nice == was)
		return errno_ret(refused);
	TELL(thread_of(g)->nice, nice);
	int32_t ktid = thread_own_ktid(g);
	if (!ktid) {
		sched_wish(g, SET_NICE);
	} else if (real.setpriority(which, (id_t)ktid, nice) < 0) {
		TELL(thread_of(g)->nice, was);
		return -1;
	}
	return 0;
}

SHIM int getpriority(__priority_which_t which, id_t who) {
	REAL_READY();
	struct g *g = which == PRIO_PROCESS ? thread_meant((pid_t)who) : NULL;
	if (!g)
		return real.getpriority(which, who);
	return g->kind == G_MAIN ? real.getpriority(which, (id_t)SYS0(SYS_getpid)) : TOLD(thread_of(g)->nice);
}

/* libc's asks and sets by system calls of its own, which are about the kernel thread. Clamped: what is beyond 40 leads to the same. */
SHIM int nice(int more) {
	REAL_READY();
	if (!thread_meant(0))
		return real.nice(more);
	int saved = errno;
	more = more < -40 ? -40 : more > 40 ? 40 : more;
	if (setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + more) < 0) {
		if (errno == EACCES)
			errno = EPERM;
		return -1;
	}
	errno = saved;
	return getpriority(PRIO_PROCESS, 0);
}
