/* G, M, P: the scheduler's three nouns, and what the shims may do with them.
 *
 *   G  a goroutine: one thread of the program. Has a stack slot, a glibc TCB of its own (tcb.h), a wake word.
 *   M  a kernel thread that runs Gs. Has a g0 (its native stack and TCB) on which the scheduler loop runs.
 *   P  the right to run Gs: a run queue, a timer heap, caches. GOMAXPROCS of them.
 *
 * Every kernel thread that calls a shim has a `struct g` in its TLS variable `tls_g`: a goroutine its own, a *foreign* kernel
 * thread (made inside libc, by raw clone, or any thread while the runtime is not started) one of kind G_FOREIGN which waits
 * in the kernel. Waiting code is the same for both: wait_begin, publish, wait_park. Gs are never freed (type-stable memory), so
 * a stale pointer may be looked at, never trusted.
 *
 * tls_g lives in the TLS block of the *goroutine*: it and every field of *g reached through it stay the same over a migration
 * (TLS-1). g->m does not: read it again after every park.
 */
#ifndef GOSHIM_PROC_H
#define GOSHIM_PROC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"
#include "lock.h"

struct m;
struct p;
struct g;
struct pd;

enum g_kind { G_GOROUTINE, G_MAIN, G_G0, G_FOREIGN };

/*  IDLE --g_new--> RUNNABLE --execute--> RUNNING --park--> WAITING --ready--> RUNNABLE
 *                                        RUNNING --yield--> RUNNABLE         RUNNING --g_exit--> DEAD --g_new--> RUNNABLE
 * Main, foreign threads and g0 begin RUNNING. Who claims its own wait, and a foreign thread, goes back to RUNNING without having been RUNNABLE.
 * Changed by g_state_set() alone; debug.c has the same as a table. */
enum g_state { GS_IDLE, GS_RUNNABLE, GS_RUNNING, GS_WAITING, GS_DEAD };

/* Values of g->wake. Exactly one waker moves it from an armed value to a reason (wait_claim). */
enum wake {
	WAKE_READY = 0,    /* not waiting, or: what was waited for happened */
	WAKE_ARMED = 1,    /* waiting; only the awaited event or a timeout may end it */
	WAKE_ARMED_INTR = 2, /* waiting; g_interrupt() may end it, too */
	WAKE_TIMEOUT = 3,
	WAKE_INTR = 4,
};

/* A timer of core/timer.c. Embedded in its owner; `index` 0 means not queued. */
struct timer {
	int64_t when;          /* CLOCK_MONOTONIC nanoseconds */
	void (*fire)(struct timer *t); /* called with the heap's lock held (LOCK_TIMER); may only claim and ready */
	void *arg;
	struct timer_heap *heap; /* where it is queued; stable while it is */
	int64_t period;        /* > 0: queued again, so many ns later, before it fires */
	struct timer *spill_next; /* of those without a slot */
	uint32_t index;        /* 1-based slot in the heap; TIMER_SPILLED: it has none */
	bool wall;             /* `when` stands for a time of the wall clock: fires early when that is set (timers_clock_set) */
	bool unlocked;         /* fire is called without the lock, once and for all: it may take any lock and free t; timer_del() does not wait for it */
};

/* Tids of goroutines are above any kernel tid (PID_MAX_LIMIT), and as the kernel's below 2^28: a clock's number has room for so much of one
 * (cpuclock.h), glibc's lock words for two bits more. */
#define TID_FIRST ((1 << 22) + 1)
#define TID_COUNT ((1u << 28) - TID_FIRST)

struct stack {
	char *lo;              /* lowest usable byte (the guard is below) */
	char *hi;              /* end of the slot; TCB and static TLS are at the top */
	size_t size, guard;    /* as asked for, bytes */
	void *slab;            /* owner, NULL for a stack the program brought */
};

/* Stacks that the program keeps within a thread's own, arrays in some frame: from where the lowest begins to where the highest ends. 0: none. */
struct inner_stacks {
	uintptr_t lo, hi;
};

/* What a creator wants of a goroutine's stack. */
struct g_stack_req {
	size_t size;           /* bytes, guard not included; 0 = default */
	size_t guard;          /* bytes */
	void *user_lo;         /* the program's own stack, or NULL */
	bool uses_keys;        /* it is likely to have thread-specific data */
};

