/* Processes: fork, vfork, spawn, and the calls that change the credentials of every kernel thread.
 *
 * fork. The child has one thread: the calling goroutine, on the stack and the TCB it has. Everything else of the
 * runtime is forgotten and made anew at the child's first pthread_create. The repair runs as an atfork handler that
 * is registered before any other (this library's constructors are the first of the process): libc calls prepare
 * handlers last-registered first, so ours is the last thing before the clone, and child handlers first-registered
 * first, so ours is done before any handler of the program unlocks its mutexes. libc-internal forks (daemon,
 * forkpty) pass through the same handlers; _Fork, which runs none, is a shim. All signals are blocked from prepare
 * until the child is repaired: a handler must not find half a runtime (FRK-16).
 *
 * vfork. The child runs on the parent's stack with the parent's TLS until it execs: arch/ has the entry point, which
 * calls vfork_before() and vfork_after() around the system call. In between g->in_vfork (and vfork_depth, which
 * processes without goroutines have, too) makes shims libc's own functions: the child must touch neither the
 * scheduler nor the tables of descriptors and signal handlers, which are the parent's (FRK-5).
 *
 * setuid & co. libc tells every kernel thread in its list by SIGSETXID and waits for each. It identifies threads,
 * the caller included, by their TCBs, and a goroutine's is not in the list. So the call runs with the thread pointer
 * of the M's own TCB, and so does libc's handler on the other Ms (reserved_entry in sigentry.c). For the first kernel thread libc's list has
 * main's TCB, which is main's goroutine's wherever it runs: there, a kernel thread that is made for it does the call. And libc leaves out a thread
 * that is exiting, which main may be for as long as the process lives, while its kernel thread runs others: for the call, main's TCB does not say so. */
#include <grp.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
#include <wordexp.h>

#include "../core/futex.h"
#include "../core/netpoll.h"
#include "../core/pages.h"
#include "../core/runtime.h"
#include "../core/tcb.h"
#include "ceiling.h"
#include "fdtable.h"
#include "inside.h"
#include "io.h"
#include "pinned.h"
#include "process.h"
#include "shim.h"
#include "sigstate.h"
#include "sync.h"
#include "thread.h"

/* ---- fork
 * ------------------------------------------------------------------------------------------------------------- */

/* In the goroutine's TLS: the child's is the parent's. */
static __thread uint64_t fork_mask;
static __thread bool fork_blocked;
static __thread enum tp_hold fork_hold;

bool process_in_fork(void) {
	return fork_blocked;
}

/* From here to fork_done() the mask is this kernel thread's alone: neither g->sigmask nor m->kmask say that all is blocked. They need not,
 * because the goroutine stays on its M, alone: it is wired, no handler of the program runs in between (ours are the innermost), and libc's own locks, all that
 * waits, see process_in_fork() and wait in the kernel (lock_wait_forking() in inside.c); no signal comes to preempt it. */
static void fork_prepare(void) {
	fdtable_fork_prepare();
	thread_fork_prepare();
	fork_blocked = sched_started();
	if (!fork_blocked)
		return;
	struct g *g = g_goroutine();
	if (g) {
		fork_hold = m_parent_begin(g); /* the child begins with what the kernel has */
	}
	uint64_t all = ~(SIG_NEVER_BLOCKED | arch_signals_open); /* libc's two stay open: setuid() elsewhere waits for our answer */
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &fork_mask, 8);
	netpoll_fork_prepare();
}

static void fork_done(void) {
	if (!fork_blocked)
		return;
	fork_blocked = false;
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &fork_mask, 0, 8);
	struct g *g = g_goroutine();
	if (g) { /* not in the child */
		g_tp_release(g, fork_hold);
	}
}

static void fork_parent(void) {
	bool blocked = fork_blocked;
	fdtable_fork_parent();
	fork_done();
	if (blocked)
		netpoll_fork_parent(); /* may run handlers: after the mask is back */
}

