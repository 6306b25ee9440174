/* Started under a filter that was there before it (a service manager's), which kills who touches how the kernel schedules: no thread of the program does. */
#include "sync_test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { THREADS = 8, ROUNDS = 200 };

#define NEVER(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

static struct sock_filter code[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	NEVER(sched_setattr), NEVER(sched_setscheduler), NEVER(sched_setparam), NEVER(sched_setaffinity), NEVER(setpriority), NEVER(ioprio_set),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
static struct sock_fprog filter = {sizeof code / sizeof *code, code};
static int in[2], out[2];

static void *answers(void *arg) {
	char c;
	long n = 0;
	while (read(in[0], &c, 1) == 1 && write(out[1], &c, 1) == 1)
		n++;
	return (void *)n;
}

int main(int argc, char **argv) {
	pthread_t t[THREADS];
	long n = 0;
	char c = 'x';
	if (argc == 1) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
			return 1;
		execl("/proc/self/exe", argv[0], "filtered", NULL);
		return 1;
	}
	test_begin();
	EQ(pipe(in), 0);
	EQ(pipe(out), 0);
	for (int i = 0; i < THREADS; i++)
		t[i] = start(answers, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		EQ(write(in[1], &c, 1), 1);
		EQ(read(out[0], &c, 1), 1);
		if (i % 50 == 0)
			usleep(1000);
	}
	close(in[1]);
	for (int i = 0; i < THREADS; i++)
		n += (long)join(t[i]);
	EQ(n, ROUNDS);
	return test_end();
}
