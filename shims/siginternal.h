/* What the signal shims share and nobody else knows: the process-wide state, records of handlers, and how the files call each
 * other. signal.c's head has the whole picture. */
#ifndef GOSHIM_SIGINTERNAL_H
#define GOSHIM_SIGINTERNAL_H

#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "../core/runtime.h"
#include "io.h"
#include "process.h"
#include "shim.h"
#include "sigstate.h"

#define NSIGNALS 64
#define STOP_SIGNALS (SIGBIT(SIGTSTP) | SIGBIT(SIGTTIN) | SIGBIT(SIGTTOU)) /* whose default stops the process; SIGSTOP has nothing else */
/* Is it one of these? sig may be no signal at all. */
static inline bool sig_stops(int sig) {
	return sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}
#define STANDARD_SIGNALS 0x7fffffffull /* of a number one is pending at most */
#define KICK_CODE (-0x6753) /* si_code of our own signals: "look at your queue" */
#define KICK_UNASKED 1        /* SIGSETXID with KICK_CODE that nobody waits for */
#define KICK_SETTLE 2         /* the same: is one of sigp.settle_which on its way here? */
#define THREAD_CODE (-0x6754) /* of a tgkill() from another process; si_value: THREAD_MAGIC and which goroutine (sigsend.c) */
#define THREAD_MAGIC 0x67736874u
#define TIMER_CODE (-0x6755) /* in the ring or a queue: from one of sigtimer.c's timers; no SI_TIMER before it is taken out */
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

/* What the program asked for. Never changes once published, never freed: read from handlers without locks. */
struct sigrecord {
	_Atomic uint32_t state; /* 0 free, 1 being written, 2 ready */
	int flags;
	void (*handler)(int, siginfo_t *, void *);
	uint64_t mask;
};

/* What the kernel keeps per process. */
struct sig_process {
	struct g *main_g;             /* NULL: no runtime */
	uint64_t base_mask;           /* main's mask when the runtime started */
	_Atomic int32_t dev[NSIGNALS]; /* goroutines whose mask differs from base_mask in this signal */
	_Atomic int32_t dev_total;    /* goroutines that differ anywhere */
	_Atomic int32_t live;
	struct lock and_lock;
	_Atomic uint64_t and_mask;
	_Atomic int32_t opening[NSIGNALS]; /* so many are about to accept what nobody does. seq_cst: Dekker with who routes it, as sigp.held */
	struct m *first;              /* the process's first kernel thread; NULL: it is no M */
	_Atomic uint64_t main_mask;   /* main's, as it counts in and_mask: what `first` masks while it runs nobody */
	_Atomic bool first_idle;      /* it runs nobody, and says so before it looks at main_mask */
	_Atomic uint32_t taking;       /* so many take what is pending in the kernel to the ring */
	_Atomic uint64_t settle_which; /* sig_stopped_settle(): asked of all, */
	_Atomic uint32_t settle_answers, settle_found; /* how many have answered, and how many of them that it is so */
	_Atomic uint32_t acks;        /* futex word: answers to a broadcast of and_mask */
	_Atomic uint64_t held;        /* signals with held entries */
	_Atomic uint64_t kicked_ever; /* signals that were ever used for a kick: one may still be on its way */
	_Atomic uint64_t masked_ever; /* signals that some handler masks: their default action may have to wait for its end */
	_Atomic int32_t sysmon_tid;
	_Atomic int reserved;         /* 2: libc's two signals come to us; 1: being done */
};
extern struct sig_process sigp;
extern _Atomic(struct sigrecord *) sig_handlers[NSIGNALS + 1];

/* Does sp lie on the alternate stack, by the kernel's rule? Never with SS_AUTODISARM: that is disarmed while in use. */
static inline bool sig_on_altstack(const struct sigstate *s, uintptr_t sp) {
	return s->alt_sp && !(s->alt_flags & (int)SS_AUTODISARM) && sp - (uintptr_t)s->alt_sp - 1 < s->alt_size;
}

