/* dlopen() and dlmopen(): libc's, entered by a jump, so that it finds the program's own return address, by which it knows whose search path, namespace and
 * $ORIGIN are meant. What goroutines need of a new module modules.c sees to. Where that cannot be (GOSHIM=patch=0, an unknown loader), the rest of this file does what can be
 * done around libc's dlopen(), without a view of what the loader does.
 *
 * There, modules with static TLS that are loaded while goroutines live (TLS-3):
 *
 * A module with initial-exec variables gets its place in every thread's static TLS when it is loaded, and libc
 * copies the initial image there for each thread in its lists. Goroutines are not in them. For the caller that must
 * be cured before the module's constructors run: its list node is linked in next to main's while libc's dlopen()
 * runs, so libc itself initialises it. The others follow when dlopen() returns: nobody can have used the module's
 * variables before, but by a thread that the module's own constructors woke.
 *
 * The place is found without libc's private structures: which modules are new by dl_iterate_phdr() before and after;
 * where by __tls_get_addr() on the caller, whose address minus the thread pointer is the same everywhere. Asked only
 * when a new module declares DF_STATIC_TLS: asking for a dynamic one would allocate it.
 *
 * Lock: loader_lock, a mutex of the program's kind (goroutines park on it), recursive, as libc's own lock around the
 * same section is: constructors may call dlopen. Not bracketed as a system call, because constructors are program
 * code; sysmon takes the P if the disk is slow.
 */
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/pages.h"
#include "../core/stack.h"
#include "../core/tcb.h"
#include "inside.h"
#include "modules.h"
#include "process.h"
#include "shim.h"
#include "sigstate.h"

#define MODULES_MAX 512 /* new TLS modules of one dlopen() that are looked at */

struct tls_index {
	unsigned long module, offset;
};
extern void *__tls_get_addr(struct tls_index *);
/* The list node in a TCB ({next, prev}), or NULL when unknown. In core/tcb.c. */
void **tcb_list_node(uintptr_t tcb) __attribute__((weak));

struct module {
	size_t id;
	const void *image;
	size_t file_bytes, bytes;
};

static pthread_mutex_t loader_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

/* ---- the module list
 * ------------------------------------------------------------------------------------------------------ */

struct ids {
	uint64_t seen[16]; /* module ids below 1024: they are reused after dlclose, so a maximum would not do */
};

static int ids_note(struct dl_phdr_info *info, size_t size, void *arg) {
	struct ids *ids = arg;
	(void)size;
	if (info->dlpi_tls_modid && info->dlpi_tls_modid < 1024)
		ids->seen[info->dlpi_tls_modid / 64] |= 1ull << info->dlpi_tls_modid % 64;
	return 0;
}

static bool declares_static_tls(const struct dl_phdr_info *info) {
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
			continue;
		const ElfW(Dyn) *dyn = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
		for (; dyn->d_tag != DT_NULL; dyn++) {
			if (dyn->d_tag == DT_FLAGS)
				return dyn->d_un.d_val & DF_STATIC_TLS;
		}
	}
	return false;
}

struct search {
	const struct ids *before;
	size_t count;
	struct module list[MODULES_MAX];
};

static int modules_find(struct dl_phdr_info *info, size_t size, void *arg) {
	struct search *s = arg;
	size_t id = info->dlpi_tls_modid;
	(void)size;
	if (!id || id >= 1024 || (s->before->seen[id / 64] >> id % 64 & 1) || s->count == MODULES_MAX || !declares_static_tls(info))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		if (ph->p_type == PT_TLS)
			s->list[s->count++] = (struct module){.id = id, .image = (const void *)(info->dlpi_addr + ph->p_vaddr),
			                                      .file_bytes = ph->p_filesz, .bytes = ph->p_memsz};
	}
	return 0;
}

/* Every goroutine but main (libc knows it) and the caller (done). On which side of the thread pointer
 * static TLS lies is the CPU's. */
static void module_init_others(struct g *self, const struct module *m) {
	struct tls_index index = {m->id, 0};
	uintptr_t tp = arch_tp(), here = (uintptr_t)__tls_get_addr(&index);
	intptr_t offset = (intptr_t)(here - tp);
	size_t reach = tcb_bytes();
	if (offset < -(intptr_t)reach || offset > (intptr_t)reach)
		return; /* it did not fit, and lives in dynamic memory after all */
	for (struct g *g = g_all(); g; g = g->all_next) {
		uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
		if (g == self || g->kind != G_GOROUTINE || state == GS_DEAD || state == GS_IDLE || !g->ctx.tp)
			continue;
		char *place = (char *)(g->ctx.tp + (uintptr_t)offset);
		memcpy(place, m->image, m->file_bytes);
		memset(place + m->file_bytes, 0, m->bytes - m->file_bytes);
	}
}

