/* A process that allows itself nothing of what it does not use, before its first thread and again in one: it is killed when it sets a thread pointer, which no thread of NPTL's
 * does. SEC-1 */
#include "sync_test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { THREADS = 8, ROUNDS = 200 };

#ifdef SYS_arch_prctl
#define THREAD_POINTER SYS_arch_prctl
#else
#define THREAD_POINTER SYS_kexec_load /* there is no such call */
#endif

static struct sock_filter code[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THREAD_POINTER, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kexec_file_load, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY), /* so that one sees that it is there */
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
static struct sock_fprog filter = {sizeof code / sizeof *code, code};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;

static void filtered(bool is) {
	EQ(syscall(SYS_kexec_file_load, -1, -1, 0L, NULL, 0L), -1);
	CHECK((errno == ENOTTY) == is);
}

/* Of so many instructions, and without an opinion. */
static void install_long(int instructions) {
	static struct sock_filter many[BPF_MAXINSNS];
	struct sock_fprog lengthy = {(unsigned short)instructions, many};
	for (int i = 0; i < instructions - 1; i++)
		many[i] = code[0];
	many[instructions - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &lengthy), 0);
}

static void *takes_turns(void *arg) {
	int me = (int)(long)arg;
	if (me == 0)
		EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
	if (me == 0) {
		install_long(600);
		install_long(BPF_MAXINSNS);
	}
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		while (turn != me)
			pthread_cond_wait(&cond, &mutex);
		turn = (turn + 1) % THREADS;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&mutex);
	}
	filtered(true);
	return arg;
}

int main(void) {
	pthread_t t[THREADS];
	struct sock_fprog none = {0, code}, bad = {3, (void *)8};
	test_begin();
	filtered(false);
	EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &none), -1);
	EQ(errno, EINVAL);
	EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &bad), -1);
	EQ(errno, EFAULT);
	EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL), -1);
	EQ(errno, EFAULT);
	filtered(false);
	EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter), 0);
	filtered(true);
	for (long i = 0; i < THREADS; i++)
		t[i] = start(takes_turns, (void *)i);
	for (long i = 0; i < THREADS; i++)
		EQ(join(t[i]), i);
	return test_end();
}