static inline stack_t sig_altstack(const struct sigstate *s) {
	return s->alt_sp ? (stack_t){.ss_sp = s->alt_sp, .ss_size = s->alt_size, .ss_flags = s->alt_flags}
	                 : (stack_t){.ss_flags = SS_DISABLE};
}

static inline void sig_altstack_set(struct sigstate *s, const stack_t *ss) {
	bool none = ss->ss_flags & SS_DISABLE;
	s->alt_sp = none ? NULL : ss->ss_sp;
	s->alt_size = none ? 0 : ss->ss_size;
	s->alt_flags = none ? 0 : ss->ss_flags & (int)SS_AUTODISARM;
}

/* Into a handler: what its context says of the alternate stack. SS_AUTODISARM ends with every delivery, until the handler returns. */
static inline stack_t sig_altstack_save(struct sigstate *s) {
	stack_t was = sig_altstack(s);
	if (s->alt_flags & (int)SS_AUTODISARM)
		sig_altstack_set(s, &(stack_t){.ss_flags = SS_DISABLE});
	return was;
}

/* The goroutine whose state the kernel thread stands for. A vfork child has its parent's memory, but mask, handlers
 * and pending signals of its own, which are the kernel's (FRK-5). */
static inline struct g *self_g(void) {
	struct g *g = g_goroutine();
	return g && likely(!g->in_vfork) ? g : NULL;
}

static inline struct sigrecord *handler_of(int sig) {
	/* acquire: pairs with the release of the writer; the record's fields were written before */
	return atomic_load_explicit(&sig_handlers[sig], memory_order_acquire);
}

static inline int32_t self_pid(void) {
	return (int32_t)SYS0(SYS_getpid);
}

static inline int32_t self_ktid(void) {
	return (int32_t)SYS0(SYS_gettid);
}

static inline uint64_t mask_of(struct g *g) {
	return __atomic_load_n(&g->sigmask, __ATOMIC_RELAXED);
}

/* seq_cst: Dekker with senders, which queue first and read the mask then */
static inline void mask_store(struct g *g, uint64_t mask) {
	__atomic_store_n(&g->sigmask, mask, __ATOMIC_SEQ_CST);
}

/* Our own signal to kernel thread ktid of this process: "look", of what the number says. */
static inline bool kick_send(int32_t ktid, int sig, int what) {
	siginfo_t info;
	memset(&info, 0, sizeof info);
	info.si_signo = sig;
	info.si_code = KICK_CODE;
	info.si_value.sival_int = what;
	return SYS4(SYS_rt_tgsigqueueinfo, self_pid(), ktid, sig, &info) == 0;
}

/* What the kernel masks on m, which the caller runs on. Relaxed: others look (and_broadcast()), and ask again. */
static inline void kmask_set(struct m *m, uint64_t mask) {
	__atomic_store_n(&m->kmask, mask, __ATOMIC_RELAXED);
}

/* Leaves the runtime without delivering: for sections inside the delivery itself. */
static inline void rt_leave(struct g *g) {
	atomic_signal_fence(memory_order_seq_cst);
	in_rt_drop(g);
}

static inline bool is_alive(struct g *g) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_relaxed);
	return __atomic_load_n(&g->kind, __ATOMIC_RELAXED) <= G_MAIN && state != GS_DEAD && state != GS_IDLE && !atomic_load_explicit(&sig_of(g)->dead, memory_order_relaxed);
}

/* Does g accept the signal now? */
static inline bool is_open(struct g *g, int sig) {
	return g && is_alive(g) && !(mask_of(g) & SIGBIT(sig));
}

/* Whom the kernel would choose for it: who waits for it counts as one that does not block it. */
static inline bool takes(struct g *g, int sig) {
	return is_open(g, sig) || (g && is_alive(g) && (atomic_load(&sig_of(g)->waiting) & SIGBIT(sig)));
}

/* Does everybody block it, so that it is the kernel's? */
static inline bool is_nobodys(int sig) {
	return (atomic_load(&sigp.and_mask) & SIGBIT(sig)) && likely(!atomic_load(&sigp.opening[sig - 1]));
}

