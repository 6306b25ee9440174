/* Function names from ELF files (see elfsym.h): .symtab where there is one, else .dynsym, sorted once and searched. A file that is not as it
 * should be has no names; nothing in it is trusted, since it is the other process's. */
#include "elfsym.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct symbol {
	uint64_t address, size;
	const char *name;
};

struct file {
	struct file *next;
	char *path;
	const unsigned char *data; /* mapped; NULL: cannot be used */
	size_t size;
	struct symbol *symbols;
	size_t count;
};

static struct file *files;

static int symbol_compare(const void *a, const void *b) {
	const struct symbol *x = a, *y = b;
	return x->address < y->address ? -1 : x->address > y->address;
}

/* The bytes [offset, offset + size) of f, or NULL. */
static const void *part(const struct file *f, uint64_t offset, uint64_t size) {
	return offset <= f->size && size <= f->size - offset ? f->data + offset : NULL;
}

static const Elf64_Shdr *section_find(const struct file *f, const Elf64_Shdr *sections, size_t count, uint32_t type) {
	for (size_t i = 0; i < count; i++) {
		if (sections[i].sh_type == type && sections[i].sh_link < count &&
		    part(f, sections[i].sh_offset, sections[i].sh_size))
			return &sections[i];
	}
	return NULL;
}

static void symbols_read(struct file *f) {
	const Elf64_Ehdr *header = part(f, 0, sizeof *header);
	if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64)
		return;
	const Elf64_Shdr *sections = part(f, header->e_shoff, (uint64_t)header->e_shnum * sizeof *sections);
	if (!sections || header->e_shentsize != sizeof *sections)
		return;
	const Elf64_Shdr *table = section_find(f, sections, header->e_shnum, SHT_SYMTAB);
	if (!table)
		table = section_find(f, sections, header->e_shnum, SHT_DYNSYM);
	if (!table)
		return;
	const Elf64_Shdr *strings = &sections[table->sh_link];
	const char *names = part(f, strings->sh_offset, strings->sh_size);
	if (!names || !strings->sh_size || names[strings->sh_size - 1])
		return;
	const Elf64_Sym *symbol = part(f, table->sh_offset, table->sh_size);
	size_t count = table->sh_size / sizeof *symbol;
	f->symbols = calloc(count + 1, sizeof *f->symbols);
	for (size_t i = 0; f->symbols && i < count; i++) {
		unsigned type = ELF64_ST_TYPE(symbol[i].st_info);
		if ((type != STT_FUNC && type != STT_NOTYPE && type != STT_GNU_IFUNC) ||
		    symbol[i].st_shndx == SHN_UNDEF || !symbol[i].st_value || symbol[i].st_name >= strings->sh_size ||
		    !names[symbol[i].st_name] || (type == STT_NOTYPE && !symbol[i].st_size))
			continue;
		f->symbols[f->count++] =
			(struct symbol){symbol[i].st_value, symbol[i].st_size, names + symbol[i].st_name};
	}
	if (f->symbols)
		qsort(f->symbols, f->count, sizeof *f->symbols, symbol_compare);
}

static struct file *file_get(const char *path) {
	for (struct file *f = files; f; f = f->next) {
		if (strcmp(f->path, path) == 0)
			return f;
	}
	struct file *f = calloc(1, sizeof *f);
	if (!f || !(f->path = strdup(path)))
		return NULL;
	f->next = files;
	files = f;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (data != MAP_FAILED) {
			f->data = data;
			f->size = (size_t)st.st_size;
			symbols_read(f);
		}
	}
	if (fd >= 0)
		close(fd);
	return f;
}

const char *elfsym_find(const char *path, uint64_t address, uint64_t *offset) {
	struct file *f = file_get(path);
	if (!f || !f->count)
		return NULL;
	size_t lo = 0, hi = f->count;
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (f->symbols[mid].address <= address)
			lo = mid;
		else
			hi = mid;
	}
	const struct symbol *s = &f->symbols[lo];
	/* Assembly has symbols without a size. */
	if (s->address > address || (s->size ? address - s->address >= s->size : address - s->address > 4096))
		return NULL;
	*offset = address - s->address;
	return s->name;
}
