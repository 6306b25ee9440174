/* How many Ps are worth having, found by trying. See climb.c. */
#ifndef GOSHIM_CLIMB_H
#define GOSHIM_CLIMB_H

#include <stdbool.h>
#include <stdint.h>

/* What the process has done until now. */
struct climb_look {
	int64_t now;    /* CLOCK_MONOTONIC, ns */
	int64_t cpu;    /* CPU time of all its threads, ns */
	uint64_t calls; /* system calls on sockets that moved something */
};

/* One comparison of `high` Ps with `low`. */
struct climb_trial {
	uint32_t high, low;
	uint32_t window;    /* which it is at */
	bool settled;       /* the window is being measured */
	double rate;        /* the first half of a pair, calls/s */
	double sum[2];      /* of high, of low */
	uint32_t low_won;   /* pairs */
};

struct climb {
	bool not_ps;              /* set before climb_reset() */
	uint32_t max;             /* what GOMAXPROCS was at the last look */
	uint32_t use;             /* the best known; the number in use, but for a trial */
	bool trying;
	bool downwards;           /* the next trial, where there is a choice */
	struct climb_trial trial;
	struct climb_look from;   /* the current window's beginning */
	int64_t next;             /* no trial before */
	int64_t wait;             /* ns between the last one and the next */
	int64_t computed;         /* when a goroutine was last seen to compute on and on; 0 never */
	double rate, cost;        /* calls/s and CPU ns for each, at the last verdict; 0 unknown */
	uint32_t slack;           /* windows in a row in which the Ps in use were not busy */
	uint32_t unlike;          /* windows in a row whose rate was another */
};

/* The process has nothing to do: all are back for what comes next. */
void climb_idle(struct climb *c);
/* Nothing is known. max: GOMAXPROCS. */
void climb_reset(struct climb *c, uint32_t max);
/* Is it time for a look? Else what has been said last stands. */
bool climb_due(const struct climb *c, uint32_t max, int64_t now);
/* So many Ps shall be in use until the next look. */
uint32_t climb_next(struct climb *c, uint32_t max, const struct climb_look *look);
/* The same: a goroutine has just been seen to run on and on. */
uint32_t climb_computes(struct climb *c, int64_t now);

#endif
