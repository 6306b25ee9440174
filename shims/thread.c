/* Threads: create, join, detach, exit, and the start of the runtime at the first of them.
 *
 * A goroutine's first frame, thread_main(), does what libc's start_thread does around the program's function: registers the buffer that
 * pthread_exit and cancellation unwind to (through libc's public __pthread_register_cancel, so that libc's own unwinding works
 * unchanged), then runs C++ thread_local destructors, TSD destructors, and hands the result to whoever joins.
 *
 * pthread_t is the TCB's address as in NPTL. A kernel thread that is not a goroutine (made inside libc) is joined by libc.
 *
 * Joining: `done` is the futex word. `joiner` is won by CAS by the one thread that joins or detaches; between that one, when it detaches, and the
 * exit of the thread, `life` decides who frees the goroutine. */
#include <limits.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "../core/futex.h"
#include "../core/runtime.h"
#include "../core/stack.h"
#include "../core/stats.h"
#include "../core/tcb.h"
#include "ceiling.h"
#include "ctl.h"
#include "entry.h"
#include "fdtable.h"
#include "golib.h"
#include "inside.h"
#include "inspect.h"
#include "isolate.h"
#include "process.h"
#include "settings.h"
#include "sync.h"
#include "thread.h"

#define M_STACK_BYTES (128ul << 10)
#define GUARD_DEFAULT 4096ul
#define STACK_REST_MIN 2048ul /* NPTL: what must be left beside the TLS */
#define CANCEL_EXITING 16 /* glibc's bit in the cancelhandling word */
#define ALONE_LOOKS 20 /* kernel threads of ours that come or go are libc's for a moment */
#define ALONE_LOOK_NS 50000
#define LEFT_LOOK_NS 20000000

/* Threads that left by the kernel's exit(2). NPTL counts them for ever; so nobody is the last that it knows, runs exit handlers and ends the process: that
 * ends with its last kernel thread, and with that one's status. */
static _Atomic uint32_t vanished;

/* Kernel threads that the library made, and those of them that ended; Ms that retired are counted as such. */
static _Atomic uint32_t kernel_made, kernel_ended;
static const _Atomic uint32_t *nthreads; /* those that libc counts; NULL: it does not tell */
static _Atomic bool left_watched;         /* somebody ends the process when libc's own threads have */

struct sigstate *sig_of(struct g *g) {
	return &thread_of(g)->sig;
}

struct g *thread_g(pthread_t t) {
	struct g *g = g_of_tcb(tcb_of_thread((uintptr_t)t));
	return g && g->kind <= G_MAIN ? g : NULL;
}

/* ---- start of the runtime ------------------------------------------------------------------------------------------- */

/* For the core: Ms and sysmon are libc threads with small stacks. */
int thread_kernel_create(void *(*fn)(void *), void *arg) {
	static _Atomic size_t bytes = M_STACK_BYTES;
	pthread_attr_t attr;
	pthread_t t;
	if (real.pthread_attr_init(&attr) != 0)
		return -ENOMEM;
	real.pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	real.pthread_attr_setstacksize(&attr, bytes + tcb_bytes());
	int r = real.pthread_create(&t, &attr, fn, arg);
	real.pthread_attr_destroy(&attr);
	if (r == 0)
		/* release: it is in libc's count by now, and libc_threads() reads that after this. Who reads too few takes ours for libc's, and looks again. */
		atomic_fetch_add_explicit(&kernel_made, 1, memory_order_release);
	return -r;
}

/* Kernel threads that libc made for itself (SIGEV_THREAD, aio) or for who passes us by; main's, if another thread started the runtime. */
static uint32_t libc_threads(void) {
	if (!nthreads)
		return 0;
	/* Never too few, in this order: one of ours that is among the made was in libc's count before that, and if it is not any more, it is among the ended, since it is
	 * counted so before libc counts it out. Acquire: the first pairs with the release in thread_kernel_create(), the second with libc's own, by which also
	 * what the last of libc's threads did, threads that it made, is seen. */
	int64_t made = atomic_load_explicit(&kernel_made, memory_order_acquire);
	int64_t others = (int64_t)atomic_load_explicit(nthreads, memory_order_acquire) - 1;
	int64_t ended = (int64_t)atomic_load_explicit(&stats_shared[STAT_M_RETIRED], memory_order_relaxed);
	ended += atomic_load_explicit(&kernel_ended, memory_order_relaxed);
	others -= made - ended;
	return others > 0 ? (uint32_t)others : 0;
}

