/* Backtraces of goroutines that do not run, from the outside. See unwind.c. */
#ifndef GOSHIM_UNWIND_H
#define GOSHIM_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"

/* Copies n bytes from an address that may not exist; true if all of them could be read. Never faults, takes no lock. */
bool peek(void *to, uintptr_t from, size_t n);
/* From now on it is always false, and makes no system call: a filter may kill who reads a process's memory, even his own. Undo: there is no filter after all. */
void peek_forbid(void);
void peek_forbid_undo(void);

/* Registers of one frame, by DWARF number. */
struct unwind_frame {
	uint64_t reg[ARCH_DWARF_REGS];
	uint64_t known;   /* bit per register: its value is known */
	bool interrupted; /* pc is where a signal came in, not behind a call */
};

static inline uint64_t unwind_pc(const struct unwind_frame *f) {
	return f->reg[ARCH_DWARF_PC];
}

struct unwind_object {
	uintptr_t start; /* of the mapping that holds the pc */
	uintptr_t base;  /* what addresses in the file are relative to */
	uintptr_t name;  /* address of the file's name; "" is the program itself */
	uintptr_t eh_frame_hdr;
};

/* Which loaded object holds pc. Lock-free and async-signal-safe. Set by the preload layer when libc can tell; else NULL. */
extern bool (*unwind_object_hook)(uintptr_t pc, struct unwind_object *out);

/* Tables of rules that were looked up already; the caller's, zeroed. For one report only: objects may be unloaded between two. */
#define UNWIND_CACHE 512
struct unwind_cache;
extern struct unwind_cache unwind_cache;     /* for whoever holds it by unwind_cache_get() */
struct unwind_cache *unwind_cache_get(void); /* NULL: somebody else uses it; then do without */
void unwind_cache_put(struct unwind_cache *cache);

/* Where the function that f is in begins (a part of it that the compiler moved elsewhere counts as one of its own); 0: not known. */
uintptr_t unwind_function(const struct unwind_frame *f);

/* To the caller's frame. False: this is the outermost, or nothing is known. */
bool unwind_step(struct unwind_frame *f, struct unwind_cache *cache);

#define UNWIND_FRAMES_MAX 64

/* The kernel tells of one that sits in a system call the pc and the stack pointer alone. If its function finds its caller by another register, this looks on the stack for
 * what that must have been: where a return address lies behind a call of this function, and the way from there leads to `outermost`. */
void unwind_find_base(struct unwind_frame *f, struct unwind_cache *cache, uintptr_t outermost);

#endif
