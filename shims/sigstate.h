/* Signals of one goroutine: what the kernel keeps per thread and cannot keep for us, because it knows Ms only.
 *
 * `struct sigstate` is a member of struct thread (g->ext). The mask itself is g->sigmask, because the switch compares it
 * with what the M has. The alternate stack is all here: the kernel knows the M's own only (sigentry.c).
 *
 * Invariants
 *  - While a goroutine runs in user code, the kernel's mask of its M is g->sigmask. Inside the runtime (in_rt > 0)
 *    the two may differ.
 *  - Entries are queued under `lock` by anybody who is inside the runtime; only the owner takes them out (or whoever
 *    resets a dead one).
 *  - `attention` is set when an entry may be deliverable, and counted in rt_pending while it is.
 *
 * Lock order: route lock (sigqueue.c) -> sigstate.lock -> nothing. Neither is held over g_interrupt() of a parked
 * goroutine's locks in reverse: the core never calls up here with a lock held. */
#ifndef GOSHIM_SIGSTATE_H
#define GOSHIM_SIGSTATE_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../core/proc.h"
#include "shim.h"

struct sigstate {
	struct lock lock;
	uint32_t head, tail;      /* queue of entries: index + 1 in sigqueue.c's pool; 0 none. Under lock */
	uint32_t of_process;      /* how many of these were sent to the process. Under lock */
	_Atomic uint64_t pending; /* signals in the queue or in `bare`; written under lock, read by the owner without */
	uint64_t bare; /* pending without an entry: the pool was empty; as the kernel, we then forget the siginfo */
	_Atomic uint64_t waiting; /* in sigwait() & co. for these */
	uint64_t back; /* between sig_mask_push and _pop: the mask there was before, or what a handler has made of it */
	uint64_t counted; /* the mask as it is accounted in the process-wide mask */
	_Atomic bool attention;
	_Atomic bool dead; /* exited; signals to it succeed and vanish. Under lock, and for who only looks */
	bool defer;        /* between sig_mask_push and _pop: handlers run in shim_interrupted() only (SIG-16) */
	bool cancel_held;  /* by shim_cancel_hold() */
	uint32_t handlers; /* handlers run so far on this goroutine: to tell a true EINTR from a stray one */
	/* the program's alternate stack, with the kernel's semantics */
	void *alt_sp; /* NULL: none */
	size_t alt_size;
	int alt_flags;
	uint32_t ending; /* `handlers` of actions without SA_RESTART, begun ones included; of those on top of one that is over, that one only */
};

/* The sigstate of a goroutine. In shims/thread.c. */
struct sigstate *sig_of(struct g *g);

/* ---- for shims/thread.c
 * ------------------------------------------------------------------------------------------------ */

/* Once sched_start() succeeded, on the new main goroutine, before it can be found by others: takes over the kernel's
 * mask and alternate stack, sets the hooks. */
void sig_runtime_start(struct g *g);
/* A goroutine made by g_new(), before ready_new(): inherits the caller's mask, or *mask (an attribute's) if not
 * NULL. */
void sig_thread_init(struct g *g, const sigset_t *mask);
/* After ready_new(): the new one may be the first that accepts what is held. */
void sig_thread_ready(void);
/* The calling goroutine is past its last program code: from now on signals to it vanish. Blocks everything. */
void sig_thread_exit(struct g *g);
/* ... of one that was never queued, for the calling one, which made it. */
void sig_thread_unmade(struct g *g);

/* ---- for the other shims
 * ------------------------------------------------------------------------------------------------ */

/* ppoll, pselect, epoll_pwait: `set` becomes the goroutine's mask, atomically with the wait: a signal that comes in
 * between makes the next interruptible wait return -EINTR at once, and shim_interrupted() runs its handler (with the temporary mask, as the kernel).
 * Between the two calls: only a wait and shim_interrupted(). Pop also delivers what is still deliverable. */
void sig_mask_push(struct g *g, const sigset_t *set);
void sig_mask_pop(struct g *g);

/* How many handlers ran on g: a bracketed syscall that returned EINTR although this did not change was disturbed by
 * a signal for somebody else, and must be repeated (SIG-1). */
static inline uint32_t sig_handlers_run(struct g *g) {
	return sig_of(g)->handlers;
}
/* How many of them, begun ones included, end a system call that the kernel could restart: their action is without SA_RESTART. */
static inline uint32_t sig_handlers_ending(struct g *g) {
	return sig_of(g)->ending;
}

