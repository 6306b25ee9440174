/* What the race detector of tests/race cannot see by itself, said where it happens. Nothing in other builds.
 *
 * It sees every access and every atomic operation of core/ and shims/. It does not see order that comes from the kernel (a thread that is made begins after what
 * its maker did; an event comes after the registration) or from assembler (a context switch). RACE_BEFORE(key) says: what I did until now is before
 * whoever passes RACE_AFTER(key) later. RACE_OURS: new memory of the runtime's; nobody has used it before. RACE_ALONE(): all others are over, and before me (a fork's
 * child).
 */
#ifndef GOSHIM_RACE_H
#define GOSHIM_RACE_H

#ifdef GOSHIM_RACE
#include <stddef.h>
void race_before(const void *key);
void race_after(const void *key);
void race_ours(const void *from, size_t bytes);
void race_alone(void);
#define RACE_BEFORE(key) race_before(key)
#define RACE_AFTER(key) race_after(key)
#define RACE_OURS(from, bytes) race_ours((from), (bytes))
#define RACE_ALONE() race_alone()
#else
#define RACE_BEFORE(key) ((void)0)
#define RACE_AFTER(key) ((void)0)
#define RACE_OURS(from, bytes) ((void)0)
#define RACE_ALONE() ((void)0)
#endif

#endif
