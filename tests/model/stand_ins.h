/* A goroutine per thread of a scenario, each on an M of its own that has no P: the real wait_park() switches away from it, the real ready() puts it
 * into the global queue, and there the stand-ins begin: who is queued may go on, whenever the checker likes. Timers go to the heap of the one P. */
#ifndef GOSHIM_TESTS_STAND_INS_H
#define GOSHIM_TESTS_STAND_INS_H

#include "runtime.h"

extern struct g gs[MODEL_THREADS];
extern struct timer_heap *const heap;

/* From a scenario's setup. */
void stand_ins_reset(void);
/* The scenario's part of a switch, if it looks at ctx.on_cpu: the current thread's registers are saved; it is picked, and runs. */
void switch_left(struct g *g) __attribute__((weak));
void switch_picked(struct g *g) __attribute__((weak));
/* A scenario's thread that plays sysmon: fires timers until `threads` others have called thread_done(). */
void timers_until_done(int threads);
void thread_done(void);
/* After a run: nothing is queued any more. */
void stand_ins_finish(void);

#endif
