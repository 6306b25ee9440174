/* What programs built with -D_FORTIFY_SOURCE call instead (CAN-9): check the size as libc does, then our own call. */
#include "io.h"

extern void __chk_fail(void) __attribute__((noreturn));

/* Declared by libc only for fortified callers. */
SHIM ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
SHIM ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t at, size_t room);
SHIM ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
SHIM ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, __SOCKADDR_ARG addr,
			    socklen_t *addr_size);
SHIM int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);
SHIM int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
		     size_t room);
SHIM int __open_2(const char *path, int flags);
SHIM int __open64_2(const char *path, int flags);
SHIM int __openat_2(int dir, const char *path, int flags);
SHIM int __openat64_2(int dir, const char *path, int flags);

static inline void room_check(size_t n, size_t room) {
	if (unlikely(n > room))
		__chk_fail();
}

SHIM ssize_t __read_chk(int fd, void *buf, size_t n, size_t room) {
	room_check(n, room);
	return read(fd, buf, n);
}

SHIM ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t at, size_t room) {
	room_check(n, room);
	return pread64(fd, buf, n, at);
}

SHIM_ALIAS(__pread64_chk, __pread_chk);

SHIM ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags) {
	room_check(n, room);
	return recv(fd, buf, n, flags);
}

SHIM ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, __SOCKADDR_ARG addr,
			    socklen_t *addr_size) {
	room_check(n, room);
	return recvfrom(fd, buf, n, flags, addr, addr_size);
}

SHIM int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room) {
	room_check(count, room / sizeof *fds);
	return poll(fds, count, timeout);
}

SHIM int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
		     size_t room) {
	room_check(count, room / sizeof *fds);
	return ppoll(fds, count, timeout, mask);
}

/* The flags ask for a mode that was not given: libc ends the program. */
static inline bool lacks_mode(int flags) {
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

/* The plain twins are the same calls, but for what libc says when it ends the program. */
#define OPEN_TWO(name, twin, params, ...) \
	SHIM int name params { \
		return lacks_mode(flags) ? CALL_REAL(name, __VA_ARGS__) : twin(__VA_ARGS__); \
	}
OPEN_TWO(__open_2, open64, (const char *path, int flags), path, flags)
OPEN_TWO(__open64_2, open64, (const char *path, int flags), path, flags)
OPEN_TWO(__openat_2, openat64, (int dir, const char *path, int flags), dir, path, flags)
OPEN_TWO(__openat64_2, openat64, (int dir, const char *path, int flags), dir, path, flags)