/* ---- the caller in libc's list
 * ------------------------------------------------------------------------------------------------ */

static struct g *main_goroutine(void) {
	struct g *g = g_all();
	while (g && g->kind != G_MAIN)
		g = g->all_next;
	return g;
}

/* Under loader_lock. Readers of the list hold libc's lock, which we cannot take; they walk forward only, and what
 * they may meet is a node whose `next` is right at every moment. */
static bool list_join(struct g *g) {
	struct g *main_g = main_goroutine();
	if (!tcb_list_node || g->kind == G_MAIN || !main_g)
		return false;
	void **node = tcb_list_node(g->ctx.tp), **head = tcb_list_node(main_g->ctx.tp);
	if (!node || !head || node[0] != node)
		return false; /* unknown layout, or linked already by an outer dlopen */
	void **next = head[0];
	node[0] = next;
	node[1] = head;
	__atomic_store_n(&next[1], node, __ATOMIC_RELAXED);
	__atomic_store_n(&head[0], node, __ATOMIC_RELEASE);
	return true;
}

static void list_leave(struct g *g) {
	void **node = tcb_list_node(g->ctx.tp), **next = node[0], **previous = node[1];
	__atomic_store_n(&next[1], previous, __ATOMIC_RELAXED);
	__atomic_store_n(&previous[0], next, __ATOMIC_RELEASE);
	node[0] = node[1] = node; /* fork's child takes it out again */
}

void loader_fork_child(void) {
	modules_fork_child();
	/* Whoever held it is gone; libc initialises its own lock, too. */
	loader_lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	/* A goroutine that forked is libc's main thread in the child. If another one there forks again, libc takes the first one's TCB for a stack of its
	 * own that is free, to run a thread on: with the address of another that its struct pthread was copied from. */
	struct g *main_g = sig_main();
	if (tcb_list_node && main_g && main_g != g_goroutine() && main_g->stack.slab && tcb_list_node(main_g->ctx.tp))
		list_leave(main_g);
}

/* ---- dlopen
 * --------------------------------------------------------------------------------------------------------------------- */

/* Of the namespace that `handle` is of, if it is not ours: libc's own loop knows ours only. */
static void modules_each(void *handle, int (*function)(struct dl_phdr_info *, size_t, void *), void *arg) {
	dl_iterate_phdr(function, arg);
	Lmid_t ns = LM_ID_BASE;
	if (!handle || dlinfo(handle, RTLD_DI_LMID, &ns) != 0 || ns == LM_ID_BASE)
		return;
	struct link_map *map = handle;
	while (map->l_prev)
		map = map->l_prev;
	for (; map; map = map->l_next) {
		Dl_info at;
		struct dl_phdr_info info = {.dlpi_addr = map->l_addr};
		if (!map->l_ld || !dladdr(map->l_ld, &at) || dlinfo(map, RTLD_DI_TLS_MODID, &info.dlpi_tls_modid) != 0)
			continue;
		const ElfW(Ehdr) *elf = at.dli_fbase;
		info.dlpi_phdr = (const void *)((const char *)elf + elf->e_phoff);
		info.dlpi_phnum = elf->e_phnum;
		function(&info, sizeof info, arg);
	}
}

/* Those that are there before one is loaded into the namespace; each but a new one has a libc. */
static void ids_note_all(Lmid_t ns, struct ids *before) {
	void *libc = ns == LM_ID_BASE || ns == LM_ID_NEWLM ? NULL : real.dlmopen(ns, "libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	modules_each(libc, ids_note, before);
	if (libc)
		real.dlclose(libc);
}

static void modules_init(struct g *g, void *handle, const struct ids *before) {
	static struct search search; /* under loader_lock; too large for a small stack */
	search.before = before;
	search.count = 0;
	modules_each(handle, modules_find, &search);
	for (size_t i = 0; i < search.count; i++)
		module_init_others(g, &search.list[i]);
}

/* Has the object a search path of its own (DT_RUNPATH or DT_RPATH)? */
static bool has_path(const ElfW(Dyn) *dyn) {
	for (; dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == DT_RUNPATH || dyn->d_tag == DT_RPATH)
			return true;
	}
	return false;
}

