/* How FS base is written, for C and assembly: thread_pointer.c explains. */
#ifndef GOSHIM_ARCH_THREAD_H
#define GOSHIM_ARCH_THREAD_H

/* arch_tp_mode */
#define ARCH_TP_CALL 0  /* arch_prctl */
#define ARCH_TP_WRITE 1 /* WRFSBASE, and the kernel saves what it finds */
#define ARCH_TP_TRAP 2  /* WRFSBASE, and the kernel puts a trap back */

/* arch_thread.tp_kept */
#define ARCH_TP_LENT 0 /* what the kernel has is the trap, or of no interest: a switch writes the register */
#define ARCH_TP_KEPT 1 /* the kernel has the same as the register, until the next switch */
#define ARCH_TP_HELD 2 /* and after each */

/* The first trap, and how many there are: with the largest offset that libc adds to it (rseq's area, behind struct pthread) still in the first page. */
#define ARCH_TP_TRAPS 16
#define ARCH_TP_SLOTS 1400

#ifndef __ASSEMBLER__
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

struct arch_thread;
extern uint8_t arch_tp_mode __attribute__((visibility("hidden")));
extern uint64_t arch_signals_open __attribute__((visibility("hidden")));
extern struct arch_thread *arch_tp_threads[ARCH_TP_SLOTS] __attribute__((visibility("hidden")));
extern const char arch_switch_tp[] __attribute__((visibility("hidden"))), arch_switch_tp_end[] __attribute__((visibility("hidden")));
extern const char arch_switch_slow[] __attribute__((visibility("hidden"))), arch_switch_slow_end[] __attribute__((visibility("hidden")));

static inline void arch_tp_mend(void) {
	uintptr_t now;
	if (__builtin_expect(!arch_signals_open, 1))
		return;
	__asm__ volatile("rdfsbase %0" : "=r"(now) : : "memory");
	if (now - ARCH_TP_TRAPS < ARCH_TP_SLOTS)
		__asm__ volatile("wrfsbase %0" : : "r"(*(uintptr_t *)arch_tp_threads[now - ARCH_TP_TRAPS]) : "memory"); /* ->tp */
}

static inline void arch_tp_settle(void *context) {
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	if (__builtin_expect(!arch_signals_open, 1))
		return;
	uintptr_t pc = (uintptr_t)regs[REG_RIP], begin = (uintptr_t)arch_switch_tp, slow = (uintptr_t)arch_switch_slow;
	if (pc - begin < (uintptr_t)arch_switch_tp_end - begin || pc - slow < (uintptr_t)arch_switch_slow_end - slow) {
		regs[REG_RIP] = (greg_t)begin;
		__asm__ volatile("wrfsbase %0" : : "r"(*(uintptr_t *)regs[REG_R13]) : "memory"); /* self->tp */
	}
}
#endif

#endif
