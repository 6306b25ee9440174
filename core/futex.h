/* The parking lot: one user-level futex under everything that waits on memory (design 3).
 *
 * A hash table of buckets by address; each bucket has a lock (LOCK_FUTEX) and a FIFO of waiters. A waiter is a goroutine or a foreign
 * kernel thread: both are a `struct g`. Waiters live on their own stack. */
#ifndef GOSHIM_FUTEX_H
#define GOSHIM_FUTEX_H

#include "proc.h"

#define FUTEX_ANY 0xffffffffu

/* A word has a second queue, for who must not meet those of the first: everything below takes this in its address's place. (An object that is no word may have queues of
 * its own at odd addresses.) */
#define FUTEX_SECOND 2u
static inline const void *futex_second(const void *word) {
	return (const char *)word + FUTEX_SECOND;
}
/* What is compared, whichever of its queues is meant. */
static inline const void *futex_word(const void *addr) {
	return (const void *)((uintptr_t)addr & ~(uintptr_t)FUTEX_SECOND);
}

struct fwaiter {
	struct fwaiter *next, *prev; /* bucket queue; guarded by the bucket's lock */
	const void *addr;           /* what it waits on; changed by requeue under both bucket locks; NULL when not queued */
	struct g *g;
	uint32_t bitset;
	bool moving;                 /* a futex_broadcast() woke or moved it */
};

/* Waits while *addr == expected. deadline: CLOCK_MONOTONIC ns or -1. Returns 0 when woken by futex_wake, -EAGAIN when *addr differs,
 * -ETIMEDOUT, -EINTR (only if interruptible). what: static string for dumps. */
int futex_wait(const _Atomic uint32_t *addr, uint32_t expected, int64_t deadline, uint32_t bitset, bool interruptible, const char *what);

/* Waits for so many ns, for nobody. Not interruptible. */
void futex_nap(int64_t ns, const char *what);

/* Wakes up to n waiters, oldest first. Returns how many. */
int futex_wake(const void *addr, int n, uint32_t bitset);

/* Wakes up to n_wake, moves up to n_move others to wait on `to`. If check: only if *addr == expected, else -EAGAIN.
 * Returns woken + moved. */
int futex_requeue(const void *addr, int n_wake, int n_move, const void *to, bool check, uint32_t expected);

/* The same, keeping the count of `addr`'s waiters (see futex_prepare). */
int futex_requeue_counted(const void *addr, int n_wake, int n_move, const void *to, bool check, uint32_t expected,
                          _Atomic uint32_t *count);

/* Wakes one waiter of addr and moves the others to *to; NULL: wakes all. *to is what the last of them stored there before it queued itself. Who was met by it is told (moving):
 * it has to wake the next one that waits at *to. How many were, if any, is told to met(), with the buckets locked: before any of them runs. */
void futex_broadcast(const void *addr, const void *_Atomic *to, void (*met)(void *arg, int n), void *arg);

/* Two-step wait, for condition variables: queue first, then do something (unlock a mutex), then sleep.
 * prepare may touch a counter under the bucket lock: *count += 1 when queued, -= 1 when a waker or a leaver takes it out
 * (count may be NULL). After prepare the caller is inside the runtime and may call futex_wake and plain atomics only; it must call
 * futex_commit or futex_uncommit. Returns of commit as futex_wait's (0, -ETIMEDOUT, -EINTR). futex_wake_counted is the waker's side. */
void futex_prepare(struct fwaiter *w, const void *addr, _Atomic uint32_t *count, bool interruptible, const char *what);
/* The same without a count, but not if over(arg), which is asked with the bucket locked: then false, and the caller is neither queued nor inside. */
bool futex_prepare_unless(struct fwaiter *w, const void *addr, bool interruptible, const char *what, bool (*over)(void *arg), void *arg);
int futex_commit(struct fwaiter *w, const void *addr, _Atomic uint32_t *count, int64_t deadline);
/* Instead of commit, without sleeping: true if somebody has woken it already. */
bool futex_uncommit(struct fwaiter *w, const void *addr, _Atomic uint32_t *count);
int futex_wake_counted(const void *addr, int n, _Atomic uint32_t *count);

/* As futex_wake for one waiter, but calls update(arg, more) under the bucket lock after the waiter is chosen (or not: woke 0), `more`
 * telling whether others remain queued: so that a lock's word can be changed atomically with the queue. */
int futex_wake_update(const void *addr, void (*update)(void *arg, int woke, bool more), void *arg);

/* As futex_wake for all, but only if update(arg), called under the bucket lock before they are chosen, says so: nobody who learns of what it did can wait at addr
 * before they are. For words whose memory may be used anew as soon as it has them changed. */
int futex_wake_if(const void *addr, bool (*update)(void *arg), void *arg);

/* Wakes all in the second queues of the words from `from` up to `to`, who need no reason. */
void futex_wake_seconds(uintptr_t from, uintptr_t to);

/* Names of waits for reports: who waits under the first and is moved by a requeue waits under the second from then on. */
/* The last: in the kernel, with a time limit. */
extern const char futex_what_cond[], futex_what_mutex[], futex_what_mutex_timed[];

void futex_init(void);
void futex_fork_child(void); /* the waiters did not come along */

#endif