/* One of libc's threads may be the one that starts the runtime (the function of a SIGEV_THREAD timer creates the first thread), or a fork's child may have been one. Its goroutine is
 * main to the runtime, may be on another kernel thread by the time its function returns, and has nothing of ours below it. So it ends as others do where libc, which ends the
 * thread, comes by: at its thread-specific data. Its own kernel thread stays, as an M. */
static pthread_key_t starter_key;
static bool is_child; /* this process, a fork's */
static bool starter_has_key, forked; /* from such a thread; a goroutine and main have what is ours below them in a child, too, which has its keys to itself */
static __thread bool forks_for_libc;

static void thread_finish(struct g *g) __attribute__((noreturn));
static void starter_ends(void *arg) {
	struct g *g = arg;
	if (g == tls_g && g->kind == G_MAIN) /* else it is in a fork's child */
		thread_finish(g);
}

static bool is_libcs(void) {
	return forked || SYS0(SYS_gettid) != SYS0(SYS_getpid);
}

static bool starter_prepare(void) {
	if (starter_has_key || !is_libcs())
		return true;
	starter_has_key = real.pthread_key_create(&starter_key, starter_ends) == 0;
	return starter_has_key;
}

void thread_fork_prepare(void) {
	forks_for_libc = !g_goroutine() && is_libcs();
}

/* libc's count is anew in a fork's child, and as it was in one of _Fork() or clone(). */
void thread_fork_child(void) {
	is_child = true;
	forked = forks_for_libc;
	uint32_t count = nthreads ? atomic_load_explicit(nthreads, memory_order_relaxed) : 1;
	atomic_store_explicit(&kernel_made, count - 1, memory_order_relaxed);
	atomic_store_explicit(&kernel_ended, 0, memory_order_relaxed);
}

void thread_find_count(void) {
	nthreads = tcb_lookup("__nptl_nthreads");
}

void thread_kernel_ends(void) {
	/* relaxed: libc's own count, next, is released */
	atomic_fetch_add_explicit(&kernel_ended, 1, memory_order_relaxed);
}

bool thread_runtime_ready(void) {
	if (likely(sched_started()))
		return true;
	if (!goshim_enabled())
		return false;
	const char *why = "the runtime could not start";
	int error = 0;
	sched_thread_create = thread_kernel_create;
	goshim_configure();
	const char *unpatched = inside_start();
	if (unpatched)
		goshim_note("waits inside libc are left to sysmon", unpatched);
	else if (!inside_sees_modules())
		goshim_note("dlopen() is called by goshim", "the loader of this libc is not known");
	inspect_init();
	fdsize_start();
	sched_config.stack_exec = loader_wants_exec_stacks();
	struct thread before = tls_g ? *thread_of(tls_g) : (struct thread){0}; /* a kernel thread's until now */
	if (!starter_prepare())
		why = "libc has no key left for a thread of its own";
	else if ((error = sched_start(&why)) == 0)
		why = NULL;
	if (why) {
		static char line[200];
		line[0] = '\0';
		const char *text = goshim_error_text(error), *const parts[] = {why, *text ? " (" : "", text, *text ? ")" : ""};
		for (size_t i = 0; i < 4; i++)
			strncat(line, parts[i], sizeof line - strlen(line) - 1);
		goshim_stand_aside(line);
		return false;
	}
	if (!sched_config.stack_mprotect && !stack_uses_markers())
		goshim_note("stacks are fenced by mprotect", "this kernel has no guard markers");
	struct g *g = g_self();
	if (starter_has_key)
		real.pthread_setspecific(starter_key, g);
	uint32_t life = thread_is_forker(g) ? atomic_load_explicit(&thread_of(g)->life, memory_order_relaxed) : THREAD_LIVE;
	memset(g->ext, 0, sizeof g->ext);
	golib_runtime_start(thread_of(g), &before);
	atomic_store_explicit(&thread_of(g)->life, life, memory_order_relaxed);
	thread_attr_start(g);
	vanished = 0; /* a fork's child starts it again */
	left_watched = false;
	sig_runtime_start(g);
	robust_start(g);
	sigtimer_start(g);
	isolate_start();
	if (settings.ctl)
		rwlock_note_all();
	ctl_start();
	return true;
}

