/* 5,000 threads are in calls at once that only the kernel can wait in: each waits for a lock on a file. When they are over, no kernel threads are left of that
 * but a few that stand by: sixteen more than may run at once (SCH-6). */
#include "sync_test.h"

#include <sys/file.h>
#include "process_test.h"

enum { N = 5000 };
static char path[] = "/tmp/sch_burst.XXXXXX";
static _Atomic int begun, ended;

static void *wants_lock(void *arg) {
	begun++;
	long wrong = await_file_lock(path);
	ended++;
	(void)arg;
	return (void *)wrong;
}

int main(void) {
	static pthread_t t[N];
	test_begin();
	alarm(110);
	int fd = mkstemp(path);
	if (fd < 0 || flock(fd, LOCK_EX) != 0)
		return 1;
	for (int i = 0; i < N; i++)
		t[i] = start(wants_lock, NULL);
	int most;
	while (begun < N || (most = kernel_threads()) < N) /* each takes one */
		usleep(20000);
	EQ(begun, N);
	EQ(ended, 0);
	step("all wait");
	EQ(flock(fd, LOCK_UN), 0);
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	EQ(ended, N);
	step("all done");
	int left = kernel_threads();
	for (int i = 0, before; i < 20 && left > kernel_threads_idle(); i = left < before ? 0 : i + 1) { /* as long as they become fewer */
		usleep(100000);
		before = left;
		left = kernel_threads();
	}
	fprintf(stderr, "%d kernel threads, then %d\n", most, left);
	CHECK(left <= kernel_threads_idle());
	step("threads gone");
	close(fd);
	unlink(path);
	return test_end();
}
