/* exec* by a process with goroutines: while the kernel replaces the program, none of our kernel threads may be in the making (FRK-9, maker_hold() in
 * core/m.c). libc's exec functions call each other inside, so each of them is here; the ones that take a list make it a vector first, as libc's.
 *
 * Not for the child of vfork, which is in its parent's memory but shares neither its directory nor its threads, nor for that of fork, which has
 * none of ours. All are async-signal-safe: no allocation, and no lock but the runtime's own, which no handler interrupts. */
#include <stdarg.h>
#include <unistd.h>

#include "../core/runtime.h"
#include "process.h"
#include "shim.h"
#include "sigstate.h"
#include "thread.h"

/* Small enough for registers: in a vfork's child AddressSanitizer would leave the stack around it poisoned for the parent. */
struct exec {
	struct g *g;
	uint8_t hold;  /* enum tp_hold: g stays on its kernel thread, which the new program inherits from */
	bool pending;  /* g's signals are in the kernel */
	bool has_held; /* the maker */
};

/* A child by clone() may be in the memory of its parent, with its g. */
static bool is_own(const struct g *g) {
	return g->m && atomic_load_explicit(&g->m->ktid, memory_order_relaxed) == (int32_t)SYS0(SYS_gettid);
}

static struct exec exec_begin(void) {
	REAL_READY();
	struct exec x = {0};
	if (process_in_vfork())
		return x;
	struct g *g = x.g = g_goroutine();
	if (g && is_own(g))
		thread_sched_parent(g); /* it may need the maker */
	x.has_held = maker_hold();
	if (g && is_own(g))
		x.hold = (uint8_t)m_parent_begin(g);
	if (g && x.has_held && sig_exec_begin(g)) /* else, it may be in the memory of its parent, with its g */
		x.pending = true;
	return x;
}

static int exec_failed(struct exec x) {
	int saved = errno;
	if (x.pending)
		sig_exec_failed(x.g);
	g_tp_release(x.g, (enum tp_hold)x.hold);
	if (x.has_held)
		maker_let_go();
	errno = saved;
	return -1;
}

/* Only a failure returns. */
#define EXEC(name, params, ...)               \
	SHIM int name params {                \
		struct exec x = exec_begin(); \
		real.name(__VA_ARGS__);       \
		return exec_failed(x);        \
	}

EXEC(execve, (const char *path, char *const argv[], char *const envp[]), path, argv, envp)
EXEC(execv, (const char *path, char *const argv[]), path, argv)
EXEC(execvp, (const char *file, char *const argv[]), file, argv)
EXEC(execvpe, (const char *file, char *const argv[], char *const envp[]), file, argv, envp)
EXEC(fexecve, (int fd, char *const argv[], char *const envp[]), fd, argv, envp)
EXEC(execveat, (int dir, const char *path, char *const argv[], char *const envp[], int flags), dir, path, argv, envp,
     flags)

/* `first` and the list behind it, NULL included; libc puts it on the stack, too. */
#define VECTOR_OF(argv, list, first)        \
	size_t count = 1;                   \
	va_list counted;                    \
	va_copy(counted, list);             \
	while (va_arg(counted, char *))     \
		count++;                    \
	va_end(counted);                    \
	char *argv[count + 1];              \
	argv[0] = (char *)first;            \
	for (size_t i = 1; i <= count; i++) \
	argv[i] = va_arg(list, char *)

SHIM int execl(const char *path, const char *arg, ...) {
	va_list list;
	va_start(list, arg);
	VECTOR_OF(argv, list, arg);
	va_end(list);
	return execv(path, argv);
}

SHIM int execlp(const char *file, const char *arg, ...) {
	va_list list;
	va_start(list, arg);
	VECTOR_OF(argv, list, arg);
	va_end(list);
	return execvp(file, argv);
}

SHIM int execle(const char *path, const char *arg, ...) {
	va_list list;
	va_start(list, arg);
	VECTOR_OF(argv, list, arg);
	char *const *envp = va_arg(list, char *const *);
	va_end(list);
	return execve(path, argv, envp);
}
