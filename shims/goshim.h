/* Goroutines for C and C++ programs: link with -lgoshim (pkg-config goshim), or run under the preload.
 *
 *     void *worker(void *arg) { go_chan *c = arg; int n = 42; go_send(c, &n); return NULL; }
 *
 *     int main(void) {
 *         go_chan *c = go_chan_make(sizeof(int), 0);
 *         int n;
 *         go_spawn(worker, c);
 *         go_recv(c, &n);
 *         go_chan_free(c);
 *         return n == 42 ? 0 : 1;
 *     }
 *
 * A goroutine is a thread of the process in every respect (errno, thread_local, pthread_self(), signals), only lighter; pthreads are goroutines, too,
 * and everything below may be called from any thread, before the first go_spawn() as well. Where the library stands aside (GOSHIM=off=1, an unknown
 * libc), goroutines are kernel threads and everything still works.
 *
 * Conventions
 * - 0 (or what the function says) on success, a negative errno value on failure; errno itself is left alone. Nothing aborts.
 * - Durations are nanoseconds; GO_FOREVER: no limit; what is negative otherwise is over already, as 0 is. Waits do not end by themselves: no spurious wake-up, no -EINTR.
 * - A function with a `_ctx` at its end takes a context first, and fails with go_ctx_err() (-ECANCELED, -ETIMEDOUT; -EINVAL: it is NULL) once that is cancelled.
 * - Blocking calls on goroutines are cancellation points of pthread_cancel(), but for go_mutex_lock().
 * - go_mutex, go_cond, go_wg, go_task need no destruction; all zeroes is their initial state.
 * - In a child of fork() there is the caller only, as with pthreads: timers and deadlines that were running do not run there; new ones do. */
#ifndef GOSHIM_H
#define GOSHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GO_FOREVER INT64_C(-1)
#define GO_MILLISECOND INT64_C(1000000)
#define GO_SECOND INT64_C(1000000000)

typedef void *(*go_fn)(void *arg);
typedef struct go_chan go_chan;
typedef struct go_ctx go_ctx;

typedef struct go_mutex {
	uint32_t private_[1];
} go_mutex;
typedef struct go_cond {
	uint64_t private_[3];
} go_cond;
typedef struct go_wg {
	uint64_t private_[1];
} go_wg;
typedef struct go_task {
	uint64_t private_[2];
} go_task;

/* ---- goroutines ------------------------------------------------------------------------------------------------- */

/* Runs fn(arg) in a new goroutine, whose result nobody asks for. -EAGAIN: no memory. A caller that spawns faster than they run lets some run first. */
int go_spawn(go_fn fn, void *arg);

typedef struct go_options {
	size_t stack;  /* bytes; 0: 256 KiB, which is enough for libc. Only what is touched takes memory */
	go_wg *wg;     /* counted in it from now until it has ended */
	go_task *task; /* joinable: go_join(task) */
} go_options;

/* The same with options; NULL: none. */
int go_spawn_with(const go_options *options, go_fn fn, void *arg);

/* Counted in wg; see go_wg_wait(). */
static inline int go_spawn_wg(go_wg *wg, go_fn fn, void *arg) {
	go_options o = {0, wg, NULL};
	return go_spawn_with(&o, fn, arg);
}

/* To be joined; *task may be reused after go_join(). */
static inline int go_spawn_task(go_task *task, go_fn fn, void *arg) {
	go_options o = {0, NULL, task};
	return go_spawn_with(&o, fn, arg);
}

/* Waits for the end of a task. *result (may be NULL): what its function returned, NULL after a panic. Several may wait. -EDEADLK is not detected. */
int go_join(go_task *task, void **result);
int go_join_ctx(go_ctx *ctx, go_task *task, void **result);

/* Lets others run. */
void go_yield(void);
int go_sleep(int64_t ns);
int go_sleep_ctx(go_ctx *ctx, int64_t ns);
/* A number for this thread, different from those of all that live: what gettid() says. */
uint64_t go_self(void);
/* How many goroutines may run at once; n > 0 sets it (1..256). Returns what it was; -ENOTSUP if it cannot be changed. */
int go_gomaxprocs(int n);
/* true: this goroutine stays on its kernel thread from now on, and nobody else runs there; false: as before. Returns what it was. For libraries that keep
 * state per kernel thread. */
bool go_wired(bool on);

/* ---- channels --------------------------------------------------------------------------------------------------- */

/* For elements of elem_bytes (0 is allowed), of which it holds up to `capacity`; 0: unbuffered, a send waits for its receive. NULL: no memory. */
go_chan *go_chan_make(size_t elem_bytes, size_t capacity);
/* When nobody uses it any more. NULL is allowed. */
void go_chan_free(go_chan *c);

