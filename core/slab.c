/* Small objects: one free list for each power of two from 32 to 4096 bytes, larger ones by the page.
 *
 * For what goshim.h's objects need: the library must not allocate from the program's heap (it may be replaced, or locked by the code that a
 * handler interrupted). A free object's first word links it. Memory of a class is cut from slabs that are never given back: a program that once had a
 * million channels is likely to have them again. Rejected: lists per P; a lock that nobody else wants costs less than what it would save.
 *
 * Lock: class->lock, rank LOCK_STACK (nothing is called below it but mmap).
 */
#include "pages.h"
#include "runtime.h"
#include "slab.h"

#define SMALLEST_SHIFT 5u
#define LARGEST_SHIFT 12u
#define CLASSES (LARGEST_SHIFT - SMALLEST_SHIFT + 1)
#define SLAB_BYTES (64ul << 10)
#define PAGE 4096ul

struct free_object {
	struct free_object *next;
};

struct object_class {
	struct lock lock;
	struct free_object *free;
	char *fresh, *end; /* what is left of the current slab */
} __attribute__((aligned(64)));

static struct object_class classes[CLASSES];

static uint32_t shift_of(size_t bytes) {
	if (bytes <= 1ul << SMALLEST_SHIFT)
		return SMALLEST_SHIFT;
	return 64 - (uint32_t)__builtin_clzl(bytes - 1);
}

static void *object_cut(struct object_class *c, size_t bytes) {
	if (c->fresh == c->end) {
		char *slab = pages_map(SLAB_BYTES);
		if (!slab)
			return NULL;
		c->fresh = slab;
		c->end = slab + SLAB_BYTES;
	}
	void *p = c->fresh;
	c->fresh += bytes;
	return p;
}

void *slab_alloc(size_t bytes) {
	uint32_t shift = shift_of(bytes);
	if (shift > LARGEST_SHIFT)
		return pages_map((bytes + PAGE - 1) & ~(PAGE - 1));
	struct object_class *c = &classes[shift - SMALLEST_SHIFT];
	struct g *held = rt_hold();
	lock_acquire(&c->lock, LOCK_STACK);
	struct free_object *p = c->free;
	if (p)
		c->free = p->next;
	else
		p = object_cut(c, 1ul << shift);
	lock_release(&c->lock);
	rt_drop(held);
	return p;
}

void slab_free(void *p, size_t bytes) {
	uint32_t shift = shift_of(bytes);
	if (!p)
		return;
	if (shift > LARGEST_SHIFT) {
		pages_unmap(p, (bytes + PAGE - 1) & ~(PAGE - 1));
		return;
	}
	struct object_class *c = &classes[shift - SMALLEST_SHIFT];
	struct free_object *object = p;
	struct g *held = rt_hold();
	lock_acquire(&c->lock, LOCK_STACK);
	object->next = c->free;
	c->free = object;
	lock_release(&c->lock);
	rt_drop(held);
}

void slab_fork_child(void) {
	for (uint32_t i = 0; i < CLASSES; i++)
		classes[i] = (struct object_class){0};
}
