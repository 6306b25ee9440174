/* A race detector for the library as it runs programs (COR-2): make race.
 *
 * core/ and shims/ are compiled with -fsanitize=thread, and this file takes the place of the compiler's runtime. That one cannot be used: it keeps its state of a thread
 * where the thread pointer points, and goroutines have thread pointers of their own, which move between kernel threads; it wants to see pthread_create() and every
 * lock of the program; and it has to be loaded before everything, as this library does. Here a goroutine *is* a thread, since struct g says who runs
 * (so does its fiber interface, with a call at each switch). The programs stay unmodified and uninstrumented.
 *
 * Happens-before, by vector clocks (FastTrack's idea). A fiber is a goroutine, a g0, or a kernel thread without either; it has a number and a clock of all numbers. An
 * atomic operation with release order leaves the fiber's clock at the address, one with acquire order takes what it finds there. So x86's strong order hides nothing: an
 * acquire that is missing in the source is a race, whatever the CPU does. Kernel and assembler are told by core/race.h. Each 8 bytes that are accessed have a cell
 * with the last few accesses; two that overlap, one of them a write and one of them not atomic, not ordered: a race.
 *
 * What it does not see, and what it says too little: a fiber's number is given again after NUMBERS others, and two fibers of one number count as one. Cells
 * and sync addresses live in tables of fixed size; who finds no room takes an older cell's, or shares a clock. All of that loses races and invents none.
 * Memory of the program: malloc's and the program's own order are invisible, so an object that one thread frees and another makes anew looks like a race. Reports
 * are made only for memory of ours: the library's data, and what the core maps (race_ours()).
 *
 * A handler that interrupts this code itself could do nothing right: it would wait for a lock that it stands on, and what it releases would be seen by nobody. It
 * returns at once, with every signal blocked, and comes again when the access is over (race_comes_again()).
 *
 * A report is one line for each pair of places, appended to the file that GOSHIM_RACE_LOG names, else on stderr: scripts/race finds the lines of the source.
 */
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "race.h"
#include "runtime.h"
#include "../tsan_calls.h"

#define NUMBERS 256u
#define SLOTS 4u
#define CELLS (1u << 20)
#define SYNCS (1u << 14)
#define PROBES 16u
#define PAIRS 4096u

typedef uint32_t clocks[NUMBERS];

struct fiber {
	clocks now, released, acquired; /* released: at the last release fence; acquired: by relaxed loads, for an acquire fence */
	uint32_t number;
	bool fenced;
};

/* One access. number's clock at the time; clock 0: none. */
struct access {
	uint32_t clock;
	uint8_t number, mask;
	bool write, atomic;
	uint32_t pc; /* from the library's begin */
};

struct cell {
	_Atomic uint32_t lock;
	uintptr_t granule;
	struct access slot[SLOTS];
};

struct sync {
	_Atomic uint32_t lock;
	_Atomic uintptr_t address;
	clocks left;
};

static struct cell *cells;
static struct sync *syncs;
static struct sync shared; /* of those that found no place */
static _Atomic uint64_t pairs[PAIRS];
static _Atomic uint32_t numbers;
static _Atomic uint32_t latest[NUMBERS]; /* about how far each number's clock is */
static _Atomic int up;
static _Atomic uint32_t *own; /* in a page that a fork's child finds empty: what a lock holds while somebody has it */

static __thread struct fiber *nameless __attribute__((tls_model("initial-exec")));
static __thread bool busy __attribute__((tls_model("initial-exec")));
static __thread bool put_off __attribute__((tls_model("initial-exec"))); /* a handler has: unblocked is the mask to go back to */
static __thread uint64_t unblocked __attribute__((tls_model("initial-exec")));

extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));
extern char **environ;

static void *pages(size_t bytes, int flags) {
	long r = SYS6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
	return r < 0 && r > -4096 ? NULL : (void *)r;
}

/* 0: not yet, 1: somebody is at it, 2: yes, 3: no memory */
static bool ready_up(void) {
	int state = atomic_load_explicit(&up, memory_order_acquire), none = 0;
	if (state >= 2)
		return state == 2;
	if (!atomic_compare_exchange_strong(&up, &none, 1))
		return false;
	own = pages(4096, MAP_POPULATE);
	if (own)
		SYS3(SYS_madvise, own, 4096, MADV_WIPEONFORK);
	/* All of it is resident from now on: what is accessed for the first time would add a page of cells to the process's, and a program that watches its own memory would
	 * take that for its threads'. */
	cells = pages(CELLS * sizeof *cells, MAP_POPULATE);
	syncs = pages(SYNCS * sizeof *syncs, MAP_POPULATE);
	atomic_store_explicit(&up, own && cells && syncs ? 2 : 3, memory_order_release);
	return own && cells && syncs;
}

