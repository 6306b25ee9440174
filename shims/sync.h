/* What the synchronisation shims share: the caller's thread id, spinning, interruptions, and the mutex as condition
 * variables see it.
 *
 * Who owns which object. A *private* object is ours from the first instruction of the process to the last, also while
 * the process has one thread and the runtime is not started: then the same algorithm runs, contention cannot happen,
 * and waiters, if libc itself made a thread, are foreign Gs that sleep in the kernel. So there is no moment at which
 * half of a family is ours (SYN-5). A *process-shared* or *robust* object belongs to glibc's protocol, because other
 * processes take part in it (SYN-7): its calls go to real.X, first the variant that cannot block, then the blocking
 * one inside syscall_enter_blocking(). Functions that only write into an object and that glibc does exactly as we
 * would (pthread_mutex_init, sem_init, sem_getvalue, pthread_barrier_init, every *attr_*) are not interposed at all;
 * their results obey the layouts checked below.
 *
 * If it is known before the program's first instruction that there will be no goroutines (`sync_real`), everything is
 * glibc's. If that turns out later, at the first pthread_create, the objects stay ours: they may be in use.
 *
 * All waiting is interruptible, so that a handler of a signal sent to a waiting goroutine runs at once as it would on
 * a kernel thread; calls that POSIX forbids to return EINTR go back to waiting (hazards, section 1). */
#ifndef GOSHIM_SYNC_H
#define GOSHIM_SYNC_H

#include <limits.h>
#include <stdatomic.h>
#include <sys/single_threaded.h>

#include "../core/futex.h"
#include "../core/tcb.h"
#include "shim.h"

/* Set by the constructor, before any object is used: forward everything to glibc. Uncontended mutexes and semaphores
 * need no look at it: there the two protocols are one. */
extern bool sync_real;

/* The pauses before a contended lock's last look at its word; then it parks. 127 in all, as many as Go's mutex makes: 1.5 us on an AMD Zen 4, where a park
 * and a wake-up cost nearly as much. */
#define SYNC_SPINS 64

/* A second name for a shim. */
#define SYNC_ALIAS(name, target, params) SHIM int name params __THROWNL __nonnull((1)) __attribute__((alias(#target)))

/* What gettid() says on this thread: the goroutine's number, or the kernel's. Before the layout of the TCB is known
 * (only code that runs ahead of our constructor) the kernel is asked. */
static inline int32_t sync_tid(void) {
	if (unlikely(tcb_tid_offset == 0))
		return (int32_t)SYS0(SYS_gettid);
	return tcb_tid_here(tcb_tid_offset);
}

/* Between two looks at a lock that is held. False: park. `*pauses` is 0 at first. They double with each look, because a look takes the word's line
 * from who holds the lock: with one pause before each of 30 looks, 64 threads at one mutex took two to three times as long, 8 producers and consumers
 * more than twice. */
static inline bool sync_spin(unsigned *pauses) {
	if (*pauses == 0)
		*pauses = sched_others_run() ? 1 : 2 * SYNC_SPINS; /* pays only when the owner may be running on another P meanwhile */
	if (*pauses > SYNC_SPINS)
		return false;
	for (unsigned i = 0; i < *pauses; i++)
		arch_relax();
	*pauses *= 2;
	return true;
}

/* Cancellation point, on any thread. The thread's own word is libc's on every kind of thread; the calls behind it would double the price of a semaphore
 * that nobody waits for. Relaxed: who finds no request needs nothing from who sends one. */
static inline void sync_testcancel(void) {
	if (likely(tcb_cancel_offset != 0 && !(arch_tp_load32(tcb_cancel_offset) & TCB_CANCELED)))
		return;
	struct g *g = g_goroutine();
	if (g)
		shim_testcancel(g);
	else
		pthread_testcancel();
}

/* Until when one sleep of a cancellation point may last. libc cannot reach a kernel thread in the parking lot to
 * cancel it, so such a thread looks for itself now and then, ever more rarely (*slice, 0 at first): most are never cancelled, and an idle process is to stay idle.
 * Alone in its process it need not. A goroutine's wait is ended by pthread_cancel(). */
