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
/* So many bytes of its upper end stay unused, so that equal frames begin at different and unknown offsets. */
size_t stack_colour(const struct stack *s);
/* Is it a mapping of its own, which its release unmaps? */
bool stack_is_single(const struct stack *s);
/* Of one that is: its address space. */
size_t stack_mapped_bytes(const struct stack *s);
/* Does address space that is reserved cost something: the program's own mappings would lack it, or it takes memory at once? Then stacks are mapped one at
 * a time, as NPTL does. */
bool stack_reserve_is_costly(void);
/* Unmaps what is reserved for stacks to come. */
void stack_reserve_drop(void);
/* So many bytes below `hi`, which begins a page, are about to be used: their pages in one call, which is cheaper than a fault each. */
void stack_populate(char *hi, size_t bytes);
/* Gives pages below sp back to the kernel. */
void stack_trim(struct stack *s, void *sp);
bool stack_uses_markers(void);
/* Is it in the stack's guard, and that a marker? Async-signal-safe. */
bool stack_marker_at(const struct stack *s, const void *address);
/* From now on stacks are executable, those that exist, too: a module came that wants it so. Negative error: some are not. */
int stack_exec_all(void);

#endif