static inline void attention_set(struct sigstate *s) {
	if (!atomic_exchange(&s->attention, true))
		atomic_fetch_add(&rt_pending, 1);
}

static inline void attention_clear(struct sigstate *s) {
	if (atomic_load_explicit(&s->attention, memory_order_relaxed) && atomic_exchange(&s->attention, false))
		atomic_fetch_sub(&rt_pending, 1);
}

/* Signals whose default action waits for the end of a handler that masks them. Not those of the CPU, nor abort()'s: who has a core dump written of them wants
 * to see the instruction. */
#define DEFAULT_WAITS                                                                                                                     \
	(~(SIG_NEVER_BLOCKED | SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) | SIGBIT(SIGILL) | SIGBIT(SIGFPE) | SIGBIT(SIGTRAP) | SIGBIT(SIGSYS) |   \
	   SIGBIT(SIGABRT) | SIGBIT(SIGCHLD) | SIGBIT(SIGURG) | SIGBIT(SIGWINCH) | SIGBIT(SIGCONT)))

static inline bool default_ignores(int sig) {
	return sig == SIGCHLD || sig == SIGURG || sig == SIGWINCH || sig == SIGCONT;
}

/* Takes what is pending of `which` for this kernel thread or the process, if anything is; its number, or less than 1. */
static inline int taken_from_kernel(uint64_t which, siginfo_t *info) {
	struct timespec none = {0, 0};
	return (int)SYS4(SYS_rt_sigtimedwait, &which, info, &none, 8);
}

/* sig_entry() has done with one of these that was sent to this process. */
void sig_seen_add(int sig);

static inline long kernel_queue_self(int sig, siginfo_t *info) {
	return SYS4(SYS_rt_tgsigqueueinfo, self_pid(), self_ktid(), sig, info);
}

/* ---- sigqueue.c ----------------------------------------------------------------------------------------------- */

/* How many signals can wait in the library: few, as a rule, and how many do. */
#define SIG_ENTRIES 16384u
#define SIG_ENTRIES_FEW 2048u
unsigned sig_entries_used(void);
bool sig_entries_are_many(void); /* were, once */
/* Whom a signal with THREAD_CODE is for; NULL: nobody who lives. Async-signal-safe. */
struct g *sig_told(const siginfo_t *info);
/* From a handler: a signal that cannot be handled now. `to` NULL: it was sent to the process. A full ring loses it, as
 * RLIMIT_SIGPENDING does. */
void sig_ring_push(int sig, const siginfo_t *info, struct g *to);
/* Inside the runtime (or on a g0, or sysmon). Routes everything in the ring, oldest first; and what is held, if asked. */
void sig_ring_drain(bool held_too);
/* Inside the runtime. `to` NULL: it was sent to the process. 0, or -EAGAIN: no entry left (real-time signals only; a standard one needs none). */
int sig_queue_put(struct sigstate *s, int sig, const siginfo_t *info, struct g *to);
/* Takes the lowest pending signal of `allowed`, those to the thread before those to the process, into *info; its number, or 0. Owner only. */
int sig_queue_take(struct g *g, uint64_t allowed, siginfo_t *info);
/* Copies what is queued of `which`, in the order in which those of one number are taken; how many. Inside the runtime. */
unsigned sig_queue_copy(struct sigstate *s, uint64_t which, siginfo_t *to, unsigned room);
/* Back to the kernel, which keeps what everybody blocks. */
void sig_return(int sig, siginfo_t *info);
/* The first kernel thread, which is called on, has `mask`, as another than main: a kick must not be pending behind it if main takes such a signal. */
void sig_kicks_forget(uint64_t mask);
/* Makes the kernel thread ktid, on which g was a moment ago, look at g's queue: a signal of the same number whose only meaning is that. */
void sig_kick(struct g *g, int32_t ktid, int sig);
/* Ends the system call of g, which runs on m, as a signal for somebody else would. */
void sig_disturb(struct g *g, struct m *m);
/* sigstate.lock held or nobody else there. */
void sig_queue_drop(struct sigstate *s);
/* What was sent to the process and g, which has begun the handler of `handled`, or, 0, has another mask, blocks, is for another. */
void sig_queue_hand_on(struct g *g, int handled);
/* Inside the runtime. Queues for g and makes it look, if it would take it. 0 or -EAGAIN. */
int sig_send(struct g *g, int sig, const siginfo_t *info, bool of_process);
/* Who takes a signal sent to the process; NULL: nobody. */
struct g *sig_taker(int sig);
/* As sig_settle(), of one that `taker` takes; NULL: nobody does. */
void sig_settle_with(struct g *g, struct g *taker, int sig, uint32_t seen);
/* All who would take it, or its default action, are in handlers that mask it. */
bool sig_is_held_back(int sig);
/* Outside the runtime, and g asks for what is pending of `which`. Of what only the handler masks that it is in, the kernel may have given some to another kernel
 * thread: that is held then. */