/* ---- life of a thread --------------------------------------------------------------------------------------------------- */

/* relaxed: only this thread and cancellers look at it, and they use RMWs. A cancellation comes too late from here on: after the destructors,
 * who may wait, if the thread has returned; before them, by libc, if it is unwound. */
static void cancel_too_late(void) {
	atomic_fetch_or_explicit(tcb_cancelhandling(arch_tp()), CANCEL_EXITING, memory_order_relaxed);
}

/* No threads but so many goroutines, and those that vanished. Acquire: pairs with the release in thread_vanish(), so that what one of those made is counted.
 * relaxed: who makes one that comes to be meanwhile is a thread itself, and counted so until libc_threads() has acquired its end. */
static bool alone(uint32_t goroutines) {
	uint32_t numbers = atomic_load_explicit(&g_numbers, memory_order_relaxed);
	uint32_t gone = atomic_load_explicit(&vanished, memory_order_acquire);
	return g_count() == goroutines + gone && libc_threads() == 0 && atomic_load_explicit(&g_numbers, memory_order_relaxed) == numbers;
}

static bool alone_soon(void) {
	for (int i = 0; i < ALONE_LOOKS; i++) {
		if (alone(0))
			return true;
		nanosleep(&(struct timespec){.tv_nsec = ALONE_LOOK_NS}, NULL);
	}
	return false;
}

static void process_end(uint32_t goroutines) __attribute__((noreturn));
static void process_end(uint32_t goroutines) {
	/* Nothing tells of the end of a thread that is libc's own; and beside those nothing runs. */
	while (!alone(goroutines))
		nanosleep(&(struct timespec){.tv_nsec = LEFT_LOOK_NS}, NULL);
	/* relaxed: alone() has seen it */
	if (atomic_load_explicit(&vanished, memory_order_relaxed))
		SYS1(SYS_exit_group, 0);
	exit(0);
}

static void *left_watch(void *arg) {
	(void)arg;
	process_end(1);
}

/* The last goroutine ends, and threads of libc's go on: they may join it, and make others. One that takes no signals waits for their end in its place. */
static void left_behind(void) {
	sigset_t all;
	struct g_stack_req req = {.guard = GUARD_DEFAULT};
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	if (atomic_exchange_explicit(&left_watched, true, memory_order_relaxed))
		return;
	struct g *g = thread_new_detached(&req, left_watch, NULL);
	if (!g)
		process_end(0); /* no memory for one */
	ready_new(g);
}

/* Nobody counts it any more, or never will. */
static void thread_gone(struct g *g, int status) __attribute__((noreturn));
static void thread_gone(struct g *g, int status) {
	struct thread *t = thread_of(g);
	/* acquire: the count is read after it, so if they are equal they were so at that moment */
	uint32_t left = atomic_load_explicit(&vanished, memory_order_acquire);
	if (unlikely(left) && left == g_count()) {
		if (alone_soon())
			SYS1(SYS_exit_group, status);
		left_behind();
	}
	sig_thread_exit(g);
	epoll_thread_gone(g);
	robust_release(g);
	uint32_t life = THREAD_LIVE;
	if (t->own_stack)
		tcb_free(g->ctx.tp); /* nobody may touch the program's stack once a joiner knows */
	/* To the end: once a joiner knows, g may get a new life as soon as nothing runs on it, so it must not be switched out and come back. */
	rt_enter(g);
	/* acq_rel: publishes the result to the joiner; takes over what a detacher did */
	if (g->kind == G_MAIN) {
		atomic_store_explicit(&t->life, THREAD_EXITED, memory_order_release);
		atomic_store_explicit(&t->done, 1, memory_order_release);
		futex_wake(&t->done, 1, FUTEX_ANY);
	} else if (atomic_compare_exchange_strong_explicit(&t->life, &life, THREAD_EXITED, memory_order_acq_rel, memory_order_acquire)) {
		atomic_store_explicit(&t->done, 1, memory_order_release);
		futex_wake(&t->done, 1, FUTEX_ANY);
	} else {
		rt_exit(g);
		g_free(g); /* enters it again */
	}
	g_exit(g);
}

