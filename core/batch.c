/* Ms whose waking interrupts nobody (SCHED_BATCH), where that serves more.
 *
 * An M that waits for the network is woken for the first answer that comes, and as a rule the kernel lets a thread that has slept run at once: the M interrupts
 * whoever runs on that CPU, finds one answer, serves it, and sleeps again. Where the one that is interrupted is the peer (a database on the same machine, a client), which
 * was about to send more, each answer costs two switches of the CPU, where natively thousands of threads that are queued behind it cost none. A thread with
 * SCHED_BATCH waits until the CPU is free or its owner's time is up, and then finds all answers that have come. But beside programs that compute the same
 * means less CPU and later answers. Which of them it is nobody knows beforehand, so it is tried, as the number of Ps is (climb.c), by what serves more; in doubt
 * Ms are as the program's threads would be.
 *
 * sysmon decides (sched.batch); an M follows by itself when it is about to wait, because only waking makes a difference. The policy is seen from outside only (chrt -p, /proc): the
 * program is told what it has set (shims/threadsched.c), and what inherits from a kernel thread (a child, a new program, a thread of libc's, one made from a pinned one's) finds it
 * as it was: m_batch_leave() comes before.
 *
 * Not where the process has been given another policy, nor where a filter of system calls kills who asks for one (sysmon.c). Before the program installs one for all
 * its threads, each M gets back what it had, and nothing changes from then on. sysmon does that: who installs it may have another filter already. One for a single thread
 * needs nothing: that thread is pinned, and its M had it back before.
 *
 * m->batch and the policies themselves change under sched.lock, where an M looks at `forbids` again: so one whose policy sysmon takes back has not ended, and asks for none behind its back. The
 * lock is held over two system calls, when a policy changes: some times in a second at most. m->never_batch is the M's own: somebody else has given it a policy. */
#include <sched.h>

#include "batch.h"
#include "climb.h"
#include "futex.h"
#include "procs.h"
#include "runtime.h"

enum { AS_BATCH = 1, AS_ALWAYS = 2 }; /* what climb.c chooses from */

#define TAKE_BACK_NS 200000
#define TAKE_BACK_LOOKS 5000 /* a second: sysmon may lack a CPU that long */

static struct climb climb; /* sysmon's */
static _Atomic bool allowed;     /* set when sysmon starts, not yet in a fork's child */
static _Atomic uint32_t forbids; /* filters for all threads, and attempts at one. Relaxed where it is read without the lock: that is looked at again, or only chooses */
static _Atomic bool wanted_back; /* sysmon shall take back all policies */

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

static bool is_allowed(void) {
	return atomic_load_explicit(&allowed, memory_order_relaxed) && atomic_load_explicit(&forbids, memory_order_relaxed) == 0;
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

/* From one policy to the other, if nobody else has given it one meanwhile. tid 0: the caller. */
static bool policy_change(int32_t tid, int from, int to) {
	int priority = 0; /* a struct sched_param */
	return SYS2(SYS_sched_getscheduler, tid, 0) == from && SYS3(SYS_sched_setscheduler, tid, to, &priority) == 0;
}

static bool is_batch(struct m *m) {
	return atomic_load_explicit(&m->batch, memory_order_relaxed);
}

static void set_batch(struct m *m, bool batch) {
	atomic_store_explicit(&m->batch, batch, memory_order_relaxed);
}

void batch_change(struct m *m) {
	if (m->never_batch || m->pinned || !is_allowed())
		return;
	lock_acquire(&sched.lock, LOCK_SCHED);
	if (is_allowed()) {
		bool was = is_batch(m), done = policy_change(0, was ? SCHED_BATCH : SCHED_OTHER, was ? SCHED_OTHER : SCHED_BATCH);
		m->never_batch = !done;
		set_batch(m, done && !was);
	}
	lock_release(&sched.lock);
}

static void leave(struct m *m, int32_t tid) {
	if (is_batch(m))
		policy_change(tid, SCHED_BATCH, SCHED_OTHER);
	set_batch(m, false);
}

void m_batch_leave(struct m *m) {
	struct g *g = g_self();
	if (!is_batch(m)) /* only its own thread, this one, sets it */
		return;
	rt_enter(g);
	lock_acquire(&sched.lock, LOCK_SCHED);
	leave(m, 0);
	lock_release(&sched.lock);
	rt_exit(g);
}

void batch_take_back(void) {
	if (!atomic_load_explicit(&wanted_back, memory_order_relaxed))
		return;
	lock_acquire(&sched.lock, LOCK_SCHED);
	atomic_store_explicit(&wanted_back, false, memory_order_relaxed);
	for (struct m *m = sched.all_m; m; m = m->all_next)
		leave(m, atomic_load_explicit(&m->ktid, memory_order_relaxed));
	lock_release(&sched.lock);
}

static bool any_is_batch(void) {
	struct g *g = g_self();
	bool any = false;
	rt_enter(g);
	lock_acquire(&sched.lock, LOCK_SCHED);
	for (struct m *m = sched.all_m; m && !any; m = m->all_next)
		any = is_batch(m);
	lock_release(&sched.lock);
	rt_exit(g);
	return any;
}

void batch_forbid(void) {
	/* relaxed: an M that does not see it has had the lock before any_is_batch() has, which sees that M */
	atomic_fetch_add_explicit(&forbids, 1, memory_order_relaxed);
	for (int looks = 0; any_is_batch() && looks < TAKE_BACK_LOOKS; looks++) {
		atomic_store_explicit(&wanted_back, true, memory_order_relaxed);
		sysmon_poke(); /* release */
		futex_nap(TAKE_BACK_NS, "sysmon");
	}
}

void batch_forbid_undo(void) {
	atomic_fetch_sub_explicit(&forbids, 1, memory_order_relaxed);
}

void batch_fork_child(void) {
	atomic_store_explicit(&allowed, false, memory_order_relaxed); /* until there is a sysmon, which allows it */
	atomic_store_explicit(&forbids, 0, memory_order_relaxed);     /* what is installed is there before it */
	atomic_store_explicit(&wanted_back, false, memory_order_relaxed);
	climb_reset(&climb, AS_ALWAYS);
}