/* tgkill/tkill with virtual or real thread ids; libc's convention (-1, errno). For the syscall() shim. */
long shim_tgkill(pid_t tgid, pid_t tid, int sig);
long shim_tkill(pid_t tid, int sig);
/* As the kernel's calls: negative errors. */
long shim_sigqueueinfo(pid_t tgid, pid_t tid, int sig, const siginfo_t *given);
long shim_sigtimedwait(struct g *g, const sigset_t *set, siginfo_t *info, const struct timespec *timeout);

/* ---- between the signal shims, cancel.c and process.c
 * ----------------------------------------------------------------------------- */

/* In a fork's child, on the surviving thread, first: the pending signals did not come along. */
void sig_fork_child(void);
/* The goroutine that is the process's main thread; NULL: no runtime. */
struct g *sig_main(void);
/* sigtimer.c: the runtime starts, on main; and a child, of a process with a runtime or without, has no timers. */
void sigtimer_start(struct g *main_g);
void sigtimer_fork_child(void);
/* Makes a goroutine look at its queue and its cancellation soon: ends its wait, or interrupts its M with `sig`, if it is one. */
void sig_nudge(struct g *g, int sig);
/* A handler of the program is about to run on the calling goroutine g, or it is about to unwind: neither may come back, so the I/O call that it is
 * in lets go of its descriptor. In fdcall.c. */
void fdcall_abandon(struct g *g);
/* The same of waits for signals: sigwait(), and those with a mask of their own, which stays when it unwinds. What it waited for: a handler may come back to before the
 * kernel's wait, where nobody would look again. In sigwait.c. */
uint64_t sig_waits_abandon(struct g *g);
void sig_waits_resume(struct g *g, uint64_t waited);

/* A child that ends is reported to its parent first, and whoever waits for it is woken then: a thread that takes SIGCHLD has run the handler when its call
 * returns. Here another kernel thread may have been given the signal, and not be done with it. sig_seen() before the call, sig_settle() after it, if it was sent
 * in between; of a child, by what was seen before the call, or before the child was made, if that is known. In sigqueue.c. */
uint32_t sig_seen(int sig);
void sig_settle(struct g *g, int sig, uint32_t seen);
/* Around the making of a child, on the goroutine that makes it: whose it is. `child` is not positive if there is none, and in the child. In sigchild.c. */
struct child_birth {
	uint32_t seen;
	int place;
};
void sig_child_begin(struct child_birth *birth);
void sig_child_made(const struct child_birth *birth, pid_t child);
bool sig_child_seen(pid_t child, uint32_t *seen);
/* g made it, as far as is known. */
bool sig_child_of(struct g *g, pid_t child);
void sig_child_settle(struct g *g, pid_t child, uint32_t seen);
/* What has been sent to the process is main's to take, or g's where main blocks it, and a call of its taker's does not return before it has: that stops a timer of `sig`
 * (0: that one's late signals are known as such), or takes its handler away, after which the program relies on it. Here another kernel thread may be about to hand it
 * over. Outside the runtime. In sigqueue.c. */
void sig_stopped_settle(struct g *g, int sig);
/* The same of one signal that a call of g's may have made the kernel send to the process, for any g that takes it. */
void sig_sent_settle(struct g *g, int sig);
int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags);
/* system() begins, 1, or has ended, -1; one that is cancelled never does, which costs a question each time and no more. */
void sig_system(int step);
/* A message queue will send `sig`; one has been sent a message, successfully if r is 0. Returns r. In sigsend.c. */
void sig_mq_note(int sig);
long sig_mq_sent(struct g *g, long r);

/* Before exec, which keeps what is pending for the caller: what waits in its queue is in the kernel then, and the caller, inside the runtime, stays on the kernel
 * thread that has it. False: there is nothing, and it is not inside. What a timer sent is not kept. After true, if exec fails, the queue is as it was. */
bool sig_exec_begin(struct g *g);
void sig_exec_failed(struct g *g);
/* libc blocks `which` on the kernel thread of g while it is in one of its calls, without telling. hide returns what show takes. Nothing for NULL and foreign threads.
 * In sigmask.c. */
uint64_t sig_hide(struct g *g, uint64_t which);
void sig_show(struct g *g, uint64_t before);

/* The signal that comes with an error is for the thread whose call it is. One that it blocks is pending on its kernel thread, where the next goroutine would take
 * it: so it goes to the queue of this one before that can leave the kernel thread. At once after the call, whose result is r. In sigqueue.c. */
