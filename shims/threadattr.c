/* What a thread is called, where its stack is, how it is scheduled.
 *
 * Names are kept in the goroutine (NPTL keeps them in the kernel thread). A goroutine that sets its own affinity, policy or nice value is pinned
 * (pinned.c), and they are its kernel thread's from then on. What others set for one, or its attributes ask for, is remembered and reported, and
 * takes effect only if it is pinned already: a kernel thread that runs others must not be changed (SEC-1). */
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "../core/stack.h"
#include "../core/runtime.h"
#include "ceiling.h"
#include "pinned.h"
#include "thread.h"

bool thread_default_attr_set;

SHIM int pthread_setattr_default_np(const pthread_attr_t *attr) {
	REAL_READY();
	int r = real.pthread_setattr_default_np(attr);
	if (r == 0)
		thread_default_attr_set = true;
	return r;
}

/* The size pthread_attr_getstacksize() reports for an attribute that never set one. */
size_t thread_default_stack(void) {
	static _Atomic size_t cached;
	size_t size = atomic_load_explicit(&cached, memory_order_relaxed);
	if (!size) {
		pthread_attr_t attr;
		if (real.pthread_attr_init(&attr) != 0)
			return 0;
		real.pthread_attr_getstacksize(&attr, &size);
		real.pthread_attr_destroy(&attr);
		atomic_store_explicit(&cached, size, memory_order_relaxed);
	}
	return size;
}

/* glibc's pthread_attr_getstack returns (0 - size) as the address when none was set. */
bool thread_attr_has_stack(const pthread_attr_t *attr) {
	void *lo;
	size_t size;
	real.pthread_attr_getstack(attr, &lo, &size);
	return (uintptr_t)lo < (1ul << 56);
}

static int affinity_get(struct g *g, size_t size, cpu_set_t *set);

SHIM int pthread_getattr_np(pthread_t thread, pthread_attr_t *attr) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (!g || g->kind == G_MAIN)
		return real.pthread_getattr_np(thread, attr);
	int r = real.pthread_attr_init(attr);
	if (r)
		return r;
	struct thread *t = thread_of(g);
	real.pthread_attr_setdetachstate(attr, atomic_load(&t->life) == THREAD_DETACHED ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
	real.pthread_attr_setguardsize(attr, g->stack.guard);
	cpu_set_t cpus;
	if (affinity_get(g, sizeof cpus, &cpus) == 0)
		real.pthread_attr_setaffinity_np(attr, sizeof cpus, &cpus);
	/* The true bounds (MEM-11): everything in them is readable. */
	return real.pthread_attr_setstack(attr, g->stack.lo, (size_t)(g->stack.hi - g->stack.lo));
}

/* The kernel's name of the process is its first thread's. */
static int main_name_write(const char *name, size_t n) {
	char path[40];
	snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)SYS0(SYS_getpid));
	long fd = SYS4(SYS_openat, -100, path, 02000001 /* O_WRONLY | O_CLOEXEC */, 0);
	if (fd < 0)
		return (int)-fd;
	long r = SYS3(SYS_write, fd, name, n);
	SYS1(SYS_close, fd);
	return r < 0 ? (int)-r : 0;
}

/* Main's name when the runtime started, or as it was set since: what a thread made by a foreign thread inherits. */
static char process_name[THREAD_NAME_BYTES];

void thread_attr_start(struct g *g) {
	struct thread *t = thread_of(g);
	SYS2(SYS_prctl, PR_GET_NAME, t->name);
	memcpy(process_name, t->name, THREAD_NAME_BYTES);
	thread_sched_reread(g, 0);
}

void thread_sched_reread(struct g *g, pid_t ktid) {
	struct thread *t = thread_of(g);
	long policy = SYS1(SYS_sched_getscheduler, ktid), nice = SYS2(SYS_getpriority, PRIO_PROCESS, ktid);
	t->policy = policy < 0 ? SCHED_OTHER : (int)policy & ~SCHED_RESET_ON_FORK;
	t->param = (struct sched_param){0};
	if (t->policy != SCHED_OTHER)
		SYS2(SYS_sched_getparam, ktid, &t->param);
	t->nice = nice < 0 ? 0 : 20 - (int)nice; /* the kernel's own form is never negative */
}

void thread_name_inherit(struct g *g, struct g *creator) {
	memcpy(thread_of(g)->name, creator ? thread_of(creator)->name : process_name, THREAD_NAME_BYTES);
}

int thread_name_set(struct g *g, const char *name, size_t n) {
	int r = g->kind == G_MAIN ? main_name_write(name, n) : 0;
	if (r)
		return r;
	memcpy(thread_of(g)->name, name, n);
	thread_of(g)->name[n] = '\0';
	if (g->kind == G_MAIN)
		memcpy(process_name, thread_of(g)->name, THREAD_NAME_BYTES);
	return 0;
}