#define G_EXT_BYTES 256
#define G_ANCESTORS 8

struct g {
	struct arch_ctx ctx;       /* first: arch/ knows its offsets */
	_Atomic uint32_t wake;     /* enum wake; a futex word for foreign threads */
	_Atomic uint32_t note;     /* foreign: futex word that ready() sets, so that it returns only when its waker is done with it */
	uint32_t in_rt;            /* > 0: inside the runtime; own thread writes, sysmon and signal entry read */
	_Atomic uint32_t in_syscall; /* enum in_syscall: in a bracketed one; a hint to sysmon */
	_Atomic bool make_way;       /* disturbed in such a one, for want of kernel threads: let others run before you repeat it */
	uint8_t kind;
	bool in_vfork;             /* a vfork child borrows this thread: shims must be bare syscalls (FRK-5) */
	bool own_files;            /* its kernel thread has descriptors of its own: what is known of a number is about another's */
	bool self_claimed;         /* its own wait_claim_self() succeeded: wait_park() need not sleep */
	_Atomic uint8_t state;
	_Atomic bool interrupt;    /* an interrupt is pending: the next interruptible wait returns -EINTR at once */
	uint8_t admitted;          /* connections it accepted: g_admitted() */
	uint32_t signals;          /* whosoever, that came to its kernel thread while it ran. By that thread's handlers */
	_Atomic uint8_t spins;     /* > 0: found in a loop that waits; g_spins() */
	bool lean;                 /* dead: scavenge.c has given back the deep part of its stack */
	bool orphan;               /* dead: it did not come along to a fork's child, and was wherever it was */
	bool tcb_cut;              /* its struct pthread lies across the end of a page: tcb.c */
	_Atomic bool call_outside; /* `trying` is a call outside the runtime: pd_call_begin() */
	uint64_t sigmask;          /* the mask the program set for this thread; the M that runs it has the same in the kernel */
	void *vfork_ret;           /* arch/ vfork: return address kept off the shared stack */
	struct m *m;               /* who runs it; valid only while it runs */
	_Atomic(struct pd *) trying; /* netpoll.h: in a system call on this pd's descriptor that does not wait */
	struct m *wired_m;         /* the only one that may run it; NULL: any. Changed by itself (or wired_elsewhere) */
	_Atomic bool wish;         /* others want something done that only it can do; wired.c */
	_Atomic bool wish_listed;  /* ... and sysmon looks for it */
	struct g *wish_next;
	struct g *schedlink;       /* run-queue and free-list link */
	struct timer timer;        /* the timeout of its current wait */
	void (*entry)(struct g *g); /* first function on its stack; ends in g_exit() */
	bool tp_held; /* g_tp_hold(); its own */
	struct stack stack;
	struct inner_stacks inner; /* main's are elsewhere: preempt.c */
	void *stack_top;           /* where frames begin, below static TLS */
	uintptr_t tls_tcb;         /* the TCB beside which it has or is getting static TLS; 0: none, and its memory may go. tcb.c */
	int32_t tid;               /* what gettid() says: unique, above 2^22; the pid for main */
	uint32_t tls_epoch;        /* tcb.c: the modules that its TCB knows */
	_Atomic uintptr_t start;   /* the function that it is made to run, or 0: the shims'; unseen.c, by sysmon, may read who it was */
	_Atomic int64_t cpu_ns;    /* cpuclock.c */
	uint64_t chaos_count;      /* decisions that chaos.c made for it */
	uint32_t id;               /* for people: main is 1, then 2, 3, ... in the order they were made; 0 a foreign thread */
	uint32_t ancestor[G_ANCESTORS]; /* ids of its creator, its creator's creator, ...; 0 none */
#ifdef GOSHIM_DEBUG
#define G_LOCKS_MAX 16u
	struct lock *locks[G_LOCKS_MAX]; /* what it holds, for debug.c's checks */
	uint8_t ranks[G_LOCKS_MAX];
	uint32_t locks_held;
	bool locks_lost;
#endif
#ifdef GOSHIM_RACE
	void *race; /* tests/race: its clocks */
#endif
	struct g *all_next;        /* every G ever made; append-only */
	const char *wait_what;     /* for dumps: "mutex", "fd read", ... */
	int64_t wait_since;        /* sched.coarse_now when the wait began */
	uintptr_t wait_on;         /* for dumps: address or descriptor */
	int64_t trim_seen;         /* sysmon's: wait_since of the wait in which it has looked at this stack */
	_Alignas(16) unsigned char ext[G_EXT_BYTES]; /* the shims' part: struct thread */
};

