/* A loaded object's own symbol table, read without the dynamic loader's help. See object.c. */
#ifndef GOSHIM_OBJECT_H
#define GOSHIM_OBJECT_H

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>

/* What _dl_find_object() tells, as <dlfcn.h> of glibc 2.35 has it; older headers do not. */
struct find_object {
	unsigned long long flags;
	void *map_start, *map_end;
	struct link_map *link_map;
	void *eh_frame;
	unsigned long long reserved[7];
};

struct object {
	const struct link_map *map;
	const ElfW(Sym) * symbols;
	const char *names;
	const uint32_t *hash; /* DT_GNU_HASH */
	const ElfW(Verneed) * needs; /* NULL: its symbols have no versions */
	const ElfW(Half) * versions; /* of each symbol; NULL: as above */
	struct object_relocations {
		const ElfW(Rela) * list;
		size_t bytes;
	} relocations[2];
};

/* The object that has this address in it; NULL: none. */
const struct link_map *object_map(const void *inside);

/* The same by no lock, as signal handlers need it; NULL also where libc cannot tell (before 2.35). */
const struct link_map *object_map_at_once(const void *inside);

/* Is that address in the object? Cheaper than object_map(). false for NULL. */
bool object_has(const struct link_map *map, const void *address);

/* Are the two names one? */
bool object_same(const char *a, const char *b);

/* false: it has no symbol table, or none of the kind that is known here; object_wants() needs no such. */
bool object_open(struct object *o, const struct link_map *map);

/* Was it linked against that version of the loader (not of libc)? */
bool object_wants_loader(const struct object *o, const char *version);

/* The version under which it is linked to others' function of that name; NULL: it is not, or under none. Of several the first. */
const char *object_wants(const struct object *o, const char *name);

/* The function of that name, whatever its version, that the object itself has; NULL: none. */
const ElfW(Sym) * object_function(const struct object *o, const char *name);
void *object_address(const struct object *o, const char *name);

#endif
