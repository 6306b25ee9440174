/* Signals: handlers, masks, alternate stacks and pending signals per goroutine, on kernel threads that know nothing
 * of goroutines.
 *
 * Who gets what
 *   The kernel has sig_entry() for every signal the program handles; SIG_DFL and SIG_IGN are the kernel's own, but that it has sig_entry() also for the
 *   defaults that some handler's mask may hold back (sig_default_arm()). The program's handler, flags and mask are an interned record in handlers[sig];
 *   sigaction() shows it that, never ours. On a thread that is no goroutine (no runtime, libc's helpers) sig_entry just calls the handler.
 *   1. The goroutine that runs here may take the signal and is outside the runtime: its handler runs at once, on the
 *      kernel's own frame. It may park and migrate in there; the frame lies on its stack, and sigreturn on another M
 *      puts back mask and alternate stack of the goroutine.
 *   2. Otherwise the signal goes to the ring: a fixed pool of entries, taken without locks, since what was
 *      interrupted may hold any lock of the runtime. rt_pending counts it; whoever leaves the runtime or sleeps on
 *      a g0 calls deliver_hook(), which routes entries to goroutines: into the sigstate's queue, then sig_nudge().
 *   Signals to the process go to main unless it blocks them, as the kernel prefers the first thread; then to who was made first of those that do not, or that wait for
 *   it (sig_taker()); SIGCHLD to who made the child before all of them (sigchild.c), what is sent to a thread's number by kill() to that thread. What the kernel has
 *   given to the M of one that may take it, that one takes if main blocks it. Who was chosen and ends or blocks it before its handler runs hands it on
 *   (sig_queue_hand_on()): it is the process's until then. It comes to main by way of another kernel thread, so main may go on for a moment before it has it. Where programs rely on the kernel's
 *   order, at the stop of a timer, a change of the handler and the end of a child, its taker waits for what is under way (sig_stopped_settle(), sig_settle()).
 *   What a call of a goroutine raises (SIGPIPE, SIGXFSZ) is its own: what it blocks of that is taken from the kernel thread at once (sig_raised()).
 *   Faults (SIGSEGV & co. with a kernel si_code) are handled where they happen, always: to defer one is to repeat it for ever.
 *
 * Running a queued handler
 *   A goroutine looks at its queue when it leaves the runtime (deliver_hook), when a wait ended with -EINTR
 *   (shim_interrupted), when its mask changes, and when a *kick* arrives: the same signal number, sent to its M with
 *   KICK_CODE, whose only meaning is "look". The same number, because then the kernel decides by the program's own
 *   SA_RESTART whether a system call is restarted. After a wait ended with WAKE_INTR, until shim_interrupted() was
 *   called, handlers wait for it: it must know that one ran (SIG-1).
 *
 * Masks
 *   g->sigmask is the goroutine's; the switch calls sig_resync() when the M's differs. The kernel keeps process-wide
 *   pending signals: so a signal that every goroutine blocks must be blocked on every kernel thread (else it would
 *   be taken, or kill us by its default action), and one that a single parked goroutine accepts must be open on some
 *   kernel thread. `and_mask` is the AND of all goroutines' masks, counted (not walked): dev[] counts goroutines that
 *   differ from the mask at start, so goroutines that never touch their mask cost nothing. sysmon has and_mask as its
 *   mask and is the receiver of last resort. When and_mask gains a bit, Ms on their g0, which keep the mask of whoever ran there last, are told by SIGSETXID (33) with KICK_CODE,
 *   and the gainer waits for their answers. While a handler runs, its sa_mask is not accounted: to enter one would cost that. A signal nobody
 *   takes for that reason, or whose default action nobody lets happen, is *held* until a handler returns; who asks for what is pending finds it there.
 *   The process's first kernel thread is main's to other processes, which may direct a signal at it: no other thread can take that. So while it runs nobody
 *   it has main's mask, not that of who ran there last, and what is directed at it goes to main. (While it runs another goroutine, such a signal waits for the end of
 *   that turn if that goroutine blocks it.)
 *
 * Files: sigqueue.c holds what waits and routes it; sigentry.c is what the kernel calls; sigrun.c runs queued handlers and says when;
 * sigmask.c has the masks, sigaction.c dispositions and alternate stacks, sigchild.c whose SIGCHLD is whose, sigjump.c the way out of handlers, sigwait.c and sigsend.c
 * those calls. Here: the life of a goroutine's signal state. siginternal.h is their common ground.
 *
 * Locks: and_lock; route_lock -> sigstate.lock. Taken inside the runtime (in_rt > 0), so never under a handler on
 * the same thread. All rank below LOCK_NETPOLL. sigstate.lock and and_lock: nothing is called below them but raw
 * system calls.
 */
#include "isolate.h"
#include "siginternal.h"

struct sig_process sigp;

static void sigstate_reset(struct sigstate *s, uint64_t mask) {
	memset(s, 0, sizeof *s);
	s->counted = mask;
}

