/* NULL where the kernel wants memory: an error, not a crash. And a library's way to find out whether memory can be read. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TELL(call)                                                                             \
	do {                                                                                   \
		errno = 0;                                                                     \
		long result = (long)(call);                                                    \
		printf("%s: %ld %s\n", #call, result, result < 0 ? strerrorname_np(errno) : ""); \
	} while (0)

static void *volatile none;

static void *body(void *arg) {
	struct timespec soon = {0, 1000};
	char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(page + 4096, 4096, PROT_NONE);
	TELL(sigtimedwait(none, NULL, &soon));
	TELL(syscall(SYS_rt_sigtimedwait, none, NULL, &soon, 8));
	TELL(sched_getaffinity(0, 8, none));
	TELL(sched_setaffinity(0, 8, none));
	TELL(sched_getparam(0, none));
	TELL(sched_setparam(0, none));
	TELL(sched_setscheduler(0, SCHED_OTHER, none));
	TELL(prctl(PR_SET_NAME, none));
	TELL(prctl(PR_GET_NAME, none));
	TELL(syscall(SYS_rt_sigprocmask, ~0, page, NULL, 8));
	TELL(syscall(SYS_rt_sigprocmask, ~0, page + 4096, NULL, 8));
	TELL(syscall(SYS_rt_sigprocmask, ~0, page + 4092, NULL, 8));
	TELL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, page + 4096, NULL, 8));
	TELL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, page, NULL, 8));
	TELL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, page, NULL, 4));
	return arg;
}

int main(void) {
	pthread_t t;
	pthread_create(&t, NULL, body, NULL);
	pthread_join(t, NULL);
	return 0;
}
