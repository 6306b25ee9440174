/* What a thread is called, and where its stack is. Names are kept in the goroutine (NPTL keeps them in the kernel thread). */
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "../core/runtime.h"
#include "../core/stack.h"
#include "../core/tcb.h"
#include "filter.h"
#include "pinned.h"
#include "thread.h"

bool thread_default_attr_set;

SHIM int pthread_setattr_default_np(const pthread_attr_t *attr) {
	REAL_READY();
	int r = real.pthread_setattr_default_np(attr);
	if (r == 0)
		thread_default_attr_set = true;
	return r;
}

/* glibc's pthread_attr_getstack returns (0 - size) as the address when none was set. */
bool thread_attr_has_stack(const pthread_attr_t *attr) {
	void *lo;
	size_t size;
	real.pthread_attr_getstack(attr, &lo, &size);
	return (uintptr_t)lo < (1ul << 56);
}

/* The thread that forked, in the child: what was its goroutine knows of it what libc does not. */
static struct {
	struct g *g;
	bool has_stack; /* a goroutine's */
} forker;

void thread_attr_fork_child(struct g *g) {
	forker.has_stack = g && (g->kind == G_GOROUTINE || (g == forker.g && forker.has_stack));
	forker.g = g;
}

struct g *thread_forker(pthread_t thread) {
	struct g *g = forker.g;
	return g && !sched_started() && (pthread_t)tcb_thread(g->ctx.tp) == thread ? g : NULL;
}

bool thread_is_forker(struct g *g) {
	return g == forker.g;
}

/* How libc's pthread_attr_t begins. Its setter refuses policies that a thread may have nevertheless. */
struct attr_sched {
	struct sched_param param;
	int policy;
};

SHIM int pthread_getattr_np(pthread_t thread, pthread_attr_t *attr) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : thread_forker(thread);
	bool knows_stack = g && (g->kind == G_GOROUTINE || (g == forker.g && forker.has_stack));
	int r = knows_stack ? real.pthread_attr_init(attr) : real.pthread_getattr_np(thread, attr);
	if (r || !g)
		return r;
	struct thread *t = thread_of(g);
	real.pthread_attr_setdetachstate(attr, atomic_load(&t->life) == THREAD_DETACHED ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
	pthread_attr_setinheritsched(attr, t->sched_explicit ? PTHREAD_EXPLICIT_SCHED : PTHREAD_INHERIT_SCHED);
	*(struct attr_sched *)attr = (struct attr_sched){{__atomic_load_n(&t->param.sched_priority, __ATOMIC_RELAXED)}, thread_policy(g)};
	if (!knows_stack)
		return 0;
	real.pthread_attr_setguardsize(attr, (g->stack.guard + 4095) & ~4095ul);
	cpu_set_t cpus;
	if (pthread_getaffinity_np(thread, sizeof cpus, &cpus) == 0)
		real.pthread_attr_setaffinity_np(attr, sizeof cpus, &cpus);
	/* The true bounds (MEM-11): everything in them is readable. */
	return real.pthread_attr_setstack(attr, g->stack.lo, (size_t)(g->stack.hi - g->stack.lo));
}

/* The name from prctl() is the kernel thread's. False: main is not on its own. */
static bool main_prctl(struct g *g, int option, char *name) {
	rt_enter(g);
	bool there = g->m->first;
	if (there)
		SYS2(SYS_prctl, option, name);
	rt_exit(g);
	return there;
}

/* The kernel's name of the process is its first thread's. */
static int main_name_write(const char *name, size_t n) {
	char path[40];
	snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)SYS0(SYS_getpid));
	long fd = SYS4(SYS_openat, -100, path, 02000001 /* O_WRONLY | O_CLOEXEC */, 0);
	if (fd < 0)
		return (int)-fd;
	long r = SYS3(SYS_write, fd, name, n);
	SYS1(SYS_close, fd);
	return r < 0 ? (int)-r : 0;
}

/* Main has named itself, and the kernel could not be told: there was no descriptor free, or no /proc. Natively it needs neither. */
static _Atomic bool main_name_kept;

/* Main's name when the runtime started, or as it was set since: what a thread made by a foreign thread inherits. */
static char process_name[THREAD_NAME_BYTES];

void thread_attr_start(struct g *g) {
	struct thread *t = thread_of(g);
	SYS2(SYS_prctl, PR_GET_NAME, t->name);
	main_name_kept = false;
	memcpy(process_name, t->name, THREAD_NAME_BYTES);
	thread_sched_start(g);
}

