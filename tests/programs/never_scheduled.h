/* A filter of system calls that kills who touches how the kernel schedules. */
#ifndef NEVER_SCHEDULED_H
#define NEVER_SCHEDULED_H

#include "killing_filter.h"

static struct sock_filter code[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	NEVER(sched_setattr), NEVER(sched_setscheduler), NEVER(sched_setparam), NEVER(sched_setaffinity), NEVER(setpriority), NEVER(ioprio_set),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
static struct sock_fprog filter = {sizeof code / sizeof *code, code};

#endif