void sig_settle_masked(struct g *g, uint64_t which);
/* Inside the runtime. What is held of `which`, or the oldest of each number, comes into the queue of g, which asks for what is pending: who does not take it hands it
 * on. */
void sig_held_claim(struct g *g, uint64_t which, bool all);
/* Inside the runtime. A real-time signal to the process, for whoever takes it, behind those of its number that wait for somebody. 0 or -EAGAIN. */
int sig_send_in_turn(int sig, const siginfo_t *info);
/* What waits in the library of `which`, wherever and for whomever, is gone: it is ignored from now on, say. Async-signal-safe. */
void sig_discard(uint64_t which);
/* sig is about to be sent here: as in the kernel, SIGCONT discards the signals that stop, and these it. Async-signal-safe. */
void sig_discard_opposite(int sig);
void sig_foreign_deliver(struct g *g);
/* In a fork's child: nothing was ever sent. */
void sig_queue_fork_child(void);

/* ---- sigchild.c ----------------------------------------------------------------------------------------------- */

/* sig_taker() of a signal of which more is known: SIGCHLD goes to the goroutine that made the child, if it may. Async-signal-safe. */
struct g *sig_taker_of(int sig, const siginfo_t *info);
/* The goroutine that made the child, if it takes SIGCHLD; NULL: another does, or nobody. Async-signal-safe. */
struct g *sig_child_parent(pid_t child);
void sig_child_fork_child(void);

/* ---- sigtrap.c ------------------------------------------------------------------------------------------------ */

/* real.sigaction(), where the kernel may have to have something else than it is told: both actions, which may be NULL, are as if it had not. */
int sig_kernel_action(int sig, const struct sigaction *set, struct sigaction *was);
/* The mask that main had when the runtime started, where the kernel's was opened. */
extern uint64_t sig_trap_closed;
void sig_trap_fork_child(void);
void sig_trap_look(void);

/* ---- sigfd.c -------------------------------------------------------------------------------------------------- */

/* Sent to goroutine g, which blocks it. True: there is a signalfd for it, and nobody else would take it, so it waits there, as one for the process.
 * False: it is for the goroutine's queue. */
bool sig_to_fd(struct g *g, int sig, siginfo_t *info);

/* ---- sigsend.c ------------------------------------------------------------------------------------------------ */

/* The goroutine, alive, that has this thread id; NULL: none has. Async-signal-safe. */
struct g *sig_g_of_tid(pid_t tid);
/* The process, if id is the number of one of its goroutines; else id. */
pid_t sig_process_of(pid_t id);
/* In a fork's child, on the goroutine that made it, which still is its parent's. */
void sig_forker_note(struct g *g);
/* SIGSETXID with THREAD_CODE stands for the signal whose number is si_errno; true if it is one of those, which is dealt with. Async-signal-safe. */
bool sig_told_by_setxid(const siginfo_t *info);
/* Sends to a goroutine by the rules of tgkill(). 0 or a negative error. */
int sig_thread_send(struct g *g, int sig, siginfo_t *info);

/* ---- sigtimer.c ----------------------------------------------------------------------------------------------- */

