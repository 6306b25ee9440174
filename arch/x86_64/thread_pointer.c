/* Writing the thread pointer, FS base: with each switch, so it decides what a switch costs.
 *
 * ARCH_TP_WRITE: the kernel knows FSGSBASE (Linux 5.9) and says so in AT_HWCAP2: user mode writes the register, the kernel saves and restores what it finds.
 * 14 ns.
 *
 * ARCH_TP_CALL: arch_prctl. A system call, 4 us under some hypervisors.
 *
 * ARCH_TP_TRAP: for guests whose hypervisor hides the feature from the kernel, but runs user mode on a CPU where the instruction is enabled.
 * Such a kernel never reads the register. When it switches threads it puts back what it was last told by arch_prctl. So it is told an address
 * in the first page, where nothing can be mapped, one for each M: the trap. (The Ms that are left when there are no more traps write by arch_prctl.) User mode writes the true thread pointer behind its back, and runs with it until the kernel
 * takes the CPU away. After that the first access through FS faults, because trap + offset is in that page or, by a negative offset, in the kernel's half;
 * the handler of SIGSEGV (trap.S) finds a trap in the register, knows by it which M this is, writes what arch_thread.tp says, and the instruction is
 * executed again. A fault costs two to three times an arch_prctl, but comes with the kernel's switches, not with ours; where an M has slept in the kernel,
 * arch_tp_mend() saves it.
 *
 * What must hold, or the process dies of a SIGSEGV that is none:
 *  - SIGSEGV is never blocked in the kernel on an M: arch_signals_open is taken out of every mask that the kernel gets, the handlers' included.
 *  - The kernel's handler of SIGSEGV is arch_tp_trap(), with every other signal blocked in it: one that came on top would find the trap mended, and what it does to the mask
 *    would be undone.
 *  - Where libc blocks all signals (posix_spawn, making a thread), or another process may begin with a copy of this thread, the kernel has the true value: tp_kept.
 * arch_tp_trap_init() tries whether CPU and kernel behave so; whether the process does is asked by who calls it.
 *
 * A signal handler must not see the thread pointer change, which a trap between the store to arch_thread.tp and the write of the register would do; and it may itself change
 * what the kernel has: arch_tp_settle() lets such a switch begin that part again.
 */
#include <linux/audit.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <ucontext.h>

#include "arch.h"

#define HWCAP2_FSGSBASE (1ul << 1)
#define ARCH_SET_FS 0x1002
#define SLEEPS 3 /* each takes the CPU away */

_Static_assert(offsetof(struct arch_thread, tp) == 0 && offsetof(struct arch_thread, tp_kept) == 8 && offsetof(struct arch_thread, tp_slot) == 12 &&
		       offsetof(struct arch_thread, tp_trapped_at) == 16,
	       "arch/x86_64/switch.S and trap.S know this");

uint8_t arch_tp_mode; /* read by each switch; another thread may change it between call and trap. Relaxed: whichever a switch sees is right, tp_kept says what there is */
uint64_t arch_signals_open;
struct arch_thread *arch_tp_threads[ARCH_TP_SLOTS];
void (*arch_tp_trap_next)(int, siginfo_t *, void *);

void arch_tp_return(void) __attribute__((visibility("hidden")));

static long kernel_tp(uintptr_t tp) {
	return SYS2(SYS_arch_prctl, ARCH_SET_FS, tp);
}

bool arch_tp_call(struct arch_tp_call *call) {
	*call = (struct arch_tp_call){AUDIT_ARCH_X86_64, SYS_arch_prctl, ARCH_SET_FS};
	/* The kernel sets this bit only when it lets user mode write FS and preserves it over its own switches. */
	return !(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE);
}

void arch_init(void) {
	struct arch_tp_call call;
	arch_tp_mode = arch_tp_call(&call) ? ARCH_TP_CALL : ARCH_TP_WRITE;
	arch_signals_open = 0;
}