void sig_raised(struct g *g, int sig);
static inline void sig_raised_by(struct g *g, long r) {
	if (unlikely(r == -EPIPE) || unlikely(r == -EFBIG))
		sig_raised(g, r == -EPIPE ? SIGPIPE : SIGXFSZ);
}

/* ---- for calls on descriptors (sigfd.c) ------------------------------------------------------------------------------------ */

/* A kernel thread is made the owner of a descriptor's signals. In sigentry.c. */
void sig_own_note(void);

/* Signals that a signalfd was ever made for. */
extern _Atomic uint64_t sig_by_fd;
static inline uint64_t sig_fd_blocked(struct g *g) {
	/* relaxed: who has the descriptor has seen it made; the mask is the caller's own */
	return atomic_load_explicit(&sig_by_fd, memory_order_relaxed) & __atomic_load_n(&g->sigmask, __ATOMIC_RELAXED);
}
/* The kernel knows of nothing on a descriptor of the calling goroutine. Is that the last word, or has it signals that the kernel does not know, and a
 * signalfd may? seq_cst: Dekker with sig_send(), which ends a wait */
bool sig_fd_has(struct g *g, uint64_t blocked);
static inline bool sig_fd_due(struct g *g) {
	uint64_t blocked = sig_fd_blocked(g);
	return __builtin_expect(blocked != 0, 0) && sig_fd_has(g, blocked);
}
/* Then: asks the kernel again, while it knows them. Inside the runtime; `ask` does not wait. */
long sig_fd_ask(struct g *g, long (*ask)(void *), void *arg);
/* Is it a signalfd? By its name in /proc, for cold paths. */
bool sig_fd_is(int fd);

/* Puts our handler in front of libc's SIGCANCEL and SIGSETXID ones. Needs the first real pthread_create() to be
 * over. */
void sig_reserve(void);
/* SIGCANCEL arrived on the goroutine that runs here, outside the runtime: act if it is cancelled asynchronously. In
 * cancel.c. */
void cancel_now(struct g *g);
/* Would it act? */
bool cancel_due(struct g *g);
/* Before an unwinding that may begin in a signal's frame. In sigentry.c. */
void sig_frames_leave(struct g *g);

/* A wait ended with -EINTR and begins anew, whatever ran, in a call that is no cancellation point: asynchronous cancellation acts there, too. */
static inline void shim_interrupted_anew(struct g *g) {
	shim_interrupted(g, true);
	cancel_now(g);
}
/* The TCB by which libc knows a kernel thread of ours (for main's first one: main's); 0 if it is none of ours. */
uintptr_t process_tcb_of(int32_t ktid);
/* May the thread pointer be written behind the kernel's back? Before the runtime starts. */
extern bool sig_trap_wanted;

/* Reads and writes the thread pointer. The caller must not touch thread-local variables around it. */
uintptr_t process_tp(void);
void process_tp_set(struct arch_thread *self, uintptr_t tp);
/* The kernel thread id of the M that runs g at this moment, 0 if none does. Stale at once. */
int32_t sig_running_on(struct g *g);
/* sysmon's; 0 not yet known. */
int32_t sig_sysmon_ktid(void);

/* libc's own two. */
#define SIGCANCEL_NR 32
#define SIGSETXID_NR 33

/* Signals that no mask of a program blocks: libc's own two, and the two that cannot be blocked. */
#define SIGBIT(sig) (1ull << ((sig)-1))
#define SIG_NEVER_BLOCKED (SIGBIT(SIGKILL) | SIGBIT(SIGSTOP) | SIGBIT(32) | SIGBIT(33))

static inline uint64_t sigset_bits(const sigset_t *set) {
	uint64_t bits;
	__builtin_memcpy(&bits, set, sizeof bits);
	return bits;
}

/* The kernel's sigset: libc's has room for more, and the calls write only this part. */
static inline void sigset_store(sigset_t *set, uint64_t bits) {
	__builtin_memcpy(set, &bits, sizeof bits);
}

/* A mask for the kernel to wait with: without arch_signals_open. It, or *room. NULL is NULL. */
static inline const sigset_t *sig_kernel_set(const sigset_t *mask, sigset_t *room) {
	if (likely(!mask) || likely(!(sigset_bits(mask) & arch_signals_open)))
		return mask;
	sigset_store(room, sigset_bits(mask) & ~arch_signals_open);
	return room;
}

#endif
