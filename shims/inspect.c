/* What reports ask of the shims: a thread's name, who holds what another waits for, which file code belongs to.
 *
 * All of it is called by a thread that is none of the program's, while the program runs: memory of the program is read by peek() only, which
 * cannot fault, and nothing is locked. glibc's objects say who owns them (mutex.c and rwlock.c keep those fields as glibc does). */
#include "inspect.h"

#include <link.h>
#include <string.h>

#include "../core/dump.h"
#include "../core/futex.h"
#include "../core/tcb.h"
#include "../preload/object.h"
#include "sync.h"
#include "thread.h"

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

static bool is_live(struct g *g) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	return g->kind <= G_MAIN && state != GS_IDLE && state != GS_DEAD;
}

/* Kernel threads that are no goroutines as well. */
static bool is_thread(struct g *g) {
	uint8_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	return is_live(g) || (g->kind == G_FOREIGN && state != GS_IDLE && state != GS_DEAD);
}

static const char *name_of(struct g *g) {
	return thread_of(g)->name;
}

const struct wait_word wait_words[] = {
	{"rwlock read", offsetof(pthread_rwlock_t, __data.__wrphase_futex)},
	{"rwlock write", offsetof(pthread_rwlock_t, __data.__writers_futex)},
	{"cond", COND_WORD},
	{"barrier", BARRIER_WORD},
	{NULL, 0},
};

static uintptr_t object_waited(const char *what, uintptr_t on) {
	const struct wait_word *w = wait_words;
	while (w->what && strcmp(w->what, what) != 0)
		w++;
	return on - w->offset;
}

static bool word_of(uintptr_t object, size_t offset, int32_t *tid) {
	return peek(tid, object + offset, sizeof *tid) && *tid > 0;
}

/* libc's word for the owner is the goroutine's number, or that of the kernel thread which it keeps for robust mutexes; of one shared with
 * other processes, perhaps a thread of theirs: false. */
static bool mutex_owner(uintptr_t on, int32_t *tid) {
	pthread_mutex_t copy;
	if (!peek(&copy, on, sizeof copy) || copy.__data.__owner <= 0)
		return false;
	*tid = copy.__data.__owner;
	if (!(copy.__data.__kind & MUTEX_SHARED) || dump_find(*tid))
		return true;
	for (struct g *g = g_all(); g; g = g->all_next) {
		if (is_live(g) && (thread_of(g)->robust_ktid == *tid || thread_of(g)->robust_now == *tid)) {
			*tid = g->tid;
			return true;
		}
	}
	return false;
}

static bool waits_to_write(struct g *g, uintptr_t lock) {
	const char *what = __atomic_load_n(&g->wait_what, __ATOMIC_RELAXED);
	return what && strcmp(what, "rwlock write") == 0 &&
	       __atomic_load_n(&g->wait_on, __ATOMIC_RELAXED) ==
		       lock + offsetof(pthread_rwlock_t, __data.__writers_futex);
}

/* Whom one who waits for a reader-writer lock waits for. A writer: for its readers. A reader that finds no writer in it: for those who want to. */
static bool rwlock_holder(uintptr_t lock, bool writes, struct dump_owners *owners, int32_t *tid) {
	pthread_rwlock_t copy;
	if (owners->over || !peek(&copy, lock, sizeof copy))
		return false;
	*tid = copy.__data.__cur_writer;
	if (!owners->at && *tid > 0) {
		owners->over = true;
		return !copy.__data.__shared || dump_find(*tid); /* else it may be a thread of another process */
	}
	for (struct g *g = owners->at ? owners->at->all_next : g_all(); g; g = g->all_next) {
		if (is_thread(g) && (writes ? readers_has(g, lock) : waits_to_write(g, lock))) {
			owners->at = g;
			*tid = g->tid;
			return true;
		}
	}
	owners->over = true;
	return false;
}

static bool owner_of(struct g *g, const char *what, uintptr_t on, struct dump_owners *owners, int32_t *tid) {
	(void)g;
	if (strcmp(what, "rwlock read") == 0)
		return rwlock_holder(on - offsetof(pthread_rwlock_t, __data.__wrphase_futex), false, owners, tid);
	if (strcmp(what, "rwlock write") == 0)
		return rwlock_holder(on - offsetof(pthread_rwlock_t, __data.__writers_futex), true, owners, tid);
	if (owners->over)
		return false;
	owners->over = true;
	if (what == futex_what_mutex || what == futex_what_mutex_timed)
		return mutex_owner(on, tid);
	if (strcmp(what, "join") == 0)
		return word_of(on, offsetof(struct g, tid) - offsetof(struct g, ext) - offsetof(struct thread, done),
			       tid);
	return false;
}

/* ---- cancelling a family ------------------------------------------------------------------------------------------ */

#define PASSES_MAX 64 /* a thread may create others until it acts on its cancellation */

/* Ancestors are known by their ids, the nearest G_ANCESTORS of them, ended or not. Further up it goes through the furthest of these, whose struct is
 * still its own unless a later thread has it by now. */
static bool descends(struct g *g, uint32_t id, uint32_t round) {
	for (int i = 0; i < G_ANCESTORS && g->ancestor[i]; i++) {
		if (g->ancestor[i] == id)
			return true;
	}
	uint32_t far = g->ancestor[G_ANCESTORS - 1];
	for (struct g *other = far ? g_all() : NULL; other; other = other->all_next) {
		if (other->id == far && other->kind <= G_MAIN)
			return thread_of(other)->cancel_round == round;
	}
	return false;
}

/* Marks whoever descends from a marked one; true if that was anybody new. */
static bool family_mark(uint32_t id, uint32_t round) {
	bool grew = false;
	for (struct g *g = g_all(); g; g = g->all_next) {
		if (is_live(g) && thread_of(g)->cancel_round != round && descends(g, id, round)) {
			thread_of(g)->cancel_round = round;
			thread_of(g)->cancel_told = false;
			grew = true;
		}
	}
	return grew;
}

unsigned inspect_cancel(uint32_t id) {
	static uint32_t round;
	struct g *first = dump_find_id(id);
	unsigned n = 0;
	if (!first)
		return 0;
	id = first->id;
	thread_of(first)->cancel_round = ++round;
	thread_of(first)->cancel_told = false;
	for (int pass = 0; pass < PASSES_MAX; pass++) {
		bool grew = false;
		/* The whole family before anybody is told: who has ended leads to nobody any more. */
		while (family_mark(id, round))
			grew = true;
		if (pass && !grew)
			break;
		for (struct g *g = g_all(); g; g = g->all_next) {
			struct thread *t = thread_of(g);
			/* Its end may come between this look and the call, as in every pthread_cancel(). */
			if (is_live(g) && t->cancel_round == round && !t->cancel_told) {
				t->cancel_told = true;
				n += pthread_cancel((pthread_t)tcb_thread(g->ctx.tp)) == 0;
			}
		}
	}
	return n;
}

void inspect_init(void) {
	dump_name_hook = name_of;
	dump_owner_hook = owner_of;
	dump_object_hook = object_waited;
	dump_polled_hook = poll_waited;
	unwind_object_hook = object_of;
}
