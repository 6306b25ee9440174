/* Finds libc's own functions behind our shims, once, before the process has a second thread.
 *
 * Each name of real.def is looked up with RTLD_NEXT and an explicit version: a plain dlsym would give the oldest version on some
 * releases of glibc (INT-3). It passes by other preloaded libraries behind us, whose functions have no version: when such a library has what we serve,
 * nobody must call libc's, and the plain names lead to it (symbols_bypassed; INT-4). An
 * older libc has fewer versions; there the default one is taken. What is missing altogether stays NULL: a program that
 * runs on that libc was not linked against it.
 *
 * Safe to enter again (INT-2): a lookup that fails makes libc allocate its error message, a malloc that is not libc's own may
 * call a shim on the way up, and that shim calls symbols_init() because `ready` is still false. The inner call sees that
 * not everything was tried yet and resolves the rest itself. A lookup is marked as tried before it starts, or the inner call would repeat the failing
 * one for ever.
 * There is no lock: the constructor runs while the process has one thread. If a program's own thread got here first all the same
 * (an IFUNC resolver that starts threads), lookups are idempotent: both write the same pointers.
 *
 * dlsym() and dlvsym() have shims, too (dlsym.c), so libc's are looked for by hand, first: in the objects that come after ours. */
#include "symbols.h"

#include "arch_cpu.h"
#include "object.h"
#include "tsan.h"

struct real real;

struct symbol {
	const char *name;
	const char *version;
	void **slot;
};

/* Function pointers are written through void **: POSIX's dlsym() demands that the two have one representation. */
static const struct symbol symbols[] = {
#define REAL(ret, name, params, version) {#name, version, (void **)(void *)&real.name},
#include "real.def"
#undef REAL
};

#define SYMBOL_COUNT (sizeof(symbols) / sizeof(symbols[0]))

static bool tried[SYMBOL_COUNT];

/* Without these there is no runtime at all. */
static const char *const required[] = {
	"pthread_create", "pthread_join", "pthread_exit", "pthread_self", "pthread_sigmask", "pthread_mutex_lock",
	"pthread_mutex_unlock", "pthread_cond_wait", "pthread_getattr_np", "read", "write", "close", "poll", "fork",
	"sigaction", "syscall", "__libc_start_main",
};

/* N of "GLIBC_2.N"; GLIBC_PRIVATE is newer than all. By none of libc's functions: an IFUNC resolver of the program may bring us here before libc has a
 * locale, and see object.c. */
static unsigned long minor_of(const char *version) {
	unsigned long minor = 0;
	const char *digit = version;
	for (const char *prefix = "GLIBC_2."; *prefix; prefix++, digit++) {
		if (*digit != *prefix)
			return -1ul;
	}
	for (; *digit >= '0' && *digit <= '9'; digit++)
		minor = minor * 10 + (unsigned long)(*digit - '0');
	return minor;
}

/* real.def names the versions of x86-64. A CPU that glibc came to later has the function under its first version instead. */
static const char *version_here(const char *version) {
	return version && minor_of(version) < ARCH_GLIBC_MINOR ? ARCH_GLIBC_FIRST : version;
}

/* dlsym() and dlvsym() behind ours. Both look at the address that they return to, so they are called from here, not handed on. */
static void *(*libc_dlsym)(void *, const char *);
static void *(*libc_dlvsym)(void *, const char *, const char *);

static const struct link_map *libc_map; /* libc's */

static void lookups_find(void) {
	const struct link_map *map = object_map((const void *)symbols_init);
	struct object o;
	while (map && (map = map->l_next) && !(libc_dlsym && libc_dlvsym && libc_map)) {
		if (!object_open(&o, map))
			continue;
		if (object_address(&o, "__libc_start_main"))
			libc_map = map;
		if (!libc_dlsym)
			*(void **)(void *)&libc_dlsym = object_address(&o, "dlsym");
		if (!libc_dlvsym)
			*(void **)(void *)&libc_dlvsym = object_address(&o, "dlvsym");
	}
}

