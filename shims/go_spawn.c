/* Goroutines of goshim.h: made as detached threads are (thread.c), with a small stack.
 *
 * They are full threads to libc. What makes them lighter is the slot of address space: 64 KiB instead of 8 MiB shares its page table with thirty
 * others. A spawner that is faster than the goroutines run is made to yield now and then: with at most SPAWN_AHEAD of them queued, the next ones
 * find the warm stacks of those that have ended, and a loop of a million spawns needs the memory of some dozens.
 *
 * Who waits for a goroutine (wait group, task) is told when it is past its last program code, destructors included.
 *
 * Where the library stands aside they are detached kernel threads; what such a thread needs to know is in a small object that it frees. */
#include <pthread.h>
#include <unistd.h>

#include "../core/futex.h"
#include "../core/procs.h"
#include "../core/runtime.h"
#include "../core/slab.h"
#include "golib.h"
#include "thread.h"

#define STACK_DEFAULT (256ul << 10) /* less takes more memory: TCB_CUT_LEAST */
#define STACK_MIN (16ul << 10)
#define STACK_MAX (1ul << 30)
#define GUARD 4096ul
#define SPAWN_AHEAD 48u

bool golib_start(void) {
	REAL_READY();
	if (likely(sched_started()))
		return true;
	sched_thread_create = thread_kernel_create;
	return thread_runtime_ready();
}

/* ---- the end ----------------------------------------------------------------------------------------------------------- */

struct task {
	_Atomic uint32_t done; /* futex word */
	void *result;
};
_Static_assert(sizeof(struct task) <= sizeof(go_task), "go_task has room for a task");

static void tell(go_wg *wg, go_task *public_task, void *result) {
	struct task *task = (struct task *)public_task;
	if (task) {
		task->result = result;
		/* release: publishes the result. The address is only a key afterwards. */
		atomic_store_explicit(&task->done, 1, memory_order_release);
		futex_wake(&task->done, INT32_MAX, FUTEX_ANY);
	}
	if (wg)
		go_wg_done(wg);
}

void golib_thread_done(struct g *g) {
	struct thread *t = thread_of(g);
	tell(t->group, t->task, t->result);
	t->group = t->task = NULL;
}

static int join(struct ctx *ctx, go_task *public_task, void **result) {
	struct task *task = (struct task *)public_task;
	struct chan *done = ctx ? ctx_done(ctx) : NULL;
	/* acquire: see tell() */
	while (atomic_load_explicit(&task->done, memory_order_acquire) == 0) {
		int r = chan_futex_wait(&task->done, 0, -1, done, "go_join");
		if (r == -ECANCELED)
			return ctx_err(ctx);
		if (r == -EINTR)
			golib_interrupted();
	}
	if (result)
		*result = task->result;
	return 0;
}

SHIM int go_join(go_task *task, void **result) {
	return join(NULL, task, result);
}

SHIM int go_join_ctx(go_ctx *ctx, go_task *task, void **result) {
	int err = golib_ctx_refuses(ctx);
	return err ? err : join(ctx_of(ctx), task, result);
}

/* ---- kernel threads instead ---------------------------------------------------------------------------------------------- */

struct aside {
	go_fn fn;
	void *arg, *result;
	go_options options;
};

static void aside_end(void *arg) {
	struct aside *a = arg;
	struct aside copy = *a;
	slab_free(a, sizeof *a);
	tell(copy.options.wg, copy.options.task, copy.result);
}

static void *aside_main(void *arg) {
	struct aside *a = arg;
	pthread_cleanup_push(aside_end, a);
	if (golib_run(a->fn, a->arg, &a->result))
		a->result = NULL;
	pthread_cleanup_pop(1);
	return NULL;
}

static int aside_spawn(const go_options *options, go_fn fn, void *arg) {
	struct aside *a = slab_alloc(sizeof *a);
	pthread_attr_t attr;
	pthread_t thread;
	if (!a)
		return -EAGAIN;
	*a = (struct aside){.fn = fn, .arg = arg, .options = *options};
	if (real.pthread_attr_init(&attr) != 0) {
		slab_free(a, sizeof *a);
		return -EAGAIN;
	}
	real.pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (options->stack > STACK_DEFAULT)
		real.pthread_attr_setstacksize(&attr, options->stack);
	int r = real.pthread_create(&thread, &attr, aside_main, a);
	real.pthread_attr_destroy(&attr);
	if (r)
		slab_free(a, sizeof *a);
	return -r;
}

/* ---- the beginning --------------------------------------------------------------------------------------------------------- */

static int spawn(const go_options *options, go_fn fn, void *arg) {
	if (unlikely(!golib_start()))
		return aside_spawn(options, fn, arg);
	struct g_stack_req req = {.size = options->stack ? options->stack : STACK_DEFAULT, .guard = GUARD};
	struct g *g = thread_new_detached(&req, fn, arg);
	if (!g)
		return -EAGAIN;
	struct thread *t = thread_of(g);
	t->group = options->wg;
	t->task = options->task;
	ready_new(g);
	return 0;
}

/* A hint, read without care: the P may be another by now. Only who spawns in a loop gives way: if each of a tree of goroutines that make a few did,
 * the tree would be walked level by level, and all of it live at once. */
static void let_run(void) {
	struct g *g = g_goroutine();
	if (!g || ++thread_of(g)->spawned < SPAWN_AHEAD)
		return;
	thread_of(g)->spawned = 0;
	struct m *m = g->m;
	struct p *p = m ? m->p : NULL;
	/* Without a P the global queue is where they are. */
	if (p ? runq_length(p) >= SPAWN_AHEAD : m && atomic_load_explicit(&sched.runq.size, memory_order_relaxed) >= SPAWN_AHEAD)
		g_yield(g);
}

SHIM int go_spawn_with(const go_options *options, go_fn fn, void *arg) {
	static const go_options none;
	if (!options)
		options = &none;
	if (!fn || (options->stack && (options->stack < STACK_MIN || options->stack > STACK_MAX)))
		return -EINVAL;
	if (options->task)
		atomic_store_explicit(&((struct task *)options->task)->done, 0, memory_order_relaxed);
	int r = options->wg ? go_wg_add(options->wg, 1) : 0;
	if (r)
		return r;
	r = spawn(options, fn, arg);
	if (r && options->wg)
		go_wg_done(options->wg);
	let_run();
	return r;
}

SHIM int go_spawn(go_fn fn, void *arg) {
	return go_spawn_with(NULL, fn, arg);
}

/* ---- the rest ------------------------------------------------------------------------------------------------------------ */

SHIM void go_yield(void) {
	g_yield(g_self());
}

SHIM int go_gomaxprocs(int n) {
	if (!golib_start()) /* kernel threads: as many as there are CPUs */
		return n > 0 ? -ENOTSUP : (int)sysconf(_SC_NPROCESSORS_ONLN);
	if (n <= 0)
		return (int)__atomic_load_n(&sched_config.gomaxprocs, __ATOMIC_RELAXED);
	return procs_set((uint32_t)n);
}

SHIM bool go_wired(bool on) {
	golib_start(); /* whether it is a goroutine is decided from here on */
	return g_wire(g_self(), on);
}

SHIM uint64_t go_self(void) {
	return (uint64_t)g_self()->tid;
}

SHIM int64_t go_now(void) {
	return nanotime();
}