/* Past the program's last code in this thread, destructors included; ends it. */
static void thread_end(struct g *g) __attribute__((noreturn));
static void thread_end(struct g *g) {
	struct thread *t = thread_of(g);
	cancel_too_late();
	if (unlikely(t->group || t->task))
		golib_thread_done(g);
	/* The one thread of a fork's child that made no others: to go on without it, what libc made there needs the runtime. */
	if (g->kind == G_FOREIGN && (libc_threads() == 0 || !thread_runtime_ready()))
		exit(0);
	/* The last thread of the process ends it, as NPTL does. */
	if (g_live_drop() == 0) {
		if (alone_soon())
			exit(0);
		left_behind();
	}
	thread_gone(g, 0);
}

/* The program's code is over. Was that in pthread_join() by an asynchronous cancellation, which may act between any two instructions there, so that nobody has come by to
 * give it up? The other thread may be another's by now, and is left alone then. */
static void join_left(struct g *g) {
	struct g *target = thread_of(g)->joins, *joiner = g;
	if (unlikely(target != NULL))
		atomic_compare_exchange_strong_explicit(&thread_of(target)->joiner, &joiner, NULL, memory_order_relaxed, memory_order_relaxed);
	thread_of(g)->joins = NULL;
}

static void thread_finish(struct g *g) {
	join_left(g);
	real.__call_tls_dtors();
	key_run_destructors();
	tcb_thread_end();
	thread_end(g);
}

void thread_abandon(struct g *g) {
	golib_waits_abandon(g);
	thread_of(g)->result = PTHREAD_CANCELED;
	tcb_forget();
	thread_end(g);
}

void thread_vanish(struct g *g, int status) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL); /* no handler meets what follows */
	cancel_too_late();
	golib_waits_abandon(g);
	thread_of(g)->result = NULL;
	tcb_forget();
	atomic_fetch_add_explicit(&vanished, 1, memory_order_release); /* alone() */
	/* acq_rel: of that and the others' g_live_drop(), whoever is later knows of the earlier */
	atomic_fetch_add_explicit(&sched.g_live, 0, memory_order_acq_rel);
	thread_gone(g, status);
}

static void thread_main(struct g *g) {
	struct thread *t = thread_of(g);
	void *arg = t->arg;
	uintptr_t start = atomic_load_explicit(&g->start, memory_order_relaxed); /* before g was ready */
	__pthread_unwind_buf_t buf;
	t->joins = NULL;
	tcb_thread_start();
	if (__sigsetjmp_cancel(buf.__cancel_jmp_buf, 0) == 0) {
		real.__pthread_register_cancel(&buf);
		g_begins(g);
		if (t->is_c11)
			t->result = (void *)(intptr_t)((thrd_start_t)start)(arg);
		else
			t->result = ((void *(*)(void *))start)(arg);
	} else if (golib_unwound(g)) {
		t->result = NULL;
	} else if (!t->left_by_call) {
		t->result = PTHREAD_CANCELED;
	}
	thread_finish(g);
}

static int main_recovered(int argc, char **argv, char **envp) {
	(void)argc, (void)argv, (void)envp;
	return 0;
}

/* main() of the program, called by our __libc_start_main wrapper: pthread_exit() from it lands here, and so does one in the exit handlers that run
 * when it has returned. */
