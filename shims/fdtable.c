/* The descriptor table (see fdtable.h).
 *
 * Two levels, both mapped on first use and never unmapped: a root of 2^19 leaf pointers (4 MiB of address space, touched as far as it is
 * used) and leaves of 4,096 slots. No lock: slots change by atomic exchange and compare-and-swap; a leaf that loses the
 * race to be installed is unmapped. Lock-free readers are safe because pds are type-stable and held (netpoll.h).
 *
 * What is *not* in the table: numbers no goroutine used. A process without threads has no table at all; all that is
 * noted for it is one bit per number, "this process made the description and gave it to nobody" (`private_fds`), because such a descriptor's
 * flags can be cached once there are goroutines, while those of an inherited one can not (FD-5).
 *
 * Descriptors can be opened and closed inside libc, where no shim sees it. A pd left behind so is replaced when a
 * shim makes a descriptor of that number; it is also dropped when a call finds that the kind does not fit (fd_stale). */
#include "fdtable.h"

#include "../core/chaos.h"
#include "taskfile.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MEMORY_MAJOR 1
#define KMSG_MINOR 11

#define ROOT_LEAVES (1u << 19)
#define PRIVATE_FDS 16384

_Atomic(_Atomic(struct fd_leaf *) *) fd_root;
bool fd_users_noted;
_Atomic uint32_t fd_flags_epoch = 1; /* 0 is what a fresh pd has: nothing known */

static _Atomic uint64_t private_fds[PRIVATE_FDS / 64];
static _Atomic unsigned leaf_count; /* leaves above it were never used */
/* Children that are being made: what is made or duplicated meanwhile may be theirs, too. Dekker: prepare counts, then walks the table; who installs or
 * marks a pd does that first, then looks here. */
static _Atomic unsigned children;

/* ---- the bits ----------------------------------------------------------------------------------------------------- */

/* Relaxed throughout: a number is given out and taken back by the kernel, which orders whoever uses it. */
static bool private_get(int fd) {
	return (unsigned)fd < PRIVATE_FDS &&
	       (atomic_load_explicit(&private_fds[fd / 64], memory_order_relaxed) >> (fd % 64) & 1);
}

static void private_put(int fd, bool is_private) {
	if ((unsigned)fd >= PRIVATE_FDS || private_get(fd) == is_private)
		return;
	/* 0, 1 and 2: a vfork child in a process without goroutines, which nothing tells from its parent, moves things there. */
	if (fd <= 2 && is_private)
		return;
	if (is_private)
		atomic_fetch_or_explicit(&private_fds[fd / 64], 1ull << (fd % 64), memory_order_relaxed);
	else
		atomic_fetch_and_explicit(&private_fds[fd / 64], ~(1ull << (fd % 64)), memory_order_relaxed);
}

/* ---- the table ---------------------------------------------------------------------------------------------------- */

static void *table_map(size_t bytes) {
	long r = MAY_FAIL_UNSEEN(-ENOMEM, SYS6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE,
					       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	return (unsigned long)r > -4096UL ? NULL : (void *)r;
}

/* The slot of fd; with `make`, room for it is made. NULL: none, or no memory. */
static _Atomic(struct pd *) *table_slot(int fd, bool make) {
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_acquire), *no_root = NULL;
	if (fd < 0 || (!root && !make))
		return NULL;
	if (!root) {
		size_t bytes = ROOT_LEAVES * sizeof *root;
		if (!(root = table_map(bytes)))
			return NULL;
		/* release: zeroed pages need none, but readers pair their acquire with it all the same */
		if (!atomic_compare_exchange_strong_explicit(&fd_root, &no_root, root, memory_order_acq_rel,
							     memory_order_acquire)) {
			SYS2(SYS_munmap, root, bytes);
			root = no_root;
		}
	}
	_Atomic(struct fd_leaf *) *where = &root[(unsigned)fd / FD_LEAF];
	struct fd_leaf *leaf = atomic_load_explicit(where, memory_order_acquire), *no_leaf = NULL;
	if (!leaf) {
		if (!make || !(leaf = table_map(sizeof *leaf)))
			return NULL;
		if (!atomic_compare_exchange_strong_explicit(where, &no_leaf, leaf, memory_order_acq_rel,
							     memory_order_acquire)) {
			SYS2(SYS_munmap, leaf, sizeof *leaf);
			leaf = no_leaf;
		}
		/* release: whoever walks up to the count finds the leaf */
		unsigned count = (unsigned)fd / FD_LEAF + 1,
			 seen = atomic_load_explicit(&leaf_count, memory_order_relaxed);
		while (seen < count && !atomic_compare_exchange_weak_explicit(
					       &leaf_count, &seen, count, memory_order_release, memory_order_relaxed))
			;
	}
	return &leaf->slot[(unsigned)fd % FD_LEAF];
}

