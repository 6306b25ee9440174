/* Is there memory where a shim is about to read or write what natively the kernel does? The kernel says EFAULT; we would crash.
 *
 * It is asked without an effect: rt_sigprocmask() reads the mask before it refuses what to do with it; a futex operation that adds nothing needs a word that can
 * be written. A system call each, so: who gives an address near its own frame is believed, which are most; and pages that were
 * found good are remembered, so that a program which waits with the same structure again and again pays once. The
 * remembered may be unmapped later. Then, and for what is unmapped while the call is on its way, it is a crash after all.
 *
 * Rejected: a handler of our own for SIGSEGV that lets such accesses fail. It would have to be in force for programs that have none, and blocked by no mask: core
 * dumps, exit by the signal and stack overflows would hang on our getting all of it right.
 *
 * No lock: an entry is one word. */
#include <linux/futex.h>
#include <signal.h>

#include "shim.h"

enum { PAGE_SHIFT = 12, REMEMBERED = 256 };

/* Page number * 2, + 1: it can be written. */
static _Atomic uintptr_t remembered[REMEMBERED];

bool address_probe(uintptr_t at, bool write) {
	uint32_t none = 0;
	if (write)
		return SYS6(SYS_futex, &none, FUTEX_WAKE_OP_PRIVATE, 0, 0, at & ~(uintptr_t)3,
			    FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0)) != -EFAULT;
	at &= ~(uintptr_t)7;
	return at && SYS4(SYS_rt_sigprocmask, -1, at, NULL, 8) != -EFAULT; /* no set is none to read */
}

static bool page_bad(uintptr_t at, bool write) {
	uintptr_t key = (at >> PAGE_SHIFT) * 2 + write;
	_Atomic uintptr_t *place = &remembered[(key ^ key >> 8) % REMEMBERED];
	/* relaxed: whoever finds it, the kernel has said so */
	if (atomic_load_explicit(place, memory_order_relaxed) == key)
		return false;
	if (!address_probe(at, write))
		return true;
	atomic_store_explicit(place, key, memory_order_relaxed);
	return false;
}

bool address_bad_slow(uintptr_t at, size_t bytes, bool write) {
	uintptr_t last = at + bytes - 1;
	return last < at || page_bad(at, write) || (last >> PAGE_SHIFT != at >> PAGE_SHIFT && page_bad(last, write));
}
