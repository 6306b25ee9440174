/* What reports ask of the shims: a thread's name, who holds what another waits for, which file code belongs to.
 *
 * All of it is called by a thread that is none of the program's, while the program runs: memory of the program is read by peek() only, which
 * cannot fault, and nothing is locked. glibc's objects say who owns them (mutex.c and rwlock.c keep those fields as glibc does). */
#include "inspect.h"

#include <link.h>
#include <string.h>

#include "../core/dump.h"
#include "../core/futex.h"
#include "thread.h"

/* As <dlfcn.h> of glibc 2.35 has it; older headers do not. */
struct find_object {
	unsigned long long flags;
	void *map_start, *map_end;
	struct link_map *link_map;
	void *eh_frame;
	unsigned long long reserved[7];
};

static bool object_of(uintptr_t pc, struct unwind_object *out) {
	struct find_object found;
	struct link_map map;
	if (!real._dl_find_object || real._dl_find_object((void *)pc, &found) != 0)
		return false;
	if (!peek(&map, (uintptr_t)found.link_map, sizeof map))
		return false;
	*out = (struct unwind_object){(uintptr_t)found.map_start, map.l_addr, (uintptr_t)map.l_name,
				      (uintptr_t)found.eh_frame};
	return true;
}

static const char *name_of(struct g *g) {
	return thread_of(g)->name;
}

static bool word_of(uintptr_t object, size_t offset, int32_t *tid) {
	return peek(tid, object + offset, sizeof *tid) && *tid > 0;
}

static bool owner_of(struct g *g, const char *what, uintptr_t on, int32_t *tid) {
	(void)g;
	if (what == futex_what_mutex)
		return word_of(on, offsetof(pthread_mutex_t, __data.__owner) - offsetof(pthread_mutex_t, __data.__lock),
			       tid);
	if (strcmp(what, "rwlock read") == 0)
		return word_of(on,
			       offsetof(pthread_rwlock_t, __data.__cur_writer) -
				       offsetof(pthread_rwlock_t, __data.__wrphase_futex),
			       tid);
	if (strcmp(what, "rwlock write") == 0)
		return word_of(on,
			       offsetof(pthread_rwlock_t, __data.__cur_writer) -
				       offsetof(pthread_rwlock_t, __data.__writers_futex),
			       tid);
	if (strcmp(what, "join") == 0)
		return word_of(on, offsetof(struct g, tid) - offsetof(struct g, ext) - offsetof(struct thread, done),
			       tid);
	return false;
}

void inspect_init(void) {
	dump_name_hook = name_of;
	dump_owner_hook = owner_of;
	unwind_object_hook = object_of;
}
