/* The order in which a thread takes the runtime's locks (lock.h), outermost first. */
#ifndef GOSHIM_LOCK_RANK_H
#define GOSHIM_LOCK_RANK_H

enum lock_rank {
	LOCK_ASIDE = 1, /* alarm.c: a kernel thread is made below it, so anything may be */
	LOCK_CPUTIMER,  /* sigtimer.c's timers on CPU clocks */
	LOCK_SIGROUTE,  /* the signal shims': route_lock, ... */
	LOCK_SIGMASK,   /* ... and_lock, ... */
	LOCK_SIGSTATE,  /* ... sigstate.lock */
	LOCK_PROCS,     /* procs_lock */
	LOCK_CTX,       /* ctx->lock */
	LOCK_NETPOLL,   /* pd->lock */
	LOCK_FUTEX,     /* bucket->lock; two by address */
	LOCK_TIMER,     /* heap->lock */
	LOCK_TIMER_P0,  /* the heap of P 0, below that of a P that leaves */
	LOCK_CHAN,      /* chan->lock, several by address; go_cond */
	LOCK_RETAKE,    /* retake_lock */
	LOCK_SCHED,     /* sched.lock */
	LOCK_STACK,     /* stack_lock, images_lock, pd_slab_lock, slab.c's classes: nothing is called below */
};

#endif
