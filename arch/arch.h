/* What a CPU must provide to the runtime. One folder per CPU implements it: x86_64/, aarch64/.
 *
 * The switch saves what the C ABI calls callee-saved plus the floating-point control words, and writes the thread
 * pointer, so that `errno`, `__thread` and libc's own per-thread state follow the goroutine (design 1).
 */
#ifndef GOSHIM_ARCH_H
#define GOSHIM_ARCH_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch_cpu.h"

/* The part of a G that the assembly touches. Offsets are checked by static assertions in core/sched.c. */
struct arch_ctx {
	void *sp;                  /* saved stack pointer; the rest of the context lies above it on that stack */
	uintptr_t tp;              /* thread pointer (x86-64: FS base): the G's TCB */
	_Atomic uint32_t on_cpu;   /* 1 from just before a G is switched to until its registers are saved again */
};

/* What the assembly knows of the kernel thread it runs on; a part of struct m. */
struct arch_thread {
	uintptr_t tp;     /* that of the context it runs */
	uint32_t tp_kept; /* has the kernel got it, too? */
	uint32_t tp_slot; /* which kernel thread this is */
	uintptr_t tp_trapped_at; /* the last instruction that met a trap here */
};

/* Saves the caller in `from`, continues `to`. `self`: the kernel thread's. When every register of `from` is saved and the thread pointer of `to` is
 * in force, stores 0 to from->on_cpu (release: whoever acquires that 0 may resume `from` on another M).
 * `to->on_cpu` must be 1 already. Returns when somebody switches to `from` again. */
void arch_switch(struct arch_ctx *from, struct arch_ctx *to, struct arch_thread *self);

/* Prepares `ctx` so that the first switch to it calls entry(arg) on the stack that ends at `stack_top` (exclusive,
 * any alignment). `entry` must not return. Unwinders see the end of the stack below `entry`. */
void arch_ctx_init(struct arch_ctx *ctx, void *stack_top, void (*entry)(void *), void *arg);

/* Calls fn(arg) on the stack that ends at `stack_top` (exclusive, any alignment). Unwinders find the caller behind fn, and a jump may
 * leave fn for good. */
void arch_call_on(void *stack_top, void (*fn)(void *), void *arg);

/* Reads the thread pointer. The compiler takes it for a constant of the thread, which it is not for who parks: see process_tp(). */
static inline uintptr_t arch_tp(void) {
	return (uintptr_t)__builtin_thread_pointer();
}

/* ---- the thread pointer, and who keeps it. Only x86-64 has more than one way (thread_pointer.c there) */

/* Makes `tp` the thread pointer of this kernel thread, which is `self` or, NULL, no M. */
void arch_tp_set(struct arch_thread *self, uintptr_t tp);

/* The calling kernel thread is `self` from now on, and nobody else has that slot. */
void arch_thread_init(struct arch_thread *self, uint32_t slot);

/* May switches write the thread pointer behind the kernel's back, with arch_tp_trap() as the kernel's handler of SIGSEGV, all else blocked in it, and nothing of arch_signals_open ever blocked? True:
 * from now on they do. By a process with one thread, for which the caller has seen to both or will before arch_thread_init(). */
bool arch_tp_trap_init(void);
void arch_tp_trap(int sig, siginfo_t *info, void *context);
extern void (*arch_tp_trap_next)(int sig, siginfo_t *info, void *context); /* who handles what is no trap */

/* After that one: not for the time being, or again. From any thread; what was lent before ends with each M's next switch. */
void arch_tp_trap_use(bool use);

/* The kernel, too, gets this thread's pointer: until the next switch, or, `hold`, with each until this is called again without. For what copies the thread, or blocks all
 * signals where no shim sees it. The caller does not leave the M meanwhile. */
void arch_tp_keep(struct arch_thread *self, bool hold);

/* The system call by which a switch writes the thread pointer: as a filter sees it (its AUDIT_ARCH_*, its number, its first argument). False: it makes none. Any time. */
struct arch_tp_call {
	uint32_t audit, number, first;
};
bool arch_tp_call(struct arch_tp_call *call);
/* After arch_init(). False: a filter that was there before us refuses it. */
bool arch_tp_may_write(void);

/* arch_tp_mend(): after a system call that may have slept, spares a trap. arch_tp_settle(context): the first line of a signal handler. Both in
 * arch_thread.h, with arch_signals_open: signals that the kernel must not block on any M. */
#include "arch_thread.h"

/* ---- for backtraces: registers by DWARF number; the pc has a number, too (ARCH_DWARF_PC) */
/* The registers of a switched-out context, from a copy of the ARCH_FRAME_BYTES at its saved sp: those as they were behind the call of
 * arch_switch. `known` gets a bit for each that was saved. */
void arch_ctx_regs(uintptr_t sp, const void *frame, uint64_t reg[ARCH_DWARF_REGS], uint64_t *known);
/* Those of an interrupted thread, from a signal handler's third argument. */
void arch_signal_regs(const void *ucontext, uint64_t reg[ARCH_DWARF_REGS], uint64_t *known);
/* A checksum of what it has in its floating-point and vector registers, as far as the oldest frames of the kernel hold them. */
uint64_t arch_signal_vectors(const void *ucontext);

/* The floating-point environment around a handler of the program's that no frame of the kernel's surrounds: begin keeps what there is and sets what the kernel
 * gives handlers; end puts it back, with what the handler has changed of it in its ucontext_t, where that says it as the kernel's does. */