void thread_run_main(int (*main_fn)(int, char **, char **), int argc, char **argv, char **envp) {
	__pthread_unwind_buf_t buf;
	if (__sigsetjmp_cancel(buf.__cancel_jmp_buf, 0) == 0) {
		real.__pthread_register_cancel(&buf);
		exit(main_fn(argc, argv, envp));
	}
	if (golib_unwound(g_self())) {
		golib_rejoin(&buf);
		thread_run_main(main_recovered, 0, NULL, NULL); /* as good as returned */
	}
	struct g *g = g_goroutine();
	if (!g)
		real.__pthread_unwind_next(&buf); /* kernel threads only: libc goes on with its own buffer */
	if (!thread_of(g)->left_by_call)
		thread_of(g)->result = PTHREAD_CANCELED;
	join_left(g);
	/* Only those: libc leaves the objects of main's thread_locals to exit(), if main is the last and comes there. */
	key_run_destructors();
	thread_end(g);
}

void thread_exit_unwind(void *result) {
	struct g *g = g_goroutine();
	if (g) {
		thread_of(g)->result = result;
		thread_of(g)->left_by_call = true;
	}
	if (tls_g) /* also in a fork's child */
		tcb_will_unwind(tls_g);
	real.pthread_exit(result);
	__builtin_unreachable();
}

SHIM void pthread_exit(void *result) {
	REAL_READY();
	golib_exit_called();
	thread_exit_unwind(result);
}

SHIM void thrd_exit(int result) {
	REAL_READY();
	golib_exit_called();
	thread_exit_unwind((void *)(intptr_t)result);
}

/* What the attributes ask for. Errors as pthread_create's. */
static int request_of(const pthread_attr_t *attr, struct g_stack_req *req, bool *detached, sigset_t *mask, bool *has_mask) {
	pthread_attr_t dflt;
	int state;
	req->size = 0;
	req->guard = GUARD_DEFAULT;
	req->user_lo = NULL;
	req->uses_keys = keys_were_made();
	*detached = *has_mask = false;
	if (!attr) {
		if (likely(!thread_default_attr_set))
			return 0;
		if (real.pthread_getattr_default_np(&dflt) != 0)
			return EAGAIN;
		real.pthread_attr_getstacksize(&dflt, &req->size);
		real.pthread_attr_getguardsize(&dflt, &req->guard);
		real.pthread_attr_getdetachstate(&dflt, &state);
		*detached = state == PTHREAD_CREATE_DETACHED;
		if (real.pthread_attr_getsigmask_np)
			*has_mask = real.pthread_attr_getsigmask_np(&dflt, mask) == 0;
		real.pthread_attr_destroy(&dflt);
		return 0;
	}
	real.pthread_attr_getdetachstate(attr, &state);
	*detached = state == PTHREAD_CREATE_DETACHED;
	void *lo = NULL;
	size_t size = 0;
	/* libc answers with an address only if the program gave one; otherwise "0 - size" */
	real.pthread_attr_getstack(attr, &lo, &size);
	real.pthread_attr_getguardsize(attr, &req->guard);
	if (lo && (uintptr_t)lo + size != 0 && thread_attr_has_stack(attr)) {
		req->user_lo = lo;
		req->size = size;
		req->guard = 0;
	} else if (size && size != sched_config.stack_default) {
		req->size = size;
	} else if (!size && unlikely(thread_default_attr_set)) {
		real.pthread_attr_getstacksize(attr, &req->size); /* the default of now */
	}
	if (real.pthread_attr_getsigmask_np)
		*has_mask = real.pthread_attr_getsigmask_np(attr, mask) == 0;
	return 0;
}

/* A goroutine that has not been queued, and will not be: its stack is the program's again at once. */
static void thread_unmake(struct g *g) {
	struct thread *t = thread_of(g);
	sig_thread_unmade(g);
	t->group = t->task = NULL;
	if (t->own_stack)
		tcb_free(g->ctx.tp);
	g_live_drop(); /* not the last: there is the caller */
	g_free(g);
}

