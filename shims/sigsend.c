/* Sending: to a goroutine by pthread_t or thread id, to this process, to others (the kernel's business). */
#include "../core/kernel_call.h"
#include "../core/tcb.h"
#include "object.h"
#include "siginternal.h"
#include "thread.h"

#define TOLD_LOOKS 1000 /* a stopped process does not take it */
#define DEFAULT_LOOKS 1000
#define DEFAULT_LOOK_NS 20000

static siginfo_t info_make(int sig, int code) {
	siginfo_t info;
	memset(&info, 0, sizeof info);
	info.si_signo = sig;
	info.si_code = code;
	info.si_pid = self_pid();
	info.si_uid = (uid_t)SYS0(SYS_getuid);
	return info;
}

static bool signal_valid(int sig) {
	return sig >= 0 && sig <= NSIGNALS;
}

/* Ignored here and now? Then it vanishes, unless it is blocked. */
static bool ignored_by_kernel(int sig) {
	struct sigaction now;
	if (sig_kernel_action(sig, NULL, &now) < 0)
		return false;
	if (now.sa_handler == SIG_IGN)
		return true;
	return now.sa_handler == SIG_DFL && default_ignores(sig);
}

static bool is_default(int sig) {
	struct sigaction now;
	return sig_kernel_action(sig, NULL, &now) < 0 || now.sa_handler == SIG_DFL;
}

static _Atomic int systems; /* calls of system() under way; relaxed: who sends while one begins or ends is before or after */

void sig_system(int step) {
	atomic_fetch_add_explicit(&systems, step, memory_order_relaxed);
}

/* The program's handler. During system() libc has two of them ignored, without telling; here the kernel knows then. */
static struct sigrecord *handler_now(int sig) {
	if (unlikely(atomic_load_explicit(&systems, memory_order_relaxed) > 0) && (sig == SIGINT || sig == SIGQUIT) && ignored_by_kernel(sig))
		return NULL;
	return handler_of(sig);
}

/* RLIMIT_SIGPENDING, for real-time signals that carry something. The kernel counts what it has queued for the user; what waits here it does not know, and our own
 * timers it should not count. It is asked how many there are only where the limit is low: elsewhere our own are all that count. */
static bool limit_reached(int sig, const siginfo_t *info) {
	struct rlimit limit;
	char text[4096];
	uint64_t queued = 0;
	if (sig < 32 || info->si_code >= 0 || SYS4(SYS_prlimit64, 0, RLIMIT_SIGPENDING, NULL, &limit) < 0)
		return false;
	if (limit.rlim_cur >= SIG_ENTRIES_FEW)
		return limit.rlim_cur <= SIG_ENTRIES && sig_entries_are_many() && sig_entries_used() >= limit.rlim_cur;
	if (task_file_read(0, self_pid(), "status", text, sizeof text) <= 0)
		return sig_entries_used() >= limit.rlim_cur;
	kernel_number_after(text, "\nSigQ:\t", &queued);
	return sig_entries_used() + queued >= limit.rlim_cur + preempt_timers();
}

/* The process stops, by a signal to this kernel thread: another would tell this one some time, which went on meanwhile. It comes back when somebody has sent SIGCONT, whose
 * handler, if it is the caller's to run, has run then. */
static int stop_here(struct g *g, int sig) {
	rt_enter(g);
	long r = SYS3(SYS_tgkill, self_pid(), self_ktid(), sig);
	rt_exit(g);
	sig_sent_settle(self_g(), SIGCONT);
	return (int)r;
}

/* To the calling goroutine: when it does not block it, the handler has run when this returns. */
static int signal_self(struct g *g, int sig, siginfo_t *info, bool of_process) {
	bool blocked = mask_of(g) & SIGBIT(sig);
	if (!blocked && !handler_now(sig) && sig_stops(sig))
		return stop_here(g, sig);
	if (!blocked && !handler_now(sig))
		return (int)kernel_queue_self(sig, info); /* default action, or ignored */
	if (limit_reached(sig, info))
		return -EAGAIN;
	if (blocked && sig_to_fd(g, sig, info))
		return 0;
	rt_enter(g);
	int r = of_process && sig >= 32 ? sig_send_in_turn(sig, info) : sig_queue_put(sig_of(g), sig, info, of_process ? NULL : g);
	rt_leave(g);
	if (r == 0 && !blocked && !sig_must_defer(g)) {
		/* From the kernel, if it can be: a true ucontext, the right stack. If a handler in between moved us
		 * to another M, the kick finds nothing there. */
		sig_kick(g, self_ktid(), sig);
		if (self_g())
			sig_queue_run_some(g, SIGBIT(sig));
		sig_cancel_look(g);
	}
	return r;
}

