/* Reports on every goroutine and kernel thread, while they run. See dump.c. */
#ifndef GOSHIM_DUMP_H
#define GOSHIM_DUMP_H

#include "proc.h"
#include "text.h"
#include "unwind.h"

/* Those who have what a thread waits for, one after the other: all zero before the first. */
struct dump_owners {
	struct g *at; /* the last one, if they are found by going through all threads */
	bool over;
};

/* What only the shims know. Set before sched_start(); called from any thread while the goroutine may be running: they may read type-stable
 * memory and peek(), nothing else. */
extern const char *(*dump_name_hook)(struct g *g);
/* The next of the threads that `g`, which waits for `what` at `on`, waits for, all of them (several only read what it wants to write): its tid. False: no more;
 * nobody in particular; or not known. */
extern bool (*dump_owner_hook)(struct g *g, const char *what, uintptr_t on, struct dump_owners *owners, int32_t *tid);
/* The i-th of the descriptors that one which waits for `on` by poll() or select() waits for, and how many they are; -1: it is not known. */
extern int (*dump_polled_hook)(uintptr_t on, unsigned i, unsigned *count);
/* The address of the object, as the program has it, that one which waits for `what` at `on` waits for. */
extern uintptr_t (*dump_object_hook)(const char *what, uintptr_t on);
/* A remark on a mutex whose owner has ended (a goroutine that a panic isolated), or NULL. */
extern const char *(*dump_lost_hook)(int32_t tid);

/* Every live goroutine with what it waits on and its backtrace, then the kernel threads, then deadlocks: takes no lock, allocates nothing but pages for the search
 * for deadlocks, never faults. Waits up to 0.2 s for those that compute to say where. One thread at a time, the control socket's. */
void dump_all(struct text *t);
/* The same into a descriptor, for whoever is about to abort: any thread, any time. Of those that compute there is no backtrace, and none of the caller. */
void dump_to(int fd);

/* Kernel threads: what each runs, and for how long a goroutine has held one in a call that the runtime does not see the end of. */
void dump_threads(struct text *t);

/* Cycles of threads that wait for each other, kernel threads that are no goroutines among them, and waits for what a thread that has ended still holds. Returns
 * how many. Looks twice, 20 ms apart, so that only what does not move is reported. */
int dump_deadlocks(struct text *t);

/* The registers of g where it parked. False: it runs, or ran meanwhile. */
bool dump_parked(struct g *g, struct unwind_frame *f);

/* One frame a line, from f outwards. */
void dump_frames(struct text *t, struct unwind_frame *f, struct unwind_cache *cache);

/* "goroutine 7 \"name\"", or "kernel thread 4711" */
void dump_who(struct text *t, struct g *g);

/* How many kernel threads a goroutine holds without a P. */
uint32_t dump_pinned_count(void);

/* The living thread with this tid, a goroutine or one that is none but has called us; NULL. */
struct g *dump_find(int32_t tid);
/* The live goroutine with this id (or tid, above 2^22); NULL. */
struct g *dump_find_id(uint32_t id);

#endif
