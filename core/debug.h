/* What the checks of a debug build are told (debug.c); nothing in others. Locks: lock.h. States: proc.h. */
#ifndef GOSHIM_DEBUG_H
#define GOSHIM_DEBUG_H

#include <stdint.h>

#ifdef GOSHIM_DEBUG
/* Ends the process with a sentence and a dump of every goroutine. */
void debug_die(const char *why) __attribute__((noreturn));
/* sysmon, each time it wakes. */
void debug_look(int64_t now);
/* The kernel refused a thread: what is queued may wait for a while. */
void debug_m_refused(void);
/* wakep() ended the poller's sleep: it will look for work. */
void debug_poller_broken(void);
/* What the parent's sysmon saw is nothing here. */
void debug_fork_child(void);
#else
static inline void debug_look(int64_t now) {
	(void)now;
}
static inline void debug_m_refused(void) {
}
static inline void debug_poller_broken(void) {
}
static inline void debug_fork_child(void) {
}
#endif

#endif
