/* Raw system calls for aarch64: the result is the kernel's (negative error number on failure), errno is not touched.
 * The core uses these because it runs on stacks whose thread pointer may be any G's: it must not write errno.
 *
 * The kernel's table here is the generic one: no open, poll, select, pipe, dup2, fork, epoll_wait; only their *at, p* and *2 forms. */
#ifndef GOSHIM_ARCH_SYSCALL_H
#define GOSHIM_ARCH_SYSCALL_H

#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>

static inline long arch_syscall6(long n, long a, long b, long c, long d, long e, long f) {
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	/* The kernel keeps every register but x0; the condition flags, too. */
	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}

#define SYS0(n) arch_syscall6((n), 0, 0, 0, 0, 0, 0)
#define SYS1(n, a) arch_syscall6((n), (long)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b) arch_syscall6((n), (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c) arch_syscall6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d) arch_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(n, a, b, c, d, e) arch_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(n, a, b, c, d, e, f) arch_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The system calls by which libc's functions of these names are made. */
#define ARCH_SYS_POLL SYS_ppoll
#define ARCH_SYS_DUP2 SYS_dup3

static inline long arch_poll(void *fds, unsigned long n, int timeout_ms) {
	struct timespec time = {timeout_ms / 1000, timeout_ms % 1000 * 1000000l};
	return SYS5(SYS_ppoll, fds, n, timeout_ms < 0 ? NULL : &time, 0, 0);
}

/* dup3() refuses two equal numbers; dup2() returns an open one. */
static inline long arch_dup2(int old, int fd) {
	if (old != fd)
		return SYS3(SYS_dup3, old, fd, 0);
	long flags = SYS2(SYS_fcntl, old, F_GETFD);
	return flags < 0 ? flags : fd;
}

#endif