/* The caller's numbers are not those of the table: a vfork child borrows its parent's memory, but its descriptors are its own (FRK-5); so are those of a thread
 * that unshared them, and of its threads. */
static bool elsewhere(void) {
	struct g *g = tls_g;
	return unlikely(g && (g->in_vfork || g->own_files));
}

static bool table_live(void) {
	return atomic_load_explicit(&fd_root, memory_order_relaxed) != NULL;
}

/* Puts `leave` there, NULL or FD_CLOSING. */
static struct pd *table_take(int fd, struct pd *leave) {
	_Atomic(struct pd *) *slot = table_slot(fd, false);
	if (!slot || (!leave && !atomic_load_explicit(slot, memory_order_relaxed)))
		return NULL;
	/* seq_cst: the table's half of the Dekker pair with pd_hold() */
	struct pd *pd = atomic_exchange(slot, leave);
	return pd != FD_CLOSING ? pd : NULL;
}

struct pd *fd_hold_slow(int fd) {
	_Atomic(struct pd *) *slot = table_slot(fd, true);
	if (!slot || netpoll_owns_fd(fd))
		return NULL;
	for (;;) {
		struct pd *pd = atomic_load(slot);
		if (pd == FD_CLOSING)
			return NULL;
		if (!pd) {
			struct pd *made = pd_new(fd);
			if (!made)
				return NULL;
			atomic_store_explicit(&made->shared_desc, private_get(fd) ? 0 : SHARED_DUP | SHARED_PROCESS,
					      memory_order_relaxed);
			if (unlikely(fd_users_noted)) /* what was before nobody knows */
				atomic_store_explicit(&made->user, FD_USERS_MANY, memory_order_relaxed);
			if (!atomic_compare_exchange_strong(slot, &pd, made)) {
				pd_close(made);
				continue;
			}
			pd = made;
		}
		pd_hold(pd);
		if (atomic_load(slot) == pd)
			return pd;
		pd_drop(pd);
	}
}

struct pd *fd_hold_again(int fd) {
	static struct pd closed = {.fd = -1, .kind = KIND_ANON, .unpollable = true, .refs = 1, .waiters = {.next = &closed.waiters, .prev = &closed.waiters}};
	struct pd *pd = fd_hold(fd);
	if (unlikely(!pd))
		pd_hold(pd = &closed);
	return pd;
}

/* Takes the pd out if it is still there, and lets it go. Its number does not name its descriptor any more, so that neither a ghost
 * nor a removal from epoll can be made through it. */
static void table_discard(struct pd *pd) {
	__atomic_store_n(&pd->fd, -1, __ATOMIC_RELAXED);
	pd_close(pd);
}

void fd_stale(int fd, struct pd *pd) {
	_Atomic(struct pd *) *slot = table_slot(fd, false);
	if (slot && atomic_compare_exchange_strong(slot, &pd, NULL))
		table_discard(pd);
}

/* ---- what it is --------------------------------------------------------------------------------------------------- */

