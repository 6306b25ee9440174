/* Calls that wait for a disk: how many kernel threads they may hold.
 *
 * A read of a file, an fsync, a rename cannot be waited for by epoll, so whoever makes one blocks an M. sysmon gives the P to another M when that takes
 * longer than SYSCALL_NS; a thousand threads that write to a slow disk would make a thousand Ms one after the other. So a call that has lost its P
 * holds a *slot*, and while DISK_SLOTS are held the next ones wait in a queue here before they enter the kernel: as goroutines, without an M.
 * A disk is kept busy by far fewer calls than that. Calls that the page cache answers never lose their P, hold no slot, and pay one load.
 *
 * Is it safe to let one file operation wait for others? For disks yes: they do not depend on one another. But a file system may be served by
 * a thread of this very process, and be asked by it (FUSE), and a server on the network may hang. So the number is no wall: when nobody gave back
 * a slot for STALL_NS, sysmon lets one more pass. Then the Ms grow, slowly, as they would have without the queue.
 *
 * Rejected: a pool of Ms to which each call is handed. It costs two wake-ups a call, also for what the cache would have answered, and
 * takes the call away from the thread it belongs to (credentials, seccomp, signals, cancellation). io_uring: refused by default in
 * containers; what is no read past the page cache, fsync() for one, blocks a kernel worker in the same way and costs as much. Those reads would cost a fifth (scripts/files).
 *
 *     g->in_syscall:  SYSCALL_DISK       may lose its P to sysmon (retake is RETAKE_TAKEN_DISK then); holds the slot from there to its next rt_enter()
 *                     SYSCALL_DISK_SLOT  was given a slot before it entered; syscall_exit() gives it back. One for whom a handler waits then goes on without, as SYSCALL_DISK
 *
 * Lock: queue_lock, rank as LOCK_FUTEX: ready() is called after it. `held` is also raised without it, by sysmon: then some call too many passes, not
 * more. It is signed: who loses its P may give the slot back before sysmon has counted it. */
#include "runtime.h"

#define STALL_NS 20000000

static struct lock queue_lock;
static struct g *head, *tail; /* by schedlink: nobody else wakes them */
static _Atomic uint32_t queued;
static _Atomic int64_t given_back; /* when a slot was, or somebody passed without; sched.coarse_now */

static struct g *pop(void) {
	struct g *g = head;
	head = g->schedlink;
	atomic_store_explicit(&queued, queued - 1, memory_order_relaxed);
	return g;
}

static void pass(struct g *g) {
	if (wait_claim(g, WAKE_READY))
		ready(g);
}

void disk_slot_wait(struct g *g) {
	wait_begin(g, false, "disk", 0);
	lock_acquire(&queue_lock, LOCK_FUTEX);
	if (atomic_load_explicit(&sched.disk_held, memory_order_relaxed) < DISK_SLOTS) {
		atomic_fetch_add_explicit(&sched.disk_held, 1, memory_order_relaxed);
		wait_claim_self(g, WAKE_READY);
	} else {
		if (!queued)
			atomic_store_explicit(&given_back, atomic_load_explicit(&sched.coarse_now, memory_order_relaxed), memory_order_relaxed);
		g->schedlink = NULL;
		if (head)
			tail->schedlink = g;
		else
			head = g;
		tail = g;
		atomic_store_explicit(&queued, queued + 1, memory_order_relaxed);
	}
	lock_release(&queue_lock);
	/* Inside the runtime: a handler or a cancellation that comes as soon as it is left, and may never come back, gives the slot back like one that comes in the call. */
	atomic_store_explicit(&g->in_syscall, SYSCALL_DISK_SLOT, memory_order_relaxed);
	wait_park(g, -1);
}

void disk_slot_free(void) {
	struct g *next = NULL;
	lock_acquire(&queue_lock, LOCK_FUTEX);
	/* relaxed: who waits looks at it under the lock */
	if (head && atomic_load_explicit(&sched.disk_held, memory_order_relaxed) <= DISK_SLOTS)
		next = pop(); /* the slot is its own now */
	else
		atomic_fetch_sub_explicit(&sched.disk_held, 1, memory_order_relaxed);
	atomic_store_explicit(&given_back, atomic_load_explicit(&sched.coarse_now, memory_order_relaxed), memory_order_relaxed);
	lock_release(&queue_lock);
	if (next)
		pass(next);
}

bool disk_waited(void) {
	return atomic_load_explicit(&queued, memory_order_relaxed) != 0;
}

bool disk_tick(int64_t now) {
	struct g *next = NULL;
	if (!disk_waited() || now - atomic_load_explicit(&given_back, memory_order_relaxed) < STALL_NS)
		return false;
	lock_acquire(&queue_lock, LOCK_FUTEX);
	if (head) {
		next = pop();
		atomic_fetch_add_explicit(&sched.disk_held, 1, memory_order_relaxed);
		atomic_store_explicit(&given_back, now, memory_order_relaxed);
	}
	lock_release(&queue_lock);
	if (!next)
		return false;
	stat_count(NULL, STAT_DISK_EXTRA, 1);
	pass(next);
	return true;
}

void disk_fork_child(void) {
	queue_lock.word = 0;
	head = tail = NULL;
	atomic_store_explicit(&queued, 0, memory_order_relaxed);
}
