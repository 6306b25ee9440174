/* Filters of system calls (seccomp). Where programs cannot write the thread pointer, a switch of goroutines does it by a system call (arch_tp_call()), which filters have no
 * reason to allow: NPTL's threads never make it. Refused, a thread would go on with another's identity; as a rule it would be killed. So a filter that the program
 * installs gets an exception for this one call in front. That takes nothing from it: where the CPU lets programs write the register themselves no filter can forbid
 * it. What was installed by others, before the program began, is found when the runtime starts (thread.c).
 *
 * A filter that leaves no room for that, or that cannot be read, goes to the kernel as it is. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>

#include "../core/pages.h"
#include "../core/unwind.h"
#include "../preload/entry.h"
#include "filter.h"
#include "io.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define FRONT 7

_Static_assert(BPF_MAXINSNS >= FRONT, "room");

const struct sock_fprog *filter_begin(const struct sock_fprog *given, struct filter *f) {
	struct arch_tp_call call;
	struct sock_fprog from;
	f->code = NULL;
	if (!goshim_possible() || !arch_tp_call(&call) || !peek(&from, (uintptr_t)given, sizeof from) || from.len == 0 || from.len > BPF_MAXINSNS - FRONT)
		return given;
	f->bytes = (FRONT + (size_t)from.len) * sizeof *f->code;
	f->code = pages_map(f->bytes);
	if (!f->code)
		return given;
	const struct sock_filter front[FRONT] = {
		LOAD(arch), UNLESS(call.audit, 5), LOAD(nr), UNLESS(call.number, 3), LOAD(args[0]), UNLESS(call.first, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	memcpy(f->code, front, sizeof front);
	if (!peek(f->code + FRONT, (uintptr_t)from.filter, from.len * sizeof *f->code)) {
		filter_end(f);
		return given;
	}
	f->prog = (struct sock_fprog){(unsigned short)(FRONT + from.len), f->code};
	return &f->prog;
}

void filter_end(struct filter *f) {
	if (f->code)
		pages_unmap(f->code, f->bytes);
	f->code = NULL;
}