/* The current G enters one. Only its own thread writes in_rt; sysmon and handlers read. */
static inline void in_rt_up(struct g *g) {
	__atomic_store_n(&g->in_rt, g->in_rt + 1, __ATOMIC_RELAXED);
}

/* The current G leaves one section of the runtime; returns in how many it still is. Release: sysmon, which acquires the 0, takes the P over as it was
 * left, with what was put into its queue; and if the P was given away in here, sees that it was. */
static inline uint32_t in_rt_drop(struct g *g) {
	uint32_t depth = g->in_rt - 1;
	__atomic_store_n(&g->in_rt, depth, __ATOMIC_RELEASE);
	return depth;
}

/* The current G. NULL on a kernel thread that never called g_self(). Hidden, initial-exec: one load. */
extern __thread struct g *tls_g __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The current G; makes the foreign G of this kernel thread on first use. Never NULL. */
struct g *g_self_slow(void);
static inline struct g *g_self(void) {
	struct g *g = tls_g;
	return __builtin_expect(g != NULL, 1) ? g : g_self_slow();
}

/* The current goroutine or NULL when this thread waits in the kernel (foreign, or runtime not started). */
static inline struct g *g_goroutine(void) {
	struct g *g = tls_g;
	return (__builtin_expect(g != NULL, 1) && g->kind <= G_MAIN) ? g : NULL;
}

#ifdef GOSHIM_DEBUG
void g_state_set(struct g *g, enum g_state to);
#else
/* Release: who acquires the state sees what came before, as a report does (wait_what and its like). Nothing is decided by the state of one that runs
 * or may be made ready meanwhile, so it needs no more. */
static inline void g_state_set(struct g *g, enum g_state to) {
	atomic_store_explicit(&g->state, (uint8_t)to, memory_order_release);
}
#endif

/* The G of a TCB (pthread_t is the TCB's address); NULL for a foreign thread's that never called us. */
struct g *g_of_tcb(uintptr_t tcb);

/* ---- life -------------------------------------------------------------------------------------------------- */

/* Starts the runtime: this thread becomes the main G (or, in a fork's child, the surviving one). Returns 0, or a negative
 * error number: then nothing has changed and threads stay kernel threads. `why` gets a static sentence. Idempotent. */
int sched_start(const char **why);
bool sched_started(void);
/* True: a P other than the caller's has work, so a lock may be given back while the caller looks at it. A hint. */
bool sched_others_run(void);

/* Makes a goroutine that will run entry(g). It is not queued yet: fill g->ext, then ready_new(g). Negative errors through
 * *err (EAGAIN). May be called by any thread. */
struct g *g_new(const struct g_stack_req *req, void (*entry)(struct g *), int *err);
void ready_new(struct g *g);

/* Ends the current goroutine; never returns. `done` (may be NULL) is called when nothing runs on its stack any more is NOT
 * offered: a joiner may free the G with g_free() as soon as it likes, reuse waits for on_cpu. */
void g_exit(struct g *g) __attribute__((noreturn));
/* Waits until nothing runs on g's stack any more (it is DEAD): before a joiner may tell the program that the stack is its own again. */
void g_wait_off_cpu(struct g *g);

/* Gives a DEAD (or about to be) goroutine back for reuse: by the joiner, or by itself if detached; then it is inside the runtime and must go
 * on with g_exit(). Who is about to be joined calls rt_enter() before the joiner can know, for the same reason: switched out and not yet
 * dead, it would be given a new life. */
void g_free(struct g *g);

/* Makes a kernel thread that runs fn(arg), detached, on a small stack: 0 or a negative error. Set by the shims before
 * sched_start(): the core itself knows no pthreads. Ms must be libc threads (setxid, gdb and the loader must see them). */
extern int (*sched_thread_create)(void *(*fn)(void *), void *arg);
/* Called by sched_start() before there is an M: arch_tp_trap_init(), if whoever set it can keep what that asks for. */
extern void (*sched_tp_trap_hook)(void);

/* Live goroutines, main included. */
uint32_t g_count(void);
/* A thread is past its last program code: counts it out, returns how many are left. */
uint32_t g_live_drop(void);
/* All Gs ever made, newest first; walk with all_next; check state. */
struct g *g_all(void);

