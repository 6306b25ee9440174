/* What every shim includes: the G, the real libc functions, errno translation, export marking.
 *
 * A shim has libc's own name and signature. Its shape:
 *     SHIM ssize_t read(int fd, void *buf, size_t n) {
 *         struct g *g = g_goroutine();
 *         if (!g) return real.read(fd, buf, n);       // foreign thread, or no thread was ever created: libc itself
 *         ...
 *     }
 * Shims translate between errno and the core's negative error numbers; the core never touches errno. */
#ifndef GOSHIM_SHIM_H
#define GOSHIM_SHIM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/proc.h"
#include "../preload/symbols.h"

#define SHIM __attribute__((visibility("default")))
/* On a cache line of its own: a few dozen instructions that everybody calls all the time. */
#define SHIM_HOT __attribute__((visibility("default"), aligned(64)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* A raw syscall's result to libc's convention. */
static inline long sys_ret(long r) {
	if (unlikely((unsigned long)r > -4096UL)) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

/* Where a shim reads or writes itself what natively the kernel does: false if it would crash, so far as that can be known for little (address.c). The
 * caller says EFAULT, as the kernel. Nothing is ever mapped below 64 KiB (vm.mmap_min_addr). */
#define ADDRESS_NEAR 32768
bool address_bad_slow(uintptr_t at, size_t bytes, bool write);
/* Asks the kernel each time: the page of `at` can be read, or written. */
bool address_probe(uintptr_t at, bool write);
static inline bool address_refused(const volatile void *p, size_t bytes, bool write) {
	uintptr_t at = (uintptr_t)p;
	if (unlikely(at < 65536))
		return true;
	/* In a frame of the caller's, or further up the same stack. */
	return likely(at - (uintptr_t)__builtin_frame_address(0) < ADDRESS_NEAR)
		       ? false
		       : unlikely(address_bad_slow(at, bytes, write));
}

#define KERNEL_SIGSET_BYTES 8 /* of libc's sigset_t the kernel reads so much */
#define address_bad(p) address_refused((p), sizeof *(p), false)
#define address_bad_mask(p) address_refused((p), KERNEL_SIGSET_BYTES, false)
#define address_unwritable(p) address_refused((p), sizeof *(p), true)
/* The same where NULL stands for nothing. */
#define address_bad_given(p) ((p) != NULL && address_bad(p))
#define address_bad_mask_given(p) ((p) != NULL && address_bad_mask(p))
#define address_unwritable_given(p) ((p) != NULL && address_unwritable(p))

/* A timespec on `clock` (CLOCK_REALTIME or CLOCK_MONOTONIC) to a CLOCK_MONOTONIC deadline in ns for wait_park; never -1. */
int64_t deadline_abs(const struct timespec *ts, int clock);
/* A wait until *ts has ended with a timeout: it is not time yet, the clock was set meanwhile. Wait again. ts NULL: false. */
bool deadline_early(const struct timespec *ts, int clock);
/* now + ts, saturating. */
int64_t deadline_rel(const struct timespec *ts);
/* And back: *left is what is left until then, none if it has passed. NULL, and nothing written, for -1: there is no deadline. */
struct timespec *time_left(struct timespec *left, int64_t deadline);
/* At the time `now`: for a wait that a handler ended, when it did. The kernel looks before the handler runs. */
struct timespec *time_left_at(struct timespec *left, int64_t deadline, int64_t now);
/* For a call of the kernel's that waits so long, before it is made: the whole timeout for the first one, which is also the one that looks whether it is valid; what is left of it when
 * that was disturbed. *deadline is -1 at first. */
const struct timespec *timeout_left(struct timespec *left, const struct timespec *timeout, int64_t *deadline);
bool timespec_valid(const struct timespec *ts);

/* The calling goroutine was interrupted (-EINTR from a wait): run what is pending (handlers of signals sent to this goroutine,
 * cancellation). Returns true if the call must now fail with EINTR, false if it restarts. `restartable`: the call is one the kernel restarts
 * under SA_RESTART. In shims/sigrun.c. */
bool shim_interrupted(struct g *g, bool restartable);

/* A wait of the calling goroutine ended with -EINTR: for nothing that concerns it? Then waiting may go on as if it had not; else
 * shim_interrupted() is to be called. In shims/sigrun.c. */
bool shim_stray(struct g *g);

/* Cancellation point: acts on a pending cancel of the calling goroutine. May not return. In shims/cancel.c. */
void shim_testcancel(struct g *g);

/* Would shim_testcancel() act? One load. In shims/cancel.c. */
bool shim_cancel_pending(struct g *g);
/* Has somebody cancelled it, whether it lets that act or not, or is it ending? */
bool shim_cancel_sent(struct g *g);
/* Around a call that waits as a cancellation point does and is none: a request is as if it came after it. Nests; a jump out of a handler in between
 * ends it. In shims/cancel.c. */
bool shim_cancel_hold(struct g *g);
void shim_cancel_release(struct g *g, bool held);

#endif