/* ThreadSanitizer gives each kernel thread a state when its own pthread_create() makes it. The threads that libc makes for us would have none: their first
 * malloc() is a crash. A weak reference: dlsym() might allocate. */
#ifdef GOSHIM_RACE /* which has functions of these names in the library itself */
#define __tsan_init ((void (*)(void))NULL)
#else
extern void __tsan_init(void) __attribute__((weak, visibility("default")));
#endif

/* Linked into the program by gcc, which does not export __tsan_init. The program is the first object there is. */
static bool tsan_in_program(void) {
#ifdef GOSHIM_RACE
	return false;
#else
	static const char *const fronts[] = TSAN_FRONTS;
	const struct link_map *map = object_map((const void *)symbols_init);
	struct object o;
	while (map && map->l_prev)
		map = map->l_prev;
	if (!object_open(&o, map))
		return false;
	for (size_t i = 0; i < TSAN_FRONT_COUNT; i++) {
		if (!object_function(&o, fronts[i]))
			return false;
	}
	return true;
#endif
}

bool symbols_foreign_runtime(void) {
	return __tsan_init != NULL || tsan_in_program();
}

static void symbol_resolve(size_t i) {
	const struct symbol *s = &symbols[i];
	tried[i] = true;
	const char *version = version_here(s->version);
	void *address = version ? libc_dlvsym(RTLD_NEXT, s->name, version) : NULL;
	if (!address)
		address = libc_dlsym(RTLD_NEXT, s->name);
	if (address)
		*s->slot = address;
	else
		(void)dlerror(); /* the program must not find an error that is not its own */
}

static bool symbol_required(const char *name) {
	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		if (object_same(name, required[i]))
			return true;
	}
	return false;
}

const char *symbols_init(void) {
	if (!real.ready) {
		if (!libc_dlvsym)
			lookups_find();
		for (size_t i = 0; i < SYMBOL_COUNT; i++) {
			if (!tried[i])
				symbol_resolve(i);
		}
		real.ready = true;
	}
	for (size_t i = 0; i < SYMBOL_COUNT; i++) {
		if (__builtin_expect(!*symbols[i].slot, 0) && symbol_required(symbols[i].name))
			return symbols[i].name;
	}
	return NULL;
}

void *symbols_private(const char *name) {
	return libc_dlvsym(RTLD_DEFAULT, name, "GLIBC_PRIVATE");
}

/* ---- who is bypassed ------------------------------------------------------------------------------------------------- */

/* What a library that stands in front of descriptors, time or synchronisation has of its own, one of these at least: all of it is served by us without
 * a call of what comes behind. */
static const char *const fronts[] = {
	"connect", "accept", "sendto", "sendmsg", "recvmsg", "recv", "send", "read", "write", "open", "poll", "select", "epoll_wait", "fsync", "nanosleep",
	"sleep", "pthread_mutex_lock", "pthread_cond_wait", "pthread_cond_timedwait", "sem_wait", "sem_timedwait", "syscall",
};

/* The objects between ours and libc, in the order of search. */
static bool front_find(const char **name, const char **library) {
	struct object o;
	for (const struct link_map *map = object_map((const void *)symbols_init); map && (map = map->l_next) && map != libc_map;) {
		if (!object_open(&o, map))
			continue;
		for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++) {
			if (!object_function(&o, fronts[i]))
				continue;
			*name = fronts[i];
			*library = map->l_name;
			return true;
		}
	}
	return false;
}

bool symbols_bypassed(const char **name, const char **library) {
	if (!libc_map || !front_find(name, library))
		return false;
	for (size_t i = 0; i < SYMBOL_COUNT; i++) {
		void *next = libc_dlsym(RTLD_NEXT, symbols[i].name);
		if (next && !object_has(libc_map, next))
			*symbols[i].slot = next;
	}
	return true;
}
