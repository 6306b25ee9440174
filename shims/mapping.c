/* Which memory may be another process's as well.
 *
 * libstdc++ calls futex(2) as if each word were shared between processes (std::future, std::atomic's wait(), semaphores, latches), and so does who does not know of
 * FUTEX_PRIVATE_FLAG. The kernel knows better: a word in memory that only this process has is waited for and woken only from here. If we know it, too, such a
 * goroutine parks; else it waits in the kernel and costs a kernel thread (rawfutex.c).
 *
 * Memory becomes shared by mmap() and shmat(), by libc's functions or through syscall(). It is noted here before the caller has the address. Nothing is forgotten: what is
 * unmapped, and private the next time, is taken for shared, which is right, only dear. So is all memory when there are more than RANGES, and from when on the kernel
 * wakes words itself: for raw threads that end (set_tid_address(), CLONE_CHILD_CLEARTID, robust lists), for an io_uring. Who is parked then, or at what is mapped over, is woken for no
 * reason, as futex(2) may; he asks here again with his queue locked (rawfutex.c), so none is missed.
 * What is not seen: who maps, or wakes, with system calls of his own instructions, or through a library that was loaded with RTLD_DEEPBIND.
 *
 * No lock: a range is complete before its maker returns from here, and who asks for an address has it from him. */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "../core/futex.h"
#include "../core/runtime.h"
#include "mapping.h"
#include "process.h"
#include "shim.h"

enum { RANGES = 64, SMALL_PAGE = 4096, HUGE_PAGE = 2 << 20 };

static struct {
	uintptr_t from;
	_Atomic uintptr_t to; /* 0: not complete */
} ranges[RANGES];
static _Atomic uint32_t made;
static _Atomic bool distrusted, waited; /* waited: somebody has parked by what is known here */

static void wake_parked(uintptr_t from, uintptr_t to) {
	/* Dekker with mapping_parks(): he is seen, or sees what has just been noted */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&waited, memory_order_relaxed) && sched_started() && !(tls_g && tls_g->in_vfork))
		futex_wake_seconds(from, to);
}

void mapping_distrust(void) {
	if (!atomic_exchange(&distrusted, true))
		wake_parked(0, UINTPTR_MAX);
}

void mapping_parks(void) {
	if (unlikely(!atomic_load_explicit(&waited, memory_order_relaxed)))
		atomic_store(&waited, true); /* seq_cst: before the look at the ranges */
}

static bool noted(uintptr_t from, uintptr_t to) {
	uint32_t n = atomic_load_explicit(&made, memory_order_relaxed);
	if (atomic_load_explicit(&distrusted, memory_order_relaxed))
		return true;
	for (uint32_t i = 0; i < n && i < RANGES; i++) {
		/* acquire: `from` is there as well */
		uintptr_t end = atomic_load_explicit(&ranges[i].to, memory_order_acquire);
		if (to <= end && from >= ranges[i].from)
			return true;
	}
	return false;
}

bool mapping_shared(const void *word) {
	return noted((uintptr_t)word, (uintptr_t)word + 1);
}

static void note(uintptr_t from, size_t bytes, size_t page) {
	uintptr_t to = (from + bytes + page - 1) & ~(uintptr_t)(page - 1);
	if (noted(from, to))
		return;
	uint32_t i = atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
	if (i >= RANGES) {
		atomic_store_explicit(&made, RANGES, memory_order_relaxed);
		mapping_distrust();
		return;
	}
	ranges[i].from = from;
	atomic_store_explicit(&ranges[i].to, to, memory_order_release);
}

static void mapped(const void *at, size_t bytes, int flags) {
	if (at == MAP_FAILED || (flags & MAP_TYPE) == MAP_PRIVATE)
		return;
	note((uintptr_t)at, bytes, flags & MAP_HUGETLB ? HUGE_PAGE : SMALL_PAGE);
	if (flags & MAP_FIXED) /* others may know the address already */
		wake_parked((uintptr_t)at, (uintptr_t)at + bytes);
}

static void moved(const void *from, const void *to, size_t bytes) {
	if (to == MAP_FAILED || !mapping_shared(from))
		return;
	note((uintptr_t)to, bytes, SMALL_PAGE);
	wake_parked((uintptr_t)to, (uintptr_t)to + bytes);
}