/* Main's from the kernel: a program may write to its /proc/self/comm. */
void thread_name_get(struct g *g, char out[THREAD_NAME_BYTES]) {
	memcpy(out, thread_of(g)->name, THREAD_NAME_BYTES);
	if (g->kind == G_MAIN) {
		char path[40];
		snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)SYS0(SYS_getpid));
		long fd = SYS4(SYS_openat, -100, path, 02000000 /* O_CLOEXEC */, 0);
		long r = fd < 0 ? -1 : SYS3(SYS_read, fd, out, THREAD_NAME_BYTES);
		if (fd >= 0)
			SYS1(SYS_close, fd);
		if (r > 0)
			out[r - 1] = '\0';
	}
}

SHIM int pthread_setname_np(pthread_t thread, const char *name) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (!g)
		return real.pthread_setname_np(thread, name);
	size_t n = strlen(name);
	if (n >= THREAD_NAME_BYTES)
		return ERANGE;
	return thread_ended(g) ? ENOENT : thread_name_set(g, name, n);
}

SHIM int pthread_getname_np(pthread_t thread, char *buf, size_t size) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	char name[THREAD_NAME_BYTES];
	if (!g)
		return real.pthread_getname_np(thread, buf, size);
	if (size < THREAD_NAME_BYTES)
		return ERANGE;
	if (thread_ended(g))
		return ENOENT; /* as the file in /proc that libc reads */
	thread_name_get(g, name);
	memcpy(buf, name, THREAD_NAME_BYTES);
	return 0;
}

SHIM int prctl(int option, ...) {
	REAL_READY();
	va_list ap;
	va_start(ap, option);
	unsigned long a = va_arg(ap, unsigned long), b = va_arg(ap, unsigned long), c = va_arg(ap, unsigned long),
	              d = va_arg(ap, unsigned long);
	va_end(ap);
	struct g *g = g_goroutine();
	if (g && !g->in_vfork && option == PR_SET_NAME && !address_bad((const char *)a)) {
		char name[THREAD_NAME_BYTES] = "";
		strncpy(name, (const char *)a, THREAD_NAME_BYTES - 1);
		thread_name_set(g, name, strlen(name));
		return 0;
	}
	if (g && !g->in_vfork && option == PR_GET_NAME && !address_refused((void *)a, THREAD_NAME_BYTES, true)) {
		char name[THREAD_NAME_BYTES];
		thread_name_get(g, name);
		memcpy((char *)a, name, THREAD_NAME_BYTES);
		return 0;
	}
	if (pinned_prctl(option))
		pin_self();
	return (int)sys_ret(SYS5(SYS_prctl, option, a, b, c, d));
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

/* May this process have real-time threads at all? Asked of the kernel's own rule: privilege or RLIMIT_RTPRIO. */
static bool realtime_allowed(int priority) {
	struct rlimit rl;
	return SYS0(SYS_geteuid) == 0 || (SYS4(SYS_prlimit64, 0, RLIMIT_RTPRIO, 0, &rl) == 0 && rl.rlim_cur >= (rlim_t)priority);
}

int32_t thread_own_ktid(struct g *g) {
	if (g == g_goroutine())
		pin_self();
	return g_pinned(g) ? atomic_load_explicit(&g->wired_m->ktid, memory_order_relaxed) : 0;
}

static int policy_set(struct g *g, int policy, int priority) {
	if (!policy_valid(policy, priority))
		return EINVAL;
	if (priority > 0 && !realtime_allowed(priority))
		return EPERM;
	bool changes = thread_of(g)->policy != policy || thread_of(g)->param.sched_priority != priority;
	struct sched_param param = {.sched_priority = ceiling_raises(g, priority)};
	int32_t ktid = changes ? thread_own_ktid(g) : 0;
	long r = ktid ? SYS3(SYS_sched_setscheduler, ktid, policy, &param) : 0;
	if (r < 0)
		return (int)-r;
	thread_of(g)->policy = policy;
	thread_of(g)->param.sched_priority = priority;
	return 0;
}

SHIM int pthread_setschedparam(pthread_t thread, int policy, const struct sched_param *param) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (g)
		return policy_set(g, policy, param->sched_priority);
	int r = real.pthread_setschedparam(thread, policy, param);
	ceiling_again();
	return r;
}

SHIM int pthread_getschedparam(pthread_t thread, int *policy, struct sched_param *param) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (!g)
		return real.pthread_getschedparam(thread, policy, param);
	*policy = thread_of(g)->policy;
	*param = thread_of(g)->param;
	return 0;
}