/* Copies the element at `elem`. -EPIPE: closed; -EINVAL: no channel, or no element though it has a size. */
int go_send(go_chan *c, const void *elem);
int go_send_ctx(go_ctx *ctx, go_chan *c, const void *elem);
/* Into *elem (NULL: drops it). -EPIPE: closed and empty, *elem is zeroes. */
int go_recv(go_chan *c, void *elem);
int go_recv_ctx(go_ctx *ctx, go_chan *c, void *elem);
/* Never wait: -EAGAIN instead. */
int go_try_send(go_chan *c, const void *elem);
int go_try_recv(go_chan *c, void *elem);
/* No more sends; receivers get what is in it, then -EPIPE. -EPIPE: it was closed. */
int go_close(go_chan *c);
size_t go_chan_len(go_chan *c);
size_t go_chan_cap(go_chan *c);

/* for each element, until the channel is closed:  GO_RANGE(c, &elem) { ... } */
#define GO_RANGE(c, elem) while (go_recv((c), (elem)) == 0)
/* ... or until ctx is cancelled, which go_ctx_err(ctx) tells */
#define GO_RANGE_CTX(ctx, c, elem) while (go_recv_ctx((ctx), (c), (elem)) == 0)

/* ---- select ----------------------------------------------------------------------------------------------------- */

typedef struct go_case {
	go_chan *chan; /* NULL: this case never happens */
	void *elem;    /* from where, or to where */
	bool send;
	bool closed;   /* out, of the case that happened: the channel is closed; nothing was sent or received */
	uint64_t private_[6];
} go_case;

static inline go_case go_case_recv(go_chan *c, void *elem) {
	go_case k = {c, elem, false, false, {0}};
	return k;
}
static inline go_case go_case_send(go_chan *c, const void *elem) {
	go_case k = {c, (void *)(uintptr_t)elem, true, false, {0}};
	return k;
}

/* Waits until one of the cases can happen, lets it, and returns its index; of several, each is as likely. -ETIMEDOUT after timeout_ns; 0 is the `default`
 * of other languages: -EAGAIN if none can happen now. The array is working space: nothing is allocated.
 * -EINVAL: one would send an element that is not there. */
int go_select(go_case *cases, size_t n, int64_t timeout_ns);
int go_select_ctx(go_ctx *ctx, go_case *cases, size_t n, int64_t timeout_ns);

/* ---- mutex, condition variable, wait group ----------------------------------------------------------------------- */

void go_mutex_lock(go_mutex *m);
int go_mutex_lock_ctx(go_ctx *ctx, go_mutex *m);
int go_mutex_trylock(go_mutex *m); /* -EBUSY */
int go_mutex_unlock(go_mutex *m);  /* -EPERM: not locked. Any thread may unlock */

/* Unlocks m, waits for a notification that comes after this call began, locks m. Returns for no other reason. With m locked again, also after an error. */
int go_cond_wait(go_cond *c, go_mutex *m);
int go_cond_wait_ctx(go_ctx *ctx, go_cond *c, go_mutex *m);
void go_cond_notify_one(go_cond *c); /* who has waited longest */
void go_cond_notify_all(go_cond *c);

/* Adds n, which may be negative. -EINVAL: it would fall below 0, -EOVERFLOW. */
int go_wg_add(go_wg *wg, int n);
int go_wg_done(go_wg *wg);
/* Until it is 0. */
int go_wg_wait(go_wg *wg);
int go_wg_wait_ctx(go_ctx *ctx, go_wg *wg);

/* ---- timers ------------------------------------------------------------------------------------------------------ */

/* A channel that gets the time (int64_t, CLOCK_MONOTONIC ns) once, after first_ns, and then every period_ns if that is not 0. It holds one: what is not fetched
 * in time is left out. Part of the caller's memory; go_timer_stop() before that goes. */
typedef struct go_timer {
	uint64_t private_[18];
} go_timer;

/* Of one that is running: starts it anew; its channel is emptied, and who waits for that goes on waiting. One that is not may be started again when nobody waits for
 * its channel. -EINVAL: a negative time; -EAGAIN, -ENOMEM. */
int go_timer_start(go_timer *t, int64_t first_ns, int64_t period_ns);
go_chan *go_timer_chan(go_timer *t);
/* 1: it had not fired yet, or is a ticker; 0: too late. What is in the channel stays there. */
int go_timer_stop(go_timer *t);
int64_t go_now(void); /* CLOCK_MONOTONIC ns */

