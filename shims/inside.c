/* libc's own calls: stdio on a pipe, the resolver's poll(), syslog's send() do not go through the PLT, and libc's locks (streams, malloc's
 * arenas, and some 60 others) wait in the kernel. Unseen, each blocks its kernel thread until sysmon takes the P away, 10 ms later;
 * 1,000 goroutines that print to one stream at GOMAXPROCS=1 took 8 ms a line. So the functions behind them are made to jump here
 * (preload/patch.c) when the runtime starts. Where that is refused, sysmon remains the net.
 *
 * Calls. inside_NAME() is what libc's own call of NAME, and any other that ends in libc, reaches now. On a goroutine it is the shim. Everybody
 * else, and a goroutine that must not park at this moment, gets twin_NAME(): what libc's function did, written again, since that can no
 * longer be entered; real.NAME is the twin, too. A goroutine must not park
 *   - inside a bracketed call (real.system(), ...): libc may have set the kernel thread's signal mask in there;
 *   - in the runtime, in a vfork child, between the fork handlers.
 *
 * Descriptors. fclose(), closedir() and the resolver close with a function of libc's own, freopen() replaces with dup3(): the table of
 * descriptors must hear of it, or the next owner of the number would wait with a registration that is gone. (What libc opens needs no
 * word: the table asks when it meets a new number. Sockets are told all the same: syslog() without anybody who listens makes one for each message, below a lock, and
 * asking takes four system calls.) The child of posix_spawn() runs this code, too, in our memory and with our TLS, and
 * closes what is its own: it is told by its process id.
 *
 * Locks. libc's low-level lock is a word: 0 free, 1 held, 2 held and somebody may wait. Who waits stores 2, sleeps while it is 2, and takes
 * the lock with 2; who finds 2 when it releases wakes one. In this libc the two slow halves are functions of their own everywhere
 * (__lll_lock_wait_private, __lll_lock_wake_private; objdump finds no other wait or wake on such words), so both halves are ours, or none.
 * Goroutines wait in the parking lot, on the word's address. Everybody else waits in the kernel, counted in kernel_waiters, and a
 * release looks at both places: waking one too many is harmless, as each looks again and marks the lock anew.
 *     waiter:    kernel_waiters++ ; exchange word, 2 ; sleep        releaser:  exchange word, 0 ; load kernel_waiters
 * A releaser that found the waiter's 2 sees the waiter's count: both of the waiter's operations are seq_cst, and there is a fence before the load.
 * The lot is looked at even if only kernel threads can wait: that costs a bucket's lock on a path that has a system call anyway.
 *
 * The loader's locks are libc's mutexes, held while a module is loaded or a thread made, and libc loads modules by itself: libgcc_s for the first
 * pthread_exit(), a converter for iconv(). Who holds one may park, in a malloc of the program's, say. If those who want it waited in the kernel, they would use
 * up the Ms, and the maker waits for such a lock as well when it makes one: then nobody could run the holder. So a goroutine that finds one taken asks
 * again later, as a goroutine. It does not sleep on the mutex, because libc releases some of them itself, and would wake nobody of ours.
 *
 * What stays with sysmon, and why: pthread_mutex_lock() called from within libc, whose inner parts
 * (robust, shared, PI) we need and which is no wrapper; pthread_once() and the rwlocks of the locale code, which wait for a moment only.
 *
 * Errno: the lock functions change none. No lock of our own. */
#include "inside.h"

#include <linux/futex.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>

#include "../core/futex.h"
#include "../core/runtime.h"
#include "io.h"
#include "modules.h"
#include "patch.h"
#include "process.h"
#include "settings.h"

/* May the caller, somewhere inside libc, park? NULL: no. */
static struct g *inside_g(void) {
	struct g *g = io_g();
	if (!g || g->in_rt || atomic_load_explicit(&g->in_syscall, memory_order_relaxed) || process_in_fork())
		return NULL;
	return g;
}

/* ---- libc's functions, again ---------------------------------------------------------------------------------------- */

/* A cancellation point as libc makes one: while the call waits, cancellation acts at once. */
#define TWIN_CALL(call)                                                                      \
	(__extension__({                                                                     \
		long twin_result;                                                            \
		if (__libc_single_threaded) {                                                \
			twin_result = (call);                                                \
		} else {                                                                     \
			int twin_type;                                                       \
			real.pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &twin_type); \
			twin_result = (call);                                                \
			real.pthread_setcanceltype(twin_type, NULL);                         \
		}                                                                            \
		sig_raised_by(io_g(), twin_result);                                          \
		sys_ret(twin_result);                                                        \
	}))

