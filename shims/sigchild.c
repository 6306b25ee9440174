/* Whose child it was: SIGCHLD is sent to the process, but the kernel prefers the thread that made the child while that lives and lets the signal through, and only then
 * any other. It knows kernel threads; here it is known by goroutine, for the children made last.
 *
 * A table by process id, without locks, because handlers look: a slot's key is 0 while it is written, and what does not fit the key is nobody's (a G is never freed; its
 * number tells whether it still is that thread). Nothing is ever taken out: the next child of that slot replaces it, and a child that is not found is treated as any
 * signal to the process. A child can end before its number is known here: who is making one stands in `makers` meanwhile, and if he is the only one, it is his.
 *
 * Not known: children of libc's own making whose number it keeps to itself (system(), forkpty(); system() blocks the signal meanwhile, as well). */
#include "siginternal.h"

#define SLOTS 1024u /* power of two: numbers in a row do not meet */
#define MAKERS 16

static struct {
	_Atomic uint64_t key; /* process id << 32 | the maker's thread id */
	_Atomic(struct g *) maker;
	_Atomic uint32_t seen; /* sig_seen(SIGCHLD) before it was made */
} slots[SLOTS];

static _Atomic(struct g *) makers[MAKERS];

void sig_child_begin(struct child_birth *birth) {
	struct g *g = self_g();
	birth->seen = sig_seen(SIGCHLD);
	birth->place = MAKERS;
	for (int i = 0; g && i < MAKERS && birth->place == MAKERS; i++) {
		struct g *none = NULL;
		/* relaxed: no child of his ends before the system call that makes it */
		if (atomic_compare_exchange_strong_explicit(&makers[i], &none, g, memory_order_relaxed, memory_order_relaxed))
			birth->place = i;
	}
}

void sig_child_made(const struct child_birth *birth, pid_t child) {
	struct g *g = self_g();
	if (g && child > 0) {
		unsigned i = (uint32_t)child % SLOTS;
		atomic_store_explicit(&slots[i].key, 0, memory_order_relaxed);
		atomic_thread_fence(memory_order_release); /* who reads one of the next two finds the key changed */
		atomic_store_explicit(&slots[i].maker, g, memory_order_relaxed);
		atomic_store_explicit(&slots[i].seen, birth->seen, memory_order_relaxed);
		atomic_store_explicit(&slots[i].key, (uint64_t)child << 32 | (uint32_t)g->tid, memory_order_release);
	}
	if (birth->place < MAKERS) /* release: who finds him gone finds the slot */
		atomic_store_explicit(&makers[birth->place], NULL, memory_order_release);
}

static struct g *only_maker(void) {
	struct g *only = NULL;
	for (int i = 0; i < MAKERS; i++) {
		struct g *g = atomic_load_explicit(&makers[i], memory_order_acquire);
		if (g && only)
			return NULL;
		only = g ? g : only;
	}
	return only;
}

/* Who made it, and what had been seen before; NULL: not known, or he has ended. */
static struct g *slot_look(pid_t child, uint32_t *seen) {
	unsigned i = (uint32_t)child % SLOTS;
	uint64_t key = atomic_load_explicit(&slots[i].key, memory_order_acquire);
	if (child <= 0 || (pid_t)(key >> 32) != child)
		return NULL;
	struct g *g = atomic_load_explicit(&slots[i].maker, memory_order_relaxed);
	*seen = atomic_load_explicit(&slots[i].seen, memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire); /* pairs with the one in sig_child_made() */
	bool whole = atomic_load_explicit(&slots[i].key, memory_order_relaxed) == key;
	return whole && __atomic_load_n(&g->tid, __ATOMIC_RELAXED) == (int32_t)(uint32_t)key ? g : NULL;
}

bool sig_child_seen(pid_t child, uint32_t *seen) {
	return slot_look(child, seen) != NULL;
}

bool sig_child_of(struct g *g, pid_t child) {
	uint32_t seen;
	return slot_look(child, &seen) == g;
}

struct g *sig_child_parent(pid_t child) {
	uint32_t seen;
	struct g *first = only_maker(), *g = slot_look(child, &seen);
	g = g ? g : first; /* in this order: who was gone from there has filled the slot */
	return is_open(g, SIGCHLD) ? g : NULL;
}

struct g *sig_taker_of(int sig, const siginfo_t *info) {
	bool of_child = sig == SIGCHLD && info->si_code >= CLD_EXITED && info->si_code <= CLD_CONTINUED;
	struct g *parent = of_child ? sig_child_parent(info->si_pid) : NULL;
	return parent ? parent : sig_taker(sig);
}

void sig_child_settle(struct g *g, pid_t child, uint32_t seen) {
	struct g *taker = handler_of(SIGCHLD) ? sig_child_parent(child) : NULL;
	if (taker)
		sig_settle_with(g, taker, SIGCHLD, seen);
	else
		sig_settle(g, SIGCHLD, seen);
}

void sig_child_fork_child(void) {
	for (int i = 0; i < MAKERS; i++)
		atomic_store_explicit(&makers[i], NULL, memory_order_relaxed); /* they did not come along */
}
