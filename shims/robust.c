/* Robust mutexes of a thread that ends (TLS-10).
 *
 * A robust mutex is libc's from the first to the last (sync.h): it links what a thread holds into a list in the thread's TCB, which the
 * kernel walks when the thread ends: it marks each word whose owner is that thread as FUTEX_OWNER_DIED and wakes one waiter. A goroutine's end
 * is not the end of a kernel thread, and its number is none of the kernel's. So this is the kernel's walk once more, with its rules: at
 * most ROBUST_MAX entries, since the list may be broken; the entry that was being added or removed (list_op_pending) last.
 *
 * What this cannot do: a process that is killed. The kernel then walks the lists of its kernel threads, so what main holds is marked, and
 * what other goroutines hold in memory shared with other processes is not.
 */
#include <linux/futex.h>
#include <stdint.h>

#include "../core/tcb.h"
#include "sync.h"
#include "thread.h"

#define ROBUST_MAX 2048
#define ROBUST_PI 1ul /* lowest bit of an entry's address */

/* One word of the dead thread `tid`. */
static void word_died(_Atomic uint32_t *word, uint32_t tid, bool pi, bool pending) {
	uint32_t v = atomic_load_explicit(word, memory_order_relaxed);
	/* It was released already, and the waiter that was to be woken was perhaps not. */
	if (pending && !pi && v == 0) {
		SYS3(SYS_futex, word, FUTEX_WAKE, 1);
		return;
	}
	while ((v & FUTEX_TID_MASK) == tid) {
		/* release: pairs with the next owner's acquire; it sees what we did, as far as we came */
		if (atomic_compare_exchange_weak_explicit(word, &v, (v & FUTEX_WAITERS) | FUTEX_OWNER_DIED,
							  memory_order_release, memory_order_relaxed)) {
			if (v & FUTEX_WAITERS)
				SYS3(SYS_futex, word, FUTEX_WAKE,
				     1); /* libc waits for robust mutexes in the kernel, as shared */
			return;
		}
	}
}

void robust_release(struct g *g) {
	struct robust_list_head *head = tcb_robust_head(arch_tp());
	if (!head || head->list.next == NULL)
		return;
	uintptr_t entry = (uintptr_t)head->list.next, pending = (uintptr_t)head->list_op_pending;
	for (int i = 0; i < ROBUST_MAX && (entry & ~ROBUST_PI) != (uintptr_t)head; i++) {
		uintptr_t at = entry & ~ROBUST_PI;
		uintptr_t next =
			(uintptr_t)((struct robust_list *)at)->next; /* the mutex is somebody else's in a moment */
		if (at != (pending & ~ROBUST_PI))
			word_died((_Atomic uint32_t *)(at + (uintptr_t)head->futex_offset), (uint32_t)g->tid,
				  entry & ROBUST_PI, false);
		entry = next;
	}
	if (pending)
		word_died((_Atomic uint32_t *)((pending & ~ROBUST_PI) + (uintptr_t)head->futex_offset),
			  (uint32_t)g->tid, pending & ROBUST_PI, true);
	head->list.next = &head->list;
	head->list_op_pending = NULL;
}
