/* Forced bad luck, for tests: GOSHIM=chaos=SEED[,p=PERCENT] and GOSHIM=fail=N. See chaos.c.
 *
 * Off (the rule), a site costs one load and one branch that is never taken, and no uncontended fast path has a site. */
#ifndef GOSHIM_CHAOS_H
#define GOSHIM_CHAOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What may be forced. Each is something that a busy machine does to a program anyway. */
enum chaos_site {
	CHAOS_YIELD,   /* the goroutine gives way before, or after, it goes on */
	CHAOS_MIGRATE, /* a ready goroutine goes to the global queue: whatever M comes next runs it */
	CHAOS_STEAL,   /* an M looks at other Ps' queues, runnext included, before its own */
	CHAOS_HANDOFF, /* a P is taken from a running goroutine, or given away before a system call, at once */
	CHAOS_DELAY,   /* the kernel takes the CPU away here */
	CHAOS_WAKE,    /* an M that was given a P wakes later, or is not woken for what sysmon finds, too */
	CHAOS_PART,    /* a read or write moves a part first */
	CHAOS_INTR,    /* a wait ends as by a signal that turns out to be for somebody else */
	CHAOS_REFUSE,  /* the kernel or libc says no where the runtime has another way */
	CHAOS_PROCS,   /* half the Ps leave, or come back */
	CHAOS_SITES
};

enum { CHAOS_RANDOM = 1, CHAOS_NTH = 2, CHAOS_ERRORS = 4 };
/* Which of the modes is on. Written once, before the runtime starts. */
extern uint8_t chaos_modes __attribute__((visibility("hidden")));

/* seed 0: no chaos. percent: of the decisions at sites of full weight, 1..100. nth 0: nothing fails. */
void chaos_configure(uint64_t seed, uint32_t percent, uint64_t nth);

/* After chaos_configure(): this never happens. */
void chaos_spare(enum chaos_site site);

/* After chaos_configure() with a seed: calls are refused as well where the program sees that as an error of its own. */
void chaos_show_errors(void);

bool chaos_roll(enum chaos_site site);
bool chaos_error(void);
void chaos_delay_slow(void);
size_t chaos_part_slow(size_t bytes);
void chaos_yield_slow(void);
bool chaos_nth(const char *file, int line, const char *what);

/* Shall it happen here and now? */
static inline bool chaos(enum chaos_site site) {
	return __builtin_expect(chaos_modes != 0, 0) && chaos_roll(site);
}

/* Somewhere between 0 and 100 us pass, now and then. Anywhere, also with locks held: a holder may lose its CPU. */
static inline void chaos_delay(void) {
	if (__builtin_expect(chaos_modes != 0, 0))
		chaos_delay_slow();
}

/* The caller, now and then, lets others run first. Does nothing inside the runtime and on a kernel thread of the program's. May
 * change the M; where a preemption would be legal. */
static inline void chaos_yield(void) {
	if (__builtin_expect(chaos_modes != 0, 0))
		chaos_yield_slow();
}

/* `bytes`, or, now and then, less: 1 at least. */
static inline size_t chaos_part(size_t bytes) {
	return __builtin_expect(chaos_modes != 0, 0) ? chaos_part_slow(bytes) : bytes;
}

/* The choke point of everything that the kernel or libc may refuse the runtime: `refused` instead of doing `call`, when it is the N-th such
 * call and GOSHIM=fail=N. For calls whose failure the program gets to see (as an error that NPTL could give as well). */
#define MAY_FAIL(refused, call) \
	(__builtin_expect(chaos_modes != 0, 0) && chaos_nth(__FILE__, __LINE__, #refused) ? (refused) : (call))

/* The same for memory and threads, which a program may find refused on any machine: chaos refuses them, too, if the program is said to accept it
 * (GOSHIM=chaos_errors=1). */
#define MAY_FAIL_SEEN(refused, call) \
	(__builtin_expect(chaos_modes != 0, 0) && (chaos_nth(__FILE__, __LINE__, #refused) || chaos_error()) ? (refused) : (call))

/* The same where the runtime has another way, so that the program sees nothing: chaos refuses such calls, too. */
#define MAY_FAIL_UNSEEN(refused, call) \
	(__builtin_expect(chaos_modes != 0, 0) && (chaos_nth(__FILE__, __LINE__, #refused) || chaos_roll(CHAOS_REFUSE)) ? (refused) : (call))

#endif
