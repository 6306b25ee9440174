/* Restartable sequences in the child of a thread that forks: what the kernel writes to is that thread's, or nothing: it would be memory that libc takes for unused, gives
 * to others or unmaps (FRK-1, TLS-9). */
#include "process_test.h"
#include "sync_test.h"

#include <sys/rseq.h>
#include <sys/syscall.h>

static void child(void) {
	static struct rseq other;
	struct rseq *own = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	/* Refused: there is one. */
	if (syscall(SYS_rseq, &other, sizeof other, 0, RSEQ_SIG) != 0 && errno != ENOSYS)
		EQ(syscall(SYS_rseq, own, sizeof *own, RSEQ_FLAG_UNREGISTER, RSEQ_SIG), 0);
	_exit(failures != 0);
}

static void *forks(void *arg) {
	pid_t pid = fork();
	if (pid == 0)
		child();
	EQ(reap(pid), 0);
	return arg;
}

int main(void) {
	pthread_t t[8];
	test_begin();
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 8; i++)
			t[i] = start(forks, NULL);
		for (int i = 0; i < 8; i++)
			join(t[i]);
	}
	forks(NULL);
	return test_end();
}
