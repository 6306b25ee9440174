/* Calls that name a thread, or a process by any thread of it, by number. A goroutine's number is none of the kernel's (TID_FIRST and above, main's
 * apart, which is the process's), so it is translated here on the way.
 *
 * What concerns the process (limits, memory, group, session) is asked of the process. What the kernel keeps per thread: 0, the calling kernel thread,
 * for the caller itself, which is pinned before it sets anything (pinned.c); the own kernel thread of one that is pinned; for the rest any kernel
 * thread has what the process was started with, and the maker's stands for theirs (sysmon has a short slice). What is set for another that is not pinned (scheduling, nice value, I/O priority) it
 * sets itself, pinned by that, when it next runs: threadsched.c. What watches a thread
 * (pidfds of threads, performance counters, the owner of a descriptor's signals) needs a kernel thread: the caller gets its own; another is called back from its
 * wait to get one. Who waits for a mutex or in the kernel cannot be, and is unknown to the kernel: ESRCH. */
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ceiling.h"
#include "io.h"
#include "pinned.h"
#include "siginternal.h"
#include "thread.h"
#include "tidcall.h"

/* A kernel thread that does not lead the process, if id is a thread of it that does not. */
static pid_t of_follower(pid_t id) {
	int32_t maker = maker_ktid();
	return sig_process_of(id) == id ? id : maker ? maker : sysmon_ktid();
}

static pid_t of_thread(pid_t id, bool sets) {
	struct g *g = id == 0 ? NULL : thread_meant(id);
	if (!g)
		return id;
	if (g == g_goroutine())
		return 0;
	int32_t own = thread_own_ktid(g);
	return own ? own : sets ? id : of_follower(id);
}

/* The kernel's number of the thread that is meant, for calls that watch it. */
pid_t tid_own(pid_t id) {
	struct g *g = id > 0 ? thread_meant(id) : NULL;
	int32_t own = g && g->kind != G_MAIN ? thread_give_own(g) : 0;
	return own ? own : id;
}

/* And back. */
pid_t tid_of_own(pid_t ktid) {
	if (ktid <= 0) /* nobody, or a group; and an M that has ended has no number */
		return ktid;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		struct g *g = atomic_load_explicit(&m->ktid, memory_order_relaxed) == ktid ? m_owner(m) : NULL;
		if (g)
			return g->tid;
	}
	return ktid;
}

#define ATTR_RESET_ON_FORK 1
#define PIDFD_OF_THREAD O_EXCL /* PIDFD_THREAD, Linux 6.9 */

/* struct sched_attr of the first version */
struct attr_head {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
};

static long getattr_named(pid_t id, struct attr_head *attr, unsigned long size, unsigned long flags) {
	struct g *g = thread_meant(id);
	long r = SYS4(SYS_sched_getattr, of_thread(id, false), attr, size, flags);
	if (r < 0 || !g)
		return r;
	struct thread *t = thread_of(g);
	bool realtime = t->policy == SCHED_FIFO || t->policy == SCHED_RR;
	attr->policy = (uint32_t)t->policy;
	attr->flags = t->reset_on_fork ? attr->flags | ATTR_RESET_ON_FORK : attr->flags & ~(uint64_t)ATTR_RESET_ON_FORK;
	attr->nice = realtime ? 0 : getpriority(PRIO_PROCESS, (id_t)g->tid);
	attr->priority = (uint32_t)ceiling_raises(g, t->param.sched_priority);
	return r;
}

/* Of one that is not pinned. The kernel's answer is for a number that it does not know. */
static long setattr_remember(struct g *g, const struct attr_head *attr, unsigned long flags, long answer) {
	struct sched_param param = {.sched_priority = (int)attr->priority};
	bool realtime = attr->policy == SCHED_FIFO || attr->policy == SCHED_RR;
	if (answer != -ESRCH || flags != 0 || (attr->size && attr->size < sizeof *attr) ||
	    (attr->flags & ~(uint64_t)ATTR_RESET_ON_FORK))
		return answer;
	int before = errno, r = sched_setscheduler(g->tid, (int)attr->policy | (attr->flags & ATTR_RESET_ON_FORK ? SCHED_RESET_ON_FORK : 0), &param);
	if (r == 0 && !realtime && attr->policy != SCHED_IDLE)
		r = setpriority(PRIO_PROCESS, (id_t)g->tid, attr->nice);
	long result = r == 0 ? 0 : errno == EACCES ? -EPERM : -errno;
	errno = before;
	return result;
}

static long setattr_named(pid_t id, void *attr, unsigned long flags) {
	pid_t ktid = of_thread(id, true);
	struct g *g = thread_meant(id);
	bool remember = g && !thread_own_ktid(g) && !address_bad(attr);
	long r = SYS3(SYS_sched_setattr, ktid, attr, flags);
	if (remember)
		return setattr_remember(g, attr, flags, r);
	if (r == 0 && g) {
		thread_sched_reread(g, ktid);
		thread_nice_shown(g);
	}
	return r;
}

/* The kernel writes the version that it wants into a header with another. `sets` is refused by the kernel but for the caller. */
static long capability_call(long n, struct __user_cap_header_struct *header, void *data, bool sets) {
	if (address_unwritable(header))
		return SYS2(n, header, data);
	struct __user_cap_header_struct named = {header->version, of_thread(header->pid, sets)};
	long r = SYS2(n, &named, data);
	if (named.version != header->version)
		header->version = named.version;
	return r;
}