#define INSIDE(ret, name, params, args, raw)                      \
	static ret twin_##name params {                           \
		return (ret)TWIN_CALL(raw);                       \
	}                                                         \
	static ret inside_##name params {                         \
		return inside_g() ? name args : twin_##name args; \
	}

INSIDE(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n), SYS3(SYS_read, fd, buf, n))
INSIDE(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n), SYS3(SYS_write, fd, buf, n))
INSIDE(ssize_t, readv, (int fd, const struct iovec *iov, int n), (fd, iov, n), SYS3(SYS_readv, fd, iov, n))
INSIDE(ssize_t, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n), SYS3(SYS_writev, fd, iov, n))
INSIDE(int, poll, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout), arch_poll(fds, n, timeout))
INSIDE(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags),
       SYS6(SYS_recvfrom, fd, buf, n, flags, NULL, NULL))
INSIDE(ssize_t, recvfrom, (int fd, void *buf, size_t n, int flags, __SOCKADDR_ARG addr, socklen_t *size),
       (fd, buf, n, flags, addr, size), SYS6(SYS_recvfrom, fd, buf, n, flags, addr.__sockaddr__, size))
INSIDE(ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags),
       SYS6(SYS_sendto, fd, buf, n, flags, NULL, 0))
INSIDE(ssize_t, sendto, (int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG addr, socklen_t size),
       (fd, buf, n, flags, addr, size), SYS6(SYS_sendto, fd, buf, n, flags, addr.__sockaddr__, size))
INSIDE(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags),
       SYS3(SYS_sendmsg, fd, msg, flags))
INSIDE(int, sendmmsg, (int fd, struct mmsghdr *vec, unsigned n, int flags), (fd, vec, n, flags),
       SYS4(SYS_sendmmsg, fd, vec, n, flags))
INSIDE(int, connect, (int fd, __CONST_SOCKADDR_ARG addr, socklen_t size), (fd, addr, size),
       SYS3(SYS_connect, fd, addr.__sockaddr__, size))
INSIDE(int, accept, (int fd, __SOCKADDR_ARG addr, socklen_t *size), (fd, addr, size),
       SYS3(SYS_accept, fd, addr.__sockaddr__, size))
INSIDE(pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *usage), (pid, status, options, usage),
       SYS4(SYS_wait4, pid, status, options, usage))

/* ---- descriptors ------------------------------------------------------------------------------------------------------- */

static int32_t own_pid;

/* Is the table of descriptors about the caller's? */
static bool table_is_ours(void) {
	struct g *g = tls_g;
	return !(g && g->in_vfork) && !process_in_vfork() && (int32_t)SYS0(SYS_getpid) == own_pid;
}

static int twin_close(int fd) {
	return (int)TWIN_CALL(SYS1(SYS_close, fd));
}

static int inside_close(int fd) {
	if (inside_g())
		return close(fd);
	bool ours = table_is_ours();
	if (ours)
		fd_closing(fd);
	int r = twin_close(fd);
	if (ours)
		fd_closed(fd);
	return r;
}

/* No cancellation point; it may be called with malloc's lock held, so it never parks. */
static int inside_close_nocancel(int fd) {
	bool ours = table_is_ours();
	if (ours)
		fd_closing(fd);
	long r = SYS1(SYS_close, fd);
	if (ours)
		fd_closed(fd);
	return (int)sys_ret(r);
}

static int twin_socket(int domain, int type, int protocol) {
	return (int)sys_ret(SYS3(SYS_socket, domain, type, protocol));
}

static int inside_socket(int domain, int type, int protocol) {
	return inside_g() ? socket(domain, type, protocol) : twin_socket(domain, type, protocol);
}

static int twin_dup2(int old, int fd) {
	return (int)sys_ret(arch_dup2(old, fd));
}

static int inside_dup2(int old, int fd) {
	return table_is_ours() ? dup2(old, fd) : twin_dup2(old, fd);
}

static int twin_dup3(int old, int fd, int flags) {
	return (int)sys_ret(SYS3(SYS_dup3, old, fd, flags));
}

static int inside_dup3(int old, int fd, int flags) {
	return table_is_ours() ? dup3(old, fd, flags) : twin_dup3(old, fd, flags);
}

/* ---- locks --------------------------------------------------------------------------------------------------------------- */

static _Atomic uint32_t kernel_waiters;