/* The same for all who share this memory: a vfork's child, too. */
static uint32_t own_mark(void) {
	uint32_t mark = atomic_load_explicit(own, memory_order_relaxed);
	if (__builtin_expect(mark, 1))
		return mark;
	uint32_t pid = (uint32_t)SYS0(SYS_getpid);
	return atomic_compare_exchange_strong(own, &mark, pid) ? pid : mark;
}

/* In a fork's child nobody is left to let go of a lock that another thread of the parent held, and it is taken. */
static void spin_lock(_Atomic uint32_t *lock) {
	uint32_t none = 0, tries = 0, mark = own_mark();
	while (!atomic_compare_exchange_weak_explicit(lock, &none, mark, memory_order_acquire, memory_order_relaxed)) {
		arch_relax();
		if (none && none != mark && atomic_compare_exchange_strong_explicit(lock, &none, mark, memory_order_acquire, memory_order_relaxed))
			return;
		if (++tries % 1024 == 0)
			SYS0(SYS_sched_yield);
		none = 0;
	}
}

static void spin_unlock(_Atomic uint32_t *lock) {
	atomic_store_explicit(lock, 0, memory_order_release);
}

static void join(uint32_t *to, const uint32_t *from) {
	for (uint32_t i = 0; i < NUMBERS; i++)
		to[i] = to[i] > from[i] ? to[i] : from[i];
}

static void all_before(struct fiber *f) {
	for (uint32_t i = 0; i < NUMBERS; i++) {
		uint32_t there = atomic_load_explicit(&latest[i], memory_order_relaxed);
		f->now[i] = f->now[i] > there ? f->now[i] : there;
	}
}

static void tick(struct fiber *f) {
	uint32_t mine = ++f->now[f->number], last = atomic_load_explicit(&latest[f->number], memory_order_relaxed);
	while (last < mine && !atomic_compare_exchange_weak_explicit(&latest[f->number], &last, mine, memory_order_relaxed, memory_order_relaxed))
		;
}

/* The current fiber, with `busy` set; NULL: not to be checked. */
static struct fiber *enter(void) {
	if (busy || !ready_up())
		return NULL;
	busy = true;
	struct g *g = tls_g;
	struct fiber **at = g ? (struct fiber **)&g->race : &nameless;
	if (g && nameless) { /* the same kernel thread, before it had this G */
		if (*at)
			join((*at)->now, nameless->now);
		else
			*at = nameless;
		nameless = NULL;
	}
	if (!*at && (*at = pages(sizeof **at, 0)) != NULL) {
		(*at)->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) % NUMBERS;
		if (!g) /* who made this kernel thread, and when, is not seen: after all there was until now */
			all_before(*at);
		tick(*at);
	}
	if (!*at)
		busy = false;
	return *at;
}

static void leave(void) {
	atomic_signal_fence(memory_order_seq_cst);
	busy = false;
	atomic_signal_fence(memory_order_seq_cst);
	if (__builtin_expect(put_off, 0)) {
		uint64_t mask = unblocked;
		put_off = false;
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
	}
}

bool race_comes_again(int sig, siginfo_t *info, void *context) {
	static const uint64_t faults = 1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1) | 1ull << (SIGILL - 1) | 1ull << (SIGFPE - 1) | 1ull << (SIGTRAP - 1);
	uint64_t others = ~faults, *mask = (uint64_t *)&((ucontext_t *)context)->uc_sigmask;
	if (!busy || (faults >> (sig - 1) & 1 && info->si_code > 0))
		return false;
	unblocked = *mask; /* the last is the innermost of the frames that the kernel made at once: no other comes, since all is blocked */
	put_off = true;
	*mask |= others;
	SYS4(SYS_rt_sigprocmask, SIG_BLOCK, &others, 0, 8); /* first: not one in the other */
	SYS4(SYS_rt_tgsigqueueinfo, SYS0(SYS_getpid), SYS0(SYS_gettid), sig, info);
	return true;
}