/* To a goroutine. 0 or a negative error. */
int sig_thread_send(struct g *g, int sig, siginfo_t *info) {
	struct g *self = g_self();
	if (sig_of(g)->dead || sig == 0)
		return 0;
	if (sig == SIGSTOP && self_g())
		return stop_here(self, sig);
	if (sig == SIGKILL || sig == SIGSTOP)
		return (int)SYS2(SYS_kill, self_pid(), sig);
	sig_discard_opposite(sig);
	if (g == self)
		return signal_self(g, sig, info, false);
	bool blocked = mask_of(g) & SIGBIT(sig);
	/* If there is a handler after all, it was set meanwhile, and the signal is g's: by kill() anybody would have it. */
	bool ignored = !blocked && !handler_now(sig) && ignored_by_kernel(sig);
	if (ignored || (!blocked && !handler_now(sig) && is_default(sig))) {
		if (info->si_code == TIMER_CODE)
			sigtimer_taken(info);
		return ignored ? 0 : (int)SYS2(SYS_kill, self_pid(), sig); /* a default action is the process's */
	}
	if (info->si_code != TIMER_CODE && limit_reached(sig, info))
		return -EAGAIN;
	if (blocked && sig_to_fd(g, sig, info))
		return 0;
	rt_enter(self);
	int r = sig_send(g, sig, info, false);
	rt_exit(self);
	return r;
}

/* One of the parent's threads, in a fork's child: libc takes their numbers away, and the kernel finds the call wrong. */
static bool left_behind(uintptr_t tcb) {
	struct g *g = tcb == arch_tp() ? NULL : g_of_tcb(tcb);
	return g && g->kind == G_GOROUTINE && (g->orphan || (!sched_started() && !sig_of(g)->dead));
}

/* Of one that has ended. What was linked before glibc 2.34 is told so still: programs of that time ask by it whether a thread lives. Our functions have no versions, so it is
 * looked at who asks. */
static int kill_too_late(const void *caller) {
	struct object o;
	object_open(&o, object_map_at_once(caller));
	const char *version = object_wants(&o, "pthread_kill");
	return version && !object_same(version, "GLIBC_2.34") ? ESRCH : 0;
}

SHIM int pthread_kill(pthread_t thread, int sig) {
	REAL_READY();
	uintptr_t tcb = tcb_of_thread((uintptr_t)thread);
	if (unlikely(left_behind(tcb)))
		return EINVAL;
	struct g *g = sched_started() ? g_of_tcb(tcb) : NULL;
	if (!g || g->kind > G_MAIN)
		return real.pthread_kill(thread, sig);
	if (sig == SIGCANCEL_NR || sig == SIGSETXID_NR || (g->kind == G_MAIN && !g->stack.lo && sig_of(g)->dead))
		return EINVAL; /* main does not tell libc of its end, and its number is gone */
	if (unlikely(thread_ended(g)))
		return kill_too_late(__builtin_return_address(0));
	if (!signal_valid(sig))
		return EINVAL;
	siginfo_t info = info_make(sig, SI_TKILL);
	return -sig_thread_send(g, sig, &info);
}

SHIM int pthread_sigqueue(pthread_t thread, int sig, const union sigval value) {
	REAL_READY();
	struct g *g = sched_started() ? g_of_tcb(tcb_of_thread((uintptr_t)thread)) : NULL;
	if (!g || g->kind > G_MAIN)
		return real.pthread_sigqueue(thread, sig, value);
	if (!signal_valid(sig) || sig == SIGCANCEL_NR || sig == SIGSETXID_NR)
		return EINVAL;
	if (sig_of(g)->dead)
		return ESRCH;
	siginfo_t info = info_make(sig, SI_QUEUE);
	info.si_value = value;
	return -sig_thread_send(g, sig, &info);
}

