/* As sig_eintr, on threads that keep a kernel thread each: they wait for descriptors in the kernel. SIG-1, SEC-1 */
#define WIRED
#include "sig_eintr.c"
