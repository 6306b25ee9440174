/* What the race detector of tests/race cannot see by itself, said where it happens. Nothing in other builds.
 *
 * It sees every access and every atomic operation of core/ and shims/. It does not see order that comes from the kernel (a thread that is made begins after what
 * its maker did; an event comes after the registration) or from assembler (a context switch).
 *
 *   RACE_BEFORE(key)       what I did until now is before whoever passes RACE_AFTER(key) later
 *   RACE_SAME_THREAD()     at both ends of a handler and of a switch: all that ran on this M before, whichever G's it was
 *   RACE_COMES_AGAIN(...)  at the begin of a handler (its arguments): it has interrupted the detector, shall return at once, and will be called again
 *   RACE_OURS(from, bytes) new memory of the runtime's; nobody has used it before
 *   RACE_ALARM(alarm, s)   alarm(s), whose seconds last longer: a watched program is slower
 *   RACE_ALONE()           all others are over, and before me (a fork's child)
 */
#ifndef GOSHIM_RACE_H
#define GOSHIM_RACE_H

#ifdef GOSHIM_RACE
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
void race_before(const void *key);
void race_after(const void *key);
void race_ours(const void *from, size_t bytes);
void race_alone(void);
void race_same_thread(void);
bool race_comes_again(int sig, siginfo_t *info, void *context);
unsigned race_alarm(unsigned seconds);
#define RACE_ALARM(real, seconds) ((void)(real), race_alarm(seconds))
#define RACE_BEFORE(key) race_before(key)
#define RACE_AFTER(key) race_after(key)
#define RACE_OURS(from, bytes) race_ours((from), (bytes))
#define RACE_ALONE() race_alone()
#define RACE_SAME_THREAD() race_same_thread()
#define RACE_COMES_AGAIN(sig, info, context) race_comes_again((sig), (info), (context))
#else
#define RACE_ALARM(real, seconds) (real)(seconds)
#define RACE_BEFORE(key) ((void)0)
#define RACE_AFTER(key) ((void)0)
#define RACE_OURS(from, bytes) ((void)0)
#define RACE_ALONE() ((void)0)
#define RACE_SAME_THREAD() ((void)0)
#define RACE_COMES_AGAIN(sig, info, context) ((void)(sig), (void)(info), (void)(context), false)
#endif

#endif
