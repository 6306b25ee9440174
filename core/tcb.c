/* A glibc thread identity per goroutine (design 1). See tcb.h.
 *
 * libc describes `struct pthread` to debuggers by exported descriptors {bits, count, offset}; what they do not describe we do not name but copy
 * from a live thread's struct, relocating every word that pointed into that struct. So a field that a future libc
 * adds gets the value it has in a fresh thread.
 *
 * Layout at the top of a stack slot, from high to low, as NPTL's own; "tcb" is everywhere the thread pointer, marked ^:
 *     variant II (x86-64):     ^struct pthread | static TLS | stack frames
 *     variant I (aarch64):      static TLS | ^head | struct pthread | stack frames
 * pthread_t is the address of struct pthread; the descriptors' offsets count from there and are turned into offsets from the thread pointer when they
 * are read, with wrap-around where they are negative. In variant I the head holds the dtv, and the descriptor says so by an offset beyond the struct.
 *
 * What a goroutine touches. In variant II the struct, the static TLS that is used and the first frames would fit a page, but not with the TLS between them that libc
 * reserves for modules to come. So the struct is cut in two where a page ends: below are the words that every thread has (dtv, canary, list, tid, robust mutexes,
 * cancellation; for threads that use TSD keys 32 of their values, too), and the page above it stays untouched, hence zero, in most. Of what a fresh thread
 * has there we know each word that is not zero, or we do not cut (upper_accounted()): libc looks at none of them on a goroutine but at those of its stack, and
 * at the rseq area. Of the stack's size zero stands for 256 KiB or more (TCB_CUT_LEAST). Where the stack is it asks when it unwinds a thread, which writes to that page
 * anyhow: the words come before that (tcb_will_unwind()). The area must say "not registered", because zeros would be "on CPU 0" to allocators with
 * caches per CPU: but only if somebody looks. sched_getcpu() is ours, and whoever else wants it asks the loader for __rseq_offset by a version that is known before
 * his code runs, or asks dlsym(), which is ours, too: tcb_rseq_somebody(). Where the loader is not watched, and from then on, TCBs are made whole. An idle
 * goroutine so takes one page of stack, or two, where NPTL's thread has two or three.
 *
 * libc's own TLS block (malloc's cache and arena, resolver, locale, errno) is not reset when a TCB is reused: libc frees that state only
 * on a way through pthread exit that we cannot call, so keeping it warm is what makes it not leak (TLS-12). When a TCB is given up, the block is
 * set aside and given to the next TCB that is made.
 *
 * A module that is loaded later may get a place in static TLS, too. libc then copies its initial image there for each thread in its lists, and
 * tcb_module_init() for each goroutine. That is called with libc's lock held under which a TCB is given the images of the modules that are there; a
 * G says where its TCB is (tls_tcb) before libc takes that lock for it. So one that is being made has it from the one or the other.
 *
 * A used TCB has its entries for each module already, and needs the initial images only. As long as the modules are those it knows (tls_epoch) it takes them from a copy
 * here, without that lock: for a thread that does little, the lock is what costs most, and with several Ps many wait for it. The copy is read as under a seqlock: who
 * finds that it changed meanwhile asks libc after all. Not from the modules themselves: they may be unmapped meanwhile. Nor is one that comes meanwhile missed:
 *     tcb_reuse: tls_tcb = ... ; look at the epoch      tcb_modules_changing: the epoch is odd ; tcb_module_init: look at tls_tcb
 *
 * Locks: images_lock, walk_lock, rank LOCK_STACK.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <locale.h>
#include <netdb.h>
#include <resolv.h>
#undef p_type /* a macro of that one, a member in link.h */
#include <string.h>
#include <sys/rseq.h>

#include "pages.h"
#include "runtime.h"
#include "tcb.h"

#define PTHREAD_MAX_BYTES 8192u
#define HEAD_BYTES 16u /* variant I: dtv, and a word that nobody uses */
#define DTV_UNALLOCATED ((void *)-1l)
#define SPECIFIC_BLOCKS 32u
#define SPECIFIC_BLOCK_BYTES 512u /* 32 keys of {sequence, value} */

struct descriptor {
	uint32_t bits, count, offset;
};

/* glibc's dtv: slot -1 holds the number of slots, 0 the generation, then one per module. */
union dtv {
	size_t counter;
	struct {
		void *val;
		void *to_free;
	} pointer;
};

struct resolv_context; /* libc's, a query's */

void *(*tcb_lookup)(const char *name);
size_t tcb_tid_offset, tcb_cancel_offset;
#if !ARCH_TLS_BELOW
size_t tcb_struct_offset;
#endif

