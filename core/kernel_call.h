/* What a kernel thread of this process is doing, as the kernel tells it. See kernel_call.c. */
#ifndef GOSHIM_KERNEL_CALL_H
#define GOSHIM_KERNEL_CALL_H

#include <stdbool.h>
#include <stdint.h>

struct kernel_call {
	bool known, running; /* running: on a CPU, or ready to */
	int64_t number;      /* -1: waits in the kernel outside a system call (a page fault) */
	uint64_t arg0, sp, pc;
};

/* Of the kernel thread with this id. Any thread; takes a descriptor for the time of the call, so it is for what is rare. */
struct kernel_call kernel_call_of(int32_t ktid);

#endif