struct arch_fp {
	uint32_t word[8];
};
void arch_fp_begin(struct arch_fp *kept);
void arch_fp_end(struct arch_fp *kept, const void *ucontext);

/* Are the two instructions at a pc that has no unwind information the kernel's way back from a signal handler? Then the interrupted registers, in
 * DWARF's order, are so many bytes above the stack pointer. 0: no; always so on CPUs whose frames have unwind information. */
size_t arch_unwind_signal(const uint32_t code[2]);

/* Where a new context begins, below its first function. */
void arch_start(void) __attribute__((visibility("hidden")));

/* Is the instruction before this return address a call of `function`, or one that may be: by a register, through memory, or of a stub that jumps on? get reads
 * code that may not exist. */
bool arch_calls(uintptr_t returns_to, uintptr_t function, bool (*get)(void *to, uintptr_t from, size_t n));

/* Chooses how the thread pointer is written. At start. */
void arch_init(void);

/* Does the CPU check returns of this thread against a stack that user mode cannot switch? Then goroutines are impossible; *how says what it is. */
bool arch_shadow_stack(const char **how);

/* ---- replacing functions of libc (preload/patch.c) ---- */

enum arch_function {
	ARCH_WRAPPER,  /* makes one system call, perhaps as a cancellation point */
	ARCH_LOCK_WAIT, /* futex: a thread can be inside only while it waits */
	ARCH_LOCK_WAKE,
};

/* Where in `code` (`size` bytes of a function of that kind, which makes system call `number`) a jump may be written: the offset, or -1 if
 * this is not the code that we know. For a wrapper the jump must lie in one instruction: an interrupted context may be anywhere in it. */
int arch_jump_place(const unsigned char *code, size_t size, enum arch_function kind, long number);

/* Writes into `copy`, which will be found at `at`, a jump to `target`. Returns its bytes; 0: too far. */
size_t arch_jump_write(unsigned char *copy, uintptr_t at, uintptr_t target);

/* Before [code, code + size), just written, is executed, here or through another mapping of the same memory. */
void arch_code_written(void *code, size_t size);

/* ---- cancellation ---------------------------------------------------------------------------------------------------------- */

/* A system call that makes or takes something whole, and waits for it: cancellation may act as long as it has not, and no longer from the very instruction on at
 * which it has. `word`: libc's state of this thread's cancellation, in which the bit for asynchronous is set meanwhile; already set: a plain call. -EINTR, and nothing
 * was made, if the cancellation has come before the kernel was reached: the caller looks for that. */
long arch_syscall_makes(_Atomic int *word, long n, long a, long b, long c, long d, long e) __attribute__((visibility("hidden")));
/* What the kernel is to call for a signal: they close what a frame shows to be back from arch_syscall_makes() with success, and go on to sig_entry() and
 * sig_cancel_entry(). Two, so that the frame under another signal's can be told from its instruction pointer. */
void arch_signal_entry(int sig, siginfo_t *info, void *context) __attribute__((visibility("hidden")));
extern const char arch_entries_end[] __attribute__((visibility("hidden"))); /* behind both */
void arch_cancel_entry(int sig, siginfo_t *info, void *context) __attribute__((visibility("hidden")));

/* ---- signal frames: a handler's third argument is `context` ----------------------------------------------------------------- */

uintptr_t arch_context_pc(const void *context);
uintptr_t arch_context_sp(const void *context);

/* Preemption: false if this CPU's registers cannot all be saved. Once, at start. */
bool arch_preempt_init(void);
/* Bytes below the interrupted stack pointer that the injected call writes before it calls preempt_here(). */
size_t arch_preempt_bytes(void);
/* Changes a signal frame so that on return the interrupted code calls preempt_here() with every register saved, and goes on after it as if nothing had
 * happened, on whatever kernel thread. false: state is in use that would not follow; nothing is changed. Async-signal-safe. */
bool arch_preempt_inject(void *context);
/* Called by the injected code on the goroutine's stack; core/preempt.c. */
void preempt_here(void) __attribute__((visibility("hidden")));

/* The kernel's struct sigaction. */
struct ksigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};
#define SA_RESTORER_FLAG 0x04000000ul

/* Where a handler of ours that is installed by a raw rt_sigaction returns to, if libc does not say (its own handlers have no restorer); NULL: libc says. */
void *arch_restorer(void);

/* Where the frame goes back to a system call that is yet to be made, or made again: it has failed with EINTR instead. */
void arch_context_skip_syscall(void *context);
/* Copies the signal frame that *context and *info lie in to below `top` (and the red zone there, if asked), as the kernel would have put it there:
 * *context and *info become the copy's. Returns what arch_sigframe_enter() needs; NULL if it would reach below `lowest`: nothing is copied. */
void *arch_sigframe_move(void **context, siginfo_t **info, uintptr_t top, uintptr_t lowest, bool red_zone);
/* Changes a signal frame so that on return fn(arg) is called on the stack that ends at `stack_top`, with the registers of a fresh thread; fn never
 * returns. What was interrupted is gone. */
void arch_context_redirect(void *context, void *stack_top, void (*fn)(void *), void *arg);
/* Calls handler(sig, info, context) on that frame; it returns through the kernel to what was interrupted. */
void arch_sigframe_enter(void *frame, int sig, siginfo_t *info, void *context, void (*handler)(int, siginfo_t *, void *))
	__attribute__((noreturn));

#include "arch_syscall.h"

#endif
