/* dlsym() and dlvsym(): who asks the loader for one of the functions that we stand in front of gets ours, however he asks.
 *
 * What the loader answers by itself is right for dlsym(RTLD_DEFAULT) and dlsym(RTLD_NEXT): our library is in the order of search, and its symbols
 * match. In two cases it leads past us, and a program that mixes libc's functions with ours hangs: a thread waits in the kernel on a
 * condition that we signal.
 *   - A handle. dlopen("libc.so.6") or of "libpthread.so.0" and dlsym() is how foreign-function interfaces (Python's ctypes, the JVM's JNA) and
 *     other preloaded libraries (socket_wrapper) reach libc. If the answer is libc's own function, and nobody stands in front of libc but us, it is
 *     ours that is meant. If somebody else does, behind us, he may be asking for what he calls in the end: ours would lead back to him.
 *   - A version. Our symbols have none, so that a program linked against any version finds them; dlvsym() takes only a symbol of the very version. So
 *     where libc has that version and our library would come first, the same is asked without it.
 *
 * dlsym(RTLD_NEXT) looks at the address that it returns to, and must see the program's: so libc's functions are left by a jump in every case where
 * the address counts. That is what a compiler makes of a call in the last place, if told to (-foptimize-sibling-calls; the Makefile has this
 * file optimised whatever the rest is).
 *
 * No state, no lock of our own, no allocation. May be called before our constructor, and by whatever that calls. */
#include <stddef.h>

#include "../core/tcb.h"
#include "../shims/shim.h"
#include "object.h"

/* In search order, which is the order of the list for all that was loaded at the start, does the caller's object come before ours? */
static bool before_us(const void *caller, const struct link_map *us) {
	const struct link_map *map = object_map(caller);
	while (map && map != us)
		map = map->l_next;
	return map != NULL;
}

/* Our function of that name; NULL: we have none. */
static void *ours(const char *name) {
	struct object o;
	return object_open(&o, object_map((const void *)symbols_init)) ? object_address(&o, name) : NULL;
}

static bool in_libc(const void *function) {
	const struct link_map *map = object_map(function);
	return map && map == object_map((const void *)real.__libc_start_main);
}

/* uring.c's functions stand in front of liburing's, and find these wherever they are. */
static bool is_liburings(const char *name) {
	for (const char *c = "io_uring_"; *c; c++, name++) {
		if (*c != *name)
			return false;
	}
	return true;
}

/* What `function` of that name, found by a handle, is to the program. */
static void *as_seen(void *function, const char *name) {
	void *mine = function ? ours(name) : NULL;
	if (mine && is_liburings(name))
		return mine;
	if (!mine || !in_libc(function) || !in_libc(real.dlsym(RTLD_NEXT, name)))
		return function;
	return mine;
}

static bool by_order(const void *handle) {
	return handle == RTLD_DEFAULT || handle == RTLD_NEXT;
}

/* Whoever asks where his thread's area for restartable sequences is will look at it: core/tcb.c. */
static void note_rseq(const char *name) {
	if (unlikely(name && name[0] == '_' && name[1] == '_' && object_same(name, "__rseq_offset")))
		tcb_rseq_somebody();
}

SHIM void *dlsym(void *handle, const char *name) {
	REAL_READY();
	note_rseq(name);
	if (by_order(handle))
		return real.dlsym(handle, name);
	return as_seen(real.dlsym(handle, name), name);
}

/* Would the search of this caller, for any version of that name, come to us, and has libc the version? */
static bool leads_to_us(const void *handle, const char *name, const char *version, const void *caller) {
	if (!ours(name) || (handle == RTLD_NEXT && !before_us(caller, object_map((const void *)symbols_init))))
		return false;
	bool known = real.dlvsym(RTLD_NEXT, name, version) != NULL;
	if (!known)
		(void)dlerror();
	return known;
}

SHIM void *dlvsym(void *handle, const char *name, const char *version) {
	REAL_READY();
	note_rseq(name);
	if (!by_order(handle))
		return as_seen(real.dlvsym(handle, name, version), name);
	if (leads_to_us(handle, name, version, __builtin_return_address(0)))
		return real.dlsym(handle, name);
	return real.dlvsym(handle, name, version);
}
