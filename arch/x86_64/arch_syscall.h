/* Raw system calls for x86-64: the result is the kernel's (negative error number on failure), errno is not touched.
 * The core uses these because it runs on stacks whose thread pointer may be any G's: it must not write errno. */
#ifndef GOSHIM_ARCH_SYSCALL_H
#define GOSHIM_ARCH_SYSCALL_H

#include <sys/syscall.h>

static inline long arch_syscall6(long n, long a, long b, long c, long d, long e, long f) {
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return ret;
}

#define SYS0(n) arch_syscall6((n), 0, 0, 0, 0, 0, 0)
#define SYS1(n, a) arch_syscall6((n), (long)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b) arch_syscall6((n), (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c) arch_syscall6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d) arch_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(n, a, b, c, d, e) arch_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(n, a, b, c, d, e, f) arch_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The system calls by which libc's functions of these names are made. */
#define ARCH_SYS_POLL SYS_poll
#define ARCH_SYS_DUP2 SYS_dup2

static inline long arch_poll(void *fds, unsigned long n, int timeout_ms) {
	return SYS3(SYS_poll, fds, n, timeout_ms);
}

static inline long arch_dup2(int old, int fd) {
	return SYS2(SYS_dup2, old, fd);
}

#endif
