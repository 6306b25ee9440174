/* Between process.c, loader.c and arch/'s vfork. */
#ifndef GOSHIM_PROCESS_H
#define GOSHIM_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* In a fork's child, on the surviving thread: forgets the parent's runtime. Nothing if none was started. */
void process_child_fixup(void);

/* loader.c's part of it. */
void loader_fork_child(void);
/* Does the program, or anything that is loaded, ask for executable stacks? */
bool loader_wants_exec_stacks(void);

/* > 0: this is a vfork child, in its parent's memory (or a vfork child's child). */
extern __thread unsigned vfork_depth __attribute__((tls_model("initial-exec"), visibility("hidden")));
static inline bool process_in_vfork(void) {
	return __builtin_expect(vfork_depth != 0, 0);
}

/* The system call `n`, clone or clone3, with arguments that make a process with memory of its own on the caller's stack: a fork by other means,
 * as sandboxes and containers begin. Returns what the kernel does, in both. */
long process_clone(long n, const long *args);
int process_clone_fn(int (*fn)(void *), void *stack, int flags, void *arg, void *parent_tid, void *tls, void *child_tid);

/* The caller is between fork's handlers: all signals are blocked on its kernel thread, which it must not leave. */
bool process_in_fork(void);

/* Around vfork's system call. After: called in the parent only, with the kernel's result; returns libc's (errno
 * set). */
void vfork_before(void);
pid_t vfork_after(long result);

#endif
