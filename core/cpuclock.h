/* CPU time of goroutines (cpuclock.c). */
#ifndef GOSHIM_CPUCLOCK_H
#define GOSHIM_CPUCLOCK_H

#include "proc.h"

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
