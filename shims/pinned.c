/* What the kernel keeps per thread, and a program can set: credentials by raw system calls, capabilities, filters, namespaces, scheduling, I/O
 * priority, memory policy, and more (SEC-1..3). NPTL's threads each have their own. A goroutine that sets any of it is pinned first (core/wired.c):
 * it stays on that kernel thread, which runs nobody else, ends with it, and is not what others are made from, unless the goroutine creates
 * threads itself. These inherit, as natively.
 *
 * What is not in the lists goes through unpinned: getters, and what concerns the whole process. Of prctl() only what is known to be harmless does:
 * the kernel's list grows, and an option that we do not know may change the thread. libc's setuid() and its like change all threads, and are not
 * meant here; the bare system calls are. */
#include <linux/io_uring.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#include "io.h"
#include "pinned.h"

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1u << 12)
#endif
#define RSEQ_NUMBER SYS_rseq

/* Options that change nothing, or the process, or memory. */
bool pinned_prctl(int option) {
	switch (option) {
	case PR_GET_PDEATHSIG: case PR_GET_DUMPABLE: case PR_GET_UNALIGN: case PR_GET_KEEPCAPS: case PR_GET_FPEMU: case PR_GET_FPEXC:
	case PR_GET_TIMING: case PR_SET_NAME: case PR_GET_NAME: case PR_GET_ENDIAN: case PR_GET_SECCOMP: case PR_CAPBSET_READ: case PR_GET_TSC:
	case PR_GET_SECUREBITS: case PR_GET_TIMERSLACK: case PR_MCE_KILL_GET: case PR_GET_CHILD_SUBREAPER: case PR_GET_NO_NEW_PRIVS:
	case PR_GET_TID_ADDRESS: case PR_GET_THP_DISABLE: case PR_GET_SPECULATION_CTRL: case PR_GET_IO_FLUSHER:
	case PR_SET_DUMPABLE: case PR_SET_CHILD_SUBREAPER: case PR_SET_PTRACER: case PR_SET_MM: case PR_SET_THP_DISABLE:
	case PR_SET_VMA:
		return false;
	default:
		return true;
	}
}

bool pinned_syscall(long n, const long a[6]) {
	switch (n) {
	case SYS_setuid: case SYS_setgid: case SYS_setreuid: case SYS_setregid: case SYS_setresuid: case SYS_setresgid: case SYS_setgroups:
	case SYS_setfsuid: case SYS_setfsgid: case SYS_capset: case SYS_seccomp: case SYS_landlock_restrict_self: case SYS_unshare: case SYS_setns:
	case SYS_keyctl: case SYS_ioprio_set: case SYS_sched_setaffinity: case SYS_sched_setscheduler: case SYS_sched_setparam:
	case SYS_sched_setattr: case SYS_set_mempolicy: case SYS_ptrace: case SYS_set_robust_list: case SYS_set_tid_address:
	case RSEQ_NUMBER: case SYS_perf_event_open: case SYS_pkey_alloc: case SYS_setpriority:
#ifdef SYS_arch_prctl
	case SYS_arch_prctl: case SYS_ioperm: case SYS_iopl:
#endif
		return true;
	case SYS_prctl:
		return pinned_prctl((int)a[0]);
	case SYS_personality:
		return (unsigned)a[0] != 0xffffffffu;
	case SYS_io_uring_setup:
		return (uintptr_t)a[1] >= 4096 && (((const struct io_uring_params *)a[1])->flags & IORING_SETUP_SINGLE_ISSUER);
	default:
		return false;
	}
}

void pin_self(void) {
	struct g *g = io_g();
	if (g && !g_pinned(g))
		g_pin(g);
}

SHIM int unshare(int flags) {
	pin_self();
	return (int)sys_ret(BRACKET(io_g(), SYS1(SYS_unshare, flags)));
}

SHIM int setns(int fd, int type) {
	pin_self();
	return (int)sys_ret(BRACKET(io_g(), SYS2(SYS_setns, fd, type)));
}

SHIM int setfsuid(uid_t uid) {
	if (uid != (uid_t)-1) /* which asks only */
		pin_self();
	return CALL_REAL(setfsuid, uid);
}

SHIM int setfsgid(gid_t gid) {
	if (gid != (gid_t)-1)
		pin_self();
	return CALL_REAL(setfsgid, gid);
}

SHIM int personality(unsigned long persona) {
	if ((unsigned)persona != 0xffffffffu)
		pin_self();
	return CALL_REAL(personality, persona);
}

SHIM int capset(void *header, const void *data);
SHIM int capset(void *header, const void *data) {
	pin_self();
	return (int)sys_ret(SYS2(SYS_capset, header, data));
}

/* A tracer is a kernel thread, too: its tracees answer to no other (EXT-5). */
SHIM long ptrace(enum __ptrace_request request, ...) {
	va_list ap;
	va_start(ap, request);
	long pid = va_arg(ap, long);
	void *at = va_arg(ap, void *), *data = va_arg(ap, void *);
	va_end(ap);
	pin_self();
	return CALL_REAL(ptrace, request, (pid_t)pid, at, data);
}