static struct {
	size_t struct_bytes, list, specific, dtv, static_bytes, align;
	size_t start_routine;            /* 0: unknown */
	size_t stack_words;              /* which word of the struct is the first of stack_words_find(); 0: unknown */
	size_t head, head_keys;          /* tcb_head(); 0: never */
	void *(*allocate)(void *);
	void *(*allocate_init)(void *, bool);
	void (*deallocate)(void *, bool);
	void (*ctype_init)(void);
	void (*free)(void *);            /* the program's: dynamic TLS and TSD blocks come from its calloc */
	ptrdiff_t tls_g;                 /* offsets from the thread pointer */
	ptrdiff_t libc_tls;
	size_t libc_tls_bytes;
	const void *libc_image;          /* what it begins with: so many bytes, then zeros */
	size_t libc_image_bytes;
	ptrdiff_t robust_head; /* 0: unknown */
	ptrdiff_t resp;
	ptrdiff_t resp_target;
	void (*resolver_close)(struct __res_state *);
	void (*query_end)(struct resolv_context *);
	ptrdiff_t queries;               /* libc's list of those that a thread is in the midst of; 0: unknown */
	ptrdiff_t destructors;           /* libc's list of those of a thread's thread_local objects; 0: unknown */
	bool ready;
} lay;

#define PAGE TCB_UPPER
#define HEAD_MAX 2048u

enum { RSEQ_UNKNOWN, RSEQ_NOBODY, RSEQ_SOMEBODY };
static _Atomic uint32_t rseq_users;

static unsigned char template[PTHREAD_MAX_BYTES] __attribute__((aligned(64)));
static uintptr_t template_at;
static uint16_t template_self[64]; /* word indices of the template that point into the struct itself */
static uint32_t template_self_count;

/* libc TLS blocks of TCBs that were given up. */
struct image {
	struct image *next;
	unsigned char bytes[];
};
static struct lock images_lock;
static struct image *images, *image_shells; /* filled ones; empty ones */

/* Whoever is in g_all() with a tls_tcb keeps the memory there while this is held. */
static struct lock walk_lock;

#define IMAGE_SLAB_BYTES (16ul << 10)

/* What a fresh thread has in static TLS. */
#define FRESH_MODULES 16u /* where there are more, or their images are larger, libc is asked each time */
#define FRESH_WORDS 512u
static struct {
	_Atomic uint32_t epoch; /* odd: nobody knows */
	/* Relaxed, what follows: see fresh_take(). */
	_Atomic uint32_t count, words;
	struct {
		_Atomic ptrdiff_t offset;
		_Atomic uint32_t image_bytes, bytes;
	} module[FRESH_MODULES];
	_Atomic uint64_t image[FRESH_WORDS]; /* each module's begins with a word */
} fresh = {.epoch = 1};

static bool descriptor_read(const char *name, size_t *offset, uint32_t bits) {
	const struct descriptor *d = tcb_lookup(name);
	if (!d || (bits && d->bits != bits))
		return false;
	*offset = d->offset + tcb_struct_offset;
	return true;
}

/* Bytes of struct pthread; 0 unknown. */
static size_t struct_size(void) {
	const uint32_t *size = tcb_lookup("_thread_db_sizeof_pthread");
#if !ARCH_TLS_BELOW
	tcb_struct_offset = size ? (size_t)0 - *size : 0;
#endif
	return size ? *size : 0;
}

void tcb_find_tid(void) {
	size_t offset;
	if (!struct_size())
		return;
	if (descriptor_read("_thread_db_pthread_tid", &offset, 32))
		tcb_tid_offset = offset;
	if (descriptor_read("_thread_db_pthread_cancelhandling", &offset, 32))
		tcb_cancel_offset = offset;
}

int tcb_offsets(const char **why) {
	size_t size = struct_size(), tid = 0;
	if (lay.ready)
		return 0;
	*why = "this libc does not describe its thread structure (unknown libc)";
	if (!size || size > PTHREAD_MAX_BYTES || !descriptor_read("_thread_db_pthread_tid", &tid, 32) ||
	    !descriptor_read("_thread_db_pthread_list", &lay.list, 128) ||
	    !descriptor_read("_thread_db_pthread_specific", &lay.specific, SPECIFIC_BLOCKS * 64) ||
	    !descriptor_read("_thread_db_pthread_cancelhandling", &tcb_cancel_offset, 32) ||
	    !descriptor_read("_thread_db_pthread_dtvp", &lay.dtv, 64))
		return -ENOSYS;
	descriptor_read("_thread_db_pthread_start_routine", &lay.start_routine, 64);
	lay.struct_bytes = size;
	*(void **)&lay.allocate = tcb_lookup("_dl_allocate_tls");
	*(void **)&lay.allocate_init = tcb_lookup("_dl_allocate_tls_init");
	*(void **)&lay.deallocate = tcb_lookup("_dl_deallocate_tls");
	*(void **)&lay.ctype_init = tcb_lookup("__ctype_init");
	*(void **)&lay.free = dlsym(RTLD_DEFAULT, "free");
	*(void **)&lay.resolver_close = dlsym(RTLD_DEFAULT, "__res_nclose");
	void (*info)(size_t *, size_t *);
	*(void **)&info = tcb_lookup("_dl_get_tls_static_info");
	*why = "this libc does not export its TLS allocator (unknown libc)";
	if (!lay.allocate || !lay.allocate_init || !lay.deallocate || !lay.ctype_init || !lay.free || !info)
		return -ENOSYS;
	info(&lay.static_bytes, &lay.align);
	if (lay.align < 64)
		lay.align = 64;
	lay.tls_g = (ptrdiff_t)((uintptr_t)&tls_g - arch_tp());
	/* libc's TLS variable. Looked up here, not on the thread that takes the template: the caller may be a module's constructor, with the loader's lock, and waits
	 * for that thread. */
	char *resp = dlsym(RTLD_DEFAULT, "__resp");
	lay.resp = resp ? resp - (char *)arch_tp() : 0;
	/* The tid is where the descriptor says, or nothing here can be trusted. */
	*why = "the thread structure of this libc is not what it says (unknown libc)";
	if (*(int32_t *)(arch_tp() + tid) != (int32_t)SYS0(SYS_gettid))
		return -ENOSYS;
	tcb_tid_offset = tid;
	lay.ready = true;
	return 0;
}

