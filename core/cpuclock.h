/* CPU time of goroutines (cpuclock.c). */
#ifndef GOSHIM_CPUCLOCK_H
#define GOSHIM_CPUCLOCK_H

#include <time.h>

#include "proc.h"

/* The number of the clock that counts a kernel thread's CPU time, by the kernel's ABI: CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED, and above them the
 * complement of the thread's id. */
#define CPUCLOCK_THREAD 6u
static inline clockid_t cpuclock_of_ktid(int32_t ktid) {
	return (clockid_t)(~(uint32_t)ktid << 3 | CPUCLOCK_THREAD);
}
/* The one that counts what it uses outside the kernel: CPUCLOCK_PERTHREAD | CPUCLOCK_VIRT. */
#define CPUCLOCK_THREAD_USER 5u
static inline clockid_t cpuclock_user_of_ktid(int32_t ktid) {
	return (clockid_t)(~(uint32_t)ktid << 3 | CPUCLOCK_THREAD_USER);
}
static inline bool cpuclock_is_ktids(clockid_t clock) {
	return clock < 0 && ((uint32_t)clock & 7) == CPUCLOCK_THREAD;
}

/* Somebody asked for a thread's CPU time: switches call cpu_switch(). */
extern _Atomic bool cpu_counted;

/* On m's thread, before m->curg changes. */
void cpu_switch(struct m *m);
static inline void cpu_switching(struct m *m) {
	/* relaxed: a switch later is soon enough */
	if (__builtin_expect(atomic_load_explicit(&cpu_counted, memory_order_relaxed), 0))
		cpu_switch(m);
}

/* ns of CPU time that g has used. By a goroutine, outside the runtime or in it. */
int64_t cpu_time(struct g *g);

void cpu_start(struct g *main_g);
void cpu_fork_child(void);

#endif
