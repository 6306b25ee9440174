/* Robust mutexes of a thread that ends (TLS-10).
 *
 * A robust mutex is libc's from the first to the last (sync.h): it links what a thread holds into a list in the thread's TCB, which the
 * kernel walks when the thread ends: it marks each word whose owner is that thread as FUTEX_OWNER_DIED and wakes one waiter. A goroutine's end
 * is not the end of a kernel thread, and its number is none of the kernel's. So this is the kernel's walk once more, with its rules: at
 * most ROBUST_MAX entries, since the list may be broken; the entry that was being added or removed (list_op_pending) last.
 *
 * A process that is killed is the kernel's to clean up after: it walks the lists that its kernel threads have told it of, and compares with their numbers. Main has one. So
 * a goroutine that locks a robust mutex shared with other processes stays on its kernel thread while it has one, tells the kernel of its own list there, and
 * takes that one's number in its TCB for as long as libc deals with such a mutex: that is what libc writes into the word. In a handler that runs while it waits
 * for such a mutex, it has that number, too. That costs two system calls each time, so who does it often is pinned and does it once. (At once, for a thread of a database that
 * locks such a mutex once in its life it would be a kernel thread for each, and a hand-over for each wait.)
 *
 * Pinned is also who locks a mutex with priority inheritance that is shared, or robust, which libc marks as shared, too. The kernel finds its owner by the number in the word,
 * and takes it back from nobody but the kernel thread of this number. Also main, then, which has a number of the kernel's, but need not be on the kernel thread that has it:
 * while it holds such a mutex it stays where it is, and before the runtime starts that is the first kernel thread. (Rejected: to take this part of the
 * type away when the mutex is found free, as priorities mean nothing among goroutines. Libc may have looked at the type before, for another thread, and then waits in
 * the kernel for a mutex that is given back without telling the kernel.)
 */
#include <linux/futex.h>
#include <stdint.h>

#include "../core/runtime.h"
#include "../core/tcb.h"
#include "pinned.h"
#include "sync.h"
#include "thread.h"

#define ROBUST_MAX 2048
#define ROBUST_USES 64 /* so often it stays for as long as it has one; then it is pinned */
#define ROBUST_PI 1ul /* lowest bit of an entry's address */

static bool list_tell(struct g *g) {
	void *head = tcb_robust_head(g->ctx.tp);
	return head && SYS2(SYS_set_robust_list, head, sizeof(struct robust_list_head)) == 0;
}

static bool robust_pin(struct g *g, struct thread *t) {
	if (!tcb_robust_head(g->ctx.tp))
		return false;
	pin_self();
	if (list_tell(g))
		t->robust_ktid = g->m->ktid;
	return t->robust_ktid != 0;
}

/* Not on the first: its list and its number are main's. Nor where kernel threads are kept for what was submitted from them: who is pinned leaves such a one, with the number. */
static bool robust_stay(struct g *g, struct thread *t) {
	return t->robust_uses < ROBUST_USES && !m_keeps() && g_wire_not_first(g);
}

/* Its number, from now on. No handler in between: one that takes and gives back another such mutex would undo the half of it. 0: it has none. */
static int32_t robust_self(struct g *g, struct thread *t, unsigned kind, bool stays) {
	rt_enter(g);
	if (stays && list_tell(g)) {
		t->robust_now = g->m->ktid;
		t->robust_uses++;
	}
	int32_t number = t->robust_now && !(kind & MUTEX_INHERIT) ? t->robust_now : t->robust_ktid;
	if (number)
		tcb_set_tid(g->ctx.tp, number);
	rt_exit(g);
	return number;
}

static bool holds_nothing(struct g *g) {
	const struct robust_list_head *head = tcb_robust_head(g->ctx.tp);
	return (head->list.next == &head->list || !head->list.next) && !head->list_op_pending;
}