/* mask NULL: the creator's. */
static struct g *thread_new(const struct g_stack_req *req, void *(*start)(void *), void *arg,
			    const struct thread_sched *sched_attr, const sigset_t *mask, bool detached) {
	int err;
	struct g *g = g_new(req, thread_main, &err);
	if (!g)
		return NULL;
	struct thread *t = thread_of(g);
	struct held *held = t->held;
	struct ceilings *ceilings = t->ceilings;
	struct readers *readers = t->readers;
	memset(t, 0, sizeof *t);
	held_reset(held);
	t->held = held;
	ceilings_reset(ceilings);
	t->ceilings = ceilings;
	readers_reset(readers);
	__atomic_store_n(&t->readers, readers, __ATOMIC_RELEASE); /* as in readers_note() */
	atomic_store_explicit(&g->start, (uintptr_t)start, memory_order_relaxed);
	t->arg = arg;
	t->own_stack = req->user_lo != NULL;
	thread_name_inherit(g, g_goroutine());
	thread_sched_apply(g, sched_attr);
	atomic_store_explicit(&t->life, detached ? THREAD_DETACHED : THREAD_LIVE, memory_order_relaxed);
	sig_thread_init(g, mask);
	struct g *self = g_goroutine();
	g->own_files = self && self->own_files;
	if (unlikely(self && g_pinned(self)) && g_pin_new(g) < 0) {
		thread_unmake(g);
		return NULL;
	}
	return g;
}

struct g *thread_new_detached(const struct g_stack_req *req, void *(*start)(void *), void *arg) {
	struct thread_sched sched_attr;
	if (thread_sched_of(NULL, g_goroutine(), &sched_attr) != 0)
		return NULL;
	return thread_new(req, start, arg, &sched_attr, NULL, true);
}

static int sched_of(const pthread_attr_t *attr, struct thread_sched *out) {
	pthread_attr_t dflt;
	if (likely(attr || !thread_default_attr_set))
		return thread_sched_of(attr, g_goroutine(), out);
	if (real.pthread_getattr_default_np(&dflt) != 0)
		return EAGAIN;
	int r = thread_sched_of(&dflt, g_goroutine(), out);
	real.pthread_attr_destroy(&dflt);
	return r;
}

static int create(pthread_t *out, const pthread_attr_t *attr, void *(*start)(void *), void *arg, bool is_c11) {
	struct g_stack_req req;
	bool detached, has_mask;
	sigset_t mask;
	int err = request_of(attr, &req, &detached, &mask, &has_mask);
	if (err)
		return err;
	size_t guard = (req.guard + 4095) & ~4095ul, size = req.size || !attr ? req.size : sched_config.stack_default;
	if ((req.size && req.size < tcb_bytes() + STACK_REST_MIN) || guard < req.guard || (size & ~63ul) + guard < guard)
		return EINVAL;
	req.guard = guard; /* as stacks have it, or no dead one's would fit */
	struct thread_sched sched_attr;
	if ((err = sched_of(attr, &sched_attr)) != 0)
		return err;
	struct g *g = thread_new(&req, start, arg, &sched_attr, has_mask ? &mask : NULL, detached);
	if (!g)
		return EAGAIN;
	thread_of(g)->is_c11 = is_c11;
	int inherit = PTHREAD_INHERIT_SCHED;
	if (attr)
		real.pthread_attr_getinheritsched(attr, &inherit);
	thread_of(g)->sched_explicit = inherit == PTHREAD_EXPLICIT_SCHED;
	*out = (pthread_t)tcb_thread(g->ctx.tp); /* before it runs: it may look at the variable (NPTL does the same) */
	ready_new(g);
	sig_thread_ready();
	return 0;
}

SHIM int pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*start)(void *), void *arg) {
	REAL_READY();
	if (!thread_runtime_ready())
		return real.pthread_create(out, attr, start, arg);
	return create(out, attr, start, arg, false);
}

SHIM int thrd_create(thrd_t *out, thrd_start_t start, void *arg) {
	REAL_READY();
	if (!thread_runtime_ready())
		return real.thrd_create(out, start, arg);
	int r = create(out, NULL, (void *(*)(void *))(uintptr_t)start, arg, true);
	return r == 0 ? thrd_success : r == ENOMEM ? thrd_nomem : thrd_error;
}

/* ---- join and detach -------------------------------------------------------------------------------------------------------- */

/* One of the parent's threads, in a fork's child, before and after this makes threads of its own. For libc they have all ended there. */
static struct g *left_in_parent(pthread_t thread) {
	if (likely(!is_child))
		return NULL;
	uintptr_t tcb = tcb_of_thread((uintptr_t)thread);
	struct g *g = tcb == arch_tp() ? NULL : g_of_tcb(tcb);
	return g && g->kind == G_GOROUTINE && (g->orphan || !sched_started()) ? g : NULL;
}

