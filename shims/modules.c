/* Modules with static TLS that are loaded while goroutines live (TLS-3), and modules that want executable stacks.
 *
 * A module gets a place in every thread's static TLS when it is loaded, or later, when another one that is loaded reaches for its variables without
 * a call: if it says so itself (DF_STATIC_TLS), or if there is room and its code can make use of it (TLS descriptors). libc copies the initial image there for each
 * thread in its lists, in which no goroutine is, and makes those threads' stacks executable. What is to be done for goroutines must be done before the modules' constructors run and
 * before anybody else can use them; also where libc opens a module by itself, as for NSS and iconv().
 *
 * libc has no hook for that. But all ways lead through its _dl_open(), which holds two locks meanwhile: dl_load_lock to the end, constructors included, and inside
 * it dl_load_tls_lock until all but the constructors is done. ld.so takes its locks by pointers to functions, which are ours (inside.c). So when the second
 * is taken below the first we note which modules have a place, and when it is given back those that have one and had none are new. dlclose() looks the same,
 * and finds nothing; so does a thread that is made by a constructor. Neither lock is asked for anything more, and no other is taken: the order of
 * the loader's locks stays its own.
 *
 * A struct link_map's hidden members are read at places that are found at the start by what they must hold in the two modules that we know all about,
 * ours and libc's: of the seven words about TLS five are in the module's header or known otherwise. The list of modules and the locks are in
 * _rtld_global, which begins with an array of namespaces and goes on with their number and three recursive locks. Where anything is not as expected, modules_known() is false
 * and loader.c does what can be done without.
 *
 * State: `before` and `noted` belong to who holds dl_load_tls_lock. */
#include "modules.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#include "../core/race.h"
#include "../core/stack.h"
#include "../core/tcb.h"
#include "object.h"
#include "shim.h"

struct tls_index {
	unsigned long module, offset;
};
extern void *__tls_get_addr(struct tls_index *);

/* In struct link_map, in this order. */
struct map_tls {
	const void *image;
	size_t image_bytes, bytes, align, first;
	ptrdiff_t offset; /* from the thread pointer, away from it; 0, -1, -2: it has no place in static TLS */
	size_t id;
};

/* In struct link_map, in this order. */
struct map_segments {
	const ElfW(Phdr) *list;
	ElfW(Addr) entry;
	ElfW(Half) count;
};

#define MAP_BYTES 1200u /* where the hidden members are looked for; each libc's struct link_map is as long */
#define NAMESPACES 16u
#define GLOBAL_BYTES 4096u
#define IDS 16384u

static size_t tls_at, segments_at;  /* from the start of a struct link_map */
static const char *global;          /* _rtld_global: the namespaces, each of namespace_bytes, which begins with its first module */
static size_t namespace_bytes;
static const size_t *namespace_count;
static const pthread_mutex_t *load_lock, *tls_lock; /* NULL: unknown */
static const struct link_map *us, *libc;

static uint64_t before[IDS / 64]; /* ids of modules in static TLS */
static bool noted;

static const struct map_tls *tls_of(const struct link_map *map) {
	return (const struct map_tls *)((const char *)map + tls_at);
}

/* ---- the layout ------------------------------------------------------------------------------------------------------- */

static const ElfW(Ehdr) * header_of(const struct link_map *map) {
	return (const ElfW(Ehdr) *)map->l_addr; /* a shared object's first segment begins with it */
}

static const ElfW(Phdr) * segment_of(const ElfW(Phdr) * list, int count, uint32_t type) {
	for (int i = 0; i < count; i++) {
		if (list[i].p_type == type)
			return &list[i];
	}
	return NULL;
}

/* What must be where `map` says what its TLS is; false: it has none. */
static bool tls_expect(const struct link_map *map, struct map_tls *t) {
	const ElfW(Ehdr) *header = header_of(map);
	const ElfW(Phdr) *ph = segment_of((const ElfW(Phdr) *)(map->l_addr + header->e_phoff), header->e_phnum, PT_TLS);
	if (!ph || dlinfo((void *)map, RTLD_DI_TLS_MODID, &t->id) != 0 || !t->id)
		return false;
	struct tls_index index = {t->id, 0};
	ptrdiff_t distance = (ptrdiff_t)((uintptr_t)__tls_get_addr(&index) - arch_tp());
	t->image = (const void *)(map->l_addr + ph->p_vaddr);
	t->image_bytes = ph->p_filesz;
	t->bytes = ph->p_memsz;
	t->align = ph->p_align;
	t->first = ph->p_align ? ph->p_vaddr & (ph->p_align - 1) : 0;
	t->offset = ARCH_TLS_BELOW ? -distance : distance;
	return true;
}

/* Where in both maps there is what is expected of each; 0: nowhere. */
static size_t place_find(const struct link_map *const map[2], const void *const expected[2], size_t bytes) {
	for (size_t at = sizeof(struct link_map); at + bytes <= MAP_BYTES; at += sizeof(void *)) {
		if (memcmp((const char *)map[0] + at, expected[0], bytes) == 0 && memcmp((const char *)map[1] + at, expected[1], bytes) == 0)
			return at;
	}
	return 0;
}

static bool maps_known(void) {
	const struct link_map *const map[2] = {us, libc};
	struct map_tls t[2];
	struct map_segments s[2];
	for (int i = 0; i < 2; i++) {
		if (!map[i] || !tls_expect(map[i], &t[i]))
			return false;
		const ElfW(Ehdr) *header = header_of(map[i]);
		s[i].list = (const ElfW(Phdr) *)(map[i]->l_addr + header->e_phoff);
		s[i].entry = map[i]->l_addr + header->e_entry;
		s[i].count = header->e_phnum;
	}
	tls_at = place_find(map, (const void *const[]){&t[0], &t[1]}, sizeof(struct map_tls));
	segments_at = place_find(map, (const void *const[]){&s[0].list, &s[1].list}, sizeof s[0].list);
	return tls_at && segments_at && ((const struct map_segments *)((const char *)us + segments_at))->count == s[0].count &&
	       ((const struct map_segments *)((const char *)libc + segments_at))->count == s[1].count;
}

