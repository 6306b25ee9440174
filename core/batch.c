/* Ms whose waking interrupts nobody (SCHED_BATCH), where that serves more.
 *
 * An M that waits for the network is woken for the first answer that comes, and as a rule the kernel lets a thread that has slept run at once: the M interrupts
 * whoever runs on that CPU, finds one answer, serves it, and sleeps again. Where the one that is interrupted is the peer (a database on the same machine, a client), which
 * was about to send more, each answer costs two switches of the CPU, where natively thousands of threads that are queued behind it cost none. A thread with
 * SCHED_BATCH waits until the CPU is free or its owner's time is up, and then finds all answers that have come. But beside programs that compute the same
 * means less CPU and later answers. Which of them it is nobody knows beforehand, so it is tried, as the number of Ps is (climb.c), by what serves more; in doubt
 * Ms are as the program's threads would be.
 *
 * sysmon decides (sched.batch); an M follows by itself when it is about to wait, because only waking makes a difference. So the kernel is told by the thread it
 * concerns, and nothing here is locked: m->batch and m->never_batch are the M's own. The policy is seen from outside only (chrt -p, /proc): the program is told what it
 * has set (shims/threadsched.c), and what inherits from a kernel thread (a child, a new program, a thread made from a pinned one's) finds it as it was:
 * m_batch_leave() comes before.
 *
 * Not where the process has been given another policy, nor where a filter of system calls kills who asks for one (sysmon.c), nor from when the program installs one: Ms stay as
 * they are then. */
#include <sched.h>

#include "batch.h"
#include "climb.h"
#include "procs.h"
#include "runtime.h"

enum { AS_BATCH = 1, AS_ALWAYS = 2 }; /* what climb.c chooses from */

static struct climb climb; /* sysmon's */
static _Atomic bool allowed;

static void use(uint32_t way) {
	/* relaxed: Ms see it when they next wait, or the time after */
	atomic_store_explicit(&sched.batch, way == AS_BATCH || sched_config.batch == 2, memory_order_relaxed);
}

void batch_allow(void) {
	climb.not_ps = true;
	climb_reset(&climb, AS_ALWAYS);
	/* relaxed, as its readers: who forbids it later comes later, and else it makes no difference when it is seen */
	atomic_store_explicit(&allowed, sched_config.batch != 0, memory_order_relaxed);
	use(AS_ALWAYS);
}

void batch_forbid(void) {
	atomic_store_explicit(&allowed, false, memory_order_relaxed);
}

static bool is_allowed(void) {
	return atomic_load_explicit(&allowed, memory_order_relaxed);
}

bool batch_trying(void) {
	return climb.trying && is_allowed(); /* one that is forbidden in the middle does not end by itself */
}

void batch_look(int64_t now, bool computes) {
	if (!is_allowed() || sched_config.batch == 2)
		return;
	if (chaos(CHAOS_PROCS)) {
		use(atomic_load_explicit(&sched.batch, memory_order_relaxed) ? AS_ALWAYS : AS_BATCH);
		return;
	}
	if (computes) {
		use(climb_computes(&climb, now));
	} else if (climb_due(&climb, AS_ALWAYS, now)) {
		struct climb_look look = procs_look();
		use(climb_next(&climb, AS_ALWAYS, &look));
	}
}

void batch_over(void) {
	if (!is_allowed())
		return;
	climb_idle(&climb);
	use(AS_ALWAYS);
}

/* From one policy to the other, if nobody else has given it one meanwhile. */
static bool policy_change(int from, int to) {
	int priority = 0; /* a struct sched_param */
	return SYS2(SYS_sched_getscheduler, 0, 0) == from && SYS3(SYS_sched_setscheduler, 0, to, &priority) == 0;
}

void batch_change(struct m *m) {
	bool batch = !m->batch;
	if (!is_allowed() || m->never_batch || m->pinned)
		return;
	if (policy_change(m->batch ? SCHED_BATCH : SCHED_OTHER, batch ? SCHED_BATCH : SCHED_OTHER))
		m->batch = batch;
	else
		m->never_batch = true;
}

void m_batch_leave(struct m *m) {
	if (m->batch && is_allowed())
		policy_change(SCHED_BATCH, SCHED_OTHER);
	m->batch = false;
	m->never_batch = true;
}

void batch_fork_child(void) {
	batch_forbid(); /* until there is a sysmon, which allows it */
	climb_reset(&climb, AS_ALWAYS);
}