/* dl_iterate_phdr: libc's own TLS block is the one that holds errno. */
static int find_libc_tls(struct dl_phdr_info *info, size_t size, void *arg) {
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		char *start = info->dlpi_tls_data;
		if (ph->p_type == PT_TLS && start && (char *)arg >= start && (char *)arg < start + ph->p_memsz) {
			lay.libc_tls = start - (char *)arch_tp();
			lay.libc_tls_bytes = ph->p_memsz;
			lay.libc_image = (const void *)(info->dlpi_addr + ph->p_vaddr);
			lay.libc_image_bytes = ph->p_filesz;
			return 1;
		}
	}
	return 0;
}

struct tls_destructor {
	void (*fn)(void *);
	void *object;
	void *map;
	struct tls_destructor *next;
};

static void destroys_nothing(void *object) {
	(void)object;
}

/* libc's list is in its TLS block, and has no name. Two of ours are put into the caller's. The second changes nothing there but the list's head (the first may also be the
 * thread's first use of malloc), so no word is followed that is none; then both are taken out again. */
static void find_destructors(void) {
	static char object;
	int (*add)(void (*)(void *), void *, void *);
	*(void **)&add = dlsym(RTLD_DEFAULT, "__cxa_thread_atexit_impl");
	struct tls_destructor **word = (struct tls_destructor **)(arch_tp() + lay.libc_tls);
	size_t n = lay.libc_tls_bytes / sizeof *word;
	struct tls_destructor *before[n];
	if (lay.destructors || !add || add(destroys_nothing, &object, &object) != 0)
		return;
	memcpy(before, word, sizeof before);
	if (add(destroys_nothing, &object, &object) != 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct tls_destructor *second = word[i], *first = before[i];
		if (second == first || second->object != &object || second->next != first)
			continue;
		word[i] = first->next;
		lay.destructors = (char *)&word[i] - (char *)arch_tp();
		lay.free(second);
		lay.free(first);
		return;
	}
}

/* As that one. libc begins a query by a set of settings that is given to it, and needs no file for it; one without settings takes no lock. */
static void find_queries(void) {
	struct __res_state none = {0};
	struct resolv_context *(*begin)(struct __res_state *), **word = (struct resolv_context **)(arch_tp() + lay.libc_tls);
	*(void **)&begin = tcb_lookup("__resolv_context_get_override");
	*(void **)&lay.query_end = tcb_lookup("__resolv_context_put");
	struct resolv_context *query = lay.queries || !begin || !lay.query_end ? NULL : begin(&none);
	if (!query)
		return;
	for (size_t i = 0; i < lay.libc_tls_bytes / sizeof *word; i++) {
		if (word[i] == query)
			lay.queries = (char *)&word[i] - (char *)arch_tp();
	}
	lay.query_end(query);
}

void tcb_find_lists(void) {
	find_destructors();
	find_queries();
}

/* Those that were registered after the others had run are nobody's: libc's end with the thread, too, and none is run. */
static void destructors_drop(uintptr_t tcb) {
	if (lay.destructors)
		*(struct tls_destructor **)(tcb + lay.destructors) = NULL;
}

/* The thread was cancelled in them. */
static void queries_end(void) {
	struct resolv_context **query = (struct resolv_context **)(arch_tp() + lay.queries);
	while (lay.queries && __builtin_expect(*query != NULL, 0))
		lay.query_end(*query);
}

/* The resolver's state is in struct pthread, which the next thread gets anew. libc, too, lets go of it as a thread ends. */
void tcb_thread_end(void) {
	queries_end();
	struct __res_state *state = lay.resp ? *(struct __res_state **)(arch_tp() + lay.resp) : NULL;
	if (__builtin_expect(state && state->nscount, 0) && lay.resolver_close) {
		lay.resolver_close(state);
		state->options = 0;
	}
}

