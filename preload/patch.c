/* Makes functions of libc jump to ours, so that libc's own calls of them reach us: they do not go through the PLT.
 *
 * When. While the process has one thread, at the first pthread_create: nobody else executes the code, and a process without threads
 * never comes here. Every page that is changed is prepared elsewhere, as a private copy of the same part of libc's file, made
 * executable there, and then moved over the original in one step (mremap). So
 *   - no page is writable and executable at any time (SEC-10), and none of libc's is ever not executable;
 *   - a refusal (SELinux's execmod, systemd's MemoryDenyWriteExecute, a sealed mapping) comes before anything has changed;
 *   - the mapping still names libc's file, for debuggers, profilers and crash reporters.
 *
 * What. Functions whose symbol libc exports and whose first bytes arch/ knows; see arch/CPU/patch.c. Another libc, another compiler: the
 * function is left alone. If one that the others depend on is left alone, all are.
 *
 * libc's symbols are read from its own tables (object.c). No allocation, no lock, raw system calls.
 *
 * The loader. Since glibc 2.34 ld.so takes its locks with libc's pthread_mutex_lock(), and gives them back with pthread_mutex_unlock(), by pointers that it sets when
 * libc is there and protects as it does its other constants (RELRO). Data, not code; the page is writable for a moment. */
#include "patch.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../core/chaos.h"
#include "object.h"
#include "symbols.h"

#define PAGE 4096ul
#define PAGES_MAX 16

/* A page of libc's text, and its changed copy. */
struct page {
	uintptr_t at;
	unsigned char *copy;
};

static bool one_thread(void) {
	struct stat st;
	/* Two links of a directory of its own, and one for each thread. */
	return SYS4(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &st, 0) == 0 && st.st_nlink == 3;
}

/* The segments of the object at `base`, *n of them; NULL: nothing that is known. */
static const ElfW(Phdr) * segments(uintptr_t base, int *n) {
	const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)base; /* a shared object's first segment begins with it */
	if (!base || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_phentsize != sizeof(ElfW(Phdr)))
		return NULL;
	*n = header->e_phnum;
	return (const ElfW(Phdr) *)(base + header->e_phoff);
}

/* Where libc's file holds what is mapped at `at`; -1 unknown. */
static off_t file_offset(const struct object *o, uintptr_t at) {
	int n = 0;
	const ElfW(Phdr) *ph = segments(o->map->l_addr, &n);
	for (int i = 0; i < n; i++) {
		uintptr_t start = o->map->l_addr + ph[i].p_vaddr;
		if (ph[i].p_type == PT_LOAD && ph[i].p_flags == (PF_R | PF_X) && at >= start &&
		    at + PAGE <= start + ph[i].p_filesz)
			return (off_t)(ph[i].p_offset + (at - start));
	}
	return -1;
}

/* ---- pages ---------------------------------------------------------------------------------------------------------- */

static bool page_copy(struct page *page, const struct object *o, int fd) {
	off_t offset = file_offset(o, page->at);
	if (offset < 0 || offset % (off_t)PAGE)
		return false;
	long copy = MAY_FAIL(-ENOMEM, SYS6(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, offset));
	if ((unsigned long)copy > -4096ul)
		return false;
	page->copy = (unsigned char *)copy;
	/* All of it, from memory: the file may have been replaced by another since the process started. */
	memcpy(page->copy, (const void *)page->at, PAGE);
	return true;
}

static struct page *page_of(struct page *pages, size_t *count, uintptr_t at, const struct object *o, int fd) {
	at &= ~(PAGE - 1);
	for (size_t i = 0; i < *count; i++) {
		if (pages[i].at == at)
			return &pages[i];
	}
	if (*count == PAGES_MAX)
		return NULL;
	pages[*count] = (struct page){.at = at};
	return page_copy(&pages[*count], o, fd) ? &pages[(*count)++] : NULL;
}

/* Writes p's jump into the copy of its page; sets p->from. */
static void patch_prepare(struct patch *p, const struct object *o, int fd, struct page *pages, size_t *count) {
	const ElfW(Sym) *sym = object_function(o, p->name);
	if (!sym)
		return;
	uintptr_t function = o->map->l_addr + sym->st_value;
	int skip = arch_jump_place((const unsigned char *)function, sym->st_size, p->kind, p->number);
	uintptr_t at = function + (uintptr_t)skip;
	if (skip < 0 || at % PAGE > PAGE - 16) /* not across two pages */
		return;
	struct page *page = page_of(pages, count, at, o, fd);
	if (page && arch_jump_write(page->copy + at % PAGE, at, (uintptr_t)p->to) != 0)
		p->from = (void *)function;
}