/* ---- sync addresses ---------------------------------------------------------------------------------------------------------- */

static uintptr_t hash(uintptr_t x) {
	x *= 0x9E3779B97F4A7C15ull;
	return x ^ x >> 32;
}

static struct sync *sync_of(const volatile void *address) {
	uintptr_t key = (uintptr_t)address, h = hash(key);
	for (uint32_t i = 0; i < PROBES; i++) {
		struct sync *s = &syncs[(h + i) % SYNCS];
		uintptr_t there = atomic_load_explicit(&s->address, memory_order_relaxed), none = 0;
		if (there == key || (!there && (atomic_compare_exchange_strong(&s->address, &none, key) || none == key)))
			return s;
	}
	return &shared;
}

static bool acquires(int order) {
	return order == memory_order_acquire || order == memory_order_acq_rel || order == memory_order_seq_cst || order == memory_order_consume;
}

static bool releases(int order) {
	return order == memory_order_release || order == memory_order_acq_rel || order == memory_order_seq_cst;
}

static void take(struct fiber *f, struct sync *s, int order) {
	join(acquires(order) ? f->now : f->acquired, s->left);
}

/* `on`: a read-modify-write, which continues what others have released. */
static void put(struct fiber *f, struct sync *s, int order, bool on) {
	const uint32_t *what = releases(order) ? f->now : f->fenced ? f->released : NULL;
	if (!on && s != &shared)
		memset(s->left, 0, sizeof s->left);
	if (what)
		join(s->left, what);
	if (releases(order))
		tick(f);
}

void race_before(const void *key) {
	struct fiber *f = enter();
	if (!f)
		return;
	struct sync *s = sync_of(key);
	spin_lock(&s->lock);
	put(f, s, memory_order_release, true);
	spin_unlock(&s->lock);
	leave();
}

void race_alone(void) {
	struct fiber *f = enter();
	if (!f)
		return;
	all_before(f);
	leave();
}

void race_after(const void *key) {
	struct fiber *f = enter();
	if (!f)
		return;
	struct sync *s = sync_of(key);
	spin_lock(&s->lock);
	take(f, s, memory_order_acquire);
	spin_unlock(&s->lock);
	leave();
}

void race_same_thread(void) {
	struct g *g = tls_g;
	struct m *m = g ? g->m : NULL;
	const void *key = (char *)m + 1; /* that of no atomic and of no other order */
	if (m) {
		race_after(key);
		race_before(key);
		race_before(&g->ctx.on_cpu); /* who sees this at 0 runs g elsewhere, after all of this */
	}
}

/* ---- reports ------------------------------------------------------------------------------------------------------------------ */

#define OURS_MAX 4096u
static struct {
	_Atomic uintptr_t from, to;
} ours[OURS_MAX];
static _Atomic uint32_t ours_count;

/* What lay there before is no business of this memory's. */
static void forget(uintptr_t from, size_t bytes) {
	for (uintptr_t granule = from >> 3; granule < (from + bytes) >> 3; granule++) {
		struct cell *c = &cells[hash(granule) % CELLS];
		spin_lock(&c->lock);
		if (c->granule == granule)
			memset(c->slot, 0, sizeof c->slot);
		spin_unlock(&c->lock);
	}
}

void race_ours(const void *from, size_t bytes) {
	if (!enter())
		return;
	forget((uintptr_t)from, bytes);
	leave();
	uint32_t i = atomic_fetch_add(&ours_count, 1);
	if (i >= OURS_MAX)
		return;
	atomic_store(&ours[i].to, (uintptr_t)from + bytes);
	atomic_store(&ours[i].from, (uintptr_t)from);
}

static bool is_ours(uintptr_t at) {
	if (at >= (uintptr_t)&__ehdr_start && at < (uintptr_t)_end)
		return true;
	uint32_t n = atomic_load(&ours_count);
	for (uint32_t i = 0; i < n && i < OURS_MAX; i++) {
		uintptr_t from = atomic_load(&ours[i].from);
		if (from && at >= from && at < atomic_load(&ours[i].to))
			return true;
	}
	return false;
}