/* A thread that cannot park. */
static void lock_wait_kernel(_Atomic uint32_t *word) {
	atomic_fetch_add(&kernel_waiters, 1); /* seq_cst: see the top */
	while (atomic_exchange(word, 2) != 0)
		SYS4(SYS_futex, word, FUTEX_WAIT_PRIVATE, 2, 0);
	atomic_fetch_sub_explicit(&kernel_waiters, 1, memory_order_relaxed);
}

/* A goroutine between the fork handlers: signals are blocked on this kernel thread, so it must stay on it. The P goes; the next park finds
 * the goroutine another one. */
static void lock_wait_forking(struct g *g, _Atomic uint32_t *word) {
	syscall_enter_blocking(g);
	lock_wait_kernel(word);
	atomic_store_explicit(&g->in_syscall, 0, memory_order_relaxed);
}

static void lock_wait(_Atomic uint32_t *word) {
	struct g *g = inside_g();
	if (unlikely(!g)) {
		g = io_g();
		if (g && !g->in_rt && process_in_fork())
			lock_wait_forking(g, word);
		else
			lock_wait_kernel(word);
		return;
	}
	/* acquire: pairs with the release in libc's unlock */
	while (atomic_exchange_explicit(word, 2, memory_order_acquire) != 0) {
		if (futex_wait(word, 2, -1, FUTEX_ANY, true, "libc lock") == -EINTR)
			shim_interrupted(
				g, true); /* handlers run while a thread waits for such a lock, as in the kernel */
	}
}

/* A thread that has no G, or must not use the one it has: a foreign one that ends (a G for it would be made for ever, with libc's loader
 * lock taken, below whatever lock is being released), an M on its way out, a vfork child. It borrows one for the wake-up. No
 * handler may see that. */
static void wake_borrowed(_Atomic uint32_t *word) {
	struct g *mine = tls_g;
	struct g borrowed = {.kind = G_FOREIGN, .in_rt = 1, .state = GS_RUNNING};
	uint64_t all = ~(SIG_NEVER_BLOCKED | arch_signals_open), old;
	SYS4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, 8);
	borrowed.ctx.tp = arch_tp();
	tls_g = &borrowed;
	futex_wake(word, 1, FUTEX_ANY);
	tls_g = mine;
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
}

/* Between the fork handlers, and inside a bracketed call, no handler of a signal may run, so the runtime is not left in here. In a fork's
 * child, until it is repaired, there is nobody to wake, and a bucket's lock may be held by the dead (libc releases its list of fork handlers
 * in there). */
static void wake_quietly(struct g *g, _Atomic uint32_t *word) {
	if (process_in_fork() && (int32_t)SYS0(SYS_getpid) != own_pid)
		return;
	in_rt_up(g);
	futex_wake(word, 1, FUTEX_ANY);
	in_rt_drop(g);
}

