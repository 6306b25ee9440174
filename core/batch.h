/* Whether Ms' waking interrupts whom the kernel would let it interrupt. See batch.c. */
#ifndef GOSHIM_BATCH_H
#define GOSHIM_BATCH_H

#include <stdbool.h>
#include <stdint.h>

/* The process's threads have the kernel's usual policy, and may ask for another. sysmon, when it starts. */
void batch_allow(void);
/* All Ms have the policy that they began with, and none asks for another any more: the program is about to filter system calls, of all threads. Any thread, outside the
 * runtime; waits for sysmon. */
void batch_forbid(void);
/* There is no filter after all. */
void batch_forbid_undo(void);
/* sysmon, each tick, no lock held: what batch_forbid() waits for. */
void batch_take_back(void);
/* sysmon, each tick, no lock held. `computes`: a goroutine has just been seen to run on and on. */
void batch_look(int64_t now, bool computes);
/* sysmon: is it being tried? */
bool batch_trying(void);
/* sysmon: the process is idle. */
void batch_over(void);
void batch_fork_child(void);

#endif
