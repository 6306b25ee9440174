/* Whether Ms' waking interrupts whom the kernel would let it interrupt. See batch.c. */
#ifndef GOSHIM_BATCH_H
#define GOSHIM_BATCH_H

#include <stdbool.h>
#include <stdint.h>

/* The process's threads have the kernel's usual policy, and may ask for another. sysmon, when it starts. */
void batch_allow(void);
/* No M asks for anything any more: the program is about to filter system calls. Any thread. */
void batch_forbid(void);
/* sysmon, each tick, no lock held. `computes`: a goroutine has just been seen to run on and on. */
void batch_look(int64_t now, bool computes);
/* sysmon: is it being tried? */
bool batch_trying(void);
/* sysmon: the process is idle. */
void batch_over(void);
void batch_fork_child(void);

#endif
