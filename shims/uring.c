/* io_uring. The kernel ties a request to the kernel thread that submitted it: when that ends, the request is cancelled, whoever waits for it. So once the
 * process has a ring, no kernel thread of ours ends for being idle (m_keep_all()). One that is a pinned goroutine's own still ends with it, as a thread's
 * requests end with the thread natively. Some rings want one thread and no other; who makes or registers one is pinned to his (core/wired.c).
 *
 * Programs make the calls by syscall(), which asks here; or by liburing, whose system calls are its own instructions. Of its functions those are here
 * by which a program gets a ring, or ties it to the thread. They only mark, and forward to liburing's: to the first in the process, wherever the
 * loader has put it. dlsym(RTLD_NEXT) would not do, it sees nothing of a plug-in that brings its own liburing. Where there is none, a program found ours by
 * dlsym(), or by a weak reference, and hears what liburing says of a kernel without io_uring.
 *
 * Who makes the calls with instructions of his own, a program that liburing was linked into, is not seen. */
#include <link.h>
#include <linux/io_uring.h>

#include "../core/runtime.h"
#include "../preload/object.h"
#include "mapping.h"
#include "pinned.h"
#include "shim.h"

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1u << 12)
#endif
#define REGISTERED_FD_ONLY (1u << 15)      /* IORING_SETUP_REGISTERED_FD_ONLY, Linux 6.5: the number that comes back is the thread's */
#define USE_REGISTERED_RING (1u << 31)     /* an operation's flag; Linux 6.3 */
#define ENABLE_RINGS 12u                   /* IORING_REGISTER_ENABLE_RINGS: who does it is the single issuer */
#define RING_FDS 20u                       /* IORING_REGISTER_RING_FDS, Linux 5.18: a number that only this thread has */

static bool flags_tie(unsigned flags) {
	return flags & (IORING_SETUP_SINGLE_ISSUER | REGISTERED_FD_ONLY);
}

static bool params_tie(const struct io_uring_params *params) {
	return !address_bad(params) && flags_tie(params->flags);
}

bool uring_ties(long n, const long a[6]) {
	if (n == SYS_io_uring_setup)
		return params_tie((const struct io_uring_params *)a[1]);
	unsigned operation = (unsigned)a[1] & ~USE_REGISTERED_RING;
	return n == SYS_io_uring_register && (operation == ENABLE_RINGS || operation == RING_FDS);
}

long uring_made(long r) {
	if (r >= 0) {
		m_keep_all();
		mapping_distrust(); /* it can wake words, on behalf of who asks it to */
	}
	return r;
}

struct lookup {
	const char *name;
	uintptr_t ours;  /* an address of this library */
	void *function;
};

/* Is it in this object? By the loader's list and under its lock: a module may be unloaded at any time. */
static int look_in(struct dl_phdr_info *info, size_t size, void *arg) {
	struct lookup *l = arg;
	struct link_map like = {.l_addr = info->dlpi_addr};
	struct object o;
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + ph->p_vaddr;
		if (ph->p_type == PT_LOAD && l->ours - at < ph->p_memsz)
			return 0;
		if (ph->p_type == PT_DYNAMIC)
			like.l_ld = (ElfW(Dyn) *)at;
	}
	if (object_open(&o, &like))
		l->function = object_address(&o, l->name);
	return l->function != NULL;
}

static void *liburings(const char *name) {
	struct lookup l = {.name = name, .ours = (uintptr_t)(const void *)look_in};
	dl_iterate_phdr(look_in, &l);
	return l.function;
}

/* Made by the program, in a struct of liburing's that is nothing to us. */
struct io_uring;

/* What liburing's function of that name returns. */
#define FORWARD(name, ...)                                                    \
	(__extension__({                                                      \
		__typeof__(name) *forward = NULL;                             \
		*(void **)(void *)&forward = liburings(#name);                \
		forward ? forward(__VA_ARGS__) : -ENOSYS;                     \
	}))

SHIM int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags) {
	if (flags_tie(flags))
		pin_self();
	return (int)uring_made(FORWARD(io_uring_queue_init, entries, ring, flags));
}

SHIM int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *params) {
	if (params_tie(params))
		pin_self();
	return (int)uring_made(FORWARD(io_uring_queue_init_params, entries, ring, params));
}

SHIM int io_uring_queue_init_mem(unsigned entries, struct io_uring *ring, struct io_uring_params *params, void *memory, size_t size) {
	if (params_tie(params))
		pin_self();
	return (int)uring_made(FORWARD(io_uring_queue_init_mem, entries, ring, params, memory, size));
}

SHIM int io_uring_setup(unsigned entries, struct io_uring_params *params) {
	if (params_tie(params))
		pin_self();
	return (int)uring_made(FORWARD(io_uring_setup, entries, params));
}

SHIM int io_uring_register_ring_fd(struct io_uring *ring) {
	pin_self();
	return FORWARD(io_uring_register_ring_fd, ring);
}

SHIM int io_uring_enable_rings(struct io_uring *ring) {
	pin_self();
	return FORWARD(io_uring_enable_rings, ring);
}
