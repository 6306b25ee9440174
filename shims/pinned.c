/* What the kernel keeps per thread, and a program can set: credentials by raw system calls, capabilities, filters, namespaces, scheduling, I/O
 * priority, memory policy, and more (SEC-1..3). NPTL's threads each have their own. A goroutine that sets any of it is pinned first (core/wired.c):
 * it stays on that kernel thread, which runs nobody else, ends with it, and is not what others are made from, unless the goroutine creates
 * threads itself. These inherit, as natively.
 *
 * What is not in the lists goes through unpinned: getters, and what concerns the whole process. Of prctl() only what is known to be harmless does:
 * the kernel's list grows, and an option that we do not know may change the thread. libc's setuid() and its like change all threads, and are not
 * meant here; the bare system calls are. */
#include <link.h>
#include <sched.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#include "io.h"
#include "pinned.h"
#include "process.h"
#include "thread.h"

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
	case SYS_keyctl: case SYS_add_key: case SYS_request_key: case SYS_ioprio_set: case SYS_sched_setaffinity: case SYS_sched_setscheduler: case SYS_sched_setparam:
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
	case SYS_io_uring_setup: case SYS_io_uring_register:
		return uring_ties(n, a);
	default:
		return false;
	}
}

void pin_self(void) {
	struct g *g = io_g();
	if (!g || g_pinned(g))
		return;
	g_pin(g);
	thread_sched_pinned(g);
}

/* Descriptors of its own for this kernel thread, the runtime's included, by the same numbers; both tables name the same descriptions, for now. Nobody shares them
 * with the last thread, natively: else those of ours would keep open what it closes. */
static long files_unshare(int flags) {
	struct g *g = g_self();
	if (g->kind <= G_MAIN && g_count() == 1)
		return flags == CLONE_FILES ? 0 : SYS1(SYS_unshare, flags & ~CLONE_FILES);
	netpoll_stay();
	fdtable_fork_prepare();
	rt_enter(g); /* a handler knows the right ones */
	long r = SYS1(SYS_unshare, flags);
	if (r == 0)
		g->own_files = true;
	rt_exit(g);
	fdtable_fork_parent();
	return r;
}

SHIM int unshare(int flags) {
	if (flags & CLONE_FILES && sched_started() && !process_in_vfork()) {
		if (flags != CLONE_FILES || g_count() > 1)
			pin_self();
		return (int)sys_ret(files_unshare(flags));
	}
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

SHIM int pkey_alloc(unsigned flags, unsigned rights) {
	pin_self();
	return CALL_REAL(pkey_alloc, flags, rights);
}

SHIM int pkey_set(int key, unsigned rights) {
	pin_self();
	return CALL_REAL(pkey_set, key, rights);
}

/* Only x86 has these, and libc declares the first nowhere. Elsewhere the kernel says that there is no such call. */
#ifndef SYS_arch_prctl
#define SYS_arch_prctl (-1)
#define SYS_ioperm (-1)
#define SYS_iopl (-1)
#endif
int arch_prctl(int code, unsigned long at);
int ioperm(unsigned long from, unsigned long count, int on);
int iopl(int level);

SHIM int arch_prctl(int code, unsigned long at) {
	pin_self();
	return (int)sys_ret(SYS2(SYS_arch_prctl, code, at));
}

SHIM int ioperm(unsigned long from, unsigned long count, int on) {
	pin_self();
	return (int)sys_ret(SYS3(SYS_ioperm, from, count, on));
}

SHIM int iopl(int level) {
	pin_self();
	return (int)sys_ret(SYS1(SYS_iopl, level));
}

/* ---- tracers ---------------------------------------------------------------------------------------------------------- */

/* Address in a dynamic section: libc has relocated most of them, but not the kernel's own module's. */
static const void *dynamic_at(const struct dl_phdr_info *info, const ElfW(Dyn) *d) {
	return (const void *)(d->d_un.d_ptr < info->dlpi_addr ? info->dlpi_addr + d->d_un.d_ptr : d->d_un.d_ptr);
}

/* Does this module call ptrace()? What a module imports stands at the beginning of its symbol table. */
static int module_traces(struct dl_phdr_info *info, size_t size, void *arg) {
	const ElfW(Dyn) *d = NULL;
	const ElfW(Sym) *symbols = NULL;
	const char *names = NULL;
	const uint32_t *gnu = NULL, *old = NULL;
	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			d = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	}
	for (; d && d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			symbols = dynamic_at(info, d);
		else if (d->d_tag == DT_STRTAB)
			names = dynamic_at(info, d);
		else if (d->d_tag == DT_GNU_HASH)
			gnu = dynamic_at(info, d);
		else if (d->d_tag == DT_HASH)
			old = dynamic_at(info, d);
	}
	if (!symbols || !names)
		return 0;
	uint32_t count = gnu ? gnu[1] : old ? old[1] : 0; /* the first that is exported; all */
	for (uint32_t i = 1; i < count; i++) {
		if (symbols[i].st_shndx == SHN_UNDEF && strcmp(names + symbols[i].st_name, "ptrace") == 0)
			return 1;
	}
	return 0;
}

/* A child that asks to be traced is traced by the kernel thread that forked it, and answers to no other. What a child will do nobody knows when it
 * is made; so in a program that calls ptrace() at all, who forks is pinned. That costs, but only there. */
void pin_forker(void) {
	static _Atomic int traces; /* 0 not known yet; 1 no; 2 yes. Modules that come later trace what their own threads attach to, as a rule */
	struct g *g = io_g();
	if (!g || g_pinned(g))
		return;
	/* relaxed: two that find it out find the same */
	int known = atomic_load_explicit(&traces, memory_order_relaxed);
	if (!known) {
		known = 1 + dl_iterate_phdr(module_traces, NULL);
		atomic_store_explicit(&traces, known, memory_order_relaxed);
	}
	if (known == 2)
		pin_self();
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