static int socket_option(int fd, int option) {
	int value = -1;
	socklen_t size = sizeof value;
	return SYS5(SYS_getsockopt, fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

/* Somebody has set SO_RCVLOWAT of a socket: from then on each new pd of one asks for it. Relaxed: who uses a socket comes after who set its options. */
static _Atomic bool lowat_used;

static void lowat_ask(int fd, struct pd *pd) {
	if (fd_is_socket(pd_kind(pd)) && socket_option(fd, SO_RCVLOWAT) > 1)
		pd_spare_set(pd, SPARE_BLOCKS);
}

static void lowat_ask_name(int fd, struct pd *pd) {
	(void)fd;
	lowat_ask(__atomic_load_n(&pd->fd, __ATOMIC_RELAXED), pd); /* another's by now: then it is told too much, or its own */
}

static inline void lowat_look(int fd, struct pd *pd) {
	if (unlikely(atomic_load_explicit(&lowat_used, memory_order_relaxed)))
		lowat_ask(fd, pd);
}

void fd_lowat_set(int fd) {
	atomic_store_explicit(&lowat_used, true, memory_order_relaxed);
	if (!elsewhere())
		fd_each_name(fd, lowat_ask_name);
}

enum fd_kind fd_socket_kind(int domain, int type, int protocol) {
	bool inet = domain == AF_INET || domain == AF_INET6;
	type &= 0xf;
	if (type == SOCK_STREAM)
		return inet && (protocol == 0 || protocol == IPPROTO_TCP) ? KIND_TCP : KIND_STREAM;
	if (inet)
		return KIND_INET;
	return (domain == AF_UNIX && type == SOCK_DGRAM) || domain == AF_NETLINK ? KIND_UNIX_DGRAM : KIND_MESSAGE;
}

/* KIND_UNKNOWN: *closed says whether it is open. A filter of the thread's own (seccomp) may refuse the question about one that is. */
static enum fd_kind kind_of(int fd, bool *closed) {
	struct stat st;
	long r = SYS2(SYS_fstat, fd, &st);
	*closed = r == -EBADF;
	if (r < 0)
		return KIND_UNKNOWN;
	switch (st.st_mode & S_IFMT) {
	case S_IFSOCK:
		return fd_socket_kind(socket_option(fd, SO_DOMAIN), socket_option(fd, SO_TYPE),
				      socket_option(fd, SO_PROTOCOL));
	case S_IFIFO:
		return KIND_PIPE;
	case S_IFCHR:
		/* The kernel's log waits for readers, and says nothing of writers, which it never makes wait. */
		if (st.st_rdev == makedev(MEMORY_MAJOR, KMSG_MINOR))
			return KIND_ANON;
		/* Memory devices (/dev/zero, /dev/null, /dev/urandom) never wait, and read short under RWF_NOWAIT where a plain read does
		 * not. */
		return major(st.st_rdev) == MEMORY_MAJOR ? KIND_FILE : KIND_CHAR;
	case S_IFREG:
		return st.st_nlink == 0 && taskfile_is(fd) ? KIND_TASK : KIND_FILE;
	case S_IFDIR:
	case S_IFBLK:
	case S_IFLNK:
		return KIND_FILE;
	default:
		return KIND_ANON; /* anonymous inodes have no type */
	}
}

enum fd_kind fd_classify(struct pd *pd, int fd) {
	bool closed;
	enum fd_kind kind = kind_of(fd, &closed);
	if (closed)
		fd_stale(fd, pd);
	else if (kind != KIND_UNKNOWN) { /* else nothing is kept: a thread without such a filter shall find it out */
		atomic_store_explicit(&pd->kind, kind, memory_order_relaxed); /* a race writes the same value */
		lowat_look(fd, pd);
	}
	return kind;
}

/* ---- numbers come and go ------------------------------------------------------------------------------------- */

void fd_paired(int a, int b) {
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_acquire);
	if (!root || elsewhere())
		return;
	struct fd_leaf *leaf_a = atomic_load_explicit(&root[(unsigned)a / FD_LEAF], memory_order_acquire);
	struct fd_leaf *leaf_b = atomic_load_explicit(&root[(unsigned)b / FD_LEAF], memory_order_acquire);
	if (!leaf_a || !leaf_b)
		return;
	/* relaxed: hints */
	atomic_store_explicit(&leaf_a->peer[(unsigned)a % FD_LEAF], b + 1, memory_order_relaxed);
	atomic_store_explicit(&leaf_b->peer[(unsigned)b % FD_LEAF], a + 1, memory_order_relaxed);
}

static void pair_forget(int fd) {
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_acquire);
	struct fd_leaf *leaf = root ? atomic_load_explicit(&root[(unsigned)fd / FD_LEAF], memory_order_acquire) : NULL;
	_Atomic int32_t *peer = leaf ? &leaf->peer[(unsigned)fd % FD_LEAF] : NULL;
	if (peer && atomic_load_explicit(peer, memory_order_relaxed) != 0)
		atomic_store_explicit(peer, 0, memory_order_relaxed);
}

