/* Threads that wait where nobody sees it: in futexes, by instructions that are not libc's (libgomp's barriers). Each holds its P until sysmon finds its CPU clock standing
 * still. It goes on without one then, and need not be found again; but a program that makes such threads anew for each piece of work (OpenMP with teams of changing size)
 * waits for that with each of them.
 *
 * So they are noted by the function that they run. Of one whose threads stand still again and again (UNSEEN_OFTEN, no more than UNSEEN_APART_NS apart: once or twice each does that
 * wants for a CPU) the kernel is asked whether they sleep in such a call. When UNSEEN_SURE did, its next threads give their P away before they begin. Only sysmon notes; who
 * begins reads one word. */
#include "kernel_call.h"
#include "netpoll.h"
#include "runtime.h"

#define UNSEEN_BITS 6u
#define UNSEEN_STARTS (1u << UNSEEN_BITS) /* functions that are told apart, by a hash */
#define UNSEEN_OFTEN 16u
#define UNSEEN_APART_NS 100000000
#define UNSEEN_SURE 4u
#define UNSEEN_LOOKS 64u /* at threads of one function: each takes a descriptor for a moment */

static struct {
	uintptr_t start;
	int64_t last;
	uint32_t in_a_row, looks, asleep;
} seen[UNSEEN_STARTS];
static _Atomic uintptr_t known[UNSEEN_STARTS];

static uint32_t place_of(uintptr_t start) {
	return (uint32_t)((start >> 4) * 0x9e3779b97f4a7c15u >> (64 - UNSEEN_BITS));
}

/* In a futex call that is none of libc's or ours. */
static bool sleeps_unseen(const struct m *m) {
	if (!netpoll_fork_hold())
		return false;
	struct kernel_call call = kernel_call_of(atomic_load_explicit(&m->ktid, memory_order_relaxed));
	netpoll_fork_release();
	return call.known && !call.running && call.number == SYS_futex && !preempt_leaves_alone(call.pc);
}

void unseen_note(const struct m *m, const struct g *g, int64_t now) {
	uintptr_t start = atomic_load_explicit(&g->start, memory_order_relaxed); /* maybe who came after it: one look too many */
	uint32_t at = place_of(start);
	if (!start || unseen_known(g))
		return;
	if (seen[at].start != start) {
		seen[at].start = start;
		seen[at].looks = seen[at].asleep = 0;
		seen[at].last = 0;
	}
	seen[at].in_a_row = now - seen[at].last > UNSEEN_APART_NS ? 1 : seen[at].in_a_row + 1;
	seen[at].last = now;
	if (seen[at].in_a_row < UNSEEN_OFTEN || seen[at].looks >= UNSEEN_LOOKS)
		return;
	seen[at].looks++;
	if (sleeps_unseen(m) && ++seen[at].asleep == UNSEEN_SURE)
		atomic_store_explicit(&known[at], start, memory_order_relaxed);
}

bool unseen_known(const struct g *g) {
	uintptr_t start = atomic_load_explicit(&g->start, memory_order_relaxed);
	/* relaxed: a hint, and nothing but the word is read by it */
	return start && atomic_load_explicit(&known[place_of(start)], memory_order_relaxed) == start;
}
