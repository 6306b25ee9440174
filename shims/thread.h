/* struct thread: what the shims keep per goroutine, in g->ext. */
#ifndef GOSHIM_THREAD_H
#define GOSHIM_THREAD_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "shim.h"
#include "sigstate.h"

#define THREAD_NAME_BYTES 16 /* the kernel's TASK_COMM_LEN */

/*   LIVE --pthread_detach--> DETACHED --exit--> freed by itself
 *   LIVE --exit--> EXITED --join or detach--> freed by that caller */
enum thread_life { THREAD_LIVE, THREAD_DETACHED, THREAD_EXITED };

struct thread {
	union {
		void *arg;           /* until it has begun */
		struct g *joins;     /* whose joiner it is, or is about to be; its own notes */
	};
	void *result;
	_Atomic uint32_t done;       /* futex word joiners wait on: 1 = exited */
	_Atomic uint32_t life;       /* enum thread_life */
	_Atomic(struct g *) joiner;
	bool is_c11;                 /* g->start returns int */
	bool left_by_call;           /* pthread_exit() said what the result is; else it was a cancellation */
	bool own_stack;              /* the program brought the stack */
	uint8_t panic_state;         /* go_panic.c */
	int policy;                  /* this to `cpus`: what the program set; threadsched.c */
	bool sched_explicit;         /* it was made with attributes that said how it is scheduled */
	bool reset_on_fork;          /* ... what it makes does not inherit that policy, nor a nice value below 0 */
	bool panic_end;              /* a kernel thread, and libc tells go_panic.c of its end */
	uint8_t isolated;            /* the signal of its crash, from which the others are spared; 0: none. isolate.c */
	struct sched_param param;
	int nice;
	uint16_t ioprio;             /* what another thread set for it; 0: nothing. Once it is pinned the kernel knows */
	uint8_t written_down;        /* what of these its kernel thread does not have yet */
	bool cancel_told;            /* inspect_cancel() has cancelled it, in the round `cancel_round` */
	uint32_t cpus;               /* number of the set it asked for; 0: whatever the process has */
	char name[THREAD_NAME_BYTES];
	uint32_t cancel_round;       /* the last inspect_cancel() that it belongs to */
	void *group, *task;          /* of go_spawn_with(): counted in, joined by; may be NULL */
	struct cond_away *conds_away; /* waits for a go_cond in which a handler runs, innermost first; go_sync.c */
	void *panic;                 /* payload of go_panic() */
	struct panic_level *panic_level; /* the innermost go_protect(); NULL: none. go_panic.c */
	struct held *held;           /* the mutexes it holds, if they are noted; held.c */
	struct readers *readers;     /* the locks it reads, if they are noted; readers.c */
	struct ceilings *ceilings;   /* what raises its priority; NULL: nothing ever did. ceiling.c */
	struct fdcall *fdcall;       /* the call that it is in with a descriptor held, outside the runtime; fdcall.c */
	int32_t robust_ktid;         /* its kernel thread for life, by whose number robust mutexes shared with other processes know it; 0: none. robust.c */
	int32_t robust_now;          /* ... or by this one's, while it has one; 0: it has none */
	uint8_t robust_uses;         /* how often that was */
	bool loop;                   /* an event loop, counted; epoll.c */
	bool loop_hands_on;          /* ... that gives others work: it parks */
	uint8_t loop_busy;           /* ... rises with each wait where it has, and falls with the others */
	uint8_t spawned;             /* goroutines it made since it let others run for that; go_spawn.c */
	struct sigstate sig;
};

_Static_assert(sizeof(struct thread) <= G_EXT_BYTES, "struct thread must fit in struct g");

static inline struct thread *thread_of(struct g *g) {
	return (struct thread *)g->ext;
}

/* Nobody has joined it yet. */
static inline bool thread_ended(struct g *g) {
	/* acquire: as a joiner's */
	return atomic_load_explicit(&thread_of(g)->life, memory_order_acquire) == THREAD_EXITED;
}

/* epoll.c: a thread ends; a fork's child has none yet. */
void epoll_thread_gone(struct g *g);
void epoll_fork_child(void);

/* The goroutine of a pthread_t; NULL for a kernel thread (libc's own, or made before the runtime started). */
struct g *thread_g(pthread_t t);