/* SIGSETXID came from a timer: true if that is one of the program's, which is noted for sysmon. Async-signal-safe. */
bool sigtimer_expired(const siginfo_t *info);
/* sysmon: sends what expired. */
void sigtimer_look(void);
/* A signal with TIMER_CODE leaves the queue, or never comes into one. Makes *info what the program sees. False: its timer was set anew or deleted
 * meanwhile, so there is no such signal. */
bool sigtimer_taken(siginfo_t *info);
/* The same of a copy of one that stays in the queue. */
bool sigtimer_shown(siginfo_t *info);
/* A signal with SI_TIMER is about to wait for somebody. Of a timer that signals the process it has TIMER_CODE from then on; false: one of the same timer waits already,
 * and this one is its overrun. Async-signal-safe, as the next three. */
bool sigtimer_arrives(siginfo_t *info);
/* It is about to be handled at once, as *info. False: one of the same timer waits already. */
bool sigtimer_handled(siginfo_t *info);
/* The program has it from the kernel. */
void sigtimer_received(const siginfo_t *info);
/* One that waited is gone, and nobody has it. Nothing for other signals. */
void sigtimer_lost(const siginfo_t *info);
/* From a timer that named main as the thread to signal before there were others? Async-signal-safe. */
bool sigtimer_of_main(const siginfo_t *info);
/* From a timer on the CPU clock of the process? Async-signal-safe. */
bool sigtimer_counts_cpu(const siginfo_t *info);
/* The runtime starts, on main. */

/* ---- sigmask.c ------------------------------------------------------------------------------------------------ */

/* Inside the runtime. */
void sig_and_refresh(void);
/* Inside the runtime. The goroutine's mask is `mask` from now on, as far as the process is concerned. */
void sig_account(struct sigstate *s, uint64_t mask);
/* The mask changes for good. Negative error. *old: the kernel's idea of it before, which is also right after a change inside libc
 * (swapcontext). */
int sig_mask_change(struct g *g, int how, uint64_t bits, uint64_t *old);

/* ---- sigaction.c ---------------------------------------------------------------------------------------------- */

/* The program has no handler for sig: the kernel has sig_entry() for its default action from now on, if a handler's mask may hold that back.
 * Async-signal-safe. */
void sig_default_arm(int sig);
void sig_default_arm_all(void);

/* The kernel has sig_entry() where the program has a default: what sigaction() is to show it. */
void sig_default_note(int sig, int flags, uint64_t mask);

/* ---- sigrun.c ------------------------------------------------------------------------------------------------- */

uint64_t sig_handler_mask(const struct sigrecord *h, int sig);
/* h is about to be called for a signal. False: SA_RESETHAND, and somebody else was first: the default action. */
bool sig_handler_take(int sig, struct sigrecord *h);
void sig_handler_done(struct g *g, struct sigstate *s);
/* Outside the runtime: everything deliverable in g's queue, or of `allowed` only. 0: no handler ran; 1: one did; 3: one without
 * SA_RESTART did. 0, too, if one forked and this is the child: check self_g(). */
unsigned sig_queue_run(struct g *g);
unsigned sig_queue_run_some(struct g *g, uint64_t allowed);
void sig_interrupt_spend(struct g *g);
bool sig_must_defer(struct g *g);
void sig_cancel_look(struct g *g);
/* rt_deliver_hook */
void sig_deliver(struct g *g);

/* ---- sigentry.c ----------------------------------------------------------------------------------------------- */

/* What the kernel calls, by arch_signal_entry(), for every signal that the program handles. */
void sig_entry(int sig, siginfo_t *info, void *context);
/* The same, by arch_cancel_entry(), for SIGCANCEL. */
void sig_cancel_entry(int sig, siginfo_t *info, void *context);
/* sig_resync_hook, sig_idle_hook, sig_sysmon_hook */
void sig_resync(struct g *g);
/* The kernel's mask of this M, which the caller runs on, inside the runtime. */
void sig_kernel_mask(struct m *m, uint64_t want);
void sig_idle(struct m *m, bool idle);
void sig_sysmon(void);

#endif
