/* A small exhaustive checker for the core's concurrent protocols: every interleaving of a few threads that run the real code.
 *
 * How the code is watched. Files of core/ are compiled with -fsanitize=thread but without its library: the compiler turns each atomic
 * operation and each access to memory that others could see into a call, and model.c brings those functions. So nothing in core/ knows of this,
 * an implicit operation on an _Atomic object counts as an explicit one does, and a test names no access itself.
 *
 * How it is run. The threads of a scenario are coroutines of one kernel thread. Before each atomic operation (and each lock, and each wait in
 * the kernel) the checker decides who goes on. It runs the scenario to its end, goes back to the last decision that may matter otherwise, starts again
 * from nothing, repeats the decisions up to there, and takes another: a depth-first search without stored states. Decisions that cannot matter are left out:
 * two steps commute unless they are at the same address and one of them writes. Dynamic partial-order reduction (a race that was seen
 * between two steps asks for the other order) together with sleep sets (what was tried here already is not tried again until something touched it).
 *
 * What is an error: a failed check(), a state in which somebody has not finished and nobody can go on (a lost wake-up), and a data race:
 * two plain accesses of which one writes, and nothing that C11 lets happen between them. For the latter each atomic location carries a clock that only releases
 * write and only acquires read, so an order that is too weak to publish what it should publish is found although the interleaving itself is
 * sequentially consistent.
 *
 * What cannot be found:
 *  - behaviour that only weak memory has: two threads that both store, then both load the old value (a Dekker pair that lacks its fence), a relaxed
 *    load that gets a stale value. Loads return the latest store here, always. Nor sysmon's membarrier protocol, for that reason;
 *  - a weak compare-exchange that fails for no reason;
 *  - plain accesses are no decisions: which is right as long as there is no data race, and a data race is an error;
 *  - anything that needs more threads, or more operations each, than a scenario has. A kernel wait with a timeout times out once per thread at most, at any time.
 *
 * Proof that it can fail: tests/model/bugs lists changes of the core, each of which brings back a bug; scripts/model applies one at a time and
 * wants to see the scenarios fail. And the reduction: run with the argument all-orders, a program takes each order that sleep sets allow; it must complete
 * exactly as many runs (only more are cut short), since there is one complete run for each class of runs that differ in what conflicts.
 */
#ifndef GOSHIM_TESTS_MODEL_H
#define GOSHIM_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_THREADS 5

struct scenario {
	const char *name;
	void (*setup)(void);                   /* before each run: everything as at its start. May not wait */
	void (*thread[MODEL_THREADS])(void);   /* the first NULL ends them */
	void (*finish)(void);                  /* after each complete run: checks what must hold then */
	bool slow;                             /* left out of the short version */
};
/* The test defines it; the last one has no name. */
extern const struct scenario scenarios[];

/* Fails the run, with the schedule that led here, unless `condition`. */
#define check(condition) ((condition) ? (void)0 : model_fail(__FILE__, __LINE__, #condition))
void model_fail(const char *file, int line, const char *what) __attribute__((noreturn));

/* Which thread of the scenario runs, 0 and up. */
int model_self(void);
/* Called before a thread goes on (may be absent): what is per thread in the code under test is set there. */
void model_switched(int thread) __attribute__((weak));

/* True for what threads only count in, and what each has for itself (may be absent): operations there are no steps, and no races. */
bool model_commutes(const volatile void *addr) __attribute__((weak));

/* The current thread need not finish: the run is over, and finish() is called, when nobody can go on and whoever has not finished has said this. */
void model_may_rest(void);

/* Waits until ready(arg), which depends on the memory at addr: whoever changes that does so by an atomic operation on addr, or says model_touch(addr). Acquires. */
void model_await(const volatile void *addr, bool (*ready)(void *arg), void *arg);
/* A step that counts as a write to addr, release and acquire. */
void model_touch(const volatile void *addr);

/* Stand-ins: the runtime's lock (a wait in one step; lock.c is checked by itself) and the kernel. */
void model_lock(volatile void *lock);
void model_unlock(volatile void *lock);
/* Set by a scenario's setup that looks at something else: a futex is waited for until it is not 0, in one step, and to wake is none. Then a missing wake-up of
 * the kernel's is not found. */
extern bool model_short_waits;
long model_syscall(long n, long a, long b, long c, long d);

#endif