/* ---- waiting ------------------------------------------------------------------------------------------------ */

/* Arms g->wake. Then publish `g` where wakers find it, then wait_park(). `g` must be the caller. Enters the runtime;
 * wait_park() leaves it. If `interruptible` and an interrupt is pending, wait_park() returns -EINTR at once.
 * what/on: for dumps; `what` must be a static string. */
void wait_begin(struct g *g, bool interruptible, const char *what, uintptr_t on);

/* In a deadline: it stands for a time of the wall clock. Set meanwhile, that ends the wait with -ETIMEDOUT, and who waits looks whether it is time. Where nobody
 * says so it is off (deadline_in()). */
#define DEADLINE_WALL 1
static inline bool deadline_is_wall(int64_t deadline) {
	return deadline >= 0 && (deadline & DEADLINE_WALL) && deadline != INT64_MAX /* never */;
}

/* Sleeps until claimed. deadline: CLOCK_MONOTONIC ns, or -1 for none. Returns 0 (ready), -ETIMEDOUT or -EINTR. After anything but 0 the
 * caller must take itself out of where it is published, under that place's lock, before it waits again or leaves; and who is published
 * anywhere stays inside the runtime until then (rt_enter before wait_begin, rt_exit after): no handler of the program may find it there. */
int wait_park(struct g *g, int64_t deadline);

/* The waker's side: true for exactly one caller per wait; that one must call ready(g), exactly once, soon. */
bool wait_claim(struct g *g, enum wake reason);
/* The waiter itself finds, after publishing, that it need not sleep: true if it won; wait_park() then returns at once. If false somebody
 * else claimed it and wait_park() takes that wake-up. */
bool wait_claim_self(struct g *g, enum wake reason);
/* Has anybody claimed this wait? Relaxed: it stays so until g runs again, which where the caller found g keeps from happening, or it is a hint. */
static inline bool wait_claimed(const struct g *g) {
	uint32_t w = atomic_load_explicit(&g->wake, memory_order_relaxed);
	return w != WAKE_ARMED && w != WAKE_ARMED_INTR;
}
void ready(struct g *g);

/* Many at once (linked by schedlink, all claimed): one wake of an M at most. */
void ready_list(struct g *head);

/* Ends an interruptible wait of g with -EINTR, or makes its next one end so. For signals and cancellation. */
void g_interrupt(struct g *g);
/* Takes back a pending interrupt of the current G; true if there was one. */
bool g_interrupt_clear(struct g *g);

/* The current goroutine stays on its kernel thread, and nobody else runs there, from now on or no longer. Returns what was; always true for a foreign thread. */
bool g_wire(struct g *g, bool on);
/* The same as g_wire(g, true), on another kernel thread than the process's first. False: it is wired already, or no other is to be had. Not for main. */
bool g_wire_not_first(struct g *g);
/* Around a call in which libc blocks all signals, or makes a kernel thread or a process: the current goroutine stays on its M, which has the policy that it began with
 * (m_batch_leave()), and whose thread pointer the kernel has as well (arch_tp_keep()). What hold returned is release's. No-op for NULL and foreign threads, and inside
 * another one (a handler's). */
enum tp_hold { TP_HOLD_NONE, TP_HOLD_FREE, TP_HOLD_WIRED };
enum tp_hold g_tp_hold(struct g *g);
void g_tp_release(struct g *g, enum tp_hold was);
/* The current goroutine is about to change something that the kernel keeps per thread (SEC-1): it is wired for life, and its kernel thread
 * ends with it, or, the first one, never runs another. No-op for a foreign thread. */
void g_pin(struct g *g);
/* The same, but false if no kernel thread were left for the others. */
bool g_pin_if_spare(struct g *g);
bool g_pinned(struct g *g);
/* The kernel's number of the thread that g has for itself alone; 0: none. */
int32_t g_own_ktid(struct g *g);
/* g was just made by the current goroutine, which is pinned: g gets a kernel thread of its own, made from this one, so that it has what this
 * one has set. On the goroutine's stack, outside the runtime. 0 or a negative error. */
int g_pin_new(struct g *g);
/* Others want something of g that only g itself can do, on its own stack: g runs wish_hook before anything else of its own when it next runs. If it runs
 * now, it is interrupted as one that computes too long, which no system call of it sees, and the caller waits a little for that. What the caller wrote
 * before is seen by the hook, which is called once for one or more wishes, inside the runtime. Not for a foreign thread. */