/* A pd found under a number that the kernel just gave out belongs to a descriptor that was closed where no shim saw it. */
static void number_reset(int fd, bool is_private) {
	fd_highest_note(fd);
	private_put(fd, is_private);
	pair_forget(fd);
	struct pd *old = table_take(fd, NULL);
	if (unlikely(old != NULL))
		table_discard(old);
}

/* The first pd under a number; somebody who guessed the number may have been faster, and then found out everything by himself. */
static void number_install(int fd, struct pd *pd) {
	struct pd *none = NULL;
	_Atomic(struct pd *) *slot = table_slot(fd, true);
	if (!slot || !atomic_compare_exchange_strong(slot, &none, pd))
		pd_close(pd);
	else if (unlikely(atomic_load(&children) != 0)) /* seq_cst, both: see there */
		fd_shared(fd, SHARED_PROCESS);
}

/* The timeout of a new socket; -1: ask. An accepted TCP connection has what its listener had when it came, which is none if that has never had one. Of a
 * listener that others know, or of another family (a Unix socket inherits nothing), that is not known. */
static int64_t inherited(enum fd_kind kind, struct pd *like, _Atomic int64_t *timeout) {
	if (!like)
		return 0;
	if (kind == KIND_TCP && unlikely(atomic_load_explicit(timeout, memory_order_relaxed) == SOCKET_TIMEOUT_NOW))
		return SOCKET_TIMEOUT_NOW;
	bool never = kind == KIND_TCP && atomic_load_explicit(&like->shared_desc, memory_order_relaxed) == 0 &&
		     atomic_load_explicit(timeout, memory_order_relaxed) == 0;
	return never ? 0 : -1;
}

void fd_made(int fd, enum fd_kind kind, int flags, struct pd *like) {
	struct pd *pd;
	if (elsewhere())
		return;
	number_reset(fd, true);
	if (kind == KIND_UNKNOWN || !g_goroutine() || !(pd = pd_new(fd)))
		return; /* it will be looked at when it is used */
	atomic_store_explicit(&pd->kind, kind, memory_order_relaxed);
	uint32_t fl = FL_VALID | (flags & O_NONBLOCK ? FL_NONBLOCK : 0) | (flags & O_DIRECT ? FL_PACKET : 0);
	__atomic_store_n(&pd->spare, flags & O_CLOEXEC ? SPARE_CLOEXEC : 0, __ATOMIC_RELAXED);
	/* relaxed: nobody knows it yet; number_install() publishes it */
	atomic_store_explicit(&pd->fl, fl, memory_order_relaxed);
	atomic_store_explicit(&pd->fl_epoch, atomic_load_explicit(&fd_flags_epoch, memory_order_relaxed),
			      memory_order_relaxed);
	atomic_store_explicit(&pd->rcv_timeout, inherited(kind, like, like ? &like->rcv_timeout : NULL), memory_order_relaxed);
	atomic_store_explicit(&pd->snd_timeout, inherited(kind, like, like ? &like->snd_timeout : NULL), memory_order_relaxed);
	if (like)
		lowat_look(fd, pd);
	number_install(fd, pd);
}

