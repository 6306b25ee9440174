/* Timers: one 4-ary heap per P, each with a lock (LOCK_TIMER). */
#ifndef GOSHIM_TIMER_H
#define GOSHIM_TIMER_H

#include "proc.h"

struct timer_heap {
	struct lock lock;
	struct timer **slot;      /* slot[1..count]; grows by doubling with mmap, never shrinks */
	uint32_t count, cap;
	struct timer *spilled;    /* queued when there was no memory for a slot */
	uint64_t fired;           /* under lock */
	_Atomic uint32_t walls;   /* how many of the queued ones stand for a time of the wall clock; written under lock */
	_Atomic int64_t first;    /* when of slot[1]; INT64_MAX if empty; written under lock, read without */
};

/* Queues t (when, fire, arg set; index 0) on heap h. */
void timer_add(struct timer_heap *h, struct timer *t);
/* Takes t out; false if it was not queued (it fired). After it returns, fire is not running and will not run. */
bool timer_del(struct timer *t);
/* The same, but t may be any memory: whether it is queued the heap alone tells, `h`, or another that it has been moved to. */
bool timer_forget(struct timer_heap *h, struct timer *t);
/* Fires what is due at `now`, earliest first, `max` at most. Returns how many. */
int timer_run(struct timer_heap *h, int64_t now, int max);
/* The wall clock was set: those that stand for a time of it fire. Their owners look what it says now, and wait again. */
void timers_clock_set(struct timer_heap *h);
/* Moves all of them to another heap, whose lock ranks behind (procs.c). */
void timers_move(struct timer_heap *from, struct timer_heap *to);

/* Queues t where somebody will fire it: on the caller's P; without a runtime, on a heap that a kernel thread of its own looks after. Any thread. 0 or
 * -ENOMEM, or -EAGAIN: that thread could not be made. In alarm.c. */
int timer_arm(struct timer *t);
/* As timer_del(), but t may be any memory: was it armed, and has not been deleted and is not over since? */
bool timer_disarm(struct timer *t);
void timer_fork_child(void);
#endif