void process_child_fixup(void) {
	RACE_ALONE();
	if (sched_started()) {
		loader_fork_child();
		inside_fork_child();
		sig_fork_child();
		epoll_fork_child();
	}
	sched_fork_child(); /* from here on the caller is a plain thread */
	thread_fork_child();
	sigtimer_fork_child();
	robust_fork_child();
	fdtable_fork_child();
	atomic_store_explicit(&fdcall_senders, 0, memory_order_relaxed); /* one thread is left */
}

static void fork_child(void) {
	struct g *g = g_goroutine();
	if (g) {
		fork_mask |= g->sigmask & arch_signals_open;
		thread_sched_fork_child(g);
		thread_name_fork_child(g);
	}
	ceiling_fork_child(g);
	if (sched_started())
		thread_attr_fork_child(g);
	process_child_fixup();
	fork_done();
}

__attribute__((constructor)) static void process_init(void) {
	REAL_READY();
	if (real.__register_atfork)
		real.__register_atfork(fork_prepare, fork_parent, fork_child, NULL);
}

static void fork_begin(void) {
	pin_forker();
	thread_sched_forker(io_g());
}

/* Nothing to do around it: the handlers above do it all. Here for programs that look the symbol up in us, and so
 * that the pair is complete. */
SHIM pid_t fork(void) {
	REAL_READY();
	fork_begin();
	struct child_birth birth;
	sig_child_begin(&birth);
	pid_t pid = real.fork();
	sig_child_made(&birth, pid);
	return pid;
}

SHIM pid_t __fork(void);
SHIM pid_t __fork(void) {
	return fork();
}

/* Around a fork that is not libc's fork(), in whose child libc's locks are as they were. Those that threads of the program hold are the program's affair, but that we
 * make a kernel thread meanwhile, which takes several (the list of stacks, the loader's, malloc's), is ours: nobody else may be making any. */
static bool bare_fork_prepare(void) {
	bool held = maker_hold();
	fork_prepare();
	return held;
}

static void bare_fork_parent(bool held) {
	fork_parent();
	if (held)
		maker_let_go();
}

SHIM pid_t _Fork(void) {
	REAL_READY();
	fork_begin();
	struct child_birth birth;
	sig_child_begin(&birth);
	bool held = bare_fork_prepare();
	pid_t pid = real._Fork();
	sig_child_made(&birth, pid);
	if (pid == 0)
		fork_child();
	else
		bare_fork_parent(held);
	return pid;
}

/* In the child of clone(): with a table of descriptors of its own, or with the parent's. */
static void clone_began(uint64_t flags) {
	if (flags & CLONE_FILES)
		netpoll_fork_shared();
	fork_child();
}

long process_clone(long n, const long *a) {
	uint64_t flags = n == SYS_clone ? (uint64_t)a[0] : ((const struct clone_args *)a[0])->flags;
	fork_begin();
	struct child_birth birth;
	sig_child_begin(&birth);
	bool held = bare_fork_prepare();
	long r = SYS5(n, a[0], a[1], a[2], a[3], a[4]);
	sig_child_made(&birth, (pid_t)r);
	if (r != 0) {
		bare_fork_parent(held);
		return r;
	}
	clone_began(flags);
	return 0;
}

/* libc's clone() to another stack, of a process of its own memory. */
struct clone_child {
	int (*fn)(void *);
	void *arg;
	int flags;
};

static int clone_child(void *arg) {
	struct clone_child c = *(struct clone_child *)arg;
	clone_began((uint32_t)c.flags);
	int status = c.fn(c.arg);
	/* libc ends this kernel thread, and with it the process: of its own threads none is left that the kernel knows by itself. */
	if (sched_started())
		syscall(SYS_exit, status);
	return status;
}

