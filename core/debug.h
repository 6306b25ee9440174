/* What the checks of a debug build are told (debug.c); nothing in others. Locks: lock.h. States: proc.h. */
#ifndef GOSHIM_DEBUG_H
#define GOSHIM_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

struct p;

#ifdef GOSHIM_DEBUG
/* Who is queued while sysmon sleeps because there is nothing to watch, and has been forgotten, waits until sysmon wakes for something else, if it ever does. A
 * debug build is to report that: it does not wake for them. */
enum { DEBUG_LEAVES_QUEUED = true };
/* Ends the process with a sentence and a dump of every goroutine. */
void debug_die(const char *why) __attribute__((noreturn));
/* sysmon, each time it wakes. */
void debug_look(int64_t now);
/* sysmon, which has nothing to watch and would sleep until `next`: looks, and says until when it may sleep to look again. */
int64_t debug_asleep(int64_t next);
extern bool debug_looks_asleep; /* false: not even then; for a test that counts how often an idle process wakes */
/* p is about to become an M's; to go into the idle list (sched.lock held). */
void debug_p_given(struct p *p);
void debug_p_idles(struct p *p);
/* The kernel refused a thread: what is queued may wait for a while. */
void debug_m_refused(void);
/* wakep() ended the poller's sleep: it will look for work. */
void debug_poller_broken(void);
/* m.c: wakes the maker, which may have nothing to do; how often it has run. */
uint32_t maker_nudge(void);
/* What the parent's sysmon saw is nothing here. */
void debug_fork_child(void);
#else
enum { DEBUG_LEAVES_QUEUED = false };
static inline void debug_look(int64_t now) {
	(void)now;
}
static inline int64_t debug_asleep(int64_t next) {
	return next;
}
static inline void debug_p_given(struct p *p) {
	(void)p;
}
static inline void debug_p_idles(struct p *p) {
	(void)p;
}
static inline void debug_m_refused(void) {
}
static inline void debug_poller_broken(void) {
}
static inline void debug_fork_child(void) {
}
#endif

#endif