void fd_shared(int fd, int how) {
	if (fd < 0)
		return;
	if (elsewhere())
		how = SHARED_PROCESS; /* the number it has now may be left open, or pass it on */
	else
		private_put(fd, false);
	struct pd *pd = fd_lookup(fd);
	if (!pd)
		return; /* made later, it will count as shared with everybody */
	/* seq_cst, both: see `children` */
	atomic_fetch_or(&pd->shared_desc, how);
	if (unlikely(atomic_load(&children) != 0))
		atomic_fetch_or_explicit(&pd->shared_desc, SHARED_PROCESS, memory_order_relaxed);
}

void fd_cloexec(int fd, bool closes) {
	if (!closes)
		fd_shared(fd, SHARED_PROCESS); /* that is what it is asked for */
	struct pd *pd = elsewhere() ? NULL : fd_lookup(fd);
	if (!pd)
		return;
	/* relaxed: two threads that disagree about one number have marked it as shared */
	if (closes)
		pd_spare_set(pd, SPARE_CLOEXEC);
	else
		pd_spare_clear(pd, SPARE_CLOEXEC);
}

void fd_duplicated(int old, int fd) {
	if (old == fd || elsewhere())
		return;
	number_reset(fd, false);
	fd_shared(old, SHARED_DUP);
	/* Not held: should it be another's by now, the new pd is too cautious about sharing at worst, or of a wrong kind (fd_stale). */
	struct pd *from = fd_lookup(old), *pd;
	if (!from || pd_kind(from) == KIND_UNKNOWN || !(pd = pd_new(fd)))
		return;
	atomic_store_explicit(&pd->kind, pd_kind(from), memory_order_relaxed);
	atomic_store_explicit(&pd->shared_desc,
			      SHARED_DUP | atomic_load_explicit(&from->shared_desc, memory_order_relaxed),
			      memory_order_relaxed);
	lowat_look(fd, pd);
	number_install(fd, pd);
}

void fd_received(int fd) {
	if (!elsewhere())
		number_reset(fd, false);
}

static void number_close(int fd, struct pd *leave) {
	private_put(fd, false);
	struct pd *pd = table_take(fd, leave);
	if (pd || unlikely(atomic_load_explicit(&fd_highest_due, memory_order_relaxed)))
		fd_highest_note(fd); /* libc may have opened it */
	if (pd)
		pd_close(pd);
}

void fd_closing(int fd) {
	if (!elsewhere())
		number_close(fd, FD_CLOSING);
}

bool fd_is_closing(int fd) {
	_Atomic(struct pd *) *slot = table_slot(fd, false);
	return slot && atomic_load(slot) == FD_CLOSING;
}

void fd_closed(int fd) {
	_Atomic(struct pd *) *slot = elsewhere() ? NULL : table_slot(fd, false);
	struct pd *closing = FD_CLOSING;
	/* If somebody was given the number already, he has put his own there. */
	if (slot && atomic_load_explicit(slot, memory_order_relaxed) == FD_CLOSING)
		atomic_compare_exchange_strong(slot, &closing, NULL);
}

void fd_replacing(int fd) {
	/* Should dup2 fail after all, the registration must not outlive the pd: have it removed. */
	if (elsewhere())
		return;
	struct pd *pd = fd_lookup(fd);
	if (pd)
		atomic_fetch_or_explicit(&pd->shared_desc, SHARED_DUP, memory_order_relaxed);
	fd_closing(fd);
}