/* ---- which part of the struct may stay untouched ---- */

/* libc keeps {lowest address, size, guard, guard as asked for} of the stack. 0: not found. */
static size_t stack_words_find(void) {
	uintptr_t here = (uintptr_t)__builtin_frame_address(0), *word = (uintptr_t *)template;
	for (size_t i = 0; i + 3 < lay.struct_bytes / sizeof *word; i++) {
		uintptr_t low = word[i], size = word[i + 1];
		if (low && low % PAGE == 0 && low <= here && here - low < size && size < here && word[i + 2] < size && word[i + 3] < size)
			return i;
	}
	return 0;
}

/* Is that word zero in a fresh thread, or what libc itself, on whose way through a thread's life no goroutine is, wants it for? */
static bool upper_accounted(size_t i, uint64_t mask) {
	uintptr_t at = i * sizeof(uintptr_t), word = ((uintptr_t *)template)[i];
	bool of_rseq = __rseq_size && at - (uintptr_t)__rseq_offset < sizeof(struct rseq);
	bool of_stack = lay.stack_words && i - lay.stack_words < 4;
	bool itself = word == template_at;     /* whom to join: detached */
	bool first_values = at == lay.specific; /* where the first TSD values are: next to it */
	return !word || of_rseq || of_stack || itself || first_values || at == lay.start_routine || word == mask;
}

static size_t round_64(size_t bytes) {
	return (bytes + 63) & ~63ul;
}

static size_t at_least(size_t a, size_t b) {
	return a > b ? a : b;
}

static void head_find(void) {
	size_t end = 0;
	uint64_t mask = 0;
	lay.stack_words = stack_words_find();
	SYS4(SYS_rt_sigprocmask, 0, 0, &mask, 8);
	for (size_t i = 0; i < lay.struct_bytes / sizeof(uintptr_t); i++) {
		if (!upper_accounted(i, mask))
			end = (i + 1) * sizeof(uintptr_t);
	}
	end = at_least(end, lay.list + 2 * sizeof(void *));
	end = at_least(end, tcb_tid_offset + sizeof(int32_t));
	end = at_least(end, tcb_cancel_offset + 2 * sizeof(int32_t)); /* and the word beside it, which is half of one above */
	end = at_least(end, (size_t)lay.robust_head + 3 * sizeof(void *));
	bool possible = ARCH_TLS_BELOW && lay.align == 64 && end < HEAD_MAX && lay.specific + SPECIFIC_BLOCKS * sizeof(void *) < HEAD_MAX;
	size_t any_used = lay.specific + SPECIFIC_BLOCKS * sizeof(void *); /* is written with each value */
	lay.head = possible ? round_64(end) : 0;
	lay.head_keys = possible ? round_64(at_least(end, any_used + sizeof(void *))) : 0;
}

size_t tcb_head(bool uses_keys) {
	/* relaxed: who finds too late that somebody came makes one that is cut, with an area */
	return atomic_load_explicit(&rseq_users, memory_order_relaxed) == RSEQ_NOBODY ? uses_keys ? lay.head_keys : lay.head : 0;
}

int tcb_take_template(const char **why) {
	template_at = tcb_thread(arch_tp());
	memcpy(template, (void *)template_at, lay.struct_bytes);
	uintptr_t *word = (uintptr_t *)template;
	template_self_count = 0;
	*why = "the thread structure of this libc points to itself too often (unknown libc)";
	for (size_t i = 0; i < lay.struct_bytes / sizeof *word; i++) {
		if (word[i] >= template_at && word[i] < template_at + lay.struct_bytes) {
			if (template_self_count == sizeof template_self / sizeof *template_self)
				return -ENOSYS;
			template_self[template_self_count++] = (uint16_t)i;
		}
	}
	/* libc has told the kernel where this thread's list of robust mutexes is. */
	uintptr_t robust = 0;
	size_t robust_bytes = 0;
	if (SYS3(SYS_get_robust_list, 0, &robust, &robust_bytes) == 0 && robust >= template_at && robust < template_at + lay.struct_bytes)
		lay.robust_head = (ptrdiff_t)(robust - arch_tp());
	*why = "libc's thread-local data was not found (unknown libc)";
	if (!dl_iterate_phdr(find_libc_tls, &errno))
		return -ENOSYS;
	char *resp = lay.resp ? *(char **)(arch_tp() + (uintptr_t)lay.resp) : NULL;
	if (resp)
		lay.resp_target = resp - (char *)arch_tp();
	head_find();
	return 0;
}

size_t tcb_bytes(void) {
	/* In variant II libc counts the struct among the static TLS. */
	return lay.static_bytes + lay.align + (ARCH_TLS_BELOW ? 0 : lay.struct_bytes);
}

static union dtv **dtv_of(uintptr_t tcb) {
	return (union dtv **)(tcb + lay.dtv);
}