struct g *sig_g_of_tid(pid_t tid) {
	struct g *g = thread_numbered(tid);
	return g && is_alive(g) ? g : NULL;
}

/* In a fork's child: who made it, on which kernel thread of the parent. */
static struct {
	pid_t pid, tid;
	int32_t ktid;
	bool reserved; /* SIGSETXID came to us there; before, libc's handler would take it and forget it */
} forker;

void sig_forker_note(struct g *g) {
	forker.pid = (pid_t)SYS0(SYS_getppid);
	forker.tid = g->tid;
	forker.ktid = g->m->ktid;
	forker.reserved = atomic_load(&sigp.reserved) == 2; /* as it was in the parent */
}

/* A set of signals that the kernel shows of another process's kernel thread; 0: there is no such thread. */
static uint64_t status_signals(pid_t pid, pid_t tid, const char *field) {
	char text[4096], *at;
	uint64_t set = 0;
	if (task_file_read(pid, tid, "status", text, sizeof text) <= 0 || !(at = strstr(text, field)))
		return 0;
	for (at += strlen(field); *at && *at != '\n'; at++) {
		if (*at > ' ')
			set = set << 4 | (uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
	}
	return set;
}

/* As SIGSETXID to the kernel thread that it was on when it forked us. Not if the process does not handle that (it has executed another program
 * meanwhile): it would end. Comes back when that kernel thread has it. */
static bool tell_forker(siginfo_t *info, int sig) {
	if (!forker.reserved || !(status_signals(forker.pid, forker.ktid, "\nSigCgt:") & SIGBIT(SIGSETXID_NR)))
		return false;
	info->si_errno = sig;
	bool sent = SYS4(SYS_rt_tgsigqueueinfo, forker.pid, forker.ktid, SIGSETXID_NR, info) == 0;
	info->si_errno = 0;
	for (int looks = 0; sent && looks < TOLD_LOOKS &&
			    (status_signals(forker.pid, forker.ktid, "\nSigPnd:") & SIGBIT(SIGSETXID_NR));
	     looks++)
		SYS0(SYS_sched_yield);
	return sent;
}

/* To a goroutine of another process: its number means nothing to the kernel, so the process gets the signal, and the runtime there finds the
 * goroutine (sig_told()). It may do so a moment after the sender went on, or ended. Where the goroutine is the one that forked the caller,
 * its kernel thread gets it as SIGSETXID, before it can leave the kernel: as a rule it waits there for the caller. */
static long signal_foreign(pid_t tgid, pid_t tid, int sig) {
	siginfo_t info = info_make(sig, THREAD_CODE);
	info.si_value.sival_ptr = (void *)(uintptr_t)((uint64_t)THREAD_MAGIC << 32 | (uint32_t)tid);
	if (tid == forker.tid && tgid == forker.pid && tell_forker(&info, sig))
		return 0;
	return SYS3(SYS_rt_sigqueueinfo, tgid, sig, &info);
}

bool sig_told_by_setxid(const siginfo_t *info) {
	int sig = info->si_errno;
	struct g *g = info->si_code == THREAD_CODE && sig > 0 && sig <= NSIGNALS ? sig_told(info) : NULL;
	siginfo_t told = *info;
	told.si_errno = 0;
	told.si_signo = sig;
	told.si_code = SI_TKILL;
	if (g) {
		sig_ring_push(sig, &told, g);
		sysmon_poke();
	}
	return info->si_code == THREAD_CODE;
}

struct g *sig_told(const siginfo_t *info) {
	uint64_t told = (uintptr_t)info->si_value.sival_ptr;
	return told >> 32 == THREAD_MAGIC ? sig_g_of_tid((pid_t)(uint32_t)told) : NULL;
}

/* The first thread stays in the kernel until the process ends, and what is sent to it waits for ever; its kernel thread runs others here. */
static bool main_has_ended(pid_t tid) {
	return sigp.main_g && tid == self_pid() && sig_of(sigp.main_g)->dead;
}

/* tgid -1: any. */
static long sent_to_thread(pid_t tgid, pid_t tid, int sig) {
	struct g *g = sched_started() && (tgid == -1 || tgid == self_pid()) ? sig_g_of_tid(tid) : NULL;
	if (!g && tid >= TID_FIRST && tgid > 0 && tgid != self_pid() && sig > 0 && sig <= NSIGNALS)
		return sys_ret(signal_foreign(tgid, tid, sig));
	if (!g && (tgid == -1 || tgid == self_pid()) && signal_valid(sig) && main_has_ended(tid))
		return 0;
	if (!g)
		return sys_ret(tgid == -1 ? SYS2(SYS_tkill, tid, sig) : SYS3(SYS_tgkill, tgid, tid, sig));
	if (!signal_valid(sig)) {
		errno = EINVAL;
		return -1;
	}
	siginfo_t info = info_make(sig, SI_TKILL);
	return sys_ret(sig_thread_send(g, sig, &info));
}

long shim_tgkill(pid_t tgid, pid_t tid, int sig) {
	return tgid > 0 ? sent_to_thread(tgid, tid, sig) : sys_ret(-EINVAL);
}

long shim_tkill(pid_t tid, int sig) {
	return sent_to_thread(-1, tid, sig);
}

SHIM int tgkill(pid_t tgid, pid_t tid, int sig) {
	REAL_READY();
	return sched_started() || tid >= TID_FIRST ? (int)shim_tgkill(tgid, tid, sig) : real.tgkill(tgid, tid, sig);
}

SHIM int raise(int sig) {
	REAL_READY();
	struct g *g = self_g();
	if (!g)
		return real.raise(sig);
	int r = pthread_kill((pthread_t)tcb_thread(g->ctx.tp), sig);
	if (r) {
		errno = r;
		return -1;
	}
	return 0;
}

SHIM int gsignal(int sig) {
	return raise(sig);
}

/* kill() of one's own process. The kernel would give it to one of its threads, and that to a goroutine, some time;
 * here the goroutine that takes it has it at once: if it is the caller, before kill() returns (POSIX), and if it is main that is
 * about to end its wait, before it does. Where those who would take it are in handlers, it is pending before kill() returns, so that a
 * second one counts as none. The number may be a thread's, which is `named` then: that goes first. 1: the kernel's business (everybody blocks it, default action, another process); else 0 or a negative error. */
static int signal_process(pid_t pid, struct g *named, int sig, siginfo_t *info) {
	struct g *self = self_g();
	if (!self || pid != self_pid() || sig <= 0 || sig > NSIGNALS)
		return 1;
	if (sig == SIGSTOP || (sig_stops(sig) && !handler_now(sig) && !(mask_of(self) & SIGBIT(sig))))
		return stop_here(self, sig);
	if (limit_reached(sig, info) && !ignored_by_kernel(sig))
		return -EAGAIN;
	sig_discard_opposite(sig);
	struct g *taker = is_open(named, sig) ? named : sig_taker(sig);
	/* A default action of the caller's is the kernel's business all the same; but to this kernel thread, so that the call does not return before it. */
	if (!handler_now(sig) && !((SIGBIT(sig) & DEFAULT_WAITS) && sig_is_held_back(sig)))
		return taker == self && sig != SIGKILL && !ignored_by_kernel(sig) && kernel_queue_self(sig, info) == 0 ? 0 : 1;
	if (!taker && (atomic_load(&sigp.and_mask) & SIGBIT(sig)))
		return 1;
	if (taker == self)
		return signal_self(self, sig, info, true);
	int r = 0;
	rt_enter(self);
	if (sig >= 32 && (!taker || taker != named)) {
		r = sig_send_in_turn(sig, info);
	} else if (taker) {
		r = sig_send(taker, sig, info, true);
	} else {
		sig_ring_push(sig, info, NULL);
		sig_ring_drain(false);
	}
	rt_exit(self);
	return r;
}

static struct g *named_by(pid_t id) {
	return sched_started() && id >= TID_FIRST ? sig_g_of_tid(id) : NULL;
}

/* kill() takes any thread's id for its process. */
pid_t sig_process_of(pid_t id) {
	return named_by(id) ? self_pid() : id;
}

/* For the default action, which some goroutine accepts but not the caller; and until sysmon is up, whose kernel thread lets that through, none may: this one
 * does, for the time of the call, which does not return natively if the process is to end. */
static bool kill_comes_early(struct g *self, pid_t pid, int sig) {
	return self && self->kind <= G_MAIN && sig > 0 && sig <= NSIGNALS && unlikely(!sig_sysmon_ktid()) && pid == self_pid() && !handler_now(sig) &&
	       (mask_of(self) & ~atomic_load(&sigp.and_mask) & SIGBIT(sig));
}

/* By the kernel's own action, where it is the default: sig_entry(), which may keep its place, would send it again, too late, and to a mask that blocks it. */
static bool default_set(int sig) {
	struct ksigaction dfl = {.handler = (void *)SIG_DFL}, was;
	if (handler_of(sig) != NULL || ignored_by_kernel(sig))
		return false;
	SYS4(SYS_rt_sigaction, sig, &dfl, &was, 8);
	if (likely(handler_of(sig) == NULL))
		return true;
	SYS4(SYS_rt_sigaction, sig, &was, 0, 8); /* another thread's call came in between: it is the last one */
	return false;
}

static long kill_early(struct g *self, pid_t pid, int sig) {
	uint64_t bit = SIGBIT(sig);
	rt_enter(self);
	bool acts = default_set(sig);
	SYS4(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, NULL, 8);
	long r = SYS2(SYS_kill, pid, sig);
	SYS4(SYS_rt_sigprocmask, SIG_BLOCK, &bit, NULL, 8);
	rt_exit(self);
	if (acts)
		sig_default_arm(sig);
	return r;
}

/* A signal that the kernel is about to send to several, this process among them, or to it by a descriptor, and that the caller takes: by its handler (`comes`), or by its default
 * action (`acts`). POSIX: the call does not return before that. */
struct own_signal {
	struct g *g;
	int sig;
	bool comes, acts;
	uint32_t seen; /* of the first, before the call */
	uint64_t mask; /* of the kernel thread, before the second is blocked */
};

static struct own_signal own_signal(int sig) {
	struct own_signal s = {.g = self_g(), .sig = sig};
	if (!s.g || sig <= 0 || sig > NSIGNALS || sig_taker(sig) != s.g)
		return s;
	s.seen = sig_seen(sig);
	s.comes = handler_now(sig);
	s.acts = !s.comes && sig != SIGKILL && s.g->kind <= G_MAIN && !ignored_by_kernel(sig);
	return s;
}

/* Of this process's kernel threads another may be the one that stops it, or dumps its core, and until it does the caller would go on. So its own has the signal as well, and blocks
 * it for the time of the call: it acts here, or another was first; then SIGCONT takes this one away, too. By the kernel's own action: what sig_entry() keeps SIGCONT would not take. */
static void default_begin(struct own_signal *s) {
	int sig = s->sig;
	uint64_t bit = SIGBIT(sig);
	rt_enter(s->g);
	if (sig == SIGSTOP)
		return;
	default_set(sig);
	SYS4(SYS_rt_sigprocmask, SIG_BLOCK, &bit, &s->mask, 8);
	SYS3(SYS_tgkill, self_pid(), self_ktid(), sig);
}

static void default_end(const struct own_signal *s) {
	struct timespec nap = {0, DEFAULT_LOOK_NS};
	int sig = s->sig;
	if (sig != SIGSTOP)
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &s->mask, NULL, 8);
	else /* it cannot be blocked: until another thread has it, which is as near as can be */
		for (int i = 0; i < DEFAULT_LOOKS && status_signals(self_pid(), self_pid(), "\nShdPnd:") & SIGBIT(sig); i++)
			SYS2(SYS_nanosleep, &nap, 0);
	rt_exit(s->g);
	sig_default_arm(sig);
	sig_sent_settle(self_g(), SIGCONT);
}