static const char *pages_commit(struct page *pages, size_t count) {
	for (size_t i = 0; i < count; i++) {
		arch_code_written(pages[i].copy, PAGE);
		if (MAY_FAIL(-EACCES, SYS3(SYS_mprotect, pages[i].copy, PAGE, PROT_READ | PROT_EXEC)) < 0)
			return "changed code may not be made executable here";
	}
	for (size_t i = 0; i < count; i++) {
		long r = MAY_FAIL(-ENOMEM, SYS5(SYS_mremap, pages[i].copy, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, pages[i].at));
		if (r < 0)
			return "libc's pages may not be replaced here";
		pages[i].copy = NULL;
	}
	return NULL;
}

static const char *patch_all(struct patch *list, size_t n, const struct object *o, int fd) {
	struct page pages[PAGES_MAX];
	size_t count = 0;
	const char *why = NULL;
	for (size_t i = 0; i < n && !why; i++) {
		patch_prepare(&list[i], o, fd, pages, &count);
		if (list[i].required && !list[i].from)
			why = "the code of this libc is not known";
	}
	if (!why)
		why = pages_commit(pages, count);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < count; j++) {
			if (pages[j].copy && ((uintptr_t)list[i].from & ~(PAGE - 1)) == pages[j].at)
				list[i].from = NULL; /* its page was not replaced */
		}
	}
	for (size_t j = 0; j < count; j++) {
		if (pages[j].copy)
			SYS2(SYS_munmap, pages[j].copy, PAGE);
	}
	return why;
}

static bool libc_open(struct object *libc) {
	/* A private symbol: no other library's can be meant. */
	const void *inside = symbols_private("__libc_early_init");
	return inside && object_open(libc, object_map(inside));
}

const char *patch_apply(struct patch *list, size_t n) {
	struct object libc;
	if (!one_thread())
		return "the process has several threads already, or no /proc";
	if (!libc_open(&libc))
		return "libc's symbol table was not found";
	long fd = MAY_FAIL(-EMFILE, SYS4(SYS_openat, AT_FDCWD, libc.map->l_name, O_RDONLY | O_CLOEXEC, 0));
	if (fd < 0)
		return "libc's file cannot be opened";
	const char *why = patch_all(list, n, &libc, (int)fd);
	SYS1(SYS_close, fd);
	return why;
}

/* The part of ld.so that holds constants which it had to compute. */
static bool loader_constants(uintptr_t *from, uintptr_t *to) {
	uintptr_t base = _r_debug.r_ldbase; /* not AT_BASE, which is 0 where ld.so was executed itself */
	int n = 0;
	const ElfW(Phdr) *ph = segments(base, &n);
	for (int i = 0; i < n; i++) {
		if (ph[i].p_type != PT_GNU_RELRO)
			continue;
		*from = (base + ph[i].p_vaddr + 7) & ~7ul;
		*to = (base + ph[i].p_vaddr + ph[i].p_memsz) & ~(PAGE - 1); /* what shares a page with variables is not protected */
		return *from < *to;
	}
	return false;
}

mutex_function *patch_libc(const char *name) {
	struct object libc;
	mutex_function *function = NULL;
	if (libc_open(&libc))
		*(void **)&function = object_address(&libc, name);
	return function;
}

bool patch_loader(const char *name, mutex_function *to, mutex_function **libc) {
	uintptr_t at, end, found = 0;
	*libc = patch_libc(name);
	if (!one_thread() || !*libc || !loader_constants(&at, &end))
		return false;
	for (; at < end; at += sizeof(uintptr_t)) {
		if (*(mutex_function **)at == *libc) {
			if (found)
				return false;
			found = at;
		}
	}
	uintptr_t page = found & ~(PAGE - 1);
	if (!found || MAY_FAIL(-EACCES, SYS3(SYS_mprotect, page, PAGE, PROT_READ | PROT_WRITE)) < 0)
		return false;
	*(mutex_function **)found = to;
	SYS3(SYS_mprotect, page, PAGE, PROT_READ);
	return true;
}