void tcb_set_tid(uintptr_t tcb, int32_t tid) {
	*(volatile int32_t *)(tcb + tcb_tid_offset) = tid;
}

_Atomic int *tcb_cancelhandling(uintptr_t tcb) {
	return (_Atomic int *)(tcb + tcb_cancel_offset);
}

static void rseq_mark_unregistered(uintptr_t tcb) {
	if (!__rseq_size)
		return;
	struct rseq *area = (struct rseq *)(tcb + __rseq_offset);
	area->cpu_id_start = 0;
	area->cpu_id = (uint32_t)RSEQ_CPU_ID_REGISTRATION_FAILED;
	area->rseq_cs = 0;
}

void tcb_rseq_off(void) {
	if (!__rseq_size)
		return;
	struct rseq *area = (struct rseq *)(arch_tp() + __rseq_offset);
	SYS4(SYS_rseq, area, sizeof *area, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
	rseq_mark_unregistered(arch_tp());
}

void *tcb_robust_head(uintptr_t tcb) {
	return lay.robust_head ? (void *)(tcb + (uintptr_t)lay.robust_head) : NULL;
}

void **tcb_list_node(uintptr_t tcb) {
	return (void **)(tcb + lay.list);
}

void tcb_rseq_nobody(void) {
	uint32_t unknown = RSEQ_UNKNOWN;
	atomic_compare_exchange_strong_explicit(&rseq_users, &unknown, RSEQ_NOBODY, memory_order_relaxed, memory_order_relaxed);
}

void tcb_rseq_somebody(void) {
	/* relaxed; the fence: who fills in a TCB meanwhile looks here afterwards (rseq_wanted()), and sees it, or has filled it in before the walk. As in
	 * tcb_modules_changing(). */
	if (atomic_exchange_explicit(&rseq_users, RSEQ_SOMEBODY, memory_order_relaxed) == RSEQ_SOMEBODY)
		return;
	while (threads_fence() == -ENOMEM)
		SYS0(SYS_sched_yield);
	struct g *held = rt_hold();
	lock_acquire(&walk_lock, LOCK_STACK);
	for (struct g *g = g_all(); g; g = g->all_next) {
		uintptr_t tcb = __atomic_load_n(&g->tls_tcb, __ATOMIC_RELAXED);
		if (tcb)
			rseq_mark_unregistered(tcb);
	}
	lock_release(&walk_lock);
	rt_drop(held);
}

static char *upper_of(uintptr_t tcb) {
	return (char *)((tcb + PAGE - 1) & ~(PAGE - 1));
}

typedef uint64_t words_2 __attribute__((vector_size(16), may_alias));

/* Reading maps the kernel's one page of zeros, if anything. By cache lines, a few registers each: word by word it took 40 ns of a thread's 280. What is looked at beyond
 * the struct is on the same page, where nobody else writes. */
static bool upper_is_zero(uintptr_t tcb) {
	const words_2 *line = (const words_2 *)upper_of(tcb), *end = (const words_2 *)(tcb + lay.struct_bytes);
	words_2 a = {0}, b = a, c = a, d = a;
	for (; line < end; line += 4) {
		a |= line[0];
		b |= line[1];
		c |= line[2];
		d |= line[3];
	}
	a |= b | c | d;
	return !(a[0] | a[1]);
}

static void upper_clear(uintptr_t tcb) {
	memset(upper_of(tcb), 0, tcb + lay.struct_bytes - (uintptr_t)upper_of(tcb));
}

/* Elsewhere than in the upper part (a later libc's is among static TLS) it costs nothing. */
static bool rseq_wanted(uintptr_t tcb, const struct g *g) {
	atomic_signal_fence(memory_order_seq_cst); /* after what is written there: tcb_rseq_somebody() */
	return !g->tcb_cut || (char *)(tcb + (uintptr_t)__rseq_offset) < upper_of(tcb) ||
	       __builtin_expect(atomic_load_explicit(&rseq_users, memory_order_relaxed) == RSEQ_SOMEBODY, 0);
}

/* By the size libc measures alloca(); where the stack ends, when it unwinds: what lies beyond is another stack's, and is left first. */
static void stack_words_set(uintptr_t tcb, const struct g *g) {
	uintptr_t *word = (uintptr_t *)tcb_thread(tcb) + lay.stack_words;
	if (!lay.stack_words || !g->stack.lo)
		return;
	size_t size = g->stack.size ? g->stack.size : (size_t)(g->stack.hi - g->stack.lo);
	/* relaxed: a canceller and the thread itself may write the same at once */
	__atomic_store_n(&word[0], (uintptr_t)g->stack.hi - size, __ATOMIC_RELAXED);
	__atomic_store_n(&word[1], size, __ATOMIC_RELAXED);
}

void tcb_will_unwind(const struct g *g) {
	if (g->tcb_cut)
		stack_words_set(g->ctx.tp, g);
}

/* A fresh thread's struct pthread for `tcb`, whose upper part is zero if it is cut; keeps what lies in the caller's dtv word. */
static void struct_fill(uintptr_t tcb, struct g *g) {
	union dtv *dtv = *dtv_of(tcb);
	uintptr_t thread = tcb_thread(tcb), *word = (uintptr_t *)thread;
	size_t bytes = g->tcb_cut ? (size_t)(upper_of(tcb) - (char *)tcb) : lay.struct_bytes;
	memcpy(word, template, bytes);
	for (uint32_t i = 0; i < template_self_count && template_self[i] * sizeof *word < bytes; i++)
		word[template_self[i]] += thread - template_at;
	if ((lay.stack_words + 2) * sizeof *word <= bytes)
		stack_words_set(tcb, g);
	*dtv_of(tcb) = dtv;
	uintptr_t *node = (uintptr_t *)(tcb + lay.list);
	node[0] = node[1] = (uintptr_t)node; /* fork's child unlinks it (FRK-1) */
	atomic_store_explicit(tcb_cancelhandling(tcb), 0, memory_order_relaxed);
	tcb_set_tid(tcb, g->tid);
	if (rseq_wanted(tcb, g))
		rseq_mark_unregistered(tcb);
}

static void tls_g_set(uintptr_t tcb, struct g *g) {
	*(struct g **)(tcb + lay.tls_g) = g;
	if (lay.resp_target)
		*(char **)(tcb + lay.resp) = (char *)tcb + lay.resp_target;
}

struct g *g_of_tcb(uintptr_t tcb) {
	uintptr_t where = tcb + ((uintptr_t)&tls_g - arch_tp());
	__asm__("" : "+r"(where)); /* another thread's block: the compiler must not take it for this thread's variable */
	return *(struct g **)where;
}

/* relaxed: libc's lock, or what makes its memory be given up under walk_lock, is taken after it */
static void tls_tcb_set(struct g *g, uintptr_t tcb) {
	__atomic_store_n(&g->tls_tcb, tcb, __ATOMIC_RELAXED);
}

static void tls_tcb_clear(struct g *g) {
	struct g *held = rt_hold();
	lock_acquire(&walk_lock, LOCK_STACK);
	tls_tcb_set(g, 0);
	lock_release(&walk_lock);
	rt_drop(held);
}

void tcb_module_init(const struct tcb_module *m) {
	struct g *held = rt_hold();
	lock_acquire(&walk_lock, LOCK_STACK);
	for (struct g *g = g_all(); g; g = g->all_next) {
		uintptr_t tcb = __atomic_load_n(&g->tls_tcb, __ATOMIC_RELAXED);
		if (!tcb)
			continue;
		char *at = (char *)(tcb + (uintptr_t)m->offset);
		memcpy(at, m->image, m->image_bytes);
		memset(at + m->image_bytes, 0, m->bytes - m->image_bytes);
	}
	lock_release(&walk_lock);
	rt_drop(held);
}

void tcb_modules_changing(void) {
	/* acq_rel, and the fence: before the copy changes, and Dekker with tcb_reuse(), see the top. Its half is none but the compiler's: a fence there would wait for
	 * the whole struct to be written, and modules are rare. Needs memory on large machines; not to be had before the runtime has started, when nobody is there. */
	atomic_fetch_or_explicit(&fresh.epoch, 1, memory_order_acq_rel);
	while (threads_fence() == -ENOMEM)
		SYS0(SYS_sched_yield);
	atomic_store_explicit(&fresh.count, 0, memory_order_relaxed);
	atomic_store_explicit(&fresh.words, 0, memory_order_relaxed);
}

static uint32_t words_of(size_t bytes) {
	return (uint32_t)((bytes + 7) / 8);
}

void tcb_modules_is(const struct tcb_module *m) {
	uint32_t n = atomic_load_explicit(&fresh.count, memory_order_relaxed), at = atomic_load_explicit(&fresh.words, memory_order_relaxed);
	atomic_store_explicit(&fresh.count, n + 1, memory_order_relaxed);
	if (n >= FRESH_MODULES || m->image_bytes > m->bytes || m->bytes > UINT32_MAX || words_of(m->image_bytes) > FRESH_WORDS - at) {
		atomic_store_explicit(&fresh.count, FRESH_MODULES + 1, memory_order_relaxed);
		return;
	}
	atomic_store_explicit(&fresh.module[n].offset, m->offset, memory_order_relaxed);
	atomic_store_explicit(&fresh.module[n].image_bytes, (uint32_t)m->image_bytes, memory_order_relaxed);
	atomic_store_explicit(&fresh.module[n].bytes, (uint32_t)m->bytes, memory_order_relaxed);
	for (size_t done = 0; done < m->image_bytes; done += 8) {
		uint64_t word = 0;
		memcpy(&word, (const char *)m->image + done, m->image_bytes - done < 8 ? m->image_bytes - done : 8);
		atomic_store_explicit(&fresh.image[at++], word, memory_order_relaxed);
	}
	atomic_store_explicit(&fresh.words, at, memory_order_relaxed);
}

void tcb_modules_settled(void) {
	if (atomic_load_explicit(&fresh.count, memory_order_relaxed) > FRESH_MODULES)
		return; /* it stays unknown */
	/* release: publishes the copy to the acquire in fresh_take() */
	atomic_fetch_add_explicit(&fresh.epoch, 1, memory_order_release);
}

static uint32_t fresh_epoch(void) {
	return atomic_load_explicit(&fresh.epoch, memory_order_acquire);
}

/* The copy has been read: was it that of `epoch` all the time? */
static bool fresh_is_still(uint32_t epoch) {
	atomic_thread_fence(memory_order_acquire); /* pairs with the fence in tcb_modules_changing() */
	return atomic_load_explicit(&fresh.epoch, memory_order_relaxed) == epoch;
}

/* Gives a used TCB of g's the initial images, all but libc's. False: libc must. */
static bool fresh_take(uintptr_t tcb, const struct g *g) {
	struct {
		ptrdiff_t offset;
		uint32_t image_bytes, bytes;
	} module[FRESH_MODULES];
	uint32_t epoch = fresh_epoch(), n = atomic_load_explicit(&fresh.count, memory_order_relaxed), at = 0;
	if (epoch != g->tls_epoch || epoch & 1 || n > FRESH_MODULES)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		module[i].offset = atomic_load_explicit(&fresh.module[i].offset, memory_order_relaxed);
		module[i].image_bytes = atomic_load_explicit(&fresh.module[i].image_bytes, memory_order_relaxed);
		module[i].bytes = atomic_load_explicit(&fresh.module[i].bytes, memory_order_relaxed);
	}
	if (!fresh_is_still(epoch)) /* before anything is written where a torn entry says */
		return false;
	for (uint32_t i = 0; i < n; i++) {
		char *to = (char *)(tcb + (uintptr_t)module[i].offset);
		uint32_t words = words_of(module[i].image_bytes), left = module[i].image_bytes;
		if (module[i].offset == lay.libc_tls) {
			at += words;
			continue;
		}
		memset(to + left, 0, module[i].bytes - left);
		for (; words; words--, to += 8, left -= 8) {
			uint64_t word = atomic_load_explicit(&fresh.image[at++], memory_order_relaxed);
			memcpy(to, &word, left < 8 ? left : 8);
		}
	}
	return fresh_is_still(epoch);
}