SHIM int pthread_setschedprio(pthread_t thread, int priority) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (g)
		return policy_set(g, thread_of(g)->policy, priority);
	int r = real.pthread_setschedprio(thread, priority);
	ceiling_again();
	return r;
}

/* ---- affinity -------------------------------------------------------------------------------------------------------- */

int32_t thread_of_process(void) {
	int32_t sysmon = sig_sysmon_ktid();
	return sysmon ? sysmon : (int32_t)SYS0(SYS_getpid);
}

static struct lock cpus_lock; /* what thread_of_process() has, which affinity_wish() changes for a moment; LOCK_STACK */

static long process_cpus(size_t size, void *set) {
	struct g *held = rt_hold();
	lock_acquire(&cpus_lock, LOCK_STACK);
	long n = SYS3(SYS_sched_getaffinity, thread_of_process(), size, set);
	lock_release(&cpus_lock);
	rt_drop(held);
	return n;
}

static uint64_t cpus_word(const unsigned char *cpus) {
	uint64_t word;
	memcpy(&word, cpus, sizeof word);
	return word;
}

/* What of `set` the kernel would give a thread of this process; EINVAL if nothing. Not what the process's threads have is the bound to that (main may have bound
 * itself, and all others were made after that), but the CPUs of its control group, and who asks the kernel for them has them: so sysmon asks, whom it
 * does not hurt, and has its own back at once. CPUs above 63 are checked and not remembered. *all: it is what the process has. */
static int affinity_wish(size_t size, const cpu_set_t *set, uint64_t *wish, bool *all) {
	unsigned char own[1024] = {0}, granted[1024] = {0};
	const unsigned char *asked = (const unsigned char *)set;
	bool possible = false, more = false;
	int32_t tid = thread_of_process();
	struct g *held = rt_hold();
	lock_acquire(&cpus_lock, LOCK_STACK);
	long n = SYS3(SYS_sched_getaffinity, tid, sizeof own, own);
	for (size_t i = 0; i < size && i < sizeof own; i++) {
		granted[i] = own[i] & asked[i];
		more |= granted[i] != asked[i];
	}
	if (more && n > 0 && SYS3(SYS_sched_setaffinity, tid, size, set) == 0) {
		SYS3(SYS_sched_getaffinity, tid, sizeof granted, granted);
		SYS3(SYS_sched_setaffinity, tid, n, own);
	}
	lock_release(&cpus_lock);
	rt_drop(held);
	for (size_t i = 0; i < sizeof granted; i++)
		possible |= granted[i] != 0;
	*wish = cpus_word(granted);
	*all = *wish == cpus_word(own);
	return possible ? 0 : EINVAL;
}

static int affinity_set(struct g *g, size_t size, const cpu_set_t *set) {
	uint64_t wish;
	bool all;
	int r = affinity_wish(size, set, &wish, &all);
	/* All that the process may use is no wish. */
	if (r == 0 && (!all || thread_of(g)->affinity)) {
		int32_t ktid = thread_own_ktid(g);
		long set_r = ktid ? SYS3(SYS_sched_setaffinity, ktid, size, set) : 0;
		r = set_r < 0 ? (int)-set_r : 0;
		if (r == 0)
			thread_of(g)->affinity = wish;
	}
	return r;
}

