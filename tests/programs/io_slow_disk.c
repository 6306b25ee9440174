/* 600 threads write to a disk that answers nothing for a while. The others go on; no kernel thread is spent on each of the calls; when the disk
 * answers, all are done, and the kernel threads go. The disk is a process that seccomp asks about every fsync(). */
#include "sync_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "process_test.h"

enum { N = 600, PLAYERS = 10, ROUNDS = 300 };
static _Atomic int begun, ended;
static int file;

/* Every fsync() from now on waits for the answer of whoever holds the descriptor. */
static int disk_make(void) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* Answers once `go` is readable. */
static void disk_serve(int disk, int go) {
	char c;
	if (read(go, &c, 1) != 1)
		_exit(1);
	for (;;) {
		struct seccomp_notif asked = {0};
		struct seccomp_notif_resp answer = {0};
		if (ioctl(disk, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0)
			continue;
		answer.id = asked.id;
		answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(disk, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

static void *writes(void *arg) {
	begun++;
	long wrong = fsync(file);
	ended++;
	(void)arg;
	return (void *)wrong;
}

static int ball[PLAYERS][2];

static void *plays(void *arg) {
	char c;
	long me = (long)arg;
	for (int i = 0; i < ROUNDS; i++) {
		if (read(ball[me][0], &c, 1) != 1 || write(ball[(me + 1) % PLAYERS][1], &c, 1) != 1)
			return (void *)1;
	}
	return NULL;
}

int main(void) {
	static pthread_t t[N], player[PLAYERS];
	char name[] = "/tmp/io_slow_disk.XXXXXX";
	int go[2], disk = disk_make();
	alarm(100);
	file = mkstemp(name);
	unlink(name);
	if (disk < 0 || file < 0 || pipe(go) != 0)
		return 1;
	pid_t server = fork();
	if (server == 0)
		disk_serve(disk, go[0]);
	close(disk);
	long long from = now_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < N; i++)
		t[i] = start(writes, NULL);
	for (int i = 0; i < PLAYERS; i++)
		EQ(pipe(ball[i]), 0);
	for (long i = 0; i < PLAYERS; i++)
		player[i] = start(plays, (void *)i);
	EQ(write(ball[0][1], "o", 1), 1);
	for (int i = 0; i < PLAYERS; i++)
		EQ(join(player[i]), 0);
	while (begun < N || now_ns(CLOCK_MONOTONIC) - from < 1000000000)
		usleep(1000);
	EQ(ended, 0);
	step("others go on");
	/* 64, those that compute and wait, and one more in 20 ms: the disk might hang for ever, and one call depend on another. */
	int threads = kernel_threads();
	long allowed = 64 + 20 + (now_ns(CLOCK_MONOTONIC) - from) / 20000000;
	if (threads > allowed)
		printf("FAIL: %d kernel threads, %ld are allowed\n", threads, allowed);
	EQ(write(go[1], "g", 1), 1);
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	EQ(ended, N);
	step("all done");
	while (kernel_threads() > kernel_threads_idle())
		usleep(1000);
	step("threads gone");
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return test_end();
}
