/* SIGSEGV where switches write the thread pointer behind the kernel's back (arch_tp_trap_init()): the kernel's handler is arch_tp_trap(), whatever the program asks
 * for, and nobody blocks it. What the program asked for is kept here, and sig_entry() acts on it.
 *
 * Only when asked for (GOSHIM=fsbase=trap). Not while there is a tracer, which would stop at each trap: switches are system calls then. Not with a sanitizer's runtime, which blocks
 * all signals behind our back, nor where the first page may be mapped. A program that is executed begins with SIGSEGV open, and with the default action where it was ignored,
 * unless a fork's child executes it. */
#include "../core/kernel_call.h"
#include "siginternal.h"

#define LOOK_NS 1000000000 /* a file of /proc: some 50 us */
#ifdef GOSHIM_RACE
#define WATCHED true /* the detector's handlers touch thread-local variables first */
#else
#define WATCHED false
#endif
#define LOWEST 4096 /* vm.mmap_min_addr, for traps to be traps */

extern void __asan_init(void) __attribute__((weak, visibility("default")));

uint64_t sig_trap_closed;
bool sig_trap_wanted;

/* The program's action for SIGSEGV, with sig_entry() for a handler. Relaxed: sigaction() on two threads at once mixes as it likes. */
static _Atomic(void (*)(int, siginfo_t *, void *)) segv_handler;
static _Atomic int segv_flags;
static _Atomic uint64_t segv_mask;

static void segv_note(const struct sigaction *act) {
	atomic_store_explicit(&segv_handler, act->sa_sigaction, memory_order_relaxed);
	atomic_store_explicit(&segv_flags, act->sa_flags, memory_order_relaxed);
	atomic_store_explicit(&segv_mask, sigset_bits(&act->sa_mask), memory_order_relaxed);
}

static void segv_show(struct sigaction *act) {
	memset(act, 0, sizeof *act);
	act->sa_sigaction = atomic_load_explicit(&segv_handler, memory_order_relaxed);
	act->sa_flags = atomic_load_explicit(&segv_flags, memory_order_relaxed);
	sigset_store(&act->sa_mask, atomic_load_explicit(&segv_mask, memory_order_relaxed));
}

static void segv_entry(int sig, siginfo_t *info, void *context) {
	struct sigaction act;
	segv_show(&act);
	uint64_t mask = (sigset_bits(&((ucontext_t *)context)->uc_sigmask) | sigset_bits(&act.sa_mask)) & ~arch_signals_open;
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8); /* as the kernel would have had it without us */
	if (act.sa_handler == SIG_IGN && info->si_code <= 0)
		return; /* a fault cannot be ignored */
	if (act.sa_handler == SIG_DFL || act.sa_handler == SIG_IGN)
		act.sa_sigaction = arch_signal_entry;
	act.sa_sigaction(sig, info, context); /* one that was set past us: itself */
}

int sig_kernel_action(int sig, const struct sigaction *set, struct sigaction *was) {
	if (likely(!arch_signals_open) || process_in_vfork())
		return real.sigaction(sig, set, was);
	struct sigaction kernel;
	if (set) {
		kernel = *set;
		sigset_store(&kernel.sa_mask, sigset_bits(&kernel.sa_mask) & ~arch_signals_open);
	}
	if (!(SIGBIT(sig) & arch_signals_open))
		return real.sigaction(sig, set ? &kernel : NULL, was);
	struct sigaction before;
	segv_show(&before);
	if (set) {
		segv_note(set);
		kernel.sa_sigaction = arch_tp_trap;
		sigset_store(&kernel.sa_mask, ~arch_signals_open);
		kernel.sa_flags = (set->sa_flags & SA_RESTART) | SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
		if (real.sigaction(sig, &kernel, NULL) < 0)
			return -1;
	}
	if (was)
		*was = before;
	return 0;
}

/* ---- the start ------------------------------------------------------------------------------------------------------ */

static bool process_allows(void) {
	char text[32];
	uint64_t lowest = 0;
	return sig_trap_wanted && kernel_file_read("/proc/sys/vm/mmap_min_addr", text, sizeof text) > 0 && kernel_number_after(text, "", &lowest) &&
	       lowest >= LOWEST && !WATCHED && !__asan_init;
}

static bool is_traced(void) {
	char text[4096];
	uint64_t tracer = 0;
	return task_file_read(0, self_pid(), "status", text, sizeof text) <= 0 || !kernel_number_after(text, "\nTracerPid:\t", &tracer) || tracer != 0;
}

/* sysmon, while something runs. */
void sig_trap_look(void) {
	static int64_t next;
	int64_t now;
	if (likely(!arch_signals_open) || (now = nanotime()) < next)
		return;
	next = now + LOOK_NS;
	arch_tp_trap_use(!is_traced());
}

/* Handlers that were set before block what they asked for. */
static void actions_open(void) {
	struct sigaction act;
	for (int sig = 1; sig <= NSIGNALS; sig++) {
		if (sig == SIGCANCEL_NR || sig == SIGSETXID_NR || real.sigaction(sig, NULL, &act) < 0)
			continue;
		if (sig == SIGSEGV)
			segv_note(&act);
		if (sig == SIGSEGV || ((sigset_bits(&act.sa_mask) & arch_signals_open) && act.sa_handler != SIG_DFL && act.sa_handler != SIG_IGN))
			sig_kernel_action(sig, &act, NULL);
	}
}

static void trap_start(void) {
	uint64_t before = 0;
	sig_trap_closed = 0;
	if (!process_allows() || !arch_tp_trap_init())
		return;
	arch_tp_trap_next = segv_entry;
	actions_open();
	uint64_t open = arch_signals_open;
	SYS4(SYS_rt_sigprocmask, SIG_UNBLOCK, &open, &before, 8);
	sig_trap_closed = before & open;
	arch_tp_trap_use(!is_traced());
}

/* The child has one thread, whose thread pointer the kernel knows. */
void sig_trap_fork_child(void) {
	struct sigaction act;
	if (!arch_signals_open)
		return;
	arch_init();
	segv_show(&act);
	real.sigaction(SIGSEGV, &act, NULL);
}

__attribute__((constructor)) static void trap_init(void) {
	sched_tp_trap_hook = trap_start;
}