static void own_signal_begin(struct own_signal *s) {
	if (s->acts)
		default_begin(s);
}

/* r: the call's. */
static long own_signal_end(const struct own_signal *s, long r) {
	if (s->acts)
		default_end(s);
	if (s->comes && r == 0 && self_g() == s->g && sig_taker(s->sig) == s->g)
		sig_settle(s->g, s->sig, s->seen);
	return r;
}

/* To others by one call with this process. (Not by -1: that leaves the caller's out.) */
static long kill_group(pid_t pid, int sig) {
	struct own_signal s = own_signal(sig);
	if ((s.comes || s.acts) && pid != 0 && pid != -(pid_t)SYS1(SYS_getpgid, 0))
		s.comes = s.acts = false;
	own_signal_begin(&s);
	return own_signal_end(&s, SYS2(SYS_kill, pid, sig));
}

SHIM int kill(pid_t pid, int sig) {
	REAL_READY();
	if (pid <= 0 && self_g())
		return (int)sys_ret(kill_group(pid, sig));
	struct g *named = named_by(pid);
	pid = named ? self_pid() : pid;
	if (!self_g() || pid != self_pid()) /* not even asked who the caller is: a filter of system calls may forbid that */
		return real.kill(pid, sig);
	siginfo_t info = info_make(sig, SI_USER);
	long r = signal_process(pid, named, sig, &info);
	if (r == 1 && kill_comes_early(self_g(), pid, sig))
		r = kill_early(self_g(), pid, sig);
	return r == 1 ? real.kill(pid, sig) : (int)sys_ret(r);
}