void g_wish(struct g *g);
/* What others want of the current goroutine and it has not seen yet, it does now: before what inherits from its kernel thread is made. NULL, a foreign thread:
 * nothing. Outside the runtime. */
void g_wish_look(struct g *g);
/* For g that the caller has just made and not queued. */
void g_wish_new(struct g *g);
extern void (*wish_hook)(struct g *g);

/* Puts the current goroutine at the end of the run queue. No-op (kernel yield) for a foreign thread. */
void g_yield(struct g *g);
/* The current goroutine goes behind all others, to run on whichever M comes to it. */
void g_move(struct g *g);
/* The same, behind those who were preempted, too. */
void g_move_late(struct g *g);

/* The current goroutine took new work into the process. Every ADMIT_TURN times it yields to those that have some already, all of them
 * if they are a crowd: who accepts thousands before the first one is served makes as many cold stacks, and all of them late; and a server that
 * counts its connections turns new ones away while those that were closed still queue. */
void g_admitted(struct g *g);

/* ---- syscalls that may block the M --------------------------------------------------------------------------- */

/* Brackets a syscall that the kernel may block: sysmon gives the P to another M when it does. Two plain stores.
 * Nothing between them may call into the runtime. g may be foreign or NULL (then they do nothing). */
void syscall_enter(struct g *g);
void syscall_exit(struct g *g);
/* The same for calls that wait for a disk at most: may park before the call, see disk.c. */
void syscall_enter_disk(struct g *g);
/* For calls that are known to block for long (waitpid, flock, sigwait): hands the P over at once if anything is runnable. */
void syscall_enter_blocking(struct g *g);
/* g is about to run the program's function g->start. Where threads of it wait unseen, it goes on without a P. */
void g_begins(struct g *g);
/* For one that a server makes again and again, and waits in most of the time: hands the P over in any case, so that sysmon need not look after it. Its caller
 * repeats it, as with syscall_repeats(). */
void syscall_enter_idling(struct g *g);
/* After one of these: its caller repeats the call if it fails with EINTR and nothing was done for the program meanwhile. Where the kernel gives no more threads,
 * sysmon ends the wait so that others can use this one; before it is repeated, the caller makes way (g_make_way). */
void syscall_repeats(struct g *g);
static inline void g_make_way(struct g *g) {
	/* relaxed: set for this goroutine by who then disturbed it; seen later, it costs a turn */
	if (__builtin_expect(atomic_load_explicit(&g->make_way, memory_order_relaxed), 0)) {
		atomic_store_explicit(&g->make_way, false, memory_order_relaxed);
		g_move_late(g);
	}
}

/* ---- time ---------------------------------------------------------------------------------------------------- */

int64_t nanotime(void); /* CLOCK_MONOTONIC ns; vdso, no syscall */
/* The deadline so many ns (not negative) from now; INT64_MAX: never. */
static inline int64_t deadline_in(int64_t ns) {
	int64_t when;
	if (__builtin_add_overflow(nanotime() + 1, ns, &when))
		return INT64_MAX;
	return when & ~(int64_t)DEADLINE_WALL;
}

/* ---- the rest of the surface, for entry/settings/fork ------------------------------------------------------------ */

struct sched_config {
	uint32_t gomaxprocs;      /* 1..256; changed by procs_set(). sched.procs are in use */
	bool fewer;               /* fewer Ps are used where more are no use: climb.c */
	uint8_t batch;            /* Ms' waking interrupts nobody: 0 never, 1 where that serves more, 2 always: batch.c */
	size_t stack_default;     /* bytes */
	bool stack_mprotect;      /* use mprotect guards even where guard markers work */
	uint32_t m_idle_max;      /* idle Ms kept above GOMAXPROCS */
	bool stack_exec;          /* stacks are executable, because some module of the program wants it so */
	bool preempt;             /* interrupt goroutines that run on and on; else the kernel shares the CPU */
	int64_t trim_ns;          /* who has been parked for so long gives back what its stack does not need; 0 nobody does */
};
extern struct sched_config sched_config;

/* In a fork's child, on the surviving thread: forget every other G, M, P; the runtime is not started again yet. */
void sched_fork_child(void);

#endif
