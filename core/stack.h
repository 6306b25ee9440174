/* Stack slots: reserved address space for one goroutine's stack each, guard below, TCB on top. See stack.c for the essay. */
#ifndef GOSHIM_STACK_H
#define GOSHIM_STACK_H

#include "proc.h"

/* *at is that of a G: others may be looking at what it was (scavenge.c, dump.c), and look again before they do anything about it. */
static inline void stack_set(struct stack *at, struct stack to) {
	__atomic_store_n(&at->lo, to.lo, __ATOMIC_RELAXED);
	__atomic_store_n(&at->hi, to.hi, __ATOMIC_RELAXED);
	__atomic_store_n(&at->slab, to.slab, __ATOMIC_RELAXED);
	at->size = to.size;
	at->guard = to.guard;
}

int stack_init(void);
/* 0 or -EAGAIN. Usable bytes >= size, guard bytes below it. */
int stack_alloc(size_t size, size_t guard, struct stack *out);
void stack_release(struct stack *s);
/* The topmost bytes are about to be used: their pages in one call, which is cheaper than a fault each. */
void stack_populate(struct stack *s, size_t bytes);
/* Gives pages below sp back to the kernel. */
void stack_trim(struct stack *s, void *sp);
bool stack_uses_markers(void);
/* Is it in the stack's guard, and that a marker? Async-signal-safe. */
bool stack_marker_at(const struct stack *s, const void *address);
/* From now on stacks are executable, those that exist, too: a module came that wants it so. Negative error: some are not. */
int stack_exec_all(void);

#endif