static struct image *image_get(struct image **list) {
	struct g *held = rt_hold();
	lock_acquire(&images_lock, LOCK_STACK);
	struct image *im = *list;
	if (im)
		__atomic_store_n(list, im->next, __ATOMIC_RELAXED); /* tcb_make() peeks */
	lock_release(&images_lock);
	rt_drop(held);
	return im;
}

static void image_put(struct image **list, struct image *im) {
	struct g *held = rt_hold();
	lock_acquire(&images_lock, LOCK_STACK);
	im->next = *list;
	__atomic_store_n(list, im, __ATOMIC_RELAXED);
	lock_release(&images_lock);
	rt_drop(held);
}

/* New shells; one is returned. NULL: no memory (then libc's state of one dead thread is lost, not more). */
static struct image *image_slab(void) {
	size_t bytes = (sizeof(struct image) + lay.libc_tls_bytes + 15) & ~15ul;
	char *slab = bytes <= IMAGE_SLAB_BYTES ? pages_map_spare(IMAGE_SLAB_BYTES) : NULL;
	if (!slab)
		return NULL;
	for (size_t at = bytes; at + bytes <= IMAGE_SLAB_BYTES; at += bytes)
		image_put(&image_shells, (struct image *)(slab + at));
	return (struct image *)slab;
}

