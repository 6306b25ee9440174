/* Looks into loaded objects' tables of symbols, where dlsym() is not the one to ask: it would find another object's function of that name, does
 * not tell how long a function is, and is itself what is looked for (symbols.c).
 *
 * The pointers of an object's dynamic section are addresses once glibc's loader has relocated them; in one that it may not write to (the vdso) they
 * stay offsets. No allocation, no lock but dladdr1()'s, and no function of libc that a library such as AddressSanitizer's stands in front of: those begin
 * with setting themselves up, by dlsym(), which brings us here. */
#include "object.h"
#include "symbols.h"

#include <dlfcn.h>
#include <stddef.h>

const struct link_map *object_map(const void *inside) {
	Dl_info info;
	struct link_map *map = NULL;
	return dladdr1(inside, &info, (void **)&map, RTLD_DL_LINKMAP) ? map : NULL;
}

const struct link_map *object_map_at_once(const void *inside) {
	struct find_object found;
	return real._dl_find_object && real._dl_find_object((void *)inside, &found) == 0 ? found.link_map : NULL;
}

bool object_open(struct object *o, const struct link_map *map) {
	*o = (struct object){.map = map};
	if (!map || !map->l_ld)
		return false;
	for (const ElfW(Dyn) *dyn = map->l_ld; dyn->d_tag != DT_NULL; dyn++) {
		ElfW(Addr) at = dyn->d_un.d_ptr;
		const void *value = (const void *)(at < map->l_addr ? at + map->l_addr : at);
		if (dyn->d_tag == DT_SYMTAB)
			o->symbols = value;
		else if (dyn->d_tag == DT_STRTAB)
			o->names = value;
		else if (dyn->d_tag == DT_GNU_HASH)
			o->hash = value;
		else if (dyn->d_tag == DT_VERNEED)
			o->needs = value;
		else if (dyn->d_tag == DT_VERSYM)
			o->versions = value;
		else if (dyn->d_tag == DT_RELA)
			o->relocations[0].list = value;
		else if (dyn->d_tag == DT_RELASZ)
			o->relocations[0].bytes = dyn->d_un.d_val;
		else if (dyn->d_tag == DT_JMPREL)
			o->relocations[1].list = value;
		else if (dyn->d_tag == DT_PLTRELSZ)
			o->relocations[1].bytes = dyn->d_un.d_val;
	}
	return o->symbols && o->names && o->hash;
}

/* A shared object's first segment begins with its header, which says where the others are. */
bool object_has(const struct link_map *map, const void *address) {
	if (!map)
		return false;
	const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)map->l_addr;
	const ElfW(Phdr) *ph = (const ElfW(Phdr) *)(map->l_addr + header->e_phoff);
	for (int i = 0; i < header->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD && (ElfW(Addr))address - (map->l_addr + ph[i].p_vaddr) < ph[i].p_memsz)
			return true;
	}
	return false;
}

bool object_same(const char *a, const char *b) {
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* The loader's name begins so on every CPU. */
static bool is_loader(const char *file) {
	return file[0] == 'l' && file[1] == 'd';
}

bool object_wants_loader(const struct object *o, const char *version) {
	for (const ElfW(Verneed) *need = o->needs; need; need = need->vn_next ? (const void *)((const char *)need + need->vn_next) : NULL) {
		const ElfW(Vernaux) *aux = (const void *)((const char *)need + need->vn_aux);
		for (int i = 0; i < need->vn_cnt && is_loader(o->names + need->vn_file); i++, aux = (const void *)((const char *)aux + aux->vna_next)) {
			if (object_same(o->names + aux->vna_name, version))
				return true;
		}
	}
	return false;
}

static const char *version_name(const struct object *o, uint16_t version) {
	for (const ElfW(Verneed) *need = o->needs; need; need = need->vn_next ? (const void *)((const char *)need + need->vn_next) : NULL) {
		const ElfW(Vernaux) *aux = (const void *)((const char *)need + need->vn_aux);
		for (int i = 0; i < need->vn_cnt; i++, aux = (const void *)((const char *)aux + aux->vna_next)) {
			if (aux->vna_other == version)
				return o->names + aux->vna_name;
		}
	}
	return NULL;
}

/* What an object does not have itself is in no hash table. It is reached by a relocation. */
const char *object_wants(const struct object *o, const char *name) {
	for (int k = 0; o->symbols && o->names && o->versions && k < 2; k++) {
		const struct object_relocations *r = &o->relocations[k];
		for (size_t i = 0; r->list && i < r->bytes / sizeof *r->list; i++) {
			size_t symbol = ELF64_R_SYM(r->list[i].r_info);
			if (symbol && o->symbols[symbol].st_shndx == SHN_UNDEF && object_same(o->names + o->symbols[symbol].st_name, name))
				return version_name(o, o->versions[symbol] & 0x7fff);
		}
	}
	return NULL;
}

/* The GNU hash table: {buckets, first symbol, bloom words, shift}, bloom filter, buckets, chains (the last of a chain has bit 0 set). The filter has two
 * bits for each name that is there, and says no to most of the others. */
const ElfW(Sym) * object_function(const struct object *o, const char *name) {
	uint32_t hash = 5381;
	for (const unsigned char *s = (const unsigned char *)name; *s; s++)
		hash = hash * 33 + *s;
	uint32_t count = o->hash[0], first = o->hash[1], words = o->hash[2];
	const ElfW(Addr) *bloom = (const ElfW(Addr) *)(o->hash + 4);
	if (words && !(bloom[hash / 64 % words] >> hash % 64 & bloom[hash / 64 % words] >> (hash >> o->hash[3]) % 64 & 1))
		return NULL;
	const uint32_t *buckets = (const uint32_t *)(bloom + words);
	const uint32_t *chains = buckets + count;
	uint32_t i = count ? buckets[hash % count] : 0;
	for (; i >= first && i; i++) {
		const ElfW(Sym) *sym = &o->symbols[i];
		if ((chains[i - first] | 1) == (hash | 1) && sym->st_shndx != SHN_UNDEF &&
		    ELF64_ST_TYPE(sym->st_info) == STT_FUNC && object_same(o->names + sym->st_name, name))
			return sym;
		if (chains[i - first] & 1)
			break;
	}
	return NULL;
}

void *object_address(const struct object *o, const char *name) {
	const ElfW(Sym) *sym = object_function(o, name);
	return sym ? (void *)(o->map->l_addr + sym->st_value) : NULL;
}
