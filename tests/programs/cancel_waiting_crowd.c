/* As cancel_waiting_wired, where bad luck is the rule: kernel threads end, are made and wait for each other in libc all the time, and no goroutine is needed to wake who waits there. */
#define WIRED
#include "cancel_waiting.c"
