/* GOSHIM=panic=isolate: a thread that crashes ends alone. See isolate.c; held.c keeps which mutexes a goroutine holds. */
#ifndef GOSHIM_ISOLATE_H
#define GOSHIM_ISOLATE_H

#include <pthread.h>
#include <signal.h>

#include "shim.h"

struct held;

/* What the settings say. Before the runtime starts. */
void isolate_configure(bool on, bool release, uint32_t limit);
/* The runtime has started, and its main goroutine is the only one. */
void isolate_start(void);

/* Does a signal for which the program has no handler come to isolate_crash()? */
bool isolate_catches(int sig);
/* Signals that g's mask leaves open all the same: the kernel ends the process for a fault that is blocked. Of those four, what has no handler. */
uint64_t isolate_open(const struct g *g);
/* The kernel's disposition of such a signal when the program wants the default. Async-signal-safe. */
void isolate_arm(int sig);
/* In the kernel's handler, on the M's own stack, g (may be NULL) as it was interrupted. True: the frame was changed, and the goroutine goes on to its
 * end. False: the default action is due. */
bool isolate_crash(struct g *g, int sig, siginfo_t *info, void *context);

/* ---- held.c ---- */

/* The caller has taken m, or is about to let it go. */
void held_note(pthread_mutex_t *m);
void held_forget(pthread_mutex_t *m);
/* Of those that g has noted, one that it holds still, and takes it off the list; NULL: no more. Reads the program's memory by peek(). */
pthread_mutex_t *held_next(struct g *g);
/* A new thread begins in g: what its list was made for is another's. */
void held_reset(struct held *h);

/* In mutex.c: from now on every lock and unlock is noted. */
void mutex_note_all(void);

#endif
