/* Panics of goshim.h.
 *
 * go_panic() is pthread_exit() with a payload: libc's forced unwinding runs what it runs there (pthread cleanup handlers, destructors of C++ objects,
 * __attribute__((cleanup))), and arrives at the buffer that was registered last with __pthread_register_cancel: that of the thread's outermost frame
 * (thread_main, thread_run_main), or of a go_protect() further in. There the thread is taken back to normal life, which pthread_exit() never does:
 * libc marks an exiting thread in its cancelhandling word, and the mark is cleared again.
 *
 * The state is in struct thread, for kernel threads in the part of their G that nobody else uses. */
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>

#include "../core/tcb.h"
#include "golib.h"
#include "thread.h"

enum panic_state { NO_PANIC, PANICKING, RECOVERED };

#define CANCEL_EXITING 16 /* glibc's bit in the cancelhandling word */

static _Atomic(go_panic_handler) handler;

SHIM go_panic_handler go_set_panic_handler(go_panic_handler h) {
	return atomic_exchange(&handler, h);
}

/* Kernel threads that go_spawn() did not make have no frame of ours below them. libc calls this after their unwinding. */
static void kernel_thread_ends(void *g) {
	golib_unwound(g, false);
}

SHIM void go_panic(void *payload) {
	static char here;
	struct g *g = g_self();
	struct thread *t = thread_of(g);
	REAL_READY();
	if (!g_goroutine() && !t->panic_end && real.__cxa_thread_atexit_impl)
		t->panic_end = real.__cxa_thread_atexit_impl(kernel_thread_ends, g, &here) == 0;
	t->panic = payload;
	t->panic_state = PANICKING; /* also when a deferred function panics: the last one counts */
	thread_exit_unwind(NULL);
}

SHIM void *go_recover(void) {
	struct thread *t = thread_of(g_self());
	if (t->panic_state != PANICKING)
		return NULL;
	t->panic_state = RECOVERED;
	return t->panic;
}

void golib_rejoin(void *buf) {
	struct g *g = g_self();
	real.__pthread_unregister_cancel(buf);
	thread_of(g)->left_by_call = false;
	const char *why;
	if (tcb_offsets(&why) == 0) /* known already, unless there is no runtime */
		atomic_fetch_and_explicit(tcb_cancelhandling(arch_tp()), ~CANCEL_EXITING, memory_order_relaxed);
}

/* Runs fn(arg) as go_protect() does; *result its value. True: a panic ended it; what go_recover() did not take is *payload. */
static bool run(go_fn fn, void *arg, void **result, bool *recovered, void **payload) {
	__pthread_unwind_buf_t buf;
	REAL_READY();
	if (__sigsetjmp_cancel(buf.__cancel_jmp_buf, 0) == 0) {
		real.__pthread_register_cancel(&buf);
		void *r = fn(arg);
		real.__pthread_unregister_cancel(&buf);
		if (result)
			*result = r;
		return false;
	}
	struct thread *t = thread_of(g_self());
	if (t->panic_state == NO_PANIC)
		real.__pthread_unwind_next(&buf); /* pthread_exit() or a cancellation: not our business */
	*recovered = t->panic_state == RECOVERED;
	*payload = t->panic;
	t->panic_state = NO_PANIC;
	golib_rejoin(&buf);
	return true;
}

struct protected_call {
	void (*fn)(void *);
	void *arg;
};

static void *protected_run(void *arg) {
	struct protected_call *call = arg;
	call->fn(call->arg);
	return NULL;
}

SHIM int go_protect(void (*fn)(void *arg), void *arg, void **payload) {
	struct protected_call call = {fn, arg};
	bool recovered;
	void *p = NULL;
	int r = run(protected_run, &call, NULL, &recovered, &p);
	if (payload)
		*payload = r && !recovered ? p : NULL;
	return r;
}

/* ---- nobody recovered -------------------------------------------------------------------------------------------------------- */

static char *text_number(char *end, uint64_t n, unsigned base) {
	do
		*--end = "0123456789abcdef"[n % base];
	while ((n /= base) != 0);
	return end;
}

static char *text_put(char *at, const char *s) {
	while (*s)
		*at++ = *s++;
	return at;
}

static void say(struct g *g, void *payload) {
	char line[160], number[24];
	number[23] = '\0';
	char *at = text_put(line, "goshim: panic in goroutine ");
	at = text_put(at, text_number(number + 23, (uint64_t)g->tid, 10));
	at = text_put(at, ", payload 0x");
	at = text_put(at, text_number(number + 23, (uint64_t)(uintptr_t)payload, 16));
	*at++ = '\n';
	SYS3(SYS_write, 2, line, at - line);
}

static void unrecovered(struct g *g, void *payload, bool is_main) {
	go_panic_handler h = atomic_load(&handler);
	if (h)
		h(payload);
	else
		say(g, payload);
	if (is_main)
		abort();
}

bool golib_unwound(struct g *g, bool is_main) {
	struct thread *t = thread_of(g);
	uint8_t state = t->panic_state;
	t->panic_state = NO_PANIC;
	if (state == PANICKING)
		unrecovered(g, t->panic, is_main);
	return state != NO_PANIC;
}

bool golib_run(go_fn fn, void *arg, void **result) {
	bool recovered;
	void *payload;
	if (!run(fn, arg, result, &recovered, &payload))
		return false;
	if (!recovered)
		unrecovered(g_self(), payload, false);
	return true;
}
