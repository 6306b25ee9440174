/* How TPIDR_EL0 is written: user mode may always, and the kernel saves what it finds. */
#ifndef GOSHIM_ARCH_THREAD_H
#define GOSHIM_ARCH_THREAD_H

#define arch_signals_open 0ul

static inline void arch_tp_mend(void) {
}

static inline void arch_tp_settle(void *context) {
	(void)context;
}

#endif
