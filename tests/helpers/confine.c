/* Runs a program with less than it may expect: system calls that fail, limits, another user.
 *
 *     confine [CALL=ERRNO | nofile=N | nproc=N | as=BYTES | uid=N]... -- PROGRAM ARG...
 *
 * ERRNO is a number. nproc counts the processes and threads of a user: give it a uid nobody else has. Exit status 77: not possible here. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct call {
	const char *name;
	int number;
} calls[] = {
	{"clone", SYS_clone},
	{"clone3", SYS_clone3},
	{"epoll_create1", SYS_epoll_create1},
	{"epoll_ctl", SYS_epoll_ctl},
	{"epoll_pwait2", SYS_epoll_pwait2},
	{"eventfd2", SYS_eventfd2},
	{"madvise", SYS_madvise},
	{"membarrier", SYS_membarrier},
	{"mremap", SYS_mremap},
	{"preadv2", SYS_preadv2},
	{"pwritev2", SYS_pwritev2},
	{"rseq", SYS_rseq},
};

static void impossible(const char *what) {
	fprintf(stderr, "confine: %s: %s\n", what, strerror(errno));
	exit(77);
}

static void refuse(int number, int error) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		impossible("seccomp");
}

static void limit(int resource, long n) {
	struct rlimit rl = {(rlim_t)n, (rlim_t)n};
	if (setrlimit(resource, &rl) != 0)
		impossible("setrlimit");
}

static void apply(const char *word) {
	const char *value = strchr(word, '=');
	size_t length = value ? (size_t)(value - word) : 0;
	long n = value ? atol(value + 1) : 0;
#define IS(text) (length == strlen(text) && strncmp(word, text, length) == 0)
	if (IS("nofile")) {
		limit(RLIMIT_NOFILE, n);
	} else if (IS("nproc")) {
		limit(RLIMIT_NPROC, n);
	} else if (IS("as")) {
		limit(RLIMIT_AS, n);
	} else if (IS("uid")) {
		if (setuid((uid_t)n) != 0)
			impossible("setuid");
	} else {
		for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
			if (IS(calls[i].name)) {
				refuse(calls[i].number, (int)n);
				return;
			}
		}
		fprintf(stderr, "confine: cannot use \"%s\"\n", word);
		exit(2);
	}
#undef IS
}

int main(int argc, char **argv) {
	int i = 1;
	for (; i < argc && strcmp(argv[i], "--") != 0; i++)
		apply(argv[i]);
	if (i + 1 >= argc)
		return 2;
	execv(argv[i + 1], argv + i + 1);
	fprintf(stderr, "confine: %s: %s\n", argv[i + 1], strerror(errno));
	return 127;
}