static bool is_lock(const pthread_mutex_t *m) {
	return m->__data.__kind == PTHREAD_MUTEX_RECURSIVE_NP && m->__data.__spins == 0 && !m->__data.__list.__next;
}

/* The first namespace is the one that we are in, and knows how many modules it has. */
static bool namespaces_known(void) {
	const struct {
		const struct link_map *first;
		unsigned count;
	} *base = (const void *)global;
	unsigned count = 0;
	const struct link_map *first = us;
	while (first->l_prev)
		first = first->l_prev;
	for (const struct link_map *map = first; map; map = map->l_next)
		count++;
	return base->first == first && base->count == count && *namespace_count >= 1 && *namespace_count <= NAMESPACES;
}

static bool global_known(void) {
	global = symbols_private("_rtld_global");
	for (size_t at = sizeof(size_t); global && at < GLOBAL_BYTES; at += sizeof(size_t)) {
		const pthread_mutex_t *locks = (const pthread_mutex_t *)(global + at);
		if (!is_lock(&locks[0]) || !is_lock(&locks[1]) || !is_lock(&locks[2]))
			continue;
		namespace_count = (const size_t *)(global + at) - 1;
		namespace_bytes = (at - sizeof(size_t)) / NAMESPACES;
		if ((at - sizeof(size_t)) % (NAMESPACES * sizeof(void *)) || !namespaces_known())
			return false;
		load_lock = &locks[0];
		tls_lock = &locks[2];
		return true;
	}
	return false;
}

bool modules_known(void) {
	us = object_map((const void *)modules_known);
	libc = object_map((const void *)real.__libc_start_main);
	return tls_lock || (maps_known() && global_known());
}

/* ---- new modules ------------------------------------------------------------------------------------------------------ */

static const struct link_map *namespace_first(size_t n) {
	return n < *namespace_count && n < NAMESPACES ? *(const struct link_map *const *)(global + n * namespace_bytes) : NULL;
}

/* The module's id if it has a place in static TLS; 0: it has none. */
static size_t id_of(const struct link_map *map) {
	const struct map_tls *t = tls_of(map);
	return t->id && t->id < IDS && t->offset > 0 ? t->id : 0;
}

static void each(void (*f)(const struct link_map *map)) {
	for (size_t n = 0; n < NAMESPACES; n++) {
		for (const struct link_map *map = namespace_first(n); map; map = map->l_next)
			f(map);
	}
}

static void note(const struct link_map *map) {
	size_t id = id_of(map);
	before[id / 64] |= 1ull << id % 64;
}

static bool wants_exec(const struct link_map *map) {
	const struct map_segments *s = (const struct map_segments *)((const char *)map + segments_at);
	const ElfW(Phdr) *ph = segment_of(s->list, s->count, PT_GNU_STACK);
	return ph && ph->p_flags & PF_X;
}

/* libc has made its own threads' stacks executable. */
static void stacks_follow(void) {
	sched_config.stack_exec = true;
	stack_exec_all(); /* refused (a policy forbids it): the module faults if it does run code there, as it would have without dlopen's consent */
}

static struct tcb_module tls_module(const struct link_map *map) {
	const struct map_tls *t = tls_of(map);
	return (struct tcb_module){ARCH_TLS_BELOW ? -t->offset : t->offset, t->image, t->image_bytes, t->bytes};
}

static void follow(const struct link_map *map) {
	size_t id = id_of(map);
	struct tcb_module m = tls_module(map);
	if (id && !(before[id / 64] >> id % 64 & 1))
		tcb_module_init(&m);
	if (!sched_config.stack_exec && wants_exec(map))
		stacks_follow();
}

/* Does it look at rseq areas? Of the loader's symbols three are of that version, and they say where the areas are. libc is linked against one of them, for
 * sched_getcpu(), which we stand in front of in the first namespace, but not in another; we are, for the areas' sake. */
static bool knows_rseq(const struct link_map *map) {
	struct object o;
	return map != us && map != libc && object_open(&o, map) && object_wants_loader(&o, "GLIBC_2.35");
}

static void tell(const struct link_map *map) {
	struct tcb_module m = tls_module(map);
	if (id_of(map))
		tcb_modules_is(&m);
	if (knows_rseq(map))
		tcb_rseq_somebody();
}

void modules_tell(void) {
	each(tell);
	tcb_rseq_nobody();
	tcb_modules_settled();
}

/* ---- the loader's locks ----------------------------------------------------------------------------------------------- */

/* Taken once, by who has the other one as well. */
static bool is_opening(void) {
	return tls_lock->__data.__count == 1 && load_lock->__data.__owner == tcb_tid_here(tcb_tid_offset);
}

void modules_locked(const pthread_mutex_t *m) {
	if (likely(m != tls_lock) || !is_opening())
		return;
	RACE_AFTER(m);
	tcb_modules_changing();
	if (!sched_started())
		return;
	memset(before, 0, sizeof before);
	each(note);
	noted = true;
}

void modules_unlocking(const pthread_mutex_t *m) {
	if (likely(m != tls_lock) || !is_opening())
		return;
	if (noted)
		each(follow);
	noted = false;
	modules_tell();
	RACE_BEFORE(m);
}

void modules_fork_child(void) {
	noted = false;
}
