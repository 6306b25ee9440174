/* Priority ceilings (PTHREAD_PRIO_PROTECT): who holds such a mutex has at least its priority, and who has more to begin with may not take it.
 *
 * As in libc, the kernel's thread is raised and lowered, so the caller is pinned to one of its own (SEC-1), and a thread without real-time policy
 * cannot take such a mutex at all: the kernel's EINVAL. Counted per thread and ceiling, by the thread itself: no lock. A thread that was refused is
 * counted all the same and not refused again, which is libc's way, too.
 *
 * Before the runtime has started there is main only, and libc knows its priority. Kernel threads that are no goroutines are left alone. */
#include <errno.h>
#include <sched.h>

#include "../core/slab.h"
#include "ceiling.h"
#include "shim.h"
#include "thread.h"

enum { PRIORITIES = 100 };

struct ceilings {
	int highest; /* 0: none */
	uint32_t count[PRIORITIES];
};

static struct ceilings of_main; /* as long as it lives, and its runtime does not matter */

static struct ceilings *ceilings_of(struct g *g) {
	if (!g)
		return !sched_started() && SYS0(SYS_gettid) == SYS0(SYS_getpid) ? &of_main : NULL;
	return g->kind == G_MAIN ? &of_main : thread_of(g)->ceilings;
}

static struct ceilings *ceilings_make(struct g *g) {
	struct ceilings *c = ceilings_of(g);
	if (c || !g)
		return c;
	c = slab_alloc(sizeof *c); /* stays with the G for the threads after it */
	if (c)
		*c = (struct ceilings){0};
	return thread_of(g)->ceilings = c;
}

void ceilings_reset(struct ceilings *c) {
	if (c)
		*c = (struct ceilings){0};
}

int ceiling_raises(struct g *g, int priority) {
	struct ceilings *c = ceilings_of(g);
	return c && priority > 0 && c->highest > priority ? c->highest : priority;
}

/* What the thread itself was given. */
static int priority_own(struct g *g, int *policy) {
	struct sched_param param = {0};
	if (g) {
		*policy = thread_of(g)->policy;
		return thread_of(g)->param.sched_priority;
	}
	*policy = SCHED_OTHER;
	real.pthread_getschedparam(pthread_self(), policy, &param);
	return param.sched_priority;
}

static int priority_put(struct g *g, int policy, int priority) {
	struct sched_param param = {.sched_priority = priority};
	if (policy != SCHED_FIFO && policy != SCHED_RR)
		return priority ? EINVAL : 0; /* the kernel's answer, without a kernel thread of its own for it */
	int32_t ktid = g ? thread_own_ktid(g) : 0;
	if (g)
		policy = thread_policy(g);
	return (int)-SYS3(SYS_sched_setscheduler, ktid, policy, &param);
}

/* From `before` to c->highest. */
static int highest_changed(struct g *g, const struct ceilings *c, int before) {
	int policy, own = priority_own(g, &policy);
	if (own >= c->highest && own >= before)
		return 0;
	return priority_put(g, policy, own > c->highest ? own : c->highest);
}

int ceiling_enter(int ceiling) {
	REAL_READY();
	struct g *g = g_goroutine();
	struct ceilings *c = ceilings_make(g);
	int policy, before;
	if (ceiling >= PRIORITIES)
		return EINVAL;
	if (!c)
		return g ? ENOMEM : 0;
	if (priority_own(g, &policy) > ceiling)
		return EINVAL;
	c->count[ceiling]++;
	before = c->highest;
	if (ceiling <= before)
		return 0;
	c->highest = ceiling;
	return highest_changed(g, c, before);
}

int ceiling_leave(int ceiling) {
	struct g *g = g_goroutine();
	struct ceilings *c = ceilings_of(g);
	if (!c || ceiling >= PRIORITIES || c->count[ceiling] == 0 || --c->count[ceiling] != 0 || ceiling != c->highest)
		return 0;
	while (c->highest > 0 && c->count[c->highest] == 0)
		c->highest--;
	return highest_changed(g, c, ceiling);
}

/* libc has set main's own priority, before the runtime has started. */
void ceiling_again(void) {
	if (!sched_started() && of_main.highest > 0)
		highest_changed(NULL, &of_main, of_main.highest);
}

/* Libc is told its own priority, as it would know it: it knows the thread from now on, and the kernel's number for it. */
void ceiling_fork_child(struct g *g) {
	if (!g && !sched_started())
		return; /* it was so in the parent */
	struct ceilings *c = ceilings_of(g);
	of_main = c ? *c : (struct ceilings){0};
	if (of_main.highest == 0 || thread_of(g)->reset_on_fork)
		return;
	int policy;
	struct sched_param param = {.sched_priority = priority_own(g, &policy)};
	if (real.pthread_setschedparam(pthread_self(), policy, &param) == 0)
		highest_changed(NULL, &of_main, 0);
}

/* Raised already. */
void ceiling_start(struct g *g) {
	int policy;
	if (of_main.highest > 0)
		__atomic_store_n(&thread_of(g)->param.sched_priority, priority_own(NULL, &policy), __ATOMIC_RELAXED);
}