int process_clone_fn(int (*fn)(void *), void *stack, int flags, void *arg, void *parent_tid, void *tls, void *child_tid) {
	struct clone_child c = {fn, arg, flags};
	fork_begin();
	struct child_birth birth;
	sig_child_begin(&birth);
	bool held = bare_fork_prepare();
	int pid = real.clone(clone_child, stack, flags, &c, parent_tid, tls, child_tid), error = errno;
	sig_child_made(&birth, pid);
	bare_fork_parent(held);
	errno = error;
	return pid;
}

/* ---- vfork
 * ------------------------------------------------------------------------------------------------------------ */

/* Parent and child share it. A depth: a vfork child may vfork. */
__thread unsigned vfork_depth;
static __thread enum tp_hold vfork_hold;
static __thread struct child_birth vfork_birth;

void vfork_before(void) {
	struct g *g = g_goroutine();
	if (!vfork_depth) { /* before anything is counted: they may run handlers */
		thread_sched_parent(g);
		vfork_hold = m_parent_begin(g);
	}
	if (vfork_depth++)
		return;
	if (!g) { /* nothing will tell what the child does with descriptors */
		fdtable_fork_prepare();
		return;
	}
	fdtable_spawn_prepare();
	sig_child_begin(&vfork_birth);
	syscall_enter_blocking(g); /* the kernel suspends this M until the child execs or exits */
	g->in_vfork = true;
}

pid_t vfork_after(long result) {
	struct g *g = g_goroutine();
	if (--vfork_depth == 0)
		fdtable_fork_parent();
	if (vfork_depth == 0 && g) {
		g->in_vfork = false;
		sig_child_made(&vfork_birth, (pid_t)result);
		syscall_exit(g);
		g_tp_release(g, vfork_hold);
		rt_check(g); /* for what sig_entry() left to us */
	}
	return (pid_t)sys_ret(result);
}

/* ---- spawn
 * ------------------------------------------------------------------------------------------------------------ */

/* libc does these with internal calls only: no shim runs inside the bracket. So nobody tells which descriptors file actions pass on either. */
struct spawning {
	struct g *g;
	enum tp_hold hold;
};

static struct spawning spawn_begin(const posix_spawn_file_actions_t *actions) {
	struct spawning s = {.g = g_goroutine()};
	thread_sched_parent(s.g);
	s.hold = m_parent_begin(s.g);
	if (actions)
		fdtable_fork_prepare();
	else
		fdtable_spawn_prepare();
	return s;
}

/* One who is cancelled does not come here, and leaves more caution behind than is needed. */
static void spawn_end(struct spawning s) {
	g_tp_release(s.g, s.hold);
	fdtable_fork_parent();
}

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[]);

static int spawn(spawn_function *libc, pid_t *pid, const char *name, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
		 char *const argv[], char *const envp[]) {
	struct spawning s = spawn_begin(actions);
	struct g *g = s.g;
	pid_t own;
	struct child_birth birth;
	pid = pid ? pid : &own;
	sig_child_begin(&birth);
	syscall_enter(g);
	uint64_t shown = sig_hide(g, ~0ull);
	int r = libc(pid, name, actions, attr, argv, envp);
	sig_child_made(&birth, r == 0 ? *pid : 0);
	sig_show(g, shown);
	syscall_exit(g);
	spawn_end(s);
	return r;
}

SHIM int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                     char *const argv[], char *const envp[]) {
	REAL_READY();
	return spawn(real.posix_spawn, pid, path, actions, attr, argv, envp);
}

SHIM int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                      char *const argv[], char *const envp[]) {
	REAL_READY();
	return spawn(real.posix_spawnp, pid, file, actions, attr, argv, envp);
}

SHIM int system(const char *command) {
	REAL_READY();
	struct g *g = g_goroutine();
	if (g)
		shim_testcancel(g);
	struct spawning s = spawn_begin(NULL);
	uint32_t seen = sig_seen(SIGCHLD);
	syscall_enter_blocking(g);
	uint64_t shown = sig_hide(g, command ? SIGBIT(SIGCHLD) : 0);
	sig_system(1);
	int r = real.system(command);
	sig_system(-1);
	int saved_errno = errno;
	sig_show(g, shown);
	syscall_exit(g);
	spawn_end(s);
	if (g && command && r != -1 && r != 127 << 8) /* there may have been no child */
		sig_settle(g, SIGCHLD, seen);
	errno = saved_errno;
	return r;
}