/* The goroutine meant by a call that names a thread by its number, 0 being the caller; NULL: a process or thread of the kernel's. */
struct g *thread_meant(pid_t tid);
/* The living goroutine of that number, whoever asks; NULL: there is none. */
struct g *thread_numbered(pid_t tid);
/* The kernel thread that is g's own: the caller gets one by that. 0: it has none. */
int32_t thread_own_ktid(struct g *g);
/* The same, and another gets one as well: for calls that watch it. 0: it waits where it cannot be called back from, for a mutex or in the kernel. */
int32_t thread_give_own(struct g *g);
/* A kernel thread that has what the process was started with: main's may be pinned. */
int32_t thread_of_process(void);
/* g's policy, priority and nice value are what the kernel thread has; 0: the calling one. */
void thread_sched_reread(struct g *g, pid_t ktid);
/* The kernel thread of g, which is pinned, was given that nice value: if g is main, the process's first has it, too. */
void thread_nice_shown(struct g *g);
/* The goroutine whose CPU time the clock counts; NULL: it is another kind of clock, or a kernel thread's. In cpuclock.c. */
struct g *cpuclock_thread(clockid_t clock);

/* The calling thread ends: the robust mutexes that it holds go to their next owners. In robust.c. */
void robust_release(struct g *g);

/* Runs the destructors of thread-specific data on the calling thread, as NPTL at thread exit. In key.c. */
void key_run_destructors(void);
bool keys_were_made(void);

/* threadattr.c: what pthread_create needs to know of attributes. */
extern bool thread_default_attr_set;   /* pthread_setattr_default_np() was used */
bool thread_attr_has_stack(const pthread_attr_t *attr);

/* thread.c: by who forks; and in a fork's child. */
void thread_fork_prepare(void);
void thread_fork_child(void);

/* threadattr.c: in a fork's child. g is the goroutine that forked; NULL: a foreign thread did. */
void thread_attr_fork_child(struct g *g);
/* It was, and is, this thread, and no runtime has started since; NULL: libc knows all. */
struct g *thread_forker(pthread_t thread);
/* g forked, and this is the child. */
bool thread_is_forker(struct g *g);

/* threadattr.c: what the kernel knows of the thread that starts the runtime; a new thread's name, creator NULL if that is a foreign thread. */
void thread_attr_start(struct g *g);
void thread_name_fork_child(struct g *g);
void thread_name_inherit(struct g *g, struct g *creator);
/* n bytes, fewer than THREAD_NAME_BYTES. 0, or a positive error of the kernel's */
int thread_name_set(struct g *g, const char *name, size_t n);
void thread_name_get(struct g *g, char out[THREAD_NAME_BYTES]);

/* threadsched.c: scheduling attributes of a new thread: its creator's (NULL: a foreign thread), or what `attr` (may be NULL) says. 0, EINVAL,
 * EPERM or ENOMEM. Looks only; thread_sched_apply() writes, into one that is not queued yet. */
struct thread_sched {
	int policy, priority, nice;
	uint16_t ioprio;
	uint8_t written_down;
	uint32_t cpus;
};
int thread_policy(struct g *g);
void thread_sched_start(struct g *g);
int thread_sched_of(const pthread_attr_t *attr, struct g *creator, struct thread_sched *out);
void thread_sched_apply(struct g *g, const struct thread_sched *s);
/* The caller, who is pinned, has what was written down for it. */
void thread_sched_pinned(struct g *g);
/* The caller (NULL: no goroutine) makes a process, other than by fork(), or executes a program: its kernel thread has what is the caller's, if there is a way. */
void thread_sched_parent(struct g *g);
/* The same for one that forks: what its child can set for itself does not matter. */
void thread_sched_forker(struct g *g);
/* In a fork's child, whose only thread the caller is. */
void thread_sched_fork_child(struct g *g);
/* g, which is not the caller and not pinned, shall have that I/O priority, which the kernel found right. */
void thread_ioprio_wish(struct g *g, int ioprio);
int thread_affinity_get(struct g *g, size_t size, cpu_set_t *set);

/* True if threads are goroutines. Starts the runtime if need be. */
bool thread_runtime_ready(void);

/* A detached goroutine that will run start(arg), with its creator's name, scheduling attributes and signal mask; not queued yet. NULL: no memory. */
struct g *thread_new_detached(const struct g_stack_req *req, void *(*start)(void *), void *arg);

/* For the core: Ms, sysmon and other kernel threads of the library's own. */
int thread_kernel_create(void *(*fn)(void *), void *arg);
/* One of those, that is no M, is about to end. */
void thread_kernel_ends(void);
/* As the library is loaded: a fork's child may have to know how many threads libc counts, whether or not the runtime has started. */
void thread_find_count(void);

/* Ends the calling goroutine without running anything of the program's: its result is PTHREAD_CANCELED. */
void thread_abandon(struct g *g) __attribute__((noreturn));

/* Ends the calling goroutine as the kernel's exit(2) does: nothing of the program's or libc's is run, and its result is NULL. */
void thread_vanish(struct g *g, int status) __attribute__((noreturn));

/* Acts on a cancellation of the caller: unwinds it with this result. */
void thread_exit_unwind(void *result) __attribute__((noreturn));

#endif
