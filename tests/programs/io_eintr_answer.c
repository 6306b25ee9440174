/* EINTR that the kernel answers although no signal came, as a driver may (ioctl(KVM_RUN)) or a server of files in user space, is for the program; signals for others that come meanwhile change
 * nothing. A filter of system calls stands for the driver. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "signal_test.h"

enum { REQUEST = 0x4d5a, ROUNDS = 20 };

static _Atomic bool over;

static void handler(int sig) {
	(void)sig;
}

/* A lot of signals for main, which come to whichever kernel thread. */
static void *disturbs(void *arg) {
	while (!over) {
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		usleep(200);
	}
	return arg;
}

static void *asks(void *arg) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, REQUEST, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINTR), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	for (int i = 0; i < ROUNDS; i++) {
		errno = 0;
		EQ(ioctl(0, REQUEST, 0), -1);
		EQ(errno, EINTR);
	}
	return arg;
}

int main(void) {
	pthread_t self = pthread_self();
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	pthread_t t = start(disturbs, &self);
	mask(SIG_BLOCK, SIGUSR1); /* inherited */
	join(start(asks, NULL));
	mask(SIG_UNBLOCK, SIGUSR1);
	over = true;
	join(t);
	return test_end();
}