/* ---- descriptors --------------------------------------------------------------------------------------------------- */

enum { GO_READ = 1, GO_WRITE = 2 };

/* Waits until fd is readable or writable (as events asks), or broken; returns which, GO_READ | GO_WRITE. -ETIMEDOUT after timeout_ns, -EBADF; also when another
 * thread closes it meanwhile, on goroutines and if it is no file. Plain read() and write() of blocking descriptors park the goroutine anyway; this is for the others. */
int go_wait_fd(int fd, int events, int64_t timeout_ns);
int go_wait_fd_ctx(go_ctx *ctx, int fd, int events, int64_t timeout_ns);

/* ---- contexts ------------------------------------------------------------------------------------------------------ */

go_ctx *go_ctx_background(void);
/* Children of parent: cancelled when it is, or by go_ctx_cancel(), or at the deadline (CLOCK_MONOTONIC ns, see go_now(); GO_FOREVER: none),
 * which is at once if that is over. Each is to be released. NULL: no memory, or the parent is NULL for that reason: everything below takes NULL, and calls that
 * wait fail with -EINVAL. */
go_ctx *go_ctx_with_cancel(go_ctx *parent);
go_ctx *go_ctx_with_deadline(go_ctx *parent, int64_t when);
go_ctx *go_ctx_with_timeout(go_ctx *parent, int64_t ns);
go_ctx *go_ctx_with_value(go_ctx *parent, const void *key, void *value);
/* Cancels ctx and everything below it. Harmless if it is cancelled already; does nothing to background and to what go_ctx_with_value() made. */
void go_ctx_cancel(go_ctx *ctx);
/* One more user, one user less. The last release stops its timer and takes it out of its parent; it cancels nothing. */
void go_ctx_retain(go_ctx *ctx);
void go_ctx_release(go_ctx *ctx);
/* A channel that is closed when ctx is cancelled, for go_select(); NULL if that never happens. Nobody may send on it or close it. */
go_chan *go_ctx_done(go_ctx *ctx);
int go_ctx_err(go_ctx *ctx);          /* 0, -ECANCELED or, after its deadline, -ETIMEDOUT */
int64_t go_ctx_deadline(go_ctx *ctx); /* GO_FOREVER: none */
void *go_ctx_value(go_ctx *ctx, const void *key); /* the nearest one; NULL: none */

/* ---- panics -------------------------------------------------------------------------------------------------------- */

/* Ends the calling goroutine as pthread_exit() does: cleanup handlers, destructors of C++ objects and GO_DEFERs run, innermost first, up to the goroutine's
 * function or the nearest go_protect(). C code needs -fexceptions for that (goshim.pc has it). If none of the deferred functions recovers, the panic handler is
 * called; then the goroutine has ended, and the others go on. On the main thread of the program, and on the one that a child of fork() begins with, abort() follows.
 * A panic in a deferred function takes the place of the one that was, and so does pthread_exit(). A C++ function that is noexcept, as destructors are, cannot be left by
 * a panic: std::terminate() follows. */
void go_panic(void *payload) __attribute__((noreturn));
/* In a deferred function: takes the panic that is unwinding this thread, up to the nearest go_protect(), and returns its payload; NULL if there is none. Unwinding goes on to the goroutine's
 * function or the nearest go_protect(), which then end without the handler. */
void *go_recover(void);
/* Calls fn(arg), and returns when it does (0), or when a panic inside ends here (1; *payload, may be NULL, is the payload unless it was recovered). Deferred
 * functions may call it, too: what ends there leaves the panic outside as it is. */
int go_protect(void (*fn)(void *arg), void *arg, void **payload);
/* Sees the payload of every panic that nobody recovered, on the goroutine that ends. NULL: the default, one line on stderr. Returns the one before. */
typedef void (*go_panic_handler)(void *payload);
go_panic_handler go_set_panic_handler(go_panic_handler handler);

/* GO_DEFER(fn, arg); calls fn(arg) when the enclosing block is left, in whatever way. */
struct go_deferred {
	void (*fn)(void *arg);
	void *arg;
};
static inline void go_deferred_run(struct go_deferred *d) {
	d->fn(d->arg);
}
#define GO_DEFER_NAME_(number) go_deferred_##number
#define GO_DEFER_NAME(number) GO_DEFER_NAME_(number)
#define GO_DEFER(fn, arg) \
	struct go_deferred GO_DEFER_NAME(__COUNTER__) __attribute__((cleanup(go_deferred_run), unused)) = {(fn), (arg)}

#ifdef __cplusplus
}
#endif

#endif