bool arch_tp_may_write(void) {
	return arch_tp_mode == ARCH_TP_WRITE || kernel_tp(arch_tp()) == 0;
}

/* ---- does it work here? ------------------------------------------------------------------------------------------- */

static volatile bool refused;

static void on_sigill(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 5; /* the instruction's length */
	refused = true;
}

/* With SIGILL open. */
static bool instruction_works(void) {
	struct ksigaction set = {.handler = (void *)on_sigill, .flags = SA_SIGINFO | SA_RESTORER_FLAG, .restorer = (void *)arch_tp_return}, old;
	uintptr_t tp = 0;
	refused = false;
	SYS4(SYS_rt_sigaction, SIGILL, &set, &old, 8);
	__asm__ volatile("rdfsbase %%rax" : "=a"(tp) : : "memory");
	SYS4(SYS_rt_sigaction, SIGILL, &old, 0, 8);
	return !refused && tp == arch_tp();
}

/* Nothing in here may use FS: between the first line and the last it may be the trap, and every signal is blocked. */
__attribute__((noinline, no_stack_protector)) static bool kernel_behaves(uintptr_t tp, uintptr_t trap) {
	bool good = true;
	struct timespec shortly = {.tv_nsec = 1000};
	kernel_tp(trap);
	for (int i = 0; i < SLEEPS; i++) {
		uintptr_t now;
		__asm__ volatile("wrfsbase %0" : : "r"(tp) : "memory");
		SYS2(SYS_nanosleep, &shortly, 0);
		__asm__ volatile("rdfsbase %0" : "=r"(now) : : "memory");
		good &= now == tp || now == trap;
	}
	kernel_tp(tp);
	return good;
}

bool arch_tp_trap_init(void) {
	uint64_t all = ~0ull, none_but_ill = ~(1ull << (SIGILL - 1)), old;
	if (arch_tp_mode != ARCH_TP_CALL)
		return false;
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &none_but_ill, &old, 8);
	bool works = instruction_works();
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
	works = works && kernel_behaves(arch_tp(), ARCH_TP_TRAPS);
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
	if (works) {
		arch_tp_mode = ARCH_TP_TRAP;
		arch_signals_open = 1ull << (SIGSEGV - 1);
	}
	return works;
}

void arch_tp_trap_use(bool use) {
	if (arch_signals_open)
		__atomic_store_n(&arch_tp_mode, use ? ARCH_TP_TRAP : ARCH_TP_CALL, __ATOMIC_RELAXED);
}

/* ---- an M's --------------------------------------------------------------------------------------------------------- */

void arch_thread_init(struct arch_thread *self, uint32_t slot) {
	*self = (struct arch_thread){.tp = arch_tp(), .tp_slot = slot};
	if (arch_tp_mode == ARCH_TP_WRITE)
		return;
	self->tp_kept = slot < ARCH_TP_SLOTS ? ARCH_TP_KEPT : ARCH_TP_HELD;
	if (slot < ARCH_TP_SLOTS)
		arch_tp_threads[slot] = self;
}

void arch_tp_keep(struct arch_thread *self, bool hold) {
	if (arch_tp_mode == ARCH_TP_WRITE)
		return;
	if (self->tp_kept == ARCH_TP_LENT)
		kernel_tp(self->tp);
	/* after the call: before it the trap is what the kernel has */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	self->tp_kept = hold || self->tp_slot >= ARCH_TP_SLOTS ? ARCH_TP_HELD : ARCH_TP_KEPT;
}

void arch_tp_set(struct arch_thread *self, uintptr_t tp) {
	if (self && arch_tp_mode != ARCH_TP_WRITE) {
		if (self->tp_kept == ARCH_TP_LENT)
			self->tp_kept = ARCH_TP_KEPT;
		self->tp = tp; /* a trap from here on puts the new one in force early, which is no harm: the caller uses neither */
	}
	kernel_tp(tp);
}
