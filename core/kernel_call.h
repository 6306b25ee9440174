/* What the kernel tells in its files, and of them what a kernel thread of this process is doing. See kernel_call.c. */
#ifndef GOSHIM_KERNEL_CALL_H
#define GOSHIM_KERNEL_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel_call {
	bool known, running; /* running: on a CPU, or ready to */
	int64_t number;      /* -1: waits in the kernel outside a system call (a page fault) */
	uint64_t arg0, arg3, sp, pc;
};

/* A file into text, which it ends with a zero: how many bytes, or a negative error. Async-signal-safe. Takes a descriptor for the time of the call. */
long kernel_file_read(const char *path, char *text, size_t room);
/* /proc/PID/task/TID/NAME (pid 0: of this process), the same way. */
long task_file_read(int32_t pid, int32_t tid, const char *name, char *text, size_t room);

/* There is a kernel thread of this process with this id. A zombie counts, which only the first one can be. */
bool kernel_thread_exists(int32_t tid);

/* Of the kernel thread with this id. Any thread; takes a descriptor for the time of the call, so it is for what is rare. */
struct kernel_call kernel_call_of(int32_t ktid);

/* The decimal number that follows `field`, blanks included, in such a text. False: it has no such field. */
bool kernel_number_after(const char *text, const char *field, uint64_t *value);

#endif
