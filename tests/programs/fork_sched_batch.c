/* The same while kernel threads wait with a policy that is not the program's. */
#include "fork_sched.c"
