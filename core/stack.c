/* Stack slots.
 *
 * One slot per goroutine: as much reserved address space as the thread asked for (NPTL's default if it did not), a guard below, the TCB
 * and static TLS on top. Slots are cut from slabs: one mapping each, PROT_READ|WRITE, MAP_NORESERVE, no huge pages (MEM-7).
 *
 * Growth. The kernel commits a slot page by page, on first touch. design.md planned a 64 KiB window that a SIGSEGV handler doubles;
 * we measured that against the kernel's own demand paging and replaced it (core/README.md has the command and the figures): a window
 * costs a signal, a madvise and a sigreturn for each doubling where a plain first touch costs one fault, it saves no page
 * (an untouched page of a mapping costs nothing either way), and it brings three ways to break a program that this way does not
 * have: EFAULT from kernel writes into a page not grown yet (MEM-1), death by a growth fault while SIGSEGV is blocked (MEM-2), and
 * signal frames that do not fit (MEM-13, SIG-8). A stack still starts at a page or two and grows by page faults; the guard
 * is a real one, and overflow reaches the program as a kernel SIGSEGV with the address it touched (MEM-9, MEM-10).
 *
 * Guards, two back ends:
 *   markers   MADV_GUARD_INSTALL (Linux 6.13+): no VMA per stack, so 200,000 stacks fit the default vm.max_map_count. The guard of a slot
 *             lies right above the top of the slot below it: the marker shares that one's page-table page.
 *   mprotect  two VMAs per stack: about 32,700 stacks, then EAGAIN, as with NPTL (MEM-4, MEM-5).
 *
 * Which slot of its slab a new stack gets, and where in the slot it begins, is a secret of the process (SEC-6): the address of one says little about the others'.
 * Kernel memory is the same once a slab is used up; while it is not, a guard whose neighbour below is not yet used has a page-table page for itself.
 *
 * Dead slots: goroutines keep stack and TCB together in the scheduler's free lists; only what overflows those comes back here, and then its
 * pages go back to the kernel (DONTNEED) while the guard stays.
 *
 * Where address space is counted (RLIMIT_AS, strict overcommit, mlockall()), nothing is reserved: each slot is a mapping of its own, which is unmapped
 * when it comes back, and g.c keeps no more of them than NPTL would (MEM-6). What was reserved before the limit came is given up when a mapping is
 * refused: stack_reserve_drop().
 *
 * Executable stacks, when the program or a library of it asks for them (PT_GNU_STACK): slabs are mapped so if that is known at start. If it comes
 * later, with dlopen(), slots are changed one by one: those in use by stack_exec_all(), the others when they are handed out.
 *
 * Lock: stack_lock, rank LOCK_STACK (the innermost).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "asan.h"
#include "pages.h"
#include "runtime.h"
#include "stack.h"
#include "tcb.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE 4096ul
#define POPULATE_MAX (64ul << 10)
#define SLAB_BYTES (512ul << 20) /* address space taken at a time; halves when refused */
#define SLAB_SLOTS_MAX 64u
#define CLASSES 32u
#define SLOT_MAX (1ul << 45) /* more than the address space has room for */
/* What our frames need on top of the program's: small stacks (microsocks asks for 32 KiB) must hold a shim, too. Larger ones are as large as
 * was asked for, which programs compare with what pthread_getattr_np() says. */
#define SHIM_ROOM (16ul << 10)
#define SHIM_ROOM_BELOW (1ul << 20)
/* Consecutive slots start at different offsets within 2 MiB, so that equal frames do not fight for the same cache sets. */
#define COLOUR (12ul << 10)
#define COLOUR_LINES 16u        /* cache lines among which frames begin: the same frames of a thousand goroutines would share a few cache sets */
#define COLOUR_LINE 64u

struct slab_class {
	size_t size, guard, stride;
	char *slab;          /* the current one */
	uint32_t left;       /* slots of it that were never used */
	uint8_t order[SLAB_SLOTS_MAX]; /* their places; the last of them is the next */
	char **free;         /* used slots, LIFO: an mmap'd array, so that a free slot's pages are not touched */
	uint32_t free_count, free_cap;
};

static struct lock stack_lock;
static struct slab_class classes[CLASSES];
static bool markers;
static size_t default_size;
static _Atomic bool exec_late; /* stacks are executable, slabs are not */
static uint64_t secret[3]; /* 0 and 1 shuffle slots, by stack_lock; 2 scatters where stacks begin */
static bool commit_strict; /* vm.overcommit_memory is 2: MAP_NORESERVE is not heard, reservations count */

static bool failed(long r) {
	return (unsigned long)r > -4096UL;
}

