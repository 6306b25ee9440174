/* GOMAXPROCS at run time. See procs.c. */
#ifndef GOSHIM_PROCS_H
#define GOSHIM_PROCS_H

#include <stdbool.h>
#include <stdint.h>

#include "climb.h"

struct p;

/* From now on n goroutines may run at once (clamped to 1..256). Any thread, with no lock of the runtime held. Returns the old number, or -EAGAIN: the
 * runtime is not started; -ENOMEM: nothing has changed (with memory for some, it grows so far). When it returns, new Ps are in use as far as there
 * is work; those that leave do so at their holders' next chance, within about 10 ms. */
int procs_set(uint32_t n);

/* sysmon, each tick, no lock held: uses fewer Ps while more serve less (climb.c). `computes`: a goroutine has just been seen to run on and on. */
void procs_climb(int64_t now, bool computes);
/* sysmon: is it being tried? */
bool procs_climbing(void);
/* What the process has done until now. */
struct climb_look procs_look(void);
/* The process is idle: what comes next finds all of them. */
void procs_climb_over(void);
/* Empties the Ps that were given up since. sysmon, each tick; no lock held. */
void procs_settle(void);
/* The caller holds p, which is leaving, and gives it up; no lock held. */
void procs_part(struct p *p);
void procs_fork_child(void);

#endif
