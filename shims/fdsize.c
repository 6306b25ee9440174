/* How large the kernel's table of descriptors would be without ours.
 *
 * select() clamps its number to that size and neither reads nor writes the bits above; a closed number below is EBADF, one above nothing. Our own
 * descriptors are high ones, so the table is larger than natively. It begins with 64 places, becomes the next power of two (128 at least) above any number
 * that is given out, and never shrinks; a fork's child has one for what is open. To list that costs 4 us a descriptor, half of it in the parent, which waits for the child,
 * and hardly a child wants to know: so it looks when it does, and until then the numbers that it closes are noted. Where it closes a range first, nothing is known.
 *
 * So the size is noted before the runtime makes its first descriptor, and the highest number since: of those that the shims see come or go, and
 * of those that are open when somebody asks. What libc opened and closed by itself, it closed by way of us. If the size could not be read, nothing is known, and nobody
 * clamps: an EBADF too many is better than one too few, after which the caller would wait for a descriptor that is gone. What a child executes has our
 * descriptors no more, but the larger table. */
#include <dirent.h>
#include <stdlib.h>

#include "../core/kernel_call.h"
#include "io.h"

enum { SIZE_FIRST = 64, SIZE_UNKNOWN = INT_MAX };

_Atomic int fd_highest = -1;
_Atomic bool fd_highest_due; /* a fork's child has not looked yet. Relaxed: set while it has one thread */
static _Atomic int size_noted = SIZE_UNKNOWN; /* relaxed: written while the process has one thread */

/* The highest number that is open, other than ours; -1: not known. */
static int highest_open(void) {
	char buf[4096];
	int highest = -1;
	long n, fd = SYS4(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	while ((n = SYS3(SYS_getdents64, fd, buf, sizeof buf)) > 0) {
		for (long at = 0; at < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(void *)(buf + at);
			int number = atoi(entry->d_name);
			if (number > highest && number != fd && !netpoll_owns_fd(number))
				highest = number;
			at += entry->d_reclen;
		}
	}
	SYS1(SYS_close, fd);
	return highest;
}

void fdsize_start(void) {
	char text[4096];
	uint64_t size;
	if (atomic_load_explicit(&size_noted, memory_order_relaxed) != SIZE_UNKNOWN)
		return; /* a child whose parent had a runtime, and a table to match */
	if (task_file_read(0, (int32_t)SYS0(SYS_gettid), "status", text, sizeof text) > 0 &&
	    kernel_number_after(text, "\nFDSize:\t", &size))
		atomic_store_explicit(&size_noted, (int)size, memory_order_relaxed);
}

void fdsize_fork_child(void) {
	if (atomic_load_explicit(&size_noted, memory_order_relaxed) != SIZE_UNKNOWN)
		atomic_store_explicit(&size_noted, SIZE_FIRST, memory_order_relaxed);
	atomic_store_explicit(&fd_highest, -1, memory_order_relaxed);
	atomic_store_explicit(&fd_highest_due, true, memory_order_relaxed);
}

void fdsize_range_closed(void) {
	if (unlikely(atomic_load_explicit(&fd_highest_due, memory_order_relaxed)))
		atomic_store_explicit(&size_noted, SIZE_UNKNOWN, memory_order_relaxed);
}

/* What is open. */
static void highest_look(void) {
	fd_highest_note(highest_open());
	atomic_store_explicit(&fd_highest_due, false, memory_order_relaxed);
}

static int size_with(int highest) {
	int size = atomic_load_explicit(&size_noted, memory_order_relaxed);
	while (highest >= size && size < SIZE_UNKNOWN / 2)
		size *= 2;
	return size;
}

int fdsize_seen(void) {
	if (unlikely(atomic_load_explicit(&fd_highest_due, memory_order_relaxed)))
		highest_look();
	/* relaxed: who asks for a number has seen it given out */
	return size_with(atomic_load_explicit(&fd_highest, memory_order_relaxed));
}

int fdsize(void) {
	if (atomic_load_explicit(&size_noted, memory_order_relaxed) == SIZE_UNKNOWN)
		return SIZE_UNKNOWN;
	highest_look();
	return fdsize_seen();
}