SHIM int killpg(pid_t group, int sig) {
	return group < 0 ? (int)sys_ret(-EINVAL) : kill(-group, sig);
}

static bool is_of_this_process(int pidfd) {
	char path[40], text[1024];
	uint64_t pid = 0;
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
	return kernel_file_read(path, text, sizeof text) > 0 && kernel_number_after(text, "\nPid:\t", &pid) && (int32_t)pid == self_pid();
}

SHIM int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags) {
	REAL_READY();
	struct own_signal s = own_signal(sig);
	s.acts &= !info && !flags; /* then it does not fail */
	if ((s.comes || s.acts) && !is_of_this_process(pidfd))
		s.comes = s.acts = false;
	own_signal_begin(&s);
	return (int)sys_ret(own_signal_end(&s, SYS4(SYS_pidfd_send_signal, pidfd, sig, info, flags)));
}

SHIM int sigqueue(pid_t pid, int sig, const union sigval value) {
	REAL_READY();
	struct g *named = named_by(pid);
	pid = named ? self_pid() : pid;
	if (!self_g() || pid != self_pid())
		return real.sigqueue(pid, sig, value);
	siginfo_t info = info_make(sig, SI_QUEUE);
	info.si_value = value;
	int r = signal_process(pid, named, sig, &info);
	return r == 1 ? real.sigqueue(pid, sig, value) : (int)sys_ret(r);
}