/* Was it pinned meanwhile? Then this thread, or the one to which it went from one that is kept for others' sake (m_keeps()), knows of the list for good. */
static void robust_go(struct g *g, struct thread *t) {
	if (!t->robust_ktid && g->m->ktid == t->robust_now)
		list_tell(&g->m->g0);
	t->robust_now = 0;
	if (!g->tp_held) /* in a call that began when it was wired, and needs it to be: a handler of fork() gives the mutex back */
		g_wire(g, false);
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
	if (tcb_tid(g->ctx.tp) != g->tid) /* an outer call has done it */
		return NULL;
	bool stays = !(kind & MUTEX_INHERIT) && !t->robust_now && !t->robust_ktid && robust_stay(g, t);
	if (robust_self(g, t, kind, stays))
		return g;
	if (stays)
		g_wire(g, false);
	if (!robust_pin(g, t))
		return NULL; /* no such list */
	robust_self(g, t, kind, false);
	return g;
}

void robust_leave(struct g **g) {
	if (!*g)
		return;
	struct thread *t = thread_of(*g);
	rt_enter(*g); /* as in robust_self() */
	tcb_set_tid((*g)->ctx.tp, (*g)->tid);
	if (t->robust_now && holds_nothing(*g))
		robust_go(*g, t);
	rt_exit(*g);
	if ((*g)->kind == G_MAIN && main_wired && !main_holds) {
		main_wired = false;
		g_wire(*g, false);
	}
}

/* Libc knows g by its number, or one that it had for such a mutex. */
static bool is_owner(struct g *g, uint32_t tid) {
	const struct thread *t = thread_of(g);
	return tid && (tid == (uint32_t)g->tid || tid == (uint32_t)t->robust_ktid || tid == (uint32_t)t->robust_now);
}

bool robust_owns(uint32_t word) {
	struct g *g = g_goroutine();
	return !g || is_owner(g, word & FUTEX_TID_MASK);
}

/* One word of g, which is dead. False: it is gone. */
static bool word_died(struct g *g, _Atomic uint32_t *word, bool pi, bool pending) {
	if (!address_probe((uintptr_t)word, true))
		return false;
	uint32_t v = atomic_load_explicit(word, memory_order_relaxed);
	/* It was released already, and the waiter that was to be woken was perhaps not. */
	if (pending && !pi && v == 0) {
		SYS3(SYS_futex, word, FUTEX_WAKE, 1);
		return true;
	}
	while (is_owner(g, v & FUTEX_TID_MASK)) {
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
	struct thread *t = thread_of(g);
	if (t->robust_ktid || t->robust_now) /* the kernel thread ends after the TCB has another owner */
		list_tell(&g->m->g0);
	if (!head || head->list.next == NULL)
		return;
	uintptr_t entry = (uintptr_t)head->list.next, pending = (uintptr_t)head->list_op_pending;
	for (int i = 0; i < ROBUST_MAX && (entry & ~ROBUST_PI) != (uintptr_t)head; i++) {
		uintptr_t at = entry & ~ROBUST_PI;
		struct robust_list node; /* read before: the mutex is somebody else's in a moment */
		/* What it held may be unmapped, or have become something else; the kernel's walk ends there, too. */
		if (!address_probe(at, false) || !address_probe(at + sizeof node - 1, false)) /* no peek(), which a filter may forbid */
			break;
		node = *(const struct robust_list *)at;
		_Atomic uint32_t *word = (_Atomic uint32_t *)(at + (uintptr_t)head->futex_offset);
		if (at != (pending & ~ROBUST_PI) && !word_died(g, word, entry & ROBUST_PI, false))
			break;
		entry = (uintptr_t)node.next;
	}
	if (pending)
		word_died(g, (_Atomic uint32_t *)((pending & ~ROBUST_PI) + (uintptr_t)head->futex_offset), pending & ROBUST_PI, true);
	head->list.next = &head->list;
	head->list_op_pending = NULL;
}