void sig_runtime_start(struct g *g) {
	struct sigstate *s = sig_of(g);
	uint64_t mask = 0;
	stack_t ss = {0};
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, 0, &mask, 8);
	mask = (mask | sig_trap_closed) & ~SIG_NEVER_BLOCKED;
	sigstate_reset(s, mask);
	for (int i = 0; i < NSIGNALS; i++) {
		atomic_store(&sigp.dev[i], 0);
		atomic_store(&sigp.opening[i], 0);
	}
	atomic_store(&sigp.dev_total, 0);
	atomic_store(&sigp.live, 1);
	sigp.base_mask = mask;
	atomic_store(&sigp.and_mask, mask & ~arch_signals_open);
	atomic_store(&sigp.sysmon_tid, 0);
	sigp.main_g = g;
	sigp.first = g->m->first ? g->m : NULL;
	atomic_store(&sigp.first_idle, false);
	atomic_store(&sigp.main_mask, mask);
	mask_store(g, mask);
	kmask_set(g->m, mask);
	if (SYS2(SYS_sigaltstack, 0, &ss) == 0)
		sig_altstack_set(s, &ss);
	preempt_inner_stack(g, s->alt_sp, s->alt_size);
	m_sigstack_arm(g->m);
	sig_resync_hook = sig_resync;
	sig_idle_hook = sig_idle;
	rt_deliver_hook = sig_deliver;
	/* Not by sysmon when it first looks: the Ms must hear of a mask that changes before. */
	sig_reserve();
	sig_default_arm_all();
	__atomic_store_n(&sig_disturb_hook, sig_disturb, __ATOMIC_RELEASE);
	__atomic_store_n(&sig_sysmon_hook, sig_sysmon, __ATOMIC_RELEASE); /* sysmon runs already */
}

void sig_thread_init(struct g *g, const sigset_t *set) {
	struct g *creator = self_g();
	struct g *self = g_self();
	struct sigstate *s = sig_of(g);
	uint64_t mask = 0;
	if (set)
		mask = sigset_bits(set);
	else if (creator)
		mask = mask_of(creator);
	else
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, 0, &mask, 8);
	mask &= ~(SIG_NEVER_BLOCKED | isolate_open(g));
	mask_store(g, mask);
	sigstate_reset(s, sigp.base_mask);
	atomic_fetch_add(&sigp.live, 1);
	if (likely(mask == sigp.base_mask) && likely(!(atomic_load_explicit(&sigp.and_mask, memory_order_relaxed) & ~mask)))
		return;
	rt_enter(self);
	sig_account(s, mask);
	sig_and_refresh();
	rt_exit(self);
}

void sig_thread_ready(void) {
	if (likely(!atomic_load(&sigp.held)))
		return;
	struct g *self = g_self();
	rt_enter(self);
	sig_ring_drain(true);
	rt_exit(self);
}

/* Inside the runtime. It takes no signals any more. */
static void gone(struct sigstate *s) {
	lock_acquire(&s->lock, LOCK_SIGSTATE);
	atomic_store_explicit(&s->dead, true, memory_order_relaxed);
	sig_queue_drop(s);
	lock_release(&s->lock);
	attention_clear(s);
	bool deviates = atomic_load_explicit(&sigp.dev_total, memory_order_relaxed) != 0;
	sig_account(s, sigp.base_mask);
	atomic_fetch_sub(&sigp.live, 1);
	if (unlikely(deviates))
		sig_and_refresh();
}

void sig_thread_unmade(struct g *g) {
	struct g *self = g_self();
	rt_enter(self);
	gone(sig_of(g));
	sig_ring_drain(true); /* as below */
	rt_exit(self);
}

void sig_thread_exit(struct g *g) {
	rt_enter(g);
	gone(sig_of(g));
	/* Its kernel thread may be idle from here on: what nobody accepts any more must not come to it (and_broadcast() tells all others). */
	uint64_t nobodys = atomic_load(&sigp.and_mask) & ~g->m->kmask;
	if (unlikely(nobodys)) {
		mask_store(g, mask_of(g) | nobodys);
		sig_resync(g);
	}
	sig_ring_drain(true); /* what was held for the handler it is in, too: nobody may be left to take it */
	rt_leave(g);
}

struct g *sig_main(void) {
	return sigp.main_g;
}

void sig_fork_child(void) {
	struct g *g = self_g();
	sig_trap_fork_child();
	sig_queue_fork_child();
	atomic_store(&sigp.held, 0);
	atomic_store(&rt_pending, 0);
	atomic_store(&sigp.sysmon_tid, 0);
	sigp.and_lock = (struct lock){0};
	if (!g)
		return;
	sig_forker_note(g);
	struct sigstate *s = sig_of(g);
	s->lock = (struct lock){0};
	s->head = s->tail = 0;
	s->of_process = 0;
	s->bare = 0;
	s->pending = 0;
	s->attention = false;
	stack_t ss = sig_altstack(s); /* a plain thread again: the kernel has its, not the M's */
	SYS2(SYS_sigaltstack, &ss, 0);
	sigp.main_g = NULL;
}