static _Atomic uint64_t by_mq; /* what mq_notify() was ever asked for; relaxed: it is this program's queue, or another's business */

void sig_mq_note(int sig) {
	if (sig > 0 && sig <= NSIGNALS)
		atomic_fetch_or_explicit(&by_mq, SIGBIT(sig), memory_order_relaxed);
}

long sig_mq_sent(struct g *g, long r) {
	uint64_t which = atomic_load_explicit(&by_mq, memory_order_relaxed);
	for (; unlikely(which) && r == 0; which &= which - 1)
		sig_sent_settle(g, __builtin_ctzll(which) + 1);
	return r;
}

/* rt_tgsigqueueinfo(), and with tid 0 rt_sigqueueinfo(): the caller makes the siginfo. A kernel's or kill()'s it may forge for itself only. */
long shim_sigqueueinfo(pid_t tgid, pid_t tid, int sig, const siginfo_t *given) {
	struct g *self = g_self(), *g = tid ? sig_g_of_tid(tid) : NULL;
	bool to_process = tid == 0 && sig_process_of(tgid) == self_pid();
	if (!signal_valid(sig) || !(to_process || (g && tgid == self_pid())))
		return tid ? SYS4(SYS_rt_tgsigqueueinfo, tgid, tid, sig, given)
			   : SYS3(SYS_rt_sigqueueinfo, tgid, sig, given);
	siginfo_t info = *given;
	info.si_signo = sig;
	if ((info.si_code >= 0 || info.si_code == SI_TKILL) && self->tid != (tid ? tid : tgid))
		return -EPERM;
	if (g)
		return sig_thread_send(g, sig, &info);
	int r = signal_process(self_pid(), named_by(tgid), sig, &info);
	return r == 1 ? SYS3(SYS_rt_sigqueueinfo, self_pid(), sig, &info) : r;
}
