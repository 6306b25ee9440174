/* unwatched PROGRAM [ARGUMENT]...: runs it where the kernel has no memory for anything that the library wants to register with its epoll (ENOSPC, as at the
 * limit of fs.epoll.max_user_watches). A filter tells the library's epoll from the program's by the number: it is above those that programs get, and so is
 * the one descriptor of its own that it registers. For RUN_PROGRAMS_UNDER (make refused). */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ABOVE 1000
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))

int main(int argc, char **argv) {
	struct sock_filter code[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_ctl, 0, 7),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ABOVE, 0, 5),
		LOAD(args[1]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, EPOLL_CTL_DEL, 3, 0),
		LOAD(args[2]),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ABOVE, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSPC),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof code / sizeof *code, code};
	const char *library = getenv("UNDER_PRELOAD");
	if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		perror("unwatched");
		return 125;
	}
	if (library)
		setenv("LD_PRELOAD", library, 1);
	execv(argv[1], argv + 1);
	perror(argv[1]);
	return 126;
}
