/* Filters of system calls (seccomp). Where programs cannot write the thread pointer, a switch of goroutines does it by a system call (arch_tp_call()), which filters have no
 * reason to allow: NPTL's threads never make it. Refused, a thread would go on with another's identity; as a rule it would be killed. So a filter that the program
 * installs gets an exception for this one call in front. That takes nothing from it: where the CPU lets programs write the register themselves no filter can forbid
 * it. What was installed by others, before the program began, is found when the runtime starts (sched_start()).
 *
 * A filter that leaves no room for that goes to the kernel as it is. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>

#include "../core/batch.h"
#include "../core/futex.h"
#include "../core/pages.h"
#include "../core/unwind.h"
#include "../preload/entry.h"
#include "filter.h"
#include "io.h"
#include "process.h"
#include "thread.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define FRONT 7
#define ON_STACK 512u
#define FIRST_PAGE 4096u

/* No system call but the one: behind it, and if there is a filter already before it, any other may be forbidden (address_refused() may make one). So the program is read where it says it is, but for the null
 * pointers by which one asks whether there are filters, and what a long one needs stays mapped. */
static long install(long n, long a, long b, const struct sock_fprog *given, long d, long e) {
	struct arch_tp_call call;
	struct sock_filter room[FRONT + ON_STACK], *code = room;
	if (!goshim_possible() || !arch_tp_call(&call) || (uintptr_t)given < FIRST_PAGE || (uintptr_t)given->filter < FIRST_PAGE || given->len == 0 ||
	    given->len > BPF_MAXINSNS - FRONT)
		return SYS5(n, a, b, given, d, e);
	if (given->len > ON_STACK)
		code = pages_map((FRONT + (size_t)given->len) * sizeof *code);
	if (!code)
		return -ENOMEM;
	const struct sock_filter front[FRONT] = {
		LOAD(arch), UNLESS(call.audit, 5), LOAD(nr), UNLESS(call.number, 3), LOAD(args[0]), UNLESS(call.first, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	memcpy(code, front, sizeof front);
	memcpy(code + FRONT, given->filter, given->len * sizeof *code);
	struct sock_fprog program = {(unsigned short)(FRONT + given->len), code};
	return SYS5(n, a, b, &program, d, e);
}

/* The kernel does not give one to all threads while one of them, `tid`, has another. Whose is it? */
static struct g *thread_on(long tid) {
	for (struct g *g = g_all(); g; g = g->all_next)
		if (__atomic_load_n(&g->kind, __ATOMIC_RELAXED) <= G_MAIN && !thread_ended(g) && g_own_ktid(g) == tid)
			return g;
	return NULL;
}

/* None of ours may find out what it forbids. One with another filter that has ended, and perhaps been joined, keeps nobody from anything natively; its kernel thread ends a
 * moment later. How long that may take on a busy machine nobody knows; one that libc made stays. */
static long install_for_all(long n, long a, long b, const struct sock_fprog *given, long d, long e) {
	enum { LOOKS = 200, PAUSE_NS = 1000000 };
	bool unnamed = b & SECCOMP_FILTER_FLAG_TSYNC_ESRCH; /* as with a listener, whose descriptor is the result */
	batch_forbid();
	for (int looks = 0;; looks++) {
		long r = install(n, a, b, given, d, e);
		bool other = unnamed ? r == -ESRCH : r > 0;
		struct g *owner = other && !unnamed ? thread_on(r) : NULL;
		if (other && !owner && looks < LOOKS) {
			futex_nap(PAUSE_NS, "seccomp");
			continue;
		}
		if (other || r < 0)
			batch_forbid_undo();
		return owner ? owner->tid : r;
	}
}

long filter_install(long n, long a, long b, const struct sock_fprog *given, long d, long e) {
	bool in_vfork = process_in_vfork(), for_all = n == SYS_seccomp && b & SECCOMP_FILTER_FLAG_TSYNC && sched_started() && !in_vfork;
	if (in_vfork) /* it is not for this process */
		return install(n, a, b, given, d, e);
	peek_forbid(); /* NPTL's threads never read memory so: why should it be allowed? */
	long r = for_all ? install_for_all(n, a, b, given, d, e) : install(n, a, b, given, d, e);
	if (r < 0 || (for_all && r > 0 && !(b & SECCOMP_FILTER_FLAG_NEW_LISTENER)))
		peek_forbid_undo();
	return r;
}