static void attached(int id, const void *at) {
	struct shmid_ds ds;
	if (at == MAP_FAILED)
		return;
	if (MAY_FAIL_UNSEEN(-EACCES, SYS3(SYS_shmctl, id, IPC_STAT, &ds)) == 0)
		note((uintptr_t)at, ds.shm_segsz, HUGE_PAGE); /* nobody says whether it has such */
	else
		mapping_distrust(); /* it may not be asked how large it is */
}

static bool memory_shared(uint64_t flags) {
	return (flags & CLONE_CHILD_CLEARTID) || (flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM;
}

void mapping_before(long n, const long a[6]) {
	switch (n) {
	case SYS_clone:
		if (memory_shared((uint64_t)a[0]))
			mapping_distrust();
		break;
	case SYS_clone3: /* its flags may be nowhere */
	case SYS_set_tid_address:
	case SYS_set_robust_list:
		mapping_distrust();
		break;
	default:
		break;
	}
}

void mapping_after(long n, const long a[6], long r) {
	if (unlikely((unsigned long)r > -4096UL))
		return;
	if (n == SYS_mmap)
		mapped((const void *)r, (size_t)a[1], (int)a[3]);
	else if (n == SYS_mremap)
		moved((const void *)a[0], (const void *)r, (size_t)a[2]);
	else if (n == SYS_shmat)
		attached((int)a[0], (const void *)r);
}

/* Allocators call this with their locks held, and may do so before anything is looked up, which may call an allocator itself. */
SHIM void *mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset) {
	void *at = likely(real.mmap != NULL) ? real.mmap(addr, bytes, prot, flags, fd, offset)
					      : (void *)sys_ret(SYS6(SYS_mmap, addr, bytes, prot, flags, fd, offset));
	mapped(at, bytes, flags);
	return at;
}

SHIM void *mmap64(void *addr, size_t bytes, int prot, int flags, int fd, off64_t offset) {
	void *at = likely(real.mmap64 != NULL) ? real.mmap64(addr, bytes, prot, flags, fd, offset)
						: (void *)sys_ret(SYS6(SYS_mmap, addr, bytes, prot, flags, fd, offset));
	mapped(at, bytes, flags);
	return at;
}

SHIM void *mremap(void *from, size_t old_bytes, size_t bytes, int flags, ...) {
	va_list ap;
	va_start(ap, flags);
	void *where = va_arg(ap, void *); /* what was not passed is garbage, and not looked at, as in libc's */
	va_end(ap);
	void *at = likely(real.mremap != NULL) ? real.mremap(from, old_bytes, bytes, flags, where)
						: (void *)sys_ret(SYS5(SYS_mremap, from, old_bytes, bytes, flags, where));
	moved(from, at, bytes);
	return at;
}

SHIM void *shmat(int id, const void *addr, int flags) {
	REAL_READY();
	void *at = real.shmat(id, addr, flags);
	attached(id, at);
	return at;
}

SHIM int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...) {
	va_list ap;
	REAL_READY();
	va_start(ap, arg);
	void *parent_tid = va_arg(ap, void *), *tls = va_arg(ap, void *), *child_tid = va_arg(ap, void *); /* as above */
	va_end(ap);
	if (memory_shared((uint32_t)flags))
		mapping_distrust();
	int shares = flags & (CLONE_VM | CLONE_VFORK | CLONE_THREAD | CLONE_SETTLS);
	if (shares == 0 || shares == CLONE_VFORK)
		return process_clone_fn(fn, stack, flags, arg, parent_tid, tls, child_tid);
	if (shares != (CLONE_VM | CLONE_VFORK)) {
		struct g *g = process_in_vfork() ? NULL : g_goroutine();
		enum tp_hold hold = g_tp_hold(g);
		int pid = real.clone(fn, stack, flags, arg, parent_tid, tls, child_tid), error = errno;
		g_tp_release(g, hold);
		errno = error;
		return pid;
	}
	vfork_before();
	int pid = real.clone(fn, stack, flags, arg, parent_tid, tls, child_tid);
	return vfork_after(pid < 0 ? -errno : pid);
}