static int join_result(struct g *g, void **result) {
	struct thread *t = thread_of(g);
	void *r = t->result;
	if (g->kind != G_MAIN) {
		g_wait_off_cpu(g); /* the program may free its own stack, and the address may be a new thread's, from now on */
		g_free(g);
	}
	if (result)
		*result = r;
	return 0;
}

/* Only one thread may join; itself and A-joins-B-joins-A are deadlocks, unless one of them is going to end. Acts on a cancellation of the caller if he
 * would have to wait. 0 or an error. */
static int join_begin(struct g *g, struct g *self) {
	struct thread *t = thread_of(g);
	struct g *nobody = NULL;
	if (atomic_load_explicit(&t->life, memory_order_relaxed) == THREAD_DETACHED)
		return EINVAL;
	/* acquire: as in join_wait() */
	if (self->kind <= G_MAIN && atomic_load_explicit(&t->done, memory_order_acquire) == 0)
		shim_testcancel(self);
	bool mutual = self->kind <= G_MAIN && atomic_load_explicit(&thread_of(self)->joiner, memory_order_relaxed) == g;
	if (g == self || (mutual && !shim_cancel_sent(g)))
		return EDEADLK;
	if (!atomic_compare_exchange_strong_explicit(&t->joiner, &nobody, self, memory_order_acq_rel, memory_order_relaxed))
		return EINVAL;
	return 0;
}

/* Who joins it in the parent is not there. Nothing is given back: what they had serves the child's threads (g_adopt_orphans()). */
static int join_left_in_parent(struct g *g, void **result) {
	struct thread *t = thread_of(g);
	/* relaxed: what the parent's threads did is seen */
	if (atomic_load_explicit(&t->life, memory_order_relaxed) == THREAD_DETACHED)
		return EINVAL;
	if (result)
		*result = t->result;
	return 0;
}

/* The joiner leaves without the result, or ends: the thread is joinable again. */
static void join_given_up(struct g **target) {
	if (*target)
		atomic_store_explicit(&thread_of(*target)->joiner, NULL, memory_order_relaxed);
}

static int join_wait(struct g *g, struct g *self, void **result, int64_t deadline) {
	struct thread *t = thread_of(g);
	__attribute__((cleanup(join_given_up))) struct g *joining = NULL;
	int err = join_begin(g, self);
	if (err)
		return err;
	joining = g;
	/* acquire: the result was stored before */
	while (atomic_load_explicit(&t->done, memory_order_acquire) == 0) {
		int r = futex_wait(&t->done, 0, deadline, FUTEX_ANY, self->kind <= G_MAIN, "join");
		if (r == -ETIMEDOUT)
			return ETIMEDOUT;
		if (r == -EINTR) {
			/* Signals do not end a join; a cancellation does, and leaves the thread joinable. */
			shim_interrupted(self, true);
			if (shim_cancel_pending(self)) {
				join_given_up(&joining);
				joining = NULL;
				if (join_begin(g, self))
					return EINVAL;
				joining = g;
			}
		}
	}
	joining = NULL;
	return join_result(g, result);
}

static int join_until(struct g *g, void **result, int64_t deadline) {
	struct g *self = g_self();
	if (self->kind > G_MAIN)
		return join_wait(g, self, result, deadline);
	struct thread *me = thread_of(self);
	struct g *outer = me->joins; /* this may be a handler in the middle of another join */
	me->joins = g; /* not later than `joiner` is won: that has a release */
	int err = join_wait(g, self, result, deadline);
	me->joins = outer;
	return err;
}

/* As libc, who asks the kernel only if the thread still runs, and again for ever when it calls the time nonsense. */
static int64_t join_deadline(const struct timespec *abstime, clockid_t clock) {
	if (abstime && abstime->tv_sec < 0)
		return 0;
	return abstime && timespec_valid(abstime) ? deadline_abs(abstime, clock) : -1;
}