/* Where the thread pointer and the frames of a stack that ends at `hi` are. */
static uintptr_t place(uintptr_t hi, size_t head, void **stack_top) {
	uintptr_t tcb, low;
	if (ARCH_TLS_BELOW) {
		tcb = (head ? hi - PAGE - head : hi - lay.struct_bytes) & ~(lay.align - 1);
		low = tcb - (lay.static_bytes - lay.struct_bytes);
	} else {
		tcb = (hi - lay.static_bytes) & ~(lay.align - 1);
		low = tcb_thread(tcb);
		memset((void *)tcb, 0, HEAD_BYTES);
	}
	*stack_top = (void *)(low & ~63ul);
	return tcb;
}

uintptr_t tcb_make(char *hi, size_t head, struct g *g, void **stack_top) {
	uintptr_t tcb = place((uintptr_t)hi, head, stack_top);
	g->tcb_cut = head != 0;
	memset((void *)tcb_thread(tcb), 0, head ? head : lay.struct_bytes);
	tls_tcb_set(g, tcb);
	uint32_t epoch = fresh_epoch();
	if (!MAY_FAIL_SEEN(NULL, lay.allocate((void *)tcb))) {
		tls_tcb_clear(g);
		return 0;
	}
	g->tls_epoch = fresh_is_still(epoch) ? epoch : 1;
	struct_fill(tcb, g);
	if (__atomic_load_n(&images, __ATOMIC_RELAXED)) { /* a hint: missing one costs a fresh state */
		struct image *im = image_get(&images);
		if (im) {
			memcpy((void *)(tcb + lay.libc_tls), im->bytes, lay.libc_tls_bytes);
			image_put(&image_shells, im);
		}
	}
	tls_g_set(tcb, g);
	return tcb;
}