void thread_name_inherit(struct g *g, struct g *creator) {
	memcpy(thread_of(g)->name, creator ? thread_of(creator)->name : process_name, THREAD_NAME_BYTES);
}

/* The kernel has named the child as the kernel thread that made it. Main's own may have another name from /proc than we know. */
void thread_name_fork_child(struct g *g) {
	if (g->kind != G_MAIN || !g->m->first || main_name_kept)
		SYS2(SYS_prctl, PR_SET_NAME, thread_of(g)->name);
}

int thread_name_set(struct g *g, const char *name, size_t n) {
	char text[THREAD_NAME_BYTES] = "";
	memcpy(text, name, n);
	if (g->kind == G_MAIN) {
		bool itself = g == g_goroutine();
		int r = itself && main_prctl(g, PR_SET_NAME, text) ? 0 : main_name_write(name, n);
		if (r && !itself)
			return r;
		atomic_store_explicit(&main_name_kept, r != 0, memory_order_relaxed); /* as the name, which has no lock either */
	}
	memcpy(thread_of(g)->name, text, sizeof text);
	if (g->kind == G_MAIN)
		memcpy(process_name, thread_of(g)->name, THREAD_NAME_BYTES);
	return 0;
}

/* Main's from the kernel: a program may write to its /proc/self/comm. */
void thread_name_get(struct g *g, char out[THREAD_NAME_BYTES]) {
	memcpy(out, thread_of(g)->name, THREAD_NAME_BYTES);
	if (g->kind == G_MAIN && !atomic_load_explicit(&main_name_kept, memory_order_relaxed) && !(g == g_goroutine() && main_prctl(g, PR_GET_NAME, out))) {
		char path[40];
		snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)SYS0(SYS_getpid));
		long fd = SYS4(SYS_openat, -100, path, 02000000 /* O_CLOEXEC */, 0);
		long r = fd < 0 ? -1 : SYS3(SYS_read, fd, out, THREAD_NAME_BYTES);
		if (fd >= 0)
			SYS1(SYS_close, fd);
		if (r > 0)
			out[r - 1] = '\0';
	}
}

SHIM int pthread_setname_np(pthread_t thread, const char *name) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (!g)
		return real.pthread_setname_np(thread, name);
	size_t n = strlen(name);
	if (n >= THREAD_NAME_BYTES)
		return ERANGE;
	return thread_ended(g) ? ENOENT : thread_name_set(g, name, n);
}

SHIM int pthread_getname_np(pthread_t thread, char *buf, size_t size) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	char name[THREAD_NAME_BYTES];
	if (!g)
		return real.pthread_getname_np(thread, buf, size);
	if (size < THREAD_NAME_BYTES)
		return ERANGE;
	if (thread_ended(g))
		return ENOENT; /* as the file in /proc that libc reads */
	thread_name_get(g, name);
	memcpy(buf, name, THREAD_NAME_BYTES);
	return 0;
}

/* It may end where its page does. */
static bool name_bad(const char *name) {
	size_t page = 4096 - ((uintptr_t)name & 4095), most = THREAD_NAME_BYTES - 1;
	return address_bad(name) || (page < most && strnlen(name, page) == page && address_bad(name + page));
}

SHIM int prctl(int option, ...) {
	REAL_READY();
	va_list ap;
	va_start(ap, option);
	unsigned long a = va_arg(ap, unsigned long), b = va_arg(ap, unsigned long), c = va_arg(ap, unsigned long),
	              d = va_arg(ap, unsigned long);
	va_end(ap);
	struct g *g = g_goroutine();
	if (g && !g->in_vfork && option == PR_SET_NAME && !name_bad((const char *)a)) {
		char name[THREAD_NAME_BYTES] = "";
		strncpy(name, (const char *)a, THREAD_NAME_BYTES - 1);
		thread_name_set(g, name, strlen(name));
		return 0;
	}
	if (g && !g->in_vfork && option == PR_GET_NAME && !address_refused((void *)a, THREAD_NAME_BYTES, true)) {
		char name[THREAD_NAME_BYTES];
		thread_name_get(g, name);
		memcpy((char *)a, name, THREAD_NAME_BYTES);
		return 0;
	}
	if (pinned_prctl(option))
		pin_self();
	if (unlikely(option == PR_SET_SECCOMP) && a == SECCOMP_MODE_FILTER)
		return (int)sys_ret(filter_install(SYS_prctl, option, (long)a, (const struct sock_fprog *)b, (long)c, (long)d));
	return (int)sys_ret(SYS5(SYS_prctl, option, a, b, c, d));
}
