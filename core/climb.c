/* How many Ps are worth having: fewer, where more of them only get into each other's way.
 *
 * A server whose every request unmaps memory, or whose threads take turns with one lock, is slower on two CPUs than on one: each CPU interrupts the others for every
 * change of the address space, and each lock and line changes sides. Kernel threads pay the same; but here the number of CPUs is ours to choose, so it is found
 * by hill climbing: for a moment half the Ps are used, then all, in turns; what served more stays. What is compared is the number of system calls on sockets that
 * moved something: other counts (switches, parks, wake-ups by pipe or eventfd) change with the number of Ps by themselves.
 *
 *   watching --busy, and it is time--> trial: PAIRS pairs of windows of WINDOW_NS, after SETTLE_NS each: all half half all all half half all (a load that grows or shrinks
 *                                      meanwhile favours neither) --verdict--> watching
 *
 * In doubt all are used: fewer Ps must serve more, not as much, by BETTER in the sum and in every pair, or in all but one of twice as many. (Where clients send at a pace of their own, both serve the same,
 * and fewer Ps would only let them wait.) The first pair alone ends a trial that costs too much. A verdict that changes nothing doubles the time until the next trial,
 * WAIT_MIN_NS to WAIT_MAX_NS, and so does giving all back; another load (the rate of calls) asks again sooner.
 *
 * Only a process that is busy with calls is tried: enough of them, and more CPU time than half the Ps could have. Never while a goroutine computes on and on: what it does
 * counts no calls, and it would have to share its CPU. (Seen is who does so for 10 ms. Many short computations that wait for each other beside a socket that
 * is served better by fewer Ps would be taken for that socket's.) Where one begins, where calls become dear or few, where those used are not busy any more, all Ps are back at once.
 *
 * What is tried need not be Ps (not_ps): 2 and 1 then stand for any two ways to run, of which the first is taken in doubt, and no CPU time is asked for (batch.c).
 *
 * Pure: no clock, no lock; sysmon (procs.c) looks, and calls. The idea is that of .NET's thread pool, which counts work items of its own. */
#include "climb.h"

#define LOOK_NS 50000000     /* between two looks while nothing is tried */
#define SETTLE_NS 5000000    /* a P's leaving takes less, and its goroutines are in other queues */
#define WINDOW_NS 40000000
#define PAIRS 4u
#define PAIRS_MAX 8u
#define STALE_NS 500000000   /* nobody has looked for so long: what lies between says nothing */
#define WAIT_MIN_NS 1000000000
#define WAIT_FIRST_NS 250000000 /* not_ps: a wrong verdict costs little, and many clients run for seconds only */
#define WAIT_MAX_NS 60000000000
#define COMPUTES_NS 1000000000 /* no trial for so long after a goroutine has computed */
#define CALLS_MIN 4000.0     /* each second: fewer say too little in a window */
#define BUSY 0.8             /* CPU time of what half the Ps could have */
#define SLACK 4u             /* windows in a row in which those in use were not busy */
#define BETTER 1.05          /* who is to be used instead of more, in the sum and in every pair */
#define STILL_BETTER 1.02    /* who is used instead of more */
#define HOPELESS 0.9         /* the first pair ends it */
#define UNLIKE 1.5           /* another rate */
#define DEARER 1.5           /* another kind of work */

void climb_reset(struct climb *c, uint32_t max) {
	*c = (struct climb){.max = max, .use = max, .wait = c->not_ps ? WAIT_FIRST_NS : WAIT_MIN_NS, .not_ps = c->not_ps};
}

static void wait_longer(struct climb *c, int64_t now) {
	c->next = now + c->wait;
	if (c->wait < WAIT_MAX_NS)
		c->wait *= 2;
}

static uint32_t half(uint32_t procs) {
	return (procs + 1) / 2;
}

static int64_t window_ns(const struct climb *c) {
	return !c->trying ? LOOK_NS : c->trial.settled ? WINDOW_NS : SETTLE_NS;
}

bool climb_due(const struct climb *c, uint32_t max, int64_t now) {
	return max != c->max || (max > 1 && now - c->from.now >= window_ns(c));
}

/* So many from now on, and no trial for a while. rate: calls/s with them; 0 unknown */
static uint32_t decide(struct climb *c, uint32_t procs, double rate, int64_t now) {
	c->use = procs;
	c->trying = false;
	wait_longer(c, now);
	c->rate = rate;
	c->cost = 0;
	c->unlike = c->slack = 0;
	return procs;
}

static uint32_t all_back(struct climb *c, int64_t now) {
	return decide(c, c->max, 0, now);
}

static void interrupted(struct climb *c, int64_t now) {
	if (c->trying || c->use < c->max)
		all_back(c, now);
	c->from.now = 0;
}

void climb_idle(struct climb *c) {
	interrupted(c, c->from.now);
}

