/* A filter of system calls that kills who reads a process's memory by one, which no thread of NPTL's does. */
#ifndef NEVER_READ_H
#define NEVER_READ_H

#include <sys/prctl.h>

#include "killing_filter.h"
#include "sync_test.h"

static void never_read(int flags) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), NEVER(process_vm_readv), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof code / sizeof *code, code};
	EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter), 0);
}

#endif
