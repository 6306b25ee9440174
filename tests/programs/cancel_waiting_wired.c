/* As cancel_waiting, on threads that keep a kernel thread each: they wait for descriptors in the kernel. SEC-1 */
#define WIRED
#include "cancel_waiting.c"
