/* Robust mutexes of a thread that ends (TLS-10).
 *
 * A robust mutex is libc's from the first to the last (sync.h): it links what a thread holds into a list in the thread's TCB, which the
 * kernel walks when the thread ends: it marks each word whose owner is that thread as FUTEX_OWNER_DIED and wakes one waiter. A goroutine's end
 * is not the end of a kernel thread, and its number is none of the kernel's. So this is the kernel's walk once more, with its rules: at
 * most ROBUST_MAX entries, since the list may be broken; the entry that was being added or removed (list_op_pending) last.
 *
 * A process that is killed is the kernel's to clean up after: it walks the lists that its kernel threads have told it of, and compares with their numbers. Main has one. So
 * a goroutine that first locks a robust mutex shared with other processes is pinned to its kernel thread, tells the kernel of its own list there, and
 * takes that one's number in its TCB for as long as libc deals with such a mutex: that is what libc writes into the word. In a handler that runs while it waits
 * for such a mutex, it has that number, too.
 *
 * The same for a mutex with priority inheritance that is shared, or robust, which libc marks as shared, too. The kernel finds its owner by the number in the word,
 * and takes it back from nobody but the kernel thread of this number. Also main, then, which has a number of the kernel's, but need not be on the kernel thread that has it:
 * while it holds such a mutex it stays where it is, and before the runtime starts that is the first kernel thread. (Rejected: to take this part of the
 * type away when the mutex is found free, as priorities mean nothing among goroutines. Libc may have looked at the type before, for another thread, and then waits in
 * the kernel for a mutex that is given back without telling the kernel.)
 */
#include <linux/futex.h>
#include <stdint.h>

#include "../core/runtime.h"
#include "../core/tcb.h"
#include "../core/unwind.h"
#include "pinned.h"
#include "sync.h"
#include "thread.h"

#define ROBUST_MAX 2048
#define ROBUST_PI 1ul /* lowest bit of an entry's address */

static bool robust_pin(struct g *g, struct thread *t) {
	void *head = tcb_robust_head(g->ctx.tp);
	if (!head)
		return false;
	pin_self();
	if (SYS2(SYS_set_robust_list, head, sizeof(struct robust_list_head)) == 0)
		t->robust_ktid = g->m->ktid;
	return t->robust_ktid != 0;
}

static unsigned main_holds; /* mutexes with inheritance, or levels of such. Main's, as the next */
static bool main_wired;     /* because of that */

void robust_count(unsigned kind, int step) {
	struct g *g = g_goroutine();
	if ((kind & MUTEX_INHERIT) && (g ? g->kind == G_MAIN : !sched_started()) && (step > 0 || main_holds))
		main_holds += (unsigned)step;
}

void robust_start(struct g *g) {
	main_wired = main_holds && !g_wire(g, true);
}

void robust_fork_child(void) {
	main_holds = 0; /* they are the parent's */
	main_wired = false;
}

/* Main is the kernel thread that it is on. */
static struct g *main_enter(struct g *g, struct thread *t) {
	if (tcb_tid(g->ctx.tp) != g->tid)
		return NULL;
	if (!g_wire(g, true))
		main_wired = true;
	int32_t ktid = g->m->ktid;
	if (ktid != t->robust_ktid && ktid != g->tid)
		SYS2(SYS_set_robust_list, tcb_robust_head(g->ctx.tp), sizeof(struct robust_list_head));
	t->robust_ktid = ktid;
	tcb_set_tid(g->ctx.tp, ktid);
	return g;
}

struct g *robust_enter(unsigned kind) {
	struct g *g = g_goroutine();
	if (!g || g->in_vfork)
		return NULL;
	struct thread *t = thread_of(g);
	if (g->kind == G_MAIN)
		return kind & MUTEX_INHERIT ? main_enter(g, t) : NULL;
	if ((!t->robust_ktid && !robust_pin(g, t)) || tcb_tid(g->ctx.tp) != g->tid) /* no such list; or an outer call has done it */
		return NULL;
	tcb_set_tid(g->ctx.tp, t->robust_ktid);
	return g;
}

void robust_leave(struct g **g) {
	if (!*g)
		return;
	tcb_set_tid((*g)->ctx.tp, (*g)->tid);
	if ((*g)->kind == G_MAIN && main_wired && !main_holds) {
		main_wired = false;
		g_wire(*g, false);
	}
}

/* One word of a dead thread that libc knew by `tid` or, robust_ktid, by `other`. False: it is gone. */
static bool word_died(_Atomic uint32_t *word, uint32_t tid, uint32_t other, bool pi, bool pending) {
	if (!address_probe((uintptr_t)word, true))
		return false;
	uint32_t v = atomic_load_explicit(word, memory_order_relaxed);
	/* It was released already, and the waiter that was to be woken was perhaps not. */
	if (pending && !pi && v == 0) {
		SYS3(SYS_futex, word, FUTEX_WAKE, 1);
		return true;
	}
	while ((v & FUTEX_TID_MASK) == tid || (other && (v & FUTEX_TID_MASK) == other)) {
		/* release: pairs with the next owner's acquire; it sees what we did, as far as we came */
		if (atomic_compare_exchange_weak_explicit(word, &v, (v & FUTEX_WAITERS) | FUTEX_OWNER_DIED,
							  memory_order_release, memory_order_relaxed)) {
			if (v & FUTEX_WAITERS)
				SYS3(SYS_futex, word, FUTEX_WAKE,
				     1); /* libc waits for robust mutexes in the kernel, as shared */
			return true;
		}
	}
	return true;
}

void robust_release(struct g *g) {
	struct robust_list_head *head = tcb_robust_head(arch_tp());
	uint32_t other = (uint32_t)thread_of(g)->robust_ktid;
	if (other) /* the kernel thread ends after the TCB has another owner */
		SYS2(SYS_set_robust_list, tcb_robust_head(g->m->g0.ctx.tp), sizeof *head);
	if (!head || head->list.next == NULL)
		return;
	uintptr_t entry = (uintptr_t)head->list.next, pending = (uintptr_t)head->list_op_pending;
	for (int i = 0; i < ROBUST_MAX && (entry & ~ROBUST_PI) != (uintptr_t)head; i++) {
		uintptr_t at = entry & ~ROBUST_PI;
		struct robust_list node; /* read before: the mutex is somebody else's in a moment */
		/* What it held may be unmapped, or have become something else; the kernel's walk ends there, too. */
		if (!peek(&node, at, sizeof node))
			break;
		_Atomic uint32_t *word = (_Atomic uint32_t *)(at + (uintptr_t)head->futex_offset);
		if (at != (pending & ~ROBUST_PI) && !word_died(word, (uint32_t)g->tid, other, entry & ROBUST_PI, false))
			break;
		entry = (uintptr_t)node.next;
	}
	if (pending)
		word_died((_Atomic uint32_t *)((pending & ~ROBUST_PI) + (uintptr_t)head->futex_offset),
			  (uint32_t)g->tid, other, pending & ROBUST_PI, true);
	head->list.next = &head->list;
	head->list_op_pending = NULL;
}