static void lock_wake(_Atomic uint32_t *word) {
	struct g *g = tls_g;
	arch_rmw_fence(); /* libc's exchange, which only releases: see the top */
	/* The kernel's first: a goroutine may give way when it has looked at the lot, and to go on needs an M, which the maker may be about to make, and he waits here. */
	if (unlikely(atomic_load(&kernel_waiters) != 0))
		SYS3(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
	if (unlikely(!g) || unlikely(g->in_vfork))
		wake_borrowed(word);
	else if (unlikely(process_in_fork()) || unlikely(atomic_load_explicit(&g->in_syscall, memory_order_relaxed)))
		wake_quietly(g, word);
	else
		futex_wake(word, 1, FUTEX_ANY);
}

#define LOADER_LOOK_NS 50000 /* the first pause; they double, up to 16 times as much, and as much more as there are others */
#define LOADER_CROWD 32
static _Atomic uint32_t loader_waiters;

static mutex_function *loader_mutex_lock, *loader_mutex_trylock, *loader_mutex_unlock; /* libc's */

static int loader_wait(pthread_mutex_t *m) {
	struct g *g = inside_g();
	if (!g)
		return loader_mutex_lock(m);
	int r = loader_mutex_trylock(m);
	if (likely(r != EBUSY))
		return r;
	/* relaxed: it only says how many look at the lock */
	uint32_t others = atomic_fetch_add_explicit(&loader_waiters, 1, memory_order_relaxed);
	for (int64_t pause = LOADER_LOOK_NS; (r = loader_mutex_trylock(m)) == EBUSY; others = atomic_load_explicit(&loader_waiters, memory_order_relaxed)) {
		futex_nap(pause, "loader lock");
		if (pause < 16 * LOADER_LOOK_NS * (1 + others / LOADER_CROWD))
			pause *= 2;
	}
	atomic_fetch_sub_explicit(&loader_waiters, 1, memory_order_relaxed);
	return r;
}

/* Called by ld.so, with its callers' errno. */
static int loader_lock(pthread_mutex_t *m) {
	int r = loader_wait(m);
	modules_locked(m);
	return r;
}

static int loader_unlock(pthread_mutex_t *m) {
	modules_unlocking(m);
	return loader_mutex_unlock(m);
}

void inside_fork_child(void) {
	atomic_store_explicit(&loader_waiters, 0, memory_order_relaxed);
	atomic_store_explicit(&kernel_waiters, 0, memory_order_relaxed);
	own_pid = (int32_t)SYS0(SYS_getpid);
}

/* ---- start ------------------------------------------------------------------------------------------------------------------ */

#define WRAPPER(name, number) \
	{ #name, (void *)inside_##name, ARCH_WRAPPER, number, false, NULL }

/* The locks first: without them a stream's owner that parks in write() would make more kernel threads wait than before. */
static struct patch patches[] = {
	{"__lll_lock_wake_private", (void *)lock_wake, ARCH_LOCK_WAKE, SYS_futex, true, NULL},
	{"__lll_lock_wait_private", (void *)lock_wait, ARCH_LOCK_WAIT, SYS_futex, true, NULL},
	WRAPPER(read, SYS_read),
	WRAPPER(write, SYS_write),
	WRAPPER(readv, SYS_readv),
	WRAPPER(writev, SYS_writev),
	WRAPPER(poll, ARCH_SYS_POLL),
	WRAPPER(recv, SYS_recvfrom),
	WRAPPER(recvfrom, SYS_recvfrom),
	WRAPPER(send, SYS_sendto),
	WRAPPER(sendto, SYS_sendto),
	WRAPPER(sendmsg, SYS_sendmsg),
	WRAPPER(sendmmsg, SYS_sendmmsg),
	WRAPPER(connect, SYS_connect),
	WRAPPER(accept, SYS_accept),
	WRAPPER(wait4, SYS_wait4),
	WRAPPER(close, SYS_close),
	WRAPPER(socket, SYS_socket),
	WRAPPER(dup2, ARCH_SYS_DUP2),
	WRAPPER(dup3, SYS_dup3),
	{"__close_nocancel", (void *)inside_close_nocancel, ARCH_WRAPPER, SYS_close, true, NULL},
};

#define PATCH_COUNT (sizeof patches / sizeof patches[0])

/* real.NAME still leads to libc's function (or to another preloaded library's, which knows how to go on): not into ourselves. */
static void real_redirect(void) {
	const struct {
		void **slot;
		void *twin;
	} twins[] = {
#define TWIN(name) {(void **)(void *)&real.name, (void *)twin_##name}
		TWIN(read),     TWIN(write), TWIN(readv),  TWIN(writev),  TWIN(poll),     TWIN(recv),
		TWIN(recvfrom), TWIN(send),  TWIN(sendto), TWIN(sendmsg), TWIN(sendmmsg), TWIN(connect),
		TWIN(accept),   TWIN(wait4), TWIN(close),  TWIN(socket),  TWIN(dup2),    TWIN(dup3),
	};
	for (size_t i = 0; i < PATCH_COUNT; i++) {
		for (size_t j = 0; j < sizeof twins / sizeof twins[0]; j++) {
			if (patches[i].from && *twins[j].slot == patches[i].from)
				*twins[j].slot = twins[j].twin;
		}
	}
}

static bool sees_modules;

/* Refused: as without; sysmon takes the P of who waits there. */
static void loader_patch(void) {
	loader_mutex_trylock = patch_libc("pthread_mutex_trylock");
	sees_modules = loader_mutex_trylock && patch_loader("pthread_mutex_lock", loader_lock, &loader_mutex_lock) && patch_loader("pthread_mutex_unlock", loader_unlock, &loader_mutex_unlock) &&
	               modules_known();
	if (sees_modules)
		modules_tell();
}

bool inside_sees_modules(void) {
	return sees_modules;
}

const char *inside_start(void) {
	static bool done; /* also in a fork's child: the code is patched, and a page of libc's is looked at only once */
	static const char *why;
	if (!settings.patch)
		return "GOSHIM=patch=0";
	if (!done) {
		own_pid = (int32_t)SYS0(SYS_getpid);
		why = patch_apply(patches, PATCH_COUNT);
		real_redirect();
		loader_patch();
		done = true;
	}
	return why;
}