static void *map(size_t bytes) {
	int prot = PROT_READ | PROT_WRITE | (sched_config.stack_exec ? PROT_EXEC : 0);
	long r = MAY_FAIL_SEEN(-ENOMEM, SYS6(SYS_mmap, 0, bytes, prot,
	                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0));
	return failed(r) ? NULL : (void *)r;
}

bool stack_uses_markers(void) {
	return markers;
}

static bool commit_is_strict(void) {
	char mode = '0';
	long fd = MAY_FAIL_UNSEEN(-EMFILE, SYS4(SYS_openat, AT_FDCWD, "/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC, 0));
	if (failed(fd))
		return false;
	SYS3(SYS_read, fd, &mode, 1);
	SYS1(SYS_close, fd);
	return mode == '2';
}

/* In a fork's child, the parent's classes: its stacks, which are used again (g_adopt_orphans()), say which is theirs. Somebody may have been changing one: what is
 * in the list of free slots is lost. What is left of the slab is not: it changes by one store, and nothing of it is changed while there is any. */
static void classes_again(void) {
	for (uint32_t i = 0; i < CLASSES; i++) {
		struct slab_class *c = &classes[i];
		c->free = NULL;
		c->free_count = c->free_cap = 0;
	}
}

/* ---- what nobody is to guess ---- */

static uint64_t scrambled(uint64_t x) {
	x = (x ^ x >> 31) * 0xD6E8FEB86659FD93u;
	x = (x ^ x >> 29) * 0x9E3779B97F4A7C15u;
	return x ^ x >> 32;
}

/* Anew in a fork's child, whose new stacks its parent is not to know. */
static void secrets_make(void) {
	if (MAY_FAIL_UNSEEN(-ENOSYS, SYS3(SYS_getrandom, secret, sizeof secret, 1 /* GRND_NONBLOCK */)) == sizeof secret)
		return;
	for (uint32_t i = 0; i < 3; i++) /* where the kernel put us is random, too */
		secret[i] = scrambled(secret[i] + (uint64_t)nanotime() + ((uintptr_t)&i << 20) + i * (uintptr_t)&classes);
}

/* 0..n-1, as good as even for a few. stack_lock held. */
static uint32_t secret_below(uint32_t n) {
	secret[0] += secret[1] | 1;
	return (uint32_t)((scrambled(secret[0] ^ secret[1] >> 32) >> 32) * n >> 32);
}

size_t stack_colour(const struct stack *s) {
	return (scrambled((uintptr_t)s->lo ^ secret[2]) >> 32) % COLOUR_LINES * COLOUR_LINE;
}

int stack_init(void) {
	struct rlimit rl;
	classes_again();
	secrets_make();
	stack_lock.word = 0;
	if (sched_config.stack_exec)
		atomic_store(&exec_late, false); /* a fork's child maps its own */
	/* NPTL's rule: RLIMIT_STACK as found at start, 2 MiB if unlimited (RES-5), at least a few pages. */
	default_size = sched_config.stack_default;
	if (!default_size) {
		default_size = 8ul << 20;
		if (SYS4(SYS_prlimit64, 0, RLIMIT_STACK, 0, &rl) == 0)
			default_size = rl.rlim_cur == RLIM_INFINITY ? 2ul << 20 : rl.rlim_cur;
	}
	if (default_size < (32ul << 10))
		default_size = 32ul << 10;
	commit_strict = commit_is_strict();
	markers = false;
	if (!sched_config.stack_mprotect) {
		void *probe = map(PAGE);
		if (!probe)
			return -ENOMEM;
		/* Emulators say yes to any advice: it is a guard if the kernel cannot write there. */
		markers = MAY_FAIL_UNSEEN(-EINVAL, SYS3(SYS_madvise, probe, PAGE, MADV_GUARD_INSTALL)) == 0 &&
		          SYS2(SYS_clock_gettime, 1, probe) == -EFAULT;
		SYS2(SYS_munmap, probe, PAGE);
	}
	return 0;
}

static struct slab_class *class_of(size_t size, size_t guard) {
	for (uint32_t i = 0; i < CLASSES; i++) {
		struct slab_class *c = &classes[i];
		if (!c->size) {
			c->guard = guard;
			c->stride = size + guard + (size >= (1ul << 20) ? COLOUR : 0);
			__atomic_store_n(&c->size, size, __ATOMIC_RELEASE); /* last: classes_again() */
		}
		if (c->size == size && c->guard == guard)
			return c;
	}
	return NULL;
}

/* Is a new mapping filled and locked at once? mlockall(MCL_FUTURE) (MEM-14). */
static bool mappings_are_locked(void) {
	unsigned char resident = 0;
	void *probe = map(PAGE);
	if (!probe)
		return false;
	SYS3(SYS_mincore, probe, PAGE, &resident);
	SYS2(SYS_munmap, probe, PAGE);
	return resident & 1;
}

/* A few calls, once per slab. */
bool stack_reserve_is_costly(void) {
	struct rlimit rl;
	return commit_strict || (SYS4(SYS_prlimit64, 0, RLIMIT_AS, 0, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY) || mappings_are_locked();
}

/* For slots. */
static char *slots_map(size_t bytes) {
	char *base = map(bytes);
	if (base)
		SYS3(SYS_madvise, base, bytes, MADV_NOHUGEPAGE);
	return base;
}

static bool slab_refill(struct slab_class *c) {
	uint32_t n = SLAB_BYTES / c->stride;
	if (n > SLAB_SLOTS_MAX)
		n = SLAB_SLOTS_MAX;
	for (n = n ? n : 1; n; n /= 2) {
		char *base = slots_map(n * c->stride);
		if (!base)
			continue;
		c->slab = base;
		for (uint32_t i = 0; i < n; i++) { /* each order is as likely as any other */
			uint32_t k = secret_below(i + 1);
			c->order[i] = c->order[k];
			c->order[k] = (uint8_t)i;
		}
		__atomic_store_n(&c->left, n, __ATOMIC_RELEASE); /* last: classes_again() */
		return true;
	}
	return false;
}

static bool free_reserve(struct slab_class *c) {
	if (c->free_count < c->free_cap)
		return true;
	uint32_t cap = c->free_cap ? c->free_cap * 2 : 512;
	char **free = pages_map_spare(cap * sizeof(char *));
	if (!free)
		return false;
	for (uint32_t i = 0; i < c->free_count; i++)
		free[i] = c->free[i];
	pages_unmap(c->free, c->free_cap * sizeof(char *));
	c->free = free;
	c->free_cap = cap;
	return true;
}

static bool guard_install(char *lo, size_t bytes) {
	if (!bytes)
		return true;
	if (markers && MAY_FAIL_UNSEEN(-EINVAL, SYS3(SYS_madvise, lo, bytes, MADV_GUARD_INSTALL)) == 0)
		return true;
	/* Markers are also refused in locked memory (MEM-14). */
	return MAY_FAIL_SEEN(-ENOMEM, SYS3(SYS_mprotect, lo, bytes, PROT_NONE)) == 0;
}

/* A slot whose guard was refused must not come back as a used one, which has its guard (MEM-5). */
static void slot_unmake(struct slab_class *c, char *slot, bool single) {
	if (single) {
		SYS2(SYS_munmap, slot, c->stride);
		return;
	}
	struct g *held = rt_hold();
	lock_acquire(&stack_lock, LOCK_STACK);
	if (c->left < SLAB_SLOTS_MAX && slot == c->slab + c->order[c->left] * c->stride)
		c->left++;
	/* else: others were cut after it; its address space is lost */
	lock_release(&stack_lock);
	rt_drop(held);
}

static int exec_one(const struct stack *s) {
	return (int)SYS3(SYS_mprotect, s->lo, s->hi - s->lo, PROT_READ | PROT_WRITE | PROT_EXEC);
}

int stack_exec_all(void) {
	int r = 0;
	/* seq_cst, also in stack_alloc(): it fills in a stack and then looks here, we set this and then look at stacks. One sees the other. */
	atomic_store(&exec_late, true);
	atomic_thread_fence(memory_order_seq_cst);
	for (struct g *g = g_all(); g; g = g->all_next) {
		struct stack s = g->stack;
		if (s.slab && s.lo < s.hi) {
			int one = exec_one(&s); /* of a slot that is just given back it changes nothing that matters */
			if (!r)
				r = one;
		}
	}
	return r;
}

int stack_alloc(size_t size, size_t guard, struct stack *out) {
	if (!size)
		size = default_size;
	if (size > SLOT_MAX || guard > SLOT_MAX)
		return -EAGAIN;
	/* NPTL takes the TLS out of the size, and so do we while it is small; what a library adds to it must not take a stack away. */
	size_t room = (size < SHIM_ROOM_BELOW ? SHIM_ROOM : 0) + (tcb_bytes() > SHIM_ROOM ? tcb_bytes() : 0);
	size_t bytes = (size + room + PAGE - 1) & ~(PAGE - 1);
	guard = (guard + PAGE - 1) & ~(PAGE - 1);
	struct g *held = rt_hold();
	lock_acquire(&stack_lock, LOCK_STACK);
	struct slab_class *c = class_of(bytes, guard);
	struct slab_class one = {.size = bytes, .guard = guard, .stride = bytes + guard};
	char *slot = NULL;
	bool fresh = false;
	if (c && c->free_count) {
		slot = c->free[--c->free_count];
	} else if (c && !c->left && stack_reserve_is_costly()) {
		c = NULL;
	} else if (c && (c->left || slab_refill(c))) {
		__atomic_store_n(&c->left, c->left - 1, __ATOMIC_RELAXED); /* one store: classes_again() */
		slot = c->slab + c->order[c->left] * c->stride;
		fresh = true;
	}
	if (!c) { /* nothing may be reserved, or there are more sizes than classes: a mapping of its own */
		slot = slots_map(one.stride);
		fresh = slot != NULL;
		c = &one;
	}
	lock_release(&stack_lock);
	rt_drop(held);
	if (!slot)
		return -EAGAIN;
	out->lo = slot + c->guard;
	out->hi = out->lo + c->size;
	out->size = size;
	out->guard = guard;
	out->slab = c == &one ? (void *)slot : (void *)c;
	if (fresh && !guard_install(slot, c->guard)) {
		slot_unmake(c, slot, c == &one);
		return -EAGAIN;
	}
	atomic_thread_fence(memory_order_seq_cst); /* see stack_exec_all() */
	if (__builtin_expect(atomic_load(&exec_late), 0))
		exec_one(out);
	return 0;
}

static char *guard_of(const struct stack *s) {
	return s->lo - ((s->guard + PAGE - 1) & ~(PAGE - 1));
}

bool stack_marker_at(const struct stack *s, const void *address) {
	return markers && s->slab && (const char *)address < s->lo && (const char *)address >= guard_of(s);
}

bool stack_is_single(const struct stack *s) {
	return s->slab && s->slab == guard_of(s);
}

size_t stack_mapped_bytes(const struct stack *s) {
	return (size_t)(s->hi - guard_of(s));
}

/* Slots that nobody uses, of all classes. One that cannot be unmapped (that takes a VMA more) stays. */
static void class_drop(struct slab_class *c) {
	uint64_t unused = 0;
	uint32_t kept = 0;
	for (uint32_t i = 0; i < c->left; i++)
		unused |= 1ull << c->order[i];
	__atomic_store_n(&c->left, 0, __ATOMIC_RELAXED); /* before they are gone: classes_again() */
	for (int i = SLAB_SLOTS_MAX; i-- > 0;) { /* from above: where guards are mappings, the end of one is cut off, which takes no VMA more */
		if (unused >> i & 1 && SYS2(SYS_munmap, c->slab + (size_t)i * c->stride, c->stride) < 0)
			c->order[kept++] = (uint8_t)i;
	}
	__atomic_store_n(&c->left, kept, __ATOMIC_RELEASE); /* last, as in slab_refill() */
	kept = 0;
	for (uint32_t i = 0; i < c->free_count; i++) {
		if (SYS2(SYS_munmap, c->free[i], c->stride) < 0)
			c->free[kept++] = c->free[i];
	}
	c->free_count = kept;
}

void stack_reserve_drop(void) {
	struct g *held = rt_hold();
	lock_acquire(&stack_lock, LOCK_STACK);
	for (uint32_t i = 0; i < CLASSES; i++)
		class_drop(&classes[i]);
	lock_release(&stack_lock);
	rt_drop(held);
}

void stack_release(struct stack *s) {
	if (!s->slab)
		return; /* the program's own */
	ASAN_STACK_UNUSED(s);
	char *slot = guard_of(s);
	if (stack_is_single(s)) {
		SYS2(SYS_munmap, slot, stack_mapped_bytes(s));
		return;
	}
	struct slab_class *c = s->slab;
	if (MAY_FAIL_UNSEEN(-EINVAL, SYS3(SYS_madvise, s->lo, s->hi - s->lo, MADV_DONTNEED)) < 0) /* it is locked */
		memset(s->hi - TCB_UPPER, 0, TCB_UPPER); /* tcb_make() relies on it */
	struct g *held = rt_hold();
	lock_acquire(&stack_lock, LOCK_STACK);
	bool kept = free_reserve(c);
	if (kept)
		c->free[c->free_count++] = slot;
	lock_release(&stack_lock);
	if (!kept) /* no memory for the list itself */
		SYS2(SYS_munmap, slot, c->stride);
	rt_drop(held);
}

void stack_populate(char *hi, size_t bytes) {
	bytes = (bytes + PAGE - 1) & ~(PAGE - 1);
	/* Refused (Linux before 5.14, or no memory): the faults do it. */
	if (bytes <= POPULATE_MAX)
		SYS3(SYS_madvise, hi - bytes, bytes, MADV_POPULATE_WRITE);
}

void stack_trim(struct stack *s, void *sp) {
	char *edge = (char *)(((uintptr_t)sp - 128) & ~(PAGE - 1)); /* the red zone stays */
	if (edge > s->lo)
		SYS3(SYS_madvise, s->lo, edge - s->lo, MADV_DONTNEED);
}
