/* A thread under a filter of its own (seccomp), as a decoder of what strangers send: it may read, write, wait and end, and nothing else. What it has open is
 * open, though it may not ask what that is. SEC-1 */
#include "sync_test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { ANSWERS = 20 };

#define MAY(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static struct sock_filter allowed[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	MAY(read), MAY(write), MAY(futex), MAY(rt_sigprocmask), MAY(rt_sigreturn), MAY(sched_yield),
	MAY(mmap), MAY(munmap), MAY(mprotect), MAY(madvise), MAY(exit), MAY(exit_group),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
};

static int in[2], out[2], closed;

static void *decodes(void *arg) {
	struct sock_fprog filter = {sizeof allowed / sizeof *allowed, allowed};
	char c;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
		return (void *)-1L;
	EQ(read(closed, &c, 1), -1);
	EQ(errno, EBADF);
	EQ(write(closed, "", 1), -1);
	EQ(errno, EBADF);
	for (long n = 0;; n++) {
		ssize_t r = read(in[0], &c, 1);
		if (r == 0)
			return (void *)n;
		EQ(r, 1);
		EQ(r < 0 ? errno : 0, 0);
		c++;
		if (r < 0 || write(out[1], &c, 1) != 1)
			return (void *)(long)-errno;
	}
	return arg;
}

int main(void) {
	char c;
	int n = 0;
	test_begin();
	EQ(pipe(in), 0);
	EQ(pipe(out), 0);
	closed = dup(0);
	close(closed);
	pthread_t t = start(decodes, NULL);
	for (int i = 0; i < ANSWERS; i++) {
		if (i % 4 == 0)
			usleep(2000); /* it waits */
		c = (char)i;
		EQ(write(in[1], &c, 1), 1);
		if (i % 2 && read(out[0], &c, 1) == 1) /* the others find out what it is */
			n++;
	}
	close(in[1]);
	printf("decoded: %ld\n", join(t));
	close(out[1]);
	while (read(out[0], &c, 1) == 1)
		n++;
	printf("answers: %d\n", n);
	return test_end();
}