SHIM int pthread_join(pthread_t thread, void **result) {
	REAL_READY();
	struct g *left = left_in_parent(thread);
	if (unlikely(left != NULL))
		return join_left_in_parent(left, result);
	struct g *g = sched_started() ? thread_g(thread) : NULL, *forker = g ? NULL : thread_forker(thread);
	if (forker)
		return join_begin(forker, forker);
	if (!g) {
		struct g *self = g_goroutine();
		syscall_enter_blocking(self);
		int r = real.pthread_join(thread, result);
		syscall_exit(self);
		return r;
	}
	return join_until(g, result, -1);
}

SHIM int pthread_tryjoin_np(pthread_t thread, void **result) {
	REAL_READY();
	struct g *left = left_in_parent(thread);
	if (unlikely(left != NULL))
		return join_left_in_parent(left, result);
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (!g)
		return real.pthread_tryjoin_np(thread, result);
	if (atomic_load_explicit(&thread_of(g)->done, memory_order_acquire) == 0)
		return EBUSY;
	int err = join_begin(g, g_self());
	return err ? err : join_result(g, result);
}

SHIM int pthread_clockjoin_np(pthread_t thread, void **result, clockid_t clock, const struct timespec *abstime) {
	REAL_READY();
	struct g *left = left_in_parent(thread);
	if (unlikely(left != NULL))
		return join_left_in_parent(left, result);
	struct g *g = sched_started() ? thread_g(thread) : NULL, *forker = g ? NULL : thread_forker(thread);
	if (forker)
		return join_begin(forker, forker);
	if (!g) {
		struct g *self = g_goroutine();
		syscall_enter_blocking(self);
		int r = real.pthread_clockjoin_np(thread, result, clock, abstime);
		syscall_exit(self);
		return r;
	}
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)
		return EINVAL;
	int r;
	do
		r = join_until(g, result, join_deadline(abstime, clock));
	while (r == ETIMEDOUT && abstime->tv_sec >= 0 && deadline_early(abstime, clock));
	return r;
}

SHIM int pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *abstime) {
	return pthread_clockjoin_np(thread, result, CLOCK_REALTIME, abstime);
}

SHIM int thrd_join(thrd_t thread, int *result) {
	void *r;
	if (pthread_join(thread, &r) != 0)
		return thrd_error;
	if (result)
		*result = (int)(intptr_t)r;
	return thrd_success;
}

SHIM int pthread_detach(pthread_t thread) {
	REAL_READY();
	struct g *left = left_in_parent(thread);
	if (unlikely(left != NULL)) /* nobody else looks at it */
		return atomic_exchange_explicit(&thread_of(left)->life, THREAD_DETACHED, memory_order_relaxed) == THREAD_DETACHED ? EINVAL : 0;
	struct g *g = sched_started() ? thread_g(thread) : NULL, *forker = g ? NULL : thread_forker(thread);
	uint32_t life = THREAD_LIVE;
	struct g *nobody = NULL;
	if (forker)
		return atomic_compare_exchange_strong(&thread_of(forker)->life, &life, THREAD_DETACHED) ? 0 : EINVAL;
	if (!g)
		return real.pthread_detach(thread);
	struct thread *t = thread_of(g);
	if (atomic_load_explicit(&t->life, memory_order_relaxed) == THREAD_DETACHED)
		return EINVAL;
	/* Nobody may join from now on. Where somebody does already, he frees it, as in NPTL. */
	if (!atomic_compare_exchange_strong_explicit(&t->joiner, &nobody, g, memory_order_acq_rel, memory_order_relaxed))
		return nobody == g ? EINVAL : 0;
	/* acq_rel: hands the duty to free to the thread's exit, or takes it over from there */
	if (!atomic_compare_exchange_strong_explicit(&t->life, &life, THREAD_DETACHED, memory_order_acq_rel, memory_order_acquire))
		join_result(g, NULL);
	return 0;
}

SHIM int thrd_detach(thrd_t thread) {
	return pthread_detach(thread) == 0 ? thrd_success : thrd_error;
}

SHIM pid_t gettid(void) {
	struct g *g = g_goroutine();
	if (g && !g->in_vfork)
		return g->tid;
	return (pid_t)SYS0(SYS_gettid);
}