/* What libc's FILE has behind it for popen(): its table of functions, and the child. */
struct popen_file {
	FILE file;
	const void *functions;
	pid_t child;
};

/* Not bracketed: it allocates, and the program's malloc may be anything. */
SHIM FILE *popen(const char *command, const char *mode) {
	REAL_READY();
	struct spawning s = spawn_begin(NULL);
	struct child_birth birth;
	sig_child_begin(&birth);
	FILE *f = real.popen(command, mode);
	sig_child_made(&birth, f ? ((const struct popen_file *)f)->child : 0);
	spawn_end(s);
	return f;
}

/* What is in $() makes a process. */
SHIM int wordexp(const char *words, wordexp_t *result, int flags) {
	REAL_READY();
	struct g *g = g_goroutine();
	thread_sched_parent(g);
	enum tp_hold hold = m_parent_begin(g);
	int r = real.wordexp(words, result, flags);
	g_tp_release(g, hold);
	return r;
}

/* ---- credentials
 * ------------------------------------------------------------------------------------------------------ */

struct setxid {
	int (*call)(const struct setxid *x);
	unsigned a, b, c;
	const gid_t *list;
	size_t count;
	int error, result;
	_Atomic uint32_t done;
};

/* Not inlined, and errno through a function that is not either: the address of thread-local variables must not be
 * carried from one thread pointer to another (TLS-1). */
__attribute__((noinline)) static int errno_here(void) {
	__asm__ volatile("" ::: "memory");
	return errno;
}

__attribute__((noinline)) static void errno_put(int value) {
	__asm__ volatile("" ::: "memory");
	errno = value;
}

__attribute__((noinline)) static int setxid_call(struct setxid *x) {
	int r = x->call(x);
	x->error = errno_here();
	return r;
}

static void *setxid_thread(void *arg) {
	struct setxid *x = arg;
	x->result = setxid_call(x);
	atomic_store_explicit(&x->done, 1, memory_order_release); /* pairs with the acquire in setxid_elsewhere() */
	futex_wake(&x->done, 1, FUTEX_ANY);                       /* by address only: x may be gone */
	return NULL;
}

/* By a kernel thread of its own: this one is asked by a signal like all others. Here, it would be a second call after that, which
 * is not the same: what setuid() does depends on what the first has changed. Outside the runtime: making a thread takes the program's malloc.
 * False: no such thread could be made. */
static bool setxid_elsewhere(struct setxid *x) {
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all; /* it takes no signal of the program's; libc's own two stay open */
	sigfillset(&all);
	x->done = 0; /* it may be the second time */
	if (!real.pthread_attr_setsigmask_np || real.pthread_attr_init(&attr) != 0)
		return false;
	real.pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	enum tp_hold hold = g_tp_hold(g_self());
	bool made = real.pthread_attr_setsigmask_np(&attr, &all) == 0 && real.pthread_create(&thread, &attr, setxid_thread, x) == 0;
	g_tp_release(g_self(), hold);
	real.pthread_attr_destroy(&attr);
	while (made && atomic_load_explicit(&x->done, memory_order_acquire) == 0)
		futex_wait(&x->done, 0, -1, FUTEX_ANY, false, "setuid");
	return made;
}