#define SYNC_SLICE_NS 50000000
#define SYNC_SLICE_MAX_NS 800000000
static inline int64_t sync_slice(struct g *g, int64_t deadline, int64_t *slice) {
	if (likely(g->kind <= G_MAIN) || __libc_single_threaded)
		return deadline;
	*slice = !*slice ? SYNC_SLICE_NS : *slice < SYNC_SLICE_MAX_NS ? *slice * 2 : SYNC_SLICE_MAX_NS;
	int64_t until = deadline_in(*slice);
	return deadline < 0 || deadline > until ? until : deadline;
}

/* glibc's check of the clocks that the clock variants take. */
static inline bool sync_clock_valid(clockid_t clock) {
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC;
}

/* ---- robust mutexes (robust.c) ----------------------------------------------------------------------------------- */

/* glibc's bits of __kind. */
#define MUTEX_ROBUST 16u
#define MUTEX_INHERIT 32u
#define MUTEX_SHARED 128u

struct g *robust_enter(unsigned kind);
void robust_leave(struct g **g);
/* For the rest of the block, which calls libc for a mutex of this kind, also if it is left by cancellation: the calling goroutine is its kernel thread, if the mutex
 * is one whose owner the kernel must find: robust, or priority inheritance, and shared. */
#define ROBUST_SELF(kind)                                                                                                   \
	__attribute__((cleanup(robust_leave), unused)) struct g *robust_self_ =                                             \
		unlikely(mutex_needs_owner(kind)) ? robust_enter(kind) : NULL
static inline bool mutex_needs_owner(unsigned kind) {
	return (kind & MUTEX_SHARED) && (kind & (MUTEX_ROBUST | MUTEX_INHERIT));
}
/* A mutex of such a kind, whose word this is, is the calling goroutine's. True for others: libc asks them. */
bool robust_owns(uint32_t word);
/* The caller has got (1) or given back (-1) a mutex of this kind that is libc's. Before the block ends. */
void robust_count(unsigned kind, int step);
/* The runtime has started, on main; main is the only thread left, of another process. */
void robust_start(struct g *g);
void robust_fork_child(void);

/* ---- mutexes, for condition variables (mutex.c) ------------------------------------------------------------------ */

/* The address that waiters of m queue on in the parking lot, or NULL if m is glibc's, or everything is. */
const void *mutex_queue(pthread_mutex_t *m);

/* Is it none of glibc's? One that is shared with other processes may be ours, and has no queue here. */
bool mutex_is_ours(pthread_mutex_t *m);

/* What unlocking m would fail with. For glibc's mutexes 0: only the unlock itself knows. */
int mutex_cond_check(pthread_mutex_t *m);

/* Unlocks m and keeps the caller counted among its users, as waiters in a condition variable are: destroying such a
 * mutex fails with EBUSY. Does not park: it may be called between futex_prepare() and futex_commit(). Fails only for
 * glibc's mutexes. */
int mutex_cond_unlock(pthread_mutex_t *m);

/* Takes m again. `contended`: others may have been moved to m's queue, so leave m marked as waited for. */
int mutex_cond_lock(pthread_mutex_t *m, bool contended);

/* ---- who reads (readers.c, rwlock.c) --------------------------------------------------------------------------------- */

struct readers;
/* The calling goroutine holds l for reading; not any more. */
void readers_note(pthread_rwlock_t *l);
void readers_forget(pthread_rwlock_t *l);
/* Does g, for a report? */
bool readers_has(struct g *g, uintptr_t l);
/* For the next thread on that G; may be NULL. */
void readers_reset(struct readers *r);
/* From now on readers are noted. */
void rwlock_note_all(void);

/* ---- once (once.c) --------------------------------------------------------------------------------------------- */

int once_run(int *control, void (*routine)(void));

/* ---- futex(2) for syscall() (rawfutex.c) ------------------------------------------------------------------------ */

/* The futex system call; arguments as the kernel's (`timeout` is val2 for the requeue operations). Returns the
 * kernel's result or a negative error number. Any thread may call it. */
long shim_futex(struct g *g, uint32_t *uaddr, int op, uint32_t val, const struct timespec *timeout, uint32_t *uaddr2,
                uint32_t val3);

/* System call n with its six arguments, if it is futex_waitv(), futex_wake(), futex_wait() or futex_requeue(). False: it is the kernel's. */
bool shim_futex_two(struct g *g, long n, const long *a, long *r);

#endif