/* False: this pair was reported. */
static bool pair_new(uint32_t a, uint32_t b) {
	uint64_t key = a < b ? (uint64_t)a << 32 | b : (uint64_t)b << 32 | a;
	for (uint32_t i = 0; i < PROBES; i++) {
		uint64_t there = 0;
		if (atomic_compare_exchange_strong(&pairs[(hash(key) + i) % PAIRS], &there, key))
			return true;
		if (there == key)
			return false;
	}
	return false;
}

static void say(uintptr_t at, const struct access *before, const struct access *now) {
	char line[400], program[200] = "";
	long length = SYS4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", program, sizeof program - 1);
	program[length > 0 ? length : 0] = '\0';
	int fd = 2, n = snprintf(line, sizeof line, "goshim-race: %s%s 0x%x before: %s%s 0x%x address 0x%lx in %s\n", now->atomic ? "atomic-" : "",
	                         now->write ? "write" : "read", now->pc, before->atomic ? "atomic-" : "", before->write ? "write" : "read", before->pc, at, program);
	for (char **e = environ; e && *e; e++) {
		if (strncmp(*e, "GOSHIM_RACE_LOG=", 16) == 0)
			fd = (int)SYS4(SYS_openat, AT_FDCWD, *e + 16, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	}
	SYS3(SYS_write, fd, line, n);
	if (fd > 2)
		SYS1(SYS_close, fd);
}

/* ---- accesses ------------------------------------------------------------------------------------------------------------------ */

static bool races(const struct fiber *f, const struct access *a, const struct access *b) {
	return a->clock && (a->mask & b->mask) && (a->write || b->write) && !(a->atomic && b->atomic) && a->number != b->number &&
	       f->now[a->number] < a->clock;
}

/* Which slot a new access takes: of the same fiber and kind, an empty one, one that is over for us, any. */
static struct access *slot_for(const struct fiber *f, struct cell *c, const struct access *now) {
	for (uint32_t i = 0; i < SLOTS; i++) {
		struct access *a = &c->slot[i];
		if (a->clock && a->number == now->number && (a->mask & ~now->mask) == 0 && a->write <= now->write && a->atomic >= now->atomic)
			return a;
	}
	for (uint32_t i = 0; i < SLOTS; i++)
		if (!c->slot[i].clock)
			return &c->slot[i];
	for (uint32_t i = 0; i < SLOTS; i++)
		if (f->now[c->slot[i].number] >= c->slot[i].clock && (c->slot[i].mask & ~now->mask) == 0 && (now->write || !c->slot[i].write))
			return &c->slot[i];
	return &c->slot[now->clock % SLOTS];
}

static void access_granule(struct fiber *f, uintptr_t at, uint8_t mask, bool write, bool atomic, uint32_t pc) {
	uintptr_t granule = at >> 3;
	struct cell *c = &cells[hash(granule) % CELLS];
	struct access now = {f->now[f->number], (uint8_t)f->number, mask, write, atomic, pc}, before = {0};
	spin_lock(&c->lock);
	if (c->granule != granule) {
		memset(c->slot, 0, sizeof c->slot);
		c->granule = granule;
	}
	for (uint32_t i = 0; i < SLOTS; i++)
		if (races(f, &c->slot[i], &now))
			before = c->slot[i];
	*slot_for(f, c, &now) = now;
	spin_unlock(&c->lock);
	if (before.clock && is_ours(at) && pair_new(before.pc, now.pc))
		say(at, &before, &now);
}

static void accessed(struct fiber *f, const volatile void *addr, size_t size, bool write, bool atomic, void *pc) {
	uintptr_t at = (uintptr_t)addr;
	uint32_t where = (uint32_t)((uintptr_t)pc - 1 - (uintptr_t)&__ehdr_start);
	while (size) {
		size_t here = 8 - at % 8 < size ? 8 - at % 8 : size;
		access_granule(f, at, (uint8_t)(((1u << here) - 1) << at % 8), write, atomic, where);
		at += here;
		size -= here;
	}
}

static void plain(const volatile void *addr, size_t size, bool write, void *pc) {
	struct fiber *f = enter();
	if (!f)
		return;
	accessed(f, addr, size, write, false, pc);
	leave();
}

/* ---- what the compiler calls ----------------------------------------------------------------------------------------------------- */


void __tsan_init(void) {
}
void __tsan_func_entry(void *pc) {
	(void)pc;
}
void __tsan_func_exit(void) {
}

#define PLAIN(name, size, write) \
	void __tsan_##name##size(void *addr) { \
		plain(addr, size, write, PC); \
	}
