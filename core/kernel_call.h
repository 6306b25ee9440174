/* What a kernel thread of this process is doing, as the kernel tells it. See kernel_call.c. */
#ifndef GOSHIM_KERNEL_CALL_H
#define GOSHIM_KERNEL_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel_call {
	bool known, running; /* running: on a CPU, or ready to */
	int64_t number;      /* -1: waits in the kernel outside a system call (a page fault) */
	uint64_t arg0, sp, pc;
};

/* /proc/PID/task/TID/NAME (pid 0: of this process) into text, which it ends with a zero: how many bytes, or a negative error. Async-signal-safe. */
long task_file_read(int32_t pid, int32_t tid, const char *name, char *text, size_t room);

/* Of the kernel thread with this id. Any thread; takes a descriptor for the time of the call, so it is for what is rare. */
struct kernel_call kernel_call_of(int32_t ktid);

#endif
