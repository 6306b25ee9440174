/* CPU time of goroutines (TIM-5). The kernel counts that of kernel threads; which part of it was whose is counted here, at the switches.
 *
 * Reading a kernel thread's clock is a system call, several times as dear as a switch. So nothing is counted until the program first asks for some
 * thread's CPU clock, by whatever call; from then on each switch reads the clock of its M. What a goroutine had used before is lost: its
 * clock starts at zero then (main's: where it stood when the runtime started). Programs take differences. The alternative, to count cycles at every
 * switch of every program, would cost all of them a tenth of a switch for something that few ask for.
 *
 *     switch on M:    from = M.curg ; from.cpu_ns += now - M.cpu_at ; M.cpu_at = now
 *     reader:         cpu_ns, and if it runs, what its M's clock says beyond cpu_at
 *
 * The scheduler's own work on g0 is nobody's. cpu_ns is written by the M that runs the goroutine. A reader on another thread detects a switch
 * in between by M.cpu_seq, odd while one is under way, and reads again.
 *
 * Lock: begin_lock, rank LOCK_STACK.
 */
#include <time.h>

#include "cpuclock.h"
#include "runtime.h"

_Atomic bool cpu_counted;

static int64_t own_clock(void) {
	struct timespec ts;
	SYS2(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void cpu_switch(struct m *m) {
	struct g *from = atomic_load_explicit(&m->curg, memory_order_relaxed);
	uint32_t seq = atomic_load_explicit(&m->cpu_seq, memory_order_relaxed);
	int64_t now = own_clock();
	atomic_store_explicit(&m->cpu_seq, seq + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release); /* odd before what follows */
	if (from)
		atomic_store_explicit(&from->cpu_ns,
		                      atomic_load_explicit(&from->cpu_ns, memory_order_relaxed) + now -
		                              atomic_load_explicit(&m->cpu_at, memory_order_relaxed),
		                      memory_order_relaxed);
	atomic_store_explicit(&m->cpu_at, now, memory_order_relaxed);
	atomic_store_explicit(&m->cpu_seq, seq + 2, memory_order_release);
}

void cpu_start(struct g *main_g) {
	atomic_store_explicit(&main_g->cpu_ns, own_clock(), memory_order_relaxed);
	atomic_store_explicit(&main_g->m->cpu_at, own_clock(), memory_order_relaxed);
}

static struct lock begin_lock;

/* The first who asks. Who runs at this moment is counted from now; an M that does not see the flag at its next switch is a switch late. */
static void count_begin(void) {
	lock_acquire(&begin_lock, LOCK_STACK);
	if (!atomic_load_explicit(&cpu_counted, memory_order_relaxed)) {
		for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
			int64_t clock = m->ktid ? preempt_cpu_time(m) : -1;
			if (clock >= 0)
				atomic_store_explicit(&m->cpu_at, clock, memory_order_relaxed);
		}
		/* release: with it, the clocks above */
		atomic_store_explicit(&cpu_counted, true, memory_order_release);
	}
	lock_release(&begin_lock);
}

int64_t cpu_time(struct g *g) {
	struct g *self = g_self(); /* a kernel thread of libc's may ask: a timer's */
	int64_t ns;
	rt_enter(self); /* we stay on this M */
	if (!atomic_load_explicit(&cpu_counted, memory_order_acquire))
		count_begin();
	for (;;) {
		struct m *m = __atomic_load_n(&g->m, __ATOMIC_RELAXED);
		ns = atomic_load_explicit(&g->cpu_ns, memory_order_relaxed);
		if (!m)
			break;
		uint32_t seq = atomic_load_explicit(&m->cpu_seq, memory_order_acquire);
		bool runs = atomic_load_explicit(&m->curg, memory_order_relaxed) == g;
		ns = atomic_load_explicit(&g->cpu_ns, memory_order_relaxed);
		int64_t at = atomic_load_explicit(&m->cpu_at, memory_order_relaxed);
		int64_t clock = !runs ? at : g == self ? own_clock() : preempt_cpu_time(m);
		atomic_thread_fence(memory_order_acquire); /* what was read is from before the second look */
		if (seq & 1 || atomic_load_explicit(&m->cpu_seq, memory_order_relaxed) != seq ||
		    __atomic_load_n(&g->m, __ATOMIC_RELAXED) != m) {
			arch_relax();
			continue;
		}
		if (clock > at)
			ns += clock - at;
		break;
	}
	rt_exit(self);
	return ns;
}

void cpu_fork_child(void) {
	begin_lock.word = 0;
	atomic_store_explicit(&cpu_counted, false, memory_order_relaxed);
}