#define PLAIN_BOTH(size) \
	PLAIN(read, size, false) PLAIN(write, size, true) PLAIN(unaligned_read, size, false) PLAIN(unaligned_write, size, true)
PLAIN_BOTH(1) PLAIN_BOTH(2) PLAIN_BOTH(4) PLAIN_BOTH(8) PLAIN_BOTH(16)

void __tsan_read_range(void *addr, size_t n) {
	plain(addr, n, false, PC);
}
void __tsan_write_range(void *addr, size_t n) {
	plain(addr, n, true, PC);
}

/* The operation itself happens under the address's lock: who reads what was written finds the clock that goes with it. */
#define ATOMIC_BODY(size, write, operation) \
	struct fiber *f = enter(); \
	if (!f) { \
		operation; \
	} else { \
		accessed(f, addr, size, write, true, pc); \
		struct sync *s = sync_of(addr); \
		spin_lock(&s->lock);

#define ATOMIC_END \
		spin_unlock(&s->lock); \
		leave(); \
	}

#define RMW(bits, type, name, builtin) \
	type __tsan_atomic##bits##_##name(volatile type *addr, type v, int order) { \
		void *pc = PC; \
		type old; \
		ATOMIC_BODY(bits / 8, true, old = builtin(addr, v, __ATOMIC_SEQ_CST)) \
		old = builtin(addr, v, __ATOMIC_SEQ_CST); \
		take(f, s, order); \
		put(f, s, order, true); \
		ATOMIC_END \
		return old; \
	}

#define ATOMICS(bits, type) \
	type __tsan_atomic##bits##_load(const volatile type *addr, int order) { \
		void *pc = PC; \
		type v; \
		ATOMIC_BODY(bits / 8, false, v = __atomic_load_n(addr, __ATOMIC_SEQ_CST)) \
		v = __atomic_load_n(addr, __ATOMIC_SEQ_CST); \
		take(f, s, order); \
		ATOMIC_END \
		return v; \
	} \
	void __tsan_atomic##bits##_store(volatile type *addr, type v, int order) { \
		void *pc = PC; \
		ATOMIC_BODY(bits / 8, true, __atomic_store_n(addr, v, __ATOMIC_SEQ_CST)) \
		put(f, s, order, false); \
		__atomic_store_n(addr, v, __ATOMIC_SEQ_CST); \
		ATOMIC_END \
	} \
	RMW(bits, type, exchange, __atomic_exchange_n) \
	RMW(bits, type, fetch_add, __atomic_fetch_add) \
	RMW(bits, type, fetch_sub, __atomic_fetch_sub) \
	RMW(bits, type, fetch_or, __atomic_fetch_or) \
	RMW(bits, type, fetch_and, __atomic_fetch_and) \
	RMW(bits, type, fetch_xor, __atomic_fetch_xor) \
	static bool compare##bits(volatile type *addr, type *expected, type v, int order, int failed, void *pc) { \
		bool done; \
		ATOMIC_BODY(bits / 8, true, done = __atomic_compare_exchange_n(addr, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) \
		done = __atomic_compare_exchange_n(addr, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
		take(f, s, done ? order : failed); \
		if (done) \
			put(f, s, order, true); \
		ATOMIC_END \
		return done; \
	} \
	TSAN_COMPARE_EXCHANGE(bits, type, compare##bits)
ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)

void __tsan_atomic_signal_fence(int order) {
	(void)order;
}

void __tsan_atomic_thread_fence(int order) {
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	struct fiber *f = enter();
	if (!f)
		return;
	if (acquires(order))
		join(f->now, f->acquired);
	if (releases(order)) {
		memcpy(f->released, f->now, sizeof f->released);
		f->fenced = true;
		tick(f);
	}
	leave();
}

/* ---- the programs' watchdogs ---- */

enum { SLOWER = 8 }; /* a watched program, at worst; RUN_PROGRAMS_SLOWER in the Makefile, too */

/* Each program ends itself with an alarm when it hangs. */
unsigned race_alarm(unsigned seconds) {
	struct itimerval set = {.it_value.tv_sec = (time_t)seconds * SLOWER}, was;
	syscall(SYS_setitimer, ITIMER_REAL, &set, &was);
	return (unsigned)(was.it_value.tv_sec + (was.it_value.tv_usec != 0) + SLOWER - 1) / SLOWER;
}
