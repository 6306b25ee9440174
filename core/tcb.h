/* A glibc thread identity per goroutine (design 1): TCB, static TLS, dtv, tid. The only file that knows `struct pthread`, and
 * only through the _thread_db_* descriptors that libc exports for debuggers. */
#ifndef GOSHIM_TCB_H
#define GOSHIM_TCB_H

#include "proc.h"

/* Finds one of libc's private symbols by name; set by the preload layer before tcb_offsets(). */
extern void *(*tcb_lookup)(const char *name);

/* Sets tcb_tid_offset only: for locks taken before the runtime starts. */
void tcb_find_tid(void);
/* Reads the descriptors. 0, or -ENOSYS with *why: an unknown libc. Cheap; no thread needed. */
int tcb_offsets(const char **why);
/* Takes the template from the calling kernel thread, which must be a freshly created pthread. 0 or -ENOSYS with *why. */
int tcb_take_template(const char **why);
/* Bytes that tcb_make needs at the top of a stack, where it keeps struct pthread in one piece. */
size_t tcb_bytes(void);
/* How much of struct pthread must share a page with the frames, so that the rest lies on a page that most threads never touch; more if the thread is likely
 * to use TSD keys. 0: all of it is needed. */
size_t tcb_head(bool uses_keys);
#define TCB_UPPER 4096ul /* the page above */
/* libc's functions take memory by alloca() up to a quarter of their thread's stack, and at most 64 KiB; up to those where its size is not known, as on a page of
 * zeros. So stacks that are smaller must say so. */
#define TCB_CUT_LEAST (256ul << 10)
/* Builds a TCB below `hi`, with g->tid, tls_g = g; returns its address (thread pointer) or 0 when libc cannot allocate the dtv.
 * head: 0, or at least tcb_head(), a multiple of 64: so much of struct pthread lies below the last page before hi, which must hold zeros.
 * *stack_top: frames start below it. */
uintptr_t tcb_make(char *hi, size_t head, struct g *g, void **stack_top);
/* Prepares a used TCB for a new goroutine: TLS images of all modules but libc's reset, TSD empty, tid set. `orphan`: tcb_orphan() was called for it. */
void tcb_reuse(uintptr_t tcb, struct g *g, bool orphan);
/* On the goroutine itself, which is not to be trusted any more and about to end: libc's per-thread state becomes that of a thread that has just
 * begun. What it had (malloc's cache, destructors of thread_local objects that are due) is lost. */
void tcb_forget(void);
/* Frees what libc allocated for it (dtv, dynamic TLS, TSD blocks); keeps libc's own per-thread state (malloc's cache) for the next
 * tcb_make. The memory of the TCB itself belongs to the stack. */
void tcb_free(uintptr_t tcb);
/* A module's initial thread-local variables: `image_bytes` from `image`, and zeros up to `bytes`, at `offset` from the thread pointer. */
struct tcb_module {
	ptrdiff_t offset;
	const void *image;
	size_t image_bytes, bytes;
};
/* A module that was loaded or is in use has just got that place in static TLS: every goroutine gets them. With libc's lock held that tcb_make() and tcb_reuse()
 * take (dl_load_tls_lock), so before anybody can use them. */
void tcb_module_init(const struct tcb_module *m);
/* Which modules have a place there, so that a used TCB is made new without libc's lock, which all threads that make threads would wait for. With that lock
 * held: _changing() before a module may come or go; then, when none does any more, _is() for each, and _settled(). */
void tcb_modules_changing(void);
void tcb_modules_is(const struct tcb_module *m);
void tcb_modules_settled(void);
/* On the goroutine itself, first thing: what start_thread does for a new thread (locale tables, resolver state). */
void tcb_thread_start(void);
/* On a thread past its last code, destructors included: lets go of what libc's own end would. */
void tcb_thread_end(void);
/* Once the template is taken, on the thread that starts the runtime: the loader's lock, if it is held, is its own. Finds what tcb_reuse(), tcb_free() and tcb_thread_end()
 * drop: the lists of destructors of thread_local objects, and of the resolver's queries. */
void tcb_find_lists(void);
/* Before libc unwinds g's thread, on itself; or before another thread has it do so, by a cancellation. */
void tcb_will_unwind(const struct g *g);
/* Where struct pthread is, from the thread pointer (mod 2^64). */
#if ARCH_TLS_BELOW
#define tcb_struct_offset ((size_t)0)
#else
extern size_t tcb_struct_offset __attribute__((visibility("hidden")));
#endif
/* pthread_t of a TCB, and back. */
static inline uintptr_t tcb_thread(uintptr_t tcb) {
	return tcb + tcb_struct_offset;
}
static inline uintptr_t tcb_of_thread(uintptr_t thread) {
	return thread - tcb_struct_offset;
}
void tcb_set_tid(uintptr_t tcb, int32_t tid);
/* Offset of the tid in a TCB; 0 until tcb_offsets(). */
extern size_t tcb_tid_offset __attribute__((visibility("hidden")));
static inline int32_t tcb_tid(uintptr_t tcb) {
	return *(volatile int32_t *)(tcb + tcb_tid_offset);
}
/* The calling thread's, in one instruction; `offset` is tcb_tid_offset. */
static inline int32_t tcb_tid_here(size_t offset) {
	return arch_tp_load32(offset);
}
/* cancelhandling word of a TCB (glibc's bits: 1 disabled, 2 async, 4 canceling, 8 canceled, 16 exiting, 32 terminated), and its offset there; 0 until known,
 * which tcb_find_tid() and tcb_offsets() see to. */
_Atomic int *tcb_cancelhandling(uintptr_t tcb);
extern size_t tcb_cancel_offset __attribute__((visibility("hidden")));
enum { TCB_CANCELED = 8, TCB_EXITING = 16 };
/* The head of the list of robust mutexes that a TCB's thread holds (the kernel's struct robust_list_head); NULL: this libc has none. */
void *tcb_robust_head(uintptr_t tcb);
/* The node {next, prev} by which libc's lists of threads hold a TCB; a goroutine's points to itself (see shims/loader.c). */
void **tcb_list_node(uintptr_t tcb);
/* Before tcb_reuse() or tcb_free(): its thread did not end but is gone, and what it was changing of libc's state is not to be used again. */
void tcb_orphan(uintptr_t tcb);
/* In a fork's child: forget what a dead thread may have been changing. */
void tcb_fork_child(void);
/* The kernel does not update this TCB's area any more, and it says so to who looks. On the thread that becomes main G; and on each M: a fork's child is a copy of one, and
 * there its TCB's memory is libc's again, to give to others or to unmap. */
void tcb_rseq_off(void);
/* Does anybody look at other threads' rseq areas, besides libc's sched_getcpu()? Nobody: said once, as the runtime starts, by who would see him come. Somebody: for
 * good, and by the return all have an area that says that it is not registered. */
void tcb_rseq_nobody(void);
void tcb_rseq_somebody(void);

#endif