/* Whether the priority is one, and allowed, the kernel looks at before it looks for the thread. */
static long ioprio_set_named(pid_t id, long priority) {
	long r = SYS3(SYS_ioprio_set, IOPRIO_WHO_PROCESS, of_thread(id, true), priority);
	struct g *g = r == -ESRCH ? thread_meant(id) : NULL;
	if (!g)
		return r;
	thread_ioprio_wish(g, (int)priority);
	return 0;
}

static long ioprio_get_named(pid_t id) {
	struct g *g = thread_meant(id);
	uint16_t told = g ? __atomic_load_n(&thread_of(g)->ioprio, __ATOMIC_RELAXED) : 0; /* others may be telling */
	if (told && !g_own_ktid(g))
		return told;
	return SYS2(SYS_ioprio_get, IOPRIO_WHO_PROCESS, of_thread(id, false));
}

static long getpriority_raw(int which, id_t who) {
	int before = errno;
	errno = 0;
	int nice = getpriority((__priority_which_t)which, who);
	long r = nice == -1 && errno ? -errno : 20 - nice; /* the kernel's own form */
	errno = before;
	return r;
}

/* Of a process, unless the flag says otherwise: it wants the one that leads. */
static pid_t pidfd_target(pid_t id, unsigned flags) {
	return flags & PIDFD_OF_THREAD ? tid_own(id) : of_follower(id);
}

bool tid_syscall(long n, long a[6], long *r) {
	switch (n) {
	case SYS_sched_getattr:
		*r = getattr_named((pid_t)a[0], (void *)a[1], (unsigned long)a[2], (unsigned long)a[3]);
		return true;
	case SYS_sched_setattr:
		*r = setattr_named((pid_t)a[0], (void *)a[1], (unsigned long)a[2]);
		return true;
	case SYS_capget:
		*r = capability_call(n, (void *)a[0], (void *)a[1], false);
		return true;
	case SYS_getpriority:
		*r = getpriority_raw((int)a[0], (id_t)a[1]);
		return true;
	case SYS_capset:
		pin_self();
		*r = capability_call(n, (void *)a[0], (void *)a[1], true);
		return true;
	case SYS_ioprio_get:
	case SYS_ioprio_set:
		if ((int)a[0] != IOPRIO_WHO_PROCESS)
			return false;
		if (n == SYS_ioprio_set && thread_meant((pid_t)a[1]) == g_goroutine())
			pin_self();
		*r = n == SYS_ioprio_set ? ioprio_set_named((pid_t)a[1], a[2]) : ioprio_get_named((pid_t)a[1]);
		return true;
	case SYS_get_robust_list:
	case SYS_sched_rr_get_interval:
		a[0] = of_thread((pid_t)a[0], false);
		return false;
	case SYS_kcmp:
		a[1] = sig_process_of((pid_t)a[1]);
		/* fall through */
	case SYS_move_pages:
	case SYS_migrate_pages:
	case SYS_process_vm_readv:
	case SYS_process_vm_writev:
	case SYS_prlimit64:
	case SYS_getpgid:
	case SYS_getsid:
		a[0] = sig_process_of((pid_t)a[0]);
		return false;
	case SYS_perf_event_open:
		a[1] = tid_own((pid_t)a[1]);
		return false;
	case SYS_pidfd_open:
		a[0] = pidfd_target((pid_t)a[0], (unsigned)a[1]);
		return false;
	case SYS_setpgid: /* wants the one that leads */
		a[0] = of_follower((pid_t)a[0]);
		return false;
	default:
		return false;
	}
}

/* ---- libc's functions ------------------------------------------------------------------------------------------------ */

SHIM int prlimit(pid_t pid, __rlimit_resource_t what, const struct rlimit *now, struct rlimit *before) {
	return CALL_REAL(prlimit, sig_process_of(pid), what, now, before);
}

SHIM int prlimit64(pid_t pid, __rlimit_resource_t what, const struct rlimit64 *now, struct rlimit64 *before) {
	return CALL_REAL(prlimit64, sig_process_of(pid), what, now, before);
}

SHIM pid_t getpgid(pid_t pid) {
	return CALL_REAL(getpgid, sig_process_of(pid));
}

SHIM pid_t getsid(pid_t pid) {
	return CALL_REAL(getsid, sig_process_of(pid));
}

SHIM int setpgid(pid_t pid, pid_t group) {
	return CALL_REAL(setpgid, of_follower(pid), group);
}

SHIM ssize_t process_vm_readv(pid_t pid, const struct iovec *to, unsigned long n, const struct iovec *from,
			      unsigned long m, unsigned long flags) {
	return CALL_REAL(process_vm_readv, sig_process_of(pid), to, n, from, m, flags);
}

SHIM ssize_t process_vm_writev(pid_t pid, const struct iovec *from, unsigned long n, const struct iovec *to,
			       unsigned long m, unsigned long flags) {
	return CALL_REAL(process_vm_writev, sig_process_of(pid), from, n, to, m, flags);
}

SHIM int sched_rr_get_interval(pid_t tid, struct timespec *time) {
	return CALL_REAL(sched_rr_get_interval, of_thread(tid, false), time);
}

SHIM int capget(void *header, void *data);
SHIM int capget(void *header, void *data) {
	return (int)sys_ret(capability_call(SYS_capget, header, data, false));
}

SHIM int capset(void *header, const void *data);
SHIM int capset(void *header, const void *data) {
	pin_self();
	return (int)sys_ret(capability_call(SYS_capset, header, (void *)data, true));
}

SHIM int pidfd_open(pid_t pid, unsigned flags);
SHIM int pidfd_open(pid_t pid, unsigned flags) {
	return (int)sys_ret(SYS2(SYS_pidfd_open, pidfd_target(pid, flags), flags));
}
