/* 1,000 threads stuck in calls only the kernel can wait in: half want a file lock, half open a FIFO nobody writes to. The others get on;
 * all come back in the end; the kernel threads this took are gone or idle, not one per call that was ever made (FD-7, SCH-6). */
#include "sync_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "process_test.h"

enum { N = 1000 };
static char lock_path[60], fifo_path[60], dir[] = "/tmp/sch_stuck.XXXXXX";
static _Atomic int begun, ended;

static void *wants_lock(void *arg) {
	begun++;
	long wrong = await_file_lock(lock_path);
	ended++;
	(void)arg;
	return (void *)wrong;
}

static void *opens_fifo(void *arg) {
	begun++;
	int fd = open(fifo_path, O_RDONLY);
	char c;
	long wrong = fd < 0 || read(fd, &c, 1) != 0; /* end of file, when the writer is gone */
	close(fd);
	ended++;
	(void)arg;
	return (void *)wrong;
}

static _Atomic long worked;

static void *works(void *arg) {
	for (int i = 0; i < 50; i++) {
		worked++;
		if (i % 10)
			sched_yield();
		else
			usleep(200);
	}
	return arg;
}

int main(void) {
	static pthread_t t[N], w[20];
	test_begin();
	if (!mkdtemp(dir))
		return 1;
	snprintf(lock_path, sizeof lock_path, "%s/lock", dir);
	snprintf(fifo_path, sizeof fifo_path, "%s/fifo", dir);
	int lock = open(lock_path, O_RDWR | O_CREAT, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) != 0 || mkfifo(fifo_path, 0600) != 0)
		return 1;
	for (int i = 0; i < N; i++)
		t[i] = start(i % 2 ? wants_lock : opens_fifo, NULL);
	while (begun < N)
		sched_yield();
	for (int i = 0; i < 20; i++)
		w[i] = start(works, NULL);
	for (int i = 0; i < 20; i++)
		join(w[i]);
	EQ(worked, 1000);
	EQ(ended, 0);
	step("others progress");
	flock(lock, LOCK_UN);
	for (int i = 1; i < N; i += 2)
		EQ(join(t[i]), 0);
	step("locks");
	int writer = open(fifo_path, O_WRONLY); /* lets all of them go on to read */
	CHECK(writer >= 0);
	/* They see the end of the file only if they opened it before the writer leaves. */
	usleep(100000);
	close(writer);
	for (int i = 0; i < N; i += 2) {
		while (pthread_tryjoin_np(t[i], NULL) == EBUSY) {
			/* one that was late: another writer for it */
			int late = open(fifo_path, O_WRONLY | O_NONBLOCK);
			if (late >= 0)
				close(late);
			sched_yield();
		}
	}
	EQ(ended, N);
	step("opens");
	/* Nobody keeps a thousand kernel threads for nothing. */
	for (int i = 0; i < 1000 && kernel_threads() > kernel_threads_idle(); i++)
		usleep(10000);
	CHECK(kernel_threads() <= kernel_threads_idle());
	step("threads gone");
	close(lock);
	unlink(lock_path);
	unlink(fifo_path);
	rmdir(dir);
	return test_end();
}