/* libc's dlopen() searches the RUNPATH of the object that called it, which would be us. So what the true caller's
 * path leads to is opened by its full name. Only for bare names, which nobody has loaded yet, from objects that have a path. */
static void *open_from(const char *file, int mode, const void *caller) {
	struct link_map *map = NULL;
	Dl_info info;
	Dl_serinfo size, *path;
	void *handle;
	if (strchr(file, '/') || !dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) || !map || !map->l_ld || !has_path(map->l_ld))
		return real.dlopen(file, mode);
	handle = real.dlopen(file, RTLD_LAZY | RTLD_NOLOAD);
	if (!handle)
		(void)dlerror();
	if (handle || dlinfo(map, RTLD_DI_SERINFOSIZE, &size) != 0 || !(path = pages_map(size.dls_size))) {
		if (handle)
			real.dlclose(handle);
		return real.dlopen(file, mode);
	}
	*path = size;
	handle = NULL;
	if (dlinfo(map, RTLD_DI_SERINFO, path) == 0) {
		for (unsigned i = 0; i < path->dls_cnt && !handle; i++) {
			char name[PATH_MAX];
			if (path->dls_serpath[i].dls_flags & 0x08 /* LA_SER_CONFIG */ || path->dls_serpath[i].dls_flags & 0x40 /* LA_SER_DEFAULT */)
				continue; /* libc looks there by itself, after its cache */
			int n = snprintf(name, sizeof name, "%s/%s", path->dls_serpath[i].dls_name, file);
			if (n > 0 && (size_t)n < sizeof name && SYS3(SYS_faccessat, AT_FDCWD, name, F_OK) == 0)
				handle = real.dlopen(name, mode);
		}
	}
	pages_unmap(path, size.dls_size);
	return handle ? handle : real.dlopen(file, mode);
}

/* ---- executable stacks ------------------------------------------------------------------------------------------------------------ */

static int wants_exec(struct dl_phdr_info *info, size_t size, void *arg) {
	(void)size, (void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_GNU_STACK)
			return info->dlpi_phdr[i].p_flags & PF_X ? 1 : 0;
	}
	return 0; /* the vdso has none, and means nothing by it */
}

bool loader_wants_exec_stacks(void) {
	return dl_iterate_phdr(wants_exec, NULL) != 0;
}

/* libc has made its own threads' stacks executable while it loaded the module. */
static void stacks_follow(void) {
	if (sched_config.stack_exec || !loader_wants_exec_stacks())
		return;
	sched_config.stack_exec = true;
	stack_exec_all(); /* refused (a policy forbids it): the module faults if it does run code there, as it would have without dlopen's consent */
}

/* g NULL: a kernel thread, which libc initialises, and all that it knows, but goroutines not. */
__attribute__((noinline)) static void *open_for_all(struct g *g, Lmid_t ns, const char *file, int mode, const void *caller) {
	struct ids before = {{0}};
	pthread_mutex_lock(&loader_lock);
	ids_note_all(ns, &before);
	bool joined = g && list_join(g);
	void *handle = ns == LM_ID_BASE ? open_from(file, mode, caller) : real.dlmopen(ns, file, mode);
	if (joined)
		list_leave(g);
	if (handle) {
		modules_init(g, handle, &before);
		stacks_follow();
	}
	pthread_mutex_unlock(&loader_lock);
	return handle;
}

/* The first call of both must stay a jump: a build that watches functions (RACE=1) would add something after it. */
#define JUMPS SHIM __attribute__((no_sanitize("thread", "address")))

/* Such a module finds libc's sched_getcpu() before ours. */
static void note_deepbind(int mode) {
	if (unlikely(mode & RTLD_DEEPBIND))
		tcb_rseq_somebody();
}

JUMPS void *dlopen(const char *file, int mode) {
	REAL_READY();
	note_deepbind(mode);
	if (likely(!sched_started() || inside_sees_modules() || !file))
		return real.dlopen(file, mode);
	return open_for_all(g_goroutine(), LM_ID_BASE, file, mode, __builtin_return_address(0));
}

JUMPS void *dlmopen(Lmid_t ns, const char *file, int mode) {
	REAL_READY();
	note_deepbind(mode);
	if (likely(!sched_started() || inside_sees_modules() || !file))
		return real.dlmopen(ns, file, mode);
	return open_for_all(g_goroutine(), ns, file, mode, __builtin_return_address(0));
}