uint32_t climb_computes(struct climb *c, int64_t now) {
	c->computed = now;
	interrupted(c, now);
	return c->use;
}

/* all half half all all half half all */
static bool window_is_low(uint32_t window) {
	return (window + 1) / 2 % 2;
}

/* How many are over. */
static uint32_t pairs(const struct climb_trial *t) {
	return t->window / 2;
}

static uint32_t trial_procs(const struct climb *c) {
	return window_is_low(c->trial.window) ? c->trial.low : c->trial.high;
}

static uint32_t trial_begin(struct climb *c) {
	bool down = c->use > 1 && (c->use == c->max || c->downwards);
	uint32_t other = down ? half(c->use) : c->use * 2 < c->max ? c->use * 2 : c->max;
	c->trying = true;
	c->trial = (struct climb_trial){.high = down ? c->use : other, .low = down ? other : c->use};
	c->downwards = !down;
	return trial_procs(c);
}

static uint32_t verdict(struct climb *c, bool low, int64_t now) {
	uint32_t winner = low ? c->trial.low : c->trial.high;
	if (winner != c->use)
		c->wait = WAIT_MIN_NS;
	return decide(c, winner, c->trial.sum[low] / pairs(&c->trial), now);
}

/* At the end of a whole trial. */
static bool low_is_best(const struct climb *c) {
	const struct climb_trial *t = &c->trial;
	if (t->low == c->use)
		return t->sum[1] > t->sum[0] * STILL_BETTER;
	return t->sum[1] > t->sum[0] * BETTER && t->low_won >= pairs(t) - (pairs(t) == PAIRS_MAX);
}

/* After PAIRS: fewer would have been better, but for one pair. On a busy machine that happens to the best. */
static bool undecided(const struct climb *c) {
	const struct climb_trial *t = &c->trial;
	return t->low != c->use && t->low_won == PAIRS - 1;
}

/* A window of a trial is over, in which the process made so many calls a second. */
static uint32_t trial_next(struct climb *c, double rate, int64_t now) {
	struct climb_trial *t = &c->trial;
	bool low = window_is_low(t->window), low_used = t->low == c->use;
	t->sum[low] += rate;
	t->settled = false;
	if (++t->window % 2) {
		t->rate = rate;
		return trial_procs(c);
	}
	double of_low = low ? rate : t->rate, of_high = low ? t->rate : rate;
	t->low_won += of_low > of_high;
	if (pairs(t) == 1 && (low_used ? of_high < of_low * HOPELESS : of_low < of_high * HOPELESS))
		return verdict(c, low_used, now);
	if (pairs(t) == PAIRS_MAX || (pairs(t) == PAIRS && !undecided(c)))
		return verdict(c, low_is_best(c), now);
	return trial_procs(c);
}

/* A window without a trial is over. */
static uint32_t watched(struct climb *c, int64_t now, double rate, double cpus) {
	double cost = rate > 0 ? cpus * 1e9 / rate : 0;
	c->slack = cpus < BUSY * c->use ? c->slack + 1 : 0;
	bool harms = !c->not_ps && (c->slack >= SLACK || (c->cost > 0 && cost > c->cost * DEARER));
	if (c->use < c->max && (rate < CALLS_MIN || harms))
		return all_back(c, now);
	if (c->cost == 0) /* the first window after a verdict */
		c->cost = cost;
	bool unlike = c->rate > 0 && (rate > c->rate * UNLIKE || rate * UNLIKE < c->rate);
	c->unlike = unlike ? c->unlike + 1 : 0;
	if (c->unlike == 2) {
		c->rate = rate;
		c->cost = cost;
		c->wait = WAIT_MIN_NS;
		if (c->next > now + WAIT_MIN_NS)
			c->next = now + WAIT_MIN_NS;
	}
	bool busy = rate >= CALLS_MIN && (c->not_ps || cpus >= BUSY * half(c->use));
	if (!busy || now < c->next || (c->computed && now - c->computed < COMPUTES_NS))
		return c->use;
	return trial_begin(c);
}

uint32_t climb_next(struct climb *c, uint32_t max, const struct climb_look *look) {
	if (max != c->max)
		climb_reset(c, max);
	struct climb_look from = c->from;
	int64_t ns = look->now - from.now;
	if (ns < window_ns(c))
		return c->trying ? trial_procs(c) : c->use;
	c->from = *look;
	if (from.now == 0 || ns > STALE_NS) {
		if (c->trying || c->next == 0) /* a process's first second is like no other */
			wait_longer(c, look->now);
		c->trying = false;
		return c->use;
	}
	if (c->trying && !c->trial.settled) {
		c->trial.settled = true;
		return trial_procs(c);
	}
	double rate = (double)(look->calls - from.calls) * 1e9 / (double)ns;
	double cpus = (double)(look->cpu - from.cpu) / (double)ns;
	return c->trying ? trial_next(c, rate, look->now) : watched(c, look->now, rate, cpus);
}