void fd_closing_range(unsigned first, unsigned last) {
	if (elsewhere())
		return;
	for (unsigned fd = first; fd < PRIVATE_FDS && fd <= last; fd++)
		private_put((int)fd, false);
	if (!table_live())
		return;
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_acquire);
	unsigned leaves = atomic_load_explicit(&leaf_count, memory_order_acquire);
	for (unsigned leaf = first / FD_LEAF; leaf < leaves && leaf <= last / FD_LEAF; leaf++) {
		if (!atomic_load_explicit(&root[leaf], memory_order_acquire))
			continue;
		unsigned from = leaf * FD_LEAF, to = from + FD_LEAF - 1;
		for (unsigned fd = from > first ? from : first; fd <= to && fd <= last; fd++)
			number_close((int)fd, NULL);
	}
}

/* Not held: what it was looked at for may be over. */
static int next_known(int after, bool (*is)(struct pd *pd, uint32_t what), uint32_t what) {
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_acquire);
	unsigned end = root ? atomic_load_explicit(&leaf_count, memory_order_acquire) * FD_LEAF : 0;
	for (unsigned fd = (unsigned)(after + 1); fd < end; fd++) {
		if (!atomic_load_explicit(&root[fd / FD_LEAF], memory_order_acquire)) {
			fd |= FD_LEAF - 1;
			continue;
		}
		struct pd *pd = fd_lookup((int)fd);
		if (pd && is(pd, what))
			return (int)fd;
	}
	return -1;
}

static bool is_socket_used_by(struct pd *pd, uint32_t id) {
	return fd_is_socket(pd_kind(pd)) && atomic_load_explicit(&pd->user, memory_order_relaxed) == id;
}

/* A pd whose only user asks is closed by that user, or by a stranger who takes the risk. */
int fd_next_used_by(uint32_t id, int after) {
	return next_known(after, is_socket_used_by, id);
}

static bool is_of_kinds(struct pd *pd, uint32_t kinds) {
	return 1u << pd_kind(pd) & kinds;
}

int fd_next_of_kinds(uint32_t kinds, int after) {
	return next_known(after, is_of_kinds, kinds);
}

bool fd_same_socket(int a, int b) {
	struct stat of_a, of_b;
	return a == b || (SYS2(SYS_fstat, a, &of_a) == 0 && SYS2(SYS_fstat, b, &of_b) == 0 && of_a.st_ino == of_b.st_ino && of_a.st_dev == of_b.st_dev);
}

void fd_each_name(int fd, void (*f)(int fd, struct pd *pd)) {
	struct pd *own = fd_lookup(fd);
	if (own)
		f(fd, own);
	if (own ? !(atomic_load_explicit(&own->shared_desc, memory_order_relaxed) & SHARED_DUP) : private_get(fd))
		return;
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_acquire);
	unsigned end = root ? atomic_load_explicit(&leaf_count, memory_order_acquire) * FD_LEAF : 0;
	for (unsigned other = 0; other < end; other++) {
		if (!atomic_load_explicit(&root[other / FD_LEAF], memory_order_acquire)) {
			other |= FD_LEAF - 1;
			continue;
		}
		struct pd *pd = fd_lookup((int)other);
		if (pd && pd != own && fd_is_socket(pd_kind(pd)) && atomic_load_explicit(&pd->shared_desc, memory_order_relaxed) & SHARED_DUP)
			f(fd, pd);
	}
}

/* ---- fork ---------------------------------------------------------------------------------------------------------- */

static void child_prepare(bool execs) {
	for (unsigned i = 0; i < PRIVATE_FDS / 64; i++)
		atomic_store_explicit(&private_fds[i], 0, memory_order_relaxed);
	atomic_fetch_add(&children, 1); /* seq_cst, see there */
	if (!table_live())
		return;
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_acquire);
	unsigned leaves = atomic_load_explicit(&leaf_count, memory_order_acquire);
	for (unsigned i = 0; i < leaves; i++) {
		struct fd_leaf *leaf = atomic_load_explicit(&root[i], memory_order_acquire);
		for (unsigned j = 0; leaf && j < FD_LEAF; j++) {
			struct pd *pd = atomic_load(&leaf->slot[j]);
			if (pd == FD_CLOSING)
				continue;
			/* A duplicate may be open where this number is closed. */
			bool goes = execs && pd && pd_spare(pd) & SPARE_CLOEXEC &&
				    !(atomic_load(&pd->shared_desc) & SHARED_DUP);
			if (pd && !goes)
				atomic_fetch_or_explicit(&pd->shared_desc, SHARED_DUP | SHARED_PROCESS,
							 memory_order_relaxed);
		}
	}
}