static int affinity_get(struct g *g, size_t size, cpu_set_t *set) {
	uint64_t wish = thread_of(g)->affinity;
	memset(set, 0, size);
	long r = process_cpus(size, set);
	if (r < 0)
		return (int)-r;
	if (wish) {
		memset(set, 0, size);
		memcpy(set, &wish, size < sizeof wish ? size : sizeof wish);
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
	return g ? affinity_get(g, size, set) : real.pthread_getaffinity_np(thread, size, set);
}

/* ---- new threads -------------------------------------------------------------------------------------------------------- */

int thread_sched_of(const pthread_attr_t *attr, struct g *creator, struct thread_sched *out) {
	struct thread *t = creator ? thread_of(creator) : NULL;
	*out = (struct thread_sched){0};
	if (t)
		*out = (struct thread_sched){t->policy, t->param.sched_priority, t->nice, t->ioprio, t->affinity};
	if (likely(!attr))
		return 0;
	int inherit = PTHREAD_INHERIT_SCHED;
	real.pthread_attr_getinheritsched(attr, &inherit);
	if (inherit == PTHREAD_EXPLICIT_SCHED) {
		struct sched_param param = {0};
		real.pthread_attr_getschedpolicy(attr, &out->policy);
		real.pthread_attr_getschedparam(attr, &param);
		out->priority = param.sched_priority;
		if (!policy_valid(out->policy, out->priority))
			return EINVAL;
		if (out->priority > 0 && !realtime_allowed(out->priority))
			return EPERM;
	}
	cpu_set_t set;
	bool all;
	unsigned char unset[sizeof set];
	memset(unset, 0xff, sizeof unset); /* libc's answer for an attribute that names no CPUs */
	if (real.pthread_attr_getaffinity_np(attr, sizeof set, &set) == 0 && memcmp(&set, unset, sizeof set) != 0)
		return affinity_wish(sizeof set, &set, &out->affinity, &all);
	return 0;
}

void thread_sched_apply(struct g *g, const struct thread_sched *s) {
	struct thread *t = thread_of(g);
	t->policy = s->policy;
	t->param.sched_priority = s->priority;
	t->nice = s->nice;
	t->ioprio = s->ioprio;
	t->affinity = s->affinity;
}

/* ---- the same, by thread id ------------------------------------------------------------------------------------------------ */

struct g *thread_numbered(pid_t tid) {
	for (struct g *g = g_all(); g; g = g->all_next) {
		uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
		/* relaxed: one that is just being made is nobody's to name yet */
		if (__atomic_load_n(&g->tid, __ATOMIC_RELAXED) == tid && __atomic_load_n(&g->kind, __ATOMIC_RELAXED) <= G_MAIN && state != GS_DEAD && state != GS_IDLE)
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

/* Here and below a bad address is the kernel's to refuse. */
SHIM int sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *set) {
	REAL_READY();
	struct g *g = address_refused(set, size, false) ? NULL : thread_meant(tid);
	return g ? errno_ret(affinity_set(g, size, set)) : real.sched_setaffinity(tid, size, set);
}

SHIM int sched_getaffinity(pid_t tid, size_t size, cpu_set_t *set) {
	REAL_READY();
	struct g *g = address_refused(set, size, true) ? NULL : thread_meant(tid);
	return g ? errno_ret(affinity_get(g, size, set)) : real.sched_getaffinity(tid, size, set);
}

SHIM int sched_setscheduler(pid_t tid, int policy, const struct sched_param *param) {
	REAL_READY();
	struct g *g = address_bad(param) ? NULL : thread_meant(tid);
	return g ? errno_ret(policy_set(g, policy & ~SCHED_RESET_ON_FORK, param->sched_priority)) : real.sched_setscheduler(tid, policy, param);
}

SHIM int sched_getscheduler(pid_t tid) {
	REAL_READY();
	struct g *g = thread_meant(tid);
	return g ? thread_of(g)->policy : real.sched_getscheduler(tid);
}

SHIM int sched_setparam(pid_t tid, const struct sched_param *param) {
	REAL_READY();
	struct g *g = address_bad(param) ? NULL : thread_meant(tid);
	return g ? errno_ret(policy_set(g, thread_of(g)->policy, param->sched_priority)) : real.sched_setparam(tid, param);
}

SHIM int sched_getparam(pid_t tid, struct sched_param *param) {
	REAL_READY();
	struct g *g = address_unwritable(param) ? NULL : thread_meant(tid);
	if (!g)
		return real.sched_getparam(tid, param);
	*param = thread_of(g)->param;
	param->sched_priority = ceiling_raises(g, param->sched_priority);
	return 0;
}

/* The nice value of a thread other than main, in name. Main's number is the process's, and its nice value what people see. */
SHIM int setpriority(__priority_which_t which, id_t who, int nice) {
	REAL_READY();
	struct g *g = which == PRIO_PROCESS ? thread_meant((pid_t)who) : NULL;
	struct rlimit rl;
	if (!g)
		return real.setpriority(which, who, nice);
	nice = nice < -20 ? -20 : nice > 19 ? 19 : nice;
	if (g->kind == G_MAIN) {
		int r = real.setpriority(which, (id_t)SYS0(SYS_getpid), nice);
		if (r == 0)
			thread_of(g)->nice = nice;
		return r;
	}
	if (nice < thread_of(g)->nice && SYS0(SYS_geteuid) != 0 &&
	    (SYS4(SYS_prlimit64, 0, RLIMIT_NICE, 0, &rl) < 0 || (rlim_t)(20 - nice) > rl.rlim_cur))
		return errno_ret(EACCES);
	int32_t ktid = thread_of(g)->nice != nice ? thread_own_ktid(g) : 0;
	if (ktid && real.setpriority(which, (id_t)ktid, nice) < 0)
		return -1;
	thread_of(g)->nice = nice;
	return 0;
}

SHIM int getpriority(__priority_which_t which, id_t who) {
	REAL_READY();
	struct g *g = which == PRIO_PROCESS ? thread_meant((pid_t)who) : NULL;
	if (!g)
		return real.getpriority(which, who);
	return g->kind == G_MAIN ? real.getpriority(which, (id_t)SYS0(SYS_getpid)) : thread_of(g)->nice;
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