static int setxid_tell(struct setxid *x) {
	struct g *g = g_goroutine();
	if (!g)
		return x->call(x);
	sig_reserve();
	rt_enter(g); /* no handler and no park with somebody else's thread pointer */
	if (g->m->ktid == (int32_t)SYS0(SYS_getpid)) {
		rt_exit(g);
		if (setxid_elsewhere(x)) {
			if (x->result < 0)
				errno_put(x->error);
			return x->result;
		}
		rt_enter(g);
	}
	uintptr_t mine = process_tp(), tcb = g->m->g0.ctx.tp;
	struct arch_thread *thread = &g->m->thread;
	if (tcb && tcb != mine)
		process_tp_set(thread, tcb);
	int r = setxid_call(x);
	if (tcb && tcb != mine)
		process_tp_set(thread, mine);
	rt_exit(g);
	if (r < 0)
		errno_put(x->error);
	return r;
}

/* Who begins to exit during the call, or ended a call like this meanwhile, may have been left out. Again, then: it changes nothing where it was done. */
static int setxid_run(struct setxid *x) {
	struct g *main_g = sched_started() ? sig_main() : NULL;
	if (!main_g || process_in_vfork())
		return setxid_tell(x);
	_Atomic int *state = tcb_cancelhandling(main_g->ctx.tp);
	int exiting = atomic_fetch_and(state, ~TCB_EXITING) & TCB_EXITING, r;
	while ((r = setxid_tell(x)) == 0 && (atomic_load(state) & TCB_EXITING)) {
		atomic_fetch_and(state, ~TCB_EXITING);
		exiting = TCB_EXITING;
	}
	if (exiting)
		atomic_fetch_or(state, TCB_EXITING);
	return r;
}

#define SETXID_1(name, type) \
	static int call_##name(const struct setxid *x) { \
		return real.name((type)x->a); \
	} \
	SHIM int name(type a) { \
		REAL_READY(); \
		struct setxid x = {.call = call_##name, .a = a}; \
		return setxid_run(&x); \
	}
#define SETXID_2(name, type) \
	static int call_##name(const struct setxid *x) { \
		return real.name((type)x->a, (type)x->b); \
	} \
	SHIM int name(type a, type b) { \
		REAL_READY(); \
		struct setxid x = {.call = call_##name, .a = a, .b = b}; \
		return setxid_run(&x); \
	}
#define SETXID_3(name, type) \
	static int call_##name(const struct setxid *x) { \
		return real.name((type)x->a, (type)x->b, (type)x->c); \
	} \
	SHIM int name(type a, type b, type c) { \
		REAL_READY(); \
		struct setxid x = {.call = call_##name, .a = a, .b = b, .c = c}; \
		return setxid_run(&x); \
	}

SETXID_1(setuid, uid_t)
SETXID_1(setgid, gid_t)
SETXID_1(seteuid, uid_t)
SETXID_1(setegid, gid_t)
SETXID_2(setreuid, uid_t)
SETXID_2(setregid, gid_t)
SETXID_3(setresuid, uid_t)
SETXID_3(setresgid, gid_t)

static int call_setgroups(const struct setxid *x) {
	return real.setgroups(x->count, x->list);
}

SHIM int setgroups(size_t count, const gid_t *list) {
	REAL_READY();
	struct setxid x = {.call = call_setgroups, .count = count, .list = list};
	return setxid_run(&x);
}

/* libc's would look the groups up and set them in one go; the lookup is user code (files, sockets, malloc) and stays
 * outside. */
SHIM int initgroups(const char *user, gid_t group) {
	REAL_READY();
	if (!g_goroutine())
		return real.initgroups(user, group);
	int count = 64;
	for (;;) {
		int room = count;
		gid_t *list = pages_map((size_t)room * sizeof *list);
		if (!list)
			return -1;
		if (getgrouplist(user, group, list, &count) >= 0) {
			int r = setgroups((size_t)count, list);
			/* As libc: more groups than the kernel takes are cut off. */
			while (r < 0 && errno == EINVAL && count > 1)
				r = setgroups((size_t)--count, list);
			pages_unmap(list, (size_t)room * sizeof *list);
			return r;
		}
		pages_unmap(list, (size_t)room * sizeof *list);
		if (count <= room)
			count = room * 2;
	}
}