static void dynamic_tls_free(uintptr_t tcb) {
	union dtv *dtv = *dtv_of(tcb);
	size_t slots = dtv[-1].counter;
	for (size_t i = 1; i <= slots; i++) {
		if (dtv[i].pointer.to_free) {
			lay.free(dtv[i].pointer.to_free);
			dtv[i].pointer.val = DTV_UNALLOCATED;
			dtv[i].pointer.to_free = NULL;
		}
	}
}

static void **specific_of(uintptr_t tcb) {
	return (void **)(tcb + lay.specific);
}

/* So many pointers to blocks of TSD values are below the cut. */
static uint32_t blocks_below(uintptr_t tcb) {
	ptrdiff_t bytes = upper_of(tcb) - (char *)specific_of(tcb), most = SPECIFIC_BLOCKS * sizeof(void *);
	return bytes <= 0 ? 0 : (uint32_t)((bytes < most ? bytes : most) / (ptrdiff_t)sizeof(void *));
}

/* All of static TLS as libc does it, but its own block as it was. */
static void fresh_from_libc(uintptr_t tcb, struct g *g) {
	unsigned char libc_tls[lay.libc_tls_bytes];
	memcpy(libc_tls, (void *)(tcb + lay.libc_tls), lay.libc_tls_bytes);
	uint32_t epoch = fresh_epoch();
	lay.allocate_init((void *)tcb, true);
	g->tls_epoch = fresh_is_still(epoch) ? epoch : 1;
	memcpy((void *)(tcb + lay.libc_tls), libc_tls, lay.libc_tls_bytes);
}

void tcb_reuse(uintptr_t tcb, struct g *g, bool orphan) {
	void *blocks[SPECIFIC_BLOCKS];
	bool blank = g->tcb_cut && upper_is_zero(tcb);
	uint32_t count = blank ? blocks_below(tcb) : SPECIFIC_BLOCKS;
	memcpy(blocks, specific_of(tcb), count * sizeof *blocks);
	dynamic_tls_free(tcb);
	if (g->tcb_cut && !blank)
		upper_clear(tcb);
	struct_fill(tcb, g);
	tls_tcb_set(g, tcb);
	destructors_drop(tcb);
	atomic_signal_fence(memory_order_seq_cst); /* Dekker with tcb_modules_changing() */
	if (orphan || !fresh_take(tcb, g))
		fresh_from_libc(tcb, g);
	for (uint32_t i = 1; i < count; i++) { /* second-level TSD blocks are kept, emptied (TLS-7) */
		if (blocks[i]) {
			memset(blocks[i], 0, SPECIFIC_BLOCK_BYTES);
			specific_of(tcb)[i] = blocks[i];
		}
	}
	tls_g_set(tcb, g);
}

void tcb_orphan(uintptr_t tcb) {
	char *tls = (char *)tcb + lay.libc_tls;
	memcpy(tls, lay.libc_image, lay.libc_image_bytes);
	memset(tls + lay.libc_image_bytes, 0, lay.libc_tls_bytes - lay.libc_image_bytes);
}

void tcb_forget(void) {
	uintptr_t tcb = arch_tp();
	tcb_orphan(tcb);
	tls_g_set(tcb, tls_g);
	tcb_thread_start();
}

void tcb_free(uintptr_t tcb) {
	tls_tcb_clear(g_of_tcb(tcb));
	destructors_drop(tcb);
	for (uint32_t i = 1; i < SPECIFIC_BLOCKS; i++)
		lay.free(specific_of(tcb)[i]);
	lay.deallocate((void *)tcb, false);
	/* Last: the caller may be its thread, and those used malloc's cache. */
	struct image *im = image_get(&image_shells);
	if (im || (im = image_slab())) {
		memcpy(im->bytes, (void *)(tcb + lay.libc_tls), lay.libc_tls_bytes);
		image_put(&images, im);
	}
}

void tcb_fork_child(void) {
	images_lock.word = 0;
	walk_lock.word = 0;
	images = image_shells = NULL;
}

void tcb_thread_start(void) {
	uselocale(LC_GLOBAL_LOCALE); /* the previous owner of this TCB may have chosen another */
	lay.ctype_init();
	if (dlerror())
		dlerror(); /* which also frees it */
	errno = h_errno = 0;
}