void fdtable_fork_prepare(void) {
	child_prepare(false);
}

void fdtable_spawn_prepare(void) {
	child_prepare(true);
}

void fdtable_fork_parent(void) {
	atomic_fetch_sub_explicit(&children, 1, memory_order_release);
}

/* The parent's epoll is gone and its pds may be locked or half-linked: forget them all. They are not given back; a forked child that
 * makes threads and forks in turn loses one pd per open descriptor and generation. */
void fdtable_fork_child(void) {
	fdsize_fork_child();
	atomic_store_explicit(&children, 0, memory_order_relaxed);
	_Atomic(struct fd_leaf *) *root = atomic_load_explicit(&fd_root, memory_order_relaxed);
	if (!root)
		return;
	unsigned leaves = atomic_exchange_explicit(&leaf_count, 0, memory_order_relaxed);
	for (unsigned i = 0; i < leaves; i++) {
		struct fd_leaf *leaf = atomic_load_explicit(&root[i], memory_order_relaxed);
		if (leaf)
			SYS2(SYS_munmap, leaf, sizeof *leaf);
	}
	SYS2(SYS_munmap, root, ROOT_LEAVES * sizeof *root);
	atomic_store_explicit(&fd_root, NULL, memory_order_relaxed);
}

/* ---- O_NONBLOCK ---------------------------------------------------------------------------------------------------- */

uint32_t fd_flags(struct pd *pd, int fd) {
	uint32_t known = fd_flags_known(pd);
	if (likely(known & FL_VALID))
		return known;
	/* acquire, all: the epoch and the count of changes are read before the kernel is asked, and compared when its answer is kept. A change
	 * that came in between has moved one of them, so an outdated answer is either not kept or not believed. */
	uint32_t epoch = atomic_load_explicit(&fd_flags_epoch, memory_order_acquire);
	uint32_t was = atomic_load_explicit(&pd->fl, memory_order_acquire);
	long r = SYS2(SYS_fcntl, fd, F_GETFL);
	if (r < 0)
		return 0;
	uint32_t fl = (was & ~(FL_CHANGE - 1u)) | FL_VALID | (r & O_NONBLOCK ? FL_NONBLOCK : 0) |
		      (r & O_DIRECT ? FL_PACKET : 0) | (r & O_ASYNC ? FL_ASYNC : 0);
	if (atomic_compare_exchange_strong_explicit(&pd->fl, &was, fl, memory_order_acq_rel, memory_order_relaxed))
		atomic_store_explicit(&pd->fl_epoch, epoch, memory_order_release);
	return fl;
}

void fd_flags_changed(int fd) {
	if (!table_live())
		return;
	if (elsewhere()) {
		fd_shared(fd, SHARED_PROCESS);
		return;
	}
	struct pd *pd = fd_lookup(fd);
	if (pd) {
		uint32_t was = atomic_load_explicit(&pd->fl, memory_order_relaxed);
		while (!atomic_compare_exchange_weak_explicit(&pd->fl, &was, (was & ~(FL_CHANGE - 1u)) + FL_CHANGE,
							      memory_order_acq_rel, memory_order_relaxed))
			;
	}
	/* Other numbers may name the same description: what is known of all others is outdated with it. */
	if (pd ? atomic_load_explicit(&pd->shared_desc, memory_order_relaxed) != 0 : !private_get(fd))
		atomic_fetch_add_explicit(&fd_flags_epoch, 1, memory_order_acq_rel);
}
