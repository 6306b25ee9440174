/* Statistics: one table of counters and gauges with dotted names. See stats.c. */
#ifndef GOSHIM_STATS_H
#define GOSHIM_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "text.h"

/* Counters that are kept per P: X(enumerator, "dotted.name", "what it counts"). A new one is a line here and a stat_count(). */
#define STAT_COUNTERS(X)                                                                                           \
	X(STAT_G_CREATED, "g.created", "goroutines made")                                                          \
	X(STAT_G_REUSED, "g.reused", "of those, with the stack and the TCB of a dead one")                         \
	X(STAT_M_CREATED, "m.created", "kernel threads asked for")                                                 \
	X(STAT_M_RETIRED, "m.retired", "kernel threads that ended because too many were idle")                     \
	X(STAT_M_WOKEN, "m.woken", "wake-ups of sleeping kernel threads")                                          \
	X(STAT_STEALS, "sched.steals", "times a P took goroutines from another's queue")                           \
	X(STAT_RETAKEN_SYSCALL, "sched.retaken_syscall", "Ps taken from a kernel thread inside a system call")     \
	X(STAT_RETAKEN_HOG, "sched.retaken_hog", "Ps taken from a goroutine that ran or blocked unseen for 10 ms") \
	X(STAT_STACK_TRIMMED, "stack.trimmed", "parked goroutines whose stack gave back what it had used deep down")  \
	X(STAT_PREEMPTED, "sched.preempted", "goroutines made to give way in the middle of computing")             \
	X(STAT_DISK_EXTRA, "sched.disk_extra", "calls let through to a disk that seems to hang, beyond the number for it") \
	X(STAT_HANDOFFS, "sched.handoffs", "Ps given away before a call known to block for long")                  \
	X(STAT_FUTEX_WAITS, "futex.waits", "waits in the parking lot")                                             \
	X(STAT_FUTEX_WAKES, "futex.wakes", "waiters that were woken there")                                        \
	X(STAT_NET_WAITS, "netpoll.waits", "waits for a descriptor")                                               \
	X(STAT_NET_POLLS, "netpoll.polls", "looks at the network, waiting or not")                                 \
	X(STAT_NET_EVENTS, "netpoll.events", "descriptors those found ready")

enum stat_counter {
#define STAT_ENUM(id, name, help) id,
	STAT_COUNTERS(STAT_ENUM)
#undef STAT_ENUM
		STAT_COUNT
};

struct p;

/* What P-less threads counted. */
extern _Atomic uint64_t stats_shared[STAT_COUNT];

/* `own`: the counters of the P that the caller holds, NULL if it has none. With a P no other thread writes them, so a load and a store do; no
 * atomic read-modify-write on a hot path. Relaxed: counters order nothing. */
static inline void stat_count(_Atomic uint64_t *own, enum stat_counter s, uint64_t n) {
	if (__builtin_expect(own != NULL, 1))
		atomic_store_explicit(&own[s], atomic_load_explicit(&own[s], memory_order_relaxed) + n,
				      memory_order_relaxed);
	else
		atomic_fetch_add_explicit(&stats_shared[s], n, memory_order_relaxed);
}

/* Everything as one JSON object {"dotted.name": number, ...}. Any thread; takes no lock. */
void stats_json(struct text *t);

/* One line, modelled on Go's schedtrace. since_ns: since the process started its runtime. */
int64_t stats_uptime(void);
void stats_trace_line(struct text *t, int64_t since_ns);

/* In a fork's child. */
void stats_fork_child(void);

#endif
