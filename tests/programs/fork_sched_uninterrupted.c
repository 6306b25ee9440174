/* As fork_sched, where nobody interrupts a thread that computes: what was set for it meanwhile its children have all the same. */
#include "fork_sched.c"
